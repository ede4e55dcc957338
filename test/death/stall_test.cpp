// What WEFT_DEBUG=stall says of goroutines that make no call of the runtime, and that they do not notice.
#include "death/ending.hpp"
#include "support/build.hpp"

namespace {

using death::count;
using death::ending;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

const std::string sentence = " has made no call of the runtime for [0-9]+ ms: ";
const std::string runs = "it runs, on thread [0-9]+\n";
const std::string reads = "it sleeps in the kernel \\(read\\), on thread [0-9]+\n";

ending run(const char* how, const char* procs = "WEFT_PROCS=2", const char* knobs = "WEFT_DEBUG=stall=100") {
  ending e = death::run("stall", {how}, {procs, knobs});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_FALSE(e.timed_out) << testing::PrintToString(e);
  return e;
}

TEST(Stall, SpinnerIsReportedOnceWithItsStack) {
  for (const char* procs : {"WEFT_PROCS=1", "WEFT_PROCS=4"}) {
    const ending e = run("spin", procs);
    SCOPED_TRACE(testing::PrintToString(e));
    EXPECT_THAT(e.out, HasSubstr("1 in all\n"));
    EXPECT_THAT(e.err, ContainsRegex("^weft: goroutine [0-9]+ \"miller\"" + sentence + runs));
#if defined(__x86_64__)
    EXPECT_EQ(count(e.err, "mill::grind_until(int)\n"), 1);
    EXPECT_THAT(e.err, Not(HasSubstr("the stack goes on")));
#endif
    EXPECT_EQ(count(e.err, "\ncreated by "), 1);
  }
}

TEST(Stall, MainIsAGoroutine) {
  const ending e = run("main");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, ContainsRegex("^weft: goroutine 1" + sentence + runs));
  EXPECT_THAT(e.err, Not(HasSubstr("created by ")));
}

// The sample of the kernel has the inner 32 KiB only.
TEST(Stall, StackOfASpinnerIsReadToItsEnd) {
  const ending e = run("deep");
  SCOPED_TRACE(testing::PrintToString(e));
#if defined(__x86_64__)
  EXPECT_THAT(e.err, HasSubstr("mill::grind_until(int)\n"));
  EXPECT_THAT(e.err, HasSubstr(" frames elided...\n"));
  EXPECT_THAT(e.err, Not(HasSubstr("the stack goes on")));
#endif
}

TEST(Stall, AfterACallItIsAnotherStretch) {
  const ending e = run("again");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.out, HasSubstr("2 in all\n"));
  EXPECT_EQ(count(e.err, "\"miller\" has made no call"), 2);
}

TEST(Stall, WhoSleepsInReadGetsNoSignal) {
  const ending e = run("read");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_EQ(e.out, "read 1, errno 0\n1 in all\n");
  EXPECT_THAT(e.err, ContainsRegex("^weft: goroutine [0-9]+ \"clerk\"" + sentence + reads));
#if defined(__x86_64__)
  EXPECT_EQ(count(e.err, "mill::wait_for_work(unsigned long)\n"), 1);
  EXPECT_THAT(e.err, Not(HasSubstr("the stack goes on")));
#endif
}

// The frame pointer is not known of who sleeps; it is found.
TEST(Stall, StackOfASleeperIsReadWithoutItsFramePointer) {
  const ending e = run("unoptimised");
  SCOPED_TRACE(testing::PrintToString(e));
#if defined(__x86_64__)
  EXPECT_EQ(count(e.err, "mill::desk::serve(int)\n"), 4);
  EXPECT_EQ(count(e.err, "mill::open_counter(mill::counter&)\n"), 1);
  EXPECT_THAT(e.err, Not(HasSubstr("litter")));
  EXPECT_THAT(e.err, Not(HasSubstr("the stack goes on")));
#endif
}

TEST(Stall, WhoSleepsIsNotWoken) {
  const ending e = run("sleep");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_EQ(e.out, "0 s are left\n1 in all\n");
  EXPECT_THAT(e.err, ContainsRegex("\"sleeper\"" + sentence + "it sleeps in the kernel \\(clock_nanosleep\\)"));
}

// It is hardly ever found twice in the same sleep.
TEST(Stall, WhoPollsIsReported) {
  const ending e = run("polls");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, ContainsRegex("^weft: goroutine [0-9]+ \"poller\"" + sentence + "it (runs|sleeps)"));
#if defined(__x86_64__)
  EXPECT_THAT(e.err, HasSubstr("mill::run"));
  EXPECT_THAT(e.err, Not(HasSubstr("the stack goes on")));
#endif
}

// Its P was given to others long before.
TEST(Stall, DetachedOnesAreReported) {
  const ending e = run("detached", "WEFT_PROCS=1", "WEFT_DEBUG=stall=500");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.out, HasSubstr("2 in all\n"));
  EXPECT_THAT(e.err, ContainsRegex("\"miller\"" + sentence + runs));
  EXPECT_THAT(e.err, ContainsRegex("\"clerk\"" + sentence + reads));
}

TEST(Stall, WhoHasSaidSoIsNotReported) {
  const ending e = run("blocking");
  EXPECT_EQ(e.out, "0 reports\n1 in all\n") << testing::PrintToString(e);
}

TEST(Stall, ManyShortCallsAreNoStall) {
  const ending e = run("calls", "WEFT_PROCS=1", "WEFT_DEBUG=stall=1000");
  EXPECT_EQ(e.out, "0 reports\n1 in all\n") << testing::PrintToString(e);
}

TEST(Stall, WhatCannotBeReadIsSaid) {
  const ending e = run("refused");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, ContainsRegex("\"miller\"" + sentence + runs +
                                   "\tits stack cannot be read here: perf_event_open: Permission denied\n"
                                   "created by (void )?mill::"));
  // That needs no perf_event_open.
  EXPECT_THAT(e.err, HasSubstr("mill::wait_for_work(unsigned long)\n"));
}

TEST(Stall, EachOfManyIsReported) {
  const ending e = run("many");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.out, HasSubstr("40 in all\n"));
  EXPECT_EQ(count(e.out, "read 1, errno 0\n"), 40);
  EXPECT_EQ(count(e.err, "mill::wait_for_work(unsigned long)\n"), 40);
}

// The thread that looks is none of the program's.
TEST(Stall, DeadlockIsStillSeen) {
  if (weft::test::built_with_tsan)
    GTEST_SKIP() << "ThreadSanitizer has a thread of its own, beside which none is reported";
  const ending e = death::run("stall", {"deadlock"}, {"WEFT_PROCS=2", "WEFT_DEBUG=stall=100"});
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_EQ(e.status, 2);
  EXPECT_THAT(e.err, HasSubstr("fatal error: all goroutines are asleep - deadlock!\n"));
  EXPECT_THAT(e.err, Not(HasSubstr("has made no call")));
}

TEST(Stall, NothingIsSaidWithoutTheKnob) {
  const ending e = death::run("stall", {"sleep"}, {"WEFT_PROCS=2"});
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.out, "0 s are left\n0 in all\n");
  EXPECT_EQ(e.err, "");
}

}  // namespace
