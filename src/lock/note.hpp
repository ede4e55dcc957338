// note: a one-shot event between two threads: one sleeps, one wakes (Go's note).
//
// Who    sleeper: the M that owns the note. waker: whoever was told to wake it, once per clear.
// State  key_: 0 clear, 1 signalled, 2 clear and the sleeper is in the kernel, or on its way there.
// Order  note.signal  wakeup: what the waker wrote, then key_ (release exchange) / sleep: key_ (acquire)
// Why    the third state saves the wake call when the sleeper still looks, or has not come yet: a futex call costs more
//        than the rest of a hand-over (LIMITS 8). The exchange says which; there is no moment between the two.
// Never  wake twice without a clear: the second signal means that two Ms believe they own the hand-over.
//        A wake before the sleep is not lost: the sleeper sees 1 and does not sleep (RELIABILITY W9).
// Checked by test/model/note_model.cpp, exhaustively; test/unit/lock/note_test.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/noise.hpp"
#include "os/sys.hpp"

namespace weft::rt {

class note {
 public:
  // Only the owner, and only when nobody can be about to wake it: before it is listed as idle again.
  void clear() { key_.store(0, relaxed); }

  void wakeup() {
    // order: note.signal
    const std::uint32_t before = key_.exchange(1, release);
    if (before == 1) fatal("lock: note woken twice");
    noise(noise_at::note_signalled);
    if (before == 2) os::futex_wake(&key_);
  }

  // Looks for so many pauses before it goes to the kernel.
  void sleep(std::uint32_t pauses = 0) {
    for (; pauses != 0; --pauses) {
      if (key_.load(acquire) == 1) return;  // order: note.signal
      os::pause();
    }
    while (!signalled_or_listed()) {
      noise(noise_at::note_unsignalled);
      os::futex_wait(&key_, 2);
    }
  }

  // False when timeout_ns went by first: it may be woken all the same, until its owner knows that it will not.
  bool sleep_for(std::int64_t timeout_ns) {
    const std::int64_t end = os::now() + timeout_ns;
    while (!signalled_or_listed()) {
      const std::int64_t left = end - os::now();
      if (left <= 0) return false;
      os::futex_wait(&key_, 2, left);
    }
    return true;
  }

 private:
  // True: signalled. Else the waker knows from here on that it must call the kernel.
  bool signalled_or_listed() {
    std::uint32_t clear = 0;
    // order: note.signal
    return !key_.compare_exchange_strong(clear, 2, acquire, acquire) && clear == 1;
  }

  atomic<std::uint32_t> key_{0};
};

}  // namespace weft::rt
