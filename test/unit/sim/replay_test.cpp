// A failure again: by seed, by choices, in another process, after an edit; and with fewer switches.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "support/replay.hpp"
#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using sim::failure_kind;

template <class F>
std::optional<sim::failure> failure_of_run(const std::string& recipe, F&& body) {
  try {
    sim::run(recipe, body);
  } catch (const sim::failure& f) {
    return f;
  }
  ADD_FAILURE() << "the run has passed";
  return std::nullopt;
}

class variable {
 public:
  variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~variable() { ::unsetenv(name_); }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;

 private:
  const char* name_;
};

const sim::strategy all_strategies[] = {sim::strategy::portfolio, sim::strategy::random, sim::strategy::pct,
                                        sim::strategy::pos, sim::strategy::round_robin};

TEST(sim_replay, a_seed_alone_repeats_the_run_for_every_strategy) {
  // In a crowd there are more choices than PCT expects of a run that it knows nothing about: the seed has to tell it.
  for (void (*program)() : {lock_order, lock_order_in_a_crowd}) {
    for (const sim::strategy s : all_strategies) {
      if (s == sim::strategy::round_robin) continue;  // one schedule, which need not be a bad one
      const auto f = failure_of({.runs = 5000, .strategy = s, .depth = 2}, program);
      ASSERT_TRUE(f);
      for (int i = 0; i < 2; ++i) {
        const auto again = failure_of_run(std::to_string(f->seed()), program);
        ASSERT_TRUE(again);
        EXPECT_EQ(again->kind(), f->kind());
        EXPECT_EQ(again->schedule(), f->schedule());
        EXPECT_EQ(again->replay(), f->replay());
        EXPECT_EQ(again->choices(), f->choices());
      }
      EXPECT_THROW(sim::run(f->seed(), program), sim::failure);
      const auto by_text = failure_of_run(f->replay(), program);
      ASSERT_TRUE(by_text);
      EXPECT_EQ(by_text->schedule(), f->schedule());
      const auto by_choices = failure_of_run(f->choices(), program);
      ASSERT_TRUE(by_choices);
      EXPECT_EQ(by_choices->schedule(), f->schedule());
    }
  }
}

TEST(sim_replay, the_same_options_make_the_same_runs) {
  const auto one = failure_of(lock_order), two = failure_of(lock_order);
  ASSERT_TRUE(one && two);
  EXPECT_STREQ(one->what(), two->what());
  const auto other = failure_of({.seed = 2}, lock_order);
  ASSERT_TRUE(other);
  EXPECT_NE(one->seed(), other->seed());
}

