// What contexts, timers, futures and groups refuse, and deaths in what they start. Run by contexts_test.cpp.
//
//   contexts CASE          on a goroutine, and nobody catches what is thrown
//   contexts CASE caught   the same on main, which prints it, and the program goes on
//   contexts CASE thread   on a plain thread without a runtime, which prints it
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

using namespace std::chrono_literals;

using function = std::function<void()>;

void wait_for_the_end() { weft::chan<>().recv(); }

[[noreturn]] void fail() { throw std::runtime_error("the disk is full"); }

weft::future<int> cancelled_one() {
  const weft::context ctx = weft::context::background().with_cancel();
  weft::future<int> f = weft::with(ctx, [] {
    return weft::async([] {
      wait_for_the_end();
      return 1;
    });
  });
  ctx.cancel();
  return f;
}

struct refuses_to_be_made {
  refuses_to_be_made() { throw std::runtime_error("no local today"); }
};
const weft::local<refuses_to_be_made> local;

const struct {
  const char* name;
  void (*call)();
} cases[] = {
    // timers
    {"stop_of_none", [] { weft::timer().stop(); }},
    {"reset_of_none", [] { weft::timer().reset(1s); }},
    {"stop_of_a_moved_one",
     [] {
       weft::timer t(1h);
       const weft::timer taken = std::move(t);
       t.stop();  // NOLINT(bugprone-use-after-move): that is the case
     }},
    {"ticker_of_zero", [] { const weft::ticker t(0s); }},
    {"ticker_of_less", [] { const weft::ticker t(-1ns); }},
    {"ticker_reset_to_zero", [] { weft::ticker(1h).reset(0s); }},
    {"ticker_reset_to_less", [] { weft::ticker(1h).reset(-1h); }},
    {"ticker_reset_of_none", [] { weft::ticker().reset(1s); }},
    {"ticker_reset_of_none_to_zero", [] { weft::ticker().reset(0s); }},
    {"after_func_of_nil", [] { weft::after_func(1s, function()); }},
    {"after_func", [] { weft::after_func(1s, [] {}); }},
    {"throws_at_a_time",
     [] {
       weft::after_func(1ms, fail);
       wait_for_the_end();
     }},
    // contexts
    {"nil_key", [] { static_cast<void>(weft::context().with_value(nullptr, 1)); }},
    {"nil_pointer_as_key", [] { static_cast<void>(weft::context().with_value(static_cast<int*>(nullptr), 1)); }},
    {"after_a_context_nil", [] { weft::context::after_func(weft::context(), function()); }},
    {"throws_after_a_context",
     [] {
       const weft::context ctx = weft::context::background().with_cancel();
       const auto r = weft::context::after_func(ctx, fail);
       ctx.cancel();
       wait_for_the_end();
     }},
    {"cause_is_thrown",
     [] {
       const weft::context ctx = weft::context::background().with_cancel();
       ctx.cancel();
       std::rethrow_exception(ctx.cause());
     }},
    {"deadline_is_thrown", [] { std::rethrow_exception(weft::context::background().with_timeout(0s).cause()); }},
    // futures
    {"async_of_nil", [] { static_cast<void>(weft::async(static_cast<int (*)()>(nullptr))); }},
    {"async", [] { static_cast<void>(weft::async([] {})); }},
    {"get_of_none", [] { weft::future<int>().get(); }},
    {"take_of_none", [] { weft::future<int>().take(); }},
    {"wait_of_none", [] { weft::future<int>().wait(); }},
    {"wait_for_of_none", [] { weft::future<int>().wait_for(1s); }},
    {"select_of_none", [] { weft::select(weft::on(weft::future<int>())); }},
    {"taken_twice",
     [] {
       const auto f = weft::async([] { return 1; });
       f.take();
       f.take();
     }},
    {"got_after_it_was_taken",
     [] {
       const auto f = weft::async([] { return 1; });
       f.take();
       f.get();
     }},
    {"result_of_a_cancelled_one", [] { cancelled_one().get(); }},
    {"result_that_was_thrown", [] { weft::async(fail).get(); }},
    // groups
    {"go_of_nil_in_a_group", [] { weft::task_group().go(function()); }},
    {"try_go_of_nil_in_a_group", [] { static_cast<void>(weft::task_group().try_go(function())); }},
    {"go_in_a_group", [] { weft::task_group().go([] {}); }},
    {"limit_of_zero", [] { weft::task_group().limit(0); }},
    {"limit_of_too_many", [] { weft::task_group().limit(std::ptrdiff_t{1} << 31); }},
    {"limit_while_some_run",
     [] {
       weft::task_group g;
       g.go(wait_for_the_end);
       g.limit(2);
     }},
    {"error_of_a_group",
     [] {
       weft::task_group g;
       g.go(fail);
       g.wait();
     }},
    // locals
    {"local_that_throws", [] { local.get(); }},
};

int print(void (*call)()) {
  try {
    call();
  } catch (const weft::error& e) {
    std::printf("weft::error: %s\n", e.what());
    return 0;
  } catch (const std::exception& e) {
    std::printf("another exception: %s\n", e.what());
    return 0;
  }
  std::puts("not refused");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "", how = argc > 2 ? argv[2] : "";
  for (const auto& [known, call] : cases) {
    if (name != known) continue;
    if (how == "thread") return print(call);
    if (how == "caught") return weft::run([call = call] { return print(call); });
    return weft::run([call = call] {
      weft::go(weft::attrs{.name = "culprit"}, call);
      wait_for_the_end();
    });
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
