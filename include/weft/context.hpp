// weft::context: cancellation, deadlines and values that belong to a piece of work, handed down a tree. Go's context.
#pragma once
#include <any>
#include <chrono>
#include <concepts>
#include <exception>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "weft/chan.hpp"
#include "weft/detail/context_node.hpp"
#include "weft/go.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {

/// Why a context is done, as std::error_code: "context canceled", "context deadline exceeded".
enum class context_errc { canceled = 1, deadline_exceeded = 2 };
WEFT_EXPORT const std::error_category& context_category() noexcept;
/// Equal to std::errc::operation_canceled and std::errc::timed_out, as conditions.
inline std::error_code make_error_code(context_errc e) noexcept { return {static_cast<int>(e), context_category()}; }

class context;

namespace detail {

struct context_access;

// A function that waits for a context's end (context::after_func), with what it needs to be called in a goroutine of its own.
// One share is the list's that it is in, the other the handle's.
struct after_func_node;
struct after_func_ops {
  void (*start)(
      after_func_node* n);  // in a goroutine of its own, or here, on a plain thread, where it may throw; drops it
  void (*destroy)(after_func_node* n) noexcept;
};

WEFT_EXPORT context_node* context_with_cancel(context_node* parent);
// `at`: of weft::clock, in nanoseconds. `why` is the cause if that time comes; null: deadline_exceeded.
WEFT_EXPORT context_node* context_with_deadline(context_node* parent, std::int64_t at, std::exception_ptr why);
WEFT_EXPORT context_node* context_without_cancel(context_node* parent);
WEFT_EXPORT context_node* context_from(const std::stop_token& token);
WEFT_EXPORT void context_cancel(context_node* n, std::exception_ptr cause);
WEFT_EXPORT hchan* context_done(context_node* n);
WEFT_EXPORT int context_err(const context_node* n) noexcept;
WEFT_EXPORT std::exception_ptr context_cause(const context_node* n);
// False: it has none.
WEFT_EXPORT bool context_deadline(const context_node* n, std::int64_t* at) noexcept;
WEFT_EXPORT std::stop_token context_stop_token(context_node* n);
WEFT_EXPORT const void* context_find(const context_node* n, const std::type_info& type, const void* key);
// A share.
WEFT_EXPORT context_node* context_current() noexcept;
WEFT_EXPORT void context_after_func(context_node* n, after_func_node* f);
WEFT_EXPORT bool context_stop(context_node* n, after_func_node* f);
WEFT_EXPORT void after_func_drop(after_func_node* f) noexcept;
WEFT_EXPORT bool in_goroutine() noexcept;
[[noreturn]] WEFT_EXPORT void throw_nil_key();

struct after_func_node {
  const after_func_ops* ops = nullptr;
  std::uint64_t refs = 1;
  alignas(8) unsigned char link[32] = {};  // src/context
};

template <class D>
struct after_func_of : after_func_node {
  D f;

  template <class F>
  explicit after_func_of(F&& from) : f(static_cast<F&&>(from)) {
    static constexpr after_func_ops the_ops{start, destroy};
    ops = &the_ops;
  }
  static void destroy(after_func_node* n) noexcept { delete static_cast<after_func_of*>(n); }
  static void start(after_func_node* n) {
    struct last {
      after_func_node* n;
      last(after_func_node* of) : n(of) {}
      last(last&& other) noexcept : n(other.n) { other.n = nullptr; }
      ~last() {
        if (n != nullptr) after_func_drop(n);
      }
    };
    auto body = [n = last(n)] { static_cast<void>(static_cast<D&&>(static_cast<after_func_of*>(n.n)->f)()); };
    if (detail::in_goroutine()) {
      weft::v0::go(static_cast<decltype(body)&&>(body));
    } else {
      body();
    }
  }
};

// What a key is kept as: all that is text as a string, so that a literal finds what another put there.
template <class K>
using context_key = std::conditional_t<std::is_convertible_v<const K&, std::string_view>, std::string, std::decay_t<K>>;

template <class K>
struct value_node : context_node {
  K key;
  std::any value;

