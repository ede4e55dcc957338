#include "weft/semaphore.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "unit/sync/waiting.hpp"

namespace {

using namespace waiting;
using testing::HasSubstr;

std::uint64_t permits(const weft::semaphore& s) { return word_of(s) & 0xffffffff; }
std::uint64_t waiters(const weft::semaphore& s) { return word_of(s) >> 32; }

constinit weft::semaphore at_compile_time{3};

std::string message_of(auto f) {
  try {
    f();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(semaphore, is_one_word_and_made_at_compile_time) {
  static_assert(sizeof(weft::semaphore) == 8);
  static_assert(weft::semaphore::max() == 0x7fffffff);
  EXPECT_EQ(3u, permits(at_compile_time));
}

TEST(semaphore, permits_are_taken_and_given_without_a_runtime) {
  weft::semaphore s(2);
  s.acquire();
  EXPECT_TRUE(s.try_acquire());
  EXPECT_FALSE(s.try_acquire());
  s.release(2);
  EXPECT_EQ(2u, permits(s));
  s.acquire();
  EXPECT_EQ(1u, permits(s));
}

TEST(semaphore, a_bad_number_of_permits_is_named) {
  EXPECT_THAT(message_of([] { weft::semaphore s(-1); }), HasSubstr("count -1"));
  EXPECT_THAT(message_of([] { weft::semaphore s(std::ptrdiff_t{1} << 31); }), HasSubstr("count 2147483648"));
  weft::semaphore full(weft::semaphore::max());
  EXPECT_EQ(0x7fffffffu, permits(full));
}

TEST(semaphore, a_negative_release_throws_and_changes_nothing) {
  weft::semaphore s(1);
  EXPECT_THAT(message_of([&] { s.release(-5); }), HasSubstr("-5"));
  EXPECT_THROW(s.release(std::numeric_limits<std::ptrdiff_t>::min()), weft::error);
  EXPECT_EQ(1u, word_of(s));
  s.release(0);
  EXPECT_EQ(1u, word_of(s));
}

TEST(semaphore, a_release_beyond_the_maximum_throws_with_the_numbers_and_changes_nothing) {
  weft::semaphore s(weft::semaphore::max() - 2);
  const std::string message = message_of([&] { s.release(3); });
  EXPECT_THAT(message, HasSubstr("release(3)"));
  EXPECT_THAT(message, HasSubstr("2147483645 permits"));
  EXPECT_THAT(message, HasSubstr("2147483647"));
  EXPECT_THROW(s.release(std::numeric_limits<std::ptrdiff_t>::max()), weft::error);
  EXPECT_EQ(0x7ffffffdu, word_of(s));
  s.release(2);
  EXPECT_EQ(0x7fffffffu, word_of(s));
  EXPECT_THROW(s.release(), weft::error);
}

TEST(semaphore, a_release_beyond_the_maximum_throws_also_when_somebody_waits) {
  with_procs(1, [] {
    weft::semaphore s(0);
    bool got = false;
    go_now([&] {
      s.acquire();
      got = true;
    });
    // One goes to the waiter, so max + 1 is just right and max + 2 is not.
    EXPECT_THROW(s.release(weft::semaphore::max() + 2), weft::error);
    EXPECT_EQ(1u, waiters(s));
    weft::yield();
    EXPECT_FALSE(got) << "nothing is released by a release that throws";
    s.release(weft::semaphore::max() + 1);
    weft::yield();
    EXPECT_TRUE(got);
    EXPECT_EQ(0x7fffffffu, word_of(s));
  });
}

TEST(semaphore, waiters_are_served_strictly_in_the_order_they_came) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> order;
    for (int i = 0; i < 6; ++i) {
      go_now([&, i] {
        s.acquire();
        order.push_back(i);
      });
    }
    EXPECT_EQ(6u, waiters(s));
    EXPECT_TRUE(order.empty());
    for (int i = 0; i < 6; ++i) {
      s.release();
      EXPECT_EQ(static_cast<std::uint64_t>(5 - i), waiters(s));
      weft::yield();
      EXPECT_EQ(static_cast<std::size_t>(i + 1), order.size());
    }
    EXPECT_EQ((std::vector{0, 1, 2, 3, 4, 5}), order);
    EXPECT_EQ(0u, word_of(s));
  });
}

TEST(semaphore, a_released_permit_belongs_to_the_waiter_at_once) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> order;
    go_now([&] {
      s.acquire();
      order.push_back(1);
    });
    s.release();
    // The waiter has not run yet; nobody can take what is its.
    EXPECT_EQ(0u, word_of(s));
    EXPECT_FALSE(s.try_acquire());
    s.release();
    s.acquire();
    order.push_back(2);
    weft::yield();
    EXPECT_EQ((std::vector{2, 1}), order);
  });
}

TEST(semaphore, who_comes_after_a_waiter_queues_behind_it) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> order;
    for (int i = 0; i < 2; ++i) {
      go_now([&, i] {
        s.acquire();
        order.push_back(i);
      });
    }
    EXPECT_FALSE(s.try_acquire());
    s.release();
    EXPECT_FALSE(s.try_acquire()) << "the second one still waits";
    weft::yield();
    s.release();
    weft::yield();
    EXPECT_EQ((std::vector{0, 1}), order);
  });
}

