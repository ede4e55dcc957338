// Goroutines that can run, run: Go's GoroutineParallelism, GoroutineParallelism2, YieldProgress, PingPongHog. None of these
// programs yields while it spins, so each goroutine needs a thread of its own at the same time as the others.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

// n goroutines advance a counter in turn, each waiting for its turn without giving its P away.
void in_lock_step(int n, int rounds) {
  std::atomic<int> counter{0};
  wait_group all;
  for (int me = 0; me < n; ++me) {
    all.go([&counter, me, n, rounds] {
      for (int round = 0; round < rounds; ++round) {
        test::spin_until([&] { return counter.load(std::memory_order_relaxed) == round * n + me; });
        counter.store(round * n + me + 1, std::memory_order_relaxed);
      }
    });
  }
  all.wait();
  EXPECT_EQ(counter.load(), n * rounds);
}

// The same, each goroutine started by the one before: whoever is last to start has been stolen several times over.
void in_lock_step_from_depth(int n, int rounds) {
  struct chain {
    std::atomic<int> counter{0};
    wait_group all;
    int n, rounds;
    void start(int me) {
      all.go([this, me] {
        if (me + 1 < n) start(me + 1);
        for (int round = 0; round < rounds; ++round) {
          test::spin_until([&] { return counter.load(std::memory_order_relaxed) == round * n + me; });
          counter.store(round * n + me + 1, std::memory_order_relaxed);
        }
      });
    }
  };
  chain c;
  c.n = n;
  c.rounds = rounds;
  c.start(0);
  c.all.wait();
  EXPECT_EQ(c.counter.load(), n * rounds);
}

const test::run_options two{{2}, 10}, four{{4}, 10}, eight{{8}, 3};

TEST(parallelism, two_goroutines_run_at_once_on_two_ps) {
  test::for_each_case([](const run_case&) { in_lock_step(2, 1000); }, two);
}
// More threads than this machine may have CPUs: the kernel shares them out, and the goroutines need not.
TEST(parallelism, four_goroutines_run_at_once_on_four_ps) {
  test::for_each_case([](const run_case&) { in_lock_step(4, 20); }, four);
}
TEST(parallelism, eight_goroutines_run_at_once_on_eight_ps) {
  test::for_each_case([](const run_case&) { in_lock_step(8, 5); }, eight);
}
TEST(parallelism, goroutines_started_from_goroutines_run_at_once) {
  test::for_each_case([](const run_case&) { in_lock_step_from_depth(2, 200); }, two);
  test::for_each_case([](const run_case&) { in_lock_step_from_depth(4, 10); }, four);
}
TEST(parallelism, again_and_again_in_one_runtime) {
  test::for_each_case(
      [](const run_case& c) {
        for (int i = 0; i < 20; ++i) in_lock_step(c.procs, 5);
      },
      {{2, 3, 4}, 3});
}
TEST(parallelism, beside_busy_threads_that_are_not_ours) {
  test::for_each_case(
      [](const run_case& c) {
        std::atomic<bool> stop{false};
        std::vector<std::thread> load;
        for (int i = 0; i < 2; ++i) {
          load.emplace_back([&] {
            while (!stop.load(std::memory_order_relaxed)) rt::os::pause();
          });
        }
        in_lock_step(c.procs, 10);
        stop = true;
        for (std::thread& t : load) t.join();
      },
      {{2, 4}, 2});
}

// Fewer Ps than goroutines: those that spin lose theirs to those whose turn it is.
TEST(parallelism, more_goroutines_than_ps_have_their_turns) {
  test::for_each_case([](const run_case&) { in_lock_step(4, 5); }, {{1, 2, 3}, 3});
  test::for_each_case([](const run_case&) { in_lock_step_from_depth(4, 5); }, {{1, 2, 3}, 3});
}

// yield() lets the other runnable goroutines of the P go first, also one that never stops yielding itself.
TEST(yield, lets_others_make_progress) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<bool> stop{false};
    std::atomic<int> turns{0};
    wait_group all;
    all.go([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        turns.fetch_add(1, std::memory_order_relaxed);
        yield();
      }
    });
    test::yield_until([&] { return turns.load(std::memory_order_relaxed) >= 100; });
    stop = true;
    all.wait();
  });
}

TEST(yield, on_one_p_everybody_runs_between_two_turns) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int n = 100;
        std::vector<int> turns(n);
        bool stop = false;
        wait_group all;
        for (int i = 0; i < n; ++i) {
          all.go([&turns, &stop, i] {
            while (!stop) {
              ++turns[static_cast<std::size_t>(i)];
              yield();
            }
          });
        }
        for (int turn = 1; turn <= 50; ++turn) {
          yield();
          for (int t : turns) ASSERT_EQ(t, turn);
        }
        stop = true;
        all.wait();
      },
      {{1}, 1});
}

// Two pairs on one P, each of which hands a turn to and fro; one of them counts a hundred times longer before it does. A
// pair that always finds its partner in runnext would keep the P to itself. In Go a slice of 10 ms ends that, so there the pairs have
// the same time. Here it is the number of hops (runnext_hops), so they have the same number of turns, as long as so many
// hops take less than a millisecond; pairs with more to do: preemption_test.cpp.
TEST(ping_pong_hog, two_pairs_on_one_p_have_the_same_number_of_turns) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int enough = 2000;
        std::array<int, 2> turns{};
        volatile int count = 0;
        bool stop = false;
        wait_group all;
        for (const int pair : {0, 1}) {
          const chan<> to, fro;
          const auto take_turns = [&, pair](const chan<>& mine, const chan<>& others) {
            while (mine.recv()) {
              for (int i = pair == 0 ? 10'000 : 100; i > 0; --i) count = count + 1;
              stop = stop || ++turns[static_cast<std::size_t>(pair)] == enough;
              if (stop) return others.close();
              others.send();
            }
          };
          all.go([=] { take_turns(to, fro); });
          all.go([=] { take_turns(fro, to); });
          all.go([=] { to.send(); });
        }
        all.wait();
        // Go asks for a factor of 20 of its time. They take turns by sixteens.
        EXPECT_GE(turns[0], enough / 20);
        EXPECT_GE(turns[1], enough / 20);
      },
      {{1}, 1});
}

TEST(yield, on_a_plain_thread_yields_the_thread) {
  yield();
  this_goroutine::yield();
}

}  // namespace
