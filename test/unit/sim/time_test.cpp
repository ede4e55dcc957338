// Virtual time, fairness, and that both hold for every strategy.
#include <vector>

#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using namespace std::chrono_literals;

const sim::strategy all_strategies[] = {sim::strategy::portfolio, sim::strategy::random, sim::strategy::pct,
                                        sim::strategy::pos, sim::strategy::round_robin};

template <class F>
void for_all_strategies(std::uint64_t max_steps, F&& body) {
  for (const sim::strategy s : all_strategies) {
    sim::explore({.runs = 200, .strategy = s, .max_steps = max_steps}, body);
  }
}

TEST(sim_time, sleeping_costs_nothing_and_wakes_in_order) {
  for_all_strategies(500, [] {
    const auto begin = weft::clock::now();
    std::vector<int> order;
    wait_group all;
    for (const int hours : {3, 1, 2}) {
      all.go([&order, hours] {
        sleep(std::chrono::hours(hours));
        order.push_back(hours);
      });
    }
    all.wait();
    sim::check(order == std::vector{1, 2, 3}, "in the order of their times");
    sim::check(weft::clock::now() - begin == 3h, "not longer than the longest");
    sim::check(sim::now() == 3h);
  });
}

TEST(sim_time, each_form_of_sleep_lasts_as_long_as_it_says) {
  sim::explore({.runs = 3}, [] {
    sleep(1s);
    this_goroutine::sleep_for(1s);
    this_goroutine::sleep_until(weft::clock::now() + 1s);
    sim::check(sim::now() == 3s);
    sleep(0s);
    sleep(-5s);
    this_goroutine::sleep_until(weft::clock::now() - 1s);
    sim::check(sim::now() == 3s);
    sleep(std::chrono::duration<double>(0.5));
    sim::check(sim::now() == 3500ms);
    sleep(std::chrono::duration<double, std::nano>(0.5));
    sim::check(sim::now() == 3500ms + 1ns, "rounded up");
    sleep(std::chrono::hours::max());
    sleep(1s);
  });
}

TEST(sim_time, those_that_sleep_until_the_same_time_may_run_in_any_order) {
  bool seen[2] = {};
  sim::explore({.runs = 100}, [&] {
    int first = -1;
    wait_group both;
    for (int i = 0; i < 2; ++i) {
      both.go([&, i] {
        sleep(1s);
        if (first < 0) first = i;
      });
    }
    both.wait();
    seen[first] = true;
  });
  EXPECT_TRUE(seen[0]);
  EXPECT_TRUE(seen[1]);
}

// CHESS's rule: without it a strategy with priorities runs the one that polls for ever.
TEST(sim_fairness, who_polls_lets_the_others_go_on) {
  for_all_strategies(1000, [] {
    bool flag = false;
    wait_group all;
    for (int i = 0; i < 2; ++i) {
      all.go([&] {
        while (!flag) yield();
      });
    }
    all.go([&] {
      for (int i = 0; i < 5; ++i) yield();
      flag = true;
    });
    all.wait();
  });
}

// But not at every yield: two yields of one goroutine may come between two steps of another.
TEST(sim_fairness, a_goroutine_may_be_several_yields_ahead) {
  bool seen = false;
  sim::explore({.runs = 500}, [&] {
    int mine = 0, others = 0;
    wait_group both;
    both.go([&] {
      mine = 1;
      yield();
      mine = 2;
    });
    both.go([&] {
      for (int i = 0; i < 4; ++i) {
        others += mine == 1 ? 1 : 0;
        yield();
      }
    });
    both.wait();
    seen = seen || others == 4;
  });
  EXPECT_TRUE(seen);
}

TEST(sim_fairness, time_passes_for_those_who_poll) {
  for_all_strategies(3000, [] {
    mutex m;
    wait_group all;
    all.go([&] {
      m.lock();
      sleep(1h);
      m.unlock();
    });
    all.go([&] {
      while (!m.try_lock()) yield();
      m.unlock();
    });
    all.wait();
    const auto deadline = weft::clock::now() + 5ms;
    while (weft::clock::now() < deadline) yield();
  });
}

// The mutex goes by the virtual clock too: a waiter older than a millisecond gets it handed over.
TEST(sim_time, a_hog_cannot_starve_a_waiter_in_any_schedule) {
  for_all_strategies(2000, [] {
    mutex m;
    bool waiting = false, got = false;
    int rounds = 0;
    wait_group both;
    both.go([&] {
      for (int i = 0; i < 10 && !got; ++i) {
        m.lock();
        if (waiting && !got) sim::check(++rounds <= 3, "the hog has it three times at most while another waits");
        sleep(2ms);
        m.unlock();
      }
    });
    both.go([&] {
      waiting = true;
      m.lock();
      got = true;
      m.unlock();
    });
    both.wait();
  });
}

TEST(sim_strategies, each_takes_many_ways_through_a_program) {
  const auto distinct = [](sim::strategy s) {
    return sim::explore({.runs = 200, .strategy = s},
                        [] {
                          wait_group all;
                          for (int i = 0; i < 3; ++i) {
                            all.go([] {
                              yield();
                              yield();
                            });
                          }
                          all.wait();
                        })
        .distinct;
  };
  EXPECT_EQ(distinct(sim::strategy::round_robin), 1);
  EXPECT_GT(distinct(sim::strategy::random), 180);
  EXPECT_GT(distinct(sim::strategy::pos), 150);
  EXPECT_GT(distinct(sim::strategy::pct), 30);
  EXPECT_GT(distinct(sim::strategy::portfolio), 100);
}

TEST(sim_strategies, goroutines_have_the_numbers_of_their_run) {
  sim::explore({.runs = 20}, [] {
    sim::check(this_goroutine::id() == 1);
    wait_group one;
    one.go([] { sim::check(this_goroutine::id() == 2); });
    one.wait();
    sim::check(num_goroutine() >= 1 && num_goroutine() <= 2);
  });
}

// As many as do not fit into a run queue, and stacks and records again and again.
TEST(sim_strategies, a_run_may_have_many_goroutines) {
  sim::explore({.runs = 10}, [] {
    wait_group all;
    int n = 0;
    for (int i = 0; i < 300; ++i) all.go([&] { ++n; });
    all.wait();
    sim::check(n == 300);
    semaphore gate(0), done(0);
    for (int i = 0; i < 300; ++i) {
      go([&] {
        gate.acquire();
        done.release();
      });
    }
    gate.release(300);
    for (int i = 0; i < 300; ++i) done.acquire();
  });
}

// Somebody polls beside somebody who works and never waits: the clock stands still all the same.
TEST(sim_time, a_timeout_does_not_come_in_the_middle_of_work_beside_a_poller) {
  for_all_strategies(100'000, [] {
    mutex mu;
    bool done = false;
    wait_group all;
    all.go([&] {
      for (int i = 0; i < 200; ++i) {
        mu.lock();
        mu.unlock();
      }
      done = true;
    });
    all.go([&] {
      while (!done) yield();
    });
    all.go([&] {
      sleep(10s);
      sim::check(done, "done after 10 s");
    });
    all.wait();
  });
}

}  // namespace
