// How contexts go that nobody has a handle of: what can still be seen of them ends with their parent, or their stop token, and
// what nobody sees is not kept.
#include <gtest/gtest.h>
#include <pthread.h>

#include <chrono>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;

// Each on goroutines of several Ps, and on a plain thread.
void everywhere(const std::function<void()>& body) {
  body();
  test::for_each_case([&](const test::run_case&) { body(); });
}

// A walk takes both off their lists; each is kept by what it is below until it has gone itself.
TEST(letting_go, two_that_are_owned_one_below_the_other_are_cancelled) {
  everywhere([] {
    context top = context::background().with_cancel();
    const std::stop_token token = top.with_cancel().with_cancel().stop_token();
    const recv_chan<> done = top.with_cancel().with_cancel().done();
    top.cancel();
    top = context();
    EXPECT_TRUE(token.stop_requested());
    EXPECT_FALSE(done.recv());
  });
}

TEST(letting_go, of_a_stop_token_it_still_follows_it) {
  everywhere([] {
    std::stop_source source;
    wait_group called;
    called.add(1);
    context::after_func(context::from(source.get_token()), [&] { called.done(); });
    const recv_chan<> done = context::from(source.get_token()).done();
    const recv_chan<> below = context::from(source.get_token()).with_cancel().done();
    const std::stop_token token = context::from(source.get_token()).stop_token();
    source.request_stop();
    called.wait();
    EXPECT_FALSE(done.recv());
    EXPECT_FALSE(below.recv());
    EXPECT_TRUE(token.stop_requested());
  });
}

// The last handle goes while a stop is requested. Not in test/model: the standard library waits there with loops of its own.
TEST(letting_go, of_a_stop_token_against_the_stop) {
  for (int round = 0; round < 30; ++round) {
    std::stop_source source;
    std::vector<context> all;
    std::vector<recv_chan<>> watched;
    for (int i = 0; i < 8; ++i) {
      all.push_back(context::from(source.get_token()));
      // Every other one is seen by nobody.
      if (i % 2 == 0) watched.push_back(all.back().done());
    }
    std::latch begin(2);
    std::thread drops([&] {
      begin.arrive_and_wait();
      all.clear();
    });
    begin.arrive_and_wait();
    source.request_stop();
    drops.join();
    for (const auto& d : watched) EXPECT_EQ(d.try_recv(), chan_status::closed);
  }
}

// Nothing can stop it any more, so nobody is to wait for that.
TEST(letting_go, of_a_stop_token_without_a_source_it_is_freed) {
  everywhere([] {
    const auto kept = std::make_shared<int>(0);
    {
      std::optional<std::stop_source> source(std::in_place);
      const context c = context::from(source->get_token());
      source.reset();
      context::after_func(c, [kept] { ADD_FAILURE(); });
    }
    EXPECT_EQ(kept.use_count(), 1);
  });
}

// Nobody is told when a done channel goes; whoever leaves a context to the same list looks at some. How many there are shows in
// who has the cause of their deadlines.
TEST(letting_go, a_parent_keeps_few_of_those_whose_channels_have_gone) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const auto kept = std::make_shared<int>(0);
    const auto watched = [&] { return parent.with_timeout(1h, std::make_exception_ptr(kept)).done(); };
    constexpr long alive = 100;
    std::vector<recv_chan<>> watches;
    for (long i = 0; i < alive; ++i) watches.push_back(watched());
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(watched().try_recv(), chan_status::would_block);
    EXPECT_GT(kept.use_count(), alive);
    EXPECT_LE(kept.use_count(), 2 * alive);
    for (const auto& d : watches) EXPECT_EQ(d.try_recv(), chan_status::would_block);
    parent.cancel();
    for (const auto& d : watches) EXPECT_EQ(d.try_recv(), chan_status::closed);
  });
}

// The value of one that a walk lets go of is the program's: it may cancel the same context.
struct cancels_when_it_dies {
  context c;
  explicit cancels_when_it_dies(context of) : c(std::move(of)) {}
  ~cancels_when_it_dies() { c.cancel(); }
};

// The last handles go while the walk has shares (always: context_value_dies_in_a_walk in test/model).
TEST(letting_go, a_value_that_dies_in_a_cancellation_may_cancel_again) {
  for (int round = 0; round < 30; ++round) {
    const context root = context::background().with_cancel();
    const auto one = [&] {
      context c = root.with_value("k", std::make_shared<cancels_when_it_dies>(root)).with_cancel();
      static_cast<void>(c.done());
      return c;
    };
    std::vector<context> all;
    for (int i = 0; i < 64; ++i) all.push_back(one());
    std::latch begin(2);
    std::thread drops([&] {
      begin.arrive_and_wait();
      all.clear();
    });
    begin.arrive_and_wait();
    root.cancel();
    drops.join();
  }
}

TEST(letting_go, a_function_that_throws_keeps_no_other_from_being_called) {
  const context c = context::background().with_cancel();
  const std::stop_token token = c.stop_token();
  int called = 0;
  const auto last = context::after_func(c, [&] { ++called; });
  const auto second = context::after_func(c, [&] {
    ++called;
    throw 2;
  });
  const auto first = context::after_func(c, [&] {
    ++called;
    throw 1;
  });
  int caught = 0;
  try {
    c.cancel();
  } catch (int n) {
    caught = n;
  }
  EXPECT_NE(caught, 0);
  EXPECT_EQ(called, 3);
  EXPECT_TRUE(token.stop_requested());
}

