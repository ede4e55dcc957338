// weft::mutex: mutual exclusion for goroutines and plain threads alike.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void mutex_lock(std::uint64_t* word);
WEFT_EXPORT bool mutex_try_lock(std::uint64_t* word);
WEFT_EXPORT bool mutex_try_lock_for(std::uint64_t* word, std::int64_t ns);
WEFT_EXPORT void mutex_unlock(std::uint64_t* word);

// Names the holder for reports in 32 bits without a look at thread-local storage: where its stack is.
inline std::uint64_t mutex_holder() noexcept {
  const char here = 0;
  return (reinterpret_cast<std::uintptr_t>(&here) >> 16) << 32;
}
}  // namespace detail

/// Go's sync.Mutex in 8 bytes: normal mode lets arrivals barge, a waiter older than 1 ms gets it handed over.
/// Works with std::lock_guard, std::unique_lock, std::scoped_lock. Not recursive; another goroutine may unlock.
/// May be destroyed as soon as it is free and its last waiter has returned. Destruction needs no ceremony.
class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Blocks the goroutine (or plain thread) until it holds the mutex. Never a cancellation point.
  ///   Orders    everything before the unlock() that made it free happens before this returns.
  void lock() {
    if (!detail::door_open()) [[likely]] {
      std::uint64_t free = 0;
      if (__atomic_compare_exchange_n(&word_, &free, 1 | detail::mutex_holder(), false, __ATOMIC_ACQUIRE,
                                      __ATOMIC_RELAXED)) [[likely]] {
        return;
      }
    }
    detail::mutex_lock(&word_);
  }

  /// True when it holds the mutex now. Does not block; fails while waiters starve, as in Go.
  [[nodiscard]] bool try_lock() { return detail::mutex_try_lock(&word_); }

  /// Throws unlock_of_unlocked_mutex; from ~lock_guard that terminates. Does not block; in starvation mode it
  /// hands the mutex over and yields to its new owner, as in Go.
  void unlock() {
    if (!detail::door_open()) [[likely]] {
      // Guessed, not loaded: an exchange that waits for a load costs a sixth more. A wrong guess goes the long way.
      std::uint64_t mine = 1 | detail::mutex_holder();
      if (__atomic_compare_exchange_n(&word_, &mine, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) [[likely]] {
        return;
      }
    }
    detail::mutex_unlock(&word_);
  }

  /// True when it holds the mutex now, or does after so long a wait at most; for d of zero or less as try_lock(). Who waits
  /// stands in the same line as those who lock(), and never takes part in a hand-over too late. Never a cancellation point.
  [[nodiscard]] bool try_lock_for(duration d) { return detail::mutex_try_lock_for(&word_, d.count()); }
  /// The same for what is left until then, by that clock at the call.
  template <detail::a_time_point T>
  [[nodiscard]] bool try_lock_until(const T& t) {
    return detail::mutex_try_lock_for(&word_, detail::ns_until(t));
  }

 private:
  std::uint64_t word_ = 0;  // low half: Go's state; high half: the holder, for reports
};

/// std's name for a mutex with time limits. weft::mutex has them too, and this one is the same.
class timed_mutex : public mutex {};

}  // namespace v0
}  // namespace weft
