// The coarse clock, which says since when a goroutine waits.
#include <gtest/gtest.h>

#include "model/process.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t tick = std::int64_t{1} << coarse_shift;

TEST(coarse, refreshing_gives_the_time_to_all) {
  const std::int64_t before = os::now();
  const std::int64_t now = refresh_coarse_now();
  EXPECT_GE(now, before);
  EXPECT_EQ(now >> coarse_shift, the_process.coarse_now.load(relaxed));
}

TEST(coarse, elapsed_is_exact_to_a_tick_and_comes_round) {
  for (const std::int64_t began : {tick, 1000 * tick, 0xfffffff0 * tick, 0x123456789 * tick}) {
    const std::uint32_t since = coarse_ticks(began + tick / 2);
    EXPECT_EQ(0, coarse_elapsed_ns(since, began + tick - 1)) << began;
    EXPECT_EQ(100 * tick, coarse_elapsed_ns(since, began + 100 * tick)) << began;
    // 400 days.
    const std::int64_t long_time = std::int64_t{400} * 86'400 * 1'000'000'000;
    EXPECT_NEAR(static_cast<double>(long_time), static_cast<double>(coarse_elapsed_ns(since, began + long_time)),
                static_cast<double>(2 * tick))
        << began;
  }
}

// Another thread has refreshed the clock since the reporter looked at it.
TEST(coarse, a_stamp_ahead_of_now_is_no_time) { EXPECT_EQ(0, coarse_elapsed_ns(coarse_ticks(500 * tick), 498 * tick)); }

}  // namespace
}  // namespace weft::rt
