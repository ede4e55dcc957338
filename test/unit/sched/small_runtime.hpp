// For unit tests of what happens in a runtime: with one P the order of everything is known.
//
// One P makes tests exact: `go(f); yield();` runs f until it parks or ends, and only then the caller again.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "arch/getg.hpp"
#include "model/m.hpp"
#include "model/p.hpp"
#include "model/sched.hpp"
#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace small_runtime {

enum class takeback : bool { off, on };

// Runs f as main with so many Ps, in a process without WEFT_ variables; afterwards nothing of it is left behind. What is exact with one P is
// so as long as nobody takes it from main, for which a loaded machine and a sanitizer give time enough.
template <class F>
void with_procs(int procs, F f, takeback taken = takeback::off) {
  const bool alone = procs == 1 && taken == takeback::off && std::getenv("WEFT_DEBUG") == nullptr;
  if (alone) ::setenv("WEFT_DEBUG", "takeback=off", 1);
  const weft::test::snapshot before = weft::test::take_snapshot();
  weft::test::set_watchdog(60);
  weft::options o;
  o.procs = procs;
  o.shutdown_timeout = std::chrono::hours(1);  // the watchdog is to end a hang: patience would, with status 0
  weft::run(o, f);
  if (alone) ::unsetenv("WEFT_DEBUG");
  weft::test::clear_watchdog();
  EXPECT_EQ("", weft::test::leaked_since(before));
}

// Spawns f on one P and runs it until it parks or ends.
template <class F>
void go_now(F&& f) {
  weft::go(static_cast<F&&>(f));
  weft::yield();
}

// Gives way until it is so: for conditions that another thread brings about. The watchdog ends a hang.
template <class Condition>
void until(Condition c) {
  while (!c()) weft::yield();
}

// What the calling goroutine stands on. Asked anew after each call that may park.
inline weft::rt::m* my_m() { return weft::rt::getg()->m; }
inline weft::rt::p* my_p() { return my_m()->p; }
inline weft::rt::sched_t* my_sched() { return weft::rt::getg()->rt; }

class pipe_pair {
 public:
  pipe_pair() { EXPECT_EQ(0, ::pipe(fd_)); }
  ~pipe_pair() {
    ::close(fd_[0]);
    ::close(fd_[1]);
  }
  pipe_pair(const pipe_pair&) = delete;
  pipe_pair& operator=(const pipe_pair&) = delete;
  // Blocks the thread until a byte comes.
  char read() {
    char c = 0;
    EXPECT_EQ(1, ::read(fd_[0], &c, 1));
    return c;
  }
  void write(char c) { EXPECT_EQ(1, ::write(fd_[1], &c, 1)); }

 private:
  int fd_[2] = {-1, -1};
};

}  // namespace small_runtime
