// weft::async and weft::future: the result of a goroutine.
#pragma once
#include <chrono>
#include <exception>
#include <future>
#include <type_traits>

#include "weft/detail/config.hpp"
#include "weft/detail/future_state.hpp"
#include "weft/detail/held.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/select.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {
template <class R>
class future;

namespace detail {

struct future_access;

// With room for the value.
template <class R>
struct result_of : future_state {
  union {
    R value;
  };
  result_of() {}
  ~result_of() {
    if (what == outcome::value) value.~R();
  }
  template <class F>
  void set(F&& f) {
    ::new (static_cast<void*>(__builtin_addressof(value))) R(static_cast<F&&>(f)());
  }
};
template <>
struct result_of<void> : future_state {
  template <class F>
  void set(F&& f) {
    static_cast<void>(static_cast<F&&>(f)());
  }
};
template <class R>
struct result_of<R&> : future_state {
  R* value = nullptr;
  template <class F>
  void set(F&& f) {
    value = __builtin_addressof(static_cast<F&&>(f)());
  }
};

template <class R>
void drop_result(result_of<R>* s) noexcept {
  if (s == nullptr) return;
  // Who has the only share needs no locked instruction to know it: nobody else can make another.
  if (__atomic_load_n(&s->refs, __ATOMIC_ACQUIRE) == 1 || __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) == 1)
    delete s;
}

// What the goroutine calls. If it goes without having been called, its runtime has ended, and nobody will.
template <class R, class D>
struct async_call {
  result_of<R>* s;
  held<D> f;

  template <class F>
  async_call(result_of<R>* state, F&& from) : s(state), f(static_cast<F&&>(from)) {}
  async_call(async_call&& other) noexcept(std::is_nothrow_move_constructible_v<D>)
      : s(other.s), f(static_cast<held<D>&&>(other.f)) {
    other.s = nullptr;
  }
  ~async_call() {
    if (s != nullptr) end(outcome::cancelled);
  }
  void operator()() {
    try {
      s->set(f.get());
    } catch (const cancelled&) {
      throw;
    } catch (const goexit_unwind&) {
      throw;
    } catch (...) {
      s->thrown = std::current_exception();
      if (s->thrown == nullptr) throw;  // none of C++'s: pthread_exit, or the cancellation of a thread
      end(outcome::thrown);
      return;
    }
    end(outcome::value);
  }

 private:
  void end(outcome how) noexcept {
    f.drop();
    result_of<R>* mine = s;
    s = nullptr;
    mine->what = how;
    future_settle(mine);
    drop_result(mine);
  }
};

// How it comes into its goroutine: with a plain f, running no code of the program's.
template <class R, class D>
inline constexpr entry_ops async_ops{
    entry_of<async_call<R, D>, async_call<R, D>>::construct, entry_of<async_call<R, D>, async_call<R, D>>::run,
    entry_of<async_call<R, D>, async_call<R, D>>::drop, std::is_trivially_copyable_v<D>};

}  // namespace detail

/// The result of a goroutine that async() has started: a cheap handle, copied like a shared_ptr, all operations const. A
/// default-constructed or moved-from one has no result to wait for: valid() is false, and all else throws weft::error.
/// When the last handle goes nothing waits; the goroutine goes on.
template <class R>
class future {
  static_assert(std::is_void_v<R> || std::is_reference_v<R> || std::is_move_constructible_v<R>,
                "weft::future<R>: R must be void, a reference, or an object type that can be moved");

 public:
  using value_type = R;

  constexpr future() noexcept = default;
  future(const future& other) noexcept : s_(other.s_) {
    if (s_ != nullptr) __atomic_fetch_add(&s_->refs, 1, __ATOMIC_RELAXED);
  }
  future(future&& other) noexcept : s_(other.s_) { other.s_ = nullptr; }
  future& operator=(const future& other) noexcept {
    future copy(other);
    swap(copy);
    return *this;
  }
  future& operator=(future&& other) noexcept {
    future moved(static_cast<future&&>(other));
    swap(moved);
    return *this;
  }
  ~future() { detail::drop_result(s_); }

  /// Whether there is a result to wait for.
  [[nodiscard]] bool valid() const noexcept { return s_ != nullptr; }
  /// Whether it is there. Does not block.
  [[nodiscard]] bool ready() const { return detail::future_is_ready(state()); }

  /// Blocks the goroutine (or plain thread) until the result is there.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point.
  ///   Orders    everything that the goroutine did happens before this returns.
  void wait() const {
    const auto* s = state();
    if (!detail::door_open() && detail::future_is_ready(s)) [[likely]]
      return;
    detail::future_wait(s_);
  }
  /// The same for a time, or until one, at most: std::future_status::ready or timeout.
  template <class Rep, class Period>
  std::future_status wait_for(const std::chrono::duration<Rep, Period>& d) const {
    state();
    return detail::future_wait_for(s_, detail::to_ns(d)) ? std::future_status::ready : std::future_status::timeout;
  }
  template <class Clock, class Duration>
  std::future_status wait_until(const std::chrono::time_point<Clock, Duration>& t) const {
    state();
    return detail::future_wait_for(s_, detail::ns_until(t)) ? std::future_status::ready : std::future_status::timeout;
  }

