// taker: whoever takes a waiter off its queue owns the wake-up (model/sudog.hpp). Here three kinds of taker are after the
// same waiters at once: releasers, timeouts, and late timeouts that mean an earlier wait of the same goroutine. Exactly
// one gets each wait. So a token is neither lost with a waiter that had timed out nor given to two; and a waiter returns
// "timed out" exactly when the timeout says that it took it (FAULTS 5, RELIABILITY P2, P5).
//
// The public acquire(), lock() and wait() do not report a timeout yet. A waiter on one of those therefore asks the
// timeout's own verdict after it has returned. The object at the end is the test's: it reports, admits plain threads, and
// lets others go when a timeout takes the one in front of them.
//
// In an exploration (test/conformance/explored_stress_test.cpp) the same, without plain threads.
#pragma once
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "sched/park.hpp"
#include "support/stress.hpp"
#include "weft/sim.hpp"

namespace weft::test::taker {

// One waiter and the timeout of its present wait.
class timeout {
 public:
  // By the waiter, before it waits; its next wait is the one meant. For plain threads the proxy.
  void arm(rt::g* gp) {
    gp_ = gp;
    goid_ = gp->goid;
    seq_ = gp->wait_seq + 1;
    state_.store(armed, std::memory_order_release);
  }
  // By the waiter, when the wait has returned: was it a timeout? Nobody may be at it any more after this.
  bool disarm() {
    int state = armed;
    if (state_.compare_exchange_strong(state, idle)) return false;  // it never fired
    test::spin_until([&] {
      if (rt::getg() != nullptr) yield();
      return (state = state_.load(std::memory_order_acquire)) != firing;
    });
    old_goid_ = goid_;
    old_seq_ = seq_;
    state_.store(idle, std::memory_order_release);
    return state == took;
  }
  // By a taker: fires it, if it is armed.
  void fire(test::random_source& r) {
    int state = armed;
    if (!state_.compare_exchange_strong(state, firing)) return;
    for (std::uint32_t d = r.below(200); d > 0; --d) rt::os::pause();
    bool mine = false;
    {
      rt::caller me;
      // Two at once, as a timeout and a cancellation would: one of them at most.
      if (old_seq_ != 0 && old_seq_ != seq_ && r.one_in(4)) {
        test::expect(!rt::take_waiter(me.self(), gp_, old_goid_, old_seq_, rt::wait_result::timed_out),
                     "a late timeout took a later wait");
      }
      mine = rt::take_waiter(me.self(), gp_, goid_, seq_, rt::wait_result::timed_out);
      if (r.one_in(4)) {
        // (The first may have come before the wait.)
        const bool again = rt::take_waiter(me.self(), gp_, goid_, seq_, rt::wait_result::timed_out);
        test::expect(!again || !mine, "one wait was taken twice");
        mine = mine || again;
      }
    }
    if (mine) fired.fetch_add(1, std::memory_order_relaxed);
    state_.store(mine ? took : missed, std::memory_order_release);
  }

  static inline std::atomic<std::uint64_t> fired{0};

 private:
  enum { idle, armed, firing, took, missed };
  std::atomic<int> state_{idle};
  rt::g* gp_ = nullptr;
  std::uint64_t goid_ = 0, old_goid_ = 0;
  std::uint32_t seq_ = 0, old_seq_ = 0;
};

// Fires timeouts at random, from a plain thread or a goroutine, until told to stop.
class takers {
 public:
  takers(std::vector<timeout>& all, test::random_source& r) {
    for (std::uint32_t i = 0; !sim::active() && i < 1 + r.below(2); ++i) {
      threads_.emplace_back([this, &all, seed = r.next_seed()] { work(all, test::random_source(seed)); });
    }
    if (sim::active() || r.one_in(2)) {
      goroutines_.go([this, &all, seed = r.next_seed()] { work(all, test::random_source(seed)); });
    }
  }
  void stop() {
    stop_ = true;
    goroutines_.wait();
    blocking([&] {
      for (std::thread& t : threads_) t.join();
    });
  }

