// strategy::exhaustive: every schedule, no schedule twice, and what it says at the end.
#include <set>
#include <string>

#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using namespace std::chrono_literals;
using sim::failure_kind;

constexpr auto all = sim::strategy::exhaustive;

// Main and one other, of so many steps each; each step is written down, so the text is the schedule: 2n over n.
TEST(sim_exhaustive, sees_each_interleaving_once) {
  const auto ways = [](int steps, int depth) {
    std::multiset<std::string> seen;
    std::string order;
    const sim::summary s =
        sim::explore({.runs = 100'000, .strategy = all, .depth = depth, .check_determinism = false}, [&] {
          const auto walk = [&](char name) {
            for (int i = 0; i < steps; ++i) {
              if (i != 0) sim::point();
              order += name;
            }
            if (order.size() == 2 * static_cast<std::size_t>(steps)) seen.insert(order);
          };
          order.clear();
          go([walk] { walk('a'); });
          walk('m');
        });
    EXPECT_TRUE(s.complete);
    EXPECT_EQ(s.runs, static_cast<int>(seen.size()));
    EXPECT_EQ(s.distinct, s.runs);
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size()) << "none twice";
    return seen.size();
  };
  EXPECT_EQ(ways(2, 0), 6u);
  EXPECT_EQ(ways(3, 0), 20u);
  EXPECT_EQ(ways(5, 0), 252u);
  EXPECT_EQ(ways(2, 1), 3u) << "mmaa, maam, aamm";
  EXPECT_EQ(ways(2, 2), 5u) << "and mama, amma";
  EXPECT_EQ(ways(2, 3), 6u) << "and amam";
}

TEST(sim_exhaustive, is_complete_for_a_right_program_and_says_so) {
  const sim::summary s = sim::explore({.runs = 1'000'000, .strategy = all}, [] {
    int counter = 0;
    mutex m;
    wait_group both;
    for (int i = 0; i < 2; ++i) {
      both.go([&] {
        m.lock();
        const int seen = counter;
        sim::point();
        counter = seen + 1;
        m.unlock();
      });
    }
    both.wait();
    sim::check(counter == 2);
  });
  EXPECT_TRUE(s.complete);
  EXPECT_GT(s.runs, 10);
}

TEST(sim_exhaustive, is_not_complete_when_runs_or_time_are_too_few) {
  const auto body = [] {
    wait_group all_of_them;
    for (int i = 0; i < 4; ++i) all_of_them.go([] { sim::point(); });
    all_of_them.wait();
  };
  EXPECT_FALSE(sim::explore({.runs = 100, .strategy = all}, body).complete);
  EXPECT_FALSE(sim::explore({.runs = 2'000'000'000, .time = 1ms, .strategy = all, .depth = 0}, body).complete);
  EXPECT_FALSE(sim::explore({.runs = 10}, [] {}).complete) << "the others never know";
  EXPECT_TRUE(sim::explore({.runs = 1, .strategy = all}, [] {}).complete);
}

TEST(sim_exhaustive, a_failure_has_choices_that_lead_to_it_again) {
  for (const bool minimize : {false, true}) {
    const auto f = failure_of({.runs = 1'000'000, .strategy = all, .minimize = minimize}, lock_order);
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind(), failure_kind::deadlock);
    EXPECT_EQ(f->strategy(), all);
    EXPECT_TRUE(contains(f->what(), "strategy exhaustive")) << f->what();
    EXPECT_TRUE(contains(f->what(), "replay: WEFT_SIM_SEED=sim:")) << f->what();
    EXPECT_EQ(f->replay().substr(0, 4), "sim:");
    try {
      sim::run(f->replay(), lock_order);
      ADD_FAILURE() << f->replay() << " has passed";
    } catch (const sim::failure& again) {
      EXPECT_EQ(again.kind(), failure_kind::deadlock);
    }
  }
}

// Without the rule that a yield lets the others go on there would be no end of schedules.
TEST(sim_exhaustive, loops_of_yields_end) {
  const sim::summary s = sim::explore({.runs = 1'000'000, .strategy = all, .max_steps = 1000}, [] {
    bool flag = false;
    wait_group both;
    both.go([&] {
      while (!flag) yield();
    });
    both.go([&] {
      sim::point();
      flag = true;
    });
    both.wait();
  });
  EXPECT_TRUE(s.complete);
}

TEST(sim_exhaustive, whether_a_buggify_fires_is_decided_both_ways) {
  std::set<int> seen;
  const sim::summary s = sim::explore({.runs = 1000, .strategy = all}, [&] {
    int bits = 0;
    for (int i = 0; i < 3; ++i) bits = 2 * bits + (sim::buggify("b") ? 1 : 0);
    sim::check(!sim::buggify("never", 0));
    seen.insert(bits);
  });
  EXPECT_TRUE(s.complete);
  EXPECT_EQ(s.runs, 8);
  EXPECT_EQ(seen.size(), 8u);
  const auto body = [] {
    const bool first = sim::buggify("b"), second = sim::buggify("b");
    sim::check(first || !second);
  };
  const auto f = failure_of({.strategy = all}, body);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->choices(), "sim:!b.2");
}

TEST(sim_exhaustive, notices_a_program_that_does_not_do_the_same_again) {
  for (const bool check : {true, false}) {
    int runs = 0;
    const auto f = failure_of({.runs = 100'000, .strategy = all, .check_determinism = check}, [&] {
      wait_group all_of_them;
      ++runs;
      for (int i = 0; i < 2 + runs % 2; ++i) all_of_them.go([] { sim::point(); });
      all_of_them.wait();
    });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind(), failure_kind::nondeterminism) << f->what();
    EXPECT_TRUE(contains(f->what(), "the same schedule went another way at step ")) << f->what();
  }
}

}  // namespace
