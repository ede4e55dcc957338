// goroutines: what tests of the scheduler need to say about goroutines without saying it with a sleep.
#pragma once
#include <atomic>
#include <chrono>
#include <string>

#include "arch/getg.hpp"
#include "model/g.hpp"
#include "os/sys.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft::test {

// Keeps the thread (and with it the P) until done(): no goroutine switch happens here. The kernel may run others.
template <class F>
void spin_until(F done) {
  for (unsigned i = 1; !done(); ++i) {
    rt::os::pause();
    if (i % 1024 == 0) rt::os::yield_thread();
  }
}

// On a goroutine: yields until done() or until the watchdog ends the process.
template <class F>
void yield_until(F done) {
  while (!done()) v0::yield();
}

// A goroutine that others can see parking. The goroutine calls here() before it waits.
class watched {
 public:
  void here() { gp_.store(rt::getg(), std::memory_order_release); }
  // It has left its stack and waits. True again for each wait: ask only about the wait that is known to come.
  bool waits() const {
    const rt::g* gp = gp_.load(std::memory_order_acquire);
    return gp != nullptr && gp->status.get() == rt::status::waiting;
  }

 private:
  std::atomic<const rt::g*> gp_{nullptr};
};

// The kernel's id of the thread that runs the caller.
inline std::uint64_t thread_id() { return rt::os::thread_id(); }

// The text of the weft::error that f throws.
template <class F>
std::string misuse(F f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "nothing thrown";
}

// A clock that stands, so far from its beginning that a nanosecond is less than a double, or a long double, of seconds can tell.
struct still_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<still_clock>;
  static constexpr bool is_steady = true;
  static time_point now() { return time_point(duration(1'700'000'000'123'456'789)); }
};

}  // namespace weft::test
