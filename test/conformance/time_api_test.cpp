// The names of time, contexts, futures, groups and locals, to the letter: what is written in a program as the documentation
// writes it compiles, has these types, and is refused where it must be. What it all does: timer_test, context_test and so on.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/runtime_fixture.hpp"
#include "weft/sync.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using std::chrono::system_clock;
using weft::clock;
using weft::future;
using weft::timer;

// ---- the clock, and lengths of time

static_assert(std::chrono::is_clock_v<clock> && clock::is_steady);
static_assert(noexcept(clock::now()));
static_assert(std::is_same_v<clock::duration, std::chrono::nanoseconds>);
static_assert(std::is_convertible_v<std::chrono::hours, weft::duration> &&
              std::is_convertible_v<std::chrono::duration<double, std::milli>, weft::duration> &&
              std::is_convertible_v<weft::duration, std::chrono::nanoseconds>);
static_assert(!std::is_convertible_v<int, weft::duration>, "a number has no unit");
template <class D>
concept can_be_slept = requires(D d) {
  { weft::sleep(d) } -> std::same_as<void>;
  { this_goroutine::sleep_for(d) } -> std::same_as<void>;
};
static_assert(can_be_slept<std::chrono::seconds> && can_be_slept<std::chrono::duration<float>> &&
              !can_be_slept<double>);
template <class T>
concept can_be_awaited = requires(T t) {
  { this_goroutine::sleep_until(t) } -> std::same_as<void>;
  { at(t) } -> std::derived_from<select_case>;
  { context().with_deadline(t) } -> std::same_as<context>;
};
static_assert(can_be_awaited<clock::time_point> && can_be_awaited<system_clock::time_point> &&
              can_be_awaited<std::chrono::time_point<system_clock, std::chrono::days>> && !can_be_awaited<int>);

// ---- timers

using times = recv_chan<clock::time_point>;
template <class T>
concept a_handle = std::is_nothrow_default_constructible_v<T> && std::is_nothrow_copy_constructible_v<T> &&
    std::is_nothrow_move_constructible_v<T> && std::is_copy_assignable_v<T> && std::is_nothrow_destructible_v<T>;
static_assert(a_handle<timer> && a_handle<ticker> && a_handle<context> && a_handle<future<int>>);
static_assert(std::is_constructible_v<timer, std::chrono::seconds> &&
              !std::is_convertible_v<std::chrono::seconds, timer> && !std::is_convertible_v<weft::duration, timer>);
static_assert(std::is_constructible_v<ticker, std::chrono::seconds> &&
              !std::is_convertible_v<std::chrono::seconds, ticker>);
template <class T, class Stopped>
concept stops_and_resets = requires(const T t) {
  { t.stop() } -> std::same_as<Stopped>;
  { t.reset(1ms) } -> std::same_as<Stopped>;
  { t.channel() }
  noexcept->std::same_as<times>;
};
static_assert(stops_and_resets<timer, bool> && stops_and_resets<ticker, void>);
void a_function();
template <class F>
concept can_be_called_later = requires(F f) {
  { after_func(1s, std::forward<F>(f)) } -> std::same_as<timer>;
};
static_assert(can_be_called_later<void (&)()> && can_be_called_later<void (*)()> &&
              can_be_called_later<std::function<int()>>);
static_assert(std::derived_from<decltype(after(1s)), select_case> && std::is_trivially_copyable_v<decltype(after(1s))>);
static_assert(std::is_same_v<decltype(after(1s).recv()), std::optional<clock::time_point>>);
static_assert(
    std::is_same_v<decltype(select(after(1s), after(1s, a_function), at(clock::now()), at(clock::now(), a_function))),
                   std::size_t>);

// ---- timed forms

