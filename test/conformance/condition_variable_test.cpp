// weft::condition_variable and condition_variable_any: Go's Cond tests (Signal, SignalGenerations, Broadcast, Race,
// SignalStealing), restated, and what std's interface adds: stop tokens, any lock, locks that throw.
#include "weft/condition_variable.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

static_assert(sizeof(condition_variable) == 8 && sizeof(condition_variable_any) == 8);

constinit condition_variable made_at_compile_time;
constinit condition_variable_any any_made_at_compile_time;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

// A goroutine that has waited once, and says so. How many come back, and in which order, is what the tests look at.
struct waiters {
  mutex m;
  condition_variable c;
  std::vector<int> back;  // guarded by m
  wait_group all;
  std::deque<test::watched> each;

  void start(int who) {
    test::watched& w = each.emplace_back();
    all.go([this, who, &w] {
      std::unique_lock hold(m);
      w.here();
      c.wait(hold);
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(m.try_lock()) << "the lock is not held after the wait";
      back.push_back(who);
    });
    test::yield_until([&w] { return w.waits(); });
  }
  std::size_t number_back() {
    const std::lock_guard hold(m);
    return back.size();
  }
  void until_back(std::size_t n) {
    test::yield_until([&] { return number_back() >= n; });
  }
};

// ---- Go's tests

TEST(condition_variable, notify_one_wakes_exactly_one) {
  everywhere([] {
    constexpr int n = 3;
    waiters w;
    for (int i = 0; i < n; ++i) w.start(i);
    for (std::size_t k = 1; k <= n; ++k) {
      w.c.notify_one();
      w.until_back(k);
      for (int i = 0; i < 20; ++i) yield();  // time to come, for one too many
      EXPECT_EQ(w.number_back(), k);
    }
    w.c.notify_one();  // to nobody
    w.all.wait();
  });
}

// Go's SignalGenerations: as they came, each notification the next.
TEST(condition_variable, wakes_a_hundred_in_the_order_in_which_they_came) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int n = 100;
        waiters w;
        for (int i = 0; i < n; ++i) w.start(i);
        for (std::size_t k = 1; k <= n; ++k) {
          w.c.notify_one();
          w.until_back(k);
        }
        w.all.wait();
        for (int i = 0; i < n; ++i) EXPECT_EQ(w.back[static_cast<std::size_t>(i)], i);
      },
      several_ps);
}

TEST(condition_variable, wakes_in_the_order_of_arrival_in_every_schedule) {
  everywhere([] {
    waiters w;
    for (int i = 0; i < 4; ++i) w.start(i);
    for (std::size_t k = 1; k <= 4; ++k) {
      w.c.notify_one();
      w.until_back(k);
    }
    w.all.wait();
    EXPECT_EQ(w.back, (std::vector<int>{0, 1, 2, 3}));
  });
}

TEST(condition_variable, notify_all_wakes_all_and_again) {
  everywhere([] {
    constexpr int n = 4;
    waiters w;
    for (std::size_t round = 1; round <= 3; ++round) {
      w.c.notify_all();  // to nobody: it is not kept for later
      for (int i = 0; i < n; ++i) w.start(i);
      EXPECT_EQ(w.number_back(), (round - 1) * n) << "somebody did not wait";
      w.c.notify_all();
      w.all.wait();
      EXPECT_EQ(w.number_back(), round * n);
    }
  });
}

// Three of them pass a number on, each when it is the one that it waits for.
TEST(condition_variable, three_that_hand_on) {
  everywhere([] {
    mutex m;
    condition_variable c;
    int x = 0;
    wait_group all;
    all.go([&] {
      std::unique_lock hold(m);
      x = 1;
      c.wait(hold);
      EXPECT_EQ(x, 2);
      x = 3;
      c.notify_one();
    });
    all.go([&] {
      for (bool done = false; !done;) {
        {
          const std::lock_guard hold(m);
          if (x == 1) {
            x = 2;
            c.notify_one();
            done = true;
          }
        }
        yield();
      }
    });
    all.go([&] {
      for (bool done = false; !done;) {
        {
          std::unique_lock hold(m);
          if (x == 2) {
            c.wait(hold);
            EXPECT_EQ(x, 3);
            done = true;
          } else if (x == 3) {
            done = true;
          }
        }
        yield();
      }
    });
    all.wait();
    EXPECT_EQ(x, 3);
  });
}

