// Timers under exploration: who comes at the very time of a limit may win or lose, and never both; the family of the double
// ready (timeout against notify, reset against fire, cancel against timeout). Each case says which outcomes there must be, and
// fails if a thousand schedules do not show all of them. The same program then runs on real threads, with 1, 2, 4 and 16 Ps,
// where any of these may happen and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using weft::clock;
using weft::sim::check;
namespace this_goroutine = weft::this_goroutine;

using all = std::set<std::string>;

template <class F>
void expect_outcomes(const all& wanted, F body) {
  all seen;
  weft::sim::explore({.runs = 1000}, [&] { seen.insert(body()); });
  EXPECT_EQ(wanted, seen);
  weft::test::for_each_case(
      [&](const weft::test::run_case&) {
        const std::string end = body();
        EXPECT_EQ(1u, wanted.count(end)) << end;
      },
      {{1, 2, 4, 16}, 1});
}

TEST(timer_explored, a_notification_and_a_timeout_of_one_time_wake_once) {
  expect_outcomes((all{"notified", "timed out"}), [] {
    weft::mutex m;
    weft::condition_variable cv;
    std::string end;
    weft::wait_group wg;
    wg.go([&] {
      std::unique_lock lock(m);
      end = cv.wait_for(lock, 10ms) == std::cv_status::timeout ? "timed out" : "notified";
    });
    wg.go([&] {
      weft::sleep(10ms);
      cv.notify_one();
    });
    wg.wait();
    check(clock::now().time_since_epoch() >= 10ms);
    return end;
  });
}

TEST(timer_explored, a_permit_goes_to_one_of_two_whose_limits_are_over_or_stays) {
  expect_outcomes((all{"0", "1"}), [] {
    weft::semaphore s(0);
    std::atomic<int> taken = 0;
    weft::wait_group wg;
    for (int i = 0; i < 2; ++i) {
      wg.go([&] { taken += s.try_acquire_for(5ms) ? 1 : 0; });
    }
    wg.go([&] {
      weft::sleep(5ms);
      s.release();
    });
    wg.wait();
    check(s.try_acquire() == (taken == 0));
    return std::to_string(taken);
  });
}

TEST(timer_explored, two_limits_of_one_time_end_in_either_order) {
  expect_outcomes((all{"12", "21"}), [] {
    weft::semaphore s(0);
    weft::mutex m;
    std::string order;
    weft::wait_group wg;
    for (const char each : {'1', '2'}) {
      wg.go([&, each] {
        check(!s.try_acquire_for(5ms));
        const std::lock_guard hold(m);
        order += each;
      });
    }
    wg.wait();
    return order;
  });
}

// The second one's wait is ended by what the first does after its own time is up, which comes at the same time.
TEST(timer_explored, whoever_has_timed_out_may_serve_another_whose_limit_is_of_the_same_time) {
  expect_outcomes((all{"served", "timed out"}), [] {
    weft::semaphore a(0), b(0);
    std::string end;
    weft::wait_group wg;
    wg.go([&] {
      check(!a.try_acquire_for(5ms));
      b.release();
    });
    wg.go([&] { end = b.try_acquire_for(5ms) ? "served" : "timed out"; });
    wg.wait();
    return end;
  });
}

TEST(timer_explored, a_mutex_and_a_shared_mutex_are_taken_or_timed_out_and_whole) {
  expect_outcomes((all{"0", "1", "2"}), [] {
    weft::mutex m;
    weft::shared_mutex rw;
    std::atomic<int> n = 0;
    weft::wait_group wg;
    wg.go([&] {
      const std::lock_guard one(m);
      const std::lock_guard two(rw);
      weft::sleep(5ms);
    });
    wg.go([&] {
      weft::yield();
      if (!m.try_lock_for(5ms)) return;
      ++n;
      m.unlock();
    });
    wg.go([&] {
      weft::yield();
      if (!rw.try_lock_shared_for(5ms)) return;
      ++n;
      rw.unlock_shared();
    });
    wg.wait();
    check(m.try_lock() && rw.try_lock());
    return std::to_string(n);
  });
}

