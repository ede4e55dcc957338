#include "base/knobs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.hpp"
#include "base/sizes.hpp"

namespace {

using namespace weft::rt;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct parsed {
  bool good = false;
  weft::rt::knobs values;
  std::string message;
};

parsed parse(const char* text) {
  parsed r;
  char message[1000] = "";
  r.good = parse_knobs(text, &r.values, message, sizeof message);
  r.message = message;
  return r;
}

// A message that helps: what was wrong, and everything that could have been meant.
testing::Matcher<std::string> lists_all_knobs() {
  return AllOf(HasSubstr("schedtrace ("), HasSubstr("seed ("), HasSubstr("guard ("), HasSubstr("noise ("),
               HasSubstr("spin ("));
}

TEST(knobs, without_text_all_are_at_their_defaults) {
  for (const char* text : {static_cast<const char*>(nullptr), ""}) {
    const parsed r = parse(text);
    EXPECT_TRUE(r.good);
    EXPECT_EQ(0u, r.values.schedtrace);
    EXPECT_EQ(0u, r.values.seed);
    EXPECT_EQ(0u, r.values.guard);
    EXPECT_EQ(0u, r.values.noise);
    EXPECT_EQ(sizes::spin_us, r.values.spin);
    EXPECT_EQ("", r.message);
  }
}

TEST(knobs, each_is_read) {
  EXPECT_EQ(1000u, parse("schedtrace=1000").values.schedtrace);
  EXPECT_EQ(7u, parse("seed=7").values.seed);
  EXPECT_EQ(0u, parse("spin=0").values.spin);
  EXPECT_EQ(250u, parse("spin=250").values.spin);
  EXPECT_EQ(0u, parse("guard=auto").values.guard);
  EXPECT_EQ(1u, parse("guard=batch").values.guard);
  EXPECT_EQ(2u, parse("guard=single").values.guard);
  EXPECT_EQ(3u, parse("guard=protect").values.guard);
  EXPECT_EQ(4u, parse("guard=canary").values.guard);
}

TEST(knobs, several_are_read_in_any_order_and_the_last_one_of_a_name_counts) {
  const parsed r = parse("spin=1,schedtrace=20,seed=3,schedtrace=30");
  ASSERT_TRUE(r.good) << r.message;
  EXPECT_EQ(1u, r.values.spin);
  EXPECT_EQ(30u, r.values.schedtrace);
  EXPECT_EQ(3u, r.values.seed);
}

TEST(knobs, a_comma_at_the_end_is_harmless) {
  const parsed r = parse("seed=9,");
  EXPECT_TRUE(r.good) << r.message;
  EXPECT_EQ(9u, r.values.seed);
}

TEST(knobs, noise_is_refused_by_a_build_that_makes_none) {
  EXPECT_TRUE(parse("noise=0").good);
  const parsed r = parse("noise=3");
  EXPECT_EQ(weft::rt::checked, r.good);
  if (weft::rt::checked) {
    EXPECT_EQ(3u, r.values.noise);
  } else {
    EXPECT_THAT(r.message, StartsWith("WEFT_DEBUG: noise=3: only a build with WEFT_CHECKED=ON makes noise"));
    EXPECT_THAT(r.message, lists_all_knobs());
  }
  EXPECT_FALSE(parse("noise=9").good);
}

TEST(knobs, the_largest_values_are_taken_and_one_more_is_not) {
  EXPECT_EQ(UINT64_MAX, parse("seed=18446744073709551615").values.seed);
  EXPECT_FALSE(parse("seed=18446744073709551616").good);
  EXPECT_FALSE(parse("seed=99999999999999999999").good);
  EXPECT_EQ(3'600'000u, parse("schedtrace=3600000").values.schedtrace);
  EXPECT_FALSE(parse("schedtrace=3600001").good);
  EXPECT_EQ(1'000'000u, parse("spin=1000000").values.spin);
  EXPECT_FALSE(parse("spin=1000001").good);
}

TEST(knobs, a_bad_value_is_named_with_its_knob) {
  for (const char* value : {"", "x", "-1", "+1", " 1", "1 ", "1x", "0x10", "1.5"}) {
    const parsed r = parse((std::string("schedtrace=") + value).c_str());
    EXPECT_FALSE(r.good) << value;
    EXPECT_THAT(r.message, StartsWith("WEFT_DEBUG: bad value '" + std::string(value) + "' for schedtrace"));
    EXPECT_THAT(r.message, lists_all_knobs());
  }
  const parsed r = parse("seed=1,guard=none,spin=2");
  EXPECT_FALSE(r.good);
  EXPECT_THAT(r.message, StartsWith("WEFT_DEBUG: bad value 'none' for guard"));
}

TEST(knobs, a_knob_without_a_value_is_a_bad_value) {
  EXPECT_THAT(parse("seed").message, StartsWith("WEFT_DEBUG: bad value '' for seed"));
  EXPECT_THAT(parse("spin=3,guard").message, StartsWith("WEFT_DEBUG: bad value '' for guard"));
}

TEST(knobs, an_unknown_name_is_an_error_that_lists_them_all) {
  for (const char* name : {"schedtracer", "sched", "SEED", " seed", "", "seed2"}) {
    const parsed r = parse((std::string(name) + "=1").c_str());
    EXPECT_FALSE(r.good) << name;
    EXPECT_THAT(r.message, StartsWith("WEFT_DEBUG: unknown knob '" + std::string(name) + "'"));
    EXPECT_THAT(r.message, lists_all_knobs());
  }
}

TEST(knobs, an_empty_knob_between_two_commas_is_an_error) {
  EXPECT_FALSE(parse("seed=1,,spin=2").good);
  EXPECT_FALSE(parse(",seed=1").good);
}

TEST(knobs, a_message_is_cut_to_the_bytes_there_are) {
  char message[40];
  std::memset(message, 'x', sizeof message);
  weft::rt::knobs k;
  EXPECT_FALSE(parse_knobs("nonsense=1", &k, message, 20));
  EXPECT_EQ(19u, std::strlen(message));
  EXPECT_EQ('x', message[20]);
  const std::string monster(5000, 'n');
  EXPECT_FALSE(parse_knobs(monster.c_str(), &k, message, sizeof message));
  EXPECT_EQ(39u, std::strlen(message));
}

}  // namespace
