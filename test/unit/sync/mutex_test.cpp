#include "weft/mutex.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/sizes.hpp"
#include "os/sys.hpp"
#include "unit/sync/waiting.hpp"

namespace {

using namespace waiting;

std::uint64_t state(const weft::mutex& m) { return word_of(m) & 7; }
std::uint64_t waiters(const weft::mutex& m) { return (word_of(m) & 0xffffffff) >> 3; }
constexpr std::uint64_t locked = 1, woken = 2, starving = 4;

constinit weft::mutex at_compile_time;

TEST(mutex, is_8_bytes_and_made_at_compile_time) {
  static_assert(sizeof(weft::mutex) == 8);
  static_assert(std::is_nothrow_default_constructible_v<weft::mutex>);
  static_assert(!std::is_copy_constructible_v<weft::mutex>);
  EXPECT_EQ(0u, word_of(at_compile_time));
}

TEST(mutex, works_with_the_locks_of_the_standard_library) {
  weft::mutex m, n;
  {
    std::lock_guard lock(m);
    EXPECT_EQ(locked, state(m));
  }
  {
    std::unique_lock lock(m, std::defer_lock);
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
    lock.lock();
    EXPECT_EQ(locked, state(m));
  }
  {
    std::scoped_lock lock(m, n);
    EXPECT_EQ(locked, state(m));
    EXPECT_EQ(locked, state(n));
  }
  EXPECT_EQ(0u, word_of(m));
  EXPECT_EQ(0u, word_of(n));
}

TEST(mutex, names_its_holder_while_it_is_held) {
  weft::mutex m;
  m.lock();
  EXPECT_EQ((weft::detail::mutex_holder() >> 32), word_of(m) >> 32);
  m.unlock();
  EXPECT_TRUE(m.try_lock());
  EXPECT_EQ((weft::detail::mutex_holder() >> 32), word_of(m) >> 32);
  m.unlock();
  EXPECT_EQ(0u, word_of(m));
}

TEST(mutex, try_lock_fails_while_it_is_held) {
  weft::mutex m;
  EXPECT_TRUE(m.try_lock());
  EXPECT_FALSE(m.try_lock());
  std::thread([&] { EXPECT_FALSE(m.try_lock()); }).join();
  m.unlock();
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST(mutex, another_goroutine_may_unlock) {
  with_procs(1, [] {
    weft::mutex m;
    m.lock();
    go_now([&] { m.unlock(); });
    EXPECT_EQ(0u, word_of(m));
  });
}

TEST(mutex, unlock_of_an_unlocked_one_throws_with_the_text_of_go) {
  weft::mutex m;
  try {
    m.unlock();
    FAIL() << "nothing was thrown";
  } catch (const weft::unlock_of_unlocked_mutex& e) {
    EXPECT_STREQ("sync: unlock of unlocked mutex", e.what());
  }
  static_assert(std::is_base_of_v<weft::error, weft::unlock_of_unlocked_mutex>);
  EXPECT_EQ(0u, word_of(m));
  m.lock();
  m.unlock();
  EXPECT_THROW(m.unlock(), weft::unlock_of_unlocked_mutex);
}

TEST(mutex, unlock_of_an_unlocked_one_with_waiters_throws_and_loses_none_of_them) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> order;
    m.lock();
    for (int i = 0; i < 2; ++i) {
      go_now([&, i] {
        std::lock_guard lock(m);
        order.push_back(i);
      });
    }
    m.unlock();  // the first is on its way, the second still waits
    EXPECT_EQ(1u, waiters(m));
    EXPECT_THROW(m.unlock(), weft::unlock_of_unlocked_mutex);
    EXPECT_EQ(1u, waiters(m));
    until([&] { return order.size() == 2; });
    EXPECT_EQ((std::vector{0, 1}), order);
    EXPECT_EQ(0u, word_of(m));
  });
}

TEST(mutex, misuse_under_a_lock_guard_terminates) {
  EXPECT_EXIT(
      {
        weft::mutex m;
        std::lock_guard lock(m);
        m.unlock();
      },
      testing::KilledBySignal(SIGABRT), "");
}

