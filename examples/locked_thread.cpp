// locked_thread: a goroutine that makes a thread its own.
//
// On Linux each thread has its own nice value, and an ordinary user can raise it but not take it back. So the goroutine that
// works in the background locks itself to its thread, and ends without unlocking: its thread ends with it, and no other
// goroutine ever runs there. Threads that are needed meanwhile do not inherit the value, though it is that thread which
// needs them. main is locked to its own, the one that called run: that one cannot end, so the other must not be it.
//
// Run     build/release/examples/locked_thread
// Prints  in the background: nice 19 at each of 100 waits, on one thread
//         the 8 goroutines it has started: as nice as main
//         the 16 goroutines after it: as nice as main
// Go      go func() { runtime.LockOSThread(); syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); … }()
#include <sys/resource.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <cstdio>
#include <cstdlib>
#include <latch>
#include <vector>

namespace {

constexpr int nicest = 19;

// Of the calling thread, in spite of its name.
int nice_value() { return ::getpriority(PRIO_PROCESS, 0); }

// Of n goroutines that are in blocking calls at the same time, so on n threads; the caller blocks one more.
std::vector<int> nice_values_of(int n) {
  std::vector<int> seen(static_cast<std::size_t>(n));
  std::latch met(n + 1);
  weft::wait_group all;
  for (int& mine : seen)
    all.go([&] {
      weft::blocking([&] {
        met.arrive_and_wait();
        mine = nice_value();
      });
    });
  weft::blocking([&] { met.arrive_and_wait(); });
  all.wait();
  return seen;
}

void say(const char* who, const std::vector<int>& seen, int expected) {
  for (const int nice : seen) {
    if (nice == expected) continue;
    std::printf("%s: nice %d, and main is %d\n", who, nice, expected);
    return;
  }
  std::printf("%s: as nice as main\n", who);
}

}  // namespace

int main() {
  return weft::run([] {
    const weft::os_thread_lock stays;
    const int mains = nice_value();
    weft::semaphore ping(0), pong(0);
    std::vector<int> children;
    weft::wait_group background;
    // snippet: lock
    background.go([&] {
      weft::lock_os_thread();  // and no unlock: the thread is of no use to anybody afterwards
      if (::setpriority(PRIO_PROCESS, 0, nicest) != 0) {
        std::perror("setpriority");
        std::exit(1);
      }
      const pid_t thread = ::gettid();
      int same = 0;
      for (int i = 0; i < 100; ++i) {
        pong.release();
        ping.acquire();  // another thread goes on; this goroutine comes back to its own
        if (nice_value() == nicest && ::gettid() == thread) ++same;
      }
      std::printf("in the background: nice %d at each of %d waits, on one thread\n", nicest, same);
      children = nice_values_of(8);
    });
    // snippet: end
    for (int i = 0; i < 100; ++i) {
      pong.acquire();
      ping.release();
    }
    background.wait();
    say("the 8 goroutines it has started", children, mains);
    say("the 16 goroutines after it", nice_values_of(16), mains);
  });
}
