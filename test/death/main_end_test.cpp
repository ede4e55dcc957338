// What is said of the goroutines that main has left behind, and how the process ends when they do not.
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

class MainEnd : public testing::TestWithParam<const char*> {
 protected:
  static ending run(const char* name, const std::vector<std::string>& more = {}) {
    std::vector<std::string> variables{std::string("WEFT_PROCS=") + GetParam()};
    variables.insert(variables.end(), more.begin(), more.end());
    return death::run("main_end", {name}, variables);
  }
};

INSTANTIATE_TEST_SUITE_P(Procs, MainEnd, testing::Values("1", "4"), [](const auto& test) { return test.param; });

TEST_P(MainEnd, WhoIsAwaitedIsSaidAfterASecond) {
  const ending e = run("late");
  EXPECT_EQ(e.status, 3) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "late has ended\natexit\n");
  EXPECT_THAT(e.err, ContainsRegex("^weft: main has returned 1[.0-9]* s ago; waiting for 1 goroutine: [0-9]+ \"late\" "
                                   "\\(detached\\)\n$"))
      << testing::PrintToString(e);
}

TEST_P(MainEnd, NothingIsSaidOfThoseThatEndSoon) {
  const ending e = run("soon");
  EXPECT_EQ(e.status, 3) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "late has ended\natexit\n");
  EXPECT_EQ(e.err, "");
}

TEST_P(MainEnd, PatienceEndsWithAReportAndMainsValue) {
  const ending e = run("stubborn", {"WEFT_SHUTDOWN_TIMEOUT=500ms"});
  EXPECT_EQ(e.status, 7) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "") << "_Exit: nothing is run at the end";
  EXPECT_THAT(e.err, ContainsRegex("^weft: 1 goroutine has not ended 0\\.[5-9][0-9]* s after it was cancelled:\n\n"
                                   "goroutine [0-9]+ \\[semacquire[^]]*\\] \"stubborn\":\n"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\nwait_for_ever(weft::semaphore&)\n")) << testing::PrintToString(e);
}

TEST_P(MainEnd, TheStatusIsWhatMainHasLeft) {
  EXPECT_EQ(run("stubborn_void", {"WEFT_SHUTDOWN_TIMEOUT=50ms"}).status, 0);
  EXPECT_EQ(run("stubborn_after_throw", {"WEFT_SHUTDOWN_TIMEOUT=50ms"}).status, 70);
  EXPECT_EQ(run("spinning", {"WEFT_SHUTDOWN_TIMEOUT=50ms"}).status, 9);
}

TEST_P(MainEnd, ATimeoutOfNothingEndsAtOnceIfOneIsLeft) {
  const ending e = run("stubborn", {"WEFT_SHUTDOWN_TIMEOUT=0"});
  EXPECT_EQ(e.status, 7) << testing::PrintToString(e);
  // Main itself may be on its way out then.
  EXPECT_THAT(e.err, ContainsRegex("^weft: (1 goroutine has|2 goroutines have) not ended 0"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\"stubborn\"")) << testing::PrintToString(e);
}

TEST_P(MainEnd, BothAreSaidWhenPatienceIsLonger) {
  const ending e = run("many_stubborn", {"WEFT_SHUTDOWN_TIMEOUT=1200ms"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("^weft: main has returned 1[.0-9]* s ago; waiting for 12 goroutines: ([0-9]+ "
                                   "\"stubborn\" \\(semacquire\\), ){8}and 4 more\n"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err,
              ContainsRegex("\nweft: 12 goroutines have not ended 1\\.[2-9][0-9]* s after they were cancelled:\n"))
      << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "\ngoroutine "), 12) << testing::PrintToString(e);
}

TEST_P(MainEnd, ShutdownAbortsAfterTheReport) {
  const ending e = run("shutdown", {"WEFT_SHUTDOWN_TIMEOUT=300ms"});
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, StartsWith("weft: 1 goroutine has not ended 0.")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\"stubborn\"")) << testing::PrintToString(e);
}

TEST_P(MainEnd, ShutdownSaysWhoIsAwaited) {
  const ending e = run("shutdown", {"WEFT_SHUTDOWN_TIMEOUT=1200ms"});
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("^weft: shutdown began 1[.0-9]* s ago; waiting for 1 goroutine: [0-9]+ \"stubborn\" "
                                   "\\(semacquire\\)\n"))
      << testing::PrintToString(e);
}

TEST_P(MainEnd, ExitEndsTheProcessWithMain) {
  const ending e = run("exit_with_main", {"WEFT_ON_MAIN_RETURN=exit"});
  EXPECT_EQ(e.status, 5) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
  const ending thrown = run("exit_with_main_that_throws", {"WEFT_ON_MAIN_RETURN=exit"});
  EXPECT_EQ(thrown.status, 4) << testing::PrintToString(thrown);
  EXPECT_EQ(thrown.out, "main failed\natexit\n");
}

TEST_P(MainEnd, CancelledIntoNoexceptNamesTheFunction) {
  const ending e = run("noexcept");
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("weft::cancelled has met a noexcept function: promise_not_to_be_cancelled"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("noexcept")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("\"careless\"")) << testing::PrintToString(e);
}

TEST_P(MainEnd, ExitIntoNoexceptIsReportedToo) {
  const ending e = run("exit_into_noexcept");
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("noexcept")) << testing::PrintToString(e);
}

}  // namespace