// Byte for byte, with the addresses of everything elsewhere.
TEST(sim_replay, another_process_prints_the_same_report) {
  if (const char* number = std::getenv("SIM_TEST_CHILD")) {
    // The heap, too, looks different in the other child.
    std::vector<std::unique_ptr<char[]>> noise;
    for (int i = 0; i < 1000 * std::atoi(number); ++i) noise.push_back(std::make_unique<char[]>(16 + i % 100));
    const auto f = failure_of({.minimize = true}, [] {
      {
        const auto first = std::make_unique<mutex>();  // gone before the failure: LeakSanitizer would miss it
        first->lock();
        first->unlock();
      }
      lock_order();
    });
    ASSERT_TRUE(f);
    std::string text = f->what();
    text.erase(text.find("  replay: "), text.find('\n', text.find("  replay: ")) - text.find("  replay: "));
    std::printf("<<%s%s>>", text.c_str(), f->schedule().c_str());
    return;
  }
  const auto child = [](int number) {
    const std::string command = "SIM_TEST_CHILD=" + std::to_string(number) + " '" + executable() +
                                "' --gtest_filter=sim_replay.another_process_prints_the_same_report 2>&1";
    std::string out;
    FILE* pipe = ::popen(command.c_str(), "r");
    for (int c; pipe != nullptr && (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    EXPECT_EQ(::pclose(pipe), 0) << out;
    const std::size_t begin = out.find("<<"), end = out.rfind(">>");
    return begin == std::string::npos || end == std::string::npos ? "no report: " + out
                                                                  : out.substr(begin, end - begin);
  };
  const std::string one = child(1), two = child(2);
  EXPECT_TRUE(contains(one, "deadlock!")) << one;
  EXPECT_EQ(one, two);
}

TEST(sim_replay, the_variable_repeats_one_run_only) {
  const auto f = failure_of(lost_update);
  ASSERT_TRUE(f);
  for (const std::string& recipe : {f->replay(), std::to_string(f->seed()), f->choices()}) {
    const variable set("WEFT_SIM_SEED", recipe);
    int runs = 0;
    const auto again = failure_of([&] {
      ++runs;
      lost_update();
    });
    ASSERT_TRUE(again);
    EXPECT_EQ(again->schedule(), f->schedule()) << recipe;
    EXPECT_EQ(runs, 2) << "once to see it, once to write it down";
  }
  const variable set("WEFT_SIM_SEED", "sim:");
  EXPECT_EQ(sim::explore([] {}).runs, 1);
}

TEST(sim_replay, a_named_seed_is_for_the_exploration_of_that_name) {
  const auto f = failure_of({.name = "bank.deposits"}, lost_update);
  ASSERT_TRUE(f);
  EXPECT_TRUE(f->replay().starts_with("bank.deposits:0x")) << f->replay();
  EXPECT_TRUE(contains(f->what(), "replay: WEFT_SIM_SEED=bank.deposits:0x")) << f->what();
  EXPECT_TRUE(failure_of_run(f->replay(), lost_update)) << "run takes what failure gives";
  for (const std::string& recipe : {f->replay(), "bank.deposits:" + f->choices()}) {
    const variable set("WEFT_SIM_SEED", recipe);
    EXPECT_EQ(sim::explore({.runs = 7}, [] { yield(); }).runs, 7) << "has no name";
    EXPECT_EQ(sim::explore({.name = "bank", .runs = 7}, [] { yield(); }).runs, 7) << "has another";
    const auto again = failure_of({.name = "bank.deposits"}, lost_update);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->schedule(), f->schedule());
    EXPECT_EQ(again->runs(), 1);
  }
  const variable set("WEFT_SIM_SEED", "sim:");
  EXPECT_EQ(sim::explore({.name = "bank", .runs = 7}, [] {}).runs, 1) << "one without a name is for all";
}

TEST(sim_replay, a_failure_says_in_which_run_and_by_which_strategy) {
  for (const sim::strategy s : {sim::strategy::random, sim::strategy::pct, sim::strategy::pos}) {
    int runs = 0;
    const auto f = failure_of({.strategy = s, .check_determinism = false}, [&] {
      ++runs;
      lock_order();
    });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->runs() + 1, runs) << "and one for the report";
    EXPECT_EQ(f->strategy(), s);
    EXPECT_TRUE(contains(f->what(), "\n  run " + std::to_string(f->runs()) + ", strategy ")) << f->what();
    const auto by_choices = failure_of_run(f->choices(), lock_order);
    ASSERT_TRUE(by_choices);
    EXPECT_EQ(by_choices->runs(), 1);
    EXPECT_EQ(by_choices->strategy(), sim::strategy::portfolio);
  }
}