TEST(mutex, waiters_get_it_in_the_order_they_came) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> order;
    m.lock();
    for (int i = 0; i < 20; ++i) {
      go_now([&, i] {
        std::lock_guard lock(m);
        order.push_back(i);
      });
      EXPECT_EQ(static_cast<std::uint64_t>(i + 1), waiters(m));
    }
    m.unlock();
    until([&] { return order.size() == 20; });
    for (int i = 0; i < 20; ++i) EXPECT_EQ(i, order[static_cast<std::size_t>(i)]);
    EXPECT_EQ(0u, word_of(m));
  });
}

// A waiter that was woken in vain gives way for a number of turns before it queues again. Where turns are short it is passed
// over in most of them.
void until_queued_again(const weft::mutex& m, std::uint64_t n) {
  std::uint32_t turns = 0;
  for (; turns <= weft::rt::sizes::mutex_turns; ++turns) {
    EXPECT_EQ(n - 1, waiters(m)) << "turn " << turns;
    weft::yield();
  }
  for (; turns <= weft::rt::sizes::mutex_turns * (weft::rt::sizes::passed_over + 1) && waiters(m) != n; ++turns)
    weft::yield();
  EXPECT_EQ(n, waiters(m));
}

TEST(mutex, in_normal_mode_an_arrival_may_barge_past_the_woken_waiter) {
  with_procs(1, [] {
    weft::mutex m;
    bool got = false;
    m.lock();
    go_now([&] {
      std::lock_guard lock(m);
      got = true;
    });
    m.unlock();
    EXPECT_EQ(woken, state(m));
    EXPECT_TRUE(m.try_lock());
    EXPECT_EQ(locked | woken, state(m));
    until_queued_again(m, 1);
    EXPECT_FALSE(got);
    EXPECT_EQ(locked, state(m)) << "woken goes with the waiter that was woken";
    m.unlock();
    weft::yield();
    EXPECT_TRUE(got);
    EXPECT_EQ(0u, word_of(m));
  });
}

TEST(mutex, while_a_woken_waiter_is_on_its_way_no_other_is_woken) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> order;
    m.lock();
    for (int i = 0; i < 2; ++i) {
      go_now([&, i] {
        std::lock_guard lock(m);
        order.push_back(i);
      });
    }
    m.unlock();
    EXPECT_EQ(1u, waiters(m));
    m.lock();
    m.unlock();
    EXPECT_EQ(1u, waiters(m)) << "the second waiter was woken beside the first";
    EXPECT_EQ(woken, state(m));
    until([&] { return order.size() == 2; });
    EXPECT_EQ((std::vector{0, 1}), order);
  });
}

TEST(mutex, a_waiter_that_was_woken_for_nothing_queues_in_front) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> order;
    m.lock();
    for (int i = 0; i < 2; ++i) {
      go_now([&, i] {
        std::lock_guard lock(m);
        order.push_back(i);
      });
    }
    m.unlock();
    m.lock();
    until_queued_again(m, 2);
    m.unlock();
    until([&] { return order.size() == 2; });
    EXPECT_EQ((std::vector{0, 1}), order);
  });
}

// ---- starvation. A waiter's age stands in its sudog; the tests set it rather than wait.

void make_old(const weft::mutex& m) { oldest_waiter(&m).gp->waiting->since = 1; }

// A mutex that the caller holds and whose first waiter starves. The others queue behind it.
struct starved {
  explicit starved(int n) {
    m.lock();
    for (int i = 0; i < n; ++i) {
      go_now([this, i] {
        m.lock();
        order.push_back(i);
        weft::yield();
        m.unlock();
      });
    }
    make_old(m);
    m.unlock();
    m.lock();       // barges
    weft::yield();  // the waiter finds that it has waited for too long
  }
  weft::mutex m;
  std::vector<int> order;
};

TEST(mutex, a_waiter_older_than_a_millisecond_makes_it_starve) {
  with_procs(1, [] {
    starved s(2);
    EXPECT_EQ(locked | starving, state(s.m));
    EXPECT_EQ(2u, waiters(s.m));
    s.m.unlock();
    until([&] { return word_of(s.m) == 0; });
  });
}

