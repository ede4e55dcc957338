// What is printed when an exception leaves a goroutine, and that the process then dies by SIGABRT.
#include <cstdio>
#include <fstream>

#include "death/ending.hpp"
#include "support/lines.hpp"

namespace {

using death::count;
using death::ending;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using weft::test::has_lines;

// Runs with one P and with more; both must say the same.
class Uncaught : public testing::TestWithParam<const char*> {
 protected:
  static ending run(const char* name) {
    return death::run("uncaught", {name}, {std::string("WEFT_PROCS=") + GetParam()});
  }

  static void expect_abort(const ending& e) {
    EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
    EXPECT_FALSE(e.timed_out);
  }

  // The exception's line, the goroutine's, its stack with one function in it, and nothing of the machinery.
  static void expect_report(const ending& e, const std::string& title, const std::string& function) {
    expect_abort(e);
    EXPECT_THAT(e.err, StartsWith(title)) << testing::PrintToString(e);
    EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[running\\] \"uploader\":\n"))
        << testing::PrintToString(e);
    EXPECT_THAT(e.err, HasSubstr(function)) << testing::PrintToString(e);
    EXPECT_EQ(count(e.err, "panic: "), 1) << testing::PrintToString(e);
    for (const char* hidden : {"__cxa_throw", "terminate(", "report_uncaught", "_Unwind_", "weft_goroutine"}) {
      EXPECT_THAT(e.err, Not(HasSubstr(hidden))) << testing::PrintToString(e);
    }
    EXPECT_THAT(e.err, ContainsRegex("\ncreated by .+ in goroutine [0-9]+\n\t.+\n$")) << testing::PrintToString(e);
  }
};

INSTANTIATE_TEST_SUITE_P(Procs, Uncaught, testing::Values("1", "4"), [](const auto& test) { return test.param; });

TEST_P(Uncaught, StandardException) {
  const ending e = run("std");
  expect_report(e, "panic: std::runtime_error: the disk is full\n", "shop::upload()\n\t");
  // Innermost first.
  EXPECT_LT(e.err.find("shop::fail_with_runtime_error()"), e.err.find("shop::upload()")) << testing::PrintToString(e);
  // The first frame is where it was thrown.
  EXPECT_THAT(e.err, ContainsRegex("\"uploader\":\nshop::fail_with_runtime_error\\(\\)\n\t/"));
}

TEST_P(Uncaught, FilesAndLines) {
  if (!has_lines()) GTEST_SKIP() << "a build without debug information";
  EXPECT_THAT(run("std").err, ContainsRegex("shop::upload\\(\\)\n\t/.*/uncaught\\.cpp:[0-9]+ \\+0x[0-9a-f]+\n"));
}

// The frames of both stacks are still there: nothing between them has caught it.
TEST_P(Uncaught, OnABorrowedStack) {
  const ending e = run("big_stack");
  expect_report(e, "panic: std::runtime_error: the disk is full\n", "shop::upload()\n\t");
  EXPECT_THAT(e.err,
              ContainsRegex("shop::upload\\(\\)\n(.*\n)*weft_call_on_stack(.*\n)*shop::borrow_and_upload\\(\\)\n"))
      << testing::PrintToString(e);
}

TEST_P(Uncaught, CreatedBy) {
  if (!has_lines()) GTEST_SKIP() << "inlined calls are known from debug information only";
  const ending e = run("std");
  EXPECT_THAT(e.err, ContainsRegex("\ncreated by .*shop::on_goroutine in goroutine 1\n\t/.*/uncaught\\.cpp:[0-9]+"))
      << testing::PrintToString(e);
}

TEST_P(Uncaught, CreatedByAnotherGoroutine) {
  const ending e = run("grandchild");
  expect_abort(e);
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[running\\] \"grandchild\":\n"));
  EXPECT_THAT(e.err, ContainsRegex("\ncreated by .* in goroutine ([2-9]|[0-9][0-9]+)\n")) << testing::PrintToString(e);
  const char* creator = has_lines() ? "created by shop::start_child in" : "created by ";
  EXPECT_THAT(e.err, HasSubstr(creator)) << testing::PrintToString(e);
}

TEST_P(Uncaught, Values) {
  expect_report(run("int"), "panic: int: 42\n", "shop::fail_with_int()");
  expect_report(run("long"), "panic: long: -7\n", "shop::fail_with_long()");
  expect_report(run("text"), "panic: char const*: plain words\n", "shop::fail_with_text()");
  // A second line is indented: no text of the program can look like ours.
  expect_report(run("string"), "panic: std::string: a\n\tb\n", "shop::fail_with_string()");
}

