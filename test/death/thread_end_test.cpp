// A thread that foreign code ends under its goroutine is a fatal error that names the goroutine.
#include "death/ending.hpp"

namespace {

using death::ending;
using testing::ContainsRegex;

void expect_report(const char* name, const std::string& goroutine, const std::string& who) {
  const ending e = death::run("thread_end", {name}, {"WEFT_PROCS=2"});
  SCOPED_TRACE(name + testing::PrintToString(e));
  EXPECT_EQ(e.signal, SIGABRT);
  EXPECT_FALSE(e.timed_out);
  EXPECT_THAT(e.err, ContainsRegex("^fatal error: the thread of " + goroutine +
                                   " has ended \\(pthread_exit or thread cancellation in foreign code\\)\n\n" + who +
                                   ":\n\tthe thread has left its stack\n"));
  // The others, as in every fatal error, whatever this one has come to; and itself once only.
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[(semacquire|running)\\] \"patient\":\n\t"));
  EXPECT_EQ(death::count(e.err, "the thread has left its stack"), 1);
}

TEST(ThreadEnd, OnAWorkerByPthreadExit) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has its own pthread_exit, for threads only";
  expect_report("exit_on_worker", "goroutine [0-9]+ \"caller\"", "goroutine [0-9]+ \\[running\\] \"caller\"");
  const ending e = death::run("thread_end", {"exit_on_worker"}, {"WEFT_PROCS=2"});
  EXPECT_THAT(e.err, ContainsRegex("left its stack\ncreated by [^\n]+ in goroutine 1\n\t/"))
      << testing::PrintToString(e);
}

// glibc ends that one in another way than those that pthread_create has started.
TEST(ThreadEnd, OnTheMainThread) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has its own pthread_exit, for threads only";
  // The runtime is in frames that the thread has left; who wrote over it would crash the other threads, now and then.
  for (int i = 0; i < 10; ++i) expect_report("exit_on_main", "goroutine 1", "goroutine 1 \\[running\\]");
}

TEST(ThreadEnd, ByCancellation) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has its own pthread_exit, for threads only";
  expect_report("cancel", "goroutine [0-9]+ \"caller\"", "goroutine [0-9]+ \\[running\\] \"caller\"");
}

// Nobody waits for those that are outside: they are named, and their stacks are theirs.
TEST(ThreadEnd, BesideGoroutinesWhosePsWereTaken) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has its own pthread_exit, for threads only";
  const char* name = "exit_beside_the_taken";
  expect_report(name, "goroutine [0-9]+ \"caller\"", "goroutine [0-9]+ \\[running\\] \"caller\"");
  const ending e = death::run("thread_end", {name}, {"WEFT_PROCS=2"});
  for (const char* who : {"sleeper", "spinner"}) {
    EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[detached\\] \"" + std::string(who) +
                                     "\":\n\tgoroutine running on other thread; stack unavailable\ncreated by "))
        << testing::PrintToString(e);
  }
}

TEST(ThreadEnd, OfThreadsWithoutGoroutineIsNobodysBusiness) {
  const ending e = death::run("thread_end", {"harmless"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "all is well\n");
  EXPECT_EQ(e.err, "");
}

}  // namespace
