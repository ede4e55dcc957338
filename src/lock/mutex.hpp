// mutex: the runtime's own lock, between Ms; it blocks the thread. Users' mutexes are in src/sync.
//
// Who    any thread; held for a few dozen instructions, never across a switch, except where a park's
//        commit unlocks it on the other side (the lock belongs to the M then, which is the same).
// State  key_: 0 free, 1 held, 2 held and somebody may sleep (Drepper's third state).
// Order  mutex.hand  unlock: key_ (release exchange) / lock: key_ (acquire exchange or CAS)
// Why    a sleeper always leaves 2 behind, also when it wins the lock: it cannot know that it was the
//        only one. One spare wake call, never a lost one. (RELIABILITY K3: such a lock written in haste
//        hung after 197,049 rounds.)
// Checked by test/model/lock_model.cpp, exhaustively; test/unit/lock/mutex_test.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/noise.hpp"
#include "base/sizes.hpp"
#include "os/sys.hpp"

namespace weft::rt {

class mutex {
 public:
  void lock() {
    std::uint32_t free = 0;
    // order: mutex.hand
    if (key_.compare_exchange_strong(free, 1, acquire, relaxed)) [[likely]]
      return;
    lock_slow();
  }

  bool try_lock() {
    std::uint32_t free = 0;
    return key_.compare_exchange_strong(free, 1, acquire, relaxed);
  }

  void unlock() {
    // order: mutex.hand
    if (key_.exchange(0, release) == 2) {
      noise(noise_at::lock_freed);
      os::futex_wake(&key_);
    }
  }

 private:
  void lock_slow() {
    // Spinning helps only while the holder runs; it holds for nanoseconds, so a short look is enough.
    for (std::uint32_t round = 0; round < sizes::mutex_spins; ++round) {
      for (std::uint32_t i = 0; i < sizes::mutex_pauses; ++i) {
        std::uint32_t free = 0;
        if (key_.load(relaxed) == 0 && key_.compare_exchange_strong(free, 1, acquire, relaxed)) return;
        os::pause();
      }
    }
    // order: mutex.hand
    while (key_.exchange(2, acquire) != 0) {
      noise(noise_at::lock_contended);
      os::futex_wait(&key_, 2);
    }
  }

  atomic<std::uint32_t> key_{0};
};

class mutex_guard {
 public:
  explicit mutex_guard(mutex& m) : m_(m) { m_.lock(); }
  ~mutex_guard() { m_.unlock(); }
  mutex_guard(const mutex_guard&) = delete;
  mutex_guard& operator=(const mutex_guard&) = delete;

 private:
  mutex& m_;
};

}  // namespace weft::rt
