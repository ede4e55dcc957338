// The order in which one P runs its goroutines, and who gets its turn when.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "base/sizes.hpp"
#include "sched/sched.hpp"
#include "unit/sched/small_runtime.hpp"

namespace {

using namespace small_runtime;
using weft::rt::relaxed;
namespace sizes = weft::rt::sizes;

TEST(schedule, the_youngest_runs_next_and_the_others_in_the_order_of_their_birth) {
  with_procs(1, [] {
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) weft::go([&, i] { order.push_back(i); });
    weft::yield();
    EXPECT_EQ((std::vector{4, 0, 1, 2, 3}), order);
  });
}

TEST(schedule, yield_lets_everybody_else_run_once_and_touches_no_global_queue) {
  with_procs(1, [] {
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) {
      weft::go([&, i] {
        for (int k = 0; k < 3; ++k) {
          order.push_back(i);
          EXPECT_EQ(0u, my_sched()->runq_size.load(relaxed));
          weft::yield();
        }
      });
    }
    for (int k = 0; k < 3; ++k) {
      weft::yield();
      order.push_back(9);
    }
    weft::yield();
    EXPECT_EQ((std::vector{2, 0, 1, 9, 2, 0, 1, 9, 2, 0, 1, 9}), order);
  });
}

TEST(schedule, yield_alone_comes_back) {
  for (const int procs : {1, 2}) {
    with_procs(procs, [] {
      for (int i = 0; i < 200; ++i) weft::yield();
    });
  }
  weft::yield();  // and on a plain thread
}

TEST(schedule, a_readied_goroutine_is_next) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> order;
    go_now([&] {
      s.acquire();
      order.push_back(1);
    });
    weft::go([&] { order.push_back(2); });
    s.release();
    weft::yield();
    EXPECT_EQ((std::vector{1, 2}), order);
  });
}

// ---- slices

TEST(schedule, who_comes_from_runnext_inherits_the_slice) {
  with_procs(1, [] {
    weft::rt::p* pp = my_p();
    std::vector<std::uint32_t> ticks;
    weft::go([&] {
      ticks.push_back(pp->schedtick.load(relaxed));
      weft::go([&] {
        ticks.push_back(pp->schedtick.load(relaxed));
        weft::go([&] { ticks.push_back(pp->schedtick.load(relaxed)); });
      });
    });
    const std::uint32_t before = pp->schedtick.load(relaxed);
    weft::yield();
    EXPECT_EQ((std::vector<std::uint32_t>{before, before, before}), ticks);
    EXPECT_EQ(before + 1, pp->schedtick.load(relaxed)) << "main comes from the ring: a new slice";
  });
}

// Each link of the chain starts the next one, so that runnext is never empty; how many links run before an older
// goroutine in the ring gets its turn?
TEST(schedule, a_chain_of_new_goroutines_holds_an_older_one_up_for_16_hops_at_most) {
  with_procs(1, [] {
    int links = 0;
    int links_before = -1;
    std::function<void()> link = [&] {
      ++links;
      if (links_before < 0 && links < 1000) weft::go([&] { link(); });
    };
    weft::go([&] { links_before = links; });
    weft::go([&] { link(); });
    until([] { return weft::num_goroutine() == 1; });
    EXPECT_LE(links_before, static_cast<int>(sizes::runnext_hops));
    EXPECT_GE(links_before, static_cast<int>(sizes::runnext_hops) - 2) << "hops are there to be used";
  });
}

TEST(schedule, two_goroutines_that_ready_each_other_hold_an_older_one_up_for_16_hops_at_most) {
  with_procs(1, [] {
    weft::semaphore ping(0), pong(0);
    int rounds = 0;
    int rounds_before = -1;
    go_now([&] {
      while (rounds_before < 0 && rounds < 1000) {
        ping.acquire();
        ++rounds;
        pong.release();
      }
    });
    weft::go([&] { rounds_before = rounds; });
    weft::go([&] {
      while (rounds_before < 0 && rounds < 1000) {
        ping.release();
        pong.acquire();
      }
      ping.release();
    });
    until([] { return weft::num_goroutine() == 1; });
    EXPECT_LE(rounds_before, static_cast<int>(sizes::runnext_hops));
    EXPECT_GT(rounds_before, 0);
  });
}

