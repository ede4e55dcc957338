// The stress programs, small, in explored schedules: what there takes a million rounds to meet is a switch here. Plain
// threads are left out, and with them what is foreign; those are for real threads only.
#include <gtest/gtest.h>

#include "stress/destroy_early.hpp"
#include "stress/park_ready.hpp"
#include "stress/spawn_exit.hpp"
#include "stress/taker.hpp"

namespace {

using namespace weft;

// Some seeds of the program's own choices, and for each some schedules.
template <class F>
void in_schedules(F round) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    const sim::summary s = sim::explore({.runs = test::scaled(200), .seed = seed}, [&] {
      test::random_source r(seed);
      round(r);
    });
    EXPECT_GT(s.distinct, 1);
  }
}

TEST(explored_stress, park_ready) {
  in_schedules([](test::random_source& r) { test::park_ready::round(r, 5); });
}

TEST(explored_stress, destroy_early) {
  in_schedules([](test::random_source& r) { test::destroy_early::round(r, 4); });
}

TEST(explored_stress, spawn_exit) {
  in_schedules([](test::random_source& r) {
    using namespace test::spawn_exit;
    runs = 0;
    const std::uint64_t before = alive;
    wait_group all;
    tree(all, 12, r);
    all.wait();
    sim::settle();
    sim::check(runs == 12, "each goroutine ran once");
    sim::check(alive == before, "each callable is destroyed once");
    sim::check(num_goroutine() == 1, "none is left");
  });
}

// Timeouts against releases, and late ones against later waits.
TEST(explored_stress, taker) {
  using namespace test::taker;
  in_schedules([](test::random_source& r) { on_a_semaphore(r, 3); });
  in_schedules([](test::random_source& r) { on_a_mutex(r, 3); });
  in_schedules([](test::random_source& r) { on_a_wait_group(r, 3); });
  in_schedules([](test::random_source& r) { on_a_turnstile(r, 3); });
  const std::uint64_t fired = timeout::fired;
  EXPECT_GT(fired, 1000u) << "there were timeouts";
}

}  // namespace
