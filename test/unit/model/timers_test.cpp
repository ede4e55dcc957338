// timer_heap, on one thread. Against a sorted list and with many operations: test/fuzz/timers.cpp.
#include "model/timers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "lock/mutex.hpp"
#include "model/timer.hpp"

namespace {

using weft::rt::far_future;
using weft::rt::later;
using weft::rt::next_on_grid;
using weft::rt::no_timer;
using weft::rt::p_timers;
using weft::rt::timer;

struct heap : p_timers {
  ~heap() {
    while (pop_any([](timer*, std::int64_t) {})) {
    }
    give_back_memory();
  }
  std::vector<std::int64_t> due(std::int64_t now, std::uint32_t most = 1000) {
    std::vector<std::int64_t> out;
    pop_due(now, most, [&](timer*, std::int64_t when) { out.push_back(when); });
    return out;
  }
};

TEST(timers, come_out_in_the_order_of_their_times) {
  std::mt19937_64 random(1);
  heap h;
  std::vector<timer> all(2000);
  std::vector<std::int64_t> times;
  for (timer& t : all) {
    times.push_back(static_cast<std::int64_t>(random() % 1000));
    h.insert(&t, times.back());
    EXPECT_EQ(h.min_when(), *std::min_element(times.begin(), times.end()));
  }
  EXPECT_STREQ(nullptr, h.broken());
  std::sort(times.begin(), times.end());
  EXPECT_EQ(times, h.due(1000, 5000));
  EXPECT_EQ(no_timer, h.min_when());
  for (const timer& t : all) EXPECT_EQ(nullptr, t.home.load());
}

TEST(timers, not_due_stay_and_so_many_at_a_time_come) {
  heap h;
  timer a, b, c;
  EXPECT_TRUE(h.insert(&a, 20));
  EXPECT_TRUE(h.insert(&b, 10));
  EXPECT_FALSE(h.insert(&c, 30));
  EXPECT_EQ(0u, h.due(9).size());
  EXPECT_EQ((std::vector<std::int64_t>{10}), h.due(20, 1));
  EXPECT_EQ((std::vector<std::int64_t>{20}), h.due(29));
  EXPECT_EQ(30, h.min_when());
}

TEST(timers, are_removed_from_wherever_they_are_and_leave_nothing) {
  std::mt19937_64 random(2);
  heap h;
  std::vector<timer> all(500);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::int64_t> left;
    std::vector<std::size_t> order(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      order[i] = i;
      h.insert(&all[i], static_cast<std::int64_t>(random() % 100));
    }
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t i = 0; i < 250; ++i) {
      EXPECT_TRUE(p_timers::remove(&all[order[i]]));
      EXPECT_FALSE(p_timers::remove(&all[order[i]])) << "it is in no heap any more";
      if (i % 50 == 0) {
        EXPECT_STREQ(nullptr, h.broken());
      }
    }
    EXPECT_EQ(250u, h.due(100).size());
  }
}

TEST(timers, move_to_another_heap_with_their_times) {
  heap from, to;
  std::vector<timer> all(100);
  for (std::size_t i = 0; i < all.size(); ++i)
    (i % 3 == 0 ? to : from).insert(&all[i], static_cast<std::int64_t>(100 - i));
  from.move_to(to);
  EXPECT_EQ(no_timer, from.min_when());
  EXPECT_EQ(1, to.min_when());
  EXPECT_STREQ(nullptr, from.broken());
  EXPECT_STREQ(nullptr, to.broken());
  EXPECT_TRUE(p_timers::remove(&all[1])) << "from the heap that it is in now";
  EXPECT_EQ(99u, to.due(100).size());
}

TEST(timers, know_which_of_one_time_came_first) {
  std::vector<timer> all(20);  // they outlive the heap that has them
  heap h;
  for (timer& t : all) h.insert(&t, 5);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_LT(all[i - 1].order, all[i].order);
}

TEST(timers, armed_twice_are_a_fatal_error) {
  timer t;
  heap h;
  h.insert(&t, 1);
  EXPECT_DEATH(h.insert(&t, 2), "timers: a timer is armed twice");
}

TEST(timers, times_that_no_clock_shows_are_far_and_not_past) {
  EXPECT_EQ(7, later(5, 2));
  EXPECT_EQ(5, later(5, 0));
  EXPECT_EQ(5, later(5, INT64_MIN));
  EXPECT_EQ(far_future, later(5, INT64_MAX));
  EXPECT_EQ(far_future, later(far_future, 1));
  EXPECT_LT(far_future, no_timer);
}

TEST(timers, ticks_are_on_their_grid_and_missed_ones_are_skipped) {
  EXPECT_EQ(20, next_on_grid(10, 10, 10));
  EXPECT_EQ(20, next_on_grid(10, 10, 19));
  EXPECT_EQ(30, next_on_grid(10, 10, 20));
  EXPECT_EQ(40, next_on_grid(10, 10, 35));
  EXPECT_EQ(20, next_on_grid(10, 10, 5)) << "a clock that is behind";
  EXPECT_EQ(far_future, next_on_grid(10, far_future, 20));
  EXPECT_EQ(far_future, next_on_grid(far_future - 5, 10, far_future - 1));
}

}  // namespace
