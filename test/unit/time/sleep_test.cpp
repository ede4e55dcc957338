// weft::sleep and weft::clock outside of explorations. Nothing here is about how long something takes at most.
#include <gtest/gtest.h>

#include <chrono>

#include "weft/weft.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;

TEST(sleep, lasts_at_least_as_long_as_asked_on_goroutines_and_plain_threads) {
  const auto test = [] {
    const auto begin = weft::clock::now();
    sleep(2ms);
    this_goroutine::sleep_for(2ms);
    this_goroutine::sleep_until(weft::clock::now() + 2ms);
    EXPECT_GE(weft::clock::now() - begin, 6ms);
  };
  test();
  weft::run(test);
}

TEST(sleep, until_the_beginning_of_time_returns_at_once) {
  const auto test = [] {
    this_goroutine::sleep_until(weft::clock::time_point::min());
    this_goroutine::sleep_until(std::chrono::steady_clock::time_point::min());
    this_goroutine::sleep_until(std::chrono::system_clock::time_point::min());
    this_goroutine::sleep_until(std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>::min());
    this_goroutine::sleep_until(weft::clock::now() - 1ns);
  };
  test();
  weft::run(test);
}

TEST(sleep, of_nothing_or_less_returns) {
  weft::run({.procs = 1}, [] {
    sleep(0s);
    sleep(-1h);
    sleep(std::chrono::nanoseconds::min());
    sleep(std::chrono::hours::min());
  });
}

TEST(sleep, leaves_the_p_to_others) {
  weft::run({.procs = 1}, [] {
    bool ran = false;
    go([&] { ran = true; });
    while (!ran) sleep(1ms);
  });
}

TEST(clock, is_the_steady_clock_and_never_goes_back) {
  const auto one = std::chrono::steady_clock::now().time_since_epoch();
  const auto two = weft::clock::now().time_since_epoch();
  const auto three = std::chrono::steady_clock::now().time_since_epoch();
  EXPECT_LE(one, two);
  EXPECT_LE(two, three);
  static_assert(weft::clock::is_steady);
  static_assert(std::chrono::is_clock_v<weft::clock>);
}

TEST(clock, durations_are_rounded_up_and_cut_at_the_ends) {
  using weft::v0::detail::to_ns;
  EXPECT_EQ(to_ns(1s), 1'000'000'000);
  EXPECT_EQ(to_ns(std::chrono::duration<double, std::nano>(0.1)), 1);
  EXPECT_EQ(to_ns(std::chrono::hours::max()), INT64_MAX);
  EXPECT_EQ(to_ns(std::chrono::hours::min()), INT64_MIN);
  EXPECT_EQ(to_ns(std::chrono::duration<double>(1e300)), INT64_MAX);
}

}  // namespace
