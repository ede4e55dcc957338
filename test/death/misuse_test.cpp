// Misuse is refused with Go's words, and the program goes on.
#include "death/ending.hpp"

namespace {

using death::ending;
using testing::HasSubstr;
using testing::StartsWith;

void expect_refused(const char* name, const char* text) {
  const ending e = death::run("misuse", {name});
  EXPECT_EQ(e.status, 0) << name << ": " << testing::PrintToString(e);
  EXPECT_THAT(e.out, StartsWith(std::string("weft::error: ") + text)) << name << ": " << testing::PrintToString(e);
  EXPECT_EQ(e.err, "") << name;
}

TEST(Misuse, GoOfNil) {
  for (const char* name : {"nil_function", "nil_pointer", "nil_wait_group"}) {
    expect_refused(name, "go of nil func value\n");
  }
}

TEST(Misuse, GoOfNilUncaught) {
  const ending e = death::run("misuse", {"nil_uncaught"});
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, StartsWith("panic: weft::error: go of nil func value\n\ngoroutine "));
}

TEST(Misuse, OutsideARuntime) {
  expect_refused("go_outside", "weft::go called outside a runtime");
  expect_refused("go_after", "weft::go called outside a runtime");
  expect_refused("num_goroutine_outside", "weft::num_goroutine called outside a runtime");
}

TEST(Misuse, RunInsideAGoroutine) {
  expect_refused("run_inside", "weft::run called inside a goroutine");
  expect_refused("run_inside_child", "weft::run called inside a goroutine");
}

}  // namespace
