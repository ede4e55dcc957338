// What is printed when all goroutines wait for ever, and when some have not ended in time.
#include <fstream>

#include "death/ending.hpp"

namespace {

using death::count;
using death::ending;
using testing::AllOf;
using testing::ContainsRegex;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string deadlock = "fatal error: all goroutines are asleep - deadlock!\n\n";
const std::string seconds = ", for [0-9]+\\.[0-9][0-9] s\n";

ending run(const char* name, const std::vector<std::string>& variables = {"WEFT_PROCS=2"}) {
  ending e = death::run("asleep", {name}, variables);
  EXPECT_EQ(e.status, 2) << testing::PrintToString(e);
  return e;
}

TEST(Asleep, NobodyIsLeft) {
  const ending e = death::run("asleep", {"goexit"});
  EXPECT_EQ(e.status, 2);
  EXPECT_EQ(e.err, "fatal error: no goroutines (main called runtime.Goexit) - deadlock!\n");
}

TEST(Asleep, CycleOfTwo) {
  for (const char* procs : {"WEFT_PROCS=1", "WEFT_PROCS=4"}) {
    const ending e = run("cycle", {procs});
    SCOPED_TRACE(testing::PrintToString(e));
    // Each end of the chain is the oldest goroutine of it, and each mutex is the one that goroutine waits for.
    EXPECT_THAT(e.err, ContainsRegex("^" + deadlock +
                                     "cycle: goroutine [0-9]+ -> mutex 0x[0-9a-f]+ -> goroutine [0-9]+ -> mutex "
                                     "0x[0-9a-f]+ -> goroutine [0-9]+\n\ngoroutine"));
    EXPECT_EQ(count(e.err, "cycle: "), 1);
    EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[sync.Mutex.Lock\\] \"ada\":\n\twaits for mutex "
                                     "0x[0-9a-f]+, held by goroutine [0-9]+ \"grace\"" +
                                     seconds));
    EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[sync.Mutex.Lock\\] \"grace\":\n\twaits for mutex "
                                     "0x[0-9a-f]+, held by goroutine [0-9]+ \"ada\"" +
                                     seconds));
    EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine 1 \\[sync.WaitGroup.Wait\\]:\n\twaits for wait_group 0x[0-9a-f]+" +
                                     seconds));
#if defined(__x86_64__)  // the stacks of others are walked there only, so far
    EXPECT_EQ(count(e.err, "bank::transfer(int, int, int)\n"), 2);
#endif
    EXPECT_EQ(count(e.err, "\ncreated by "), 2);
  }
}

TEST(Asleep, CycleOfOne) {
  const ending e = run("self");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, ContainsRegex("\n\ncycle: goroutine ([0-9]+) -> mutex 0x[0-9a-f]+ -> goroutine [0-9]+\n\n"));
  EXPECT_THAT(e.err, ContainsRegex("\"ada\":\n\twaits for mutex 0x[0-9a-f]+, held by goroutine [0-9]+ \"ada\""));
}

TEST(Asleep, LongCycleIsCut) {
  const ending e = run("ring");
  SCOPED_TRACE(testing::PrintToString(e));
  const std::size_t from = e.err.find("cycle: "), to = e.err.find('\n', from);
  ASSERT_NE(from, std::string::npos);
  const std::string line = e.err.substr(from, to - from);
  EXPECT_EQ(count(line, " -> mutex "), 16);
  EXPECT_THAT(line, EndsWith(" -> ..."));
  EXPECT_EQ(count(e.err, "cycle: "), 1);
}

