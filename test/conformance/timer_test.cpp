// Go's time package, as far as it is timers: the time family of F3, and C7, restated as ours. Nothing here is about how long
// something takes at most: a machine may stand still for a second at any place. Whatever must not happen early is.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "support/runtime_fixture.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::clock;
using weft::test::for_each_case;
using weft::test::run_case;
using time_point = clock::time_point;

// In a runtime, and on a plain thread that is in none.
template <class F>
void everywhere(F body) {
  body();
  for_each_case([&](const run_case&) { body(); }, {.procs = {1, 2, 4}, .seeds = 1});
}

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "(none)";
}

bool nothing_to_receive(const weft::timer::channel_type& c) {
  std::optional<time_point> v;
  return c.try_recv(v) == chan_status::would_block && !v;
}

// ---- timers

TEST(timer, fires_once_and_not_early_with_the_time_it_was_set_for) {
  everywhere([] {
    const auto begin = clock::now();
    const weft::timer t(2ms);
    const auto end = clock::now();
    const auto fired = t.channel().recv();
    ASSERT_TRUE(fired);
    EXPECT_GE(*fired, begin + 2ms);
    EXPECT_LE(*fired, end + 2ms) << "the scheduled time";
    EXPECT_GE(clock::now(), *fired);
    EXPECT_TRUE(nothing_to_receive(t.channel()));
    EXPECT_FALSE(t.stop());
  });
}

// C7's table, as Go 1.23 has it.
TEST(timer, that_is_looked_at_late_has_an_unbuffered_channel_with_its_own_time) {
  everywhere([] {
    const auto begin = clock::now();
    const weft::timer t(1ms);
    weft::sleep(3ms);
    EXPECT_EQ(0u, t.channel().size());
    EXPECT_EQ(0u, t.channel().capacity());
    EXPECT_TRUE(t.stop()) << "it was due, and not received: that counts as pending";
    EXPECT_TRUE(nothing_to_receive(t.channel()));
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.reset(1ms));
    weft::sleep(3ms);
    const auto late = clock::now();
    const auto fired = t.channel().recv();
    EXPECT_LT(*fired, late);
    EXPECT_GE(*fired, begin + 4ms);
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.stop());
  });
}

TEST(timer, after_reset_no_value_of_before_can_be_received) {
  everywhere([] {
    const weft::timer t(100us);
    weft::sleep(1ms);
    EXPECT_TRUE(t.reset(1h));
    EXPECT_TRUE(nothing_to_receive(t.channel()));
    EXPECT_TRUE(t.reset(100us));
    const auto begin = clock::now();
    weft::sleep(1ms);
    EXPECT_LE(*t.channel().recv(), begin + 1ms);
  });
}

TEST(timer, of_zero_or_less_is_due_at_once) {
  everywhere([] {
    for (const auto d : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      const weft::timer t(d);
      EXPECT_TRUE(t.channel().recv());
      std::optional<time_point> v;
      t.reset(d);
      EXPECT_EQ(chan_status::ok, t.channel().try_recv(v));
    }
  });
}

TEST(timer, of_more_than_the_clock_can_count_never_fires_and_wraps_nowhere) {
  everywhere([] {
    const weft::timer t(std::chrono::nanoseconds::max());
    const weft::timer u(std::chrono::hours::max());
    weft::yield();
    EXPECT_TRUE(nothing_to_receive(t.channel()));
    EXPECT_TRUE(nothing_to_receive(u.channel()));
    EXPECT_TRUE(t.reset(std::chrono::nanoseconds::max() - 1ns));
    EXPECT_EQ(1u, weft::select(weft::recv(t.channel()), weft::after(100us)));
    EXPECT_TRUE(t.stop());
    EXPECT_TRUE(u.stop());
  });
}

TEST(timer, that_was_stopped_lets_its_waiter_wait_for_the_next_reset) {
  for_each_case([](const run_case&) {
    const weft::timer t(1h);
    weft::chan<time_point> got;
    weft::test::watched waits;
    weft::go([&] {
      waits.here();
      got.send(*t.channel().recv());
    });
    weft::test::yield_until([&] { return waits.waits(); });
    EXPECT_TRUE(t.stop());
    const auto now = clock::now();
    EXPECT_FALSE(t.reset(1ms));
    EXPECT_GE(*got.recv(), now + 1ms);
  });
}

