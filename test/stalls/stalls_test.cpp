// Nobody keeps others from running (promise 1 of API.md): every P stuck at once, in each way there is, beside 100 goroutines
// that tick every millisecond. Each case is a process; what it saw is printed, so that a reader sees the gaps.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "death/ending.hpp"
#include "support/build.hpp"

namespace {

using death::ending;
using namespace weft;

constexpr bool slow = test::built_with_sanitizer;

// What all Ps are stuck in, and where.
struct stall {
  std::string kind;
  int procs;
  int n;
  std::string where;
};

struct place {
  const char* name;
  std::vector<std::string> arguments;
  std::vector<std::string> variables;
  int most_ms;  // between two ticks
};

const std::vector<place> places{
    {"plain", {}, {}, 1000},
    {"without_membarrier", {}, {"WEFT_DEBUG=membarrier=off"}, 1000},
    // Every step of both revokers takes 50 ms.
    {"slow_revokers", {"revoker"}, {"WEFT_DEBUG=revokedelay=50"}, 5000},
    {"loaded", {"load"}, {}, 3000},
};

void PrintTo(const stall& s, std::ostream* os) {
  *os << s.n << " in " << s.kind << " on " << s.procs << " Ps, " << s.where;
}

std::string name_of(const testing::TestParamInfo<stall>& info) {
  const stall& s = info.param;
  return s.where + "_" + s.kind + "_" + std::to_string(s.n) + "_on_" + std::to_string(s.procs);
}

class every_p : public testing::TestWithParam<stall> {};

// A machine that others use gives us the less of its time the more they are.
double others_share() {
  double load = 0;
  const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
  return ::getloadavg(&load, 1) == 1 ? std::max(1.0, load / cpus) : 1.0;
}

TEST_P(every_p, is_stuck_and_the_others_go_on) {
  const stall& s = GetParam();
  if (s.kind == "go" && test::built_with_tsan) {
    GTEST_SKIP() << "ThreadSanitizer has room for some thousands of goroutines, and go makes as many as it can";
  }
  if (s.kind == "regex" && test::built_with_tsan) {
    GTEST_SKIP() << "libstdc++ fills a table of its ctype on first use, which ThreadSanitizer takes for a race";
  }
  const place& where = *std::find_if(places.begin(), places.end(), [&](const place& p) { return s.where == p.name; });
  const int idle_ms = std::max(where.most_ms, s.n > 100 ? 10'000 : 0) * (slow ? 5 : 1);
  const int most_ms = static_cast<int>(idle_ms * others_share());
  std::vector<std::string> arguments{s.kind, std::to_string(s.procs), std::to_string(s.n), std::to_string(most_ms)};
  arguments.insert(arguments.end(), where.arguments.begin(), where.arguments.end());
  const ending e = death::run_program(WEFT_TEST_STALLS_DIR "/every_p", arguments, where.variables, slow ? 300 : 60);
  std::cout << "  " << e.out;
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}

// Those in which a thread sleeps, or is busy, once and for long: 200 are cheap.
const std::vector<std::string> plenty{"read",         "sleep",    "poll", "flock", "std_mutex", "condition_variable",
                                      "pthread_join", "busy_loop"};
// What only runs for as long as it has a P stops nobody outside of it; the more there are, the longer it takes.
const std::vector<std::string> others{"getaddrinfo", "std_mutex_of_a_wanderer",
                                      "system",      "regex",
                                      "short_calls", "short_sleeps",
                                      "try_send",    "lock",
                                      "buffered",    "go",
                                      "ping_pong",   "flag"};

std::vector<stall> one_more_than_ps() {
  std::vector<stall> cases;
  for (const auto* kinds : {&plenty, &others}) {
    for (const std::string& kind : *kinds) {
      for (const int procs : {1, 2, 4}) cases.push_back({kind, procs, procs + 1, "plain"});
    }
  }
  return cases;
}

std::vector<stall> many() {
  std::vector<stall> cases;
  for (const std::string& kind : plenty) cases.push_back({kind, 2, test::scaled(200), "plain"});
  cases.push_back({"read", 1, test::scaled(200), "plain"});
  cases.push_back({"read", 4, test::scaled(200), "plain"});
  return cases;
}

std::vector<stall> elsewhere() {
  std::vector<stall> cases;
  for (const auto* kinds : {&plenty, &others}) {
    for (const std::string& kind : *kinds) {
      cases.push_back({kind, 2, 3, "without_membarrier"});
      cases.push_back({kind, 2, 4, "slow_revokers"});  // which has one P more at times
    }
  }
  for (const char* kind : {"read", "sleep", "std_mutex", "busy_loop", "try_send", "flag"}) {
    cases.push_back({kind, 2, 3, "loaded"});
  }
  cases.push_back({"ping_pong", 1, 2, "loaded"});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(one_more_than_ps, every_p, testing::ValuesIn(one_more_than_ps()), name_of);
INSTANTIATE_TEST_SUITE_P(many, every_p, testing::ValuesIn(many()), name_of);
INSTANTIATE_TEST_SUITE_P(elsewhere, every_p, testing::ValuesIn(elsewhere()), name_of);

}  // namespace
