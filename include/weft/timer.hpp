// weft::timer, weft::ticker, weft::after, weft::at, weft::after_func: things that happen at a time.
#pragma once
#include <concepts>
#include <optional>
#include <type_traits>

#include "weft/chan.hpp"
#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"
#include "weft/detail/entry.hpp"
#include "weft/select.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

WEFT_EXPORT hchan* timer_make(std::int64_t ns, std::int64_t period);
WEFT_EXPORT bool timer_stop(hchan* c);
WEFT_EXPORT bool timer_reset(hchan* c, std::int64_t ns);
WEFT_EXPORT hchan* ticker_make(std::int64_t period);
WEFT_EXPORT void ticker_stop(hchan* c);
WEFT_EXPORT void ticker_reset(hchan* c, std::int64_t period);
[[noreturn]] WEFT_EXPORT void timer_throw_unset(const char* call);

// A function that is called at a time, and who shares it: handles, the pending call, goroutines that run it.
struct func_timer;
struct func_ops {
  std::size_t size, align;
  void (*call)(void* f);
  void (*destroy)(void* f) noexcept;
};
WEFT_EXPORT func_timer* func_make(const func_ops* ops);
WEFT_EXPORT void* func_of(func_timer* t) noexcept;      // room for the callable
WEFT_EXPORT void func_discard(func_timer* t) noexcept;  // there is no callable in it
WEFT_EXPORT void func_start(func_timer* t, std::int64_t ns);
WEFT_EXPORT bool func_stop(func_timer* t);
WEFT_EXPORT bool func_reset(func_timer* t, std::int64_t ns);
WEFT_EXPORT void func_hold(func_timer* t) noexcept;
WEFT_EXPORT void func_drop(func_timer* t) noexcept;

template <class F>
inline constexpr func_ops func_ops_of{sizeof(F), alignof(F),
                                      [](void* f) { static_cast<void>((*static_cast<F*>(f))()); },
                                      [](void* f) noexcept { static_cast<F*>(f)->~F(); }};

}  // namespace detail

/// Go's time.Timer: at its time a value can be received from channel(), once: the time for which it was set, however late
/// somebody looks. A cheap handle, copied like a channel's; all operations are const. Dropping it does not stop it, and one
/// that nobody waits for costs nothing. Works between goroutines, plain threads, and goroutines of several runtimes.
/// As in Go 1.23: the channel looks unbuffered (size and capacity 0), and once stop() or reset() has returned, no value of
/// before can be received from it.
/// A default-constructed one, and one that was moved from, is none: stop() and reset() throw weft::error.
class timer {
 public:
  using channel_type = recv_chan<clock::time_point>;

  constexpr timer() noexcept = default;
  /// Set for d from now on; at once for d of zero or less. Does not block. Throws std::bad_alloc.
  explicit timer(duration d) : c_(detail::chan_access::adopt<channel_type>(detail::timer_make(d.count(), 0))) {}
  timer(const timer& other) noexcept : c_(other.c_), f_(other.f_) { detail::func_hold(f_); }
  timer(timer&& other) noexcept : c_(static_cast<channel_type&&>(other.c_)), f_(other.f_) { other.f_ = nullptr; }
  timer& operator=(timer other) noexcept {
    channel_type c = static_cast<channel_type&&>(c_);
    c_ = static_cast<channel_type&&>(other.c_);
    other.c_ = static_cast<channel_type&&>(c);
    detail::func_timer* f = f_;
    f_ = other.f_;
    other.f_ = f;
    return *this;
  }
  ~timer() { detail::func_drop(f_); }

  /// The timer will not fire. True: it was pending, or its value was there and not received. False: it has fired, or was
  /// stopped; one of after_func has started its function then, and this does not wait for it.
  ///   Throws    weft::error "time: Stop called on uninitialized Timer".
  ///   Blocks    no. Not a cancellation point.
  bool stop() const {
    if (f_ != nullptr) return detail::func_stop(f_);
    if (c_ == nullptr) detail::timer_throw_unset("time: Stop called on uninitialized Timer");
    return detail::timer_stop(detail::chan_access::of(c_));
  }
  /// Sets it anew for d from now on. Returns as stop(). Whoever waits for it waits for the new time.
  ///   Throws    weft::error "time: Reset called on uninitialized Timer"; one of after_func, on a plain thread.
  bool reset(duration d) const {
    if (f_ != nullptr) return detail::func_reset(f_, d.count());
    if (c_ == nullptr) detail::timer_throw_unset("time: Reset called on uninitialized Timer");
    return detail::timer_reset(detail::chan_access::of(c_), d.count());
  }
  /// Where the time can be received, and a case of a select be made of. Nil for a timer of after_func.
  channel_type channel() const noexcept { return c_; }

