// weft::select: one of several operations, whichever can happen first. Go's select.
#pragma once
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>

#include "weft/chan.hpp"
#include "weft/semaphore.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

template <class C>
struct handle_traits {
  static constexpr bool sends = false, receives = false;
};
template <class T>
struct handle_traits<chan<T>> {
  using elem = T;
  static constexpr bool sends = true, receives = true;
};
template <class T>
struct handle_traits<send_chan<T>> {
  using elem = T;
  static constexpr bool sends = true, receives = false;
};
template <class T>
struct handle_traits<recv_chan<T>> {
  using elem = T;
  static constexpr bool sends = false, receives = true;
};

}  // namespace detail

/// The handles that can send, or receive: chan and one of its views.
template <class C>
concept sendable = detail::handle_traits<C>::sends;
template <class C>
concept receivable = detail::handle_traits<C>::receives;
template <class C>
using elem_t = typename detail::handle_traits<C>::elem;

namespace detail {

struct semaphore_access {
  static select_case acquire_case(semaphore& s) { return access::make({nullptr, &s.word_, &acquiring}); }
};

template <class C>
concept carries = !std::is_void_v<elem_t<C>>;

// A case with a handler: what select() calls once the case has happened. Lives as long as the select's arguments do.
template <class T, class F>
struct handled_recv {
  hchan* c;
  F&& f;
  std::optional<T> value = {};

  select_case as_case() { return access::make({c, &value, &receiving<T>}); }
  void call() { static_cast<void>(static_cast<F&&>(f)(static_cast<std::optional<T>&&>(value))); }
};
template <class F>
struct handled_recv<void, F> {
  hchan* c;
  F&& f;
  bool received = false;

  select_case as_case() { return access::make({c, &received, &receiving<void>}); }
  void call() {
    if constexpr (std::is_invocable_v<F, bool>) {
      static_cast<void>(static_cast<F&&>(f)(static_cast<bool>(received)));
    } else {
      static_cast<void>(static_cast<F&&>(f)());
    }
  }
};
template <class F>
struct handled_send {
  select_case s;
  F&& f;

  select_case as_case() { return s; }
  void call() { static_cast<void>(static_cast<F&&>(f)()); }
};

// A case that happens when a stop is requested: a channel of its own, in this very object, that a callback closes. So it
// costs no allocation, and is no copyable record.
WEFT_EXPORT void stop_case_open(hchan* c) noexcept;
WEFT_EXPORT void stop_case_close(hchan* c) noexcept;

struct nothing_to_call {
  void operator()() const noexcept {}
};
// Held: a handler by reference, or nothing_to_call.
template <class Held>
class on_stop {
 public:
  on_stop(const std::stop_token& token, Held&& f)
      : f_(static_cast<Held&&>(f)), opened_(&requested_), callback_(token, closer{&requested_}) {}
  // Not inline: the library asks which thread this is, and a compiler would keep an answer from before the wait.
  [[gnu::noinline]] ~on_stop() {}
  on_stop(const on_stop&) = delete;
  on_stop& operator=(const on_stop&) = delete;

  select_case as_case() { return access::make({&requested_, nullptr, &dropping<void>}); }
  void call() { static_cast<void>(static_cast<Held&&>(f_)()); }

 private:
  struct opening {
    explicit opening(hchan* c) { stop_case_open(c); }
  };
  struct closer {
    hchan* c;
    void operator()() const noexcept { stop_case_close(c); }
  };
  Held f_;
  hchan requested_{};
  opening opened_;
  std::stop_callback<closer> callback_;  // goes first, and waits for a call of it that is under way
};

template <class S>
inline constexpr bool is_handled = false;
template <class F>
inline constexpr bool is_handled<on_stop<F>> = true;
template <class T, class F>
inline constexpr bool is_handled<handled_recv<T, F>> = true;
template <class F>
inline constexpr bool is_handled<handled_send<F>> = true;

template <class S>
concept a_case = std::derived_from<std::remove_cvref_t<S>, select_case> || is_handled<std::remove_cvref_t<S>>;

template <class S>
[[gnu::always_inline]] inline select_case record_of(S& s) {
  if constexpr (is_handled<S>) {
    return s.as_case();
  } else {
    return s;
  }
}

[[gnu::always_inline]] inline void finish_case(const select_case& of, const chosen& c, void* landing) {
  const scase& s = access::of(of);
  if (!c.finished && s.ops->finish != nullptr) s.ops->finish(s.elem, landing, c.received);
}

template <class S>
[[gnu::always_inline]] inline void call_handler(S& s) {
  if constexpr (is_handled<S>) s.call();
}

// Inline by force: then the records are built where the core reads them. Built as arguments and copied, each costs 5 ns,
// because two words that have just been written are read as one (the store buffer cannot forward that).
template <class... S>
[[gnu::always_inline]] inline std::size_t select_among(bool block, S&... cases) {
  alignas(landing_align) unsigned char landing[landing_bytes];
  const select_case all[sizeof...(S) == 0 ? 1 : sizeof...(S)] = {record_of(cases)...};
  bool large = false;
  for (std::size_t i = 0; i < sizeof...(S); ++i) large = large || access::of(all[i]).ops->large;
  const chosen c = select_go(all, sizeof...(S), block, large ? nullptr : landing);
  if (c.index == npos) return npos;
  finish_case(all[c.index], c, landing);
  if constexpr ((is_handled<S> || ...)) {
    std::size_t i = 0;
    (static_cast<void>(i++ == c.index ? call_handler(cases) : void()), ...);
  }
  return c.index;
}

inline std::size_t select_span(std::span<const select_case> cases, bool block) {
  alignas(landing_align) unsigned char landing[landing_bytes];
  bool large = false;
  for (const select_case& s : cases) large = large || (access::of(s).ops != nullptr && access::of(s).ops->large);
  const chosen c = select_go(cases.data(), cases.size(), block, large ? nullptr : landing);
  if (c.index != npos) finish_case(cases[c.index], c, landing);
  return c.index;
}

}  // namespace detail

