#include "observe/traceback.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <set>
#include <string>

#include "base/print.hpp"
#include "model/extras.hpp"
#include "observe/symbolize.hpp"

namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using weft::rt::creator_text;
using weft::rt::frame;
using weft::rt::g;
using weft::rt::stack_frames;
using weft::rt::status;
using weft::rt::symbolizer;

stack_frames taken;
volatile int zero = 0;

// The name of a frame's function.
std::string function_at(const stack_frames& frames, std::size_t i) {
  static const symbolizer names;
  return names.look_up(frames.at(i).look_up()).calls.back().function;
}

}  // namespace

[[gnu::noinline]] int traceback_test_dig(int n) {
  if (n == 0) {
    taken.take_sig();
    return zero;
  }
  const int r = traceback_test_dig(n - 1);
  zero = 0;  // no tail call, and no loop
  return r;
}

[[gnu::noinline]] void traceback_test_interrupted() {
  std::raise(SIGUSR1);
  zero = 0;
}

namespace {

TEST(StackFrames, OfTheCaller) {
  traceback_test_dig(5);
  ASSERT_GT(taken.size(), 7u);
  int n = 0;
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(taken.elided_before(i), 0u);
    EXPECT_FALSE(taken.at(i).interrupted);
    if (function_at(taken, i) == "traceback_test_dig(int)") ++n;
  }
  EXPECT_EQ(n, 6);
  EXPECT_FALSE(taken.cut());
}

TEST(StackFrames, InnermostAndOutermostOfADeepStack) {
  traceback_test_dig(5);
  const std::size_t around = taken.size() - 6;
  const std::uintptr_t outermost = taken.at(taken.size() - 1).pc;
  for (const int depth : {30, 60, 93, 94, 100, 151, 5000}) {
    traceback_test_dig(depth);
    const std::size_t all = static_cast<std::size_t>(depth) + 1 + around;
    const std::size_t most = stack_frames::inner_max + stack_frames::outer_max;
    EXPECT_EQ(taken.size(), all < most ? all : most) << depth;
    EXPECT_EQ(taken.at(taken.size() - 1).pc, outermost) << depth;
    std::size_t missing = 0;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      missing += taken.elided_before(i);
      EXPECT_TRUE(taken.elided_before(i) == 0 || i == stack_frames::inner_max);
    }
    EXPECT_EQ(taken.size() + missing, all) << depth;
  }
}

TEST(StackFrames, BelowASignal) {
  std::signal(SIGUSR1, [](int) { taken.take_sig(true); });
  traceback_test_interrupted();
  std::signal(SIGUSR1, SIG_DFL);
  ASSERT_GT(taken.size(), 2u);
  // The instruction that was interrupted, somewhere in libc; then the function that called it.
  EXPECT_TRUE(taken.at(0).interrupted);
  EXPECT_EQ(taken.at(0).look_up(), taken.at(0).pc);
  EXPECT_FALSE(taken.at(1).interrupted);
  EXPECT_EQ(taken.at(1).look_up(), taken.at(1).pc - 1);
  std::set<std::string> functions;
  for (std::size_t i = 0; i < taken.size(); ++i) functions.insert(function_at(taken, i));
  EXPECT_EQ(functions.count("traceback_test_interrupted()"), 1u);
}

// Text that goes to stderr.
template <class F>
std::string printed(F f) {
  testing::internal::CaptureStderr();
  f();
  return testing::internal::GetCapturedStderr();
}

TEST(PrintFrames, WithNames) {
  traceback_test_dig(200);
  const symbolizer names;
  std::size_t done = 0;
  const std::string text = printed([&] { print_frames(taken, 0, names, &done); });
  EXPECT_EQ(done, taken.size());
  EXPECT_THAT(text, HasSubstr("traceback_test_dig(int)\n\t"));
  EXPECT_THAT(text, ContainsRegex("\n\\.\\.\\.[0-9]+ frames elided\\.\\.\\.\n"));
  EXPECT_THAT(text, HasSubstr("\nmain(...)\n\t"));
}

