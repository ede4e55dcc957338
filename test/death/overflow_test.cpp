// A stack overflow is named, in every class of stacks, and the process dies by SIGSEGV. Other faults are not ours.
#include "death/ending.hpp"
#include "support/lines.hpp"

namespace {

using death::count;
using death::ending;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* procs[] = {"WEFT_PROCS=1", "WEFT_PROCS=4"};

void expect_overflow(const ending& e, const std::string& who, const std::string& size, const std::string& function) {
  EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
  EXPECT_FALSE(e.timed_out);
  EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\]" + who + ": stack overflow \\(" + size +
                                   "\\): address 0x[0-9a-f]+\n"))
      << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "stack overflow"), 1) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr(function)) << testing::PrintToString(e);
  if (size != "16 KiB") {  // so little that all of it may be shown
    EXPECT_THAT(e.err, ContainsRegex("\n\\.\\.\\.[0-9]+ frames elided\\.\\.\\.\n")) << testing::PrintToString(e);
  }
  // The frames are the goroutine's, not those of the signal handler.
  EXPECT_THAT(e.err, Not(HasSubstr("report_overflow"))) << testing::PrintToString(e);
}

struct stack_class {
  const char* bytes;
  const char* size;
};
constexpr stack_class classes[] = {
    {"16384", "16 KiB"}, {"65536", "64 KiB"}, {"262144", "256 KiB"}, {"1048576", "1 MiB"}, {"8388608", "8 MiB"}};

// ThreadSanitizer's own functions, which are everywhere, may be the ones to meet the guard, with locks held that
// a signal handler needs: one in ten hangs.
class Overflow : public testing::Test {
 protected:
  void SetUp() override {
    if (tsan) GTEST_SKIP();
  }
};

TEST_F(Overflow, RecursionInEveryClass) {
  for (const char* p : procs) {
    for (const stack_class& c : classes) {
      SCOPED_TRACE(std::string(p) + " " + c.size);
      const ending e = death::run("overflow", {"recursion", c.bytes}, {p});
      expect_overflow(e, " \"digger\"", c.size, "dig(int)\n\t");
      EXPECT_THAT(e.err, ContainsRegex("\ncreated by .+ in goroutine 1\n\t.+\n$")) << testing::PrintToString(e);
    }
  }
}

// ---- each way to guard a stack, in each class

constexpr const char* methods[] = {"auto", "batch", "single", "protect", "canary"};

bool kernel_has(const char* method) {
  return death::run("overflow", {"and_return", "65536"}, {std::string("WEFT_DEBUG=guard=") + method}).status != 2 ||
         std::string(method) == "canary";
}

TEST_F(Overflow, EachGuardInEachClassLeavesNeighboursIntact) {
  for (const char* method : methods) {
    if (!kernel_has(method)) GTEST_SKIP() << "this kernel cannot do " << method;
    for (const stack_class& c : classes) {
      SCOPED_TRACE(std::string(method) + " " + c.size);
      const ending e = death::run("overflow", {"neighbours", c.bytes}, {std::string("WEFT_DEBUG=guard=") + method});
      EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\] \"digger\": stack overflow \\(" +
                                       std::string(c.size) + "\\): "))
          << testing::PrintToString(e);
      EXPECT_EQ(e.out, "neighbours intact\n") << testing::PrintToString(e);
      if (std::string(method) == "canary") {
        EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
        EXPECT_THAT(e.err, ContainsRegex("had no guard to meet.*0x[0-9a-f]+\n")) << testing::PrintToString(e);
        EXPECT_THAT(e.err, ContainsRegex("\nfatal error: stack overflow\n\ngoroutine [0-9]+ \\[running\\] \"digger\":"))
            << testing::PrintToString(e);
      } else {
        EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
        EXPECT_THAT(e.err, HasSubstr("dig_to(")) << testing::PrintToString(e);
      }
    }
  }
}

// The page of the canary is not there for looks: an overflow that never comes back meets the end of the chunk.
TEST_F(Overflow, WithoutAGuardEndlessRecursionIsNamedToo) {
  for (const stack_class& c : classes) {
    SCOPED_TRACE(c.size);
    const ending e = death::run("overflow", {"recursion", c.bytes}, {"WEFT_DEBUG=guard=canary", "WEFT_PROCS=1"});
    EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
    EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\] \"digger\": stack overflow \\(" +
                                     std::string(c.size) + "\\): "))
        << testing::PrintToString(e);
  }
}

