// What contexts, timers, futures and groups say to misuse: Go's words where Go has them. Caught, the program goes on; uncaught,
// it ends as by any exception, and the report names the goroutine.
#include "death/ending.hpp"

namespace {

using death::ending;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* nil_function = "go of nil func value";
constexpr const char* no_result = "weft: a future without a result: default-constructed, or moved from";
constexpr const char* taken = "weft: the result of this future has been taken";
constexpr const char* new_ticker = "non-positive interval for NewTicker";
constexpr const char* ticker_reset = "non-positive interval for Ticker.Reset";

struct refusal {
  const char* name;
  const char* text;
};
void PrintTo(const refusal& r, std::ostream* out) { *out << r.name; }

const refusal refusals[] = {
    {"stop_of_none", "time: Stop called on uninitialized Timer"},
    {"reset_of_none", "time: Reset called on uninitialized Timer"},
    {"stop_of_a_moved_one", "time: Stop called on uninitialized Timer"},
    {"ticker_of_zero", new_ticker},
    {"ticker_of_less", new_ticker},
    {"ticker_reset_to_zero", ticker_reset},
    {"ticker_reset_to_less", ticker_reset},
    {"ticker_reset_of_none", "time: Reset called on uninitialized Ticker"},
    {"ticker_reset_of_none_to_zero", ticker_reset},
    {"after_func_of_nil", nil_function},
    {"nil_key", "nil key"},
    {"nil_pointer_as_key", "nil key"},
    {"after_a_context_nil", nil_function},
    {"async_of_nil", nil_function},
    {"get_of_none", no_result},
    {"take_of_none", no_result},
    {"wait_of_none", no_result},
    {"wait_for_of_none", no_result},
    {"select_of_none", no_result},
    {"taken_twice", taken},
    {"got_after_it_was_taken", taken},
    {"go_of_nil_in_a_group", nil_function},
    {"try_go_of_nil_in_a_group", nil_function},
    {"limit_of_zero", "weft: task_group limit 0: must be 1 to 2147483647, or negative for none"},
    {"limit_of_too_many", "weft: task_group limit 2147483648: must be 1 to 2147483647, or negative for none"},
    {"limit_while_some_run", "weft: task_group limit 2 set while 1 goroutine is running"},
};

class Contexts : public testing::TestWithParam<refusal> {};

TEST_P(Contexts, RefuseAndGoOn) {
  const ending e = death::run("contexts", {GetParam().name, "caught"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
  EXPECT_EQ(e.out, std::string("weft::error: ") + GetParam().text + "\n");
  EXPECT_EQ(e.err, "");
}

TEST_P(Contexts, EndTheProgramWhereNobodyCatches) {
  const ending e = death::run("contexts", {GetParam().name});
  EXPECT_EQ(e.signal, SIGABRT) << testing::PrintToString(e);
  EXPECT_THAT(e.err, StartsWith(std::string("panic: weft::error: ") + GetParam().text + "\n\ngoroutine "));
  EXPECT_THAT(e.err, HasSubstr(" [running] \"culprit\":\n"));
}

INSTANTIATE_TEST_SUITE_P(Death, Contexts, testing::ValuesIn(refusals),
                         [](const testing::TestParamInfo<refusal>& r) { return std::string(r.param.name); });

TEST(ContextsDeath, OutsideARuntimeNobodyWouldRunTheFunction) {
  const struct {
    const char *name, *text;
  } each[] = {{"after_func", "weft::after_func called outside a runtime"},
              {"async", "weft::go called outside a runtime"},
              {"go_in_a_group", "weft::go called outside a runtime"}};
  for (const auto& [name, text] : each) {
    const ending e = death::run("contexts", {name, "thread"});
    EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
    EXPECT_THAT(e.out, StartsWith(std::string("weft::error: ") + text)) << name;
  }
}

TEST(ContextsDeath, RefuseOnAPlainThreadToo) {
  for (const char* name : {"stop_of_none", "ticker_of_zero", "nil_key", "get_of_none", "limit_of_zero"}) {
    EXPECT_EQ(death::run("contexts", {name, "thread"}).status, 0) << name;
  }
}

// What is thrown in a goroutine that a timer or a context has started is nobody's but that goroutine's.
TEST(ContextsDeath, OfTheFunctionOfATimerOrContext) {
  for (const char* name : {"throws_at_a_time", "throws_after_a_context"}) {
    const ending e = death::run("contexts", {name});
    EXPECT_EQ(e.signal, SIGABRT) << name << testing::PrintToString(e);
    EXPECT_THAT(e.err, StartsWith("panic: std::runtime_error: the disk is full\n\ngoroutine ")) << name;
    EXPECT_THAT(e.err, HasSubstr("\ncreated by ")) << name;
  }
}

// Results, errors of groups and causes are thrown to whoever asks.
TEST(ContextsDeath, OfWhoeverAsksForAResultThatIsAnError) {
  const struct {
    const char *name, *text;
  } each[] = {
      {"result_of_a_cancelled_one",
       "weft::future_cancelled: weft: the goroutine has ended without a result: it was cancelled, or has called exit"},
      {"result_that_was_thrown", "std::runtime_error: the disk is full"},
      {"error_of_a_group", "std::runtime_error: the disk is full"},
      {"cause_is_thrown", "std::system_error: context canceled"},
      {"deadline_is_thrown", "std::system_error: context deadline exceeded"},
      {"local_that_throws", "std::runtime_error: no local today"}};
  for (const auto& [name, text] : each) {
    const ending e = death::run("contexts", {name});
    EXPECT_EQ(e.signal, SIGABRT) << name << testing::PrintToString(e);
    EXPECT_THAT(e.err, AllOf(StartsWith(std::string("panic: ") + text + "\n"), HasSubstr("\"culprit\""))) << name;
  }
}

}  // namespace