TEST(Asleep, WhatEachWaitsFor) {
  const ending e = run("reasons");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, Not(HasSubstr("cycle: ")));
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[semacquire, 2 minutes, locked to thread\\] \"clerk\":\n\t"
                                   "waits for semaphore 0x[0-9a-f]+, for 12[45]\\.[0-9][0-9] s\n"));
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[sync.Mutex.Lock\\] \"visitor\":\n\twaits for mutex "
                                   "0x[0-9a-f]+, held by a plain thread" +
                                   seconds));
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[sync.Mutex.Lock\\] \"heir\":\n\twaits for mutex "
                                   "0x[0-9a-f]+, held by a goroutine that has ended" +
                                   seconds));
  EXPECT_THAT(e.err, ContainsRegex("\n\nthread \\[semacquire\\]:\n\twaits for semaphore 0x[0-9a-f]+" + seconds));
}

// Several stacks in the 64 KiB that the mutex remembers: the report does not say more than it knows.
TEST(Asleep, HolderAmongNeighbours) {
  const ending e = run("small_stacks");
  EXPECT_THAT(e.err,
              ContainsRegex("\"late\":\n\twaits for mutex 0x[0-9a-f]+, held by one of goroutine [0-9]+, goroutine "
                            "[0-9]+"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, Not(HasSubstr("cycle: ")));
}

TEST(Asleep, ManyGoroutinesAreAShortReport) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has 8128 threads and goroutines";
  const ending e = run("many");
  EXPECT_EQ(count(e.err, "\n\ngoroutine "), 1000);
  EXPECT_THAT(e.err, HasSubstr("\n...19001 more goroutines...\n"));
  EXPECT_EQ(count(e.err, "cycle: "), 1);
}

TEST(Asleep, WithoutLibdw) {
  char directory[] = "/tmp/weft-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string file = std::string(directory) + "/libdw.so.1";
  std::ofstream(file) << "not a library";
  const ending e = run("cycle", {std::string("LD_LIBRARY_PATH=") + directory});
  std::remove(file.c_str());
  ::rmdir(directory);
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, StartsWith(deadlock + "cycle: goroutine "));
  EXPECT_THAT(e.err, ContainsRegex("\"ada\":\n\twaits for mutex 0x[0-9a-f]+, held by goroutine [0-9]+ \"grace\""));
  EXPECT_THAT(e.err, ContainsRegex("\nweft: [^\n]*libdw1[^\n]*\n$"));
}

TEST(Asleep, AwaitedInALine) {
  const ending e = run("awaited");
  EXPECT_THAT(e.err, ContainsRegex("^weft: main has returned 1 s ago; waiting for 3 goroutines: 1 "
                                   "\\(sync.WaitGroup.Wait\\), [0-9]+ \"worker\" \\(semacquire\\), [0-9]+ "
                                   "\\(semacquire\\)\ngoes on\n$"))
      << testing::PrintToString(e);
}

TEST(Asleep, AwaitedManyInALine) {
  const ending e = death::run("asleep", {"awaited", "20"});
  EXPECT_THAT(e.err, ContainsRegex("^weft: main has returned 1 s ago; waiting for 20 goroutines: [^\n]*, and 12 more\n"
                                   "goes on\n$"))
      << testing::PrintToString(e);
  EXPECT_EQ(count(e.err, "(semacquire)"), 7) << testing::PrintToString(e);
}

TEST(Asleep, AwaitedWithStacks) {
  const ending e = run("awaited_stacks");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, StartsWith("weft: 3 goroutines have not ended 1.5 s after they were cancelled:\n\ngoroutine "));
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[semacquire\\] \"worker\":\n\twaits for semaphore 0x"));
  EXPECT_EQ(count(e.err, "\n\ngoroutine "), 3);
  EXPECT_THAT(e.err, EndsWith("goes on\n"));
}

// The process goes on after such a report, and what ends it later is reported too.
TEST(Asleep, ReportAfterReport) {
  const ending e = run("awaited_twice");
  SCOPED_TRACE(testing::PrintToString(e));
  EXPECT_THAT(e.err, AllOf(StartsWith("weft: main has returned 1 s ago; "), HasSubstr("\nweft: 3 goroutines have not "),
                           HasSubstr("\ngoes on\n" + deadlock + "goroutine ")));
  EXPECT_EQ(count(e.err, "\n\ngoroutine "), 6);
}

}  // namespace
