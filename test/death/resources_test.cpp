// What the system refuses is named, and the work goes on where it can.
#include "death/ending.hpp"

namespace {

using death::count;
using death::ending;
using testing::AllOf;
using testing::AnyOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr int not_possible = 77;

TEST(Resources, NoMoreThreads) {
  const ending e = death::run("resources", {"threads"});
  if (e.status == not_possible) GTEST_SKIP() << "needs root, to become a user with a limit";
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "done: 200 of 200\n") << testing::PrintToString(e);
  // A line about the watching thread, and one about all others, which names the error.
  EXPECT_EQ(count(e.err, "\n"), 2) << testing::PrintToString(e);
  EXPECT_THAT(e.err, AllOf(StartsWith("weft: no thread to watch the scheduler (errno 11"),
                           HasSubstr("\nweft: cannot create a thread"), HasSubstr("Resource temporarily unavailable")))
      << testing::PrintToString(e);
}

TEST(Resources, TooManyThreads) {
  const ending e = death::run("resources", {"too_many_threads"});
  EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
  EXPECT_THAT(e.err, AllOf(HasSubstr("4-thread limit"), HasSubstr("fatal error: thread exhaustion")))
      << testing::PrintToString(e);
}

// A fatal error shows every goroutine: why it waits, where, and who created it.
TEST(Resources, FatalErrorDumpsGoroutines) {
  const ending e = death::run("resources", {"too_many_threads"});
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[semacquire\\] \"patient\":\n"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[sync.Mutex.Lock\\]:\n")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, HasSubstr("goroutine running on other thread; stack unavailable\n")) << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "\n\ngoroutine 1 ["), 1) << testing::PrintToString(e);
  EXPECT_GT(count(e.err, "created by "), 3) << testing::PrintToString(e);
#if defined(__x86_64__)  // the stacks of others are walked there only, so far
  // The recursion of the patient one, and main.
  EXPECT_EQ(count(e.err, "wait_on_semaphore(weft::semaphore&, int)\n"), 5) << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "wait_on_mutex(weft::mutex&)\n"), 1) << testing::PrintToString(e);
  // Which call it waits in, not how that is done.
  EXPECT_THAT(
      e.err,
      ContainsRegex(
          "\"patient\":\n\twaits for semaphore 0x[0-9a-f]+[^\n]*\n(weft::semaphore::acquire|wait_on_semaphore)\\("))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, Not(HasSubstr("weft_goroutine"))) << testing::PrintToString(e);
#endif
}

// Sanitizers need terabytes of address space for themselves.
TEST(Resources, NoAddressSpaceToStart) {
  if (sanitized) GTEST_SKIP();
  int refused = 0;
  for (const char* kib : {"0", "64", "256", "1024", "4096", "9000", "16384", "70000", "300000"}) {
    const ending e = death::run("resources", {"start", kib});
    SCOPED_TRACE(kib + testing::PrintToString(e));
    EXPECT_EQ(e.signal, 0);
    if (e.status == 0) {
      EXPECT_EQ(e.out, "done: 10 of 10\n");
      continue;
    }
    ++refused;
    EXPECT_THAT(e.status, AnyOf(2, 3, 4));
    // Says what was refused.
    EXPECT_THAT(e.out + e.err, ContainsRegex("weft: no memory for|was refused|out of memory|bad_alloc"));
  }
  EXPECT_GT(refused, 0);
}

TEST(Resources, NoAddressSpaceForStacks) {
  if (sanitized) GTEST_SKIP();
  const ending e = death::run("resources", {"parked"}, {}, 120);
  EXPECT_EQ(e.status, 2) << e.signal << e.err.substr(0, 3000);
  EXPECT_THAT(e.err, StartsWith("fatal error: out of memory for goroutine stacks: mapping a stack of "))
      << e.err.substr(0, 3000);
  EXPECT_THAT(e.err, AllOf(HasSubstr("Cannot allocate memory"), HasSubstr("ulimit -v"))) << e.err.substr(0, 3000);
  // The goroutines, but not a million of them.
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[semacquire\\]:\n")) << e.err.substr(0, 3000);
  EXPECT_THAT(e.err, ContainsRegex("\n\\.\\.\\.[0-9]+ more goroutines\\.\\.\\.\n")) << e.err.substr(0, 3000);
  EXPECT_LT(e.err.size(), 1'000'000u);
}

}  // namespace