TEST_P(Uncaught, OwnTypes) {
  expect_report(run("custom"), "panic: shop::out_of_stock\n\n", "shop::fail_with_custom()");
  expect_report(run("template"), "panic: shop::order_error<std::string, shop::out_of_stock>: odd\n",
                "shop::fail_with_template()");
}

TEST_P(Uncaught, Nested) {
  expect_report(run("nested"),
                "panic: std::_Nested_exception<std::runtime_error>: cannot save the order\n"
                "\tcaused by: std::_Nested_exception<std::logic_error>: cannot write the file\n"
                "\tcaused by: std::runtime_error: the disk is full\n\n",
                "shop::fail_nested()");
  expect_report(run("nested_silent"), "panic: shop::silent_nested\n\tcaused by: int: 42\n\n",
                "shop::fail_nested_silent()");
}

TEST_P(Uncaught, NestedDeeplyIsCut) {
  const ending e = run("nested_deep");
  expect_report(e, "panic: std::_Nested_exception<std::runtime_error>: level 40\n", "shop::fail_deep_nested(int)");
  EXPECT_THAT(e.err, HasSubstr("\tcaused by: ...\n\n"));
}

TEST_P(Uncaught, MeetsNoexcept) {
  expect_report(run("noexcept"), "panic: std::runtime_error: the disk is full\n", "shop::promise_not_to_throw()");
}

TEST_P(Uncaught, Rethrown) {
  expect_report(run("rethrow_later"), "panic: std::runtime_error: the disk is full\n", "shop::rethrow_later()");
  expect_report(run("rethrow_now"), "panic: std::runtime_error: the disk is full\n", "shop::rethrow_now()");
}

TEST_P(Uncaught, ThrownWhileUnwinding) {
  const ending e = run("unwinding");
  expect_abort(e);
  EXPECT_THAT(e.err, StartsWith("panic: int: 42\n")) << testing::PrintToString(e);
  // clang's code has left the destructor when it terminates.
  EXPECT_THAT(e.err, HasSubstr("shop::catch_what_unwinds()")) << testing::PrintToString(e);
#ifndef __clang__
  EXPECT_THAT(e.err, AllOf(HasSubstr("throws_at_end::~throws_at_end()"), HasSubstr("throw_while_unwinding()")))
      << testing::PrintToString(e);
#endif
}

TEST_P(Uncaught, ThrownInCatch) {
  const ending e = run("in_catch");
  expect_abort(e);
  EXPECT_THAT(e.err, StartsWith("panic: std::runtime_error: the disk is full\n\ngoroutine "))
      << testing::PrintToString(e);
}

TEST_P(Uncaught, TerminateWithoutException) {
  expect_report(run("joinable"), "panic: terminate called without an active exception\n",
                "shop::drop_joinable_thread()");
}

TEST_P(Uncaught, ForeignException) {
  // How it ended, clang's code does not tell: it catches first, and terminates then.
  expect_report(run("foreign_noexcept"), "panic: an exception that is not C++'s", "shop::foreign_through_noexcept()");
  expect_report(run("foreign_caught"), "panic: an exception that is not C++'s\n", "shop::foreign_caught_and_ended()");
}

TEST_P(Uncaught, ForcedUnwinding) {
  if (tsan) GTEST_SKIP() << "ThreadSanitizer has its own pthread_exit, for threads only";
#ifdef __clang__
  const char* title = "panic: an exception that is not C++'s\n";
#else
  const char* title = "panic: forced unwinding (pthread_exit or thread cancellation) has met a noexcept function\n";
#endif
  expect_report(run("pthread_exit"), title, "shop::pthread_exit_through_noexcept()");
}

// The frame that is named is the one that is noexcept, not the one that threw, nor one whose destructors have run, nor
// one that catches something else.
TEST_P(Uncaught, CancelledMeetsNoexcept) {
  const std::string place = has_lines() ? " \\(/[^\n]*/uncaught\\.cpp:[0-9]+\\)\n" : "\n";
  const struct {
    const char* name;
    std::string title, function;
  } table[] = {
      {"cancelled", "panic: weft::cancelled has met a noexcept function: ", "shop::close_account<weft::cancelled>"},
      {"exit", "panic: weft::this_goroutine::exit has met a noexcept function: ",
       "shop::close_account<weft::detail::goexit_unwind>"},
      {"cancelled_destructor",
       "panic: weft::cancelled has met a noexcept function: ", "shop::closes_at_end::~closes_at_end"},
  };
  for (const auto& row : table) {
    const ending e = run(row.name);
    expect_report(e, row.title, row.function + "()\n\t");
    EXPECT_THAT(e.err, ContainsRegex("^" + row.title + "[^\n]*" + row.function + place)) << testing::PrintToString(e);
  }
}