TEST(timer, earlier_and_later_its_waiter_follows) {
  for_each_case([](const run_case&) {
    const weft::timer t(1h);
    weft::chan<> done;
    weft::test::watched waits;
    weft::go([&] {
      waits.here();
      EXPECT_TRUE(t.channel().recv());
      done.close();
    });
    weft::test::yield_until([&] { return waits.waits(); });
    EXPECT_TRUE(t.reset(2h));
    EXPECT_TRUE(t.reset(1ms)) << "Go's TimerModifiedEarlier";
    done.recv();
  });
}

TEST(timer, serves_goroutines_of_two_runtimes_and_a_plain_thread_at_once) {
  const weft::ticker t(200us);
  std::atomic<int> ticks{0};
  const auto take_some = [&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(t.channel().recv());
      ++ticks;
    }
  };
  std::thread one([&] { weft::run({.procs = 2}, take_some); });
  std::thread two([&] { weft::run({.procs = 1}, take_some); });
  take_some();
  one.join();
  two.join();
  EXPECT_EQ(60, ticks);
  // A runtime ends while somebody outside waits for the same timer.
  const weft::timer u(5ms);
  std::thread waits([&] { EXPECT_TRUE(u.channel().recv()); });
  weft::run({.procs = 1}, [&] {
    weft::go([&] { u.channel().recv(); });
    weft::yield();
  });
  waits.join();
}

TEST(timer, uninitialised_says_so) {
  const weft::timer none;
  EXPECT_EQ("time: Stop called on uninitialized Timer", error_of([&] { none.stop(); }));
  EXPECT_EQ("time: Reset called on uninitialized Timer", error_of([&] { none.reset(1s); }));
  EXPECT_EQ(nullptr, none.channel());
  weft::timer a(1h);
  const weft::timer b(std::move(a));
  EXPECT_EQ("time: Stop called on uninitialized Timer", error_of([&] { a.stop(); }));
  const weft::timer c = b;
  EXPECT_TRUE(c.stop());
  EXPECT_FALSE(b.stop()) << "a copy is the same timer";
}

TEST(timer, zero_ones_by_the_hundred_thousand) {  // ZeroTimer
  for_each_case(
      [](const run_case&) {
        for (int i = 0; i < 100'000; ++i) {
          const weft::timer t(0s);
          ASSERT_TRUE(t.channel().recv());
        }
      },
      {.procs = {1, 2}, .seeds = 1});
}

TEST(timer, reset_and_stop_are_true_exactly_when_the_function_has_not_run) {  // ResetResult, StopResult
  for_each_case([](const run_case&) {
    constexpr int n = 200;
    for (int round = 0; round < 5; ++round) {
      std::atomic<int> ran{0};
      int stopped = 0;
      weft::wait_group calls;
      std::vector<weft::timer> all;
      for (int i = 0; i < n; ++i) {
        calls.add(1);
        all.push_back(weft::after_func(std::chrono::microseconds(i % 40), [&] {
          ++ran;
          calls.done();
        }));
      }
      for (const weft::timer& t : all) {
        if (!t.stop()) continue;
        ++stopped;
        calls.done();
      }
      calls.wait();
      EXPECT_EQ(n, ran + stopped);
    }
  });
}

// ---- tickers

TEST(ticker, keeps_to_its_grid_and_skips_what_was_missed) {
  everywhere([] {
    const auto begin = clock::now();
    const weft::ticker t(2ms);
    const auto end = clock::now();
    weft::sleep(7ms);  // three and a half, at least
    const auto late = clock::now();
    const auto first = *t.channel().recv();
    EXPECT_GE(first, begin + 2ms);
    EXPECT_LE(first, end + 2ms) << "the tick that was due first";
    const auto second = *t.channel().recv();
    EXPECT_EQ(0, (second - first).count() % (2ms / 1ns)) << "on the grid";
    EXPECT_GT(second, late) << "at most one tick waits to be received";
    const auto third = *t.channel().recv();
    EXPECT_GT(third, second);
    EXPECT_EQ(0, (third - second).count() % (2ms / 1ns));
    t.stop();
    EXPECT_TRUE(nothing_to_receive(t.channel()));
  });
}