// Woken by the unlock, and somebody else has the mutex again before he looks: then his time is up, and he has it not.
TEST(timer_explored, a_mutex_that_is_taken_again_as_the_limit_comes_is_nobody_elses) {
  expect_outcomes((all{"taken", "timed out"}), [] {
    weft::mutex m;
    std::atomic<int> inside = 0;
    std::string end;
    weft::wait_group wg;
    wg.go([&] {
      m.lock();
      weft::sleep(5ms);
      m.unlock();
      m.lock();
      check(inside.exchange(1) == 0, "one at a time");
      weft::sleep(5ms);
      inside = 0;
      m.unlock();
    });
    wg.go([&] {
      end = "timed out";
      if (!m.try_lock_for(5ms)) return;
      end = "taken";
      check(inside.exchange(1) == 0, "one at a time");
      weft::yield();
      inside = 0;
      m.unlock();
    });
    wg.wait();
    check(m.try_lock());
    return end;
  });
}

// A writer that gives up at the very time lets in the readers that it has kept out.
TEST(timer_explored, readers_behind_a_writer_that_has_timed_out_go_on) {
  weft::sim::explore({.runs = 1000}, [] {
    weft::shared_mutex rw;
    weft::wait_group wg;
    rw.lock_shared();
    wg.go([&] {
      if (rw.try_lock_for(5ms)) rw.unlock();
    });
    wg.go([&] {
      weft::yield();
      rw.lock_shared();
      rw.unlock_shared();
    });
    weft::sleep(5ms);
    weft::sleep(1ms);
    rw.unlock_shared();
    wg.wait();
  });
}

TEST(timer_explored, a_value_and_a_timeout_in_a_select_are_one_or_the_other) {
  expect_outcomes((all{"timeout, value stays", "value"}), [] {
    const weft::chan<int> c(1);
    std::string end;
    weft::wait_group wg;
    wg.go([&] {
      std::optional<int> v;
      const auto i = weft::select(weft::recv(c, v), weft::after(5ms));
      end = i == 0 ? "value" : "timeout";
      check(i != 0 || v == 7);
    });
    wg.go([&] {
      weft::sleep(5ms);
      c.send(7);
    });
    wg.wait();
    if (c.size() == 1) end += ", value stays";
    return end;
  });
}

// No value of before, whoever stops or resets when: reset against fire.
TEST(timer_explored, a_timer_that_is_reset_as_it_fires_gives_one_time_or_the_other) {
  expect_outcomes((all{"10", "30"}), [] {
    const auto begin = clock::now();
    const weft::timer t(10ms);
    std::string got;
    weft::wait_group wg;
    wg.go([&] { got = *t.channel().recv() - begin < 30ms ? "10" : "30"; });
    wg.go([&] {
      weft::sleep(10ms);
      t.reset(20ms);
    });
    wg.wait();
    return got;
  });
}

TEST(timer_explored, stop_is_true_exactly_when_nothing_was_received) {
  expect_outcomes((all{"received", "stopped"}), [] {
    const weft::timer t(10ms);
    bool received = false;
    bool was_pending = false;
    weft::wait_group wg;
    wg.go([&] { received = weft::select(weft::recv(t.channel()), weft::after(100ms)) == 0; });
    wg.go([&] {
      weft::sleep(10ms);
      was_pending = t.stop();
    });
    wg.wait();
    check(received != was_pending);
    return std::string(received ? "received" : "stopped");
  });
}

TEST(timer_explored, a_function_is_stopped_or_runs) {
  expect_outcomes((all{"ran", "stopped"}), [] {
    std::atomic<int> ran = 0;
    const auto t = weft::after_func(10ms, [&] { ++ran; });
    weft::semaphore never(0);
    static_cast<void>(never.try_acquire_for(10ms));
    const bool was = t.stop();
    do weft::sleep(1ms);
    while (!was && ran == 0);
    check(ran + (was ? 1 : 0) == 1);
    return std::string(was ? "stopped" : "ran");
  });
}

TEST(timer_explored, a_function_that_is_set_anew_as_it_begins_runs_once_or_twice) {
  expect_outcomes((all{"once", "twice"}), [] {
    std::atomic<int> ran = 0;
    const auto t = weft::after_func(10ms, [&] { ++ran; });
    weft::sleep(10ms);
    const int wanted = t.reset(10ms) ? 1 : 2;
    do weft::sleep(10ms);
    while (ran < wanted);
    check(ran == wanted && !t.stop());
    return std::string(wanted == 1 ? "once" : "twice");
  });
}

