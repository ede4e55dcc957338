// duration: from and to std::chrono, without <chrono> in the header.
#include "weft/detail/duration.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

#include "weft/error.hpp"
#include "weft/time.hpp"

namespace {

using weft::duration;
using namespace std::chrono_literals;

TEST(duration, takes_any_unit) {
  EXPECT_EQ(duration(5ns).count(), 5);
  EXPECT_EQ(duration(5us).count(), 5'000);
  EXPECT_EQ(duration(500ms).count(), 500'000'000);
  EXPECT_EQ(duration(10s).count(), 10'000'000'000);
  EXPECT_EQ(duration(5min).count(), 300'000'000'000);
  EXPECT_EQ(duration(2h).count(), 7'200'000'000'000);
  EXPECT_EQ(duration(-3ms).count(), -3'000'000);
  EXPECT_EQ(duration(std::chrono::duration<double>(1.5)).count(), 1'500'000'000);
  EXPECT_EQ(duration(0s).count(), 0);
  EXPECT_EQ(duration().count(), 0);
}

TEST(duration, rounds_up_to_whole_nanoseconds) {
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::pico>(1)).count(), 1);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::pico>(1000)).count(), 1);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::pico>(1001)).count(), 2);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::pico>(-1500)).count(), -1);
}

TEST(duration, is_exact_where_a_double_is_not) {
  EXPECT_EQ(duration(std::chrono::nanoseconds(9'007'199'254'740'993)).count(), 9'007'199'254'740'993);
  EXPECT_EQ(duration(std::chrono::nanoseconds(1'234'567'890'123'456'789)).count(), 1'234'567'890'123'456'789);
}

TEST(duration, of_whole_numbers_is_what_it_was) {
  for (std::int64_t i = 1; i < 20'000; ++i) {
    ASSERT_EQ(duration(std::chrono::nanoseconds(i * 7919)).count(), i * 7919);
    ASSERT_EQ(duration(std::chrono::microseconds(i)).count(), i * 1'000);
    ASSERT_EQ(duration(std::chrono::milliseconds(i)).count(), i * 1'000'000);
    ASSERT_EQ(duration(std::chrono::nanoseconds(1'700'000'000'000'000'000 + i * 7919)).count(),
              1'700'000'000'000'000'000 + i * 7919);
    ASSERT_EQ(std::chrono::nanoseconds(duration::nanoseconds(i * 7919)).count(), i * 7919);
    ASSERT_EQ(weft::v0::detail::to_ns(std::chrono::duration<double, std::milli>(static_cast<double>(i))),
              i * 1'000'000);
  }
  EXPECT_EQ(duration(std::chrono::duration<double>(0.1)).count(), 100'000'000);
  EXPECT_EQ(duration(std::chrono::duration<float>(0.1F)).count(), 100'000'000);
  EXPECT_EQ(duration(std::chrono::duration<double, std::nano>(0.1)).count(), 1);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::ratio<1, 3>>(1)).count(), 333'333'334);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::ratio<1, 3>>(-1)).count(), -333'333'333);
  EXPECT_EQ(duration(std::chrono::duration<std::uint64_t, std::atto>(UINT64_MAX)).count(), 18'446'744'074);
  EXPECT_EQ(duration(std::chrono::duration<std::int64_t, std::exa>(INT64_MIN)).count(), INT64_MIN);
  EXPECT_EQ(duration(std::chrono::duration<std::uint64_t, std::nano>(UINT64_MAX)).count(), INT64_MAX);
  static_assert(duration(1us) == duration(1000ns));
}

TEST(duration, of_what_is_no_number_says_so) {
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THROW(static_cast<void>(duration(nan)), weft::error);
  EXPECT_THROW(weft::sleep(nan), weft::error);
}

TEST(duration, stops_at_its_ends) {
  EXPECT_EQ(duration(std::chrono::hours(3'000'000'000)).count(), INT64_MAX);
  EXPECT_EQ(duration(std::chrono::hours(-3'000'000'000)).count(), INT64_MIN);
  EXPECT_EQ(duration(std::chrono::duration<double>(std::numeric_limits<double>::infinity())).count(), INT64_MAX);
}

TEST(duration, gives_itself_as_any_unit) {
  const std::chrono::nanoseconds ns = duration(1500ms);
  EXPECT_EQ(ns, 1500ms);
  const std::chrono::duration<double> s = duration(1500ms);
  EXPECT_DOUBLE_EQ(s.count(), 1.5);
  const std::chrono::nanoseconds exact = duration::nanoseconds(1'234'567'890'123'456'789);
  EXPECT_EQ(exact.count(), 1'234'567'890'123'456'789);
}

TEST(duration, compares) {
  EXPECT_EQ(duration(1s), duration(1000ms));
  EXPECT_FALSE(duration(1s) == duration(1001ms));
}

}  // namespace
