// Condition variables through their public face, on plain threads. The users' lock is mostly the runtime's, which is one step
// here and waits in no table: what a condition variable does with the users' mutex is one model.
#include "weft/condition_variable.hpp"

#include <mutex>

#include "model/waits.hpp"
#include "weft/error.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;

// What is waited for, and the lock that guards it.
struct gate {
  rt::mutex lock;
  weft::condition_variable_any changed;
  bool open = false;

  void wait() {
    const rt::mutex_guard guard(lock);
    changed.wait(lock, [this] { return open; });
  }
  void set_open() {
    const rt::mutex_guard guard(lock);
    open = true;
  }
};

MODEL(cond_signal_is_not_lost, "a notification after a change finds who looked before it, also on its way to its park",
      .spurious = 1) {
  gate g;
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    g.set_open();
    g.changed.notify_one();
  });
  g.wait();
  expect(payload == 1, "what was done before is seen");
  t.join();
}

MODEL(cond_signal_under_the_lock, "the same of one that is made with the lock held") {
  gate g;
  auto t = start([&] {
    const rt::mutex_guard guard(g.lock);
    g.open = true;
    g.changed.notify_one();
  });
  g.wait();
  t.join();
}

MODEL(cond_notify_all, "all who wait go on") {
  gate g;
  auto a = start([&] { g.wait(); });
  auto b = start([&] { g.wait(); });
  g.set_open();
  g.changed.notify_all();
  a.join();
  b.join();
}

MODEL(cond_two_signals_for_two, "two notifications, two waiters: none of them takes both") {
  gate g;
  auto t = start([&] { g.wait(); });
  auto u = start([&] { g.wait(); });
  g.set_open();
  g.changed.notify_one();
  g.changed.notify_one();
  t.join();
  u.join();
}

MODEL(cond_wait_without_condition, "a wait ends by a notification, not by itself", .spurious = 1) {
  rt::mutex lock;
  weft::condition_variable_any c;
  int payload = 0;
  lock.lock();
  auto t = start([&] {
    const rt::mutex_guard guard(lock);  // free once the wait is enlisted
    payload = 1;
    c.notify_one();
  });
  c.wait(lock);
  expect(payload == 1, "nobody else notifies");
  lock.unlock();
  t.join();
}

MODEL(cond_first_come_first_served, "the oldest wait is notified") {
  rt::mutex lock;
  weft::condition_variable_any c;
  bool first = false;
  lock.lock();
  auto second = start([&] {
    const rt::mutex_guard guard(lock);  // free once the first wait is enlisted
    if (first) return;
    c.wait(lock);
    expect(first, "in the order of the waits");
  });
  auto notifier = start([&] {
    const rt::mutex_guard guard(lock);
    c.notify_one();
  });
  c.wait(lock);
  first = true;
  c.notify_one();
  lock.unlock();
  second.join();
  notifier.join();
}

MODEL(cond_destroyed_when_notified,
      "its last waiter frees it when the wait has returned, while the notification is at it", .spurious = 1) {
  rt::mutex lock;
  auto* c = new weft::condition_variable_any;
  lock.lock();
  auto t = start([&] {
    lock.lock();  // free once the wait is enlisted
    lock.unlock();
    c->notify_one();
  });
  c->wait(lock);
  lock.unlock();
  delete c;
  t.join();
}

MODEL(cond_destroyed_when_all_are_notified, "the same of two waiters, whoever is the last") {
  rt::mutex lock;
  auto* c = new weft::condition_variable_any;
  int waiting = 1;
  bool closed = false;
  auto leave = [&] {
    const bool last = --waiting == 0;
    lock.unlock();
    if (last) delete c;
  };
  lock.lock();
  auto second = start([&] {
    lock.lock();
    if (closed) {
      lock.unlock();
      return;
    }
    ++waiting;
    c->wait(lock);
    leave();
  });
  auto notifier = start([&] {
    lock.lock();
    closed = true;
    lock.unlock();
    c->notify_all();
  });
  c->wait(lock);
  leave();
  second.join();
  notifier.join();
}

MODEL(cond_cancel_against_notify, "a wait is cancelled or notified; either way its lock is held again") {
  gate g;
  const next_wait wait;
  bool took = false;
  bool cancelled = false;
  auto canceller = start([&] { took = wait.take(wait_result::cancelled); });
  auto notifier = start([&] {
    g.set_open();
    g.changed.notify_one();
  });
  g.lock.lock();
  try {
    g.changed.wait(g.lock, [&] { return g.open; });
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  g.lock.unlock();
  canceller.join();
  notifier.join();
  expect(took == cancelled, "cancelled exactly when the canceller says so");
}

MODEL(cond_counts_who_is_enlisted,
      "who was cancelled is not counted any more: the next notification has nothing to do") {
  const next_wait wait;
  std::uint64_t word = 0;
  weft::detail::cond_waiter mine;
  weft::detail::cond_enlist(&word, &mine);
  bool took = false;
  auto t = start([&] {
    took = wait.take(wait_result::cancelled);
    if (!took) weft::detail::cond_notify(&word, false);
  });
  const bool notified =
      weft::detail::cond_wait(&word, &mine, weft::detail::no_deadline) == weft::detail::cond_end::notified;
  t.join();
  expect(notified != took && __atomic_load_n(&word, __ATOMIC_RELAXED) == 0, "nobody is enlisted");
}

MODEL(cond_signal_passes_over_the_cancelled, "a notification does not go to who was cancelled, but to who waits behind",
      .preemptions = 2) {
  gate g;
  const next_wait wait;
  bool took = false;
  int cancelled = 0;
  auto waiter = [&] {
    g.lock.lock();
    bool notified = true;
    try {
      g.changed.wait(g.lock, [&] { return g.open; });
    } catch (const weft::cancelled&) {
      ++cancelled;
      notified = false;
    }
    g.lock.unlock();
    if (notified) g.changed.notify_one();  // for the other
  };
  auto second = start(waiter);
  auto t = start([&] {
    took = wait.take(wait_result::cancelled);
    g.set_open();
    g.changed.notify_one();
  });
  waiter();
  second.join();
  t.join();
  expect(cancelled == (took ? 1 : 0), "who was cancelled says so");
}

MODEL(cond_withdrawn, "who is enlisted and does not wait after all hands on what it was notified of") {
  gate g;
  std::uint64_t word = 0;
  weft::detail::cond_waiter early;
  weft::detail::cond_enlist(&word, &early);
  auto waiter = start([&] {
    for (;;) {
      g.lock.lock();
      if (g.open) break;
      weft::detail::cond_waiter mine;
      weft::detail::cond_enlist(&word, &mine);
      g.lock.unlock();
      expect(weft::detail::cond_wait(&word, &mine, weft::detail::no_deadline) == weft::detail::cond_end::notified,
             "notified");
    }
    g.lock.unlock();
  });
  auto notifier = start([&] {
    g.set_open();
    weft::detail::cond_notify(&word, false);
  });
  weft::detail::cond_withdraw(&word, &early);
  waiter.join();
  notifier.join();
  expect(word == 0, "nobody is enlisted");
}

MODEL(cond_with_mutex, "with the users' mutex, whose waiters are in the same table", .preemptions = 3) {
  weft::mutex m;
  weft::condition_variable c;
  bool open = false;
  auto t = start([&] {
    {
      const std::lock_guard guard(m);
      open = true;
    }
    c.notify_one();
  });
  {
    std::unique_lock guard(m);
    c.wait(guard, [&] { return open; });
  }
  t.join();
  expect(m.try_lock(), "it is free at the end");
}

}  // namespace