TEST(mutex, a_young_waiter_does_not_make_it_starve) {
  with_procs(1, [] {
    weft::mutex m;
    m.lock();
    go_now([&] { std::lock_guard lock(m); });
    // In the future, so that no pause of this process makes it old.
    oldest_waiter(&m).gp->waiting->since = weft::rt::os::now() + std::int64_t{3600} * 1'000'000'000;
    m.unlock();
    m.lock();
    until_queued_again(m, 1);
    EXPECT_EQ(locked, state(m));
    m.unlock();
    until([&] { return word_of(m) == 0; });
  });
}

TEST(mutex, while_waiters_starve_an_unlock_hands_it_over_and_nobody_barges) {
  with_procs(1, [] {
    starved s(2);
    EXPECT_FALSE(s.m.try_lock());
    s.m.unlock();
    // The new owner ran at once, in our slice, and gave way while it holds the mutex.
    EXPECT_EQ((std::vector{0}), s.order);
    EXPECT_NE(0u, state(s.m) & locked);
    EXPECT_FALSE(s.m.try_lock());
    until([&] { return word_of(s.m) == 0; });
    EXPECT_EQ((std::vector{0, 1}), s.order);
  });
}

TEST(mutex, an_arrival_queues_behind_those_who_starve) {
  with_procs(1, [] {
    starved s(1);
    go_now([&] {
      s.m.lock();
      s.order.push_back(7);
      s.m.unlock();
    });
    EXPECT_EQ(2u, waiters(s.m));
    s.m.unlock();
    until([&] { return word_of(s.m) == 0; });
    EXPECT_EQ((std::vector{0, 7}), s.order);
  });
}

TEST(mutex, starvation_ends_with_the_last_waiter) {
  with_procs(1, [] {
    starved s(1);
    s.m.unlock();
    EXPECT_EQ((std::vector{0}), s.order);
    EXPECT_EQ(locked, state(s.m));
    until([&] { return word_of(s.m) == 0; });
  });
}

TEST(mutex, starvation_ends_with_a_waiter_that_has_not_waited_long) {
  with_procs(1, [] {
    starved s(3);
    s.m.unlock();  // to the old one
    EXPECT_EQ(locked | starving, state(s.m));
    oldest_waiter(&s.m).gp->waiting->since = weft::rt::os::now() + std::int64_t{3600} * 1'000'000'000;
    until([&] { return s.order.size() == 2; });
    EXPECT_EQ(locked, state(s.m)) << "handed to a young one, with another still waiting";
    EXPECT_EQ(1u, waiters(s.m));
    until([&] { return word_of(s.m) == 0; });
    EXPECT_EQ((std::vector{0, 1, 2}), s.order);
  });
}

TEST(mutex, one_that_is_handed_over_names_its_new_holder) {
  with_procs(1, [] {
    weft::mutex m;
    std::uint64_t named = 0, own = 1;
    m.lock();
    go_now([&] {
      m.lock();
      named = word_of(m) >> 32;
      own = weft::detail::mutex_holder() >> 32;
      m.unlock();
    });
    make_old(m);
    m.unlock();
    m.lock();
    weft::yield();
    ASSERT_EQ(locked | starving, state(m));
    m.unlock();
    EXPECT_EQ(own, named);
  });
}

// ---- a timeout takes a waiter

TEST(mutex, a_timed_out_waiter_leaves_and_the_next_one_gets_it) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> returned;
    m.lock();
    for (int i = 0; i < 3; ++i) {
      go_now([&, i] {
        m.lock();
        returned.push_back(i);
        if (i != 0) m.unlock();  // the first did not get it
      });
    }
    EXPECT_TRUE(take(oldest_waiter(&m)));
    EXPECT_EQ(2u, waiters(m));
    weft::yield();
    EXPECT_EQ((std::vector{0}), returned);
    m.unlock();
    until([&] { return returned.size() == 3; });
    EXPECT_EQ((std::vector{0, 1, 2}), returned);
    EXPECT_EQ(0u, word_of(m));
  });
}