TEST(ticker, reset_begins_anew_with_another_period) {  // Ticker: 5 of one, 5 of the other
  everywhere([] {
    const weft::ticker t(1ms);
    const auto begin = clock::now();
    for (int i = 0; i < 5; ++i) t.channel().recv();
    EXPECT_GE(clock::now(), begin + 4ms);
    const auto again = clock::now();
    t.reset(2ms);
    EXPECT_GE(*t.channel().recv(), again + 2ms);
    for (int i = 0; i < 4; ++i) t.channel().recv();
    EXPECT_GE(clock::now(), again + 10ms);
    t.stop();
    t.stop();
  });
}

TEST(ticker, stopped_does_not_close_its_channel) {
  everywhere([] {
    const weft::ticker t(100us);
    t.channel().recv();
    t.stop();
    EXPECT_EQ(1u, weft::select(weft::recv(t.channel()), weft::after(1ms)));
    t.reset(100us);
    EXPECT_TRUE(t.channel().recv());
  });
}

TEST(ticker, panics_are_gos) {
  EXPECT_EQ("non-positive interval for NewTicker", error_of([] { weft::ticker t(0s); }));
  EXPECT_EQ("non-positive interval for NewTicker", error_of([] { weft::ticker t(-1s); }));
  const weft::ticker t(1h);
  EXPECT_EQ("non-positive interval for Ticker.Reset", error_of([&] { t.reset(0s); }));
  const weft::ticker none;
  none.stop();
  EXPECT_EQ("non-positive interval for Ticker.Reset", error_of([&] { none.reset(0s); }));
  EXPECT_EQ("time: Reset called on uninitialized Ticker", error_of([&] { none.reset(1s); }));
  EXPECT_EQ(nullptr, none.channel());
}

TEST(ticker, wakes_one_of_many_who_wait_each_time) {  // MultiWakeupTicker
  for_each_case([](const run_case& c) {
    const weft::ticker t(50us);
    std::atomic<int> ticks{0};
    weft::wait_group wg;
    for (int i = 0; i < 2 * c.procs; ++i) {
      wg.go([&] {
        for (int k = 0; k < 25; ++k) {
          t.channel().recv();
          ++ticks;
        }
      });
    }
    wg.wait();
    EXPECT_EQ(50 * c.procs, ticks);
  });
}

TEST(ticker, as_a_range) {
  int n = 0;
  const weft::ticker t(100us);
  time_point before{};
  for (const time_point& tick : t.channel()) {
    EXPECT_GT(tick, before);
    before = tick;
    if (++n == 3) break;
  }
}

// ---- after, at

TEST(after, is_a_case_of_a_select_and_a_wait) {
  everywhere([] {
    const weft::chan<int> c;
    std::optional<int> v = 3;
    const auto begin = clock::now();
    EXPECT_EQ(1u, weft::select(weft::recv(c, v), weft::after(2ms)));
    EXPECT_GE(clock::now(), begin + 2ms);
    EXPECT_EQ(3, v);
    EXPECT_GE(*weft::after(1ms).recv(), begin + 3ms);
    bool called = false;
    EXPECT_EQ(0u, weft::select(weft::after(1ms, [&] { called = true; }), weft::recv(c)));
    EXPECT_TRUE(called);
    EXPECT_EQ(0u, weft::select(weft::after(0s), weft::recv(c)));
    EXPECT_EQ(1u, weft::select(weft::after(1h), weft::after(1ms), weft::recv(c)));
    EXPECT_EQ(std::nullopt, weft::try_select(weft::after(1h), weft::recv(c)));
    EXPECT_EQ(std::optional<std::size_t>(0), weft::try_select(weft::after(0s), weft::recv(c)));
  });
}