TEST_P(Uncaught, CancelledCaughtAndTerminated) {
  expect_report(run("cancelled_terminate"), "panic: weft::cancelled: the goroutine has been cancelled\n",
                "shop::terminate_when_cancelled()");
}

TEST_P(Uncaught, DeepStackIsElided) {
  const ending e = run("deep");
  expect_report(e, "panic: std::runtime_error: the disk is full\n", "shop::deep(int)");
  EXPECT_THAT(e.err, ContainsRegex("\n\\.\\.\\.[0-9]+ frames elided\\.\\.\\.\n"));
  EXPECT_LT(count(e.err, "shop::deep(int)"), 101);
  EXPECT_GT(count(e.err, "shop::deep(int)"), 80);
}

// The report itself needs more stack than such a goroutine has.
TEST_P(Uncaught, OnTheSmallestStack) {
  const ending e = run("small_stack");
  expect_abort(e);
  EXPECT_THAT(e.err, AllOf(HasSubstr("cannot save the order"), HasSubstr("] \"little\":\n"), HasSubstr("fail_nested()"),
                           HasSubstr("\ncreated by ")))
      << testing::PrintToString(e);
}

TEST_P(Uncaught, WithoutName) {
  const ending e = run("no_name");
  expect_abort(e);
  EXPECT_THAT(e.err, ContainsRegex("\n\ngoroutine [0-9]+ \\[running\\]:\n")) << testing::PrintToString(e);
}

TEST_P(Uncaught, OneReportWhenSeveralPanic) {
  for (int i = 0; i < 10; ++i) {
    const ending e = run("several");
    expect_abort(e);
    EXPECT_EQ(count(e.err, "panic: "), 1) << testing::PrintToString(e);
    EXPECT_EQ(count(e.err, "created by "), 1) << testing::PrintToString(e);
  }
}

TEST_P(Uncaught, OutOfMainIsForTheCaller) {
  const ending e = run("main");
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.out, "caught: the disk is full\n");
  EXPECT_EQ(e.err, "");
}

// Then it ends on the plain thread that called run, where weft has no say.
TEST_P(Uncaught, OutOfMainAndOfTheProgram) {
  const ending e = run("main_uncaught");
  expect_abort(e);
  EXPECT_THAT(e.err, HasSubstr("the disk is full"));
  EXPECT_THAT(e.err, Not(HasSubstr("goroutine")));
}

TEST_P(Uncaught, NoexceptInMain) {
  const ending e = run("main_noexcept");
  expect_abort(e);
  EXPECT_THAT(e.err, StartsWith("panic: std::runtime_error: the disk is full\n\ngoroutine 1 [running]:\n"))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, Not(HasSubstr("created by"))) << testing::PrintToString(e);
}

// The report is poorer, and says what it needs.
TEST_P(Uncaught, WithoutLibdw) {
  char directory[] = "/tmp/weft-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string file = std::string(directory) + "/libdw.so.1";
  std::ofstream(file) << "not a library";
  const ending e = death::run("uncaught", {"std"}, {std::string("LD_LIBRARY_PATH=") + directory});
  std::remove(file.c_str());
  ::rmdir(directory);
  expect_abort(e);
  EXPECT_THAT(e.err, StartsWith("panic: std::runtime_error: the disk is full\n\ngoroutine "))
      << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\n\t/[^\n]*death_child_uncaught\\+0x[0-9a-f]+\n")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\nweft: [^\n]*libdw1[^\n]*\n$")) << testing::PrintToString(e);
}

TEST_P(Uncaught, WithoutASecondProcess) {
  const ending e = run("no_fork");
  if (e.status == 77) GTEST_SKIP() << "needs root, to become a user with a limit";
  expect_abort(e);
  EXPECT_THAT(e.err, HasSubstr("runtime_error: the disk is full\n\ngoroutine ")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\n(\t0x[0-9a-f]+[^\n]*\n)+created by 0x[0-9a-f]+")) << testing::PrintToString(e);
  EXPECT_THAT(e.err, ContainsRegex("\nweft: no names: [^\n]*\n$")) << testing::PrintToString(e);
}

TEST_P(Uncaught, OwnTerminateHandler) {
  const ending e = run("own_handler");
  EXPECT_EQ(e.status, 7) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "own terminate handler\n");
}

TEST_P(Uncaught, HandlerFromBeforeServesPlainThreads) {
  const ending e = run("thread_before");
  EXPECT_EQ(e.status, 7) << testing::PrintToString(e);
  EXPECT_EQ(e.err, "own terminate handler\n");
}

TEST_P(Uncaught, PlainThreadDiesAsWithoutUs) {
  const ending e = run("thread");
  expect_abort(e);
  EXPECT_THAT(e.err, HasSubstr("the disk is full"));
  EXPECT_THAT(e.err, Not(HasSubstr("goroutine")));
}

}  // namespace
