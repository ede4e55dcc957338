#include "base/choice.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace {

using namespace weft::rt;

TEST(choice, answers_are_below_n_and_every_one_comes) {
  for (const std::uint32_t n : {1u, 2u, 3u, 7u, 64u}) {
    chooser choose;
    choose.seed(n);
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 3000; ++i) {
      const std::uint32_t c = choose(site::steal_start, n);
      ASSERT_LT(c, n);
      seen.insert(c);
    }
    EXPECT_EQ(n, seen.size());
  }
  chooser choose;
  for (int i = 0; i < 100; ++i) EXPECT_LT(choose(site::steal_start, UINT32_MAX), UINT32_MAX);
}

TEST(choice, answers_are_spread_evenly) {
  chooser choose;
  choose.seed(12345);
  constexpr int draws = 80'000;
  int count[8] = {};
  for (int i = 0; i < draws; ++i) ++count[choose(site::steal_start, 8)];
  for (const int c : count) EXPECT_NEAR(draws / 8, c, draws / 80);
}

std::vector<std::uint32_t> draw(std::uint64_t seed) {
  chooser choose;
  choose.seed(seed);
  std::vector<std::uint32_t> all;
  for (int i = 0; i < 32; ++i) all.push_back(choose(site::steal_step, 1000));
  return all;
}

TEST(choice, a_seed_gives_one_sequence_and_another_seed_another) {
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
  EXPECT_NE(draw(0), draw(1));
}

// Answers n - 1 and notes who asked.
struct highest : strategy {
  highest() : strategy{answer} {}
  static std::uint32_t answer(strategy* self, site where, std::uint32_t n) {
    static_cast<highest*>(self)->asked.push_back(where);
    return n - 1;
  }
  std::vector<site> asked;
};

TEST(choice, a_settled_site_answers_zero_and_draws_nothing_until_a_strategy_says_otherwise) {
  chooser choose, other;
  choose.seed(3);
  other.seed(3);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(0u, choose.settled(site::idle_p, 5));
  EXPECT_EQ(other(site::steal_start, 1000), choose(site::steal_start, 1000));
  highest s;
  choose.set_strategy(&s);
  EXPECT_EQ(4u, choose.settled(site::idle_p, 5));
  EXPECT_EQ(checked ? 1u : 0u, choose.settled_if_checked(site::take_next, 2));
}

TEST(choice, a_strategy_answers_instead_until_it_is_taken_away) {
  chooser choose;
  highest s;
  choose.set_strategy(&s);
  EXPECT_EQ(4u, choose(site::steal_step, 5));
  EXPECT_EQ(8u, choose(site::treap_ticket, 9));
  EXPECT_EQ((std::vector{site::steal_step, site::treap_ticket}), s.asked);
  choose.set_strategy(nullptr);
  EXPECT_EQ(0u, choose(site::steal_step, 1));
  EXPECT_EQ(2u, s.asked.size());
}

}  // namespace
