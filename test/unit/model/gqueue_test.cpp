#include "model/gqueue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace {

using namespace weft::rt;

struct names {
  explicit names(std::size_t n) : gs(new g[n]) {}
  g* at(std::size_t i) { return &gs[i]; }
  std::unique_ptr<g[]> gs;
};

constexpr std::size_t block = gqueue_block::slots;

TEST(gqueue, is_first_in_first_out_over_any_number_of_blocks) {
  names all(5 * block);
  gqueue q;
  for (const std::size_t n : {std::size_t{1}, block - 1, block, block + 1, 5 * block, std::size_t{2}}) {
    EXPECT_TRUE(q.empty());
    EXPECT_EQ(nullptr, q.pop_front());
    for (std::size_t i = 0; i < n; ++i) q.push_back(all.at(i));
    EXPECT_EQ(n, q.size());
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(all.at(i), q.pop_front());
  }
  EXPECT_EQ(nullptr, q.pop_front());
  q.drop();
}

TEST(gqueue, agrees_with_a_deque_whatever_comes) {
  names all(2000);
  gqueue q;
  std::deque<g*> reference;
  std::mt19937 random(3);
  std::size_t next = 0;
  for (int step = 0; step < 50'000; ++step) {
    const bool grow = random() % 100 < (step / 5000 % 2 == 0 ? 55u : 45u);
    if (grow && reference.size() < 2000) {
      q.push_back(all.at(next % 2000));
      reference.push_back(all.at(next++ % 2000));
    } else {
      g* expected = nullptr;
      if (!reference.empty()) {
        expected = reference.front();
        reference.pop_front();
      }
      ASSERT_EQ(expected, q.pop_front());
    }
    ASSERT_EQ(reference.size(), q.size());
    ASSERT_EQ(reference.empty(), q.empty());
  }
  while (q.pop_front() != nullptr) {
  }
  q.drop();
}

TEST(gqueue, push_front_goes_before_all_others_over_any_number_of_blocks) {
  names all(5 * block);
  gqueue q;
  for (const std::size_t n : {std::size_t{1}, block - 1, block, block + 1, 5 * block, std::size_t{2}}) {
    for (std::size_t i = 0; i < n; ++i) q.push_front(all.at(i));
    EXPECT_EQ(n, q.size());
    for (std::size_t i = n; i-- > 0;) ASSERT_EQ(all.at(i), q.pop_front());
    EXPECT_EQ(nullptr, q.pop_front());
  }
  q.drop();
}

// Both ends, one and several at a time, and for_each, which must see what is there.
TEST(gqueue, agrees_with_a_deque_at_both_ends) {
  names all(2000);
  gqueue q;
  std::deque<g*> reference;
  std::mt19937 random(5);
  std::size_t next = 0;
  const auto fresh = [&] { return all.at(next++ % 2000); };
  for (int step = 0; step < 50'000; ++step) {
    const bool grow = random() % 100 < (step / 5000 % 2 == 0 ? 58u : 42u);
    const auto n = static_cast<std::uint32_t>(random() % 4 == 0 ? random() % 200 + 1 : 1);
    if (grow && reference.size() + n <= 2000) {
      if (random() % 2 == 0) {
        for (std::uint32_t i = 0; i < n; ++i) {
          g* gp = fresh();
          q.push_front(gp);
          reference.push_front(gp);
        }
      } else {
        std::vector<g*> batch;
        for (std::uint32_t i = 0; i < n; ++i) batch.push_back(fresh());
        q.push_back_n(batch.data(), n);
        reference.insert(reference.end(), batch.begin(), batch.end());
      }
    } else {
      const std::uint32_t k = std::min<std::uint32_t>(n, static_cast<std::uint32_t>(reference.size()));
      std::vector<g*> out(k);
      q.pop_front_n(out.data(), k);
      for (g* gp : out) {
        ASSERT_EQ(reference.front(), gp);
        reference.pop_front();
      }
    }
    ASSERT_EQ(reference.size(), q.size());
    if (step % 1000 == 0) {
      std::vector<g*> seen;
      q.for_each([&](g* gp) { seen.push_back(gp); });
      ASSERT_EQ(std::vector<g*>(reference.begin(), reference.end()), seen);
    }
  }
  while (q.pop_front() != nullptr) {
  }
  q.drop();
}

