// The timed forms of what waits: std's interface, on goroutines and plain threads. Nothing is about how late something is.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <thread>

#include "support/runtime_fixture.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using weft::clock;
using weft::test::for_each_case;
using weft::test::run_case;

template <class F>
void everywhere(F body) {
  body();
  for_each_case([&](const run_case&) { body(); }, {.procs = {1, 2, 4}, .seeds = 1});
}

// Somebody else, who has it while f runs: a thread, in a runtime or not.
template <class Take, class F, class Give>
void while_another(Take take, F f, Give give) {
  std::atomic<int> state{0};
  std::thread other([&] {
    take();
    state = 1;
    while (state != 2) std::this_thread::yield();
    give();
  });
  while (state != 1) std::this_thread::yield();
  f();
  state = 2;
  other.join();
}

template <class F>
void lasts(std::chrono::nanoseconds least, F f) {
  const auto begin = clock::now();
  f();
  EXPECT_GE(clock::now() - begin, least);
}

static_assert(sizeof(weft::mutex) == 8 && sizeof(weft::timed_mutex) == 8);

TEST(timed, mutexes_are_taken_or_time_out_and_are_what_std_calls_timed) {
  everywhere([] {
    weft::timed_mutex m;
    {
      const std::unique_lock<weft::timed_mutex> lock(m, 1h);
      EXPECT_TRUE(lock.owns_lock());
    }
    while_another([&] { m.lock(); },
                  [&] {
                    lasts(2ms, [&] { EXPECT_FALSE(m.try_lock_for(2ms)); });
                    EXPECT_FALSE(m.try_lock_for(0s));
                    EXPECT_FALSE(m.try_lock_for(-1h));
                    lasts(2ms, [&] { EXPECT_FALSE(m.try_lock_until(clock::now() + 2ms)); });
                    EXPECT_FALSE(m.try_lock_until(std::chrono::system_clock::now() + 1ms));
                    EXPECT_FALSE(m.try_lock_until(std::chrono::steady_clock::time_point::min()));
                  },
                  [&] { m.unlock(); });
    EXPECT_TRUE(m.try_lock_for(0s));
    m.unlock();
    EXPECT_TRUE(m.try_lock_until(std::chrono::system_clock::time_point::max()));
    m.unlock();
    weft::recursive_timed_mutex r;
    EXPECT_TRUE(r.try_lock_for(1h));
    EXPECT_TRUE(r.try_lock_until(clock::now()));
    std::thread([&] { EXPECT_FALSE(r.try_lock_for(1ms)); }).join();
    r.unlock();
    r.unlock();
    std::thread([&] {
      EXPECT_TRUE(r.try_lock_for(1ms));
      r.unlock();
    }).join();
  });
}

TEST(timed, shared_mutexes_too_and_a_writer_that_gives_up_lets_readers_in) {
  everywhere([] {
    weft::shared_timed_mutex m;
    while_another([&] { m.lock(); },
                  [&] {
                    lasts(1ms, [&] { EXPECT_FALSE(m.try_lock_for(1ms)); });
                    lasts(1ms, [&] { EXPECT_FALSE(m.try_lock_shared_for(1ms)); });
                    EXPECT_FALSE(m.try_lock_shared_until(std::chrono::system_clock::now() + 1ms));
                    EXPECT_FALSE(m.try_lock_until(clock::now()));
                  },
                  [&] { m.unlock(); });
    while_another([&] { m.lock_shared(); },
                  [&] {
                    EXPECT_FALSE(m.try_lock_for(1ms));
                    EXPECT_TRUE(m.try_lock_shared_for(1h)) << "no writer waits any more";
                    m.unlock_shared();
                  },
                  [&] { m.unlock_shared(); });
    {
      const std::shared_lock<weft::shared_timed_mutex> lock(m, 1h);
      EXPECT_TRUE(lock.owns_lock());
    }
    EXPECT_TRUE(m.try_lock_for(0s));
    m.unlock();
  });
}