TEST(timer_explored, a_deadline_and_a_cancellation_of_one_time_are_one_or_the_other) {
  expect_outcomes((all{"context canceled", "context deadline exceeded"}), [] {
    const weft::context parent = weft::context::background().with_cancel();
    const weft::context ctx = parent.with_timeout(10ms);
    weft::wait_group wg;
    std::atomic<int> unwound = 0;
    wg.go([&] {
      try {
        weft::with(ctx, [] { weft::chan<>().recv(); });
      } catch (const weft::cancelled&) {
        ++unwound;
      }
    });
    wg.go([&] {
      weft::sleep(10ms);
      parent.cancel();
    });
    ctx.done().recv();
    const std::error_code first = ctx.err();
    wg.wait();
    check(ctx.err() == first && unwound == 1);
    return first.message();
  });
}

TEST(timer_explored, a_permit_a_cancellation_and_a_limit_of_one_time) {
  expect_outcomes((all{"taken", "timed out", "unwound"}), [] {
    const weft::context ctx = weft::context::background().with_cancel();
    weft::semaphore s(0);
    std::string end;
    weft::wait_group wg;
    wg.go([&] {
      try {
        end = weft::with(ctx, [&] { return s.try_acquire_for(10ms); }) ? "taken" : "timed out";
      } catch (const weft::cancelled&) {
        end = "unwound";
      }
    });
    wg.go([&] {
      weft::sleep(10ms);
      ctx.cancel();
    });
    wg.go([&] {
      weft::sleep(10ms);
      s.release();
    });
    wg.wait();
    check(s.try_acquire() == (end != "taken"));
    return end;
  });
}

TEST(timer_explored, a_value_for_one_whose_deadline_is_now_is_received_or_stays) {
  expect_outcomes((all{"received", "stays"}), [] {
    const weft::context ctx = weft::context::background().with_timeout(10ms);
    const weft::chan<int> c;
    bool received = false, sent = false;
    weft::wait_group wg;
    wg.go([&] {
      try {
        weft::with(ctx, [&] { c.recv(); });
        received = true;
      } catch (const weft::cancelled&) {
      }
    });
    wg.go([&] {
      weft::sleep(10ms);
      sent = weft::select(weft::send(c, 1), weft::after(10ms)) == 0;
    });
    wg.wait();
    check(received == sent);
    return std::string(received ? "received" : "stays");
  });
}

// Who is cancelled as he is notified either goes on or leaves the notification to the other.
TEST(timer_explored, a_notification_and_a_cancellation_of_one_time) {
  expect_outcomes((all{"notified", "unwound"}), [] {
    const weft::context ctx = weft::context::background().with_cancel();
    weft::mutex m;
    weft::condition_variable cv;
    std::string end;
    std::atomic<int> notified = 0;
    weft::wait_group wg;
    wg.go([&] {
      try {
        std::unique_lock lock(m);
        weft::with(ctx, [&] { cv.wait_for(lock, 20ms); });
        ++notified;
        end = "notified";
      } catch (const weft::cancelled&) {
        end = "unwound";
      }
    });
    wg.go([&] {
      std::unique_lock lock(m);
      if (cv.wait_for(lock, 20ms) == std::cv_status::no_timeout) ++notified;
    });
    wg.go([&] {
      weft::sleep(10ms);
      ctx.cancel();
    });
    wg.go([&] {
      weft::sleep(10ms);
      cv.notify_one();
    });
    wg.wait();
    // On real threads somebody may have come to wait too late.
    check(!weft::sim::active() || notified == 1);
    return end;
  });
}

TEST(timer_explored, a_result_and_a_limit_of_one_time) {
  expect_outcomes((all{"ready", "timeout"}), [] {
    const auto f = weft::async([] {
      weft::sleep(10ms);
      return 1;
    });
    const bool ready = f.wait_for(10ms) == std::future_status::ready;
    check(!ready || f.ready());
    check(f.get() == 1);
    return std::string(ready ? "ready" : "timeout");
  });
}

