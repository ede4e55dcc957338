// The same in Catch2, version 2 or 3.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif

#include "programs.hpp"

// snippet: test
TEST_CASE("counting is right with a lock") {
  REQUIRE(weft::sim::explore([] { count(true); }).runs == 1000);
}
// snippet: end

TEST_CASE("counting is wrong without") {
  REQUIRE_THROWS_AS(weft::sim::explore([] { count(false); }), weft::sim::failure);
}

TEST_CASE("fails", "[.]") {
  weft::sim::explore([] { count(false); });
}
