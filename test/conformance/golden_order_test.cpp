// The golden orders of Go with GOMAXPROCS=1 (GO-BEHAVIOUR A20), through the public API. With one P the order in which
// goroutines run is determined: nobody steals, and nothing depends on the clock or the seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

const test::run_options one_p{{1}, 2};

using order = std::vector<int>;

void append(order& o, int first, int last) {
  for (int i = first; i <= last; ++i) o.push_back(i);
}

// main starts n goroutines, then blocks.
order order_of(int n) {
  order seen;
  seen.reserve(static_cast<std::size_t>(n));
  wait_group all;
  for (int i = 0; i < n; ++i) all.go([&seen, i] { seen.push_back(i); });
  all.wait();
  return seen;
}

TEST(golden_order, ten_goroutines_the_last_first_then_in_order) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(order_of(10), (order{9, 0, 1, 2, 3, 4, 5, 6, 7, 8})); }, one_p);
}

TEST(golden_order, of_257_the_ring_is_exactly_full) {
  test::for_each_case(
      [](const run_case&) {
        order expected{256};
        append(expected, 0, 255);
        EXPECT_EQ(order_of(257), expected);
      },
      one_p);
}

// One more: the older half moves to the global queue, from where one comes every 61st tick and the rest at the end.
TEST(golden_order, of_258_half_the_ring_goes_through_the_global_queue) {
  test::for_each_case(
      [](const run_case&) {
        order expected{257};
        append(expected, 128, 187);
        append(expected, 0, 0);
        append(expected, 188, 247);
        append(expected, 1, 1);
        append(expected, 248, 255);
        append(expected, 2, 127);
        append(expected, 256, 256);
        EXPECT_EQ(order_of(258), expected);
      },
      one_p);
}

TEST(golden_order, of_300) {
  test::for_each_case(
      [](const run_case&) {
        order expected{299};
        append(expected, 128, 187);
        append(expected, 0, 0);
        append(expected, 188, 247);
        append(expected, 1, 1);
        append(expected, 248, 255);
        append(expected, 257, 298);
        append(expected, 2, 127);
        append(expected, 256, 256);
        EXPECT_EQ(order_of(300), expected);
      },
      one_p);
}

// Three goroutines of three steps each, with a yield after each.
order order_of_turns() {
  order seen;
  wait_group all;
  for (int g = 0; g < 3; ++g) {
    all.go([&seen, g] {
      for (int step = 0; step < 3; ++step) {
        seen.push_back(10 * g + step);
        yield();
      }
    });
  }
  all.wait();
  return seen;
}

TEST(golden_order, three_goroutines_that_yield_take_turns) {
  test::for_each_case(
      [](const run_case&) {
        EXPECT_EQ(order_of_turns(), (order{20, 0, 10, 21, 1, 11, 22, 2, 12}));
      },
      one_p);
}

// Ten goroutines wait in the order 0 to 9; then main lets them go by `release` and blocks.
template <class Wait, class Release>
order order_of_waiters(Wait wait, Release release) {
  order seen;
  wait_group all;
  test::watched each[10];
  for (int i = 0; i < 10; ++i) {
    all.go([&seen, &each, &wait, i] {
      each[i].here();
      wait();
      seen.push_back(i);
    });
    // One after the other, so that they queue in this order and not in that of their first run.
    test::yield_until([&] { return each[i].waits(); });
  }
  release();
  all.wait();
  return seen;
}

const order last_first{9, 0, 1, 2, 3, 4, 5, 6, 7, 8};

order by_done() {
  wait_group event;
  event.add(1);
  return order_of_waiters([&] { event.wait(); }, [&] { event.done(); });
}
order by_ten_releases() {
  semaphore permits(0);
  return order_of_waiters([&] { permits.acquire(); },
                          [&] {
                            for (int i = 0; i < 10; ++i) permits.release();
                          });
}
order by_one_release() {
  semaphore permits(0);
  return order_of_waiters([&] { permits.acquire(); }, [&] { permits.release(10); });
}

order by_ten_sends() {
  const chan<int> c;
  return order_of_waiters([&] { c.recv(); },
                          [&] {
                            for (int i = 0; i < 10; ++i) c.send(i);
                          });
}
order by_close() {
  const chan<> c;
  return order_of_waiters([&] { c.recv(); }, [&] { c.close(); });
}
template <class Notify>
order by_condition(Notify notify) {
  mutex m;
  condition_variable c;
  return order_of_waiters(
      [&] {
        std::unique_lock hold(m);
        c.wait(hold);
      },
      [&] { notify(c); });
}
order by_notify_all() {
  return by_condition([](condition_variable& c) { c.notify_all(); });
}
order by_ten_notifications() {
  return by_condition([](condition_variable& c) {
    for (int i = 0; i < 10; ++i) c.notify_one();
  });
}
order by_a_writers_unlock() {
  shared_mutex m;
  m.lock();
  return order_of_waiters([&] { const std::shared_lock reading(m); }, [&] { m.unlock(); });
}
// Main takes what ten senders wait with; after their order comes that of the values, from 100.
order by_draining() {
  const chan<int> c;
  order values;
  int next = 0;
  order seen = order_of_waiters([&] { c.send(next++); },
                                [&] {
                                  for (int i = 0; i < 10; ++i) values.push_back(100 + *c.recv());
                                });
  seen.insert(seen.end(), values.begin(), values.end());
  return seen;
}

