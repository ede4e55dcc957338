// weft::recursive_mutex: std's contract. Go has none on purpose; what is asked here is whose it is: a goroutine's, wherever it
// runs, and not its thread's.
#include "weft/recursive_mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

constinit recursive_mutex made_at_compile_time;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

template <class F>
std::string misuse(F f) {
  try {
    f();
  } catch (const unlock_of_unlocked_mutex& e) {
    return e.what();
  }
  return "nothing thrown";
}

constexpr const char* not_mine = "sync: unlock of unlocked mutex: the caller does not hold the recursive_mutex";

TEST(recursive_mutex, its_holder_may_lock_it_again_and_others_wait_for_the_last_unlock) {
  everywhere([] {
    constexpr int depth = 5;
    recursive_mutex m;
    m.lock();
    for (int i = 1; i < depth; ++i) {
      if (i % 2 == 0) {
        m.lock();
      } else {
        EXPECT_TRUE(m.try_lock());
      }
    }
    std::atomic<bool> inside{false};
    wait_group all;
    test::watched other;
    all.go([&] {
      EXPECT_FALSE(m.try_lock());
      other.here();
      m.lock();
      inside = true;
      m.unlock();
    });
    test::yield_until([&] { return other.waits(); });
    for (int i = 0; i < depth; ++i) {
      EXPECT_FALSE(inside.load()) << "in after " << i << " of " << depth << " unlocks";
      m.unlock();
    }
    all.wait();
    EXPECT_TRUE(inside.load());
  });
  made_at_compile_time.lock();
  made_at_compile_time.lock();
  made_at_compile_time.unlock();
  made_at_compile_time.unlock();
}

// A goroutine that has waited may go on on another thread, and the thread that it was on runs another goroutine.
TEST(recursive_mutex, belongs_to_the_goroutine_and_not_to_its_thread) {
  everywhere([] {
    recursive_mutex m;
    int inside = 0;  // plain: a second holder would be a race
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&] {
        for (int round = 0; round < 3; ++round) {
          const std::lock_guard outer(m);
          EXPECT_EQ(++inside, 1);
          yield();
          {
            const std::lock_guard inner(m);
            yield();
            EXPECT_EQ(inside, 1) << "another one is inside";
          }
          yield();
          --inside;
        }
      });
    }
    all.wait();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(recursive_mutex, excludes_goroutines_and_plain_threads) {
  test::for_each_case(
      [](const run_case&) {
        const int rounds = test::scaled(500);
        recursive_mutex m;
        long plain = 0;
        const auto hammer = [&] {
          for (int i = 0; i < rounds; ++i) {
            const std::lock_guard outer(m);
            const std::lock_guard inner(m);
            ++plain;
          }
        };
        wait_group all;
        std::thread a(hammer), b(hammer);
        for (int i = 0; i < 6; ++i) all.go(hammer);
        all.wait();
        blocking([&] {
          a.join();
          b.join();
        });
        EXPECT_EQ(plain, 8L * rounds);
      },
      several_ps);
}

TEST(recursive_mutex, nobody_but_its_holder_may_unlock_it) {
  everywhere([] {
    recursive_mutex m;
    EXPECT_EQ(misuse([&] { m.unlock(); }), not_mine);
    m.lock();
    wait_group all;
    all.go([&] { EXPECT_EQ(misuse([&] { m.unlock(); }), not_mine); });
    all.wait();
    m.unlock();
    EXPECT_EQ(misuse([&] { m.unlock(); }), not_mine) << "once too often";
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
  test::for_each_case(
      [](const run_case&) {
        recursive_mutex m;
        m.lock();
        std::thread other([&] { EXPECT_EQ(misuse([&] { m.unlock(); }), not_mine); });
        blocking([&] { other.join(); });
        m.unlock();
      },
      several_ps);
}

// A goroutine's number is never used again: one that ended with it locked is not mistaken for one that came later.
TEST(recursive_mutex, one_that_was_left_locked_is_nobodys) {
  everywhere([] {
    recursive_mutex m;
    wait_group all;
    all.go([&] { m.lock(); });
    all.wait();
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        EXPECT_FALSE(m.try_lock());
        EXPECT_EQ(misuse([&] { m.unlock(); }), not_mine);
      });
      all.wait();
    }
  });
}

TEST(recursive_mutex, works_with_the_locks_of_std) {
  everywhere([] {
    recursive_mutex a;
    mutex b;
    const std::scoped_lock hold(a, b);
    const std::unique_lock again(a, std::try_to_lock);
    EXPECT_TRUE(again.owns_lock());
  });
}

}  // namespace