template <class M>
concept locks_in_time = requires(M m) {
  { m.try_lock_for(1ms) } -> std::same_as<bool>;
  { m.try_lock_until(clock::now()) } -> std::same_as<bool>;
  { m.try_lock_until(system_clock::now()) } -> std::same_as<bool>;
};
template <class M>
concept shares_in_time = requires(M m) {
  { m.try_lock_shared_for(1ms) } -> std::same_as<bool>;
  { m.try_lock_shared_until(system_clock::now()) } -> std::same_as<bool>;
};
static_assert(locks_in_time<mutex> && locks_in_time<timed_mutex> && locks_in_time<recursive_mutex> &&
              locks_in_time<recursive_timed_mutex> && locks_in_time<shared_mutex> && locks_in_time<shared_timed_mutex>);
static_assert(shares_in_time<shared_mutex> && shares_in_time<shared_timed_mutex>);
template <class C, class Lock>
concept waits_in_time = requires(C c, Lock lock, std::stop_token stop) {
  { c.wait_for(lock, 1ms) } -> std::same_as<std::cv_status>;
  { c.wait_until(lock, clock::now()) } -> std::same_as<std::cv_status>;
  { c.wait_until(lock, system_clock::now()) } -> std::same_as<std::cv_status>;
  {
    c.wait_for(lock, 1ms, [] { return true; })
    } -> std::same_as<bool>;
  {
    c.wait_until(lock, system_clock::now(), [] { return true; })
    } -> std::same_as<bool>;
};
static_assert(waits_in_time<condition_variable&, std::unique_lock<mutex>&> &&
              waits_in_time<condition_variable_any&, std::unique_lock<shared_mutex>&>);
static_assert(requires(semaphore & s) {
  { s.try_acquire_for(1ms) } -> std::same_as<bool>;
  { s.try_acquire_until(system_clock::now()) } -> std::same_as<bool>;
});

// ---- contexts, futures, groups, locals

static_assert(noexcept(context::background()) && noexcept(context::current()) && noexcept(context().err()) && noexcept(
    context().deadline()));
static_assert(!std::is_convertible_v<std::stop_token, context>, "by context::from");
static_assert(std::is_same_v<decltype(with(context(), [] { return 1; })), int> &&
              std::is_same_v<decltype(with(context(), a_function)), void> &&
              std::is_same_v<decltype(with(context(), []() -> int& { throw 1; })), int&>);
static_assert(std::is_same_v<decltype(context::after_func(context(), a_function)), context::registration>);
static_assert(!std::is_copy_constructible_v<context::registration>);
static_assert(std::derived_from<future_cancelled, weft::error> && !std::derived_from<cancelled, std::exception>);
static_assert(noexcept(future<int>().valid()));
static_assert(!std::is_convertible_v<context, task_group> && !std::is_move_constructible_v<task_group>);
static_assert(requires(task_group g, const task_group c) {
  { g.go(a_function) } -> std::same_as<void>;
  { g.wait() } -> std::same_as<void>;
  { g.limit(2) } -> std::same_as<void>;
  { c.context() } -> std::same_as<const context&>;
});
static_assert(std::is_same_v<decltype(std::declval<const local<std::string>&>().operator->()), std::string*>);

// ---- as it is written in a program

void a_function() {}

struct called_once {
  void operator()() && {}
  std::unique_ptr<int> held;
};

