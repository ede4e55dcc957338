// weft::semaphore: a counting semaphore for goroutines and plain threads alike.
#pragma once
#include <cstddef>
#include <cstdint>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void semaphore_acquire(std::uint64_t* word);
WEFT_EXPORT bool semaphore_try_acquire(std::uint64_t* word);
WEFT_EXPORT bool semaphore_try_acquire_for(std::uint64_t* word, std::int64_t ns);
WEFT_EXPORT void semaphore_release(std::uint64_t* word, std::ptrdiff_t n);
[[noreturn]] WEFT_EXPORT void semaphore_bad_count(std::ptrdiff_t n);
struct semaphore_access;
}  // namespace detail

/// std::counting_semaphore's interface. Strictly first come, first served: a permit that is released while
/// somebody waits is handed to the oldest waiter, and nobody overtakes.
/// May be destroyed as soon as its last waiter has returned, even while the releasing call has not.
class semaphore {
 public:
  static constexpr std::ptrdiff_t(max)() noexcept { return 0x7fffffff; }

  /// Throws weft::error when permits is negative or above max().
  constexpr explicit semaphore(std::ptrdiff_t permits) : word_(static_cast<std::uint64_t>(permits)) {
    if (permits < 0 || permits > (max)()) detail::semaphore_bad_count(permits);
  }
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  /// Takes a permit; blocks the goroutine (or plain thread) until there is one.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point.
  ///   Orders    everything before the release() that gave the permit happens before this returns.
  void acquire() {
    if (!detail::door_open()) [[likely]] {
      std::uint64_t word = __atomic_load_n(&word_, __ATOMIC_RELAXED);
      if (word - 1 < 0x7fffffff &&
          __atomic_compare_exchange_n(&word_, &word, word - 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) [[likely]] {
        return;
      }
    }
    detail::semaphore_acquire(&word_);
  }

  /// Takes a permit if there is one and nobody waits. Does not block.
  [[nodiscard]] bool try_acquire() { return detail::semaphore_try_acquire(&word_); }

  /// Takes a permit; waits for one so long at most, as acquire() does, in the same line. False: there was none for all that
  /// time. For d of zero or less as try_acquire().
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point.
  [[nodiscard]] bool try_acquire_for(duration d) { return detail::semaphore_try_acquire_for(&word_, d.count()); }
  /// The same for what is left until then, by that clock at the call.
  template <detail::a_time_point T>
  [[nodiscard]] bool try_acquire_until(const T& t) {
    return detail::semaphore_try_acquire_for(&word_, detail::ns_until(t));
  }

  /// Gives n permits back. Does not block.
  ///   Throws    weft::error when n is negative or the count would exceed max(); nothing is released then.
  void release(std::ptrdiff_t n = 1) { detail::semaphore_release(&word_, n); }

 private:
  friend struct detail::semaphore_access;
  std::uint64_t word_;  // low half: permits; high half: waiters. Never both above zero.
};

}  // namespace v0
}  // namespace weft