// Where the clock stands still: a nanosecond before its time there is nothing, and at it there is, whoever looks how.
TEST(timer_explored, whatever_comes_at_a_time_is_not_a_nanosecond_early) {
  weft::sim::explore({.runs = 100}, [] {
    const auto due = clock::now() + 10ms;
    const weft::timer t(10ms);
    const weft::ticker every(10ms);
    const weft::context ctx = weft::context::background().with_deadline(due);
    std::atomic<bool> called = false;
    const auto f = weft::after_func(10ms, [&] { called = true; });
    weft::semaphore never(0);
    clock::time_point timed_out{};
    weft::wait_group wg;
    wg.go([&] {
      check(!never.try_acquire_for(10ms));
      timed_out = clock::now();
    });
    this_goroutine::sleep_until(due - 1ns);
    check(clock::now() == due - 1ns);
    std::optional<clock::time_point> v;
    for (const auto& c : {t.channel(), every.channel()}) {
      check(c.try_recv(v) == weft::chan_status::would_block);
      check(!weft::try_select(weft::recv(c), weft::at(due), weft::after(1ns)));
    }
    check(!ctx.err() && !called);
    weft::sleep(1ns);
    weft::sim::settle();
    for (const auto& c : {t.channel(), every.channel()}) {
      check(weft::try_select(weft::recv(c, v)) == 0u && v == due);
    }
    check(weft::try_select(weft::at(due)) == 0u);
    check(ctx.err() == weft::context_errc::deadline_exceeded && called);
    wg.wait();
    check(timed_out == due);
  });
}

// AfterQueuing, where the clock does not run while they are set.
TEST(timer_explored, the_order_is_that_of_the_times) {
  weft::sim::explore({.runs = 300}, [] {
    std::vector<int> order;
    weft::wait_group wg;
    for (const int slot : {5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0}) {
      wg.go([&, slot] {
        const weft::timer t(slot * 10ms);
        t.channel().recv();
        order.push_back(slot);
      });
    }
    wg.wait();
    check(std::is_sorted(order.begin(), order.end()));
  });
}

TEST(timer_explored, ticks_are_never_early_nor_twice) {
  weft::sim::explore({.runs = 300}, [] {
    const weft::ticker t(10ms);
    const auto begin = clock::now();
    weft::mutex m;
    std::set<clock::time_point> ticks;
    weft::wait_group wg;
    for (int i = 0; i < 3; ++i) {
      wg.go([&] {
        for (int k = 0; k < 3; ++k) {
          const auto tick = *t.channel().recv();
          check(tick <= clock::now());
          const std::lock_guard lock(m);
          check(ticks.insert(tick).second);
        }
      });
    }
    wg.wait();
    check(*ticks.begin() == begin + 10ms && *ticks.rbegin() >= begin + 90ms);
  });
}

// Nothing but a timer that calls something is left: the run is over when main is.
TEST(timer_explored, functions_that_are_left_over_do_not_hold_up_the_end) {
  weft::sim::explore({.runs = 20}, [] {
    const auto kept = std::make_shared<int>(1);
    weft::after_func(1h, [kept] {});
  });
  // And a deadlock is one although time could go on for ever.
  // (Frames that a failure leaves behind are not unwound, so what is to be freed is kept outside.)
  std::string text;
  weft::timer again;
  try {
    weft::sim::explore({.runs = 1, .max_steps = 1000}, [&again] {
      again = weft::after_func(1ms, [&again] { again.reset(1ms); });
      const weft::chan<> never = nullptr;
      never.recv();
    });
  } catch (const weft::sim::failure& f) {
    text = f.what();
  }
  EXPECT_NE(std::string::npos, text.find("endless run")) << text;
}

TEST(timer_explored, a_limit_is_the_same_in_the_same_schedule) {
  std::set<std::string> texts;
  for (int i = 0; i < 2; ++i) {
    try {
      weft::sim::explore({.runs = 1000}, [] {
        weft::semaphore s(0);
        weft::go([&] {
          weft::sleep(5ms);
          s.release();
        });
        check(s.try_acquire_for(5ms));
        weft::sleep(1ms);
      });
    } catch (const weft::sim::failure& f) {
      texts.insert(f.what());
    }
  }
  EXPECT_EQ(1u, texts.size()) << "found, and minimised, in the same way";
}

}  // namespace