TEST(PrintFrames, FromTheMiddle) {
  traceback_test_dig(3);
  const symbolizer names;
  std::size_t done = 0;
  const std::string text = printed([&] { print_frames(taken, 5, names, &done); });
  EXPECT_THAT(text, Not(HasSubstr("traceback_test_dig")));
  EXPECT_THAT(text, HasSubstr("main(...)\n\t"));
}

TEST(PrintFrames, WithoutNames) {
  traceback_test_dig(200);
  const std::string text = printed([] { print_frames_sig(taken, 0); });
  EXPECT_THAT(text, ContainsRegex("^(\t0x[0-9a-f]+[^\n]*\n)+\\.\\.\\.[0-9]+ frames elided"));
  const symbolizer none("libnosuch-dw.so.1");
  const std::string dynamic = printed([&] { print_frames(taken, 0, none, nullptr); });
  EXPECT_THAT(dynamic, ContainsRegex("\\+0x[0-9a-f]+\n"));
  EXPECT_THAT(printed([&] { print_missing_library(none); }), HasSubstr("libdw1"));
}

TEST(Title, Forms) {
  auto title = [](const g& gp) {
    weft::rt::line text;
    add_title(text, gp, state_text(gp));
    return std::string(text.c_str());
  };
  g gp;
  gp.goid = 7;
  EXPECT_EQ(title(gp), "goroutine 7 [idle]");
  gp.status.born();
  EXPECT_EQ(title(gp), "goroutine 7 [runnable]");
  gp.status.set(status::runnable, status::running);
  char name[] = "uploader";
  weft::rt::g_extras extras;
  extras.name = name;
  gp.extras = &extras;
  EXPECT_EQ(title(gp), "goroutine 7 [running]");  // left over from its last life
  gp.flags = weft::rt::g_has_extras;
  EXPECT_EQ(title(gp), "goroutine 7 [running] \"uploader\"");
  gp.status.set(status::running, status::waiting);
  extras.name = nullptr;
  EXPECT_EQ(title(gp), "goroutine 7 [waiting]");
  gp.reason = weft::rt::wait_reason::semacquire;
  EXPECT_EQ(title(gp), "goroutine 7 [semacquire]");
  gp.flags |= weft::rt::g_locked;
  EXPECT_EQ(title(gp), "goroutine 7 [semacquire, locked to thread]");
  auto waited = [&gp](std::int64_t seconds) {
    weft::rt::line text;
    add_title(text, gp, state_text(gp), seconds * 1'000'000'000);
    return std::string(text.c_str());
  };
  EXPECT_EQ(waited(59), "goroutine 7 [semacquire, locked to thread]");
  EXPECT_EQ(waited(60), "goroutine 7 [semacquire, 1 minutes, locked to thread]");
  EXPECT_EQ(waited(3599), "goroutine 7 [semacquire, 59 minutes, locked to thread]");
  gp.flags = weft::rt::g_is_thread;
  EXPECT_EQ(title(gp), "thread [semacquire]");
}

TEST(Creator, Text) {
  const symbolizer names;
  g gp;
  EXPECT_EQ(creator_text(gp, find_creator(gp, names)), "");
  traceback_test_dig(0);
  // Main's: known where, but nobody did it.
  gp.gopc = reinterpret_cast<const void*>(taken.at(1).pc);
  EXPECT_EQ(creator_text(gp, find_creator(gp, names)), "");
  gp.gopc = reinterpret_cast<const void*>(taken.at(1).pc);
  gp.parent_goid = 12;
  const std::string text = creator_text(gp, find_creator(gp, names));
  EXPECT_THAT(text, ContainsRegex("^created by .* in goroutine 12\n\t.+\n$"));
}

}  // namespace
