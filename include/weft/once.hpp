// weft::once: something that happens once, whoever comes first. Go's sync.Once, OnceFunc and OnceValue.
#pragma once
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/detail/config.hpp"
#include "weft/detail/unwind.hpp"
#include "weft/mutex.hpp"

namespace weft {
inline namespace v0 {

class once {
 public:
  constexpr once() noexcept = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;

  /// Calls f, if no call of this once has been made before; returns when the first one's f has ended.
  ///   Throws    what f throws, to the first caller only. As in Go, and other than std::call_once, that was the one call:
  ///             nobody calls f again.
  ///   Blocks    while another caller's f runs. Never a cancellation point. From inside f it never returns, as in Go.
  ///   Orders    f's end happens before every call returns.
  template <class F>
    requires std::is_invocable_v<F>
  void call(F&& f) {
    if (is_done()) [[likely]]
      return;
    m_.lock();
    struct unlocked_at_end {
      mutex& m;
      ~unlocked_at_end() { m.unlock(); }
    } at_end{m_};
    if (done_ != 0) return;
    struct done_at_end {
      std::uint32_t& done;
      ~done_at_end() { __atomic_store_n(&done, 1, __ATOMIC_RELEASE); }
    } whatever_happens{done_};
    static_cast<void>(static_cast<F&&>(f)());
  }

 private:
  bool is_done() const { return __atomic_load_n(&done_, __ATOMIC_ACQUIRE) != 0; }

  mutex m_;
  std::uint32_t done_ = 0;  // written with the mutex held
};

namespace detail {

[[noreturn]] WEFT_EXPORT void throw_once_unwound();

template <class F>
struct once_state {
  using R = std::invoke_result_t<F&>;
  using kept = std::conditional_t<std::is_void_v<R>, bool, std::optional<std::decay_t<R>>>;

  // A share of the state. A std::shared_ptr would do, but <memory> costs 52,000 lines.
  class share {
   public:
    template <class G>
    explicit share(std::in_place_t, G&& f) : s_(new once_state(std::forward<G>(f))) {}
    share(const share& other) noexcept : s_(other.s_) { __atomic_fetch_add(&s_->shares, 1, __ATOMIC_RELAXED); }
    share& operator=(const share&) = delete;
    ~share() {
      if (__atomic_fetch_sub(&s_->shares, 1, __ATOMIC_ACQ_REL) == 1) delete s_;
    }
    once_state* operator->() const { return s_; }

   private:
    once_state* s_;
  };

  explicit once_state(F&& f) : fn(std::move(f)) {}
  explicit once_state(const F& f) : fn(f) {}

  void run() {
    first.call([this] {
      try {
        if constexpr (std::is_void_v<R>) {
          (*fn)();
        } else {
          value.emplace((*fn)());
        }
      } catch (const cancelled&) {
        unwound = true;
        throw;
      } catch (const goexit_unwind&) {
        unwound = true;
        throw;
      } catch (...) {
        thrown = std::current_exception();
      }
      fn.reset();  // what it holds is of no more use
    });
    if (thrown != nullptr) std::rethrow_exception(thrown);
    if (unwound) throw_once_unwound();
  }

  once first;
  std::optional<F> fn;
  kept value{};
  std::exception_ptr thrown;
  bool unwound = false;
  std::uint64_t shares = 1;
};

}  // namespace detail

/// A function that calls f at its first call only; what f throws then, every call throws. Copies are one. If the goroutine
/// of the first call was cancelled in f, or called exit, later calls throw weft::error.
template <class F>
  requires std::is_invocable_v < std::decay_t<F>
& > auto once_func(F&& f) {
  const typename detail::once_state<std::decay_t<F>>::share state(std::in_place, std::forward<F>(f));
  return [state] { state->run(); };
}

/// The same for a function with a result, which every call returns a reference to.
template <class F>
  requires(!std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>)
auto once_value(F&& f) {
  const typename detail::once_state<std::decay_t<F>>::share state(std::in_place, std::forward<F>(f));
  return [state]() -> const auto& {
    state->run();
    return *state->value;
  };
}

}  // namespace v0
}  // namespace weft
