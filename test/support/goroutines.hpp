// goroutines: what tests of the scheduler need to say about goroutines without saying it with a sleep.
#pragma once
#include <atomic>

#include "arch/getg.hpp"
#include "model/g.hpp"
#include "os/sys.hpp"
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

}  // namespace weft::test
