// run: a whole runtime's life, from the first P to the last goroutine.
#pragma once
#include <exception>
#include <optional>
#include <type_traits>

#include "weft/detail/config.hpp"
#include "weft/detail/unwind.hpp"
#include "weft/options.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

// The part of run() that is compiled once: body(arg) on the main goroutine. `exit_status(result)` is asked for
// when main has ended under main_return::exit.
WEFT_EXPORT void run_main(const options& o, void (*body)(void*), void* arg, int (*exit_status)(void*), void* result);

// Says that main was left by an exception: then run() goes its usual way and throws it.
inline constexpr int no_exit = -0x7fffffff;

// What main leaves behind: its value or its exception.
template <class R>
struct main_result {
  std::optional<R> value;
  std::exception_ptr thrown;
  static int exit_status(void* self) {
    auto& r = *static_cast<main_result*>(self);
    if (r.thrown) return no_exit;
    if constexpr (std::is_convertible_v<R, int>) return r.value ? static_cast<int>(*r.value) : 70;
    return 0;
  }
};

}  // namespace detail

/// Starts the scheduler on this thread and runs f as the main goroutine.
///   Returns   what f returns (void: 0), when every other goroutine has ended too: those that are left when f returns
///             are cancelled (options::on_main_return, shutdown_timeout).
///   Throws    what leaves f, after the others have ended; weft::error inside a goroutine or for bad options;
///             std::system_error when the system refuses memory.
///   Blocks    the thread. May be called again afterwards, and on other threads at the same time.
template <class F>
auto run(const options& o, F&& f) {
  using R0 = std::decay_t<std::invoke_result_t<F>>;
  using R = std::conditional_t<std::is_void_v<R0>, int, R0>;
  detail::main_result<R> result;
  auto body = [&]() {
    try {
      if constexpr (std::is_void_v<R0>) {
        static_cast<F&&>(f)();
        result.value.emplace(0);
      } else {
        result.value.emplace(static_cast<F&&>(f)());
      }
    } catch (const detail::goexit_unwind&) {
      throw;
    } catch (...) {
      result.thrown = std::current_exception();
      // None of C++'s: pthread_exit or thread cancellation, which may not be caught.
      if (!result.thrown) throw;
    }
  };
  void (*call)(void*) = [](void* b) { (*static_cast<decltype(body)*>(b))(); };
  detail::run_main(o, call, &body, &detail::main_result<R>::exit_status, &result);
  if (result.thrown) std::rethrow_exception(static_cast<std::exception_ptr&&>(result.thrown));
  return R(static_cast<R&&>(*result.value));
}

/// The same with options::from_env().
template <class F>
auto run(F&& f) {
  return weft::v0::run(options::from_env(), static_cast<F&&>(f));
}

}  // namespace v0
}  // namespace weft
