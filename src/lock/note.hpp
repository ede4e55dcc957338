// note: a one-shot event between two threads: one sleeps, one wakes (Go's note).
//
// Who    sleeper: the M that owns the note. waker: whoever was told to wake it, once per clear.
// State  key_: 0 clear, 1 signalled.
// Order  note.signal  wakeup: what the waker wrote, then key_ (release exchange) / sleep: key_ (acquire)
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
    if (key_.exchange(1, release) != 0) fatal("lock: note woken twice");
    noise(noise_at::note_signalled);
    os::futex_wake(&key_);
  }

  void sleep() {
    // order: note.signal
    while (key_.load(acquire) == 0) {
      noise(noise_at::note_unsignalled);
      os::futex_wait(&key_, 0);
    }
  }

  // False when timeout_ns went by first.
  bool sleep_for(std::int64_t timeout_ns) {
    const std::int64_t end = os::now() + timeout_ns;
    while (key_.load(acquire) == 0) {
      const std::int64_t left = end - os::now();
      if (left <= 0) return false;
      os::futex_wait(&key_, 0, left);
    }
    return true;
  }

 private:
  atomic<std::uint32_t> key_{0};
};

}  // namespace weft::rt
