#include "sched/takeback.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "model/gqueue.hpp"
#include "sched/sched.hpp"
#include "sched/weight.hpp"
#include "unit/sched/small_runtime.hpp"

namespace {

using namespace small_runtime;
using namespace std::chrono_literals;
using weft::rt::relaxed;
using weft::rt::slice_of;

constexpr std::int64_t ms = 1'000'000;

template <class F>
void with_one_p(F f) {
  with_procs(1, f, small_runtime::takeback::on);
}

// On two Ps, beside threads that weigh as much, and come back.
weft::rt::slice slice(std::uint32_t on_cpu, bool urgent) { return slice_of({on_cpu, 2, false, true}, urgent); }

TEST(takeback, a_slice_is_gos_where_nobody_shares_the_cpu) {
  for (const bool urgent : {false, true}) {
    EXPECT_EQ(10 * ms, slice(0, urgent).cpu);
    EXPECT_EQ(INT64_MAX, slice(0, urgent).by_clock) << "a thread that the kernel does not run has used nothing";
  }
}

// x threads share a CPU; a slice is 10 ms times x of CPU, as long as that is no more than 64 ms by the clock.
TEST(takeback, a_slice_grows_with_those_who_share_the_cpus_until_the_clock_bounds_it) {
  EXPECT_EQ(20 * ms, slice(2, false).cpu);
  EXPECT_EQ(25 * ms, slice(3, false).cpu);
  for (const std::uint32_t many : {4U, 10U, 40U, 200U, 10'000U}) {
    const double x = 1 + many / 2.0;
    EXPECT_NEAR(64.0 * ms, static_cast<double>(slice(many, false).cpu) * x, x) << many;
    EXPECT_GT(slice(many, false).cpu, 0) << many;
  }
}

TEST(takeback, a_due_timer_waits_ten_milliseconds_by_the_clock_beside_few) {
  for (const std::uint32_t few : {1U, 2U, 3U, 4U}) {
    const double x = 1 + few / 2.0;
    EXPECT_LE(static_cast<double>(slice(few, true).cpu) * x, 13.0 * ms) << few;
  }
  EXPECT_LE(slice(200, true).by_clock, 64 * ms);
  EXPECT_EQ(64 * ms, slice(1000, true).by_clock);
}

TEST(takeback, in_a_crowd_the_clock_alone_ends_a_slice) {
  EXPECT_EQ(INT64_MAX, slice(13, false).by_clock);
  EXPECT_EQ(64 * ms, slice(14, false).by_clock);
}

// As weight.hpp has it, a P's thread has half a CPU then, not an x-th.
TEST(takeback, a_slice_of_a_thread_that_weighs_more_is_as_long_by_the_clock) {
  EXPECT_EQ(64 * ms, slice_of({200, 2, true, true}, false).by_clock);
  EXPECT_EQ(32 * ms, slice_of({200, 2, true, true}, false).cpu);
}

TEST(takeback, beside_loops_that_never_come_back_no_slice_is_long) {
  for (const bool urgent : {false, true}) EXPECT_EQ(5 * ms, slice_of({200, 2, true, false}, urgent).by_clock);
}

// 1.25 to that power is how much more it weighs than another.
TEST(takeback, a_ps_thread_weighs_as_much_as_those_that_have_lost_it) {
  using weft::rt::weight_beside;
  EXPECT_EQ(0, weight_beside(0, 2, 0));
  EXPECT_EQ(0, weight_beside(13, 2, 0));
  EXPECT_EQ(-9, weight_beside(14, 2, 0)) << "8 threads: 7.5";
  EXPECT_EQ(-18, weight_beside(110, 2, 0)) << "56 threads: 55.5";
  EXPECT_EQ(-20, weight_beside(10'000, 2, 0)) << "as much as there is";
}

TEST(takeback, a_weight_does_not_follow_each_thread) {
  using weft::rt::weight_beside;
  EXPECT_EQ(-9, weight_beside(16, 2, -9));
  EXPECT_EQ(-9, weight_beside(12, 2, -9)) << "one step is none";
  EXPECT_EQ(0, weight_beside(5, 2, -9));
}

// Every second turn of the queue itself is theirs; which is the first is nobody's business.
TEST(takeback, who_comes_back_is_served_beside_those_that_have_not_begun) {
  std::vector<weft::rt::g> gs(6);
  weft::rt::global_queue q;
  for (int i = 0; i < 3; ++i) q.push_back(&gs[static_cast<std::size_t>(i)]);
  for (int i = 3; i < 6; ++i) q.push_returning(&gs[static_cast<std::size_t>(i)]);
  EXPECT_EQ(6u, q.size());
  EXPECT_TRUE(q.returning());
  int back = 0;
  for (int i = 0; i < 4; ++i) back += q.pop_front() >= &gs[3] ? 1 : 0;
  EXPECT_EQ(2, back);
  weft::rt::g* rest[2];
  q.pop_front_n(rest, 2);
  EXPECT_EQ(&gs[2], rest[0]);
  EXPECT_EQ(&gs[5], rest[1]);
  EXPECT_TRUE(q.empty());
  q.drop();
}

// Main sleeps in the kernel with the only P, and says nothing of it.
TEST(takeback, of_one_that_sleeps_in_the_kernel) {
  with_one_p([] {
    std::atomic<bool> ran = false;
    const std::uint64_t thread = weft::rt::os::thread_id();
    weft::go([&] { ran = true; });
    while (!ran.load()) ::poll(nullptr, 0, 1);
    EXPECT_EQ(weft::rt::revoke_done, my_m()->revoke.load(relaxed) & weft::rt::revoke_state);
    EXPECT_EQ(nullptr, weft::rt::getg()->m->p);
    weft::yield();
    EXPECT_NE(nullptr, my_p());
    EXPECT_EQ(thread, weft::rt::os::thread_id());
    const weft::rt::mutex_guard guard(my_sched()->lock);
    EXPECT_EQ(0u, my_sched()->ntaken);
  });
}

TEST(takeback, of_one_that_computes) {
  with_one_p([] {
    std::atomic<bool> ran = false;
    weft::go([&] { ran = true; });
    while (!ran.load()) {
    }
    EXPECT_EQ(nullptr, weft::rt::getg()->m->p);
    weft::yield();
    EXPECT_NE(nullptr, my_p());
  });
}

// It makes calls all the time and waits in none of them.
TEST(takeback, of_one_that_calls_and_never_waits) {
  with_one_p([] {
    std::atomic<bool> ran = false;
    weft::semaphore free(1);
    weft::go([&] { ran = true; });
    while (!ran.load()) {
      free.acquire();
      free.release();
    }
  });
}

// What the timers of the P are about to ready goes before a ring full of goroutines that have not begun and never end.
TEST(takeback, a_sleeper_is_not_kept_behind_a_ring_of_loops) {
  with_one_p([] {
    constexpr int loops = 20;
    std::atomic<int> begun = 0;
    std::atomic<bool> stop = false;
    weft::wait_group wg;
    for (int i = 0; i < loops; ++i) {
      wg.go([&] {
        ++begun;
        while (!stop.load()) {
        }
      });
    }
    weft::sleep(1ms);
    EXPECT_LT(begun.load(), loops);
    stop = true;
    wg.wait();
  });
}

// No descriptor is to be had, so the file that says who sleeps cannot be read.
TEST(takeback, of_one_that_sleeps_where_proc_cannot_be_read) {
  with_one_p([] {
    std::atomic<bool> ran = false;
    rlimit before{};
    ASSERT_EQ(0, ::getrlimit(RLIMIT_NOFILE, &before));
    const rlimit none{0, before.rlim_max};
    ASSERT_EQ(0, ::setrlimit(RLIMIT_NOFILE, &none));
    weft::go([&] { ran = true; });
    while (!ran.load()) ::usleep(30'000);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(nullptr, weft::rt::getg()->m->p);
  });
}

TEST(takeback, that_is_turned_off_takes_nothing) {
  ::setenv("WEFT_DEBUG", "takeback=off", 1);
  with_one_p([] {
    std::atomic<bool> ran = false;
    weft::go([&] { ran = true; });
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(ran.load());
    EXPECT_NE(nullptr, my_p());
  });
  ::unsetenv("WEFT_DEBUG");
}

}  // namespace
