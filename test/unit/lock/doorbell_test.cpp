#include "lock/doorbell.hpp"

#include <gtest/gtest.h>

namespace {

using namespace weft::rt;

constexpr std::int64_t second = 1'000'000'000;

TEST(doorbell, a_ring_after_the_look_is_not_slept_through) {
  doorbell bell;
  const std::uint32_t seen = bell.read();
  bell.ring();
  bell.wait(seen, -1);  // for ever, if it were
  EXPECT_NE(seen, bell.read());
}

TEST(doorbell, a_ring_before_the_look_is_no_reason_not_to_sleep) {
  doorbell bell;
  bell.ring();
  bell.ring();
  const std::int64_t from = os::now();
  std::int64_t left = 2'000'000;
  const std::uint32_t seen = bell.read();
  while (left > 0) {  // it may return for no reason
    bell.wait(seen, left);
    left = from + 2'000'000 - os::now();
  }
  EXPECT_EQ(seen, bell.read());
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
    s.bell.wait(seen, 60 * second);
  }
  EXPECT_EQ(1, s.plain);
  EXPECT_LE(looks, rounds + 1);
  os::thread_join(t);
}

}  // namespace
