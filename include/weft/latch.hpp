// weft::latch: opens once a number of things has happened, and stays open.
#pragma once
#include <cstddef>
#include <cstdint>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void latch_count_down(std::uint64_t* word, std::ptrdiff_t n);
WEFT_EXPORT void latch_wait(std::uint64_t* word);
[[noreturn]] WEFT_EXPORT void latch_bad_count(std::ptrdiff_t n);
}  // namespace detail

/// std::latch's interface, for goroutines and plain threads alike.
/// May be destroyed as soon as its last waiter has returned, even while the last count_down() has not.
class latch {
 public:
  static constexpr std::ptrdiff_t(max)() noexcept { return 0x7fffffff; }

  /// Throws weft::error when expected is negative or above max().
  constexpr explicit latch(std::ptrdiff_t expected) : word_(static_cast<std::uint64_t>(expected) << 32) {
    if (expected < 0 || expected > (max)()) detail::latch_bad_count(expected);
  }
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;

  /// Lowers the counter by n; at zero every waiter is released. Does not block.
  ///   Throws    weft::error when n is negative or more than is left; nothing has happened then.
  void count_down(std::ptrdiff_t n = 1) { detail::latch_count_down(&word_, n); }
  /// Whether the counter is zero. Does not block.
  [[nodiscard]] bool try_wait() const noexcept { return __atomic_load_n(&word_, __ATOMIC_ACQUIRE) >> 32 == 0; }
  /// Blocks the goroutine (or plain thread) until the counter is zero.
  ///   Orders    every count_down() happens before this returns.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point.
  void wait() const {
    if (!detail::door_open() && try_wait()) return;
    detail::latch_wait(&word_);
  }
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    count_down(n);
    wait();
  }

 private:
  mutable std::uint64_t word_;  // high half: counter; low half: waiters
};

}  // namespace v0
}  // namespace weft
