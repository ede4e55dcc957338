// weft::barrier: a number of goroutines or threads that wait for each other, again and again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

struct barrier_state {
  std::uint64_t phase = 0;     // which round this is
  std::uint32_t expected = 0;  // of the next round
  std::uint32_t missing = 0;   // have not arrived in this one
};

// True: all have arrived, and the caller completes the round. *phase: the round it was.
WEFT_EXPORT bool barrier_arrive(barrier_state* s, std::ptrdiff_t n, bool drop, std::uint64_t* phase);
WEFT_EXPORT void barrier_complete(barrier_state* s);
WEFT_EXPORT void barrier_wait(barrier_state* s, std::uint64_t phase);
[[noreturn]] WEFT_EXPORT void barrier_bad_count(std::ptrdiff_t n);

struct no_completion {
  void operator()() const noexcept {}
};

}  // namespace detail

/// std::barrier's interface, for goroutines and plain threads alike. When the last one has arrived, completion() is called
/// on it, then all are released and the next round begins.
/// May be destroyed as soon as its last waiter has returned.
template <class CompletionFunction = detail::no_completion>
class barrier {
  static_assert(std::is_nothrow_invocable_v<CompletionFunction&>,
                "weft::barrier: the completion must be noexcept, as for std::barrier");

 public:
  /// That one has arrived, in which round.
  class arrival_token {
   public:
    arrival_token(arrival_token&&) noexcept = default;
    arrival_token& operator=(arrival_token&&) noexcept = default;

   private:
    friend class barrier;
    explicit arrival_token(std::uint64_t phase) : phase_(phase) {}
    std::uint64_t phase_;
  };

  static constexpr std::ptrdiff_t(max)() noexcept { return 0x7fffffff; }

  /// Throws weft::error when expected is negative or above max().
  constexpr explicit barrier(std::ptrdiff_t expected, CompletionFunction f = CompletionFunction())
      : completion_(static_cast<CompletionFunction&&>(f)) {
    if (expected < 0 || expected > (max)()) detail::barrier_bad_count(expected);
    state_.expected = state_.missing = static_cast<std::uint32_t>(expected);
  }
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;

  /// n arrive. Does not block, but for the completion if they are the last.
  ///   Throws    weft::error when n is not positive or more than are missing; nothing has happened then.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) { return arrival_token(arrived(n, false)); }
  /// Blocks the goroutine (or plain thread) until the round of the token is complete.
  ///   Orders    everything before each arrival, and the completion, happen before this returns.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point. It has arrived all the same.
  void wait(arrival_token&& token) const { detail::barrier_wait(&state_, token.phase_); }
  void arrive_and_wait() { wait(arrive()); }
  /// Arrives, and is one less in all later rounds.
  void arrive_and_drop() { arrived(1, true); }

 private:
  std::uint64_t arrived(std::ptrdiff_t n, bool drop) {
    std::uint64_t phase;
    if (detail::barrier_arrive(&state_, n, drop, &phase)) {
      completion_();
      detail::barrier_complete(&state_);
    }
    return phase;
  }

  mutable detail::barrier_state state_;
  [[no_unique_address]] CompletionFunction completion_;
};

}  // namespace v0
}  // namespace weft
