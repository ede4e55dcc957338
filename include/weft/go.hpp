// Starting goroutines, and what a goroutine does with the thread it runs on.
#pragma once
#include <cstddef>

#include "weft/detail/config.hpp"
#include "weft/detail/entry.hpp"
#include "weft/detail/text.hpp"

namespace weft {
inline namespace v0 {

/// How a goroutine is started.
struct attrs {
  /// Shown in reports. Copied; at most 63 bytes are kept.
  detail::text name{};
  /// Bytes of stack, rounded up to 16 KiB, 64 KiB, 256 KiB, 1 MiB or 8 MiB. Default: options::stack_size.
  std::size_t stack_size = detail::default_stack;
};

/// Starts a goroutine that calls f, as Go's `go f()`. The caller goes on; the new goroutine is next on its P.
///   Takes     any move-only callable; it is moved (or copied from an lvalue) into the goroutine, once.
///   Throws    weft::error outside a runtime, for an empty function ("go of nil func value") or bad attributes;
///             std::bad_alloc; what f's move constructor throws. Nothing has been started then.
///   Blocks    no. Not a cancellation point.
///   Cost      O(1), no allocation for callables up to 64 bytes. The stack is bound when it first runs.
///   Orders    everything before this call happens before f begins.
///   An exception that leaves f ends the process like a Go panic: a report on stderr, then std::abort.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>>
[[gnu::always_inline]] inline void go(const attrs& a, F&& f) {
  using D = std::decay_t<F>;
  if constexpr (std::is_function_v<std::remove_reference_t<F>>) {
    weft::v0::go(a, &f);
    return;
  } else {
    if constexpr (detail::can_be_nil<D>) {
      if (f == nullptr) detail::throw_go_of_nil();
    }
    detail::start<D, F>(a.name, a.stack_size, f);
  }
}

template <class F>
  requires std::is_invocable_v<std::decay_t<F>>
[[gnu::always_inline]] inline void go(F&& f) { weft::v0::go(attrs{}, static_cast<F&&>(f)); }

/// Lets the other runnable goroutines of this P run first: the caller goes to the tail of its local queue.
/// On a plain thread: yields the thread. Not a cancellation point. Go: runtime.Gosched, but local.
WEFT_EXPORT void yield();

namespace detail {
class blocking_scope {
 public:
  WEFT_EXPORT blocking_scope();
  WEFT_EXPORT ~blocking_scope();
  blocking_scope(const blocking_scope&) = delete;
  blocking_scope& operator=(const blocking_scope&) = delete;

 private:
  void* g_;
};
}  // namespace detail

/// Runs f here and now, on this stack and thread, with the P handed to others first: for calls that block in
/// the kernel or in foreign code. The goroutine stays on its thread. On a plain thread: just calls f.
///   Returns   what f returns; f's exceptions pass.
///   Blocks    as long as f does, and then until a P is free. Not a cancellation point.
///   Cost      about a microsecond when another thread must be woken. Go: a blocking system call.
template <class F>
decltype(auto) blocking(F&& f) {
  detail::blocking_scope scope;
  return static_cast<F&&>(f)();
}

namespace detail {

// fn(arg) on a borrowed stack; what it throws passes.
WEFT_EXPORT void call_on_big_stack(void (*fn)(void*), void* arg, std::size_t size);

// One call of F, seen from the stack that it is made on. The result waits here, on the caller's stack.
template <class F, class R>
struct big_call {
  F&& f;
  union {
    std::remove_cv_t<R> result;
  };
  bool has_result = false;

  explicit big_call(F& callable) : f(static_cast<F&&>(callable)) {}
  ~big_call() {
    if (has_result) result.~R();
  }
  static void run(void* self) {
    auto& call = *static_cast<big_call*>(self);
    ::new (static_cast<void*>(__builtin_addressof(call.result))) std::remove_cv_t<R>(static_cast<F&&>(call.f)());
    call.has_result = true;
  }
  R take() { return static_cast<std::remove_cv_t<R>&&>(result); }
};

template <class F, class R>
  requires std::is_reference_v<R>
struct big_call<F, R> {
  F&& f;
  std::remove_reference_t<R>* result = nullptr;

  explicit big_call(F& callable) : f(static_cast<F&&>(callable)) {}
  static void run(void* self) {
    auto& call = *static_cast<big_call*>(self);
    R r = static_cast<F&&>(call.f)();
    call.result = __builtin_addressof(r);
  }
  R take() { return static_cast<R>(*result); }
};

template <class F, class R>
  requires std::is_void_v<R>
struct big_call<F, R> {
  F&& f;

  explicit big_call(F& callable) : f(static_cast<F&&>(callable)) {}
  static void run(void* self) { static_cast<F&&>(static_cast<big_call*>(self)->f)(); }
  void take() {}
};

}  // namespace detail

/// Runs f here and now on a larger stack, borrowed until f has returned: for deep recursion, or foreign code that
/// wants more than the goroutine has. f may do whatever the goroutine may, block and go on on another thread included.
///   Takes     size: bytes of stack, rounded up to 16 KiB, 64 KiB, 256 KiB, 1 MiB or 8 MiB. Calls nest.
///   Returns   what f returns: values are moved, so their type must be movable; references stay what they are.
///             f's exceptions pass, and one that nobody catches is reported with the frames of both stacks.
///   Throws    weft::error when size is below 1 KiB or above 8 MiB, std::bad_alloc when there is no stack; f has not
///             been called then.
///   Blocks    no longer than f does. Not a cancellation point. In `blocking`: takes a P first, and keeps it.
///   Cost      two entries of the runtime and a call, when the P has such a stack; else what a new stack costs.
///             The stack keeps the pages that f has touched.
///   On a plain thread the same: the thread's own stack may be small too. There it costs some system calls.
template <class F>
  requires std::is_invocable_v<F> std::invoke_result_t<F> on_big_stack(F&& f, std::size_t size = std::size_t{8} << 20) {
    using call_type = detail::big_call<F, std::invoke_result_t<F>>;
    call_type call(f);
    detail::call_on_big_stack(call_type::run, &call, size);
    return call.take();
  }

/// Goroutines of this runtime that have been started and have not ended, the caller included.
/// O(procs). Throws weft::error outside a runtime. Go: runtime.NumGoroutine.
WEFT_EXPORT int num_goroutine();

/// The number of Ps: goroutines of this runtime that run at the same time. n < 1 only asks. From then on it no longer
/// follows the machine.
///   Returns   what it was.      Throws  weft::error outside a runtime, or when n is above 4096.
///   Blocks    until every P has come to rest: each gives way at its next call of the runtime, or at once when its
///             goroutine is outside. Not a cancellation point. O(procs). Go: runtime.GOMAXPROCS.
WEFT_EXPORT int gomaxprocs(int n);

/// CPUs this process may use: affinity and cgroup quota, as Go 1.25. Go: runtime.NumCPU.
WEFT_EXPORT int num_cpu();

}  // namespace v0
}  // namespace weft