  template <class A, class V>
  value_node(context_node* of, const A& k, V&& v)
      : key(k), value(std::in_place_type<std::decay_t<V>>, static_cast<V&&>(v)) {
    static constexpr context_ops the_ops{release, find};
    parent = context_hold(of);
    nearest = of == nullptr ? nullptr : of->nearest;
    ops = &the_ops;
  }
  static context_node* release(context_node* n) noexcept {
    context_node* up = n->parent;
    delete static_cast<value_node*>(n);
    return up;
  }
  static const void* find(const context_node* n, const std::type_info& type, const void* key) {
    const auto* self = static_cast<const value_node*>(n);
    return type == typeid(K) && self->key == *static_cast<const K*>(key) ? &self->value : nullptr;
  }
};

template <class K>
void check_key(const K& key) {
  if constexpr (std::is_null_pointer_v<K>) {
    throw_nil_key();
  } else if constexpr (std::is_pointer_v<K>) {
    if (key == nullptr) throw_nil_key();
  }
}

}  // namespace detail

/// A handle of one place in a tree of contexts: cheap to copy, all operations const. The root is the background, which is
/// also what a default-constructed or moved-from handle is; everything else is derived from a parent. When a context is
/// cancelled, by cancel(), by its deadline, or because its parent is, all that were derived from it are cancelled too, and
/// whoever waits inside weft::with(ctx, …), or in a goroutine that was started there, unwinds.
///   The first cancellation counts: err() and cause() stay as they are.
///   When the last handle of a context goes it is not cancelled. What can still be seen of it (its done channel, an
///   after_func, its stop token) follows its parent, its deadline and the stop token that it was made from all the same.
///   Whether anybody still has its stop token nobody can tell: one that was asked for it stays with its parent until that goes.
///   Any goroutine, of any runtime, and any plain thread may use one; it outlives runtimes.
/// Source: Go's context package.
class context {
 public:
  /// The background: never cancelled, without values and deadline.
  constexpr context() noexcept = default;
  context(const context& other) noexcept : n_(detail::context_hold(other.n_)) {}
  context(context&& other) noexcept : n_(other.n_) { other.n_ = nullptr; }
  context& operator=(const context& other) noexcept {
    context copy(other);
    swap(copy);
    return *this;
  }
  context& operator=(context&& other) noexcept {
    context taken(static_cast<context&&>(other));
    swap(taken);
    return *this;
  }
  ~context() { detail::context_drop(n_); }

  static context background() noexcept { return {}; }
  /// What the calling goroutine, or thread, runs under: the innermost weft::with; in a goroutine, outside of any, what it has
  /// inherited from its creator. O(1), does not block.
  static context current() noexcept { return context(detail::context_current()); }

  /// A child that can be cancelled. If this one is cancelled already, so is the child.
  ///   Throws    std::bad_alloc.     Cost  one allocation, O(1). Does not block.
  [[nodiscard]] context with_cancel() const { return context(detail::context_with_cancel(n_)); }
  /// A child that is cancelled at that time of weft::clock, or of another clock by what is left until then at the call. An
  /// earlier deadline of the parent's wins. In the past: it is cancelled at once.
  ///   `cause`: what cause() is then, in place of "context deadline exceeded".
  template <class Clock, class Duration>
  [[nodiscard]] context with_deadline(const std::chrono::time_point<Clock, Duration>& at,
                                      std::exception_ptr cause = {}) const {
    if constexpr (std::is_same_v<Clock, clock>) {
      return context(detail::context_with_deadline(n_, detail::to_ns(at.time_since_epoch()),
                                                   static_cast<std::exception_ptr&&>(cause)));
    } else {
      return with_timeout(std::chrono::nanoseconds(detail::ns_until(at)), static_cast<std::exception_ptr&&>(cause));
    }
  }
  /// with_deadline(now + d).
  template <class Rep, class Period>
  [[nodiscard]] context with_timeout(const std::chrono::duration<Rep, Period>& d, std::exception_ptr cause = {}) const {
    const std::int64_t now = detail::clock_now(), ns = detail::to_ns(d);
    return context(detail::context_with_deadline(n_, ns > INT64_MAX - now ? INT64_MAX : now + ns,
                                                 static_cast<std::exception_ptr&&>(cause)));
  }
  /// A child that answers value(key) with v. Keys are of any type that can be compared for equality and copied; two are the
  /// same if they are of one type and equal. Text (literals, std::string, std::string_view) is one type, std::string.
  ///   Throws    weft::error "nil key" for a null pointer; std::bad_alloc, what the copies throw.
  template <class K, class V>
    requires std::equality_comparable<detail::context_key<K>> && std::copy_constructible<std::decay_t<V>>
  [[nodiscard]] context with_value(const K& key, V&& v) const {
    detail::check_key(key);
    return context(new detail::value_node<detail::context_key<K>>(n_, key, static_cast<V&&>(v)));
  }
  /// A child with this one's values that nothing cancels: no deadline, and done() is nil.
  [[nodiscard]] context without_cancel() const { return context(detail::context_without_cancel(n_)); }
  /// A context that is cancelled when a stop is requested.
  static context from(const std::stop_token& token) { return context(detail::context_from(token)); }