TEST(timed, readers_that_a_writer_keeps_out_go_on_when_its_time_is_up) {
  for_each_case([](const run_case&) {
    weft::shared_mutex m;
    m.lock_shared();
    weft::wait_group wg;
    weft::test::watched writer;
    std::atomic<bool> given_up{false};  // before it was seen waiting, on a slow machine
    wg.go([&] {
      writer.here();
      EXPECT_FALSE(m.try_lock_for(3ms));
      given_up = true;
    });
    weft::test::yield_until([&] { return writer.waits() || given_up; });
    for (int i = 0; i < 3; ++i) {
      wg.go([&] {
        m.lock_shared();
        m.unlock_shared();
      });
    }
    wg.wait();
    m.unlock_shared();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(timed, a_permit_is_taken_or_there_was_none) {
  everywhere([] {
    weft::semaphore s(1);
    EXPECT_TRUE(s.try_acquire_for(0s));
    lasts(2ms, [&] { EXPECT_FALSE(s.try_acquire_for(2ms)); });
    EXPECT_FALSE(s.try_acquire_for(0s));
    EXPECT_FALSE(s.try_acquire_for(std::chrono::nanoseconds::min()));
    EXPECT_FALSE(s.try_acquire_until(std::chrono::system_clock::now() + 1ms));
    s.release();
    EXPECT_TRUE(s.try_acquire_for(std::chrono::hours::max()));
    std::thread later([&] {
      std::this_thread::sleep_for(1ms);
      s.release();
    });
    EXPECT_TRUE(s.try_acquire_until(std::chrono::steady_clock::now() + 1h));
    later.join();
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST(timed, whoever_times_out_leaves_the_line_and_those_behind_keep_their_places) {
  for_each_case(
      [](const run_case&) {
        weft::semaphore s(0);
        std::vector<int> order;
        weft::wait_group wg;
        for (int i = 0; i < 3; ++i) {
          weft::test::watched w;
          wg.go([&, i] {
            w.here();
            if (i == 1) {
              EXPECT_FALSE(s.try_acquire_for(1ms));
              order.push_back(10);
              s.release(2);
            } else {
              s.acquire();
              order.push_back(i);
            }
          });
          weft::test::yield_until([&] { return w.waits() || !order.empty(); });
        }
        wg.wait();
        EXPECT_EQ(10, order.front());
        EXPECT_EQ(3u, order.size());
      },
      {.procs = {1}});
}

TEST(timed, conditions_time_out_with_the_lock_held_and_use_up_no_notification) {
  everywhere([] {
    weft::mutex m;
    weft::condition_variable cv;
    std::unique_lock lock(m);
    lasts(2ms, [&] { EXPECT_EQ(std::cv_status::timeout, cv.wait_for(lock, 2ms)); });
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(std::cv_status::timeout, cv.wait_for(lock, 0s));
    EXPECT_EQ(std::cv_status::timeout, cv.wait_until(lock, std::chrono::system_clock::now() + 1ms));
    EXPECT_FALSE(cv.wait_for(lock, 1ms, [] { return false; }));
    EXPECT_TRUE(cv.wait_for(lock, -1s, [] { return true; }));
    EXPECT_FALSE(cv.wait_until(lock, clock::now() + 1ms, [] { return false; }));
    bool ready = false;
    std::thread other([&] {
      const std::lock_guard guard(m);
      ready = true;
      cv.notify_one();
    });
    EXPECT_TRUE(cv.wait_for(lock, 1h, [&] { return ready; }));
    other.join();
  });
}

TEST(timed, conditions_of_any_lock_take_a_stop_token_as_well) {
  everywhere([] {
    std::mutex m;
    weft::condition_variable_any cv;
    std::unique_lock lock(m);
    EXPECT_EQ(std::cv_status::timeout, cv.wait_for(lock, 1ms));
    EXPECT_EQ(std::cv_status::timeout, cv.wait_until(lock, clock::now() + 1ms));
    EXPECT_FALSE(cv.wait_for(lock, 1ms, [] { return false; }));
    std::stop_source stop;
    EXPECT_FALSE(cv.wait_for(lock, stop.get_token(), 1ms, [] { return false; }));
    EXPECT_FALSE(cv.wait_until(lock, stop.get_token(), clock::now() + 1ms, [] { return false; }));
    EXPECT_TRUE(cv.wait_for(lock, stop.get_token(), 1h, [] { return true; }));
    std::thread stopper([&] { stop.request_stop(); });
    EXPECT_FALSE(cv.wait_for(lock, stop.get_token(), 1h, [] { return false; }));
    stopper.join();
  });
}

TEST(timed, a_wait_with_a_limit_is_a_cancellation_point_where_one_without_is) {
  std::atomic<int> unwound{0}, went_on{0};
  struct counts {
    std::atomic<int>& n;
    ~counts() { ++n; }
  };
  weft::semaphore s(0);
  weft::mutex m, held;
  weft::condition_variable cv;
  weft::run({.procs = 2}, [&] {
    held.lock();
    weft::test::watched a, b, c;
    weft::go([&] {
      const counts at_end{unwound};
      a.here();
      static_cast<void>(s.try_acquire_for(1h));
      ++went_on;
    });
    weft::go([&] {
      const counts at_end{unwound};
      std::unique_lock lock(m);
      b.here();
      cv.wait_for(lock, 1h);
      ++went_on;
    });
    weft::go([&] {
      const counts at_end{unwound};
      c.here();
      EXPECT_FALSE(held.try_lock_for(20ms)) << "never one: it times out";
      ++went_on;
    });
    weft::test::yield_until([&] { return a.waits() && b.waits() && (c.waits() || went_on != 0); });
  });
  EXPECT_EQ(3, unwound);
  EXPECT_EQ(1, went_on);
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

}  // namespace
