#include "support/runtime_fixture.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "os/sys.hpp"
#include "weft/sim.hpp"

namespace weft::test {
namespace {

std::vector<int> procs_of(const run_options& o) {
  const char* text = std::getenv("TEST_PROCS");
  if (text == nullptr || *text == '\0') return o.procs.empty() ? std::vector<int>{1, 2, 4, 8} : o.procs;
  std::vector<int> procs;
  std::stringstream list(text);
  for (std::string item; std::getline(list, item, ',');) {
    char* end = nullptr;
    const long n = std::strtol(item.c_str(), &end, 10);
    if (*end != '\0' || n < 1 || n > 4096) {
      std::fprintf(stderr, "test: TEST_PROCS=%s: P counts from 1 to 4096, with commas between\n", text);
      std::_Exit(2);
    }
    procs.push_back(static_cast<int>(n));
  }
  return procs;
}

// Seeds of a run that nobody has seeded; printed when they matter.
std::uint64_t fresh_seed() { return rt::os::random_seed() % 1'000'000'000 + 1; }

std::string this_test() {
  const ::testing::TestInfo* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string filter = info == nullptr ? "*" : std::string(info->test_suite_name()) + '.' + info->name();
  return executable() + " --gtest_filter=" + filter;
}

// WEFT_DEBUG as this process was given it, noise for example: without it the replay would be of something else.
std::string inherited_knobs() {
  const char* text = std::getenv("WEFT_DEBUG");
  return text == nullptr || *text == '\0' ? std::string() : "WEFT_DEBUG=" + std::string(text) + ' ';
}

std::string replay_of(const run_case& c) {
  return inherited_knobs() + "TEST_PROCS=" + std::to_string(c.procs) + " TEST_SEED=" + std::to_string(c.seed) + ' ' +
         this_test();
}

// WEFT_DEBUG for the time of a run.
class debug_variable {
 public:
  debug_variable(std::uint64_t seed, const std::string& knobs) {
    if (const char* before = std::getenv("WEFT_DEBUG")) before_ = before;
    std::string value = "seed=" + std::to_string(seed);
    if (!knobs.empty()) value += ',' + knobs;
    if (before_ && !before_->empty()) value = *before_ + ',' + value;
    ::setenv("WEFT_DEBUG", value.c_str(), 1);
  }
  ~debug_variable() {
    if (before_) {
      ::setenv("WEFT_DEBUG", before_->c_str(), 1);
    } else {
      ::unsetenv("WEFT_DEBUG");
    }
  }
  debug_variable(const debug_variable&) = delete;
  debug_variable& operator=(const debug_variable&) = delete;

 private:
  std::optional<std::string> before_;
};

// A goroutine that has told main that it is done still has to end: num_goroutine is given time to become right.
int goroutines_at_rest(int expected) {
  const std::int64_t end = rt::os::now() + 2'000'000'000;
  int n = num_goroutine();
  for (; n != expected && rt::os::now() < end; n = num_goroutine()) weft::yield();
  return n;
}

}  // namespace

void for_one_case(const run_case& c, const std::function<void(const run_case&)>& body, const run_options& o) {
  const snapshot before = take_snapshot();
  int at_end = o.goroutines_at_end;
  {
    debug_variable debug(c.seed, o.knobs);
    options runtime = o.runtime;
    runtime.procs = c.procs;
    // The watchdog is to see a goroutine that does not end. Patience would end the process first, with status 0.
    if (runtime.shutdown_timeout == options{}.shutdown_timeout) runtime.shutdown_timeout = std::chrono::hours(1);
    try {
      weft::run(runtime, [&] {
        body(c);
        at_end = goroutines_at_rest(o.goroutines_at_end);
        if (o.afterwards) o.afterwards();
      });
    } catch (const std::exception& e) {
      ADD_FAILURE() << "run() threw: " << e.what();
    }
  }
  if (at_end != o.goroutines_at_end) {
    ADD_FAILURE() << "goroutines at the end of main: " << at_end << " instead of " << o.goroutines_at_end;
  }
  if (const std::string text = leaked_since(before); !text.empty()) ADD_FAILURE() << "leaked: " << text;
}

void for_each_case(const std::function<void(const run_case&)>& body, const run_options& o) {
  const bool seeded = std::getenv("TEST_SEED") != nullptr;
  const std::uint64_t first = number_from_env("TEST_SEED", fresh_seed());
  const unsigned seeds =
      static_cast<unsigned>(number_from_env("TEST_SEEDS", seeded ? 1 : (o.seeds != 0 ? o.seeds : 3)));
  const auto timeout = static_cast<unsigned>(number_from_env("TEST_TIMEOUT", 60));
  const std::vector<int> procs_list = procs_of(o);
  std::vector<snapshot> after;
  after.reserve(procs_list.size() * seeds);  // here: its own memory must not count
  for (int procs : procs_list) {
    for (unsigned i = 0; i < seeds; ++i) {
      const run_case c{procs, first + i};
      set_replay_line(replay_of(c));
      set_watchdog(timeout);
      const bool failed_before = ::testing::Test::HasFailure();
      for_one_case(c, body, o);
      clear_watchdog();
      if (!failed_before && ::testing::Test::HasFailure()) {
        print_replay_sig();
        return;
      }
      if (::testing::Test::IsSkipped()) return;
      after.push_back(take_snapshot());
    }
  }
  // With one seed each run has more Ps than the one before, more threads, and more heap in malloc's caches.
  if (seeds == 1 || !o.memory_settles) return;
  if (const std::string text = grown_in_each_run(after); !text.empty()) {
    ADD_FAILURE() << "leaked: " << text;
    // One case does not show it: all of them again.
    set_replay_line(inherited_knobs() + "TEST_SEED=" + std::to_string(first) + " TEST_SEEDS=" + std::to_string(seeds) +
                    ' ' + this_test());
    print_replay_sig();
  }
}

void for_each_case_and_schedule(const std::function<void(const run_case&)>& body, int schedules, const run_options& o) {
  for_each_case(body, o);
  if (::testing::Test::HasFailure() || ::testing::Test::IsSkipped()) return;
  const ::testing::TestInfo* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string name = std::string(info->test_suite_name()) + '.' + info->name();
  set_replay_line("in explored schedules: " + this_test());
  set_watchdog(static_cast<unsigned>(number_from_env("TEST_TIMEOUT", 60)));
  try {
    // Bodies that loop for a thousand rounds have some ten thousand points.
    sim::explore({.name = name, .runs = scaled(schedules), .max_steps = 2'000'000}, [&] {
      body({3, 1});
      sim::check(!::testing::Test::HasFailure(), "what the test expects");
      sim::settle();
      sim::check(num_goroutine() == o.goroutines_at_end, "no goroutine is left");
      if (o.afterwards) o.afterwards();
    });
  } catch (const sim::failure& f) {
    ADD_FAILURE() << f.what();
  }
  clear_watchdog();
}

}  // namespace weft::test
