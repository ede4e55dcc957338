// take_waiter: the third kind of taker, on whatever somebody waits on (sched/park.hpp).
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "unit/sync/waiting.hpp"

namespace {

using namespace waiting;

TEST(take_waiter, refuses_a_wait_that_is_over) {
  with_procs(1, [] {
    weft::semaphore s(0);
    wait_id first;
    int returned = 0;
    go_now([&] {
      s.acquire();
      ++returned;
      s.acquire();
      ++returned;
    });
    first = oldest_waiter(&s);
    s.release();
    EXPECT_FALSE(take(first)) << "it is runnable";
    weft::yield();
    EXPECT_EQ(1, returned);
    // It waits again, on the same semaphore, in the same frame: only the number of the wait tells them apart.
    const wait_id second = oldest_waiter(&s);
    EXPECT_EQ(first.gp, second.gp);
    EXPECT_FALSE(take(first));
    EXPECT_EQ(1, returned);
    EXPECT_TRUE(take(second));
    weft::yield();
    EXPECT_EQ(2, returned);
    EXPECT_FALSE(take(second)) << "it is dead";
  });
}

TEST(take_waiter, refuses_another_goroutine_in_the_same_g) {
  with_procs(1, [] {
    weft::semaphore s(0);
    go_now([&] { s.acquire(); });
    const wait_id w = oldest_waiter(&s);
    EXPECT_FALSE(take({w.gp, w.goid + 1, w.seq}));
    EXPECT_FALSE(take({w.gp, w.goid, w.seq + 1}));
    EXPECT_FALSE(take({w.gp, w.goid, w.seq - 1}));
    EXPECT_EQ(weft::rt::status::waiting, w.gp->status.get()) << "a refusal leaves no lock behind";
    EXPECT_TRUE(take(w));
    weft::yield();
  });
}

TEST(take_waiter, refuses_a_goroutine_that_does_not_wait) {
  with_procs(1, [] {
    weft::rt::g* self = weft::rt::getg();
    EXPECT_FALSE(take({self, self->goid, self->wait_seq}));
  });
}

TEST(take_waiter, takes_a_waiter_once) {
  with_procs(1, [] {
    weft::semaphore s(0);
    go_now([&] { s.acquire(); });
    const wait_id w = oldest_waiter(&s);
    EXPECT_TRUE(take(w));
    EXPECT_FALSE(take(w));
    weft::yield();
    EXPECT_FALSE(take(w));
  });
}

TEST(take_waiter, from_a_plain_thread_readies_the_goroutine_in_its_own_runtime) {
  with_procs(1, [] {
    weft::semaphore s(0);
    bool returned = false;
    go_now([&] {
      s.acquire();
      returned = true;
    });
    const wait_id w = oldest_waiter(&s);
    std::thread([&] { EXPECT_TRUE(take(w)); }).join();
    until([&] { return returned; });
  });
}

struct start_line {
  explicit start_line(int n) : left(n) {}
  void cross() {
    left.fetch_sub(1);
    while (left.load() > 0) std::this_thread::yield();
  }
  std::atomic<int> left;
};

TEST(take_waiter, of_two_takers_at_once_exactly_one_wins) {
  for (int round = 0; round < 200; ++round) {
    weft::semaphore s(0);
    std::thread waiter([&] { s.acquire(); });
    wait_id w;
    until([&] { return (w = oldest_waiter(&s)).gp != nullptr; });
    while (w.gp->status.get() != weft::rt::status::waiting) std::this_thread::yield();
    start_line line(2);
    std::atomic<int> wins{0};
    const auto body = [&] {
      line.cross();
      if (take(w)) ++wins;
    };
    std::thread a(body), b(body);
    a.join();
    b.join();
    waiter.join();
    ASSERT_EQ(1, wins.load());
    ASSERT_EQ(0u, word_of(s));
  }
}

// The permit goes to the waiter, or it stays; it is never lost and never there twice.
TEST(take_waiter, against_a_release_either_the_permit_or_the_timeout_arrives) {
  for (int round = 0; round < 300; ++round) {
    weft::semaphore s(0);
    std::thread waiter([&] { s.acquire(); });
    wait_id w;
    until([&] { return (w = oldest_waiter(&s)).gp != nullptr; });
    while (w.gp->status.get() != weft::rt::status::waiting) std::this_thread::yield();
    start_line line(2);
    bool taken = false;
    std::thread timeout([&] {
      line.cross();
      taken = take(w);
    });
    line.cross();
    s.release();
    timeout.join();
    waiter.join();
    ASSERT_EQ(taken ? 1u : 0u, word_of(s));
  }
}

TEST(take_waiter, against_a_release_to_a_goroutine_either_the_permit_or_the_timeout_arrives) {
  with_procs(2, [] {
    for (int round = 0; round < 300; ++round) {
      weft::semaphore s(0), returned(0);
      weft::go([&] {
        s.acquire();
        returned.release();
      });
      wait_id w;
      until([&] { return (w = oldest_waiter(&s)).gp != nullptr; });
      until([&] { return w.gp->status.get() == weft::rt::status::waiting; });
      std::atomic<int> taken{-1};
      std::thread timeout([&] { taken = take(w) ? 1 : 0; });
      s.release();
      returned.acquire();
      timeout.join();
      ASSERT_EQ(static_cast<std::uint64_t>(taken.load()), word_of(s));
    }
  });
}

// Somebody who only looks (a dump, a taker with an old number) has the status locked for a moment. A timeout that
// comes in that moment must not be lost: nobody would repeat it.
TEST(take_waiter, is_not_lost_while_another_has_the_status_locked) {
  weft::semaphore s(0);
  std::thread waiter([&] { s.acquire(); });
  wait_id w;
  until([&] { return (w = oldest_waiter(&s)).gp != nullptr; });
  while (!w.gp->status.try_lock_waiting()) std::this_thread::yield();
  std::atomic<bool> started{false};
  std::atomic<bool> over{false};
  bool taken = false;
  std::thread timeout([&] {
    started = true;
    taken = take(w);
    over = true;
  });
  while (!started) std::this_thread::yield();
  for (int i = 0; i < 1000 && !over; ++i) std::this_thread::yield();
  w.gp->status.unlock_waiting();
  timeout.join();
  EXPECT_TRUE(taken);
  if (!taken) s.release();
  waiter.join();
}

}  // namespace
