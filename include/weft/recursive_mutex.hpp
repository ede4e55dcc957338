// weft::recursive_mutex: one that its holder may lock again.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"
#include "weft/mutex.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
// Who calls: a number that no other goroutine has ever, and no other plain thread as long as this one lives. Never 0.
WEFT_EXPORT std::uint64_t caller_id() noexcept;
[[noreturn]] WEFT_EXPORT void throw_unlock_by_another();
[[noreturn]] WEFT_EXPORT void throw_locked_too_often();
}  // namespace detail

/// std::recursive_mutex's interface. It belongs to the goroutine that locked it (or plain thread), wherever that runs.
/// Fair as mutex is. May be destroyed as soon as it is free and its last waiter has returned.
class recursive_mutex {
 public:
  constexpr recursive_mutex() noexcept = default;
  recursive_mutex(const recursive_mutex&) = delete;
  recursive_mutex& operator=(const recursive_mutex&) = delete;

  /// Blocks the goroutine (or plain thread) until it holds the mutex; at once if it does already. Never a cancellation
  /// point. Throws weft::error when it holds it 2^32 - 1 times.
  void lock() {
    const std::uint64_t me = detail::caller_id();
    if (is_mine(me)) return again();
    m_.lock();
    own(me);
  }
  /// True when the caller holds it now. Does not block.
  [[nodiscard]] bool try_lock() {
    const std::uint64_t me = detail::caller_id();
    if (is_mine(me)) {
      again();
      return true;
    }
    if (!m_.try_lock()) return false;
    own(me);
    return true;
  }
  /// True when the caller holds it now, or does after so long a wait at most. Never a cancellation point.
  [[nodiscard]] bool try_lock_for(duration d) { return try_lock_within(d.count()); }
  /// The same for what is left until then, by that clock at the call.
  template <detail::a_time_point T>
  [[nodiscard]] bool try_lock_until(const T& t) {
    return try_lock_within(detail::ns_until(t));
  }
  /// Throws unlock_of_unlocked_mutex when the caller does not hold it; from ~lock_guard that terminates. Does not block.
  void unlock() {
    if (!is_mine(detail::caller_id())) detail::throw_unlock_by_another();
    if (--times_ != 0) return;
    __atomic_store_n(&owner_, 0, __ATOMIC_RELAXED);
    m_.unlock();
  }

 private:
  bool try_lock_within(std::int64_t ns) {
    const std::uint64_t me = detail::caller_id();
    if (is_mine(me)) {
      again();
      return true;
    }
    if (!m_.try_lock_for(duration::nanoseconds(ns))) return false;
    own(me);
    return true;
  }
  // Nobody but the owner can find its own number here.
  bool is_mine(std::uint64_t me) const { return __atomic_load_n(&owner_, __ATOMIC_RELAXED) == me; }
  void own(std::uint64_t me) {
    __atomic_store_n(&owner_, me, __ATOMIC_RELAXED);
    times_ = 1;
  }
  void again() {
    if (times_ == 0xffffffff) detail::throw_locked_too_often();
    ++times_;
  }

  mutex m_;
  std::uint64_t owner_ = 0;
  std::uint32_t times_ = 0;
};

/// std's name for a recursive mutex with time limits. weft::recursive_mutex has them too, and this one is the same.
class recursive_timed_mutex : public recursive_mutex {};

}  // namespace v0
}  // namespace weft