 private:
  template <class F>
  friend timer after_func(duration d, F&& f);
  explicit timer(detail::func_timer* f) noexcept : f_(f) {}

  channel_type c_;
  detail::func_timer* f_ = nullptr;
};

/// Go's time.Ticker: a value each period, the time of the tick. Ticks that nobody receives in time are skipped: there is one
/// at most to be received, and the grid stays. A handle as timer is; costs nothing while nobody waits.
class ticker {
 public:
  using channel_type = recv_chan<clock::time_point>;

  constexpr ticker() noexcept = default;
  /// Throws weft::error "non-positive interval for NewTicker"; std::bad_alloc.
  explicit ticker(duration period)
      : c_(detail::chan_access::adopt<channel_type>(detail::ticker_make(period.count()))) {}

  /// No more ticks, also none that was due. Does not close the channel. Nothing for a default-constructed one.
  void stop() const {
    if (c_ != nullptr) detail::ticker_stop(detail::chan_access::of(c_));
  }
  /// The next tick one period from now on.
  ///   Throws    weft::error "non-positive interval for Ticker.Reset", "time: Reset called on uninitialized Ticker".
  void reset(duration period) const { detail::ticker_reset(detail::chan_access::of(c_), period.count()); }
  channel_type channel() const noexcept { return c_; }

 private:
  channel_type c_;
};

/// A case of a select that happens at a time, and a wait of its own. Trivially copyable.
class timeout_case : public select_case {
 public:
  /// Waits for that time. The time it was; never nullopt.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point.
  ///   Blocks    the goroutine, or the plain thread.
  std::optional<clock::time_point> recv() const {
    select(static_cast<const select_case&>(*this));
    return clock::now();
  }

 private:
  friend struct detail::access;
  explicit timeout_case(const select_case& c) : select_case(c) {}
};

namespace detail {

inline select_case time_case(std::int64_t ns, const case_ops* ops) {
  return access::make({nullptr, reinterpret_cast<void*>(static_cast<std::intptr_t>(ns)), ops});
}

}  // namespace detail

/// A case that happens when the select has lasted so long; it begins anew with each select, also when the case is one of
/// many in a span. For zero or less it can happen at once, like any case that is ready. No allocation, no timer left behind.
inline timeout_case after(duration d) {
  return detail::access::make<timeout_case>(detail::time_case(d.count(), &detail::after_a_time));
}
/// With a handler: f(), called after the choice and outside all locks.
template <std::invocable F>
auto after(duration d, F&& f) {
  return detail::handled_send<F>{after(d), static_cast<F&&>(f)};
}
/// A case that happens at that time, by that clock at the call.
template <detail::a_time_point T>
timeout_case at(const T& t) {
  const std::int64_t when = detail::deadline_in(detail::ns_until(t));
  return detail::access::make<timeout_case>(detail::time_case(when, &detail::at_a_time));
}
template <detail::a_time_point T, std::invocable F>
auto at(const T& t, F&& f) {
  return detail::handled_send<F>{at(t), static_cast<F&&>(f)};
}

/// Calls f() in a goroutine of its own when d has gone by, of the runtime of the caller. The timer that it returns stops it or
/// sets it anew, and then f is called again, perhaps while an earlier call still runs; f is destroyed when no handle is left
/// and no call is pending or running. Dropping the handle does not stop it; the end of its runtime does. Go: time.AfterFunc.
///   F         anything that can be moved and be called several times.
///   Throws    weft::error: f is empty ("go of nil func value"), or the caller is in no runtime; std::bad_alloc; what
///             moving f throws. What f throws is uncaught, as in any goroutine.
///   Blocks    no.
template <class F>
[[gnu::always_inline]] inline timer after_func(duration d, F&& f) {
  using D = std::decay_t<F>;
  static_assert(std::is_invocable_v<D&>, "weft::after_func(d, f): f must be callable without arguments");
  if constexpr (detail::can_be_nil<D> && !std::is_function_v<std::remove_reference_t<F>>) {
    if (f == nullptr) detail::throw_go_of_nil();
  }
  struct owner {
    detail::func_timer* t;
    bool made = false;
    ~owner() {
      if (t == nullptr) return;
      made ? detail::func_drop(t) : detail::func_discard(t);
    }
  } o{detail::func_make(&detail::func_ops_of<D>)};
  ::new (detail::func_of(o.t)) D(static_cast<F&&>(f));
  o.made = true;
  detail::func_start(o.t, d.count());
  timer t(o.t);
  o.t = nullptr;
  return t;
}

}  // namespace v0
}  // namespace weft