#ifdef WEFT_CHECKED
TEST_F(Overflow, InCheckedBuildsACanaryIsLookedAtWhenItsGoroutineParks) {
  const ending e = death::run("overflow", {"and_park", "65536"}, {"WEFT_DEBUG=guard=canary"});
  EXPECT_EQ(e.out, "") << "it was noticed at the end only";
  EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\] \"digger\": stack overflow \\(64 KiB\\)"))
      << testing::PrintToString(e);
}
#endif

TEST_F(Overflow, ACanaryOfMainIsLookedAtToo) {
  for (const char* how : {"main", "big"}) {
    const ending e = death::run("overflow", {"and_return", how, "65536"}, {"WEFT_DEBUG=guard=canary"});
    EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
    EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\].*: stack overflow \\([0-9]+ [KM]iB\\)"))
        << testing::PrintToString(e);
  }
}

// ---- borrowed stacks

TEST_F(Overflow, OfABorrowedStackIsReportedWithItsSize) {
  for (const char* p : procs) {
    for (const stack_class& c : classes) {
      SCOPED_TRACE(std::string(p) + " " + c.size);
      const ending e = death::run("overflow", {"recursion", "big", c.bytes}, {p});
      expect_overflow(e, " \"digger\"", c.size, "dig(int)\n\t");
      // Down to the frames on the goroutine's own stack: its lambda in main, which may have been inlined into ours.
      EXPECT_THAT(e.err, ContainsRegex(weft::test::has_lines() ? "\nweft_call_on_stack.*\n(.*\n)*main::"
                                                               : "\nweft_call_on_stack.*\n(.*\n)*created by "))
          << testing::PrintToString(e);
    }
  }
}

// A goroutine that waits on a borrowed stack is shown with the frames of both.
TEST_F(Overflow, TracebacksCrossTheSeam) {
  const ending e = death::run("overflow", {"wait_and_die", "main"}, {"WEFT_PROCS=1"});
  EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
#if defined(__x86_64__)
  EXPECT_THAT(
      e.err,
      ContainsRegex("\n\ngoroutine [0-9]+ \\[semacquire\\] \"waiter\":\n(.*\n)*wait_in_vain\\(weft::semaphore&"
                    "\\)\n(.*\n)*weft_call_on_stack.*\n(.*\n)*" +
                    std::string(weft::test::has_lines() ? "wait_and_die.*\n(.*\n)*" : "") + "created by wait_and_die"))
      << testing::PrintToString(e);
#endif
}

TEST_F(Overflow, OfAStackThatAThreadHasBorrowedIsReportedToo) {
  const ending e = death::run("overflow", {"recursion", "thread", "1048576"});
  EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("^thread \\[running\\]: stack overflow \\(1 MiB\\): address 0x"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("dig(int)\n\t")) << testing::PrintToString(e);
}

TEST_F(Overflow, SaysHowToGetMore) {
  const ending small = death::run("overflow", {"recursion", "16384"});
  for (const char* way :
       {"weft::attrs{.stack_size", "weft::on_big_stack", "options::stack_size", "WEFT_STACK_SIZE", "8 MiB"}) {
    EXPECT_THAT(small.err, HasSubstr(way)) << testing::PrintToString(small);
  }
  const ending large = death::run("overflow", {"recursion", "8388608"});
  EXPECT_THAT(large.err, HasSubstr("the largest stack")) << testing::PrintToString(large);
}

TEST_F(Overflow, DefaultClassFromTheEnvironment) {
  // attrs say nothing: the size is the option's.
  const ending e = death::run("overflow", {"recursion", "18446744073709551615"}, {"WEFT_STACK_SIZE=64K"});
  expect_overflow(e, " \"digger\"", "64 KiB", "dig(int)");
}

TEST_F(Overflow, MainGoroutine) {
  for (const char* p : procs) {
    const ending e = death::run("overflow", {"recursion", "main"}, {p});
    expect_overflow(e, "", "[0-9]+ [KM]iB", "dig(int)\n\t");
    EXPECT_THAT(e.err, StartsWith("goroutine 1 [running]"));
  }
}

// Frames that are less than the guard is wide, so none steps over it, wherever in the page the stack begins. Larger
// ones are safe with -fstack-clash-protection only.
TEST_F(Overflow, Fault19BigFramesMeetTheGuard) {
  constexpr struct {
    const char* frame;
    const char* bytes;
  } cases[] = {{"3k_frame", "16384"},
               {"12k_frame", "65536"},
               {"24k_frame", "262144"},
               {"24k_frame", "1048576"},
               {"24k_frame", "8388608"}};
  for (const char* p : procs) {
    for (const auto& c : cases) {
      SCOPED_TRACE(std::string(p) + " " + c.bytes);
      const ending e = death::run("overflow", {c.frame, c.bytes}, {p});
      EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
      EXPECT_THAT(e.err, ContainsRegex("^goroutine [0-9]+ \\[running\\] \"digger\": stack overflow"))
          << testing::PrintToString(e);
      EXPECT_THAT(e.err, HasSubstr("dig_big<")) << testing::PrintToString(e);
    }
  }
}