TEST(gqueue, take_bound_takes_the_first_that_is_and_leaves_the_others_in_order) {
  names all(3 * block);
  gqueue q;
  EXPECT_EQ(nullptr, q.take_bound());
  for (std::size_t i = 0; i < 3 * block; ++i) q.push_back(all.at(i));
  EXPECT_EQ(nullptr, q.take_bound());
  all.at(block + 3)->flags = g_locked;
  all.at(2 * block)->flags = g_tied;
  EXPECT_EQ(all.at(block + 3), q.take_bound());
  EXPECT_EQ(all.at(2 * block), q.take_bound());
  EXPECT_EQ(nullptr, q.take_bound());
  for (std::size_t i = 0; i < 3 * block; ++i) {
    if (i != block + 3 && i != 2 * block) {
      ASSERT_EQ(all.at(i), q.pop_front());
    }
  }
  EXPECT_TRUE(q.empty());
  q.drop();
}

// A queue that breathes must not take a new block each time: blocks are type-stable memory that is never unmapped.
TEST(gqueue, blocks_are_used_again) {
  constexpr std::size_t n = 3 * block - 5;  // not a whole number of blocks: the last one must come back too
  names all(n);
  std::uint64_t reserved = 0;
  for (int round = 0; round < 200; ++round) {
    gqueue q;
    for (int k = 0; k < 5; ++k) {
      for (std::size_t i = 0; i < n; ++i) q.push_back(all.at(i));
      for (std::size_t i = 0; i < n; ++i) q.pop_front();
    }
    q.drop();
    if (round == 0) reserved = the_process.qblocks.bytes_reserved();
  }
  EXPECT_EQ(reserved, the_process.qblocks.bytes_reserved());
}

TEST(gqueue, dropping_one_with_goroutines_in_it_is_fatal) {
  names all(1);
  EXPECT_EXIT(
      {
        gqueue q;
        q.push_back(all.at(0));
        q.drop();
      },
      testing::ExitedWithCode(2), "gqueue: dropped with goroutines in it");
}

TEST(gstack, is_last_in_first_out_over_any_number_of_blocks) {
  names all(5 * block);
  gstack s;
  for (const std::size_t n : {std::size_t{1}, block - 1, block, block + 1, 5 * block, std::size_t{2}}) {
    EXPECT_TRUE(s.empty());
    EXPECT_EQ(nullptr, s.pop());
    for (std::size_t i = 0; i < n; ++i) s.push(all.at(i));
    EXPECT_FALSE(s.empty());
    for (std::size_t i = n; i-- > 0;) ASSERT_EQ(all.at(i), s.pop());
  }
  s.drop();
}

TEST(gstack, agrees_with_a_vector_whatever_comes) {
  names all(1000);
  gstack s;
  std::vector<g*> reference;
  std::mt19937 random(4);
  for (int step = 0; step < 50'000; ++step) {
    const bool grow = random() % 100 < (step / 4000 % 2 == 0 ? 55u : 45u);
    if (grow && reference.size() < 1000) {
      s.push(all.at(reference.size()));
      reference.push_back(all.at(reference.size()));
    } else {
      g* expected = nullptr;
      if (!reference.empty()) {
        expected = reference.back();
        reference.pop_back();
      }
      ASSERT_EQ(expected, s.pop());
    }
    ASSERT_EQ(reference.empty(), s.empty());
  }
  while (s.pop() != nullptr) {
  }
  s.drop();
}

TEST(gstack, dropping_one_with_goroutines_in_it_is_fatal) {
  names all(1);
  EXPECT_EXIT(
      {
        gstack s;
        s.push(all.at(0));
        s.drop();
      },
      testing::ExitedWithCode(2), "gstack: dropped with goroutines in it");
}

}  // namespace