TEST(semaphore, release_of_several_serves_as_many_waiters_and_keeps_the_rest) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) {
      go_now([&, i] {
        s.acquire();
        order.push_back(i);
      });
    }
    s.release(3);
    EXPECT_EQ(2u, waiters(s));
    EXPECT_EQ(0u, permits(s));
    until([&] { return order.size() == 3; });
    EXPECT_EQ((std::set<int>{0, 1, 2}), std::set<int>(order.begin(), order.end()));
    s.release(6);
    EXPECT_EQ(0u, waiters(s));
    EXPECT_EQ(4u, permits(s));
    until([&] { return order.size() == 5; });
  });
}

TEST(semaphore, goroutines_and_plain_threads_stand_in_one_line) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::atomic<int> served{0};
    int place[4] = {};
    const auto body = [&](int i) {
      s.acquire();
      place[i] = ++served;
    };
    std::thread first([&] { body(0); });
    until([&] { return waiters(s) == 1; });
    go_now([&] { body(1); });
    EXPECT_EQ(2u, waiters(s));
    std::thread third([&] { body(2); });
    until([&] { return waiters(s) == 3; });
    go_now([&] { body(3); });
    for (int i = 1; i <= 4; ++i) {
      s.release();
      until([&] { return served.load() == i; });
    }
    first.join();
    third.join();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(i + 1, place[i]);
  });
}

TEST(semaphore, a_plain_thread_releases_a_goroutine) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::thread t([&] {
      until([&] { return waiters(s) == 1; });
      s.release();
    });
    s.acquire();
    t.join();
    EXPECT_EQ(0u, word_of(s));
  });
}

TEST(semaphore, with_the_door_open_nothing_changes) {
  with_procs(1, [] {
    open_door door;
    weft::semaphore s(1);
    s.acquire();
    EXPECT_EQ(0u, word_of(s));
    bool got = false;
    go_now([&] {
      s.acquire();
      got = true;
    });
    EXPECT_EQ(1u, waiters(s));
    s.release();
    weft::yield();
    EXPECT_TRUE(got);
  });
}

TEST(semaphore, as_a_lock_it_excludes_goroutines_and_threads_from_each_other) {
  long counter = 0;
  weft::semaphore s(1);
  const auto work = [&] {
    for (int i = 0; i < 500; ++i) {
      s.acquire();
      counter = counter + 1;
      s.release();
    }
  };
  with_procs(2, [&] {
    std::thread threads[2] = {std::thread(work), std::thread(work)};
    weft::wait_group wg;
    for (int i = 0; i < 4; ++i) wg.go(work);
    wg.wait();
    // Joined outside the Ps: a thread may need the permit of nobody any more, but it may still be running.
    weft::blocking([&] {
      for (std::thread& t : threads) t.join();
    });
  });
  EXPECT_EQ(3000, counter);
  EXPECT_EQ(1u, word_of(s));
}

// The waiter destroys the semaphore while release() may still be on its way out, and writes over it.
TEST(semaphore, can_be_destroyed_when_the_last_waiter_has_returned) {
  constexpr std::uint64_t grave = 0x5a5a5a5a5a5a5a5a;
  constexpr int rounds = 300;
  alignas(weft::semaphore) unsigned char memory[sizeof(weft::semaphore)];
  for (const bool waiter_is_thread : {false, true}) {
    with_procs(2, [&] {
      for (int i = 0; i < rounds; ++i) {
        auto* s = ::new (memory) weft::semaphore(0);
        weft::semaphore done(0);
        const auto waiter = [&] {
          s->acquire();
          s->~semaphore();
          __atomic_store_n(reinterpret_cast<std::uint64_t*>(memory), grave, __ATOMIC_RELAXED);
          done.release();
        };
        std::thread t;
        if (waiter_is_thread) {
          t = std::thread(waiter);
        } else {
          weft::go(waiter);
        }
        if (i % 2 == 0) until([&] { return waiters(*s) == 1; });
        s->release();
        done.acquire();
        if (t.joinable()) t.join();
        ASSERT_EQ(grave, __atomic_load_n(reinterpret_cast<std::uint64_t*>(memory), __ATOMIC_RELAXED));
      }
    });
  }
}

// ---- a timeout takes a waiter

TEST(semaphore, a_timed_out_waiter_leaves_and_the_next_one_is_served) {
  with_procs(1, [] {
    weft::semaphore s(0);
    std::vector<int> returned;
    for (int i = 0; i < 3; ++i) {
      go_now([&, i] {
        s.acquire();
        returned.push_back(i);
      });
    }
    EXPECT_TRUE(take(oldest_waiter(&s)));
    EXPECT_EQ(2u, waiters(s));
    weft::yield();
    EXPECT_EQ((std::vector{0}), returned);
    s.release();
    weft::yield();
    EXPECT_EQ((std::vector{0, 1}), returned);
    s.release();
    weft::yield();
    EXPECT_EQ((std::vector{0, 1, 2}), returned);
    EXPECT_EQ(0u, word_of(s));
  });
}

TEST(semaphore, the_last_waiter_to_time_out_leaves_a_semaphore_as_new) {
  with_procs(1, [] {
    weft::semaphore s(0);
    go_now([&] { s.acquire(); });
    EXPECT_TRUE(take(oldest_waiter(&s)));
    EXPECT_EQ(0u, word_of(s));
    s.release();
    EXPECT_TRUE(s.try_acquire());
    weft::yield();
  });
}

TEST(semaphore, a_plain_thread_can_be_timed_out) {
  weft::semaphore s(0);
  std::thread t([&] { s.acquire(); });
  wait_id w;
  until([&] { return (w = oldest_waiter(&s)).gp != nullptr; });
  until([&] { return take(w); });  // it may have queued and not yet fallen asleep
  t.join();
  EXPECT_EQ(0u, word_of(s));
  EXPECT_FALSE(take(w));
}

}  // namespace