// Go's SignalStealing: who waits is in the wait when its lock is free, and what is said then is for it, whoever else comes.
template <class Notify>
void nobody_steals(Notify notify) {
  mutex m;
  condition_variable c;
  bool enough = false;
  int first_back = 0;
  const chan<> locked, back;
  wait_group all;
  all.go([&] {
    std::unique_lock hold(m);
    locked.send();
    c.wait(hold);
    ++first_back;
    hold.unlock();
    back.send();
  });
  locked.recv();
  m.lock();
  m.unlock();
  all.go([&] { notify(c); });
  all.go([&] {
    std::unique_lock hold(m);
    c.wait(hold, [&] { return enough; });
  });
  back.recv();  // for ever, if it was stolen
  EXPECT_EQ(first_back, 1);
  {
    const std::lock_guard hold(m);
    enough = true;
  }
  c.notify_all();
  all.wait();
}

TEST(condition_variable, who_comes_later_steals_no_notification) {
  everywhere([] {
    nobody_steals([](condition_variable& c) { c.notify_one(); });
    nobody_steals([](condition_variable& c) { c.notify_all(); });
  });
}

// ---- neither lost nor made

// A lock that does something when it has been unlocked: exactly there, between the unlock and the park.
template <class F>
struct lock_with_unlock {
  mutex& m;
  F then;
  void lock() { m.lock(); }
  void unlock() {
    m.unlock();
    then();
  }
};
template <class F>
lock_with_unlock(mutex&, F) -> lock_with_unlock<F>;

TEST(condition_variable, a_notification_between_unlock_and_park_is_not_lost) {
  everywhere([] {
    for (const bool all_of_them : {false, true}) {
      mutex m;
      condition_variable_any c;
      int waits = 0;
      lock_with_unlock lock{m, [&] { all_of_them ? c.notify_all() : c.notify_one(); }};
      lock.lock();
      c.wait(lock);  // for ever, if it was lost
      ++waits;
      EXPECT_FALSE(m.try_lock()) << "the lock is not held after the wait";
      m.unlock();
      EXPECT_EQ(waits, 1);
    }
  });
}

// The one on its way has used its notification up: another that waits gets no part of it, and it none of the next.
TEST(condition_variable, one_on_its_way_uses_up_one_notification) {
  everywhere([] {
    mutex m;
    condition_variable_any c;
    std::atomic<int> back{0};
    wait_group all;
    test::watched other;
    lock_with_unlock lock{m, [&] {
                            all.go([&] {
                              std::unique_lock hold(m);
                              other.here();
                              c.wait(hold);
                              ++back;
                            });
                            test::yield_until([&] { return other.waits(); });
                            c.notify_one();
                          }};
    lock.lock();
    c.wait(lock);
    m.unlock();
    for (int i = 0; i < 20; ++i) yield();
    EXPECT_EQ(back.load(), 0) << "two were woken by one notification";
    EXPECT_TRUE(other.waits());
    c.notify_one();
    all.wait();
    EXPECT_EQ(back.load(), 1);
  });
}

// A change under the lock, and then a notification outside of it: whoever looked before the change hears of it.
TEST(condition_variable, a_change_is_never_missed) {
  everywhere([] {
    for (const bool under_the_lock : {false, true}) {
      mutex m;
      condition_variable c;
      bool changed = false;
      wait_group all;
      all.go([&] {
        std::unique_lock hold(m);
        while (!changed) c.wait(hold);
      });
      all.go([&] {
        std::unique_lock hold(m);
        c.wait(hold, [&] { return changed; });
      });
      std::unique_lock hold(m);
      changed = true;
      if (!under_the_lock) hold.unlock();
      c.notify_all();
      if (under_the_lock) hold.unlock();
      all.wait();
    }
  });
}

