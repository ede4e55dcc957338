// runtime_fixture: each case of a test in a runtime of its own, for several P counts and seeds, and nothing left behind.
//
//   TEST(mutex, excludes) {
//     test::for_each_case([](const test::run_case& c) { …on the main goroutine of a fresh runtime of c.procs Ps… });
//   }
//
// Environment  TEST_PROCS    P counts, "1,2,4,8" unless the test or this says otherwise
//              TEST_SEED     the first seed; a fresh one each time if it is not set
//              TEST_SEEDS    how many seeds; 3, or 1 when TEST_SEED is set
//              WEFT_DEBUG    goes before the seed and the test's own knobs: noise=3 makes noise in each case that does
//                            not forbid it
//              TEST_TIMEOUT  seconds after which a case counts as hung; 60, five times that under sanitizers
// After a failure the line that repeats it is printed and the other cases of the test are left out.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace weft::test {

struct run_case {
  int procs;
  std::uint64_t seed;
};

struct run_options {
  std::vector<int> procs = {};  // empty: TEST_PROCS, or 1, 2, 4, 8
  unsigned seeds = 0;           // 0: TEST_SEEDS, or 3
  // What num_goroutine() must become when the body has returned; main is one of them.
  int goroutines_at_end = 1;
  // Called on main after that was checked: ends the goroutines that were expected to be still there.
  std::function<void()> afterwards = {};
  options runtime = {};  // procs is overwritten
  // False: what the C library keeps (stacks and arenas of ended threads) depends on how many threads there were at once.
  bool memory_settles = true;
  std::string knobs = {};  // more of WEFT_DEBUG, beside the seed
};

void for_each_case(const std::function<void(const run_case&)>& body, const run_options& o = {});
// And then in explored schedules: the same body, on one thread, so it must have no threads of its own, no real clock, and
// nothing that holds for one P only. `case.procs` is 3 then: how many goroutines at once it should count on.
void for_each_case_and_schedule(const std::function<void(const run_case&)>& body, int schedules = 50,
                                const run_options& o = {});
// The usual way to say that: one seed on 1, 2 and 4 Ps, and a thousand schedules.
inline const run_options several_ps{{1, 2, 4}, 1};
inline void everywhere(const std::function<void()>& body) {
  for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}
// One case of it, with its leak check; reports on the calling thread.
void for_one_case(const run_case& c, const std::function<void(const run_case&)>& body, const run_options& o = {});

}  // namespace weft::test