TEST(after, begins_anew_with_each_select_and_at_does_not) {
  everywhere([] {
    const weft::chan<int> c;
    const std::vector<weft::select_case> again{weft::recv(c), weft::after(1ms)};
    const auto begin = clock::now();
    for (int i = 1; i <= 3; ++i) {
      EXPECT_EQ(1u, weft::select(std::span(again)));
      EXPECT_GE(clock::now(), begin + i * 1ms);
    }
    const auto until = clock::now() + 2ms;
    const std::vector<weft::select_case> once{weft::recv(c), weft::at(until)};
    EXPECT_EQ(1u, weft::select(std::span(once)));
    EXPECT_GE(clock::now(), until);
    EXPECT_EQ(1u, weft::select(std::span(once))) << "it is past";
    EXPECT_EQ(1u, weft::select(weft::recv(c), weft::at(std::chrono::system_clock::now() + 1ms)));
    EXPECT_EQ(1u, weft::select(weft::recv(c), weft::at(std::chrono::system_clock::time_point::min())));
  });
}

TEST(after, a_value_that_comes_in_time_wins) {
  for_each_case([](const run_case&) {
    const weft::chan<int> c;
    weft::go([c] {
      weft::sleep(200us);
      c.send(5);
    });
    std::optional<int> v;
    EXPECT_EQ(0u, weft::select(weft::recv(c, v), weft::after(1h)));
    EXPECT_EQ(5, v);
  });
}

TEST(after, beside_timers_and_channels_each_ready_case_is_as_likely) {
  for_each_case(
      [](const run_case&) {
        const weft::chan<int> full(1);
        const weft::timer due(0s);
        int n[4] = {};
        for (int i = 0; i < 4000; ++i) {
          due.reset(0s);
          static_cast<void>(full.try_send(1));
          ++n[weft::select(weft::recv(full), weft::recv(due.channel()), weft::after(1h), weft::at(clock::now() + 1h))];
        }
        EXPECT_GT(n[0], 1600);
        EXPECT_GT(n[1], 1600);
        EXPECT_EQ(0, n[2] + n[3]);
      },
      {.procs = {1}, .seeds = 1});
}

// A time that has come is ready like a channel: who asks in a loop whether it is over hears of it, however much there is to receive.
TEST(after, a_time_that_has_come_is_as_likely_as_a_channel) {
  for_each_case(
      [](const run_case&) {
        constexpr int rounds = 3000;
        const weft::chan<int> closed(1);
        closed.close();
        weft::semaphore permits(rounds);
        const weft::timer due(0s);
        // 10 sigma of a draw among so many.
        const auto expect_even = [](const std::vector<int>& n, const char* what) {
          const double share = static_cast<double>(rounds) / static_cast<double>(n.size());
          for (const int each : n) EXPECT_NEAR(each, share, 10 * std::sqrt(share)) << what;
        };
        std::vector<int> after_it(2), at_it(2), tried(2), beside_timer(3), beside_permits(3);
        for (int i = 0; i < rounds; ++i) {
          ++after_it[weft::select(weft::recv(closed), weft::after(0s))];
          ++at_it[weft::select(weft::at(clock::now()), weft::recv(closed))];
          ++tried[*weft::try_select(weft::recv(closed), weft::after(-1s))];
          due.reset(0s);
          ++beside_timer[weft::select(weft::after(0s), weft::recv(due.channel()), weft::recv(closed))];
          ++beside_permits[weft::select(weft::acquire(permits), weft::at(clock::now()), weft::recv(closed))];
          EXPECT_NE(1u, weft::select(weft::recv(closed), weft::after(1h)));
          EXPECT_NE(1u, weft::select(weft::recv(closed), weft::at(clock::now() + 1h)));
        }
        expect_even(after_it, "after");
        expect_even(at_it, "at");
        expect_even(tried, "try_select");
        expect_even(beside_timer, "beside a timer");
        expect_even(beside_permits, "beside permits");
      },
      {.procs = {1, 2}, .seeds = 1});
}

TEST(after, of_64_cases_with_timers_among_them) {
  everywhere([] {
    std::vector<weft::chan<int>> channels(40);
    std::vector<weft::timer> timers;
    std::vector<weft::select_case> cases;
    for (const auto& c : channels) cases.push_back(weft::recv(c));
    for (int i = 0; i < 20; ++i) timers.emplace_back(1h);
    for (const auto& t : timers) cases.push_back(weft::recv(t.channel()));
    for (int i = 0; i < 4; ++i) cases.push_back(weft::after(1h - i * 1min));
    timers[7].reset(1ms);
    EXPECT_EQ(47u, weft::select(std::span(cases)));
    cases[63] = weft::after(1ms);
    EXPECT_EQ(63u, weft::select(std::span(cases)));
    cases.push_back(weft::after(1us));  // and beyond
    EXPECT_EQ(64u, weft::select(std::span(cases)));
  });
}

