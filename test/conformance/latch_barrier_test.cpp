// weft::latch and weft::barrier: std's contracts, and that nobody passes early, nobody stays behind, and a count that is
// wrong is an error which names it. Go has neither; its WaitGroup tests are the pattern.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/barrier.hpp"
#include "weft/latch.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::misuse;
using test::run_case;

static_assert(sizeof(latch) == 8);
static_assert((latch::max)() == 2147483647 && (barrier<>::max)() == 2147483647);

constinit latch open_from_the_start(0);
constinit barrier<> of_one(1);

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

// ---- latch

TEST(latch, nobody_passes_before_the_last_count) {
  everywhere([] {
    constexpr int n = 4;
    latch l(n);
    std::atomic<int> passed{0};
    wait_group all;
    test::watched each[3];
    for (test::watched& w : each) {
      all.go([&] {
        w.here();
        l.wait();
        ++passed;
      });
      test::yield_until([&] { return w.waits(); });
    }
    for (int i = 0; i < n; ++i) {
      EXPECT_FALSE(l.try_wait());
      EXPECT_EQ(passed.load(), 0);
      l.count_down();
    }
    EXPECT_TRUE(l.try_wait());
    all.wait();
    EXPECT_EQ(passed.load(), 3);
    l.wait();  // it stays open
  });
}

TEST(latch, arrive_and_wait_meets_all) {
  everywhere([] {
    constexpr int n = 4;
    latch l(n + 2);
    std::atomic<int> arrived{0};
    int plain[n] = {};  // a race detector sees a missing order
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&, i] {
        plain[i] = 1;
        ++arrived;
        l.arrive_and_wait();
        EXPECT_EQ(arrived.load(), n);
        for (const int each : plain) EXPECT_EQ(each, 1);
      });
    }
    l.count_down(2);
    all.wait();
  });
}

TEST(latch, a_wrong_count_is_named_and_changes_nothing) {
  everywhere([] {
    latch l(2);
    EXPECT_EQ(misuse([&] { l.count_down(3); }), "weft: latch count_down(3) with 2 left");
    EXPECT_EQ(misuse([&] { l.count_down(-1); }), "weft: latch count_down(-1) with 2 left");
    l.count_down(0);
    EXPECT_FALSE(l.try_wait());
    l.count_down(2);
    EXPECT_TRUE(l.try_wait());
    EXPECT_EQ(misuse([&] { l.count_down(); }), "weft: latch count_down(1) with 0 left");
    EXPECT_EQ(misuse([&] { l.arrive_and_wait(); }), "weft: latch count_down(1) with 0 left");
    EXPECT_EQ(misuse([] { latch(-1); }), "weft: latch count -1: must be 0 to 2147483647");
    EXPECT_EQ(misuse([] { latch(std::ptrdiff_t{1} << 31); }), "weft: latch count 2147483648: must be 0 to 2147483647");
    latch largest((latch::max)());
    EXPECT_EQ(misuse([&] { largest.count_down((latch::max)()); }), "nothing thrown");
    EXPECT_TRUE(largest.try_wait());
  });
  EXPECT_TRUE(open_from_the_start.try_wait());
  open_from_the_start.wait();
}

// ---- barrier

// Who is in which round: nobody is ever more than a round ahead, and the completion runs once between two.
TEST(barrier, rounds_are_kept_apart) {
  everywhere([] {
    constexpr int n = 3, rounds = 4;
    int completed = 0;  // only the completion writes it
    std::atomic<int> arrived{0};
    const auto completion = [&]() noexcept {
      EXPECT_EQ(arrived.load(), n * (completed + 1)) << "completed before the last one had arrived, or late";
      ++completed;
    };
    barrier b(n, completion);
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&] {
        for (int round = 0; round < rounds; ++round) {
          EXPECT_EQ(completed, round);
          ++arrived;
          b.arrive_and_wait();
          EXPECT_EQ(completed, round + 1) << "released before, or without, the completion";
        }
      });
    }
    all.wait();
    EXPECT_EQ(completed, rounds);
  });
}

TEST(barrier, the_completion_runs_on_the_last_that_arrives_before_anybody_is_released) {
  everywhere([] {
    std::uint64_t completed_by = 0, last = 0;
    std::atomic<int> released{0};
    const auto completion = [&]() noexcept {
      completed_by = this_goroutine::id();
      for (int i = 0; i < 5; ++i) yield();
      EXPECT_EQ(released.load(), 0);
    };
    barrier b(3, completion);
    wait_group all;
    test::watched each[2];
    for (test::watched& w : each) {
      all.go([&] {
        w.here();
        b.arrive_and_wait();
        ++released;
      });
      test::yield_until([&] { return w.waits(); });
    }
    EXPECT_EQ(completed_by, 0u);
    all.go([&] {
      last = this_goroutine::id();
      static_cast<void>(b.arrive());
    });
    all.wait();
    EXPECT_EQ(completed_by, last);
    EXPECT_EQ(released.load(), 2);
  });
}

