#include "base/noise.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

namespace {

using namespace weft::rt;

constexpr std::uint32_t points = static_cast<std::uint32_t>(noise_at::count);

class noise_of_checked_builds : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!checked) GTEST_SKIP() << "this build makes no noise";
  }
  void TearDown() override { set_noise(0, 0); }

  // So many delays when each point is passed so often.
  static std::uint64_t made_in(int rounds) {
    const std::uint64_t before = noise_made();
    for (int i = 0; i < rounds; ++i) {
      for (std::uint32_t at = 0; at < points; ++at) noise(static_cast<noise_at>(at));
    }
    return noise_made() - before;
  }
};

TEST_F(noise_of_checked_builds, is_off_until_it_is_asked_for) {
  EXPECT_FALSE(noisy());
  EXPECT_EQ(0u, made_in(1000));
  set_noise(3, 1);
  EXPECT_TRUE(noisy());
  set_noise(0, 1);
  EXPECT_FALSE(noisy());
  EXPECT_EQ(0u, made_in(1000));
}

TEST_F(noise_of_checked_builds, a_higher_level_makes_more) {
  set_noise(1, 7);
  const std::uint64_t low = made_in(400);
  set_noise(5, 7);
  const std::uint64_t high = made_in(400);
  EXPECT_GT(low, 0u);
  EXPECT_GT(high, 2 * low);
}

TEST_F(noise_of_checked_builds, a_seed_says_which_points_are_silent) {
  std::set<std::uint32_t> heard[2];
  for (int k = 0; k < 2; ++k) {
    for (std::uint32_t at = 0; at < points; ++at) {
      set_noise(max_noise, 40 + k);
      const std::uint64_t before = noise_made();
      for (int i = 0; i < 100; ++i) noise(static_cast<noise_at>(at));
      if (noise_made() != before) heard[k].insert(at);
    }
    EXPECT_LT(heard[k].size(), points);
    EXPECT_GT(heard[k].size(), points / 2);
  }
  EXPECT_NE(heard[0], heard[1]);
}

TEST_F(noise_of_checked_builds, choices_are_below_n_and_settled_ones_mostly_keep_to_the_policy) {
  set_noise(3, 11);
  chooser choose;
  choose.set_strategy(noise_choices());
  int other = 0;
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t k = choose.settled(site::idle_m, 4);
    ASSERT_LT(k, 4u);
    if (k != 0) ++other;
    const std::uint32_t free = choose(site::steal_start, 8);
    ASSERT_LT(free, 8u);
    seen.insert(free);
  }
  EXPECT_GT(other, 0);
  EXPECT_LT(other, 1000);
  EXPECT_EQ(8u, seen.size());
}

}  // namespace