// ---- after_func

TEST(after_func, runs_in_a_goroutine_of_its_own_each_time) {
  for_each_case([](const run_case&) {
    const weft::chan<std::uint64_t> ids;
    const auto t = weft::after_func(1ms, [ids] { ids.send(weft::this_goroutine::id()); });
    const auto first = *ids.recv();
    EXPECT_NE(first, weft::this_goroutine::id());
    EXPECT_FALSE(t.stop()) << "it has been started";
    EXPECT_FALSE(t.reset(1ms));
    EXPECT_NE(first, *ids.recv());
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.reset(2h));
    EXPECT_TRUE(t.stop());
    EXPECT_EQ(nullptr, t.channel());
  });
}

TEST(after_func, may_chain_itself) {  // AfterFunc
  for_each_case([](const run_case&) {
    struct chain {
      int left = 10;
      weft::chan<> done;
      void next() {
        if (--left >= 0) {
          weft::after_func(0s, [this] { next(); });
        } else {
          done.close();
        }
      }
    } c;
    weft::after_func(0s, [&c] { c.next(); });
    c.done.recv();
    EXPECT_EQ(-1, c.left);
  });
}

TEST(after_func, two_that_rearm_themselves_starve_nobody) {  // AfterFuncStarvation
  for_each_case(
      [](const run_case&) {
        std::atomic<bool> stop = false;
        weft::wait_group wg;
        struct rearming {
          weft::timer t;
        } a, b;
        const auto again = [&](rearming& r) {
          return [&] {
            if (stop) {
              wg.done();
            } else {
              r.t.reset(0s);
            }
          };
        };
        wg.add(2);
        a.t = weft::after_func(1h, again(a));
        b.t = weft::after_func(1h, again(b));
        a.t.reset(0s);
        b.t.reset(0s);
        weft::sleep(5ms);
        for (int i = 0; i < 100; ++i) weft::yield();
        stop = true;
        wg.wait();
      },
      {.procs = {1, 2}});
}

TEST(after_func, its_function_is_destroyed_once_when_nobody_needs_it) {
  const auto count = std::make_shared<int>(0);
  for_each_case([&](const run_case&) {
    weft::chan<> ran;
    {
      const auto t = weft::after_func(1h, [count, ran] { ran.send(); });
      EXPECT_EQ(2, count.use_count());
      EXPECT_TRUE(t.stop());
      EXPECT_EQ(2, count.use_count()) << "a reset may still want it";
    }
    EXPECT_EQ(1, count.use_count());
    weft::after_func(1ms, [count, ran] { ran.send(); });
    ran.recv();
    weft::test::yield_until([&] { return count.use_count() == 1; });
    weft::after_func(1h, [count] {});  // left pending: the end of the runtime drops it
  });
  EXPECT_EQ(1, count.use_count());
}

TEST(after_func, of_nothing_and_outside_a_runtime_says_so) {
  EXPECT_EQ("weft::after_func called outside a runtime: nobody would run its function; start one with weft::run",
            error_of([] { weft::after_func(1s, [] {}); }));
  weft::timer kept;
  weft::run({.procs = 1}, [&] {
    EXPECT_EQ("go of nil func value", error_of([] { weft::after_func(1s, std::function<void()>()); }));
    kept = weft::after_func(1h, [] {});
  });
  EXPECT_FALSE(kept.stop()) << "its runtime has ended";
  EXPECT_NE("(none)", error_of([&] { kept.reset(1s); }));
  // In another runtime it runs there.
  weft::run({.procs = 1}, [] {
    weft::chan<> ran;
    const auto t = weft::after_func(1h, [ran] { ran.close(); });
    EXPECT_TRUE(t.reset(0s));
    ran.recv();
  });
}