// There are as many returns as notifications that found somebody, never one more.
TEST(condition_variable, nobody_is_woken_for_no_reason) {
  everywhere([] {
    mutex m;
    condition_variable c;
    int said = 0, heard = 0;
    bool over = false;
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        std::unique_lock hold(m);
        while (!over) {
          c.wait(hold);
          if (!over) {
            ++heard;
            EXPECT_LE(heard, said);
          }
        }
      });
    }
    for (int i = 0; i < 5; ++i) {
      yield();
      const std::lock_guard hold(m);
      ++said;
      c.notify_one();
    }
    // Those who begin to wait after this see that it is over.
    {
      const std::lock_guard hold(m);
      over = true;
      c.notify_all();
    }
    all.wait();
  });
}

TEST(condition_variable, goroutines_and_plain_threads_wait_in_one_line) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int producers = 3, consumers = 3;
        const int each = test::scaled(200);
        mutex m;
        condition_variable not_empty, not_full;
        std::deque<int> queue;
        std::vector<int> times(static_cast<std::size_t>(producers * each));
        int taken = 0;
        const auto produce = [&](int first) {
          for (int i = first; i < first + each; ++i) {
            std::unique_lock hold(m);
            not_full.wait(hold, [&] { return queue.size() < 2; });
            queue.push_back(i);
            not_empty.notify_one();
          }
        };
        const auto consume = [&] {
          for (;;) {
            std::unique_lock hold(m);
            not_empty.wait(hold, [&] { return !queue.empty() || taken == producers * each; });
            if (queue.empty()) return;
            ++times[static_cast<std::size_t>(queue.front())];
            queue.pop_front();
            if (++taken == producers * each) not_empty.notify_all();
            not_full.notify_one();
          }
        };
        wait_group all;
        std::vector<std::thread> threads;
        for (int i = 0; i < producers - 1; ++i) all.go([&, i] { produce(i * each); });
        for (int i = 0; i < consumers - 1; ++i) all.go(consume);
        threads.emplace_back(produce, (producers - 1) * each);
        threads.emplace_back(consume);
        all.wait();
        blocking([&] {
          for (std::thread& t : threads) t.join();
        });
        for (const int n : times) EXPECT_EQ(n, 1);
      },
      several_ps);
}

// ---- any lock

TEST(condition_variable, waits_with_every_lock_of_weft) {
  everywhere([] {
    const auto waits_with = [](auto&& lock) {
      condition_variable_any c;
      bool said = false;
      wait_group all;
      lock.lock();
      all.go([&] {
        lock.lock();
        said = true;
        lock.unlock();
        c.notify_one();
      });
      c.wait(lock, [&] { return said; });
      lock.unlock();
      all.wait();
    };
    waits_with(mutex());
    waits_with(shared_mutex());
    waits_with(recursive_mutex());

    // The one who says it writes, the one who waits only reads.
    shared_mutex m;
    condition_variable_any c;
    bool said = false;
    wait_group all;
    for (int i = 0; i < 2; ++i) {
      all.go([&] {
        std::shared_lock reading(m);
        c.wait(reading, [&] { return said; });
        EXPECT_TRUE(reading.owns_lock());
      });
    }
    {
      const std::lock_guard writing(m);
      said = true;
    }
    c.notify_all();
    all.wait();
  });
}

TEST(condition_variable, a_wait_without_the_lock_is_refused) {
  everywhere([] {
    mutex m;
    condition_variable c;
    std::unique_lock hold(m, std::defer_lock);
    std::string text;
    try {
      c.wait(hold);
    } catch (const error& e) {
      text = e.what();
    }
    EXPECT_EQ(text, "weft: condition_variable::wait: the lock is not held");
    EXPECT_TRUE(m.try_lock()) << "nothing was locked";
    m.unlock();
  });
}

