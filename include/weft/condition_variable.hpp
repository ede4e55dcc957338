// weft::condition_variable, condition_variable_any: waiting for what somebody else says under a lock.
#pragma once
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"
#include "weft/mutex.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

// One wait, in the waiter's frame (src/sync/condition_variable.cpp).
struct cond_waiter {
  alignas(8) unsigned char space[128];
};

// From here on a notification finds the waiter, which still runs.
WEFT_EXPORT void cond_enlist(std::uint64_t* word, cond_waiter* w);
enum class cond_end : unsigned char { notified, timed_out, cancelled };
inline constexpr std::int64_t no_deadline = INT64_MAX;
// Waits until it is notified, if it has not been, or until then. It is not enlisted any more afterwards; cancelled: the
// goroutine is to unwind.
WEFT_EXPORT cond_end cond_wait(std::uint64_t* word, cond_waiter* w, std::int64_t deadline);
// It will not wait. A notification that it has had already goes to somebody else.
WEFT_EXPORT void cond_withdraw(std::uint64_t* word, cond_waiter* w);
WEFT_EXPORT void cond_notify(std::uint64_t* word, bool all);
[[noreturn]] WEFT_EXPORT void cond_throw_cancelled();
[[noreturn]] WEFT_EXPORT void cond_throw_unlocked();

template <class Lock>
std::cv_status cond_wait_with(std::uint64_t* word, cond_waiter& w, Lock& lock, std::int64_t deadline = no_deadline) {
  // Enlisted before the lock is free: who then changes what this waits for, and notifies, finds it.
  try {
    lock.unlock();
  } catch (...) {
    cond_withdraw(word, &w);
    throw;
  }
  cond_end end;
  {
    struct locked_again {
      Lock& lock;
      ~locked_again() { lock.lock(); }  // a lock that throws here terminates, as std's
    } at_end{lock};
    end = cond_wait(word, &w, deadline);
  }
  if (end == cond_end::cancelled) cond_throw_cancelled();
  return end == cond_end::timed_out ? std::cv_status::timeout : std::cv_status::no_timeout;
}

// The forms with a deadline, by the runtime's clock, in terms of C's wait_by(lock, deadline).
template <class C, class Lock, class Pred>
bool cond_wait_by(C& c, Lock& lock, std::int64_t deadline, Pred& pred) {
  while (!pred()) {
    if (c.wait_by(lock, deadline) == std::cv_status::timeout) return pred();
  }
  return true;
}

}  // namespace detail

/// std::condition_variable's interface, for weft::mutex. Waiters are woken in the order in which they came, and never for no
/// reason; nobody who comes later can take a notification away from one that waits. Go's sync.Cond.
/// May be destroyed as soon as all waiters have been notified.
class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  /// Unlocks, blocks the goroutine (or plain thread) until it is notified, and locks again.
  ///   Takes     a std::unique_lock<weft::mutex>, or whatever else has owns_lock, lock and unlock for one.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point, and the lock is held again by then;
  ///             weft::error when the lock is not held.
  template <class Lock>
    requires std::same_as<typename Lock::mutex_type, mutex>
  void wait(Lock& lock) {
    if (!lock.owns_lock()) detail::cond_throw_unlocked();
    detail::cond_waiter w;
    detail::cond_enlist(&word_, &w);
    detail::cond_wait_with(&word_, w, lock);
  }
  /// Until pred(), which is called with the lock held, returns true.
  template <class Lock, class Pred>
    requires std::same_as<typename Lock::mutex_type, mutex>
  void wait(Lock& lock, Pred pred) {
    while (!pred()) wait(lock);
  }

  /// wait(), for so long at most: std::cv_status::timeout if nobody has notified it in that time. Whoever has timed out has
  /// used up no notification. The lock is held again, however long that takes.
  template <class Lock>
    requires std::same_as<typename Lock::mutex_type, mutex> std::cv_status wait_for(Lock& lock, duration d) {
      return wait_by(lock, detail::deadline_in(d.count()));
    }
  /// Until pred() is true, or for so long at most. Returns pred().
  template <class Lock, std::predicate Pred>
    requires std::same_as<typename Lock::mutex_type, mutex>
  bool wait_for(Lock& lock, duration d, Pred pred) {
    return detail::cond_wait_by(*this, lock, detail::deadline_in(d.count()), pred);
  }
  /// The same for what is left until then, by that clock at the call.
  template <class Lock, detail::a_time_point T>
    requires std::same_as<typename Lock::mutex_type, mutex> std::cv_status wait_until(Lock& lock, const T& t) {
      return wait_by(lock, detail::deadline_in(detail::ns_until(t)));
    }
  template <class Lock, detail::a_time_point T, std::predicate Pred>
    requires std::same_as<typename Lock::mutex_type, mutex>
  bool wait_until(Lock& lock, const T& t, Pred pred) {
    return detail::cond_wait_by(*this, lock, detail::deadline_in(detail::ns_until(t)), pred);
  }

  /// Wakes the one that has waited longest, if there is one. The mutex need not be held. Does not block.
  void notify_one() noexcept { notify(false); }
  /// Wakes all who wait, in their order.
  void notify_all() noexcept { notify(true); }

 private:
  template <class C, class Lock, class Pred>
  friend bool detail::cond_wait_by(C& c, Lock& lock, std::int64_t deadline, Pred& pred);
  template <class Lock>
  std::cv_status wait_by(Lock& lock, std::int64_t deadline) {
    if (!lock.owns_lock()) detail::cond_throw_unlocked();
    detail::cond_waiter w;
    detail::cond_enlist(&word_, &w);
    return detail::cond_wait_with(&word_, w, lock, deadline);
  }
  void notify(bool all) {
    if (!detail::door_open() && __atomic_load_n(&word_, __ATOMIC_RELAXED) == 0) return;
    detail::cond_notify(&word_, all);
  }
  std::uint64_t word_ = 0;  // how many wait
};