TEST(after_func, takes_what_can_only_be_moved_and_what_is_over_aligned) {
  weft::run({.procs = 1}, [] {
    struct alignas(64) wide {
      std::unique_ptr<int> value;
      weft::chan<int> to;
      void operator()() { to.send(reinterpret_cast<std::uintptr_t>(this) % 64 == 0 ? *value : -1); }
    };
    const weft::chan<int> c;
    weft::after_func(0s, wide{std::make_unique<int>(4), c});
    EXPECT_EQ(4, c.recv());
  });
}

// ---- whole runtimes

TEST(sleep, a_thousand_at_once_are_not_early_and_all_come_back) {  // Sleep, TimerStopStress, Teardown
  for_each_case([](const run_case&) {
    std::atomic<int> early{0};
    weft::wait_group wg;
    for (int i = 0; i < 1000; ++i) {
      wg.go([&, i] {
        const auto d = std::chrono::microseconds(i % 7 * 300);
        const auto begin = clock::now();
        weft::sleep(d);
        early += clock::now() - begin < d ? 1 : 0;
      });
    }
    wg.wait();
    EXPECT_EQ(0, early);
  });
}

TEST(sleep, a_hundred_thousand_nobody_early_nobody_lost) {
  for_each_case(
      [](const run_case&) {
        constexpr int n = weft::test::scaled(100'000, 20);
        std::atomic<int> early{0}, back{0};
        weft::wait_group wg;
        const auto base = clock::now() + 20ms;
        for (int i = 0; i < n; ++i) {
          wg.go([&, i] {
            const auto until = base + std::chrono::microseconds(i * 7919ll % 99'000);
            weft::this_goroutine::sleep_until(until);
            early += clock::now() < until ? 1 : 0;
            ++back;
          });
        }
        wg.wait();
        EXPECT_EQ(0, early);
        EXPECT_EQ(n, back);
      },
      {.procs = {1, 2, 4}, .seeds = 1, .memory_settles = false});
}

// A goroutine sleeps on a P that others keep busy without ever leaving it idle: F1's TimerFairness.
TEST(timer, fires_beside_goroutines_that_send_without_pause) {
  for_each_case(
      [](const run_case&) {
        std::atomic<bool> stop = false;
        const weft::chan<int> c;
        weft::wait_group wg;
        wg.go([&, c] {
          while (!stop) c.send(1);
          c.close();
        });
        wg.go([c] {
          for (const int v : c) static_cast<void>(v);
        });
        const weft::timer t(20ms);
        t.channel().recv();
        stop = true;
        wg.wait();
      },
      {.procs = {1, 2}, .seeds = 1});
}

// TimerFairness2: and beside some that make short blocking calls.
TEST(timer, fires_beside_goroutines_that_block_without_pause) {
  for_each_case(
      [](const run_case&) {
        std::atomic<bool> stop = false;
        weft::wait_group wg;
        for (int i = 0; i < 2; ++i) {
          wg.go([&] {
            while (!stop) weft::blocking([] {});
          });
        }
        const weft::timer t(20ms);
        t.channel().recv();
        stop = true;
        wg.wait();
      },
      {.procs = {1, 2}, .seeds = 1});
}

// The same in foreign code, which says nothing to the runtime.
TEST(timer, fires_beside_goroutines_that_make_system_calls_without_pause) {
  for_each_case(
      [](const run_case&) {
        std::atomic<bool> stop = false;
        weft::wait_group wg;
        for (int i = 0; i < 2; ++i) {
          wg.go([&] {
            while (!stop) static_cast<void>(::getppid());
          });
        }
        const weft::timer t(20ms);
        t.channel().recv();
        stop = true;
        wg.wait();
      },
      {.procs = {1, 2}, .seeds = 1});
}

// The only P was to look at a timer at the end of a tick, and the timer was stopped before: it looks at its ticks all the same.
// From the moment at which the sleep is over, or the goroutine is in the global queue, there are few ticks to the next look.
TEST(timer, that_is_stopped_at_once_takes_no_look_with_it) {
  constexpr int plenty = 10'000;
  for (const bool from_outside : {false, true}) {
    for (int before = 0; before < 8; ++before) {
      weft::run({.procs = 1}, [&] {
        std::atomic<bool> due{false}, came{false};
        weft::chan<int> c(1);
        std::thread sender;
        for (int i = 0; i < before; ++i) weft::yield();
        weft::after_func(1h, [] {}).stop();
        weft::wait_group others;
        std::atomic<int> late{0};
        for (int i = 0; i < 2; ++i) {
          others.go([&] {
            while (!came && late < plenty) {
              weft::yield();
              if (due) ++late;
            }
          });
        }
        for (int i = 0; i < 200; ++i) weft::yield();
        if (from_outside) {
          others.go([&] {
            EXPECT_EQ(1, c.recv());
            came = true;
          });
          weft::yield();
          sender = std::thread([&] {
            c.send(1);
            due = true;
          });
        } else {
          others.go([&] {
            const auto end = clock::now() + 2ms;
            weft::go([&, end] {
              while (clock::now() < end) weft::yield();
              due = true;
            });
            weft::this_goroutine::sleep_until(end - 1ms);
            came = true;
          });
        }
        others.wait();
        if (sender.joinable()) sender.join();
        EXPECT_LT(late, plenty) << (from_outside ? "from outside" : "a sleeper") << ", after " << before << " ticks";
      });
    }
  }
}

// One P, and nobody on it but a goroutine that gives way: it looks at the timers when its ticks end.
TEST(timer, fires_beside_a_goroutine_that_only_yields) {
  for_each_case(
      [](const run_case&) {
        bool fired = false;
        const auto t = weft::after_func(2ms, [&] { fired = true; });
        while (!fired) weft::yield();
        bool slept = false;
        weft::go([&] {
          weft::sleep(2ms);
          slept = true;
        });
        while (!slept) weft::yield();
      },
      {.procs = {1}});
}

// All Ps but one are kept by goroutines that never come by: who sleeps is woken on the one that is left.
TEST(sleep, ends_beside_goroutines_that_never_give_way) {
  for_each_case(
      [](const run_case& c) {
        std::atomic<bool> stop = false;
        weft::wait_group wg;
        for (int i = 1; i < c.procs; ++i) {
          wg.go([&] { weft::test::spin_until([&] { return stop.load(); }); });
        }
        for (int i = 0; i < 20; ++i) weft::sleep(200us);
        stop = true;
        wg.wait();
      },
      {.procs = {2, 4}, .seeds = 1});
}

// The P that has the timer is the one that is kept.
TEST(sleep, of_others_ends_when_the_goroutine_that_armed_it_keeps_its_p) {
  for_each_case(
      [](const run_case&) {
        std::atomic<bool> fired = false;
        const auto t = weft::after_func(1ms, [&] { fired = true; });
        weft::test::spin_until([&] { return fired.load(); });
      },
      {.procs = {2, 4}});
}

TEST(sleep, a_goroutine_locked_to_its_thread_sleeps_and_comes_back_on_it) {
  for_each_case([](const run_case&) {
    weft::wait_group wg;
    for (int i = 0; i < 3; ++i) {
      wg.go([] {
        const weft::os_thread_lock lock;
        const auto thread = weft::test::thread_id();
        for (int k = 0; k < 10; ++k) {
          weft::sleep(100us);
          EXPECT_EQ(thread, weft::test::thread_id());
        }
      });
    }
    wg.wait();
  });
}

TEST(sleep, ends_when_main_has_returned) {
  const auto begin = clock::now();
  std::atomic<int> unwound = 0;
  weft::run({.procs = 2}, [&] {
    weft::go([&] {
      struct last {
        std::atomic<int>& n;
        ~last() { ++n; }
      } at_end{unwound};
      weft::sleep(1h);
    });
    weft::go([&] {
      struct last {
        std::atomic<int>& n;
        ~last() { ++n; }
      } at_end{unwound};
      const weft::chan<int> c;
      weft::select(weft::recv(c), weft::after(1h));
    });
    weft::go([&] {
      struct last {
        std::atomic<int>& n;
        ~last() { ++n; }
      } at_end{unwound};
      const weft::timer t(1h);
      t.channel().recv();
    });
    weft::yield();
    weft::sleep(1ms);
  });
  EXPECT_EQ(3, unwound);
  EXPECT_LT(clock::now() - begin, 1h);
}

}  // namespace
