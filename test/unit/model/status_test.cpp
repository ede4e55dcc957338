#include "model/status.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/atomic.hpp"
#include "os/sys.hpp"

namespace {

using namespace weft::rt;

constexpr status all_states[] = {status::idle,     status::runnable, status::running,
                                 status::detached, status::waiting,  status::dead};

// A word in a given state, reached by storing: the transitions themselves are what is tested.
struct door {
  explicit door(status s, bool locked = false) {
    word.futex()->store(static_cast<std::uint32_t>(s) | (locked ? status_scan : 0), relaxed);
  }
  status_word word;
};

TEST(status, the_numbers_are_those_of_go) {
  EXPECT_EQ(0u, static_cast<std::uint32_t>(status::idle));
  EXPECT_EQ(1u, static_cast<std::uint32_t>(status::runnable));
  EXPECT_EQ(2u, static_cast<std::uint32_t>(status::running));
  EXPECT_EQ(3u, static_cast<std::uint32_t>(status::detached));
  EXPECT_EQ(4u, static_cast<std::uint32_t>(status::waiting));
  EXPECT_EQ(6u, static_cast<std::uint32_t>(status::dead));
  EXPECT_EQ(0x1000u, status_scan);
  EXPECT_EQ(status::idle, status_word{}.get());
}

TEST(status, a_life_passes_every_door) {
  status_word w;
  w.born();
  EXPECT_EQ(status::runnable, w.get());
  w.set(status::runnable, status::running);
  w.set(status::running, status::runnable);  // yield
  w.set(status::runnable, status::running);
  w.set(status::running, status::waiting);
  w.wake();
  EXPECT_EQ(status::runnable, w.get());
  w.set(status::runnable, status::running);
  w.set(status::running, status::detached);
  w.set(status::detached, status::runnable);
  w.set(status::runnable, status::running);
  w.set(status::running, status::dead);
  EXPECT_EQ(status::dead, w.get());
  w.born();
  EXPECT_EQ(status::runnable, w.get());
}

TEST(status, a_transition_from_another_state_than_the_real_one_is_fatal) {
  for (const status from : all_states) {
    for (const status real : all_states) {
      if (from == real) continue;
      EXPECT_EXIT(door(real).word.set(from, status::running), testing::ExitedWithCode(2), "bad goroutine status");
    }
  }
}

TEST(status, the_fatal_text_names_what_was_wanted_and_what_was_found) {
  // running -> waiting wanted (2, 4), runnable found.
  EXPECT_EXIT(door(status::runnable).word.set(status::running, status::waiting), testing::ExitedWithCode(2),
              "fatal error: sched: bad goroutine status .*\\(0x204, 0x1\\)");
}

TEST(status, only_an_idle_or_dead_one_is_born) {
  for (const status real : all_states) {
    if (real == status::idle || real == status::dead) {
      door d(real);
      d.word.born();
      EXPECT_EQ(status::runnable, d.word.get());
    } else {
      EXPECT_EXIT(door(real).word.born(), testing::ExitedWithCode(2), "bad goroutine status");
    }
  }
}

// A second wake of one park would put one goroutine into two queues.
TEST(status, only_a_waiting_one_is_woken) {
  for (const status real : all_states) {
    if (real == status::waiting) continue;
    EXPECT_EXIT(door(real).word.wake(), testing::ExitedWithCode(2), "bad goroutine status");
  }
}

TEST(status, only_a_waiting_one_can_be_locked) {
  for (const status real : all_states) {
    door d(real);
    EXPECT_EQ(real == status::waiting, d.word.try_lock_waiting());
    EXPECT_EQ(real, d.word.get()) << "the lock is no state of its own";
  }
}

TEST(status, lock_waiting_refuses_what_does_not_wait) {
  for (const status real : all_states) {
    door d(real);
    EXPECT_EQ(real == status::waiting, d.word.lock_waiting());
    EXPECT_EQ(real, d.word.get());
  }
}

TEST(status, a_locked_one_cannot_be_locked_again) {
  door d(status::waiting);
  ASSERT_TRUE(d.word.try_lock_waiting());
  EXPECT_FALSE(d.word.try_lock_waiting());
  d.word.unlock_waiting();
  EXPECT_TRUE(d.word.try_lock_waiting());
}

TEST(status, unlocking_what_is_not_locked_is_fatal) {
  for (const status real : all_states) {
    EXPECT_EXIT(door(real).word.unlock_waiting(), testing::ExitedWithCode(2), "bad goroutine status");
  }
}

TEST(status, an_owners_transition_of_a_locked_state_is_fatal) {
  EXPECT_EXIT(door(status::waiting, true).word.set(status::waiting, status::running), testing::ExitedWithCode(2),
              "bad goroutine status");
  EXPECT_EXIT(door(status::runnable, true).word.wake(), testing::ExitedWithCode(2), "bad goroutine status");
}

struct waker {
  door d{status::waiting};
  atomic<bool> started{false};
  atomic<bool> unlocked{false};
  bool woke_before_unlock = false;
};

TEST(status, a_wake_waits_while_the_state_is_locked) {
  for (int round = 0; round < 20; ++round) {
    waker w;
    ASSERT_TRUE(w.d.word.try_lock_waiting());
    os::thread t;
    ASSERT_EQ(0, os::thread_start(
                     &t,
                     [](void* p) {
                       waker& mine = *static_cast<waker*>(p);
                       mine.started.store(true, release);
                       mine.d.word.wake();
                       mine.woke_before_unlock = !mine.unlocked.load(acquire);
                     },
                     &w));
    while (!w.started.load(acquire)) os::yield_thread();
    for (int i = 0; i < 50; ++i) os::yield_thread();
    EXPECT_EQ(status::waiting, w.d.word.get());
    w.unlocked.store(true, release);
    w.d.word.unlock_waiting();
    os::thread_join(t);
    EXPECT_FALSE(w.woke_before_unlock);
    EXPECT_EQ(status::runnable, w.d.word.get());
  }
}

// Lockers and the one waker at once: the wake is never lost and never seen under a lock.
struct crowd {
  status_word word;
  atomic<bool> over{false};
  atomic<int> locks{0};
  atomic<int> broken{0};
};

TEST(status, a_lock_keeps_a_waiting_one_waiting_under_contention) {
  crowd c;
  c.word.born();
  c.word.set(status::runnable, status::running);
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* p) {
                     crowd& mine = *static_cast<crowd*>(p);
                     while (!mine.over.load(relaxed)) {
                       if (!mine.word.try_lock_waiting()) {
                         os::pause();
                         continue;
                       }
                       for (int i = 0; i < 3; ++i) {
                         if (mine.word.get() != status::waiting) mine.broken.fetch_add(1, relaxed);
                         os::pause();
                       }
                       mine.locks.fetch_add(1, relaxed);
                       mine.word.unlock_waiting();
                     }
                   },
                   &c));
  // Enough locks, or so many rounds that the other thread has had its chance.
  for (int round = 0; c.locks.load(relaxed) < 2000 && round < 2'000'000; ++round) {
    c.word.set(status::running, status::waiting);
    c.word.wake();
    c.word.set(status::runnable, status::running);
  }
  c.over.store(true, relaxed);
  os::thread_join(t);
  EXPECT_EQ(0, c.broken.load(relaxed));
}

}  // namespace