TEST(mutex, the_last_waiter_to_time_out_takes_starvation_with_it) {
  with_procs(1, [] {
    weft::mutex m;
    m.lock();
    go_now([&] { m.lock(); });
    make_old(m);
    m.unlock();
    m.lock();
    weft::yield();
    ASSERT_EQ(locked | starving, state(m));
    EXPECT_TRUE(take(oldest_waiter(&m)));
    EXPECT_EQ(locked, state(m));
    EXPECT_EQ(0u, waiters(m));
    m.unlock();
    EXPECT_EQ(0u, word_of(m));
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(mutex, a_starving_waiter_that_times_out_leaves_the_hand_over_to_the_next) {
  with_procs(1, [] {
    weft::mutex m;
    std::vector<int> returned;
    m.lock();
    for (int i = 0; i < 2; ++i) {
      go_now([&, i] {
        m.lock();
        returned.push_back(i);
        if (i == 1) m.unlock();
      });
    }
    make_old(m);
    m.unlock();
    m.lock();
    weft::yield();
    ASSERT_EQ(locked | starving, state(m));
    EXPECT_TRUE(take(oldest_waiter(&m)));
    EXPECT_EQ(locked | starving, state(m));
    EXPECT_EQ(1u, waiters(m));
    m.unlock();
    // At once: before the one that timed out has even run.
    EXPECT_EQ(1, returned.front());
    until([&] { return word_of(m) == 0 && returned.size() == 2; });
  });
}

// ---- many at once

TEST(mutex, with_the_door_open_nothing_changes) {
  open_door door;
  weft::mutex m;
  m.lock();
  EXPECT_EQ(locked, state(m));
  EXPECT_FALSE(m.try_lock());
  m.unlock();
  EXPECT_EQ(0u, word_of(m));
  EXPECT_THROW(m.unlock(), weft::unlock_of_unlocked_mutex);
}

TEST(mutex, excludes_goroutines_and_threads_from_each_other) {
  long counter = 0;
  weft::mutex m;
  const auto work = [&](int i) {
    for (int k = 0; k < 1000; ++k) {
      if (i % 2 == 0) {
        m.lock();
      } else if (!m.try_lock()) {
        m.lock();
      }
      counter = counter + 1;
      if (k % 64 == 0) weft::yield();  // so that on few CPUs it is held while others arrive
      m.unlock();
    }
  };
  with_procs(2, [&] {
    std::thread threads[2] = {std::thread(work, 0), std::thread(work, 1)};
    weft::wait_group wg;
    for (int i = 0; i < 4; ++i) wg.go([&, i] { work(i); });
    wg.wait();
    weft::blocking([&] {
      for (std::thread& t : threads) t.join();
    });
  });
  EXPECT_EQ(6000, counter);
  EXPECT_EQ(0u, word_of(m));
}

// The next holder destroys it and writes over it while the unlock before may still be on its way out.
TEST(mutex, can_be_destroyed_when_it_is_free_and_the_last_waiter_has_returned) {
  constexpr std::uint64_t grave = 0x5a5a5a5a5a5a5a5a;
  alignas(weft::mutex) unsigned char memory[sizeof(weft::mutex)];
  for (const bool waiter_is_thread : {false, true}) {
    with_procs(2, [&] {
      for (int i = 0; i < 300; ++i) {
        auto* m = ::new (memory) weft::mutex;
        weft::semaphore done(0);
        m->lock();
        const auto waiter = [&] {
          m->lock();
          m->unlock();
          m->~mutex();
          __atomic_store_n(reinterpret_cast<std::uint64_t*>(memory), grave, __ATOMIC_RELAXED);
          done.release();
        };
        std::thread t;
        if (waiter_is_thread) {
          t = std::thread(waiter);
        } else {
          weft::go(waiter);
        }
        if (i % 2 == 0) until([&] { return waiters(*m) == 1; });
        if (i % 4 == 0) make_old(*m);
        m->unlock();
        done.acquire();
        if (t.joinable()) t.join();
        ASSERT_EQ(grave, __atomic_load_n(reinterpret_cast<std::uint64_t*>(memory), __ATOMIC_RELAXED));
      }
    });
  }
}

}  // namespace