  /// Waits, and returns the result, any number of times, from any handle; it lives as long as one of them. For void nothing,
  /// for a reference that.
  ///   Throws    what left the goroutine's function; future_cancelled if it was cancelled, or called this_goroutine::exit;
  ///             weft::error if the result was taken; weft::cancelled, as wait().
  decltype(auto) get() const {
    wait_for_value();
    if (__atomic_load_n(&s_->taken, __ATOMIC_ACQUIRE)) [[unlikely]]
      detail::future_throw_taken();
    return value();
  }
  /// Waits, and moves the result out: once, for all handles together. The second time, as get() after it, throws weft::error.
  R take() const {
    wait_for_value();
    if (__atomic_exchange_n(&s_->taken, true, __ATOMIC_ACQ_REL)) [[unlikely]]
      detail::future_throw_taken();
    if constexpr (std::is_void_v<R>) {
      return;
    } else if constexpr (std::is_reference_v<R>) {
      return static_cast<R>(*s_->value);
    } else {
      return R(static_cast<R&&>(s_->value));
    }
  }

  /// Whether both are handles of one result.
  friend bool operator==(const future& a, const future& b) noexcept { return a.s_ == b.s_; }

 private:
  friend struct detail::future_access;
  explicit constexpr future(detail::result_of<R>* s) noexcept : s_(s) {}
  void swap(future& other) noexcept {
    detail::result_of<R>* s = s_;
    s_ = other.s_;
    other.s_ = s;
  }
  const detail::result_of<R>* state() const {
    if (s_ == nullptr) [[unlikely]]
      detail::future_throw_no_state();
    return s_;
  }
  void wait_for_value() const {
    wait();
    if (s_->what != detail::outcome::value) [[unlikely]]
      detail::future_throw(s_);
  }
  decltype(auto) value() const {
    if constexpr (std::is_void_v<R>) {
      return;
    } else if constexpr (std::is_reference_v<R>) {
      return static_cast<R>(*s_->value);
    } else {
      return static_cast<const R&>(s_->value);
    }
  }

  detail::result_of<R>* s_ = nullptr;
};

namespace detail {
struct future_access {
  template <class R>
  static future<R> make(result_of<R>* s) noexcept {
    return future<R>(s);
  }
  template <class R>
  static hchan* done(const future<R>& f) {
    f.state();
    return future_done(f.s_);
  }
};
}  // namespace detail

/// A case of a select: happens when the result is there. The handle lives as long as the select's arguments do. The first one for
/// a result allocates. With a handler: f().
template <class R>
select_case on(const future<R>& f) {
  return detail::access::make({detail::future_access::done(f), nullptr, &detail::dropping<void>});
}
template <class R, std::invocable F>
auto on(const future<R>& result, F&& f) {
  return detail::handled_send<F>{on(result), static_cast<F&&>(f)};
}

/// Starts a goroutine that calls f, as weft::go does, and returns its result to be. An exception that leaves f is the result:
/// get() throws it. So is cancellation: future_cancelled.
///   Throws    as weft::go. Nothing has been started then.
///   Blocks    no.    Cost  weft::go and one allocation.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>>
[[nodiscard, gnu::always_inline]] inline auto async(const attrs& a, F&& f) {
  using D = std::decay_t<F>;
  using R0 = std::invoke_result_t<D>;
  using R = std::conditional_t<std::is_lvalue_reference_v<R0> || std::is_void_v<R0>, R0, std::decay_t<R0>>;
  if constexpr (detail::can_be_nil<D> && !std::is_function_v<std::remove_reference_t<F>>) {
    if (f == nullptr) detail::throw_go_of_nil();
  }
  auto* s = new detail::result_of<R>;
  future<R> result = detail::future_access::make<R>(s);
  // The goroutine's share is the call's, also when it cannot be started.
  detail::async_call<R, D> call(s, static_cast<F&&>(f));
  if constexpr (detail::entry_inline<detail::async_call<R, D>>) {
    detail::newproc(&detail::async_ops<R, D>, __builtin_addressof(call), a.name, a.stack_size);
  } else {
    weft::v0::go(a, static_cast<detail::async_call<R, D>&&>(call));
  }
  return result;
}
template <class F>
  requires std::is_invocable_v<std::decay_t<F>>
[[nodiscard, gnu::always_inline]] inline auto async(F&& f) { return weft::v0::async(attrs{}, static_cast<F&&>(f)); }

}  // namespace v0
}  // namespace weft
