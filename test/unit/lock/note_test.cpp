#include "lock/note.hpp"

#include <gtest/gtest.h>

#include "unit/lock/asleep.hpp"

namespace {

using namespace weft::rt;

TEST(note, a_wake_before_the_sleep_is_not_lost) {
  note n;
  n.wakeup();
  n.sleep();
  EXPECT_TRUE(n.sleep_for(0)) << "signalled until it is cleared";
  EXPECT_TRUE(n.sleep_for(1'000'000'000));
}

TEST(note, a_timed_sleep_ends_without_a_wake_and_not_before_its_time) {
  note n;
  const std::int64_t from = os::now();
  EXPECT_FALSE(n.sleep_for(2'000'000));
  EXPECT_GE(os::now() - from, 2'000'000);
  EXPECT_FALSE(n.sleep_for(0));
  EXPECT_FALSE(n.sleep_for(-1));
}

TEST(note, can_be_used_again_after_a_clear) {
  note n;
  n.wakeup();
  n.sleep();
  n.clear();
  EXPECT_FALSE(n.sleep_for(1));
  n.wakeup();
  n.sleep();
}

TEST(note, a_timed_sleep_can_be_followed_by_a_wake) {
  note n;
  EXPECT_FALSE(n.sleep_for(1));
  n.wakeup();
  EXPECT_TRUE(n.sleep_for(0));
}

TEST(note, a_sleep_that_looks_first_takes_a_wake_that_is_there_and_one_that_comes_later) {
  note n;
  n.wakeup();
  n.sleep(1000);
  n.clear();
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     os::sleep_ns(2'000'000);
                     static_cast<note*>(arg)->wakeup();
                   },
                   &n));
  n.sleep(10);  // looks in vain, then sleeps
  EXPECT_TRUE(n.sleep_for(0));
  os::thread_join(t);
}

TEST(note, a_sleeper_leaves_its_cpu_to_others_until_it_is_woken) {
  for (const bool timed : {false, true}) {
    struct shared {
      note n;
      atomic<std::uint64_t> sleeper{0};
      bool timed = false;
    } s;
    s.timed = timed;
    os::thread t;
    ASSERT_EQ(0, os::thread_start(
                     &t,
                     [](void* arg) {
                       shared& mine = *static_cast<shared*>(arg);
                       mine.sleeper.store(os::thread_id(), release);
                       if (mine.timed) {
                         EXPECT_TRUE(mine.n.sleep_for(3'600'000'000'000));
                       } else {
                         mine.n.sleep();
                       }
                     },
                     &s));
    while (s.sleeper.load(acquire) == 0 || !sleeps(s.sleeper.load(relaxed))) os::yield_thread();
    s.n.wakeup();
    os::thread_join(t);
  }
}

struct pair {
  note ping, pong;
  long value = 0;  // plain: only the notes order it
};

constexpr int rounds = 5'000;

TEST(note, carries_what_the_waker_wrote_back_and_forth) {
  pair p;
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     pair& mine = *static_cast<pair*>(arg);
                     for (int i = 0; i < rounds; ++i) {
                       mine.ping.sleep();
                       mine.ping.clear();
                       ++mine.value;
                       mine.pong.wakeup();
                     }
                   },
                   &p));
  for (int i = 0; i < rounds; ++i) {
    ++p.value;
    p.ping.wakeup();
    if (i % 2 == 0) {
      p.pong.sleep(i % 4 == 0 ? 200 : 0);
    } else {
      while (!p.pong.sleep_for(1'000'000'000)) {
      }
    }
    p.pong.clear();
  }
  os::thread_join(t);
  EXPECT_EQ(2 * rounds, p.value);
}

TEST(note_death, a_second_wake_without_a_clear_is_fatal) {
  note n;
  n.wakeup();
  EXPECT_EXIT(n.wakeup(), testing::ExitedWithCode(2), "fatal error: lock: note woken twice");
}

}  // namespace