 private:
  void work(std::vector<timeout>& all, test::random_source r) {
    while (!stop_.load(std::memory_order_relaxed)) {
      all[r.below(static_cast<std::uint32_t>(all.size()))].fire(r);
      if (rt::getg() != nullptr) {
        yield();
      } else if (r.one_in(16)) {
        rt::os::yield_thread();
      }
    }
  }

  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
  wait_group goroutines_;
};

inline std::uint64_t waits = 0;

// Tokens of a semaphore: taken, held for a moment, given back.
inline void on_a_semaphore(test::random_source& r, int rounds) {
  const std::uint32_t n = 2 + r.below(8), tokens = 1 + r.below(3);
  semaphore s(tokens);
  std::atomic<std::uint32_t> held{0};
  std::vector<timeout> timeouts(n);
  takers others(timeouts, r);
  wait_group all;
  for (std::uint32_t i = 0; i < n; ++i) {
    all.go([&, i, seed = r.next_seed()] {
      test::random_source mine(seed);
      for (int k = 0; k < rounds; ++k) {
        timeouts[i].arm(rt::getg());
        s.acquire();
        if (timeouts[i].disarm()) continue;  // no token
        test::expect(held.fetch_add(1) < tokens, "a permit was given twice");
        if (mine.one_in(2)) yield();
        for (std::uint32_t d = mine.below(50); d > 0; --d) rt::os::pause();
        held.fetch_sub(1);
        s.release();
      }
    });
  }
  all.wait();
  others.stop();
  for (std::uint32_t i = 0; i < tokens; ++i) test::expect(s.try_acquire(), "a permit went to the grave with a waiter");
  test::expect(!s.try_acquire(), "a permit came from nowhere");
  waits += n * static_cast<std::uint64_t>(rounds);
}

inline void on_a_mutex(test::random_source& r, int rounds) {
  const std::uint32_t n = 2 + r.below(6);
  mutex m;
  int inside = 0;  // plain: under the mutex
  std::vector<timeout> timeouts(n);
  takers others(timeouts, r);
  wait_group all;
  for (std::uint32_t i = 0; i < n; ++i) {
    all.go([&, i, seed = r.next_seed()] {
      test::random_source mine(seed);
      for (int k = 0; k < rounds; ++k) {
        timeouts[i].arm(rt::getg());
        m.lock();
        if (timeouts[i].disarm()) continue;  // not locked
        test::expect(++inside == 1, "the mutex was given twice");
        if (mine.one_in(2)) yield();
        // Now and then long enough to starve the others, so that it is handed over.
        if (sim::active()) {
          if (mine.one_in(4)) sleep(std::chrono::microseconds(1500));
        } else if (mine.one_in(200)) {
          for (const std::int64_t end = rt::os::now() + 1'500'000; rt::os::now() < end;) rt::os::pause();
        }
        --inside;
        m.unlock();
      }
    });
  }
  all.wait();
  others.stop();
  test::expect(m.try_lock(), "the mutex went to the grave with a waiter");
  m.unlock();
  waits += n * static_cast<std::uint64_t>(rounds);
}

inline void on_a_wait_group(test::random_source& r, int rounds) {
  const std::uint32_t n = 2 + r.below(8);
  std::vector<timeout> timeouts(n);
  takers others(timeouts, r);
  for (int k = 0; k < rounds; ++k) {
    wait_group event, all;
    std::atomic<bool> done{false};
    event.add(1);
    for (std::uint32_t i = 0; i < n; ++i) {
      all.go([&, i] {
        timeouts[i].arm(rt::getg());
        event.wait();
        if (!timeouts[i].disarm()) test::expect(done.load(), "a wait returned before the last done()");
      });
    }
    for (std::uint32_t d = r.below(2000); d > 0; --d) rt::os::pause();
    if (r.one_in(2)) yield();
    done = true;
    event.done();
    all.wait();
    waits += n;
  }
  others.stop();
}

// A counter from which each waiter wants some units, first come, first served: a large wish in front holds up small
// ones behind it, and when a timeout takes it away those can go on (on_taken's list). With goroutines and plain threads.
class turnstile {
 public:
  explicit turnstile(std::uint64_t units) : units_(units) {}