// pthread_exit unwinds, and the C library ends the process if anybody stops that: what was still to be called is then called on a
// thread of its own, and the thread ends.
TEST(letting_go, a_function_that_ends_its_thread_keeps_no_other_from_being_called) {
  for (const bool first : {true, false}) {
    const context c = context::background().with_cancel();
    const std::stop_token token = c.stop_token();
    std::latch called(3);
    bool unwound = false;
    bool returned = false;
    const auto counts = [&] { called.count_down(); };
    const auto after = context::after_func(c, counts);
    std::optional<context::registration> exits;
    const auto ends_its_thread = [&] { ::pthread_exit(nullptr); };
    if (!first) exits.emplace(context::after_func(c, ends_its_thread));
    const auto before = context::after_func(c, counts);
    if (first) exits.emplace(context::after_func(c, ends_its_thread));
    const std::stop_callback stops(token, counts);
    std::thread([&] {
      struct in_a_frame {
        bool* unwound;
        ~in_a_frame() { *unwound = true; }
      } const frame{&unwound};
      c.cancel();
      returned = true;
    }).join();
    called.wait();
    EXPECT_TRUE(unwound);
    EXPECT_FALSE(returned);
    EXPECT_TRUE(c.err());
  }
}

// At a deadline it is called on a thread of its own, which then ends.
TEST(letting_go, a_function_that_ends_the_thread_of_a_deadline_keeps_no_other_from_being_called) {
  for (int i = 0; i < 3; ++i) {
    const context c = context::background().with_timeout(1ms);
    std::latch called(3);
    const auto ends_its_thread = [&] {
      called.count_down();
      ::pthread_exit(nullptr);
    };
    const auto first = context::after_func(c, ends_its_thread);
    const auto second = context::after_func(c, ends_its_thread);
    const auto third = context::after_func(c, [&] { called.count_down(); });
    called.wait();
    EXPECT_EQ(c.err(), context_errc::deadline_exceeded);
  }
  while (rt::the_process.outside_threads.load(rt::acquire) != 0) std::this_thread::yield();
}

TEST(with, goroutines_that_a_plain_thread_starts_inherit_its_context) {
  const context c = context::background().with_value("k", 1);
  runtime rt{options{}};
  const auto here = [&] { return context::current() == c; };
  with(c, [&] {
    EXPECT_TRUE(here());
    EXPECT_TRUE(rt.submit(here).get());
    EXPECT_TRUE(rt.run(here));
    EXPECT_TRUE(weft::run(here));
  });
  EXPECT_FALSE(rt.submit(here).get());
  EXPECT_FALSE(weft::run(here));
  const context ended = context::background().with_cancel();
  ended.cancel();
  with(ended, [&] {
    EXPECT_THROW(weft::run([] { chan<>().recv(); }), cancelled);
    EXPECT_THROW(rt.submit([] { chan<>().recv(); }).get(), future_cancelled);
  });
}

// As in Go, where a context lives as long as anybody has it: whoever hears that it is done may let go of the last handle,
// while the cancellation is still at work.
TEST(letting_go, of_one_that_is_just_being_cancelled_by_its_own_handle) {
  test::for_each_case([](const test::run_case&) {
    for (int i = 0; i < 500; ++i) {
      auto c = std::make_unique<context>(context::background().with_cancel());
      const recv_chan<> done = c->done();
      go([handle = c.get()] { handle->cancel(); });
      done.recv();
      c.reset();
    }
  });
}

// What hears of the end is called as anywhere else: a context that has just ended does not cancel it.
TEST(letting_go, stop_callbacks_may_wait) {
  test::for_each_case([](const test::run_case&) {
    chan<int> heard;
    go([&] {
      sleep(std::chrono::milliseconds(1));  // so that the send waits
      heard.recv();
    });
    const context c = context::background().with_cancel();
    int called = 0;
    const std::stop_callback callback(c.stop_token(), [&] {
      yield();
      heard.send(1);
      ++called;
    });
    with(c, [&] { c.cancel(); });
    EXPECT_EQ(called, 1);
  });
}

struct waits_when_it_dies {
  bool* dead;
  explicit waits_when_it_dies(bool* says) : dead(says) {}
  ~waits_when_it_dies() {
    sleep(std::chrono::milliseconds(1));
    *dead = true;
  }
};

// Of a goroutine that is cancelled because main has returned.
TEST(letting_go, of_the_last_value_as_a_goroutine_ends_that_is_cancelled) {
  for (const std::uint32_t procs : {1, 2}) {
    bool dead = false;
    options o;
    o.procs = procs;
    weft::run(o, [&] {
      with(context::background().with_value("k", std::make_shared<waits_when_it_dies>(&dead)), [] {
        go([] {
          const chan<> never;
          never.recv();
        });
      });
      yield();
    });
    EXPECT_TRUE(dead);
  }
}

}  // namespace