TEST(golden_order, wait_group_releases_ten_waiters) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_done(), last_first); }, one_p);
}

// Each release readies one, into runnext, as ten Signals of a Cond do.
TEST(golden_order, ten_releases_of_a_semaphore) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_ten_releases(), last_first); }, one_p);
}

TEST(golden_order, one_release_of_ten_permits) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_one_release(), last_first); }, one_p);
}

TEST(golden_order, a_notify_all_wakes_ten) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_notify_all(), last_first); }, one_p);
}

TEST(golden_order, ten_times_notify_one) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_ten_notifications(), last_first); }, one_p);
}

TEST(golden_order, a_writers_unlock_lets_ten_readers_in) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_a_writers_unlock(), last_first); }, one_p);
}

TEST(golden_order, ten_sends_to_ten_receivers) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_ten_sends(), last_first); }, one_p);
}

// They are collected on a stack, and each that is readied takes runnext from the one before.
TEST(golden_order, a_close_wakes_the_first_receiver_first_and_then_the_last) {
  test::for_each_case([](const run_case&) { EXPECT_EQ(by_close(), (order{0, 9, 8, 7, 6, 5, 4, 3, 2, 1})); }, one_p);
}

TEST(golden_order, ten_senders_are_drained_in_their_order) {
  test::for_each_case(
      [](const run_case&) {
        order expected = last_first;
        append(expected, 100, 109);
        EXPECT_EQ(by_draining(), expected);
      },
      one_p);
}

// The plain schedule of an exploration is no P's: the engine has a queue of its own, without runnext. Its order is as
// fixed, first come, first served; choice strings mean something only while it stays.
TEST(golden_order, of_the_plain_schedule_of_an_exploration) {
  const auto plain = [](order (*program)()) {
    order seen;
    sim::run("sim:", [&] { seen = program(); });
    return seen;
  };
  order ten;
  append(ten, 0, 9);
  EXPECT_EQ(plain([] { return order_of(10); }), ten);
  order three_hundred;
  append(three_hundred, 0, 299);
  EXPECT_EQ(plain([] { return order_of(300); }), three_hundred);
  EXPECT_EQ(plain(order_of_turns), (order{0, 10, 20, 1, 11, 21, 2, 12, 22}));
  EXPECT_EQ(plain(by_ten_releases), ten);
  EXPECT_EQ(plain(by_ten_sends), ten);
  // All ready at once; taken out of the run queue of the P, whose runnext is the last.
  EXPECT_EQ(plain(by_done), last_first);
  EXPECT_EQ(plain(by_one_release), last_first);
}

// In any schedule the order is another, and everybody is there once.
TEST(golden_order, is_broken_by_explorations_and_nobody_is_lost) {
  order all;
  append(all, 0, 9);
  for (order (*program)() : {+[] { return order_of(10); }, &by_done, &by_ten_releases, &by_one_release, &by_ten_sends,
                             &by_close, &by_notify_all, &by_ten_notifications, &by_a_writers_unlock}) {
    bool other = false;
    sim::explore({.runs = 100}, [&] {
      order seen = program();
      other = other || seen != last_first;
      std::sort(seen.begin(), seen.end());
      sim::check(seen == all, "each once");
    });
    EXPECT_TRUE(other);
  }
}

// Each unlock wakes the oldest waiter, which runs next and unlocks in its turn: in every schedule.
TEST(golden_order, a_chain_of_mutex_unlocks) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        mutex m;
        m.lock();
        order seen;
        wait_group all;
        test::watched each[10];
        for (int i = 0; i < 10; ++i) {
          all.go([&, i] {
            each[i].here();
            std::lock_guard hold(m);
            seen.push_back(i);
          });
          test::yield_until([&] { return each[i].waits(); });
        }
        m.unlock();
        all.wait();
        EXPECT_EQ(seen, (order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
      },
      200, one_p);
}

// Readying does not switch, blocking does: a producer of five items, a consumer, and a channel with one place between them.
TEST(golden_order, a_producer_runs_on_until_there_is_no_room_and_a_consumer_until_there_is_nothing) {
  test::for_each_case(
      [](const run_case&) {
        order seen;
        const chan<int> c(1);
        wait_group all;
        all.go([&] {
          for (int v : c) seen.push_back(100 + v);
        });
        for (int i = 0; i < 5; ++i) {
          c.send(i);
          seen.push_back(i);
        }
        EXPECT_EQ(seen, (order{0, 100, 101, 1, 2, 3, 102, 103, 104, 4}));
        c.close();
        all.wait();
      },
      one_p);
}

// The same with a semaphore, which has room for everything.
TEST(golden_order, a_release_does_not_switch_and_a_wait_does) {
  test::for_each_case(
      [](const run_case&) {
        order seen;
        semaphore items(0);
        wait_group all;
        all.go([&] {
          for (int i = 0; i < 3; ++i) {
            items.acquire();
            seen.push_back(100 + i);
          }
        });
        yield();  // the consumer waits
        for (int i = 0; i < 3; ++i) {
          seen.push_back(i);
          items.release();
        }
        all.wait();
        EXPECT_EQ(seen, (order{0, 1, 2, 100, 101, 102}));
      },
      one_p);
}

}  // namespace