// ---- cases

/// Receives into value: the value, or nullopt when the channel is closed and drained. Untouched if another case happens. (A T
/// whose move may throw is moved straight into it, by whoever comes second: a move that has thrown leaves it empty.)
template <receivable C>
  requires detail::carries<C> select_case recv(const C& c, std::optional<elem_t<C>>& value) { return c.on_recv(value); }
/// From a chan<>: true if somebody sent, false if it is closed.
template <receivable C>
  requires(!detail::carries<C>)
select_case recv(const C& c, bool& received) { return c.on_recv(received); }
/// Receives, and drops the value.
template <receivable C>
select_case recv(const C& c) {
  return c.on_recv();
}
/// With a handler, called after the choice and outside all locks: f(std::optional<T>); for a chan<>: f(bool) or f().
template <receivable C, class F>
  requires(detail::carries<C>&& std::is_invocable_v<F, std::optional<elem_t<C>>>)
|| (!detail::carries<C> && (std::is_invocable_v<F, bool> || std::is_invocable_v<F>)) auto recv(const C& c, F&& f) {
  return detail::handled_recv<elem_t<C>, F>{detail::chan_access::of(c), static_cast<F&&>(f)};
}

/// Sends a copy of value if this case happens; the copy is made then, with the channel locked, and must not block.
template <sendable C>
  requires detail::carries<C> select_case send(const C& c, const elem_t<C>& value)
requires std::is_copy_constructible_v<elem_t<C>> { return c.on_send(value); }
/// Sends value by moving it away if this case happens; else value is untouched.
template <sendable C>
  requires detail::carries<C> select_case send(const C& c, elem_t<C>&& value) {
    return c.on_send(static_cast<elem_t<C>&&>(value));
  }
template <sendable C>
  requires(!detail::carries<C>)
select_case send(const C& c) { return c.on_send(); }
/// With a handler: f(), called after the choice and outside all locks.
template <sendable C, std::invocable F>
  requires detail::carries<C>
auto send(const C& c, const elem_t<C>& value, F&& f) requires std::is_copy_constructible_v<elem_t<C>> {
  return detail::handled_send<F>{c.on_send(value), static_cast<F&&>(f)};
}
template <sendable C, std::invocable F>
  requires detail::carries<C>
auto send(const C& c, elem_t<C>&& value, F&& f) {
  return detail::handled_send<F>{c.on_send(static_cast<elem_t<C>&&>(value)), static_cast<F&&>(f)};
}
template <sendable C, std::invocable F>
  requires(!detail::carries<C>)
auto send(const C& c, F&& f) { return detail::handled_send<F>{c.on_send(), static_cast<F&&>(f)}; }

/// Happens when ch is closed (or somebody sends): for a channel that is a sign, as context::done() is. Not copied: the handle
/// lives as long as the select's arguments do. With a handler: f().
template <receivable C>
  requires(!detail::carries<C>)
select_case on(const C& ch) { return ch.on_recv(); }
template <receivable C, std::invocable F>
  requires(!detail::carries<C>)
auto on(const C& ch, F&& f) { return detail::handled_send<F>{ch.on_recv(), static_cast<F&&>(f)}; }

/// Happens when a stop is requested. Not for a list of cases: it is more than a record. With a handler: f().
inline auto on(const std::stop_token& token) {
  return detail::on_stop<detail::nothing_to_call>(token, detail::nothing_to_call{});
}
template <std::invocable F>
auto on(const std::stop_token& token, F&& f) {
  return detail::on_stop<F&&>(token, static_cast<F&&>(f));
}

/// Takes a permit, if this case happens. Who waits so stands in the semaphore's line like all others. With a handler: f().
inline select_case acquire(semaphore& s) { return detail::semaphore_access::acquire_case(s); }
template <std::invocable F>
auto acquire(semaphore& s, F&& f) {
  return detail::handled_send<F>{acquire(s), static_cast<F&&>(f)};
}

// ---- select

/// Waits until one of the cases can happen, lets exactly that one happen, and returns its index. Among several that can, each
/// is equally likely. A case on a nil channel never happens; with no other it blocks for ever.
///   Throws    send_on_closed_channel, if a send to a closed channel is drawn (it counts as one that can happen);
///             weft::cancelled, when it has to wait: a cancellation point; what an element's copy or move throws, and what
///             a handler throws.
///   Blocks    the goroutine, or the plain thread.
///   Cost      no allocation up to 64 cases. One that can happen at once locks its own channel only.
template <detail::a_case... S>
[[gnu::always_inline]] inline std::size_t select(S&&... cases) {
  return detail::select_among(true, cases...);
}
inline std::size_t select(std::span<const select_case> cases) { return detail::select_span(cases, true); }

/// The same without waiting, Go's select with a default case: nullopt if no case can happen now.
template <detail::a_case... S>
[[nodiscard, gnu::always_inline]] inline std::optional<std::size_t> try_select(S&&... cases) {
  const std::size_t i = detail::select_among(false, cases...);
  if (i == detail::npos) return std::nullopt;
  return i;
}
[[nodiscard]] inline std::optional<std::size_t> try_select(std::span<const select_case> cases) {
  const std::size_t i = detail::select_span(cases, false);
  if (i == detail::npos) return std::nullopt;
  return i;
}

}  // namespace v0
}  // namespace weft
