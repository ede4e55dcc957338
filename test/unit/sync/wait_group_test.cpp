#include "weft/wait_group.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "unit/sync/waiting.hpp"

namespace {

using namespace waiting;
using testing::HasSubstr;

std::uint64_t count(const weft::wait_group& wg) { return word_of(wg) >> 32; }
std::uint64_t waiters(const weft::wait_group& wg) { return word_of(wg) & 0xffffffff; }

template <class E>
std::string message_of(auto f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

constinit weft::wait_group at_compile_time;

TEST(wait_group, is_one_word_and_made_at_compile_time) {
  static_assert(sizeof(weft::wait_group) == 8);
  EXPECT_EQ(0u, word_of(at_compile_time));
}

TEST(wait_group, at_zero_nobody_waits) {
  weft::wait_group wg;
  wg.wait();
  wg.add(2);
  wg.done();
  wg.add(-1);
  wg.wait();
  EXPECT_EQ(0u, word_of(wg));
}

TEST(wait_group, a_negative_counter_throws_with_the_text_of_go_and_changes_nothing) {
  weft::wait_group wg;
  EXPECT_EQ("sync: negative WaitGroup counter", message_of<weft::negative_counter>([&] { wg.done(); }));
  EXPECT_EQ(0u, word_of(wg));
  wg.add(2);
  EXPECT_THROW(wg.add(-3), weft::negative_counter);
  EXPECT_THROW(wg.add(std::numeric_limits<std::ptrdiff_t>::min()), weft::negative_counter);
  EXPECT_EQ(2u, count(wg));
  wg.add(-2);
}

TEST(wait_group, a_counter_beyond_the_maximum_throws_with_its_value_and_changes_nothing) {
  weft::wait_group wg;
  wg.add(0x7fffffff);
  EXPECT_THAT(message_of<weft::error>([&] { wg.add(1); }), HasSubstr("2147483648"));
  EXPECT_EQ(0x7fffffffu, count(wg));
  wg.add(-0x7fffffff);
  EXPECT_EQ(0u, word_of(wg));
}

TEST(wait_group, add_of_nothing_is_nothing) {
  weft::wait_group wg;
  wg.add(0);
  EXPECT_EQ(0u, word_of(wg));
}

TEST(wait_group, every_waiter_is_released_by_the_last_done_and_none_before) {
  with_procs(1, [] {
    weft::wait_group wg;
    std::vector<int> returned;
    wg.add(2);
    for (int i = 0; i < 4; ++i) {
      go_now([&, i] {
        wg.wait();
        returned.push_back(i);
      });
    }
    EXPECT_EQ(4u, waiters(wg));
    wg.done();
    weft::yield();
    EXPECT_TRUE(returned.empty());
    wg.done();
    EXPECT_EQ(0u, word_of(wg));
    until([&] { return returned.size() == 4; });
  });
}

TEST(wait_group, goroutines_and_plain_threads_wait_together) {
  with_procs(1, [] {
    weft::wait_group wg;
    std::atomic<int> returned{0};
    wg.add(1);
    std::thread t([&] {
      wg.wait();
      ++returned;
    });
    go_now([&] {
      wg.wait();
      ++returned;
    });
    until([&] { return waiters(wg) == 2; });
    std::thread last([&] { wg.done(); });
    until([&] { return returned == 2; });
    t.join();
    last.join();
  });
}

TEST(wait_group, can_be_used_again_when_all_waits_have_returned) {
  with_procs(1, [] {
    weft::wait_group wg;
    for (int round = 0; round < 10; ++round) {
      int ran = 0;
      for (int i = 0; i < 3; ++i) wg.go([&] { ++ran; });
      wg.wait();
      ASSERT_EQ(3, ran);
      ASSERT_EQ(0u, word_of(wg));
    }
  });
}

TEST(wait_group, reuse_before_a_wait_has_returned_throws_there) {
  with_procs(1, [] {
    weft::wait_group wg;
    std::string message;
    wg.add(1);
    go_now([&] { message = message_of<weft::wait_group_misuse>([&] { wg.wait(); }); });
    wg.done();
    wg.add(1);  // the waiter is released and has not run yet
    until([&] { return !message.empty(); });
    EXPECT_EQ("sync: WaitGroup is reused before previous Wait has returned", message);
    wg.done();
  });
}

// The moment between the counter's zero and the release of the waiters, held open with the bucket's lock.
TEST(wait_group, add_while_the_waiters_are_being_released_throws_with_the_text_of_go) {
  weft::wait_group wg;
  wg.add(1);
  std::thread waiter([&] { wg.wait(); });
  until([&] { return oldest_waiter(&wg).gp != nullptr; });
  weft::rt::sema_bucket& b = weft::rt::the_process.semas.bucket(&wg);
  b.lock.lock();
  std::thread last([&] { wg.done(); });
  while (count(wg) != 0) std::this_thread::yield();
  EXPECT_EQ("sync: WaitGroup misuse: Add called concurrently with Wait",
            message_of<weft::wait_group_misuse>([&] { wg.add(1); }));
  EXPECT_THROW(wg.done(), weft::negative_counter);
  b.lock.unlock();
  last.join();
  waiter.join();
  EXPECT_EQ(0u, word_of(wg));
}

TEST(wait_group, go_counts_a_goroutine_from_before_it_runs_until_after_it_ended) {
  with_procs(1, [] {
    weft::wait_group wg;
    bool ran = false;
    auto owned = std::make_unique<int>(5);
    wg.go([&, owned = std::move(owned)] { ran = *owned == 5; });
    EXPECT_EQ(1u, count(wg));
    EXPECT_FALSE(ran);
    wg.wait();
    EXPECT_TRUE(ran);
  });
}

TEST(wait_group, what_a_goroutine_did_is_visible_after_the_wait) {
  with_procs(2, [] {
    for (int round = 0; round < 200; ++round) {
      weft::wait_group wg;
      int value[4] = {};
      for (int i = 0; i < 4; ++i) wg.go([&, i] { value[i] = i + 1; });
      wg.wait();
      for (int i = 0; i < 4; ++i) ASSERT_EQ(i + 1, value[i]);
    }
  });
}

TEST(wait_group, the_callable_is_destroyed_before_the_wait_returns) {
  with_procs(1, [] {
    weft::wait_group wg;
    auto counted = std::make_shared<int>(0);
    wg.go([counted] { ++*counted; });
    wg.wait();
    EXPECT_EQ(1, *counted);
    EXPECT_EQ(1, counted.use_count());
  });
}

struct throws_when_moved {
  explicit throws_when_moved(int* moves_left) : left(moves_left) {}
  throws_when_moved(const throws_when_moved& other) : left(other.left) {
    if ((*left)-- == 0) throw 7;
  }
  void operator()() const {}
  int* left;
};

TEST(wait_group, a_goroutine_that_cannot_be_started_is_not_counted) {
  with_procs(1, [] {
    weft::wait_group wg;
    for (int moves = 0; moves < 2; ++moves) {
      int left = moves;
      EXPECT_THROW(wg.go(throws_when_moved(&left)), int);
      EXPECT_EQ(0u, word_of(wg));
      EXPECT_EQ(1, weft::num_goroutine());
    }
    wg.wait();
  });
  weft::wait_group wg;
  EXPECT_THROW(wg.go([] {}), weft::error) << "outside a runtime";
  EXPECT_EQ(0u, word_of(wg));
}

TEST(wait_group, go_of_nothing_throws_and_counts_nothing) {
  with_procs(1, [] {
    weft::wait_group wg;
    EXPECT_EQ("go of nil func value", message_of<weft::error>([&] { wg.go(std::function<void()>{}); }));
    void (*none)() = nullptr;
    EXPECT_EQ("go of nil func value", message_of<weft::error>([&] { wg.go(none); }));
    EXPECT_EQ(0u, word_of(wg));
  });
}

// The waiter destroys it and writes over it while the last done() may still be on its way out.
TEST(wait_group, can_be_destroyed_when_the_last_waiter_has_returned) {
  constexpr std::uint64_t grave = 0x5a5a5a5a5a5a5a5a;
  alignas(weft::wait_group) unsigned char memory[sizeof(weft::wait_group)];
  with_procs(2, [&] {
    for (int i = 0; i < 500; ++i) {
      auto* wg = ::new (memory) weft::wait_group;
      wg->add(1);
      weft::semaphore out(0);
      weft::go([&, wg] {
        if (i % 2 == 0) until([&] { return waiters(*wg) == 1; });
        wg->done();
        out.release();
      });
      wg->wait();
      wg->~wait_group();
      __atomic_store_n(reinterpret_cast<std::uint64_t*>(memory), grave, __ATOMIC_RELAXED);
      out.acquire();
      ASSERT_EQ(grave, __atomic_load_n(reinterpret_cast<std::uint64_t*>(memory), __ATOMIC_RELAXED));
    }
  });
}

// ---- a timeout takes a waiter

TEST(wait_group, a_timed_out_waiter_leaves_and_the_others_are_released) {
  with_procs(1, [] {
    weft::wait_group wg;
    std::vector<int> returned;
    wg.add(1);
    for (int i = 0; i < 3; ++i) {
      go_now([&, i] {
        wg.wait();
        returned.push_back(i);
      });
    }
    EXPECT_TRUE(take(oldest_waiter(&wg)));
    EXPECT_EQ(2u, waiters(wg));
    EXPECT_EQ(1u, count(wg));
    weft::yield();
    EXPECT_EQ((std::vector{0}), returned);
    wg.done();
    until([&] { return returned.size() == 3; });
    EXPECT_EQ(0u, word_of(wg));
  });
}

TEST(wait_group, after_the_last_waiter_has_timed_out_the_counter_goes_on) {
  with_procs(1, [] {
    weft::wait_group wg;
    wg.add(1);
    go_now([&] { wg.wait(); });
    EXPECT_TRUE(take(oldest_waiter(&wg)));
    EXPECT_EQ(0u, waiters(wg));
    wg.add(1);
    wg.done();
    wg.done();
    wg.wait();
    EXPECT_EQ(0u, word_of(wg));
  });
}

// The last done() has made the counter zero and has not released anybody yet; the only waiter times out, and a new
// round begins with a waiter of its own. That one waits for the new round, not for the old.
TEST(wait_group, the_waiter_of_a_new_round_is_not_released_by_the_old_one) {
  using namespace weft::rt;
  weft::wait_group wg;
  wg.add(1);
  std::thread old_waiter([&] { wg.wait(); });
  wait_id w;
  until([&] { return (w = oldest_waiter(&wg)).gp != nullptr; });
  sema_bucket& b = the_process.semas.bucket(&wg);
  sudog mine;
  g* proxy = proxy_get();
  b.lock.lock();
  std::thread last([&] { wg.done(); });
  while (count(wg) != 0) std::this_thread::yield();
  // What take_waiter does under the bucket's lock, which this thread holds already.
  sudog* sg = b.front(&wg);
  glist others;
  b.remove(sg);
  sg->result = wait_result::timed_out;
  sg->on_taken(sg, others);
  g* timed_out = sg->gp;
  // The new round, with one waiter, as wait() queues it.
  wg.add(1);
  __atomic_fetch_add(reinterpret_cast<std::uint64_t*>(&wg), 1, __ATOMIC_ACQ_REL);
  mine.gp = proxy;
  mine.addr = &wg;
  mine.on_taken = sg->on_taken;
  proxy->status.set(status::running, status::waiting);
  b.push_back(&mine, 1);
  b.lock.unlock();
  ready(nullptr, timed_out);
  last.join();
  old_waiter.join();
  EXPECT_TRUE(mine.queued) << "released although the counter is one";
  EXPECT_EQ(1u, count(wg));
  EXPECT_EQ(1u, waiters(wg));
  wg.done();
  EXPECT_EQ(wait_result::handed, mine.result);
  EXPECT_EQ(status::runnable, proxy->status.get());
  proxy->status.set(status::runnable, status::running);
  proxy_put(proxy);
}

}  // namespace