// What unlock throws leaves the wait, which has not happened; the notification that it has had goes to the next.
TEST(condition_variable, a_wait_that_fails_passes_its_notification_on) {
  everywhere([] {
    mutex m;
    condition_variable_any c;
    std::atomic<int> back{0};
    wait_group all;
    test::watched next;
    lock_with_unlock lock{m, [&] {
                            all.go([&] {
                              std::unique_lock hold(m);
                              next.here();
                              c.wait(hold);
                              ++back;
                            });
                            test::yield_until([&] { return next.waits(); });
                            c.notify_one();  // to the one that has come first
                            throw std::runtime_error("unlock");
                          }};
    lock.lock();
    EXPECT_THROW(c.wait(lock), std::runtime_error);
    all.wait();  // for ever, if it was lost
    EXPECT_EQ(back.load(), 1);

    // One that has not been notified leaves nothing behind.
    lock_with_unlock throws{m, [] { throw std::runtime_error("unlock"); }};
    throws.lock();
    EXPECT_THROW(c.wait(throws), std::runtime_error);
    test::watched later;
    all.go([&] {
      std::unique_lock hold(m);
      later.here();
      c.wait(hold);
    });
    test::yield_until([&] { return later.waits(); });
    c.notify_one();
    all.wait();  // for ever, if the notification went to the one that failed
  });
}

// ---- stop tokens

TEST(condition_variable, a_stop_ends_the_wait_whenever_it_comes) {
  everywhere([] {
    mutex m;
    condition_variable_any c;
    std::stop_source stop;
    std::atomic<bool> result{true};
    wait_group all;
    all.go([&] {
      std::unique_lock hold(m);
      result = c.wait(hold, stop.get_token(), [] { return false; });
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(m.try_lock());
    });
    all.go([&] { stop.request_stop(); });
    all.wait();  // for ever, if the stop was lost
    EXPECT_FALSE(result.load());

    std::unique_lock hold(m);
    EXPECT_FALSE(c.wait(hold, stop.get_token(), [] { return false; })) << "requested before";
    EXPECT_TRUE(c.wait(hold, stop.get_token(), [] { return true; })) << "the predicate has the last word";
    EXPECT_TRUE(hold.owns_lock());
  });
}

TEST(condition_variable, a_token_does_not_keep_a_notification_out) {
  everywhere([] {
    mutex m;
    condition_variable_any c;
    std::stop_source stop;
    bool said = false;
    std::atomic<int> stopped{0}, heard{0};
    wait_group all;
    all.go([&] {  // stopped or not, it takes no notification away from the other
      std::unique_lock hold(m);
      c.wait(hold, stop.get_token(), [&] { return said; }) ? ++heard : ++stopped;
    });
    all.go([&] {
      std::unique_lock hold(m);
      EXPECT_TRUE(c.wait(hold, std::stop_token(), [&] { return said; })) << "a token of nothing is never stopped";
      ++heard;
    });
    all.go([&] { stop.request_stop(); });
    {
      const std::lock_guard hold(m);
      said = true;
    }
    c.notify_all();
    all.wait();
    EXPECT_GE(heard.load(), 1);
    EXPECT_EQ(heard + stopped, 2);
  });
}

TEST(condition_variable, a_plain_thread_may_stop_a_goroutine) {
  test::for_each_case(
      [](const run_case&) {
        mutex m;
        condition_variable_any c;
        std::stop_source stop;
        std::thread other([&] { stop.request_stop(); });
        {
          std::unique_lock hold(m);
          EXPECT_FALSE(c.wait(hold, stop.get_token(), [] { return false; }));
        }
        blocking([&] { other.join(); });
      },
      several_ps);
}

// ---- the end of the object

// All have been notified and none has returned: nobody looks at the object any more, and its bytes are somebody else's.
TEST(condition_variable, may_be_destroyed_when_all_have_been_notified) {
  everywhere([] {
    mutex m;
    const auto room = std::make_unique<std::array<std::uint64_t, 1>>();
    static_assert(sizeof(condition_variable) == sizeof(*room) && alignof(condition_variable) <= alignof(std::uint64_t));
    auto* c = ::new (room->data()) condition_variable;
    wait_group all;
    test::watched each[3];
    for (test::watched& w : each) {
      all.go([&] {
        std::unique_lock hold(m);
        w.here();
        c->wait(hold);
      });
      test::yield_until([&] { return w.waits(); });
    }
    constexpr std::uint64_t others = 0x0123456789abcdef;
    {
      const std::lock_guard hold(m);
      c->notify_all();
      c->~condition_variable();
      ::new (room->data()) std::uint64_t(others);
    }
    all.wait();
    EXPECT_EQ(room->front(), others) << "written to after its end";
  });
  made_at_compile_time.notify_one();
  any_made_at_compile_time.notify_all();
}

}  // namespace
