// weft::shared_mutex: many readers or one writer, goroutines and plain threads alike.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
// The word: 1 a writer holds it, 2 writers wait, 4 readers wait; the high half counts those who read.
inline constexpr std::uint64_t rw_written = 1;
inline constexpr std::uint64_t rw_writers = 2;
inline constexpr std::uint64_t rw_readers = 4;
inline constexpr std::uint64_t rw_reader = std::uint64_t{1} << 32;

WEFT_EXPORT void shared_mutex_lock(std::uint64_t* word);
WEFT_EXPORT bool shared_mutex_try_lock(std::uint64_t* word);
WEFT_EXPORT bool shared_mutex_try_lock_for(std::uint64_t* word, std::int64_t ns);
WEFT_EXPORT void shared_mutex_unlock(std::uint64_t* word);
WEFT_EXPORT void shared_mutex_lock_shared(std::uint64_t* word);
WEFT_EXPORT bool shared_mutex_try_lock_shared(std::uint64_t* word);
WEFT_EXPORT bool shared_mutex_try_lock_shared_for(std::uint64_t* word, std::int64_t ns);
WEFT_EXPORT void shared_mutex_unlock_shared(std::uint64_t* word);
}  // namespace detail

/// std::shared_mutex's interface in 8 bytes, with Go's rule: a writer that waits keeps new readers out, and when a writer
/// has finished, all readers that wait go before the next writer; writers among themselves come in their order. So neither
/// starves; and a reader that locks again while a writer waits locks itself out, as in Go.
/// Works with std::unique_lock, std::shared_lock, std::scoped_lock. Not recursive; another goroutine may unlock.
/// May be destroyed as soon as it is free and its last waiter has returned.
class shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;

  /// Blocks the goroutine (or plain thread) until it is the only one. Never a cancellation point.
  ///   Orders    everything before the unlocks that made it free happens before this returns.
  void lock() {
    if (!detail::door_open()) [[likely]] {
      std::uint64_t free = 0;
      if (__atomic_compare_exchange_n(&word_, &free, detail::rw_written, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
          [[likely]] {
        return;
      }
    }
    detail::shared_mutex_lock(&word_);
  }
  /// True when it is the only one now. Does not block.
  [[nodiscard]] bool try_lock() { return detail::shared_mutex_try_lock(&word_); }
  /// True when it is the only one now, or is after so long a wait at most; for d of zero or less as try_lock(). A writer that
  /// gives up lets the readers in that it has kept out. Never a cancellation point.
  [[nodiscard]] bool try_lock_for(duration d) { return detail::shared_mutex_try_lock_for(&word_, d.count()); }
  /// The same for what is left until then, by that clock at the call.
  template <detail::a_time_point T>
  [[nodiscard]] bool try_lock_until(const T& t) {
    return detail::shared_mutex_try_lock_for(&word_, detail::ns_until(t));
  }
  /// Does not block. Throws unlock_of_unlocked_mutex when no writer holds it; from ~lock_guard that terminates.
  void unlock() {
    if (!detail::door_open()) [[likely]] {
      std::uint64_t held = detail::rw_written;
      if (__atomic_compare_exchange_n(&word_, &held, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) [[likely]]
        return;
    }
    detail::shared_mutex_unlock(&word_);
  }

  /// Blocks the goroutine (or plain thread) until no writer holds it or waits for it. Never a cancellation point.
  ///   Orders    everything before the last writer's unlock happens before this returns.
  void lock_shared() {
    if (!detail::door_open()) [[likely]] {
      std::uint64_t word = __atomic_load_n(&word_, __ATOMIC_RELAXED);
      if ((word & (detail::rw_written | detail::rw_writers)) == 0 &&
          __atomic_compare_exchange_n(&word_, &word, word + detail::rw_reader, false, __ATOMIC_ACQUIRE,
                                      __ATOMIC_RELAXED)) [[likely]] {
        return;
      }
    }
    detail::shared_mutex_lock_shared(&word_);
  }
  /// True when it reads now. Does not block; fails while a writer waits.
  [[nodiscard]] bool try_lock_shared() { return detail::shared_mutex_try_lock_shared(&word_); }
  /// True when it reads now, or does after so long a wait at most. Never a cancellation point.
  [[nodiscard]] bool try_lock_shared_for(duration d) {
    return detail::shared_mutex_try_lock_shared_for(&word_, d.count());
  }
  /// The same for what is left until then, by that clock at the call.
  template <detail::a_time_point T>
  [[nodiscard]] bool try_lock_shared_until(const T& t) {
    return detail::shared_mutex_try_lock_shared_for(&word_, detail::ns_until(t));
  }
  /// Does not block. Throws unlock_of_unlocked_mutex when nobody reads.
  void unlock_shared() { detail::shared_mutex_unlock_shared(&word_); }

 private:
  std::uint64_t word_ = 0;
};

/// std's name for a shared mutex with time limits. weft::shared_mutex has them too, and this one is the same.
class shared_timed_mutex : public shared_mutex {};

}  // namespace v0
}  // namespace weft
