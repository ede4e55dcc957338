// weft::task_group: goroutines that belong together: all are waited for, and the first error ends the others.
#pragma once
#include <cstddef>
#include <exception>
#include <new>
#include <type_traits>

#include "weft/context.hpp"
#include "weft/detail/config.hpp"
#include "weft/detail/held.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/semaphore.hpp"
#include "weft/this_goroutine.hpp"
#include "weft/wait_group.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
[[noreturn]] WEFT_EXPORT void task_group_bad_limit(std::ptrdiff_t n);
[[noreturn]] WEFT_EXPORT void task_group_busy(std::ptrdiff_t n, std::uint64_t running);
}  // namespace detail

/// Starts goroutines under a context of its own, a child of the one that it was made under. The first exception that leaves
/// one of them cancels that context, with the exception as its cause, and is what wait() throws. A goroutine that is
/// cancelled, or calls this_goroutine::exit, has no exception. Any goroutine, and any plain thread, may call wait(); go()
/// needs a runtime. After wait() it can be used again, until an exception or a cancellation has ended its context.
/// Like Go's errgroup.
class task_group {
 public:
  /// Under context::current().      Throws  std::bad_alloc.
  task_group() : task_group(weft::v0::context::current()) {}
  explicit task_group(const weft::v0::context& parent) : ctx_(parent.with_cancel()) {}
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;
  /// Cancels what is still running, and waits for it. Never throws, and is no cancellation point.
  ~task_group() {
    no_cancel uninterrupted;
    end({});
    all_.wait();
  }

  /// Starts a goroutine that calls f. Blocks while as many as the limit allows are running.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point; as weft::go. Nothing has been started then.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  void go(F&& f) {
    refuse_nil(f);
    if (limited_) slots_.acquire();
    start(static_cast<F&&>(f));
  }
  /// The same, if that needs no waiting. False: as many as the limit allows are running, and f is untouched.
  template <class F>
    requires std::is_invocable_v<std::decay_t<F>>
  [[nodiscard]] bool try_go(F&& f) {
    refuse_nil(f);
    if (limited_ && !slots_.try_acquire()) return false;
    start(static_cast<F&&>(f));
    return true;
  }

  /// Blocks the goroutine (or plain thread) until all that were started have ended; then throws the first exception that left
  /// one of them, if any did, each time it is called.
  ///   Throws    that; weft::cancelled, when it has to wait: a cancellation point.
  void wait() {
    all_.wait();
    if (first_ != nullptr) std::rethrow_exception(first_);
  }

  /// At most n at the same time; negative: any number. While none is running.
  ///   Throws    weft::error for 0, which could never start any, for more than 2147483647, and while some are running.
  void limit(std::ptrdiff_t n) {
    if (n == 0 || n > (semaphore::max)()) detail::task_group_bad_limit(n);
    if (const std::uint64_t running = __atomic_load_n(&running_, __ATOMIC_ACQUIRE); running != 0)
      detail::task_group_busy(n, running);
    limited_ = n > 0;
    slots_.~semaphore();
    ::new (static_cast<void*>(&slots_)) semaphore(limited_ ? n : 0);
  }

  /// What its goroutines run under.
  [[nodiscard]] const weft::v0::context& context() const noexcept { return ctx_; }
  /// Cancels its goroutines. wait() still waits for them.
  void cancel(std::exception_ptr cause = {}) const { ctx_.cancel(static_cast<std::exception_ptr&&>(cause)); }

 private:
  template <class F>
  static void refuse_nil([[maybe_unused]] const F& f) {
    if constexpr (detail::can_be_nil<std::decay_t<F>> && !std::is_function_v<F>) {
      if (f == nullptr) detail::throw_go_of_nil();
    }
  }

  // One that was started, or is about to be: what is undone when it ends.
  class membership {
   public:
    explicit membership(task_group* of) : of_(of) {
      __atomic_fetch_add(&of->running_, 1, __ATOMIC_RELAXED);
      struct undo {
        task_group* of;
        ~undo() {
          if (of != nullptr) give_back(of);
        }
      } on_throw{of};
      of->all_.add(1);
      on_throw.of = nullptr;
    }
    membership(membership&& other) noexcept : of_(other.of_) { other.of_ = nullptr; }
    ~membership() {
      if (of_ == nullptr) return;
      give_back(of_);
      of_->all_.done();  // the group may be gone now
    }
    task_group* of() const { return of_; }

   private:
    // In this order: limit() makes new slots when none is running, and no slot of before must come back into those.
    static void give_back(task_group* of) {
      if (of->limited_) of->slots_.release();
      __atomic_fetch_sub(&of->running_, 1, __ATOMIC_RELEASE);
    }

    task_group* of_;
  };
  template <class D>
  struct task {
    membership me;
    detail::held<D> f;

    void operator()() {
      membership last(static_cast<membership&&>(me));
      try {
        struct at_end {
          detail::held<D>& f;
          ~at_end() { f.drop(); }
        } before_the_group_hears{f};
        static_cast<void>(f.get()());
      } catch (const cancelled&) {
        throw;
      } catch (const detail::goexit_unwind&) {
        throw;
      } catch (...) {
        std::exception_ptr thrown = std::current_exception();
        if (thrown == nullptr) throw;  // none of C++'s: pthread_exit, or the cancellation of a thread
        last.of()->fail(static_cast<std::exception_ptr&&>(thrown));
      }
    }
  };

  void fail(std::exception_ptr thrown) {
    if (__atomic_exchange_n(&failed_, true, __ATOMIC_ACQ_REL)) return;
    first_ = thrown;
    end(static_cast<std::exception_ptr&&>(thrown));
  }

  // Nobody is to hear here of what a function that waits for the end throws (context::after_func), which is called all the same.
  void end(std::exception_ptr cause) {
    try {
      ctx_.cancel(static_cast<std::exception_ptr&&>(cause));
    } catch (...) {
      if (std::current_exception() == nullptr) throw;  // none of C++'s: pthread_exit, or the cancellation of a thread
    }
  }

  template <class F>
  void start(F&& f) {
    using D = std::decay_t<F>;
    // In this order: what undoes the slot goes last, also when f cannot be moved.
    task<D> t{membership(this), detail::held<D>(static_cast<F&&>(f))};
    const detail::with_scope under(detail::context_access::of(ctx_));
    weft::v0::go(static_cast<task<D>&&>(t));
  }

  weft::v0::context ctx_;
  wait_group all_;
  semaphore slots_{0};
  std::exception_ptr first_;  // written once, before the goroutine that failed is done
  std::uint64_t running_ = 0;
  bool limited_ = false;
  bool failed_ = false;
};

}  // namespace v0
}  // namespace weft
