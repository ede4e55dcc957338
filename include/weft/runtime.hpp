// A runtime to embed: for programs with a main loop of their own.
#pragma once
#include <exception>
#include <future>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/detail/config.hpp"
#include "weft/detail/entry.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/options.hpp"
#include "weft/semaphore.hpp"
#include "weft/this_goroutine.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void* runtime_open(const options& o);
WEFT_EXPORT void runtime_go(void* rt, const entry_ops* ops, void* from, text name, std::size_t stack_size);
WEFT_EXPORT void runtime_shutdown(void* rt);
WEFT_EXPORT void runtime_close(void* rt) noexcept;

template <class F>
using value_of = std::conditional_t<std::is_void_v<std::decay_t<std::invoke_result_t<F>>>, int,
                                    std::decay_t<std::invoke_result_t<F>>>;

template <class F>
value_of<F> value_from(F&& f) {
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    static_cast<F&&>(f)();
    return 0;
  } else {
    return static_cast<F&&>(f)();
  }
}
}  // namespace detail

/// Ps and threads of their own, and goroutines that any thread may start. Several may live at the same time, beside
/// weft::run too; semaphores, mutexes and the like join their goroutines and plain threads.
class runtime {
 public:
  /// With options::from_env().
  runtime() : runtime(options::from_env()) {}
  ///   Throws    weft::error for bad options; std::system_error when the system refuses memory.
  explicit runtime(const options& o) : rt_(detail::runtime_open(o)) {}
  /// As shutdown().
  ~runtime() { detail::runtime_close(rt_); }
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// Starts a goroutine, as weft::go does. Any thread, any goroutine.
  ///   Throws    as weft::go; weft::error after shutdown().
  ///   Blocks    no. Not a cancellation point. O(1); takes the lock of the global queue.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  [[gnu::always_inline]] void go(const attrs& a, F&& f) {
    using D = std::decay_t<F>;
    if constexpr (std::is_function_v<std::remove_reference_t<F>>) {
      go(a, &f);
    } else {
      if constexpr (detail::can_be_nil<D>) {
        if (f == nullptr) detail::throw_go_of_nil();
      }
      start<D, F>(a, f);
    }
  }
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  [[gnu::always_inline]] void go(F&& f) { go(attrs{}, static_cast<F&&>(f)); }

  /// Runs f in a goroutine of this runtime and waits for it; the other goroutines go on afterwards.
  ///   Returns   what f returns (void: 0).
  ///   Throws    what leaves f; future_cancelled when it was cancelled by shutdown(), or ended by this_goroutine::exit;
  ///             weft::error after shutdown().
  ///   Blocks    the thread, or the goroutine. Not a cancellation point: f may use what the caller owns.
  template <class F>
  auto run(F&& f) {
    using R = detail::value_of<F>;
    std::optional<R> value;
    std::exception_ptr thrown;
    semaphore done(0);
    struct at_end {
      semaphore& done;
      ~at_end() { done.release(); }
    };
    auto body = [&] {
      at_end signal{done};
      try {
        value.emplace(detail::value_from(static_cast<F&&>(f)));
      } catch (const cancelled&) {
        throw;
      } catch (const detail::goexit_unwind&) {
        throw;
      } catch (...) {
        thrown = std::current_exception();
        if (!thrown) throw;  // as in weft::run
      }
    };
    go([&body] { body(); });
    {
      no_cancel uninterrupted;
      done.acquire();
    }
    if (thrown) std::rethrow_exception(std::move(thrown));
    if (!value) throw future_cancelled();
    return R(std::move(*value));
  }

  /// Starts f in a goroutine of this runtime.
  ///   Returns   its result to be: std::future, whose get() blocks the thread, not the goroutine. A cancelled f, or one that
  ///             calls this_goroutine::exit, leaves future_cancelled there.
  ///   Throws    as go().
  template <class F>
  auto submit(F&& f) {
    using R = std::invoke_result_t<std::decay_t<F>>;
    std::promise<R> promise;
    std::future<R> result = promise.get_future();
    go([p = std::move(promise), f = std::decay_t<F>(static_cast<F&&>(f))]() mutable {
      try {
        if constexpr (std::is_void_v<R>) {
          std::move(f)();
          p.set_value();
        } else {
          p.set_value(std::move(f)());
        }
      } catch (const cancelled&) {
        p.set_exception(std::make_exception_ptr(future_cancelled()));
        throw;
      } catch (const detail::goexit_unwind&) {
        p.set_exception(std::make_exception_ptr(future_cancelled()));
        throw;
      } catch (...) {
        std::exception_ptr thrown = std::current_exception();
        if (!thrown) throw;  // as in weft::run
        p.set_exception(std::move(thrown));
      }
    });
    return result;
  }

  /// Cancels every goroutine and waits until the last has ended; the threads are gone then. Again: nothing.
  ///   Throws    weft::error inside a goroutine of this runtime.
  ///   Blocks    the thread; from a goroutine of another runtime as weft::blocking. After options::shutdown_timeout those that
  ///             are left are reported, and the process aborts.
  void shutdown() { detail::runtime_shutdown(rt_); }

 private:
  template <class D, class F>
  [[gnu::always_inline]] void start(const attrs& a, std::remove_reference_t<F>& f) {
    using entry = detail::entry_of<D, F>;
    if constexpr (detail::entry_inline<D>) {
      detail::runtime_go(rt_, &entry::ops,
                         const_cast<std::remove_cv_t<std::remove_reference_t<F>>*>(__builtin_addressof(f)), a.name,
                         a.stack_size);
    } else {
      detail::entry_guard<D> boxed{new D(static_cast<F&&>(f))};
      detail::runtime_go(rt_, &entry::ops, &boxed.f, a.name, a.stack_size);
      boxed.f = nullptr;
    }
  }

  void* rt_;
};

}  // namespace v0
}  // namespace weft
