// Goroutines without a P, and what else goes on: each case a process (around.cpp).
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "death/ending.hpp"
#include "support/build.hpp"

namespace {

using death::ending;
using testing::HasSubstr;
using namespace weft;

const std::string program = WEFT_TEST_STALLS_DIR "/around";
constexpr int seconds = test::built_with_sanitizer ? 300 : 60;

ending around(const std::vector<std::string>& arguments, const std::vector<std::string>& variables = {}) {
  ending e = death::run_program(program, arguments, variables, seconds);
  std::cout << "  " << arguments[0] << ": " << e.out << (e.out.empty() ? "\n" : "");
  return e;
}

void expect_to_end(const std::string& name) {
  for (const char* knobs : {"WEFT_DEBUG=", "WEFT_DEBUG=membarrier=off", "WEFT_DEBUG=revokedelay=20"}) {
    const ending e = around({name}, {knobs});
    EXPECT_EQ(e.status, 0) << knobs << ": " << testing::PrintToString(e);
    EXPECT_EQ(e.err, "") << knobs;
  }
}

TEST(a_goroutine, whose_p_is_taken_ten_thousand_times_keeps_its_thread) {
  const ending e = around({"keeps_its_thread", std::to_string(test::scaled(10'000))});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
}

// Each has its P taken five times over when others wait; what it has begun it then goes on with beside them. A slice that ended
// by wall time would make a thread for each.
TEST(tasks, of_50_ms_stay_below_32_threads) {
  const ending e = around({"tasks", std::to_string(test::scaled(300)), "50"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
}

TEST(max_threads, that_are_used_up_by_blocked_goroutines_are_no_error) {
  const ending e = around({"few_threads"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "all are back\n");
  EXPECT_THAT(e.err, HasSubstr("max_threads"));
  EXPECT_EQ(death::count(e.err, "\n"), 1) << e.err;
}

TEST(around_detached_goroutines, the_number_of_ps_changes) { expect_to_end("change_of_procs"); }
TEST(around_detached_goroutines, shutdown_waits_for_them) { expect_to_end("shutdown"); }
TEST(around_detached_goroutines, locked_ones_keep_their_threads) { expect_to_end("locked"); }
TEST(around_detached_goroutines, another_thread_explores) { expect_to_end("exploration"); }
TEST(around_detached_goroutines, main_may_return) {
  const ending e = around({"end_of_main"});
  EXPECT_EQ(e.status, 7) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}

// Whether a thread of ours may have a nice value below 0, and would be given one.
bool may_weigh() {
  if (::getpriority(PRIO_PROCESS, 0) != 0 || ::sched_getscheduler(0) != SCHED_OTHER) return false;
  bool may = false;
  std::thread([&] { may = ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), -1) == 0; }).join();
  return may;
}
constexpr const char* may_not = "not allowed here (CAP_SYS_NICE or RLIMIT_NICE), or not with this nice value or policy";

TEST(a_crowd, weighs_no_more_than_those_that_serve_the_others) {
  if (!may_weigh()) GTEST_SKIP() << may_not;
  const ending e = around({"crowd", "1"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}
TEST(a_crowd, weighs_what_it_weighs_when_that_is_wanted) {
  const ending e = around({"crowd", "0"}, {"WEFT_DEBUG=weight=off"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
}
TEST(a_crowd, leaves_the_callers_thread_as_it_was) {
  if (!may_weigh()) GTEST_SKIP() << may_not;
  const ending e = around({"crowd_at_the_end"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
}

// Ends with the scope.
class child {
 public:
  explicit child(const std::string& command) : out_(::popen(command.c_str(), "r")) {}
  ~child() {
    if (pid > 0) ::kill(pid, SIGKILL);
    if (out_ != nullptr) ::pclose(out_);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  bool line(std::string* text) {
    char buf[2000];
    if (out_ == nullptr || ::fgets(buf, sizeof buf, out_) == nullptr) return false;
    *text = buf;
    return true;
  }
  int pid = 0;

 private:
  FILE* out_;
};

// Five goroutines are still in read(2), and Ps have been taken; then nothing happens any more, for 5 s.
TEST(an_idle_process, makes_no_system_call_after_ps_were_taken) {
  if (test::built_with_sanitizer) GTEST_SKIP() << "sanitizers have threads of their own, which wake up";
  if (std::system("command -v strace >/dev/null") != 0) GTEST_SKIP() << "no strace: apt-get install strace";
  child idle("exec " + program + " idle 2>&1");
  std::string text;
  while (idle.line(&text) && std::sscanf(text.c_str(), "ready %d", &idle.pid) != 1) std::cout << text;
  ASSERT_GT(idle.pid, 0);
  // sysmon looks whether anybody will ever run again some rounds after the last P went idle, and 0.01, 0.1 and 1 s later, then
  // after ten; threads that nobody needs end after ten. Watched between the two.
  ::usleep(2'000'000);
  child strace("exec timeout -s INT 5 strace -f -qq -p " + std::to_string(idle.pid) + " 2>&1");
  // To attach interrupts what each thread sleeps in, and it is resumed: one line for each of them.
  std::map<std::string, int> lines;
  std::string all;
  bool refused = false;
  while (strace.line(&text)) {
    all += text;
    refused = refused || text.find("ttach") != std::string::npos;
    ++lines[text.substr(0, text.find(']'))];
  }
  if (refused) GTEST_SKIP() << "strace may not attach here: " << all;
  EXPECT_GE(lines.size(), 6U) << "strace saw too few threads:\n" << all;
  for (const auto& [thread, n] : lines) EXPECT_EQ(n, 1) << all;
}

}  // namespace
