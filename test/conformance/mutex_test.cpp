// weft::mutex: Go's Mutex, TryLock, MutexMisuse and MutexFairness, restated.
#include "weft/mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/sizes.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

static_assert(sizeof(mutex) == 8, "API.md: 8 bytes");

TEST(mutex, try_lock_takes_a_free_one_only) {
  test::for_each_case_and_schedule([](const run_case&) {
    mutex m;
    ASSERT_TRUE(m.try_lock());
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    m.lock();
    EXPECT_FALSE(m.try_lock());
    m.unlock();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(mutex, excludes_goroutines_and_plain_threads) {
  test::for_each_case([](const run_case&) {
    constexpr int goroutines = 10, threads = 2;
    const int rounds = test::scaled(1000);
    mutex m;
    long plain = 0;  // racy if the mutex does not exclude
    std::atomic<long> expected{0};
    auto hammer = [&](bool goroutine) {
      for (int i = 0; i < rounds; ++i) {
        if (i % 3 == 0) {
          if (!m.try_lock()) continue;
        } else {
          m.lock();
        }
        const long seen = plain;
        if (goroutine && i % 7 == 0) yield();
        plain = seen + 1;
        ++expected;
        m.unlock();
      }
    };
    wait_group all;
    std::vector<std::thread> others;
    for (int i = 0; i < goroutines; ++i) all.go([&] { hammer(true); });
    for (int i = 0; i < threads; ++i) others.emplace_back(hammer, false);
    all.wait();
    blocking([&] {
      for (std::thread& t : others) t.join();
    });
    EXPECT_EQ(plain, expected.load());
    EXPECT_GE(plain, (goroutines + threads) * (rounds - rounds / 3 - 1));
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(mutex, may_be_unlocked_by_another_goroutine_or_thread) {
  test::for_each_case([](const run_case&) {
    mutex m;
    m.lock();
    wait_group all;
    all.go([&] { m.unlock(); });
    m.lock();
    all.wait();
    std::thread other([&] { m.unlock(); });
    m.lock();
    blocking([&] { other.join(); });
    m.unlock();
  });
}

TEST(mutex, works_with_the_locks_of_std) {
  test::for_each_case_and_schedule([](const run_case&) {
    mutex a, b;
    { std::lock_guard hold(a); }
    { std::scoped_lock hold(a, b); }
    std::unique_lock hold(a, std::try_to_lock);
    EXPECT_TRUE(hold.owns_lock());
  });
}

template <class F>
std::string misuse(F f) {
  try {
    f();
  } catch (const unlock_of_unlocked_mutex& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(mutex, unlock_of_an_unlocked_one_throws) {
  test::for_each_case_and_schedule([](const run_case&) {
    mutex m;
    EXPECT_EQ(misuse([&] { m.unlock(); }), "sync: unlock of unlocked mutex");
    EXPECT_EQ(misuse([&] {
                m.lock();
                m.unlock();
                m.unlock();
              }),
              "sync: unlock of unlocked mutex");
    // It is as good as before.
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(mutex_death, unlock_of_an_unlocked_one_by_lock_guard_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(weft::run([] {
                 mutex m;
                 std::lock_guard hold(m);
                 m.unlock();
               }),
               "unlock of unlocked mutex");
}

// A hog holds the mutex nearly all the time: it unlocks only to lock again at once, and gives its P away while it
// holds. On one P this starves the other goroutine for ever without a hand-over: whenever that one is woken it finds the
// mutex locked. With it, the hog gets by only until the waiter has waited for starvation_ns. All of this happens on
// one thread, so neither the kernel's scheduling nor the machine's load can add a round: a round is as long as the
// hog's own clock says.
TEST(mutex, fault_36_a_hog_cannot_starve_a_waiter) {
  test::for_each_case(
      [](const run_case&) {
        constexpr std::int64_t hold_ns = 100'000;
        constexpr int bound = static_cast<int>(rt::sizes::starvation_ns / hold_ns) + 5;
        mutex m;
        bool stop = false, waiting = false;
        int rounds = 0, most = 0;
        wait_group all;
        all.go([&] {
          while (!stop) {
            m.lock();
            if (waiting) most = std::max(most, ++rounds);
            if (rounds > 1000) stop = true;  // enough to fail
            for (const std::int64_t end = rt::os::now() + hold_ns; rt::os::now() < end;) rt::os::pause();
            yield();
            m.unlock();
          }
        });
        yield();  // the hog has the mutex
        for (int i = 0; i < 10 && !stop; ++i) {
          rounds = 0;
          waiting = true;
          m.lock();
          waiting = false;
          m.unlock();
          yield();
        }
        stop = true;
        all.wait();
        EXPECT_LE(most, bound) << "rounds of the hog while another goroutine waited";
      },
      {{1}, 2});
}

// A hog whose turns are short: the waiter is passed over in most of them, but not in all.
TEST(mutex, fault_36_a_quick_hog_cannot_starve_a_waiter) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int enough_to_fail = 20'000'000;
        mutex m;
        bool stop = false;
        int rounds = 0;
        wait_group all;
        all.go([&] {
          while (!stop && ++rounds != enough_to_fail) {
            m.lock();
            yield();
            m.unlock();
          }
        });
        yield();  // the hog has the mutex
        for (int i = 0; i < 10; ++i) {
          m.lock();
          m.unlock();
          yield();
        }
        stop = true;
        all.wait();
        EXPECT_NE(enough_to_fail, rounds);
      },
      {{1}, 2});
}

// The same on several Ps, where the hog and the waiter run at once: the waiter gets it every time, sooner or later.
TEST(mutex, fault_36_a_hog_on_another_p_cannot_starve_a_waiter) {
  test::for_each_case(
      [](const run_case&) {
        mutex m;
        std::atomic<bool> stop{false};
        wait_group all;
        all.go([&] {
          while (!stop.load(std::memory_order_relaxed)) {
            m.lock();
            for (const std::int64_t end = rt::os::now() + 100'000; rt::os::now() < end;) rt::os::pause();
            m.unlock();
          }
        });
        for (int i = 0; i < 10; ++i) {
          m.lock();
          m.unlock();
        }
        stop = true;
        all.wait();
      },
      {{2, 4}, 2});
}

// Starving waiters are served strictly in the order they came, and arrivals queue behind them (try_lock fails). The
// holder keeps it until the oldest has starved; then everything is handed over.
TEST(mutex, starving_waiters_are_served_in_their_order) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int n = 8;
        mutex m;
        m.lock();
        std::vector<int> order;
        test::watched each[n];
        wait_group all;
        for (int i = 0; i < n; ++i) {
          all.go([&, i] {
            each[i].here();
            std::lock_guard hold(m);
            order.push_back(i);
          });
          test::yield_until([&] { return each[i].waits(); });
        }
        const std::int64_t end = rt::os::now() + 2 * rt::sizes::starvation_ns;
        while (rt::os::now() < end) rt::os::pause();
        // The oldest is woken, finds it locked again, and declares itself starving.
        m.unlock();
        m.lock();
        test::yield_until([&] { return each[0].waits(); });
        m.unlock();
        all.wait();
        for (int i = 0; i < n; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
      },
      {{1}, 2});
}

}  // namespace
