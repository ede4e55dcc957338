// Every bug of the corpus is found in a thousand runs, for what it is, and again from its choices; no repaired program
// fails. How many runs it takes, and what real threads show of it: docs/guide/testing.md.
#include <gtest/gtest.h>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using sim::options;

class corpus_of_bugs : public testing::TestWithParam<bug> {
 protected:
  // Those that poll for ever need not do it a hundred thousand times.
  static options with_seed(std::uint64_t seed, bool minimize = false) {
    return {.name = GetParam().name, .runs = 1000, .seed = seed, .max_steps = 2000, .minimize = minimize};
  }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
};

TEST_P(corpus_of_bugs, is_found_and_named) {
  const bug& b = GetParam();
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE(seed);
    try {
      sim::explore(with_seed(seed), b.wrong);
      ADD_FAILURE() << "not found";
    } catch (const sim::failure& f) {
      EXPECT_EQ(f.kind(), b.kind) << f.what();
      EXPECT_TRUE(contains(f.what(), b.phrase)) << f.what();
    }
  }
}

TEST_P(corpus_of_bugs, comes_again_with_the_switches_that_matter) {
  const bug& b = GetParam();
  std::string choices;
  try {
    sim::explore(with_seed(1, true), b.wrong);
    ADD_FAILURE() << "not found";
    return;
  } catch (const sim::failure& f) {
    choices = f.choices();
  }
  try {
    sim::run(choices, b.wrong);
    ADD_FAILURE() << choices << " has passed";
  } catch (const sim::failure& f) {
    EXPECT_EQ(f.kind(), b.kind) << f.what();
    EXPECT_TRUE(contains(f.what(), b.phrase)) << f.what();
  }
}

TEST_P(corpus_of_bugs, is_gone_when_repaired) {
  const sim::summary s = sim::explore(with_seed(1), GetParam().right);
  EXPECT_EQ(s.runs, 1000);
  EXPECT_GT(s.distinct, 1);
}

// None of them needs more than one goroutine that is stopped where it could have gone on.
TEST_P(corpus_of_bugs, is_among_all_schedules_with_one_preemption_unless_repaired) {
  const bug& b = GetParam();
  options all = with_seed(1);
  all.runs = 10'000;
  all.strategy = sim::strategy::exhaustive;
  all.depth = 1;
  try {
    sim::explore(all, b.wrong);
    ADD_FAILURE() << "not found";
  } catch (const sim::failure& f) {
    EXPECT_EQ(f.kind(), b.kind) << f.what();
    EXPECT_TRUE(contains(f.what(), b.phrase)) << f.what();
  }
  EXPECT_TRUE(sim::explore(all, b.right).complete);
}

INSTANTIATE_TEST_SUITE_P(sim, corpus_of_bugs, testing::ValuesIn(corpus()),
                         [](const testing::TestParamInfo<bug>& b) { return std::string(b.param.name); });

}  // namespace
}  // namespace weft::test
