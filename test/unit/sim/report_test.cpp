// What a report says, and how: whoever reads it has not seen the run.
#include <cstdlib>
#include <string>
#include <utility>

#include "support/lines.hpp"
#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using namespace std::chrono_literals;

// Of a plain run: whoever runs goes on.
template <class F>
std::optional<sim::failure> failure_of_run(const char* choices, F&& body) {
  try {
    sim::run(choices, body);
  } catch (const sim::failure& f) {
    return f;
  }
  ADD_FAILURE() << "the run has passed";
  return std::nullopt;
}

TEST(sim_report, names_those_who_have_ended_and_calls_done_done) {
  const auto f = failure_of_run("sim:", [] {
    wait_group both;
    both.add(2);
    go({.name = "ada"}, [&] { both.done(); });
    go({.name = "grace"}, [] {});
    both.wait();
  });
  ASSERT_TRUE(f);
  const std::string text = f->what();
  EXPECT_TRUE(contains(text, "goroutine 2 (ada)        goroutine 3 (grace)\n")) << text;
  EXPECT_TRUE(contains(text, ": goroutine 2 (ada): wait_group done #1\n")) << text;
  EXPECT_TRUE(contains(text, "   done #1\n")) << text;
}

TEST(sim_report, says_when_time_passes_and_how_long_a_sleep_is) {
  const auto f = failure_of_run("sim:", [] {
    sleep(0s);
    sleep(1500us);
    sleep(2s);
    sim::check(false);
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->schedule(),
            "  1: goroutine 1 (main): starts\n"
            "  2: goroutine 1 (main): sleep\n"
            "  3: goroutine 1 (main): sleep 1500us, waits\n"
            "  (time is 1500us)\n"
            "  4: goroutine 1 (main): woken: sleep\n"
            "  5: goroutine 1 (main): sleep 2s, waits\n"
            "  (time is 2001500us)\n"
            "  6: goroutine 1 (main): woken: sleep\n");
  EXPECT_TRUE(contains(f->what(), "\n         (time is 1500us)\n")) << f->what();
}

TEST(sim_report, shows_where_a_buggify_fires) {
  const auto f = failure_of_run("sim:!slow.2", [] {
    for (int i = 0; i < 3; ++i) {
      sim::point();
      sim::check(!sim::buggify("slow"));
    }
  });
  ASSERT_TRUE(f);
  EXPECT_TRUE(contains(f->schedule(), ": point\n  3: goroutine 1 (main): buggify \"slow\" fires\n")) << f->schedule();
  EXPECT_TRUE(contains(f->what(), "      3  buggify \"slow\" fires\n")) << f->what();
}

// Twenty lines of a loop say nothing; what led into it does.
TEST(sim_report, folds_loops) {
  const auto spin = [](int period) {
    return [period] {
      mutex m;
      m.lock();
      go({.name = "spinner"}, [&, period] {
        while (!m.try_lock()) {
          if (period == 2) yield();
        }
      });
      semaphore(0).acquire();
    };
  };
  const auto one = failure_of({.runs = 1, .max_steps = 1000}, spin(1));
  ASSERT_TRUE(one);
  EXPECT_TRUE(contains(one->schedule(), "goroutine 2 (spinner): mutex try_lock #1, fails, 99")) << one->schedule();
  EXPECT_LT(one->schedule().size(), 1000u);
  const auto two = failure_of({.runs = 1, .max_steps = 1000}, spin(2));
  ASSERT_TRUE(two);
  EXPECT_TRUE(contains(two->what(), "(the 2 lines above, 49")) << two->what();
  EXPECT_TRUE(contains(two->what(), "starts\n")) << "what came before the loop: " << two->what();
}

TEST(sim_report, a_deadlock_says_who_waits_for_whom) {
  const auto circle = failure_of(lock_order);
  ASSERT_TRUE(circle);
  EXPECT_TRUE(contains(circle->what(),
                       "weft::sim: all goroutines are asleep - deadlock! goroutine 2 and goroutine 3 wait for mutexes "
                       "of each other\n"))
      << circle->what();
  const auto itself = failure_of_run("sim:", [] {
    mutex m;
    m.lock();
    m.lock();
  });
  ASSERT_TRUE(itself);
  EXPECT_TRUE(contains(itself->what(), "deadlock! goroutine 1 (main) waits for a mutex that it holds itself\n"))
      << itself->what();
  EXPECT_TRUE(contains(itself->what(), "[sync.Mutex.Lock #1, since step 3], which it holds itself\n"))
      << itself->what();
  const auto none = failure_of_run("sim:", [] { semaphore(0).acquire(); });
  ASSERT_TRUE(none);
  EXPECT_TRUE(contains(none->what(), "weft::sim: all goroutines are asleep - deadlock!\n")) << none->what();
}

TEST(sim_report, says_where_goroutines_stand_that_could_go_on) {
  const auto f = failure_of_run("sim:1.after_release.1=2,2.unlock.1=3,3.point.1=4,4.after_go.1=1", [] {
    semaphore s(0);
    mutex m;
    go([&] {
      m.lock();
      m.unlock();
    });
    go([] { sim::point(); });
    go([] { go([] {}); });
    go([&] { s.acquire(); });
    s.release();
    sim::check(false);
  });
  ASSERT_TRUE(f);
  const std::string text = f->what();
  for (const char* line : {"goroutine 1 (main) [running, after semaphore release #1]\n",
                           "goroutine 2 [runnable, before mutex unlock #2]\n", "goroutine 3 [runnable, before point]\n",
                           "goroutine 4 [runnable, after go]\n", "goroutine 5 [runnable, not started]\n"}) {
    EXPECT_TRUE(contains(text, line)) << line << text;
  }
}

[[gnu::noinline]] void waits_here(semaphore& s) {
  s.acquire();
  asm volatile("");  // no tail call: the frame is what is looked for
}

// The innermost frames are the runtime's, and the same for all.
TEST(sim_report, says_where_in_the_program_a_goroutine_is) {
  const auto f = failure_of_run("sim:", [] {
    static semaphore never(0);
    go([] { waits_here(never); });
    sim::settle();
    sim::check(false);
  });
  ASSERT_TRUE(f);
  EXPECT_TRUE(contains(f->what(), "    in (anonymous namespace)::waits_here")) << f->what();
  if (weft::test::has_lines()) {  // main's lambda may have been inlined
    EXPECT_TRUE(
        contains(f->what(), "goroutine 1 (main) [running, after settle]\n    in (anonymous namespace)::sim_report"))
        << f->what();
  }
}

TEST(sim_report, choices_say_after_or_before_what) {
  const auto words = [](const char* choices) {
    ::setenv("WEFT_SIM_SEED", choices, 1);
    const auto f = failure_of({.minimize = true}, [] {
      mutex m;
      bool there = false;
      m.lock();
      go({.name = "it"}, [&] { there = true; });
      m.unlock();
      sim::point();
      sim::check(!there);
      sim::settle();
    });
    ::unsetenv("WEFT_SIM_SEED");
    return std::string(f ? f->what() : "");
  };
  const std::pair<const char*, const char*> said[] = {
      {"1.after_go.1=2", "is stopped after go (its 1st)"},
      {"1.unlock.1=2", "is stopped before mutex unlock #1 (its 1st)"},
      {"1.after_unlock.1=2", "is stopped after mutex unlock #1 (its 1st)"},
      {"1.point.1=2", "is stopped at point (its 1st)"},
  };
  for (const auto& [choice, where] : said) {
    const std::string text = words((std::string("sim:") + choice).c_str());
    EXPECT_TRUE(contains(
        text, std::string("  ") + choice + ": goroutine 1 (main) " + where + ", and goroutine 2 (it) goes on\n"))
        << text;
  }
}

}  // namespace
