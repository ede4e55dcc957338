// The fixture itself: a leak that is planted must be reported. Without this, a fixture that sees nothing would pass.
#include <fcntl.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "model/sched.hpp"
#include "sched/park.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

const run_case one{2, 7};

TEST(fixture, reports_a_leaked_goroutine) {
  semaphore never(0);
  test::run_options o;
  o.afterwards = [&] { never.release(); };
  EXPECT_NONFATAL_FAILURE(test::for_one_case(
                              one, [&](const run_case&) { go([&] { never.acquire(); }); }, o),
                          "goroutines at the end of main: 2 instead of 1");
}

TEST(fixture, accepts_goroutines_that_are_expected) {
  semaphore never(0);
  test::run_options o;
  o.goroutines_at_end = 2;
  o.afterwards = [&] { never.release(); };
  test::for_one_case(
      one, [&](const run_case&) { go([&] { never.acquire(); }); }, o);
}

TEST(fixture, reports_a_leaked_stack) {
  rt::stack* st = nullptr;
  EXPECT_NONFATAL_FAILURE(test::for_one_case(one,
                                             [&](const run_case&) {
                                               int err = 0;
                                               st = rt::the_process.stacks.get(0, &err);
                                             }),
                          "leaked: stacks in use");
  ASSERT_NE(st, nullptr);
  st->next = nullptr;
  rt::the_process.stacks.put_list(0, st);
}

TEST(fixture, reports_a_leaked_descriptor) {
  int fd = -1;
  EXPECT_NONFATAL_FAILURE(test::for_one_case(one, [&](const run_case&) { fd = ::open("/dev/null", O_RDONLY); }),
                          "leaked: file descriptors");
  ::close(fd);
}

TEST(fixture, reports_a_leaked_thread) {
  std::binary_semaphore end(0);
  std::thread left;
  EXPECT_NONFATAL_FAILURE(test::for_one_case(one, [&](const run_case&) { left = std::thread([&] { end.acquire(); }); }),
                          "leaked: threads");
  end.release();
  left.join();
}

TEST(fixture, reports_a_leaked_proxy) {
  rt::g* proxy = nullptr;
  EXPECT_NONFATAL_FAILURE(test::for_one_case(one, [&](const run_case&) { proxy = rt::proxy_get(); }),
                          "leaked: proxies of plain threads in use");
  rt::proxy_put(proxy);
}

TEST(fixture, reports_a_growing_heap) {
  if (test::built_with_sanitizer) GTEST_SKIP() << "sanitizers have their own allocator, and their own leak check";
  if (std::getenv("TEST_PROCS") != nullptr || std::getenv("TEST_SEED") != nullptr) GTEST_SKIP() << "needs several runs";
  std::vector<std::unique_ptr<char[]>> kept;
  kept.reserve(100);
  test::run_options o;
  o.procs = {1, 2};
  EXPECT_NONFATAL_FAILURE(test::for_each_case([&](const run_case&) { kept.emplace_back(new char[40000]); }, o),
                          "leaked: heap");
}

TEST(fixture, reports_an_exception_of_main) {
  EXPECT_NONFATAL_FAILURE(test::for_one_case(one, [](const run_case&) { throw std::runtime_error("planted"); }),
                          "run() threw: planted");
}

TEST(fixture, runs_each_p_count_with_each_seed) {
  std::vector<std::pair<int, std::uint64_t>> seen;
  test::run_options o;
  o.procs = {1, 3};
  o.seeds = 2;
  test::for_each_case(
      [&](const run_case& c) {
        seen.emplace_back(c.procs, c.seed);
        EXPECT_EQ(rt::getg()->rt->nprocs, static_cast<std::uint32_t>(c.procs));
        EXPECT_EQ(rt::getg()->rt->seed, c.seed);
      },
      o);
  if (std::getenv("TEST_PROCS") != nullptr || std::getenv("TEST_SEED") != nullptr) return;
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].second, seen[2].second);
  EXPECT_EQ(seen[0].second + 1, seen[1].second);
}

// A hang ends by itself, and says how to repeat it and what everybody was doing.
TEST(fixture_death, a_hang_is_reported_with_its_replay_line) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::setenv("TEST_TIMEOUT", "1", 1);
        test::run_options o;
        o.procs = {2};
        test::for_each_case(
            [](const run_case&) {
              for (;;) sleep(std::chrono::hours(1));
            },
            o);
      },
      ::testing::KilledBySignal(SIGABRT),
      "watchdog gives up\nreplay: (WEFT_DEBUG=[^ ]+ )?TEST_PROCS=2 TEST_SEED=[0-9]+ "
      ".*--gtest_filter=fixture_death.*\nSCHED: procs=2");
}

TEST(fixture_death, a_crash_is_reported_with_its_replay_line) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        test::run_options o;
        o.procs = {1};
        test::for_each_case([](const run_case&) { std::abort(); }, o);
      },
      "replay: (WEFT_DEBUG=[^ ]+ )?TEST_PROCS=1 TEST_SEED=");
}

// Right in each execution, wrong in some schedules: only the exploration can fail.
TEST(fixture, explores_schedules_and_reports_what_fails) {
  const auto body = [](const run_case&) {
    int n = 0;
    wait_group both;
    for (int i = 0; i < 2; ++i) {
      both.go([&n] {
        const int seen = n;
        sim::point();
        n = seen + 1;
      });
    }
    both.wait();
    EXPECT_TRUE(!sim::active() || n == 2) << "planted";
  };
  ::testing::TestPartResultArray results;
  {
    ::testing::ScopedFakeTestPartResultReporter catcher(&results);
    test::for_each_case_and_schedule(body, 50, {{1}, 1});
  }
  std::string text;
  for (int i = 0; i < results.size(); ++i) text += results.GetTestPartResult(i).message();
  EXPECT_NE(text.find("planted"), std::string::npos) << text;
}

}  // namespace
