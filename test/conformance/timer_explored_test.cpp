// Timers under exploration: who comes at the very time of a limit may win or lose, and never both; the family of the double
// ready (timeout against notify, reset against fire, cancel against timeout). Each case says which outcomes there must be, and
// fails if a thousand schedules do not show all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using weft::clock;
using weft::sim::check;

template <class F>
std::set<std::string> outcomes(F body) {
  std::set<std::string> seen;
  weft::sim::explore({.runs = 1000}, [&] { seen.insert(body()); });
  return seen;
}
using all = std::set<std::string>;

TEST(timer_explored, a_notification_and_a_timeout_of_one_time_wake_once) {
  EXPECT_EQ((all{"notified", "timed out"}), outcomes([] {
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
            }));
}

TEST(timer_explored, a_permit_goes_to_one_of_two_whose_limits_are_over_or_stays) {
  EXPECT_EQ((all{"0", "1"}), outcomes([] {
              weft::semaphore s(0);
              int taken = 0;
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
            }));
}

TEST(timer_explored, two_limits_of_one_time_end_in_either_order) {
  EXPECT_EQ((all{"12", "21"}), outcomes([] {
              weft::semaphore s(0);
              std::string order;
              weft::wait_group wg;
              wg.go([&] {
                check(!s.try_acquire_for(5ms));
                order += '1';
              });
              wg.go([&] {
                check(!s.try_acquire_for(5ms));
                order += '2';
              });
              wg.wait();
              return order;
            }));
}

// The second one's wait is ended by what the first does after its own time is up, which comes at the same time.
TEST(timer_explored, whoever_has_timed_out_may_serve_another_whose_limit_is_of_the_same_time) {
  EXPECT_EQ((all{"served", "timed out"}), outcomes([] {
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
            }));
}

TEST(timer_explored, a_mutex_and_a_shared_mutex_are_taken_or_timed_out_and_whole) {
  EXPECT_EQ((all{"0", "1", "2"}), outcomes([] {
              weft::mutex m;
              weft::shared_mutex rw;
              int n = 0;
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
            }));
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
  EXPECT_EQ((all{"timeout, value stays", "value"}), outcomes([] {
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
            }));
}

// No value of before, whoever stops or resets when: reset against fire.
TEST(timer_explored, a_timer_that_is_reset_as_it_fires_gives_one_time_or_the_other) {
  EXPECT_EQ((all{"10", "30"}), outcomes([] {
              const auto begin = clock::now();
              const weft::timer t(10ms);
              std::string got;
              weft::wait_group wg;
              wg.go([&] { got = std::to_string((*t.channel().recv() - begin) / 1ms); });
              wg.go([&] {
                weft::sleep(10ms);
                t.reset(20ms);
              });
              wg.wait();
              return got;
            }));
}

TEST(timer_explored, stop_is_true_exactly_when_nothing_was_received) {
  EXPECT_EQ((all{"received", "stopped"}), outcomes([] {
              const weft::timer t(10ms);
              bool received = false;
              bool was_pending = false;
              weft::wait_group wg;
              wg.go([&] { received = weft::select(weft::recv(t.channel()), weft::after(1s)) == 0; });
              wg.go([&] {
                weft::sleep(10ms);
                was_pending = t.stop();
              });
              wg.wait();
              check(received != was_pending);
              return std::string(received ? "received" : "stopped");
            }));
}

TEST(timer_explored, a_function_is_stopped_or_runs) {
  EXPECT_EQ((all{"ran", "stopped"}), outcomes([] {
              int ran = 0;
              const auto t = weft::after_func(10ms, [&] { ++ran; });
              weft::semaphore never(0);
              static_cast<void>(never.try_acquire_for(10ms));
              const bool was = t.stop();
              weft::sleep(1ms);
              check(ran + (was ? 1 : 0) == 1);
              return std::string(was ? "stopped" : "ran");
            }));
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
