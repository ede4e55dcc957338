#include "base/span_of_time.hpp"

#include <gtest/gtest.h>

#include <clocale>
#include <cstdint>

namespace {

using weft::rt::parse_span_of_time;

constexpr std::int64_t refused = -1;

std::int64_t parsed(const char* text) {
  std::int64_t ns = 0;
  return parse_span_of_time(text, &ns) ? ns : refused;
}

TEST(span_of_time, is_seconds_or_what_its_unit_says) {
  EXPECT_EQ(parsed("0"), 0);
  EXPECT_EQ(parsed("10"), 10'000'000'000);
  EXPECT_EQ(parsed("10s"), 10'000'000'000);
  EXPECT_EQ(parsed("1.5"), 1'500'000'000);
  EXPECT_EQ(parsed(".25s"), 250'000'000);
  EXPECT_EQ(parsed("500ms"), 500'000'000);
  EXPECT_EQ(parsed("0.001ms"), 1000);
  EXPECT_EQ(parsed("5m"), 300'000'000'000);
  EXPECT_EQ(parsed("2h"), 7'200'000'000'000);
  EXPECT_EQ(parsed("9000000000"), 9'000'000'000'000'000'000);
  EXPECT_EQ(parsed("123456789.123456789"), 123'456'789'123'456'789) << "to the nanosecond, where a double is not";
}

TEST(span_of_time, refuses_what_is_none) {
  for (const char* text : {"", "s", ".", ".s", "soon", "-1", "+1", "1 s", " 1", "1.2.3", "1,5", "1e3", "10x", "10sec",
                           "1ss", "9000000001", "99999999999999999999", "0x10"}) {
    EXPECT_EQ(parsed(text), refused) << text;
  }
}

// A program's locale may write the point as a comma.
TEST(span_of_time, is_the_same_in_every_locale) {
  if (std::setlocale(LC_NUMERIC, "de_DE.UTF-8") == nullptr) GTEST_SKIP() << "no locale with a decimal comma here";
  EXPECT_EQ(parsed("1.5"), 1'500'000'000);
  std::setlocale(LC_NUMERIC, "C");
}

}  // namespace
