#include "lock/mutex.hpp"

#include <gtest/gtest.h>

#include "os/sys.hpp"
#include "unit/lock/asleep.hpp"

namespace {

using namespace weft::rt;

TEST(mutex, is_free_at_first_and_held_by_one) {
  mutex m;
  EXPECT_TRUE(m.try_lock());
  EXPECT_FALSE(m.try_lock());
  m.unlock();
  {
    mutex_guard hold(m);
    EXPECT_FALSE(m.try_lock());
  }
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST(mutex, every_sleeper_gets_its_turn_after_one_unlock) {
  struct queue {
    mutex m;
    atomic<std::uint64_t> ids[3] = {};
    atomic<int> started{0};
  } q;
  q.m.lock();
  os::thread t[3];
  for (os::thread& each : t) {
    ASSERT_EQ(0, os::thread_start(
                     &each,
                     [](void* arg) {
                       queue& mine = *static_cast<queue*>(arg);
                       mine.ids[mine.started.fetch_add(1, relaxed)].store(os::thread_id(), release);
                       mutex_guard hold(mine.m);
                     },
                     &q));
  }
  for (const atomic<std::uint64_t>& id : q.ids) {
    while (id.load(acquire) == 0 || !sleeps(id.load(relaxed))) os::yield_thread();
  }
  q.m.unlock();  // wakes one; it must wake the next though it does not know of it
  for (os::thread each : t) os::thread_join(each);
}

struct shared {
  mutex m;
  atomic<int> ready{0};
  int threads = 0;
  long counter = 0;  // plain: only the mutex protects it
  bool long_holds = false;
};

constexpr int rounds = 20'000;

void count(void* arg) {
  shared& s = *static_cast<shared*>(arg);
  s.ready.fetch_add(1, acq_rel);
  while (s.ready.load(acquire) < s.threads) os::yield_thread();
  for (int i = 0; i < rounds; ++i) {
    if (i % 16 == 0 && s.m.try_lock()) {
      ++s.counter;
      s.m.unlock();
      continue;
    }
    mutex_guard hold(s.m);
    ++s.counter;
    // The holder loses its CPU: the others go to sleep, and some must be woken.
    if (s.long_holds && i % 64 == 0) os::yield_thread();
  }
}

class mutex_hammer : public testing::TestWithParam<int> {};

TEST_P(mutex_hammer, no_increment_is_lost_and_no_sleeper_forgotten) {
  for (const bool long_holds : {false, true}) {
    shared s;
    s.threads = GetParam();
    s.long_holds = long_holds;
    os::thread t[8];
    for (int i = 0; i < s.threads; ++i) ASSERT_EQ(0, os::thread_start(&t[i], count, &s));
    for (int i = 0; i < s.threads; ++i) os::thread_join(t[i]);
    EXPECT_EQ(long{rounds} * s.threads, s.counter);
  }
}

INSTANTIATE_TEST_SUITE_P(threads, mutex_hammer, testing::Values(2, 3, 4, 8));

TEST(mutex, what_the_holder_wrote_is_seen_by_the_next) {
  struct box {
    mutex m;
    long a = 0, b = 0;
    atomic<bool> stop{false};
  } s;
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     box& mine = *static_cast<box*>(arg);
                     while (!mine.stop.load(relaxed)) {
                       mutex_guard hold(mine.m);
                       ++mine.a;
                       ++mine.b;
                     }
                   },
                   &s));
  bool torn = false;
  for (int i = 0; i < rounds; ++i) {
    mutex_guard hold(s.m);
    torn |= s.a != s.b;
  }
  s.stop.store(true, relaxed);
  os::thread_join(t);
  EXPECT_FALSE(torn);
}

}  // namespace
