// Each wrong use has an error that says what was wrong.
#include <cstdlib>
#include <thread>

#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;

TEST(sim_misuse, options_out_of_range_are_named) {
  const auto said = [](const sim::options& o) { return error_of([&] { sim::explore(o, [] {}); }); };
  for (const char* name : {"sim", "a b", "a:b", "a'b", "a\"b"}) {
    EXPECT_EQ(said({.name = name}), "weft::sim: name \"" + std::string(name) +
                                        "\": must not be sim, nor contain a colon, a quote or white space");
  }
  EXPECT_EQ(said({.runs = 0}), "weft::sim: runs 0: must be 1 or more");
  EXPECT_EQ(said({.time = std::chrono::nanoseconds(-5)}), "weft::sim: time -5: must be 0 (no limit) or more");
  EXPECT_EQ(said({.depth = 0}), "weft::sim: depth 0: must be 1 to 14");
  EXPECT_EQ(said({.strategy = sim::strategy::exhaustive, .depth = -1}), "weft::sim: depth -1: must be 0 to 14");
  EXPECT_EQ(said({.depth = 15}), "weft::sim: depth 15: must be 1 to 14");
  EXPECT_EQ(said({.max_steps = 0}), "weft::sim: max_steps 0: must be 1 or more");
  EXPECT_EQ(said({.strategy = static_cast<sim::strategy>(9)}),
            "weft::sim: strategy 9: must be one of weft::sim::strategy");
}

TEST(sim_misuse, seeds_and_choices_that_do_not_parse_are_named) {
  const auto said = [](const char* text) { return error_of([&] { sim::run(text, [] {}); }); };
  for (const char* bad :
       {"", "x", "0x", "12z", "-", "1-", "1-xyz", "1-123456789", "99999999999999999999", "0x12345678123456781"}) {
    EXPECT_TRUE(contains(said(bad), "bad value \"" + std::string(bad) + "\": takes a seed")) << said(bad);
  }
  EXPECT_TRUE(contains(said("bank:twelve"), "bad value \"bank:twelve\": takes a seed")) << said("bank:twelve");
  EXPECT_TRUE(contains(said("bank:sim:1"), "bad choice \"1\" in \"sim:1\"")) << said("bank:sim:1");
  for (const char* bad :
       {"sim:1", "sim:1.lock.2", "sim:1.lock=2", "sim:a.lock.1=2", "sim:1.lock.0=2", "sim:1.lock.1=2,",
        "sim:1.lock.1=2,,1.lock.1=2", "sim:1.lock.1x=2", "sim:!drop", "sim:!.1", "sim:1.lock.1w0=2"}) {
    EXPECT_TRUE(contains(said(bad), "bad choice \"")) << bad << ": " << said(bad);
    EXPECT_TRUE(contains(said(bad), bad)) << said(bad);
  }
  EXPECT_TRUE(
      contains(said("sim:1.drink.1=2"), "bad choice \"1.drink.1=2\" in \"sim:1.drink.1=2\": no such operation"));
}

TEST(sim_misuse, variables_that_do_not_parse_are_named) {
  const auto said = [](const char* name, const char* value) {
    ::setenv(name, value, 1);
    const std::string text = error_of([&] { sim::explore({.runs = 1}, [] {}); });
    ::unsetenv(name);
    return text;
  };
  EXPECT_TRUE(contains(said("WEFT_SIM_SEED", "seven"), "WEFT_SIM_SEED=\"seven\": takes a seed"));
  EXPECT_EQ(said("WEFT_SIM_RUNS", "0"), "weft: bad value WEFT_SIM_RUNS=0: takes 1 to 2147483647");
  EXPECT_EQ(said("WEFT_SIM_RUNS", "many"), "weft: bad value WEFT_SIM_RUNS=many: takes 1 to 2147483647");
  EXPECT_EQ(said("WEFT_SIM_TIME", "soon"),
            "weft: bad value WEFT_SIM_TIME=soon: takes a number of seconds, or with a unit: 500ms, 10s, 5m");
  EXPECT_EQ(said("WEFT_SIM_TRACE", "yes"), "weft: bad value WEFT_SIM_TRACE=yes: takes 1 or 0");
  EXPECT_TRUE(contains(said("WEFT_SIM_RANS", "1"), "unknown variable WEFT_SIM_RANS=1"));
}

TEST(sim_misuse, runs_and_time_come_from_the_environment_if_they_are_there) {
  ::setenv("WEFT_SIM_RUNS", "7", 1);
  EXPECT_EQ(sim::explore({.runs = 1000}, [] {}).runs, 7);
  ::unsetenv("WEFT_SIM_RUNS");
  ::setenv("WEFT_SIM_TIME", "1ms", 1);
  EXPECT_LT(sim::explore({.runs = 2'000'000'000}, [] {}).runs, 2'000'000'000);
  ::unsetenv("WEFT_SIM_TIME");
}

TEST(sim_misuse, explorations_are_not_nested_and_not_inside_goroutines) {
  std::string nested, nested_run, running;
  sim::explore({.runs = 1}, [&] {
    nested = error_of([] { sim::explore([] {}); });
    nested_run = error_of([] { sim::run(1, [] {}); });
    running = error_of([] { weft::run([] {}); });
  });
  EXPECT_EQ(nested, "weft::sim: explore and run cannot be nested: this is a goroutine of an exploration");
  EXPECT_EQ(nested_run, nested);
  EXPECT_TRUE(contains(running, "weft::run called inside an exploration"));
  std::string inside;
  weft::run([&] { inside = error_of([] { sim::explore([] {}); }); });
  EXPECT_EQ(inside, "weft::sim: explore and run are for plain threads, and this is a goroutine");
}

TEST(sim_misuse, there_is_one_exploration_in_a_process) {
  std::string second;
  sim::explore({.runs = 1, .check_determinism = false}, [&] {
    std::thread other([&] { second = error_of([] { sim::explore([] {}); }); });
    other.join();
  });
  EXPECT_TRUE(contains(second, "another exploration runs on another thread")) << second;
  sim::explore({.runs = 1}, [] {});
}

TEST(sim_misuse, what_belongs_inside_throws_outside) {
  EXPECT_EQ(error_of([] { sim::check(false, "five"); }), "weft::sim::check failed: five");
  sim::check(true);
  EXPECT_EQ(error_of([] { sim::settle(); }), "weft::sim::settle called outside an exploration");
  EXPECT_EQ(error_of([] { static_cast<void>(sim::now()); }), "weft::sim::now called outside an exploration");
  EXPECT_EQ(error_of([] { sim::always([] { return true; }); }), "weft::sim::always called outside an exploration");
  EXPECT_EQ(error_of([] { sim::eventually([] { return true; }, std::chrono::seconds(1)); }),
            "weft::sim::eventually called outside an exploration");
}

TEST(sim_misuse, buggify_wants_a_name_and_a_probability) {
  EXPECT_TRUE(contains(error_of([] { static_cast<void>(sim::buggify("")); }), "bad name \"\""));
  EXPECT_TRUE(contains(error_of([] { static_cast<void>(sim::buggify("a b")); }), "bad name \"a b\""));
  EXPECT_TRUE(contains(error_of([] { static_cast<void>(sim::buggify("a", 1.5)); }), "bad probability 1.5"));
  EXPECT_TRUE(contains(error_of([] { static_cast<void>(sim::buggify("a", -1)); }), "bad probability -1"));
}

}  // namespace