  bool take(std::uint64_t n, timeout& t) {
    const rt::wait_result result = take_or_wait(n, t);
    // Outside the runtime again: this may yield. A plain thread has given its proxy back by now, and the timeout may
    // still be after it, in its next user's hands: the number of the wait tells them apart.
    const bool fired = t.disarm();
    test::expect(result == rt::wait_result::timed_out || result == rt::wait_result::handed,
                 "a wait ended with no result");
    test::expect(fired == (result == rt::wait_result::timed_out),
                 "the waiter and the timeout disagree about who took the wait");
    return !fired;
  }

  void give(std::uint64_t n) {
    rt::caller me;
    rt::glist ready;
    {
      rt::mutex_guard hold(bucket().lock);
      units_ += n;
      serve(ready);
    }
    rt::ready_all(me.self(), ready);
  }

  std::uint64_t units() {
    rt::mutex_guard hold(bucket().lock);
    return units_;
  }

 private:
  struct waiting : rt::sudog {
    std::uint64_t wants = 0;
    turnstile* self = nullptr;
  };

  rt::wait_result take_or_wait(std::uint64_t n, timeout& t) {
    rt::caller me;
    waiting w;
    w.wants = n;
    w.self = this;
    w.gp = me.waiter();
    w.addr = this;
    w.on_taken = gone;
    rt::sema_bucket& b = bucket();
    b.lock.lock();
    if (b.front(this) == nullptr && units_ >= n) {
      units_ -= n;
      b.lock.unlock();
      return rt::wait_result::handed;
    }
    b.push_back(&w, me.ticket());
    // Only now, when the wait is certain. A plain thread that did not wait would leave the number of this wait to the
    // next user of its proxy.
    t.arm(w.gp);
    me.wait(b, w, rt::wait_reason::semacquire);
    return w.result;
  }

  rt::sema_bucket& bucket() { return rt::the_process.semas.bucket(this); }
  void serve(rt::glist& ready) {
    for (rt::sudog* sg; (sg = bucket().front(this)) != nullptr;) {
      auto* w = static_cast<waiting*>(sg);
      if (w->wants > units_) return;
      units_ -= w->wants;
      bucket().remove(sg);
      sg->result = rt::wait_result::handed;
      ready.push_back(sg->gp);
    }
  }
  static void gone(rt::sudog* sg, rt::glist& ready) { static_cast<waiting*>(sg)->self->serve(ready); }

  std::uint64_t units_;
};

inline void on_a_turnstile(test::random_source& r, int rounds) {
  const std::uint32_t n = 3 + r.below(6), plain = sim::active() ? 0 : 1 + r.below(2), units = 3 + r.below(4);
  turnstile gate(units);
  std::vector<timeout> timeouts(n + plain);
  takers others(timeouts, r);
  auto user = [&](std::uint32_t i, std::uint64_t seed) {
    test::random_source mine(seed);
    for (int k = 0; k < rounds; ++k) {
      const std::uint64_t want = 1 + mine.below(units);
      if (!gate.take(want, timeouts[i])) continue;
      if (i < n && mine.one_in(2)) yield();
      gate.give(want);
    }
  };
  std::vector<std::thread> threads;
  wait_group all;
  for (std::uint32_t i = 0; i < n; ++i) all.go([&, i, seed = r.next_seed()] { user(i, seed); });
  for (std::uint32_t i = n; i < n + plain; ++i) threads.emplace_back(user, i, r.next_seed());
  all.wait();
  blocking([&] {
    for (std::thread& t : threads) t.join();
  });
  others.stop();
  test::expect(gate.units() == units, "units are lost, or came from nowhere");
  waits += (n + plain) * static_cast<std::uint64_t>(rounds);
}

}  // namespace weft::test::taker
