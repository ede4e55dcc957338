#include "model/sematable.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace {

using namespace weft::rt;

constexpr std::uintptr_t bucket_stride = 8 * sizes::sema_buckets;

// Addresses are keys here and never followed.
const void* address(std::uintptr_t i) { return reinterpret_cast<const void*>(0x10000 + i * bucket_stride); }

struct waiters {
  explicit waiters(std::size_t n) : all(new sudog[n]) {}
  sudog* on(std::size_t i, const void* addr) {
    all[i].addr = addr;
    return &all[i];
  }
  std::unique_ptr<sudog[]> all;
};

TEST(sematable, neighbouring_words_are_in_different_buckets_and_every_bucket_is_used) {
  auto table = std::make_unique<sematable>();
  std::set<sema_bucket*> seen;
  for (std::uintptr_t i = 0; i < sizes::sema_buckets; ++i) {
    seen.insert(&table->bucket(reinterpret_cast<const void*>(0x4000 + 8 * i)));
  }
  EXPECT_EQ(sizes::sema_buckets, seen.size());
  std::set<sema_bucket*> by_number;
  for (std::uint32_t i = 0; i < sizes::sema_buckets; ++i) by_number.insert(&table->bucket_at(i));
  EXPECT_EQ(by_number, seen);
  EXPECT_EQ(&table->bucket(address(1)), &table->bucket(address(2)));
}

TEST(sematable, an_empty_bucket_knows_nobody) {
  sema_bucket b;
  EXPECT_EQ(nullptr, b.front(address(0)));
  EXPECT_TRUE(b.empty());
  EXPECT_TRUE(b.check());
  waiters w(1);
  b.push_back(w.on(0, address(0)), 0);
  EXPECT_FALSE(b.empty());
  EXPECT_EQ(nullptr, b.front(address(1)));
  b.remove(&w.all[0]);
  EXPECT_TRUE(b.empty());
}

TEST(sematable, waiters_of_an_address_are_first_in_first_out) {
  sema_bucket b;
  waiters w(4);
  for (std::size_t i = 0; i < 4; ++i) {
    b.push_back(w.on(i, address(7)), 5);
    ASSERT_TRUE(b.check());
  }
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(&w.all[i], b.front(address(7)));
    b.remove(&w.all[i]);
    EXPECT_FALSE(w.all[i].queued);
    ASSERT_TRUE(b.check());
  }
  EXPECT_EQ(nullptr, b.front(address(7)));
}

TEST(sematable, the_first_the_middle_and_the_last_waiter_can_be_removed) {
  for (const std::size_t gone : {0u, 1u, 2u, 3u}) {
    sema_bucket b;
    waiters w(5);
    for (std::size_t i = 0; i < 4; ++i) b.push_back(w.on(i, address(1)), 9);
    b.remove(&w.all[gone]);
    ASSERT_TRUE(b.check());
    // The tail is right: one more goes to the end.
    b.push_back(w.on(4, address(1)), 9);
    ASSERT_TRUE(b.check());
    for (std::size_t i = 0; i < 5; ++i) {
      if (i == gone) continue;
      ASSERT_EQ(&w.all[i], b.front(address(1)));
      b.remove(&w.all[i]);
      ASSERT_TRUE(b.check());
    }
  }
}

// A waiter that goes to the front takes over the place in the treap, ticket and children included; with a ticket of
// its own it would be a node with a heavier parent than child.
TEST(sematable, push_front_goes_before_the_others_and_keeps_the_place_in_the_treap) {
  sema_bucket b;
  waiters w(4);
  b.push_back(w.on(0, address(5)), 10);
  b.push_back(w.on(1, address(3)), 20);
  b.push_back(w.on(2, address(8)), 30);
  b.push_front(w.on(3, address(5)), 1000);
  ASSERT_TRUE(b.check());
  EXPECT_EQ(10u, w.all[3].ticket);
  EXPECT_EQ(&w.all[1], w.all[3].left);
  EXPECT_EQ(&w.all[2], w.all[3].right);
  EXPECT_EQ(&w.all[3], b.front(address(5)));
  b.remove(&w.all[3]);
  ASSERT_TRUE(b.check());
  EXPECT_EQ(&w.all[0], b.front(address(5)));
}

TEST(sematable, push_front_of_a_new_address_is_an_ordinary_push) {
  sema_bucket b;
  waiters w(1);
  b.push_front(w.on(0, address(5)), 10);
  EXPECT_TRUE(b.check());
  EXPECT_EQ(&w.all[0], b.front(address(5)));
}

TEST(sematable, removing_what_is_not_queued_is_fatal) {
  sema_bucket b;
  waiters w(1);
  EXPECT_EXIT(b.remove(w.on(0, address(1))), testing::ExitedWithCode(2), "sematable: sudog is not queued");
}

