#include "lock/doorbell.hpp"

#include <gtest/gtest.h>

#include "unit/lock/asleep.hpp"

namespace {

using namespace weft::rt;

TEST(doorbell, a_ring_after_the_look_is_not_slept_through) {
  doorbell bell;
  const std::uint32_t seen = bell.read();
  bell.ring();
  bell.wait(seen, -1);  // for ever, if it were
  EXPECT_NE(seen, bell.read());
}

TEST(doorbell, a_ring_before_the_look_is_no_reason_not_to_sleep) {
  struct shared {
    doorbell bell;
    atomic<std::uint64_t> watcher{0};
  } s;
  s.bell.ring();
  s.bell.ring();
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     shared& mine = *static_cast<shared*>(arg);
                     const std::uint32_t seen = mine.bell.read();
                     mine.watcher.store(os::thread_id(), release);
                     while (mine.bell.read() == seen) mine.bell.wait(seen, -1);  // it may return for no reason
                   },
                   &s));
  while (s.watcher.load(acquire) == 0 || !sleeps(s.watcher.load(relaxed))) os::yield_thread();
  s.bell.ring();
  os::thread_join(t);
}

TEST(doorbell, a_wait_with_a_time_ends_without_a_ring) {
  doorbell bell;
  bell.wait(bell.read(), 1'000'000);
  bell.wait(bell.read(), 0);
}

TEST(doorbell, many_rings_are_one_wake_and_none_is_lost) {
  struct shared {
    doorbell bell;
    atomic<long> rung{0};
    long plain = 0;  // ordered by the bell alone
  } s;
  constexpr long rounds = 20'000;
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     shared& mine = *static_cast<shared*>(arg);
                     for (long i = 1; i <= rounds; ++i) {
                       mine.rung.store(i, relaxed);
                       if (i == rounds) mine.plain = 1;
                       mine.bell.ring();
                     }
                   },
                   &s));
  long looks = 0;
  for (;;) {
    const std::uint32_t seen = s.bell.read();
    ++looks;
    if (s.rung.load(relaxed) == rounds && seen == rounds) break;
    s.bell.wait(seen, -1);  // for ever, if a ring were lost
  }
  EXPECT_EQ(1, s.plain);
  EXPECT_LE(looks, rounds + 1);
  os::thread_join(t);
}

}  // namespace
