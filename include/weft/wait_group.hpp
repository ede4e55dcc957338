// weft::wait_group: waits until a number of things is done. Go's sync.WaitGroup.
#pragma once
#include <cstddef>
#include <cstdint>

#include "weft/detail/config.hpp"
#include "weft/go.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void wait_group_add(std::uint64_t* word, std::ptrdiff_t n);
WEFT_EXPORT void wait_group_wait(std::uint64_t* word);
}  // namespace detail

/// A counter and those who wait for it to become zero: goroutines and plain threads alike.
/// May be destroyed as soon as its last waiter has returned, even while the last done() has not.
class wait_group {
 public:
  constexpr wait_group() noexcept = default;
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;

  /// Adds n, which may be negative; at zero every waiter is released. Does not block.
  ///   Throws    negative_counter, and then the counter is as it was; wait_group_misuse when a counter at zero is
  ///             raised while waiters of the last round are being released; weft::error beyond 2^31 - 1.
  void add(std::ptrdiff_t n) { detail::wait_group_add(&word_, n); }

  /// add(-1).
  void done() { detail::wait_group_add(&word_, -1); }

  /// Blocks the goroutine (or plain thread) until the counter is zero.
  ///   Orders    every done() happens before this returns.
  ///   Throws    wait_group_misuse when the group is used again before this wait has returned; weft::cancelled, when it
  ///             has to wait: a cancellation point.
  void wait() { detail::wait_group_wait(&word_); }

  /// add(1), then a goroutine that calls f and then done(), also when f is left by unwinding.
  /// If the goroutine cannot be started the counter is as it was.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  [[gnu::always_inline]] inline void go(F&& f) {
    using D = std::decay_t<F>;
    if constexpr (detail::can_be_nil<D> && !std::is_function_v<std::remove_reference_t<F>>) {
      if (f == nullptr) detail::throw_go_of_nil();
    }
    struct body {
      wait_group* wg;
      D f;
      void operator()() {
        struct at_end {
          wait_group* wg;
          ~at_end() { wg->done(); }
        } end{wg};
        D call(static_cast<D&&>(f));  // what f holds goes before done(): the waiter may own what it refers to
        static_cast<void>(static_cast<D&&>(call)());
      }
    };
    add(1);
    struct undo {
      wait_group* wg;
      ~undo() {
        if (wg != nullptr) wg->done();
      }
    } undo_on_throw{this};
    weft::v0::go(body{this, static_cast<F&&>(f)});
    undo_on_throw.wg = nullptr;
  }

 private:
  std::uint64_t word_ = 0;  // high half: counter; low half: waiters
};

}  // namespace v0
}  // namespace weft