#ifdef WEFT_CHECKED
TEST(sematable, queueing_a_waiter_twice_is_fatal) {
  sema_bucket b;
  waiters w(1);
  b.push_back(w.on(0, address(1)), 1);
  EXPECT_EXIT(b.push_back(&w.all[0], 1), testing::ExitedWithCode(2), "sudog is queued already");
  EXPECT_EXIT(b.push_front(&w.all[0], 1), testing::ExitedWithCode(2), "sudog is queued already");
}
#endif

TEST(sematable, a_removed_waiter_points_to_nobody) {
  sema_bucket b;
  waiters w(3);
  for (std::size_t i = 0; i < 3; ++i) b.push_back(w.on(i, address(i)), static_cast<std::uint32_t>(i));
  for (std::size_t i = 0; i < 3; ++i) {
    const sudog& sg = w.all[i];
    b.remove(&w.all[i]);
    for (const sudog* link : {sg.next, sg.prev, sg.parent, sg.left, sg.right}) EXPECT_EQ(nullptr, link);
    EXPECT_TRUE(sg.tail == nullptr || sg.tail == &sg);
  }
}

// Random tickets are what keeps it shallow, and sorted arrivals are what would make a plain tree a list.
TEST(sematable, random_tickets_keep_the_treap_shallow) {
  sema_bucket b;
  constexpr std::size_t n = 4096;
  waiters w(n);
  std::mt19937 random(1);
  for (std::size_t i = 0; i < n; ++i) b.push_back(w.on(i, address(i)), static_cast<std::uint32_t>(random()));
  ASSERT_TRUE(b.check());
  std::size_t deepest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t depth = 0;
    for (const sudog* at = &w.all[i]; at != nullptr; at = at->parent) ++depth;
    if (depth > deepest) deepest = depth;
  }
  EXPECT_LT(deepest, 60u);  // the mean depth of a random treap of 4096 is about 15
}

// Everything against a map of queues, with the whole treap checked after each step.
void random_operations(std::uint32_t seed, std::uintptr_t addresses, std::uint32_t tickets) {
  constexpr std::size_t n = 200;
  constexpr int steps = 6000;
  sema_bucket b;
  waiters w(n);
  std::map<const void*, std::deque<sudog*>> reference;
  std::vector<sudog*> idle;
  for (std::size_t i = 0; i < n; ++i) idle.push_back(&w.all[i]);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t k) { return static_cast<std::size_t>(random()) % k; };
  const auto forget = [&](sudog* sg) {
    auto& queue = reference[sg->addr];
    std::erase(queue, sg);
    if (queue.empty()) reference.erase(sg->addr);
    idle.push_back(sg);
  };
  for (int step = 0; step < steps; ++step) {
    const void* addr = address(below(addresses));
    // Phases of growth and of shrinking, so that it is often empty and often large.
    const bool grow = below(10) < (step / 500 % 2 == 0 ? 7u : 3u);
    if (grow && !idle.empty()) {
      std::swap(idle[below(idle.size())], idle.back());
      sudog* sg = idle.back();
      idle.pop_back();
      sg->addr = addr;
      const auto ticket = static_cast<std::uint32_t>(below(tickets));
      if (below(4) == 0) {
        b.push_front(sg, ticket);
        reference[addr].push_front(sg);
      } else {
        b.push_back(sg, ticket);
        reference[addr].push_back(sg);
      }
    } else if (below(2) == 0) {
      if (sudog* sg = b.front(addr)) {
        b.remove(sg);
        forget(sg);
      }
    } else if (!reference.empty()) {
      auto at = reference.begin();
      std::advance(at, below(reference.size()));
      sudog* sg = at->second[below(at->second.size())];
      b.remove(sg);
      forget(sg);
    }
    ASSERT_TRUE(b.check()) << "seed " << seed << " step " << step;
    ASSERT_EQ(reference.empty(), b.empty());
    for (std::uintptr_t i = 0; i < addresses; ++i) {
      const auto at = reference.find(address(i));
      ASSERT_EQ(at == reference.end() ? nullptr : at->second.front(), b.front(address(i)))
          << "seed " << seed << " step " << step;
    }
  }
  // The order within each address, to the end.
  for (auto& [addr, queue] : reference) {
    for (sudog* sg : queue) {
      ASSERT_EQ(sg, b.front(addr));
      b.remove(sg);
    }
    ASSERT_EQ(nullptr, b.front(addr));
  }
  ASSERT_TRUE(b.check());
}

TEST(sematable, random_operations_on_few_addresses_agree_with_a_map_of_queues) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) random_operations(seed, 3, 1'000'000);
}
TEST(sematable, random_operations_on_many_addresses_of_one_bucket_agree_with_a_map_of_queues) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) random_operations(seed, 60, 1'000'000);
}
// Equal tickets are legal: heap order is not strict.
TEST(sematable, random_operations_with_equal_tickets_agree_with_a_map_of_queues) {
  for (std::uint32_t seed = 1; seed <= 5; ++seed) random_operations(seed, 20, 2);
}

}  // namespace