  /// Cancels this context and all that were derived from it: each of them is done when this returns. Again: nothing. On a
  /// context that was made by with_value it cancels the one that that was made of; on the background nothing.
  ///   `cause`: what cause() will be; null: "context canceled".
  ///   Blocks    no; but while another call cancels the same context, until that is done. Not a cancellation point.
  ///   Orders    everything before it happens before whoever sees that the context is done.
  ///   Cost      linear in the contexts below, without recursion, and without a lock while anybody else's code runs.
  ///   Functions that a std::stop_callback has for stop_token() are called by it, in the end.
  ///   Throws    on a plain thread, what the first of the functions of after_func to throw there has thrown, in the end: all
  ///             are called, and all is done by then. Others' exceptions are lost. One that ends the thread (pthread_exit) is
  ///             not stopped in that: those that are left are called on a thread of their own.
  void cancel(std::exception_ptr cause = {}) const {
    detail::context_cancel(n_, static_cast<std::exception_ptr&&>(cause));
  }

  /// Closed when this context is cancelled. Nil, if it never can be. Always the same channel.
  [[nodiscard]] recv_chan<> done() const { return detail::chan_access::adopt<recv_chan<>>(detail::context_done(n_)); }
  /// Empty until it is cancelled, and until done() is closed; then why, a context_errc.
  [[nodiscard]] std::error_code err() const noexcept {
    const int e = detail::context_err(n_);
    return e == 0 ? std::error_code() : make_error_code(static_cast<context_errc>(e));
  }
  /// Null until it is cancelled. Then what cancel() was given first, here or above; if nothing, err() as a std::system_error.
  [[nodiscard]] std::exception_ptr cause() const { return detail::context_cause(n_); }
  /// When it will be cancelled at the latest, if there is such a time.
  [[nodiscard]] std::optional<clock::time_point> deadline() const noexcept {
    std::int64_t at = 0;
    if (!detail::context_deadline(n_, &at)) return std::nullopt;
    return clock::time_point(clock::duration(at));
  }
  /// What the nearest with_value for that key has; empty if there is none. O(depth).
  template <class K>
    requires std::equality_comparable<detail::context_key<K>>
  [[nodiscard]] std::any value(const K& key) const {
    const std::any* found = find(key);
    return found == nullptr ? std::any() : *found;
  }
  /// The same without a copy: null if there is none, or it is not a T. Valid as long as a context below it is.
  template <class T, class K>
    requires std::equality_comparable<detail::context_key<K>>
  [[nodiscard]] const T* value_as(const K& key) const { return std::any_cast<T>(find(key)); }

  /// A token of which a stop is requested when this context is cancelled; of the background one that never is.
  [[nodiscard]] std::stop_token stop_token() const { return detail::context_stop_token(n_); }

