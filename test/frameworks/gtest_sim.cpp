// An exploration is a call that throws: in GoogleTest it needs nothing more. The test that fails is disabled, and run
// by CMakeLists.txt, which expects the report.
#include <gtest/gtest.h>

#include "programs.hpp"

// snippet: test
TEST(counting, is_right_with_a_lock) {
  weft::sim::explore([] { count(true); });
}
// snippet: end

TEST(counting, is_wrong_without) {
  EXPECT_THROW(weft::sim::explore([] { count(false); }), weft::sim::failure);
}

TEST(counting, DISABLED_fails) {
  weft::sim::explore([] { count(false); });
}
