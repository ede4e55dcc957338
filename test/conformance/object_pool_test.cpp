// weft::object_pool: Go's Pool tests (Pool, New, GC, Stress), restated; trim() is what a garbage collection is in Go.
#include "weft/object_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

// Knows how many there are and were.
struct counted {
  explicit counted(int n = 0) : value(n) {
    ++made;
    ++alive;
  }
  counted(counted&& other) noexcept : value(other.value) {
    ++made;
    ++alive;
  }
  ~counted() { --alive; }
  int value;
  static inline std::atomic<int> made{0}, alive{0};
};

TEST(object_pool, gives_back_what_was_put_in) {
  everywhere([] {
    object_pool<std::string> pool;
    EXPECT_EQ(pool.try_get(), nullptr);
    pool.put(std::make_unique<std::string>("a"));
    pool.put(std::string("b"));
    pool.put(std::unique_ptr<std::string>());  // nothing
    const std::unique_ptr<std::string> first = pool.try_get(), second = pool.try_get();
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_TRUE((*first == "a" && *second == "b") || (*first == "b" && *second == "a"));
    EXPECT_EQ(pool.try_get(), nullptr);
  });
}

// Whoever put it back, on whichever thread: all parts are looked at before a new one is made.
TEST(object_pool, finds_what_others_have_put_back) {
  test::for_each_case(
      [](const run_case& c) {
        object_pool<int> pool([]() -> int { throw std::runtime_error("made"); });
        wait_group all;
        const int n = 2 * c.procs;
        for (int i = 0; i < n; ++i) all.go([&, i] { pool.put(std::make_unique<int>(i)); });
        all.wait();
        std::thread outside([&] { pool.put(std::make_unique<int>(n)); });
        blocking([&] { outside.join(); });
        std::vector<int> times(static_cast<std::size_t>(n + 1));
        for (int i = 0; i <= n; ++i) ++times[static_cast<std::size_t>(*pool.get())];
        for (const int each : times) EXPECT_EQ(each, 1);
        EXPECT_THROW(static_cast<void>(pool.get()), std::runtime_error) << "it was not empty, or the factory not asked";
      },
      several_ps);
}

TEST(object_pool, makes_one_when_there_is_none) {
  everywhere([] {
    int next = 0;
    object_pool<int> values([&] { return ++next; });
    object_pool<int> pointers([&] { return std::make_unique<int>(++next); });
    object_pool<int> defaults;
    EXPECT_EQ(*values.get(), 1);
    EXPECT_EQ(*pointers.get(), 2);
    EXPECT_EQ(*defaults.get(), 0);
    EXPECT_EQ(values.try_get(), nullptr) << "try_get makes none";
    EXPECT_EQ(next, 2);
    values.put(77);
    EXPECT_EQ(*values.get(), 77) << "a used one goes before a new one";
    EXPECT_EQ(*values.get(), 3);

    // A factory that throws leaves the pool as it was.
    bool fails = true;
    object_pool<int> sometimes([&] {
      if (fails) throw std::runtime_error("none to be had");
      return 5;
    });
    EXPECT_THROW(static_cast<void>(sometimes.get()), std::runtime_error);
    fails = false;
    EXPECT_EQ(*sometimes.get(), 5);
  });
}

// Go's PoolGC: after one collection they are still there for who asks, after two without use they are gone.
TEST(object_pool, two_trims_without_use_empty_it) {
  everywhere([] {
    counted::alive = 0;
    {
      object_pool<counted> pool;
      for (int i = 0; i < 3; ++i) pool.put(std::make_unique<counted>(i));
      EXPECT_EQ(counted::alive.load(), 3);
      pool.trim();
      EXPECT_EQ(counted::alive.load(), 3);
      pool.put(pool.try_get());  // that one has been used since
      pool.trim();
      EXPECT_EQ(counted::alive.load(), 1);
      EXPECT_NE(pool.try_get(), nullptr);
      pool.trim();
      pool.trim();
      EXPECT_EQ(counted::alive.load(), 0);
      EXPECT_EQ(pool.try_get(), nullptr);
      pool.put(std::make_unique<counted>(1));
    }
    EXPECT_EQ(counted::alive.load(), 0) << "the pool's end is theirs";
  });
}

// A destructor that uses the pool, and puts something in where its own object was: trim destroys outside its locks.
TEST(object_pool, destroys_outside_its_locks) {
  everywhere([] {
    struct leaves_another {
      object_pool<leaves_another>* pool = nullptr;
      ~leaves_another() {
        if (pool != nullptr) pool->put(std::make_unique<leaves_another>());
      }
    };
    object_pool<leaves_another> pool;
    auto one = std::make_unique<leaves_another>();
    one->pool = &pool;
    pool.put(std::move(one));
    pool.trim();
    pool.trim();
    EXPECT_NE(pool.try_get(), nullptr);
    EXPECT_EQ(pool.try_get(), nullptr);
  });
}

// Each object is in one pair of hands at a time, and in the end all that were made have been destroyed.
void stress(int goroutines, int threads, int rounds) {
  counted::made = 0;
  counted::alive = 0;
  {
    object_pool<counted> pool;
    std::atomic<int> gets{0};
    const auto use = [&](int who) {
      for (int i = 0; i < rounds; ++i) {
        std::unique_ptr<counted> one = pool.get();
        ++gets;
        one->value = who;
        yield();
        EXPECT_EQ(one->value, who) << "in two hands";
        if (i % 7 != 3) pool.put(std::move(one));
        if (i % 16 == 9) pool.trim();
      }
    };
    wait_group all;
    std::vector<std::thread> others;
    for (int i = 0; i < goroutines; ++i) all.go([&, i] { use(i + 1); });
    for (int i = 0; i < threads; ++i) others.emplace_back(use, -1 - i);
    all.wait();
    if (threads > 0) {
      blocking([&] {
        for (std::thread& t : others) t.join();
      });
    }
    EXPECT_EQ(gets.load(), (goroutines + threads) * rounds);
    EXPECT_LE(counted::made.load(), gets.load());
    EXPECT_LE(counted::alive.load(), counted::made.load());
    pool.trim();
    pool.trim();
    EXPECT_EQ(counted::alive.load(), 0) << "one was lost";
  }
  EXPECT_EQ(counted::alive.load(), 0);
}

TEST(object_pool, is_used_by_many_at_once) {
  test::for_each_case([](const run_case&) { stress(8, 2, test::scaled(1000)); }, several_ps);
  if (HasFailure()) return;
  sim::explore({.name = "object_pool.stress", .runs = test::scaled(1000)}, [] { stress(3, 0, 2); });
}

}  // namespace
