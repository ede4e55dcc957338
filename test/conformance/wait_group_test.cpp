// weft::wait_group: Go's WaitGroup tests, restated: basic use and reuse, misuse, the race of done and wait, Go.
#include "weft/wait_group.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

static_assert(sizeof(wait_group) == 8, "API.md: 8 bytes");

// Sixteen workers wait for one event and report to another; the same two groups eight times over.
TEST(wait_group, can_be_used_again_after_each_wait) {
  test::for_each_case_and_schedule([](const run_case&) {
    constexpr int n = 16;
    wait_group event, workers;
    for (int round = 0; round < 8; ++round) {
      event.add(n);
      workers.add(n);
      std::atomic<int> passed{0};
      for (int i = 0; i < n; ++i) {
        go([&] {
          event.done();
          event.wait();
          ++passed;
          workers.done();
          // (The next round's add comes after workers.wait(), and so after this wait has returned.)
        });
      }
      event.wait();
      workers.wait();
      EXPECT_EQ(passed.load(), n);
    }
  });
}

TEST(wait_group, nobody_passes_before_the_last_done) {
  test::for_each_case_and_schedule([](const run_case&) {
    constexpr int n = 16;
    wait_group event, all;
    event.add(n);
    std::atomic<int> passed{0};
    test::watched each[n];
    for (int i = 0; i < n; ++i) {
      all.go([&, i] {
        each[i].here();
        event.wait();
        ++passed;
      });
      test::yield_until([&] { return each[i].waits(); });
    }
    for (int i = 0; i < n; ++i) {
      EXPECT_EQ(passed.load(), 0);
      event.done();
    }
    all.wait();
    EXPECT_EQ(passed.load(), n);
  });
}

TEST(wait_group, wait_at_zero_returns_at_once) {
  wait_group wg;
  wg.wait();
  test::for_each_case_and_schedule([&](const run_case&) { wg.wait(); });
}

template <class E, class F>
std::string thrown(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(wait_group, a_negative_counter_throws_and_changes_nothing) {
  test::for_each_case_and_schedule([](const run_case&) {
    wait_group wg;
    EXPECT_EQ(thrown<negative_counter>([&] { wg.done(); }), "sync: negative WaitGroup counter");
    wg.add(2);
    EXPECT_EQ(thrown<negative_counter>([&] { wg.add(-3); }), "sync: negative WaitGroup counter");
    wg.done();
    wg.done();
    EXPECT_EQ(thrown<negative_counter>([&] { wg.done(); }), "sync: negative WaitGroup counter");
    wg.wait();
    EXPECT_THROW(wg.add(std::ptrdiff_t{1} << 31), weft::error);
    wg.wait();
  });
}

// Two dones race with the wait; each time what they did before is visible after it.
TEST(wait_group, what_was_done_before_done_is_seen_after_wait) {
  test::for_each_case_and_schedule([](const run_case&) {
    const int rounds = test::scaled(1000);
    for (int i = 0; i < rounds; ++i) {
      wait_group wg;
      int a = 0, b = 0;  // plain: a race detector sees a missing order
      wg.add(1);
      go([&] {
        a = 1;
        wg.done();
      });
      wg.add(1);
      go([&] {
        b = 1;
        wg.done();
      });
      wg.wait();
      ASSERT_EQ(a + b, 2);
    }
  });
}

TEST(wait_group, serves_plain_threads) {
  test::for_each_case([](const run_case&) {
    const int rounds = test::scaled(50);
    for (int i = 0; i < rounds; ++i) {
      wait_group started, event;
      event.add(1);
      started.add(2);
      int value = 0;
      std::thread a([&] {
        started.done();
        event.wait();
        EXPECT_EQ(value, 1);
      });
      std::thread b([&] {
        started.done();
        started.wait();
        event.wait();
      });
      started.wait();
      value = 1;
      event.done();
      blocking([&] {
        a.join();
        b.join();
      });
    }
  });
}

TEST(wait_group, go_counts_the_goroutine_until_it_has_ended) {
  test::for_each_case_and_schedule([](const run_case&) {
    constexpr int n = 100;
    std::atomic<int> ran{0};
    wait_group wg;
    for (int i = 0; i < n; ++i) {
      wg.go([&] {
        yield();
        ++ran;
      });
    }
    wg.wait();
    EXPECT_EQ(ran.load(), n);
  });
}

TEST(wait_group, go_that_cannot_start_leaves_the_counter_alone) {
  struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&&) { throw std::runtime_error("moved"); }
    void operator()() {}
  };
  test::for_each_case([](const run_case&) {
    wait_group wg;
    EXPECT_THROW(wg.go(throws_when_moved()), std::runtime_error);
    wg.wait();
    std::thread outside([&] { EXPECT_THROW(wg.go([] {}), weft::error); });
    blocking([&] { outside.join(); });
    wg.wait();
  });
}

// Waiters of the first round are still on their way out when the second begins: an error, and named.
TEST(wait_group, reuse_before_every_wait_has_returned_throws) {
  test::for_each_case(
      [](const run_case&) {
        wait_group wg, all;
        wg.add(1);
        std::string text;
        test::watched waiter;
        all.go([&] {
          waiter.here();
          text = thrown<wait_group_misuse>([&] { wg.wait(); });
        });
        test::yield_until([&] { return waiter.waits(); });
        wg.done();
        wg.add(1);  // on one P the waiter has not run since
        all.wait();
        EXPECT_EQ(text, "sync: WaitGroup is reused before previous Wait has returned");
        wg.done();
        wg.wait();
      },
      {{1}, 1});
}

}  // namespace