TEST(sim_replay, the_trace_prints_each_step_as_it_is_taken) {
  const variable set("WEFT_SIM_TRACE", "1");
  testing::internal::CaptureStderr();
  sim::run("sim:", [] {
    semaphore s(0);
    go({.name = "worker"}, [&] { s.release(); });
    s.acquire();
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "weft::sim: step 1: goroutine 1: starts\n"
            "weft::sim: step 2: goroutine 1: go\n"
            "weft::sim: step 3: goroutine 1: goes on after go\n"
            "weft::sim: step 4: goroutine 1: semaphore acquire #1\n"
            "weft::sim: step 5: goroutine 2 (worker): starts\n"
            "weft::sim: step 6: goroutine 2 (worker): semaphore release #1\n"
            "weft::sim: step 7: goroutine 2 (worker): goes on after semaphore release #1\n"
            "weft::sim: step 8: goroutine 1: woken from semaphore acquire #1\n");
}

TEST(sim_replay, another_programs_seed_is_told_apart) {
  const auto f = failure_of(lost_update);
  ASSERT_TRUE(f);
  const std::string said = error_of([&] { sim::run(f->replay(), lock_order); });
  EXPECT_TRUE(contains(said, "is another program's")) << said;
  EXPECT_TRUE(contains(said, f->replay().substr(0, 18))) << said;
}

TEST(sim_replay, minimizing_leaves_the_switches_that_matter) {
  const auto count = [](const std::string& choices) {
    return choices == "sim:" ? 0 : 1 + std::count(choices.begin(), choices.end(), ',');
  };
  const auto whole = failure_of({.strategy = sim::strategy::random}, lock_order_in_a_crowd);
  const auto least = failure_of({.strategy = sim::strategy::random, .minimize = true}, lock_order_in_a_crowd);
  ASSERT_TRUE(whole && least);
  EXPECT_GT(count(whole->choices()), 5) << whole->choices();
  EXPECT_LE(count(least->choices()), 2) << least->choices();
  EXPECT_EQ(whole->seed(), least->seed());
  EXPECT_EQ(least->kind(), failure_kind::deadlock);
  EXPECT_TRUE(contains(least->what(), "minimized from ")) << least->what();
  EXPECT_TRUE(contains(least->what(), "is stopped before mutex lock #")) << least->what();
  const auto again = failure_of_run(least->choices(), lock_order_in_a_crowd);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kind(), failure_kind::deadlock);
}

// Each of the three is needed, on this way; there is a shorter one, by a switch that is not among them.
TEST(sim_replay, minimizing_does_not_stay_on_a_long_way_round) {
  const std::string long_way = "sim:1.after_go.1=2,2.lock.2=1,1.after_go.2=3";
  for (const char* part :
       {"sim:1.after_go.1=2,2.lock.2=1", "sim:1.after_go.1=2,1.after_go.2=3", "sim:2.lock.2=1,1.after_go.2=3"}) {
    sim::run(part, lock_order);
  }
  const variable set("WEFT_SIM_SEED", long_way);
  const auto f = failure_of({.minimize = true}, lock_order);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::deadlock);
  EXPECT_EQ(std::count(f->choices().begin(), f->choices().end(), ','), 0) << f->choices();
  EXPECT_TRUE(contains(f->what(), "minimized from 3 choices to 1 in ")) << f->what();
  const variable set_again("WEFT_SIM_SEED", f->choices());
  const auto again = failure_of({.minimize = true}, lock_order);
  ASSERT_TRUE(again);
  EXPECT_TRUE(contains(again->what(), "1 of 1 choices applied; no choice can be left out\n")) << again->what();
}

TEST(sim_replay, choices_still_fit_after_an_edit_and_say_how_far) {
  const auto f = failure_of({.minimize = true}, lock_order);
  ASSERT_TRUE(f);
  const auto edited = [] {
    mutex unrelated;
    unrelated.lock();
    unrelated.unlock();
    lock_order();
  };
  const auto again = failure_of_run(f->choices(), edited);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kind(), failure_kind::deadlock);
  const auto partly = failure_of_run(f->choices() + ",7.lock.9=8", edited);
  ASSERT_TRUE(partly);
  EXPECT_TRUE(contains(partly->what(), "1 of 2 choices applied")) << partly->what();
  const sim::summary s = sim::run(f->choices(), [] {});
  EXPECT_EQ(s.applied, 0u);
  EXPECT_EQ(s.choices, 1u);
}

TEST(sim_replay, what_buggify_did_is_a_choice_too) {
  const auto body = [] {
    for (int i = 0; i < 4; ++i) sim::check(!sim::buggify("drop"), "nothing is dropped");
  };
  const auto f = failure_of({.minimize = true}, body);
  ASSERT_TRUE(f);
  EXPECT_TRUE(contains(f->choices(), "sim:!drop.")) << f->choices();
  EXPECT_TRUE(failure_of_run(f->choices(), body));
  sim::run("sim:", body);
}

}  // namespace