TEST(barrier, a_token_waits_for_its_own_round) {
  everywhere([] {
    int completed = 0;
    const auto completion = [&]() noexcept { ++completed; };
    barrier b(2, completion);
    auto first = b.arrive();
    EXPECT_EQ(completed, 0);
    auto second = b.arrive();
    EXPECT_EQ(completed, 1);
    b.wait(std::move(first));
    b.wait(std::move(second));  // neither blocks: the round is over
    auto third = b.arrive(2);   // several at once
    EXPECT_EQ(completed, 2);
    b.wait(std::move(third));

    auto token = b.arrive();
    wait_group all;
    test::watched waiter;
    all.go([&, mine = std::move(token)]() mutable {
      waiter.here();
      b.wait(std::move(mine));
      EXPECT_EQ(completed, 3);
    });
    test::yield_until([&] { return waiter.waits(); });
    static_cast<void>(b.arrive());
    all.wait();
  });
}

TEST(barrier, who_drops_is_not_waited_for_any_more) {
  everywhere([] {
    int completed = 0;
    const auto completion = [&]() noexcept { ++completed; };
    barrier b(3, completion);
    wait_group all;
    for (int leaves_after = 1; leaves_after <= 3; ++leaves_after) {
      all.go([&, leaves_after] {
        for (int round = 1; round < leaves_after; ++round) b.arrive_and_wait();
        b.arrive_and_drop();
      });
    }
    all.wait();
    EXPECT_EQ(completed, 3);
    EXPECT_EQ(misuse([&] { static_cast<void>(b.arrive()); }), "weft: barrier arrive(1) with 0 missing")
        << "nobody is expected any more";
  });
}

TEST(barrier, a_wrong_count_is_named_and_changes_nothing) {
  everywhere([] {
    barrier b(2);
    EXPECT_EQ(misuse([&] { static_cast<void>(b.arrive(3)); }), "weft: barrier arrive(3) with 2 missing");
    EXPECT_EQ(misuse([&] { static_cast<void>(b.arrive(0)); }), "weft: barrier arrive(0) with 2 missing");
    EXPECT_EQ(misuse([&] { static_cast<void>(b.arrive(-1)); }), "weft: barrier arrive(-1) with 2 missing");
    auto token = b.arrive(2);
    b.wait(std::move(token));
    EXPECT_EQ(misuse([] { barrier(-1); }), "weft: barrier count -1: must be 0 to 2147483647");
    EXPECT_EQ(misuse([] { barrier(std::ptrdiff_t{1} << 31); }),
              "weft: barrier count 2147483648: must be 0 to 2147483647");
  });
  of_one.arrive_and_wait();
}

// While the last one completes the round, the next has not begun: who arrives then has arrived too often.
TEST(barrier, nobody_arrives_during_the_completion) {
  everywhere([] {
    std::string text;
    struct arrives_again {
      std::string* text;
      barrier<arrives_again>** b;
      void operator()() noexcept {
        *text = misuse([this] { static_cast<void>((*b)->arrive()); });
      }
    };
    barrier<arrives_again>* at = nullptr;
    barrier<arrives_again> b(1, {&text, &at});
    at = &b;
    static_cast<void>(b.arrive());
    EXPECT_EQ(text, "weft: barrier arrive(1) with 0 missing");
  });
}

TEST(barrier, many_rounds_of_goroutines_and_plain_threads) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int goroutines = 4, threads = 2;
        const int rounds = test::scaled(200);
        int completed = 0;  // plain: the rounds are all that orders it
        const auto completion = [&]() noexcept { ++completed; };
        barrier b(goroutines + threads, completion);
        const auto rounds_of = [&] {
          for (int round = 1; round <= rounds; ++round) {
            b.arrive_and_wait();
            EXPECT_EQ(completed, round);
          }
        };
        wait_group all;
        std::vector<std::thread> others;
        for (int i = 0; i < goroutines; ++i) all.go(rounds_of);
        for (int i = 0; i < threads; ++i) others.emplace_back(rounds_of);
        all.wait();
        blocking([&] {
          for (std::thread& t : others) t.join();
        });
        EXPECT_EQ(completed, rounds);
      },
      several_ps);
}

}  // namespace