TEST_F(Overflow, InADestructor) {
  for (const char* p : procs) {
    const ending e = death::run("overflow", {"destructor", "65536"}, {p});
    expect_overflow(e, " \"digger\"", "64 KiB", "dig(int)");
    EXPECT_THAT(e.err, HasSubstr("dig_in_destructor()")) << testing::PrintToString(e);
  }
}

// Dies inside malloc, more often than not with its lock held: the report needs another one.
TEST_F(Overflow, InsideMalloc) {
  for (const char* p : procs) {
    const ending e = death::run("overflow", {"allocating", "262144"}, {p}, 30);
    expect_overflow(e, " \"digger\"", "256 KiB", sanitized ? "digger" : "dig_allocating(int)");
  }
}

TEST_F(Overflow, InsideTheCLibrary) {
  for (const char* p : procs) {
    expect_overflow(death::run("overflow", {"printing", "65536"}, {p}), " \"digger\"", "64 KiB", "dig_printing(int)");
  }
}

TEST_F(Overflow, Fault20InsideTheResolver) {
  const ending e = death::run("overflow", {"resolving", "65536"});
  expect_overflow(e, " \"digger\"", "64 KiB", "dig_resolving(int)");
}

// ---- main's stack: as large as the limit says

struct limit {
  const char* bytes;
  const char* size;
};

constexpr limit limits[] = {{"65536", "64 KiB"},   {"262144", "256 KiB"},   {"1048576", "1 MiB"},
                            {"8388608", "8 MiB"},  {"8392704", "8196 KiB"}, {"16777216", "16 MiB"},
                            {"67108864", "64 MiB"}};

TEST_F(Overflow, MainsStackIsAsLargeAsTheLimit) {
  for (const limit& l : limits) {
    SCOPED_TRACE(l.size);
    const ending e = death::run("overflow", {"recursion", "main", l.bytes});
    expect_overflow(e, "", l.size, "dig(int)\n\t");
    EXPECT_THAT(e.err, StartsWith("goroutine 1 [running]"));
    const ending almost = death::run("overflow", {"almost", "main", l.bytes});
    EXPECT_EQ(almost.status, 0) << testing::PrintToString(almost);
  }
  // How to get more is another matter than for any other goroutine.
  EXPECT_THAT(death::run("overflow", {"recursion", "main", "16777216"}).err, HasSubstr("ulimit -s"));
}

TEST_F(Overflow, MainsStackWithoutALimitIsAGibibyte) {
  const ending e = death::run("overflow", {"touch", "main", "unlimited"});
  if (e.status == 77) GTEST_SKIP() << "the hard limit is lower";
  EXPECT_EQ(e.signal, SIGSEGV) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("^goroutine 1 \\[running\\]: stack overflow \\(1024 MiB\\): address 0x"))
      << testing::PrintToString(e);
}

TEST_F(Overflow, OnEachGuardMainsLargeStackIsReported) {
  for (const char* method : methods) {
    if (!kernel_has(method)) GTEST_SKIP() << "this kernel cannot do " << method;
    SCOPED_TRACE(method);
    const ending e =
        death::run("overflow", {"and_return", "main", "16777216"}, {std::string("WEFT_DEBUG=guard=") + method});
    EXPECT_THAT(e.err, ContainsRegex("^goroutine 1 \\[running\\]: stack overflow \\(16 MiB\\): "))
        << testing::PrintToString(e);
  }
}

// ---- faults that are no overflow

TEST(Fault, NullPointerDiesBySigsegv) {
  for (const char* p : procs) {
    for (const char* name : {"null", "null_in_main", "null_on_thread", "sent"}) {
      const ending e = death::run("fault", {name}, {p});
      EXPECT_EQ(e.signal, SIGSEGV) << name << ": " << testing::PrintToString(e);
      EXPECT_THAT(e.err, Not(HasSubstr("overflow"))) << name;
    }
  }
}

TEST(Fault, TheProgramsHandlerIsCalled) {
  for (const char* p : procs) {
    for (const char* name : {"handler_before", "handler_after"}) {
      const ending e = death::run("fault", {name}, {p});
      EXPECT_EQ(e.status, 5) << name << ": " << testing::PrintToString(e);
      EXPECT_EQ(e.err, "the program's own handler\n") << name;
    }
  }
}

}  // namespace
