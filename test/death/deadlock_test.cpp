// Nobody can go on: Go's SimpleDeadlock, LockedDeadlock, LockedDeadlock2, GoexitDeadlock, GoexitInPanic, PanicAfterGoexit,
// and each case in which somebody may still come (Promise 5 of the API).
#include <string>

#include "death/ending.hpp"

namespace {

using death::count;
using death::ending;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* all_asleep = "fatal error: all goroutines are asleep - deadlock!\n";
constexpr const char* none_left = "fatal error: no goroutines (main called runtime.Goexit) - deadlock!\n";

// ThreadSanitizer has a thread of its own, which might release a semaphore for all that is known.
#define NEEDS_A_REPORT() \
  if (tsan) GTEST_SKIP() << "under ThreadSanitizer there is always a thread that is not ours"

// With one P and with more; both must say the same.
class Deadlock : public testing::TestWithParam<const char*> {
 protected:
  static ending run(const char* name, const std::vector<std::string>& more = {}, int seconds = 60) {
    std::vector<std::string> variables{std::string("WEFT_PROCS=") + GetParam()};
    variables.insert(variables.end(), more.begin(), more.end());
    return death::run("deadlock", {name}, variables, seconds);
  }

  static void expect_report(const ending& e, const char* text) {
    EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
    EXPECT_FALSE(e.timed_out);
    EXPECT_THAT(e.err, StartsWith(text)) << testing::PrintToString(e);
    EXPECT_EQ(count(e.err, "fatal error:"), 1) << testing::PrintToString(e);
  }

  static void expect_woken(const ending& e) {
    EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
    EXPECT_EQ(e.out, "woken\n");
    EXPECT_EQ(e.err, "");
  }
};

INSTANTIATE_TEST_SUITE_P(Procs, Deadlock, testing::Values("1", "4"), [](const auto& test) { return test.param; });

// ---- reported

TEST_P(Deadlock, OfMainAlone) {
  NEEDS_A_REPORT();
  const ending e = run("main_alone");
  expect_report(e, all_asleep);
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine 1 \\[semacquire[^]]*\\]")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\nwait_for_ever(weft::semaphore&)\n")) << testing::PrintToString(e);
}

TEST_P(Deadlock, BesideTimersThatWereStopped) {
  NEEDS_A_REPORT();
  expect_report(run("beside_what_was_stopped"), all_asleep);
}

TEST_P(Deadlock, NamesEveryGoroutineAndNobodyElse) {
  NEEDS_A_REPORT();
  const ending e = run("several");
  expect_report(e, all_asleep);
  EXPECT_EQ(count(e.err, "\ngoroutine "), 3) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\ngoroutine [0-9]+ \\[semacquire[^]]*\\] \"reader\":\n"));
  EXPECT_THAT(e.err, ContainsRegex("\ngoroutine [0-9]+ \\[sync.WaitGroup.Wait[^]]*\\] \"joiner\":\n"))
      << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "created by "), 2) << testing::PrintToString(e);
}

TEST_P(Deadlock, NamesTheCycleOfMutexes) {
  NEEDS_A_REPORT();
  const ending e = run("mutexes");
  expect_report(e, all_asleep);
  EXPECT_THAT(e.err, ContainsRegex("\ncycle: goroutine [0-9]+ -> mutex 0x[0-9a-f]+ -> goroutine [0-9]+ -> mutex "
                                   "0x[0-9a-f]+ -> goroutine [0-9]+\n"))
      << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "[sync.Mutex.Lock"), 2) << testing::PrintToString(e);
}

TEST_P(Deadlock, OfLockedGoroutines) {
  NEEDS_A_REPORT();
  for (const char* name : {"locked", "locked_both", "after_locked_end"}) {
    const ending e = run(name);
    expect_report(e, all_asleep);
    EXPECT_THAT(e.err, HasSubstr("goroutine 1 [semacquire")) << name << ": " << testing::PrintToString(e);
  }
}

TEST_P(Deadlock, OfTwoRuntimes) {
  NEEDS_A_REPORT();
  const ending e = run("with_runtime");
  expect_report(e, all_asleep);
  EXPECT_EQ(count(e.err, "\ngoroutine "), 2) << testing::PrintToString(e);
}

TEST_P(Deadlock, AfterTheLastForeignThreadHasEnded) {
  NEEDS_A_REPORT();
  expect_report(run("thread_ends"), all_asleep);
}

TEST_P(Deadlock, MainHasExited) {
  const ending alone = run("main_exits_alone");
  expect_report(alone, none_left);
  EXPECT_EQ(count(alone.err, "\ngoroutine "), 0) << testing::PrintToString(alone);
  const ending last = run("main_exits_and_others_end");
  expect_report(last, none_left);
  EXPECT_EQ(last.out, "an other has ended\nan other has ended\nan other has ended\n");
}

TEST_P(Deadlock, MainHasExitedAndTheOthersWait) {
  NEEDS_A_REPORT();
  const ending e = run("main_exits_and_others_wait");
  expect_report(e, all_asleep);
  EXPECT_EQ(count(e.err, "\ngoroutine "), 1) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\"left\""));
}

// ---- another end of the process comes first

TEST_P(Deadlock, NotWhileAPanicIsPrinted) {
  const ending e = run("panic_beside_waiters");
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, StartsWith("panic: std::runtime_error: the last that ran\n")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, Not(HasSubstr("fatal error"))) << testing::PrintToString(e);
}

TEST_P(Deadlock, NotWhileAPanicInGoexitIsPrinted) {
  const ending e = run("panic_in_exit");
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("while it unwinds")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, Not(HasSubstr("fatal error"))) << testing::PrintToString(e);
}

// ---- not reported: somebody will come, or may

TEST_P(Deadlock, NotBesideABlockingCall) { expect_woken(run("by_blocking")); }

TEST_P(Deadlock, NotBesideASleep) {
  expect_woken(run("by_sleep"));
  expect_woken(run("by_own_sleep"));
}

TEST_P(Deadlock, NotBesideAForeignThread) { expect_woken(run("by_thread")); }

TEST_P(Deadlock, NotBesideAnotherRuntimeThatRuns) { expect_woken(run("by_runtime")); }

TEST_P(Deadlock, NotOfAnEmbeddedRuntime) {
  expect_woken(run("embedded_alone"));
  // No thread but ours, and nobody else who would report it.
  const ending e = run("embedded_beside_off", {}, 1);
  EXPECT_TRUE(e.timed_out) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}

TEST_P(Deadlock, NotAfterMainsEnd) {
  const ending e = run("after_main", {"WEFT_SHUTDOWN_TIMEOUT=500ms"});
  EXPECT_EQ(e.status, 5) << testing::PrintToString(e);
  EXPECT_THAT(e.err, AllOf(StartsWith("weft: 1 goroutine has not ended "), HasSubstr("\"left\""),
                           Not(HasSubstr("fatal error"))))
      << testing::PrintToString(e);
}

TEST_P(Deadlock, NotWhenItIsOff) {
  for (const ending& e : {run("off", {}, 1), run("main_alone", {"WEFT_DEADLOCK=off"}, 1)}) {
    EXPECT_TRUE(e.timed_out) << testing::PrintToString(e);
    EXPECT_EQ(e.err, "");
  }
}

TEST_P(Deadlock, NotWhenProcCannotBeRead) {
  const ending e = run("without_proc", {}, 1);
  if (e.status == 77) GTEST_SKIP() << "a mount namespace without /proc is not permitted here";
  EXPECT_TRUE(e.timed_out) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}

}  // namespace