/// The same for any lock that has lock() and unlock().
class condition_variable_any {
 public:
  constexpr condition_variable_any() noexcept = default;
  condition_variable_any(const condition_variable_any&) = delete;
  condition_variable_any& operator=(const condition_variable_any&) = delete;

  /// As condition_variable::wait. What lock.unlock() throws leaves it.
  template <class Lock>
  void wait(Lock& lock) {
    detail::cond_waiter w;
    detail::cond_enlist(&word_, &w);
    detail::cond_wait_with(&word_, w, lock);
  }
  template <class Lock, std::predicate Pred>
  void wait(Lock& lock, Pred pred) {
    while (!pred()) wait(lock);
  }
  /// Until pred() is true or a stop is requested. Returns pred().
  template <class Lock, std::predicate Pred>
  bool wait(Lock& lock, std::stop_token stop, Pred pred) {
    return wait_by(lock, stop, detail::no_deadline, pred);
  }

  /// As those of condition_variable.
  template <class Lock>
  std::cv_status wait_for(Lock& lock, duration d) {
    return wait_by(lock, detail::deadline_in(d.count()));
  }
  template <class Lock, std::predicate Pred>
  bool wait_for(Lock& lock, duration d, Pred pred) {
    return detail::cond_wait_by(*this, lock, detail::deadline_in(d.count()), pred);
  }
  template <class Lock, detail::a_time_point T>
  std::cv_status wait_until(Lock& lock, const T& t) {
    return wait_by(lock, detail::deadline_in(detail::ns_until(t)));
  }
  template <class Lock, detail::a_time_point T, std::predicate Pred>
  bool wait_until(Lock& lock, const T& t, Pred pred) {
    return detail::cond_wait_by(*this, lock, detail::deadline_in(detail::ns_until(t)), pred);
  }
  /// Until pred() is true, a stop is requested, or time is up. Returns pred().
  template <class Lock, std::predicate Pred>
  bool wait_for(Lock& lock, std::stop_token stop, duration d, Pred pred) {
    return wait_by(lock, stop, detail::deadline_in(d.count()), pred);
  }
  template <class Lock, detail::a_time_point T, std::predicate Pred>
  bool wait_until(Lock& lock, std::stop_token stop, const T& t, Pred pred) {
    return wait_by(lock, stop, detail::deadline_in(detail::ns_until(t)), pred);
  }

  void notify_one() noexcept { notify(false); }
  void notify_all() noexcept { notify(true); }

 private:
  template <class C, class Lock, class Pred>
  friend bool detail::cond_wait_by(C& c, Lock& lock, std::int64_t deadline, Pred& pred);
  template <class Lock>
  std::cv_status wait_by(Lock& lock, std::int64_t deadline) {
    detail::cond_waiter w;
    detail::cond_enlist(&word_, &w);
    return detail::cond_wait_with(&word_, w, lock, deadline);
  }
  template <class Lock, class Pred>
  bool wait_by(Lock& lock, std::stop_token stop, std::int64_t deadline, Pred& pred) {
    const std::stop_callback wake(stop, [this] { notify_all(); });
    while (!stop.stop_requested()) {
      if (pred()) return true;
      detail::cond_waiter w;
      detail::cond_enlist(&word_, &w);
      // Enlisted first: a stop that comes after this look finds it.
      if (stop.stop_requested()) {
        detail::cond_withdraw(&word_, &w);
        break;
      }
      if (detail::cond_wait_with(&word_, w, lock, deadline) == std::cv_status::timeout) break;
    }
    return pred();
  }
  void notify(bool all) {
    if (!detail::door_open() && __atomic_load_n(&word_, __ATOMIC_RELAXED) == 0) return;
    detail::cond_notify(&word_, all);
  }
  std::uint64_t word_ = 0;
};

}  // namespace v0
}  // namespace weft