  /// What after_func returns.
  class registration {
   public:
    registration(registration&& other) noexcept : of_(other.of_), f_(other.f_) {
      other.of_ = nullptr;
      other.f_ = nullptr;
    }
    registration& operator=(registration&& other) noexcept {
      registration taken(static_cast<registration&&>(other));
      std::swap(of_, taken.of_);
      std::swap(f_, taken.f_);
      return *this;
    }
    /// Forgets it: the function will be called all the same.
    ~registration() {
      if (f_ != nullptr) detail::after_func_drop(f_);
      detail::context_drop(of_);
    }
    /// The function is not to be called. True: it will not be, because of this call; false: it has been started, or was
    /// stopped before. Does not wait for it.
    bool stop() const { return f_ != nullptr && detail::context_stop(of_, f_); }
    bool operator()() const { return stop(); }

   private:
    friend class context;
    registration(detail::context_node* of, detail::after_func_node* f) : of_(detail::context_hold(of)), f_(f) {}
    detail::context_node* of_;
    detail::after_func_node* f_;
  };

  /// Calls f in a goroutine of its own, under no context, once ctx is cancelled; at once, if it is. On a plain thread that
  /// cancels, f is called there, before cancel() returns. At a deadline that a plain thread has made, or whose runtime has
  /// ended, f is called on a thread of its own, which ends the process if f throws, as a goroutine does.
  ///   Throws    std::bad_alloc, what f's move constructor throws; if it is called here, what f throws.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  static registration after_func(const context& ctx, F&& f) {
    using D = std::decay_t<F>;
    if constexpr (detail::can_be_nil<D> && !std::is_function_v<std::remove_reference_t<F>>) {
      if (f == nullptr) detail::throw_go_of_nil();
    }
    registration r(ctx.n_, new detail::after_func_of<D>(static_cast<F&&>(f)));
    detail::context_after_func(ctx.n_, r.f_);
    return r;
  }

  /// Whether both are handles of one context.
  friend bool operator==(const context& a, const context& b) noexcept { return a.n_ == b.n_; }

 private:
  friend struct detail::context_access;
  explicit constexpr context(detail::context_node* n) noexcept : n_(n) {}
  void swap(context& other) noexcept { std::swap(n_, other.n_); }
  template <class K>
  const std::any* find(const K& key) const {
    if constexpr (std::is_same_v<K, detail::context_key<K>>) {
      return static_cast<const std::any*>(detail::context_find(n_, typeid(K), &key));
    } else {
      const detail::context_key<K> kept(key);
      return static_cast<const std::any*>(detail::context_find(n_, typeid(kept), &kept));
    }
  }

  detail::context_node* n_ = nullptr;
};

namespace detail {

struct context_access {
  static context_node* of(const context& c) noexcept { return c.n_; }
};

// The calling goroutine, or thread, runs under ctx for this scope.
class with_scope {
 public:
  WEFT_EXPORT explicit with_scope(context_node* n);
  WEFT_EXPORT ~with_scope();
  with_scope(const with_scope&) = delete;
  with_scope& operator=(const with_scope&) = delete;

 private:
  void* carried_;  // by whom
  context_node* outer_;
  void* outer_obeys_;
};

}  // namespace detail

/// Calls f under ctx: context::current() is ctx, goroutines that it starts inherit it, and every cancellation point obeys it:
/// once ctx is cancelled, a call that has to wait throws weft::cancelled. That unwinds out of here, and, if nobody catches
/// it, silently out of the goroutine. Nests: the innermost counts, and is usually derived from the one around it.
///   On a plain thread: goroutines that f starts (weft::run, runtime::run, go and submit) inherit ctx and obey it, but f's own
///   waits do not: a thread that waits in recv, sleep or the like goes on waiting. Let it look at ctx.done() in a select.
///   Returns   what f returns.      Throws  what f throws; std::bad_alloc.
///   Cost      two entries of the runtime; a goroutine's first time an allocation. A wait under a context costs a barrier more
///             than one under none.
template <class F>
  requires std::is_invocable_v<F>
decltype(auto) with(const context& ctx, F&& f) {
  const detail::with_scope under(detail::context_access::of(ctx));
  return static_cast<F&&>(f)();
}

}  // namespace v0
}  // namespace weft

template <>
struct std::is_error_code_enum<weft::v0::context_errc> : std::true_type {};
