// The timer of a context with a deadline: it goes when the context does, however that ends. (What a deadline does when it comes is
// in test/conformance/context_test.cpp.) The deadlines here are an hour away, so a timer that is not stopped is still in a heap.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "model/sched.hpp"
#include "sched/sched.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;

// Of the runtime of this goroutine, or of those in none.
std::uint32_t armed_timers() {
  if (rt::getg() == nullptr) return rt::the_process.outside_timers.size_hint();
  const rt::sched_t& s = *rt::getg()->rt;
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < s.nallp.load(rt::relaxed); ++i) n += s.allp[i].timers->size_hint();
  return n;
}

// Each on goroutines of several Ps, and on a plain thread.
void everywhere(const std::function<void()>& body) {
  body();
  test::for_each_case([&](const test::run_case&) { body(); });
}

TEST(deadline, is_stopped_when_its_context_is_cancelled) {
  everywhere([] {
    const std::uint32_t before = armed_timers();
    const context c = context::background().with_timeout(1h);
    EXPECT_EQ(armed_timers(), before + 1);
    c.cancel();
    EXPECT_EQ(armed_timers(), before);
    c.cancel();
    EXPECT_EQ(armed_timers(), before);
    EXPECT_EQ(c.err(), context_errc::canceled);
  });
}

// More of them than a walk takes at once, and two levels below the one that is cancelled.
TEST(deadline, is_stopped_when_a_context_above_is_cancelled) {
  everywhere([] {
    const std::uint32_t before = armed_timers();
    const context top = context::background().with_cancel();
    const context middle = top.with_timeout(2h);
    std::vector<context> leaves;
    for (int i = 0; i < 100; ++i) leaves.push_back((i % 2 == 0 ? middle : top).with_timeout(1h));
    EXPECT_EQ(armed_timers(), before + 101);
    top.cancel();
    EXPECT_EQ(armed_timers(), before);
    for (const context& c : leaves) EXPECT_EQ(c.err(), context_errc::canceled);
  });
}

TEST(deadline, is_stopped_when_nobody_has_its_context_any_more) {
  everywhere([] {
    const std::uint32_t before = armed_timers();
    { const context dropped = context::background().with_timeout(1h); }
    EXPECT_EQ(armed_timers(), before);
    {
      const context parent = context::background().with_cancel();
      { const context dropped = parent.with_timeout(1h).with_cancel().with_timeout(30min); }
      EXPECT_EQ(armed_timers(), before);
    }
    EXPECT_EQ(armed_timers(), before);
  });
}

TEST(deadline, is_not_armed_for_one_that_comes_after_that_of_its_parent_or_is_done_already) {
  everywhere([] {
    const std::uint32_t before = armed_timers();
    const context parent = context::background().with_timeout(1h);
    const context later = parent.with_timeout(2h);
    EXPECT_EQ(armed_timers(), before + 1);
    parent.cancel();
    const context late = parent.with_timeout(30min);
    EXPECT_EQ(armed_timers(), before);
    EXPECT_EQ(late.err(), context_errc::canceled);
    const context past = context::background().with_timeout(0s);
    EXPECT_EQ(armed_timers(), before);
    EXPECT_EQ(past.err(), context_errc::deadline_exceeded);
  });
}

// On a plain thread the keeper of all deadlines cancels; what a function does there must not keep another deadline from coming.
TEST(deadline, comes_while_a_function_of_another_waits_for_it) {
  const context first = context::background().with_timeout(1ms);
  std::atomic<bool> called{false};
  std::atomic<bool> ended{false};
  const auto r = context::after_func(first, [&] {
    called = true;
    context::background().with_timeout(1ms).done().recv();
    ended = true;
  });
  const context second = context::background().with_timeout(2ms);
  EXPECT_FALSE(second.done().recv());
  while (!ended) std::this_thread::yield();
  EXPECT_TRUE(called);
}

// The last handle goes while the deadline comes, or its parent does: it ends once, and who watches hears of it.
TEST(deadline, against_the_last_handle_is_not_lost) {
  for (const bool below : {false, true}) {
    test::for_each_case([&](const test::run_case&) {
      const context parent = below ? context::background().with_cancel() : context();
      for (int round = 0; round < 20; ++round) {
        const auto at = weft::clock::now() + 200us;
        std::vector<context> all;
        std::vector<recv_chan<>> watched;
        for (int i = 0; i < 50; ++i) {
          all.push_back(parent.with_deadline(at + i * 1us));
          watched.push_back(all.back().done());
        }
        for (int i = 0; i < 50; ++i) {
          while (weft::clock::now() < at + i * 1us + round * 1us) {
          }
          all[static_cast<std::size_t>(i)] = context();
        }
        for (const auto& d : watched) EXPECT_FALSE(d.recv());
      }
    });
  }
}

TEST(deadline, of_one_that_is_owned_against_the_end_of_its_parent) {
  test::for_each_case([](const test::run_case&) {
    for (int round = 0; round < 30; ++round) {
      const auto at = weft::clock::now() + 200us;
      context parent = context::background().with_cancel();
      std::vector<recv_chan<>> watched;
      for (int i = 0; i < 64; ++i) watched.push_back(parent.with_deadline(at).done());
      while (weft::clock::now() < at + round * 2us) {
      }
      parent = context();
    }
  });
}

}  // namespace