TEST(time_api, is_written_as_it_is_documented) {
  test::for_each_case([](const test::run_case&) {
    weft::sleep(1us);
    weft::sleep(std::chrono::duration<double>(1e-6));
    this_goroutine::sleep_for(1us);
    this_goroutine::sleep_until(system_clock::now() - 1h);
    this_goroutine::sleep_until(std::chrono::steady_clock::now() + 1us);
    EXPECT_TRUE(after(1us).recv());
    EXPECT_TRUE(at(system_clock::now()).recv());

    const weft::timer t(1us);
    EXPECT_TRUE(t.channel().recv());
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.stop());
    const weft::ticker every(1ms);
    for (const clock::time_point tick : every.channel()) {
      EXPECT_LE(tick, clock::now());
      break;
    }
    std::optional<clock::time_point> when;
    EXPECT_EQ(select(recv(every.channel(), when), after(1h)), 0u);
    EXPECT_TRUE(when);
    every.reset(1h);
    every.stop();

    const chan<> ran;
    after_func(0s, a_function);
    after_func(0s, &a_function);
    after_func(0s, [ran, held = std::make_unique<int>(1)] { ran.close(); });
    ran.recv();

    EXPECT_EQ(try_select(after(1h)), std::nullopt);
    EXPECT_EQ(try_select(after(0s)), 0u);
    int called = 0;
    EXPECT_EQ(select(recv(chan<int>()), after(1us, [&] { ++called; })), 1u);
    EXPECT_EQ(select(at(system_clock::now(), [&] { ++called; })), 0u);
    EXPECT_EQ(called, 2);
    const std::vector<select_case> cases{after(1h), at(clock::now() + 1us)};
    EXPECT_EQ(select(std::span(cases)), 1u);
  });
}

TEST(time_api, contexts_futures_and_groups_too) {
  test::for_each_case([](const test::run_case&) {
    const context c = context::background().with_cancel();
    const context v = c.with_value("key", 5).with_value(std::string("text"), std::string("value"));
    EXPECT_EQ(std::any_cast<int>(v.value("key")), 5);
    EXPECT_EQ(std::any_cast<std::string>(v.value("text")), "value");
    EXPECT_FALSE(v.value("other").has_value());
    EXPECT_EQ(c.with_timeout(0s).err().message(), "context deadline exceeded");
    EXPECT_EQ(c.with_deadline(system_clock::now() - 1s).err(), std::errc::timed_out);
    const context later = c.with_deadline(system_clock::now() + 1h);
    EXPECT_TRUE(later.deadline());
    std::stop_source stop;
    const context stopped = context::from(stop.get_token());
    const std::stop_token token = later.stop_token();
    stop.request_stop();
    EXPECT_EQ(stopped.err().message(), "context canceled");
    EXPECT_EQ(select(on(stopped.done()), on(later.done()), after(1h)), 0u);
    c.cancel(std::make_exception_ptr(7));
    EXPECT_TRUE(token.stop_requested());
    EXPECT_THROW(std::rethrow_exception(later.cause()), int);
    EXPECT_EQ(select(on(token, [] {}), after(1h)), 0u);
    EXPECT_THROW(with(later, [] { weft::sleep(1h); }), cancelled);

    const weft::future<std::unique_ptr<int>> f = weft::async([] { return std::make_unique<int>(3); });
    const std::unique_ptr<int>& result = f.get();
    EXPECT_EQ(*result, 3);
    EXPECT_EQ(*f.take(), 3);
    EXPECT_TRUE(
        weft::async(attrs{.name = "x", .stack_size = 64 << 10}, [] { return this_goroutine::name() == "x"; }).get());
    weft::async(a_function).wait();
    weft::async(called_once{}).wait();
    EXPECT_EQ(select(on(weft::async([] { return 1; })), after(1h)), 0u);
    EXPECT_EQ(weft::async([] { weft::sleep(100us); }).wait_until(system_clock::now() - 1s),
              std::future_status::timeout);
    EXPECT_EQ(weft::async([] {}).wait_for(1h), std::future_status::ready);

    weft::task_group tg;
    tg.limit(2);
    tg.go(a_function);
    tg.go(&a_function);
    tg.go(called_once{});
    for (int i = 0; i < 4; ++i) tg.go([] { weft::sleep(1us); });
    tg.wait();
    tg.go([] { chan<>().recv(); });
    tg.go([] { throw std::runtime_error("first"); });
    EXPECT_THROW(tg.wait(), std::runtime_error);

    static weft::local<int> mine;
    *mine = 1;
    wait_group other;
    other.go([] { EXPECT_EQ(*mine, 0); });
    other.wait();
    EXPECT_EQ(mine.get(), 1);
    *mine = 0;
  });
}

}  // namespace