TEST(schedule, a_slice_that_a_revoker_has_ended_moves_runnext_to_the_tail) {
  with_procs(1, [] {
    std::vector<int> order;
    weft::go([&] { order.push_back(1); });
    weft::go([&] { order.push_back(2); });
    my_p()->slice_over.store(true, relaxed);
    weft::yield();
    EXPECT_FALSE(my_p()->slice_over.load(relaxed));
    until([&] { return order.size() == 2; });
    EXPECT_EQ((std::vector{1, 2}), order);
  });
}

// ---- the global queue

TEST(schedule, one_on_the_global_queue_runs_within_61_ticks_though_the_local_queue_is_never_empty) {
  with_procs(1, [] {
    weft::rt::p* pp = my_p();
    weft::semaphore s(0);
    bool stop = false;
    std::uint32_t ran_at = 0;
    bool ran = false;
    go_now([&] {
      s.acquire();
      ran_at = pp->schedtick.load(relaxed);
      ran = true;
    });
    for (int i = 0; i < 2; ++i) {
      weft::go([&] {
        while (!stop) weft::yield();
      });
    }
    // From a plain thread it goes to the global queue.
    std::thread waker([&] { s.release(); });
    std::uint32_t queued_at = 0;
    bool queued = false;
    for (int yields = 0; !ran && (!queued || yields < 1000); ++yields) {
      if (!queued && my_sched()->runq_size.load(weft::rt::acquire) != 0) {
        queued = true;
        queued_at = pp->schedtick.load(relaxed);
        yields = 0;
      }
      weft::yield();
    }
    EXPECT_TRUE(ran);
    if (queued) {
      EXPECT_LE(ran_at - queued_at, sizes::global_tick);
    }
    stop = true;
    weft::blocking([&] { waker.join(); });
    until([] { return weft::num_goroutine() == 1; });
  });
}

TEST(schedule, the_ring_overflows_into_the_global_queue_and_nobody_is_lost) {
  with_procs(1, [] {
    constexpr int n = 2000;
    std::vector<int> runs(n);
    for (int i = 0; i < n; ++i) weft::go([&, i] { ++runs[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(n + 1, weft::num_goroutine());
    EXPECT_GT(my_sched()->runq_size.load(relaxed), 0u);
    EXPECT_EQ(n, static_cast<int>(my_sched()->runq_size.load(relaxed) + my_p()->q.length()) + 1);
    until([&] { return weft::num_goroutine() == 1; });
    for (int i = 0; i < n; ++i) ASSERT_EQ(1, runs[static_cast<std::size_t>(i)]) << i;
  });
}

TEST(schedule, an_overflow_moves_the_older_half_and_keeps_the_order) {
  with_procs(1, [] {
    std::vector<int> order;
    // runnext, a full ring, and one more.
    for (int i = 0; i < static_cast<int>(sizes::runq) + 2; ++i) weft::go([&, i] { order.push_back(i); });
    EXPECT_EQ(sizes::runq / 2 + 1, my_sched()->runq_size.load(relaxed));
    EXPECT_EQ(sizes::runq / 2, my_p()->q.length());
    until([&] { return weft::num_goroutine() == 1; });
    EXPECT_EQ(static_cast<int>(sizes::runq) + 1, order.front());
    EXPECT_EQ(sizes::runq + 2, order.size());
  });
}

// ---- stealing

TEST(schedule, every_coprime_step_visits_each_p_once) {
  for (std::uint32_t n = 1; n <= 40; ++n) {
    for (std::uint32_t step = 1; step <= n; ++step) {
      std::vector<bool> seen(n);
      std::uint32_t visited = 0;
      for (std::uint32_t i = 0, at = 0; i < n; ++i, at = (at + step) % n) {
        if (!seen[at]) ++visited;
        seen[at] = true;
      }
      EXPECT_EQ(visited == n, weft::rt::steal_step_is_good(step, n)) << n << " Ps, step " << step;
    }
  }
}

// Main never gives its P away: whatever runs was taken by the other P, runnext too.
TEST(schedule, an_idle_p_takes_work_from_a_busy_one_at_last_its_runnext) {
  with_procs(2, [] {
    constexpr int n = 20;
    std::atomic<int> ran{0};
    weft::rt::p* const mine = my_p();
    for (int i = 0; i < n; ++i) {
      weft::go([&] {
        EXPECT_NE(mine, my_p());
        ++ran;
      });
    }
    while (ran.load() != n) std::this_thread::yield();
    EXPECT_GE(weft::debug::stats().steals, static_cast<std::uint64_t>(1));
    EXPECT_EQ(mine, my_p());
  });
}

}  // namespace
