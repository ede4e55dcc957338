// Contexts: Go's tests of its context package, restated (docs/conformance.md says which is which), and what weft has beside
// those: goroutines under a context, stop tokens. Each on real threads and in explored schedules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <any>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::everywhere;
using test::run_case;
using test::several_ps;
using test::still_clock;
using testing::HasSubstr;

template <class F>
void on_threads(F body) {
  test::for_each_case([&](const run_case&) { body(); }, several_ps);
}

// ---- signatures, to the letter

static_assert(std::is_nothrow_default_constructible_v<context> && std::is_nothrow_copy_constructible_v<context> &&
              std::is_nothrow_move_constructible_v<context> && std::is_nothrow_move_assignable_v<context>);
static_assert(sizeof(context) == sizeof(void*));
static_assert(std::is_same_v<decltype(context::background()), context>);
static_assert(std::is_same_v<decltype(context::current()), context>);
static_assert(std::is_same_v<decltype(context::from(std::stop_token())), context>);
template <class C>
concept has_all = requires(const C c, std::exception_ptr e) {
  { c.with_cancel() } -> std::same_as<context>;
  { c.with_timeout(1ms) } -> std::same_as<context>;
  { c.with_timeout(1ms, e) } -> std::same_as<context>;
  { c.with_deadline(weft::clock::now()) } -> std::same_as<context>;
  { c.with_deadline(std::chrono::system_clock::now(), e) } -> std::same_as<context>;
  { c.with_value(1, 2) } -> std::same_as<context>;
  { c.without_cancel() } -> std::same_as<context>;
  { c.value(1) } -> std::same_as<std::any>;
  { c.template value_as<int>(1) } -> std::same_as<const int*>;
  { c.err() } -> std::same_as<std::error_code>;
  { c.cause() } -> std::same_as<std::exception_ptr>;
  { c.done() } -> std::same_as<recv_chan<>>;
  { c.deadline() } -> std::same_as<std::optional<weft::clock::time_point>>;
  { c.stop_token() } -> std::same_as<std::stop_token>;
  { c.cancel() } -> std::same_as<void>;
  { c.cancel(e) } -> std::same_as<void>;
};
static_assert(has_all<context>);
static_assert(std::is_error_code_enum_v<context_errc>);

std::string text_of(const std::exception_ptr& e) {
  if (e == nullptr) return "none";
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return x.what();
  } catch (int n) {
    return std::to_string(n);
  }
}

bool is_done(const context& c) {
  const bool closed = c.done() != nullptr && c.done().try_recv() == chan_status::closed;
  EXPECT_EQ(closed, static_cast<bool>(c.err()));
  return closed;
}

// ---- the tree

TEST(context, background_is_never_done_and_has_nothing) {
  everywhere([] {
    const context bg = context::background();
    EXPECT_TRUE(bg.done() == nullptr);
    EXPECT_FALSE(bg.err());
    EXPECT_FALSE(bg.deadline());
    EXPECT_TRUE(bg.cause() == nullptr);
    EXPECT_FALSE(bg.value("key").has_value());
    EXPECT_FALSE(bg.stop_token().stop_possible());
    bg.cancel();
    EXPECT_FALSE(bg.err());
    EXPECT_TRUE(bg == context());
    EXPECT_TRUE(context::current() == bg);
    const context value = bg.with_value(1, 2);
    value.cancel();  // nothing there that can be cancelled
    EXPECT_FALSE(value.err());
    EXPECT_TRUE(value.done() == nullptr);
  });
}

TEST(context, a_handle_that_was_moved_from_is_the_background) {
  everywhere([] {
    context a = context::background().with_cancel();
    const context b = std::move(a);
    EXPECT_TRUE(a == context::background());  // NOLINT(bugprone-use-after-move)
    a = b;
    EXPECT_TRUE(a == b);
    a.cancel();
    EXPECT_TRUE(is_done(b));
  });
}

TEST(context, texts_are_gos) {
  EXPECT_EQ(make_error_code(context_errc::canceled).message(), "context canceled");
  EXPECT_EQ(make_error_code(context_errc::deadline_exceeded).message(), "context deadline exceeded");
  EXPECT_EQ(make_error_code(context_errc::canceled), std::errc::operation_canceled);
  EXPECT_EQ(make_error_code(context_errc::deadline_exceeded), std::errc::timed_out);
  EXPECT_NE(make_error_code(context_errc::canceled), std::errc::timed_out);
  EXPECT_THAT(std::error_code(7, context_category()).message(), HasSubstr("7"));
}

// Go: WithCancel.
TEST(context, cancelling_one_is_seen_by_all_below_and_none_above) {
  everywhere([] {
    const context top = context::background().with_cancel();
    const context c = top.with_cancel();
    const context below = c.with_value("k", 1).with_cancel().with_value("l", 2);
    const context beside = top.with_cancel();
    const recv_chan<> done = c.done();
    EXPECT_TRUE(done == c.done());
    for (const context& each : {top, c, below, beside}) EXPECT_FALSE(is_done(each));
    c.cancel();
    EXPECT_FALSE(done.recv());
    EXPECT_EQ(c.err(), context_errc::canceled);
    EXPECT_TRUE(is_done(c) && is_done(below));
    EXPECT_FALSE(is_done(top) || is_done(beside));
    c.cancel();
    EXPECT_EQ(c.err(), context_errc::canceled);
    EXPECT_TRUE(done == c.done());
  });
}

// Go: ParentFinishesChild, ChildFinishesFirst.
TEST(context, a_child_that_ends_first_leaves_its_parent_and_siblings) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const context first = parent.with_cancel();
    const context value = parent.with_value("k", "v");
    const context timed = value.with_timeout(1h);
    first.cancel();
    EXPECT_TRUE(is_done(first));
    EXPECT_FALSE(is_done(parent) || is_done(value) || is_done(timed));
    parent.cancel();
    EXPECT_TRUE(is_done(parent) && is_done(value) && is_done(timed));
    EXPECT_EQ(timed.err(), context_errc::canceled);
  });
}

// Go: WithCancelCanceledParent.
TEST(context, a_child_of_one_that_is_cancelled_is_born_cancelled) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    parent.cancel(std::make_exception_ptr(std::runtime_error("why")));
    const context child = parent.with_cancel();
    EXPECT_TRUE(is_done(child));
    EXPECT_EQ(text_of(child.cause()), "why");
    EXPECT_TRUE(is_done(parent.with_timeout(1h)));
    EXPECT_TRUE(is_done(parent.with_value(1, 1)));
    EXPECT_EQ(child.with_timeout(-1ms).err(), context_errc::canceled);
  });
}

// Go: WithCancelSimultaneouslyCanceledParent.
TEST(context, a_child_made_while_its_parent_is_cancelled_is_not_forgotten) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    context children[3];
    wait_group all;
    for (context& c : children) all.go([&] { c = parent.with_cancel(); });
    all.go([&] { parent.cancel(); });
    all.wait();
    for (const context& c : children) EXPECT_TRUE(is_done(c));
  });
}

// Go: SimultaneousCancels, InterlockedCancels.
TEST(context, many_cancel_at_once) {
  on_threads([] {
    const context root = context::background().with_cancel();
    std::vector<context> all;
    // A chain of 8, and 100 on each.
    context at = root;
    for (int i = 0; i < 8; ++i) {
      at = at.with_cancel();
      all.push_back(at);
      for (int k = 0; k < 100; ++k) all.push_back(at.with_cancel());
    }
    wait_group cancels;
    for (const context& c : all) cancels.go([c] { c.cancel(); });
    cancels.wait();
    for (const context& c : all) EXPECT_TRUE(is_done(c));
    EXPECT_FALSE(is_done(root));
  });
}

TEST(context, when_cancel_returns_all_below_are_done_whoever_did_it) {
  everywhere([] {
    const context root = context::background().with_cancel();
    const context middle = root.with_cancel();
    const context leaf = middle.with_cancel();
    const auto cancel_and_look = [&](const context& c) {
      c.cancel();
      EXPECT_TRUE(c.err());
      EXPECT_TRUE(leaf.err());
    };
    wait_group all;
    all.go([&] { cancel_and_look(root); });
    all.go([&] { cancel_and_look(middle); });
    all.go([&] { cancel_and_look(root); });
    all.wait();
  });
}

// Go: LayersCancel, LayersTimeout: a random chain, of which one is cancelled or times out.
void layers(bool by_timeout, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<context> chain;
  std::vector<std::pair<int, int>> values;
  std::vector<context> can_be_cancelled;
  context at;
  for (int i = 0; i < 60; ++i) {
    switch (random() % 4) {
      case 0:
        at = at.with_value(i, i * i);
        values.emplace_back(i, i * i);
        break;
      case 1:
        at = at.with_cancel();
        can_be_cancelled.push_back(at);
        break;
      case 2:
        at = at.with_timeout(1h);
        can_be_cancelled.push_back(at);
        break;
      default: at = at.with_value("layer", i); break;
    }
    chain.push_back(at);
  }
  at = by_timeout ? at.with_timeout(1ms) : at.with_cancel();
  for (const auto& [key, value] : values) EXPECT_EQ(std::any_cast<int>(at.value(key)), value);
  EXPECT_FALSE(by_timeout ? false : is_done(at));
  if (by_timeout) {
    at.done().recv();
    EXPECT_EQ(at.err(), context_errc::deadline_exceeded);
    for (const context& c : chain) EXPECT_FALSE(c.err());
  } else {
    can_be_cancelled[random() % can_be_cancelled.size()].cancel();
    EXPECT_EQ(at.err(), context_errc::canceled);
  }
  for (const auto& [key, value] : values) EXPECT_EQ(std::any_cast<int>(at.value(key)), value);
}

TEST(context, layers_of_all_kinds_are_cancelled) {
  test::for_each_case_and_schedule([](const run_case& c) { layers(false, c.seed); }, 200, several_ps);
}
TEST(context, layers_of_all_kinds_time_out) {
  test::for_each_case_and_schedule([](const run_case& c) { layers(true, c.seed); }, 200, several_ps);
}

// Go: CancelRemoves. What a context is kept by shows in what it keeps.
TEST(context, a_parent_does_not_keep_what_is_dropped_or_cancelled) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const auto kept = std::make_shared<int>(0);
    for (int i = 0; i < 3; ++i) {
      const context dropped = parent.with_value("k", kept).with_cancel().with_value("k", kept);
      const context cancelled_one = parent.with_value("k", kept).with_cancel();
      cancelled_one.cancel();
      const context timed = parent.with_value("k", kept).with_timeout(1h);
      auto r = context::after_func(parent, [kept] {});
      EXPECT_TRUE(r.stop());
    }
    EXPECT_EQ(kept.use_count(), 1);
  });
}

TEST(context, what_nobody_has_a_handle_of_still_ends_where_that_can_be_seen) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const recv_chan<> child = parent.with_cancel().with_cancel().done();
    const std::stop_token token = parent.with_cancel().stop_token();
    wait_group called;
    called.add(1);
    context::after_func(parent.with_cancel(), [&] { called.done(); });
    // Of these nothing can be seen any more when their parent goes, and it is not called.
    auto lost = std::make_shared<int>(0);
    context::after_func(context::background().with_cancel(), [lost] { ADD_FAILURE(); });
    EXPECT_EQ(lost.use_count(), 1);
    parent.cancel();
    EXPECT_FALSE(child.recv());
    EXPECT_TRUE(token.stop_requested());
    called.wait();
    const recv_chan<> timed = context::background().with_timeout(1ms).done();
    EXPECT_FALSE(timed.recv());
    const recv_chan<> below_timed = context::background().with_timeout(1ms).with_cancel().done();
    EXPECT_FALSE(below_timed.recv());
  });
}

TEST(context, the_last_handle_may_go_while_the_parent_is_cancelled) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    wait_group all;
    std::atomic<int> seen{0};
    for (int i = 0; i < 3; ++i) {
      all.go([&seen, c = parent.with_cancel(), i] {
        const recv_chan<> done = i == 0 ? c.done() : recv_chan<>(nullptr);
        if (i != 1) yield();
        context copy = c;
        copy = context();
        if (i == 0) {
          done.recv();
          ++seen;
        }
      });
    }
    all.go([&] { parent.cancel(); });
    all.wait();
    EXPECT_EQ(seen.load(), 1);
  });
}

TEST(context, deep_and_wide_trees_need_no_stack) {
  on_threads([] {
    constexpr int n = test::scaled(100'000);
    const context root = context::background().with_cancel();
    context deep = root;
    for (int i = 0; i < n; ++i) deep = i % 2 == 0 ? deep.with_cancel() : deep.with_value(1, i);
    std::vector<context> wide;
    for (int i = 0; i < n; ++i) wide.push_back(root.with_cancel());
    root.cancel();
    EXPECT_TRUE(deep.err());
    for (const context& c : wide) {
      if (!c.err()) return ADD_FAILURE();
    }
    deep = context();
  });
}

// ---- errors and causes

// Go: Cause.
TEST(context, the_first_cause_counts_here_or_above) {
  everywhere([] {
    const auto because = [](int n) { return std::make_exception_ptr(n); };
    const context parent = context::background().with_cancel();
    const context child = parent.with_cancel();
    EXPECT_TRUE(child.cause() == nullptr);
    child.cancel(because(1));
    parent.cancel(because(2));
    child.cancel(because(3));
    EXPECT_EQ(text_of(child.cause()), "1");
    EXPECT_EQ(text_of(parent.cause()), "2");
    EXPECT_EQ(text_of(child.with_cancel().with_value(1, 1).cause()), "1");
    EXPECT_EQ(parent.err(), context_errc::canceled);

    const context plain = context::background().with_cancel();
    const context below = plain.with_cancel();
    plain.cancel();
    EXPECT_EQ(text_of(below.cause()), "context canceled");
    try {
      std::rethrow_exception(below.cause());
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), context_errc::canceled);
    }

    const context timed = context::background().with_timeout(1ms, because(4));
    timed.done().recv();
    EXPECT_EQ(timed.err(), context_errc::deadline_exceeded);
    EXPECT_EQ(text_of(timed.cause()), "4");
    EXPECT_EQ(text_of(context::background().with_timeout(-1ms).cause()), "context deadline exceeded");
  });
}

// Go: CauseRace.
TEST(context, of_two_causes_one_is_seen_and_stays) {
  everywhere([] {
    const context c = context::background().with_cancel();
    wait_group all;
    for (int i = 0; i < 2; ++i) all.go([&, i] { c.cancel(std::make_exception_ptr(i)); });
    std::string first;
    while (first.empty() || first == "none") {
      first = text_of(c.cause());
      if (first == "none") yield();
    }
    all.wait();
    EXPECT_EQ(text_of(c.cause()), first);
  });
}

// Go: ContextErrDoneRace.
TEST(context, err_is_there_when_done_is_closed_and_not_before) {
  everywhere([] {
    const context c = context::background().with_cancel();
    const recv_chan<> done = c.done();
    wait_group all;
    all.go([&] {
      done.recv();
      EXPECT_EQ(c.err(), context_errc::canceled);
      EXPECT_TRUE(c.cause() != nullptr);
    });
    all.go([&] {
      while (!c.err()) yield();
      EXPECT_EQ(done.try_recv(), chan_status::closed);
      EXPECT_EQ(c.done().try_recv(), chan_status::closed);
    });
    all.go([&] { c.cancel(); });
    all.wait();
  });
}

TEST(context, a_done_channel_asked_for_while_it_is_cancelled_is_closed) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const context child = parent.with_cancel();
    wait_group all;
    for (int i = 0; i < 2; ++i) all.go([&] { EXPECT_FALSE(child.done().recv()); });
    all.go([&] { parent.cancel(); });
    all.wait();
    EXPECT_TRUE(child.done() == child.done());
  });
}

// ---- deadlines

// Go: Deadline, Timeout.
TEST(context, a_deadline_cancels_not_before_its_time) {
  everywhere([] {
    const auto before = weft::clock::now();
    const context c = context::background().with_timeout(3ms);
    ASSERT_TRUE(c.deadline());
    EXPECT_GE(*c.deadline(), before + 3ms);
    const context below = c.with_value(1, 1).with_cancel();
    EXPECT_EQ(below.deadline(), c.deadline());
    c.done().recv();
    EXPECT_GE(weft::clock::now(), *c.deadline());
    EXPECT_EQ(c.err(), context_errc::deadline_exceeded);
    EXPECT_TRUE(is_done(below));
    EXPECT_EQ(below.err(), context_errc::deadline_exceeded);
  });
}

TEST(context, a_deadline_by_another_clock_is_exact) {
  weft::sim::explore({.runs = 1}, [] {
    for (int k = 1; k < 1000; ++k) {
      const context c = context::background().with_deadline(still_clock::now() + std::chrono::nanoseconds(k * 7919));
      ASSERT_TRUE(c.deadline());
      ASSERT_EQ((*c.deadline() - weft::clock::now()).count(), k * 7919);
    }
  });
}

TEST(context, the_earlier_deadline_wins) {
  everywhere([] {
    const auto at = weft::clock::now() + 2ms;
    const context parent = context::background().with_deadline(at);
    const context later = parent.with_timeout(1h);
    EXPECT_EQ(later.deadline(), at);
    const context sooner = later.with_deadline(at - 1ms);
    EXPECT_EQ(sooner.deadline(), at - 1ms);
    sooner.done().recv();
    later.done().recv();
    EXPECT_EQ(later.err(), context_errc::deadline_exceeded);
    EXPECT_TRUE(is_done(parent));
    EXPECT_EQ(context::background().with_deadline(at).err(), context_errc::deadline_exceeded);  // past by now
    EXPECT_EQ(context::background().with_timeout(0s).err(), context_errc::deadline_exceeded);
    EXPECT_FALSE(context::background().with_timeout(std::chrono::hours::max()).err());
  });
}

TEST(context, a_deadline_is_of_any_clock) {
  on_threads([] {
    EXPECT_EQ(context::background().with_deadline(std::chrono::system_clock::now() - 1h).err(),
              context_errc::deadline_exceeded);
    const context c = context::background().with_deadline(std::chrono::steady_clock::now() + 1ms);
    c.done().recv();
    EXPECT_EQ(c.err(), context_errc::deadline_exceeded);
  });
}

// Go: CanceledTimeout.
TEST(context, cancelling_before_the_deadline_stops_it) {
  everywhere([] {
    const context c = context::background().with_timeout(2ms);
    const context d = context::background().with_timeout(2ms);
    c.cancel();
    EXPECT_EQ(c.err(), context_errc::canceled);
    d.done().recv();
    sleep(2ms);
    EXPECT_EQ(c.err(), context_errc::canceled);
    EXPECT_EQ(d.err(), context_errc::deadline_exceeded);
  });
}

TEST(context, a_deadline_against_a_cancel_has_one_winner) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const context c = parent.with_timeout(1ms, std::make_exception_ptr(1));
    wait_group all;
    all.go([&] {
      sleep(1ms);
      c.cancel(std::make_exception_ptr(2));
    });
    all.go([&] {
      sleep(1ms);
      parent.cancel(std::make_exception_ptr(3));
    });
    c.done().recv();
    const std::error_code err = c.err();
    const std::string cause = text_of(c.cause());
    all.wait();
    EXPECT_EQ(c.err(), err);
    EXPECT_EQ(text_of(c.cause()), cause);
    EXPECT_EQ(cause == "1", err == context_errc::deadline_exceeded);
  });
}

// ---- values

struct a_key {
  int n;
  friend bool operator==(const a_key&, const a_key&) = default;
};

// Go: Values, WithValueChecksKey.
TEST(context, the_nearest_value_of_a_key_is_found) {
  everywhere([] {
    const context one = context::background().with_value("k", 1).with_value(a_key{1}, std::string("struct"));
    const context two = one.with_cancel().with_value("k", 2).with_value("other", nullptr);
    EXPECT_EQ(std::any_cast<int>(one.value("k")), 1);
    EXPECT_EQ(std::any_cast<int>(two.value("k")), 2);
    EXPECT_EQ(std::any_cast<int>(two.value(std::string("k"))), 2);
    EXPECT_EQ(std::any_cast<int>(two.value(std::string_view("k"))), 2);
    EXPECT_EQ(std::any_cast<std::string>(two.value(a_key{1})), "struct");
    EXPECT_FALSE(two.value(a_key{2}).has_value());
    EXPECT_FALSE(two.value(1).has_value());  // another type
    EXPECT_FALSE(two.value(1L).has_value());
    EXPECT_TRUE(two.value("other").has_value());  // there, and null
    EXPECT_EQ(*two.value_as<int>("k"), 2);
    EXPECT_EQ(two.value_as<long>("k"), nullptr);
    EXPECT_EQ(two.value_as<int>("nothing"), nullptr);
    static int a, b;
    const context pointers = two.with_value(&a, 1);
    EXPECT_EQ(*pointers.value_as<int>(&a), 1);
    EXPECT_EQ(pointers.value_as<int>(&b), nullptr);
  });
  const context bg;
  EXPECT_THROW(static_cast<void>(bg.with_value(nullptr, 1)), error);
  try {
    static_cast<void>(bg.with_value(static_cast<int*>(nullptr), 1));
    ADD_FAILURE();
  } catch (const error& e) {
    EXPECT_STREQ(e.what(), "nil key");
  }
}

// Go: WithoutCancel.
TEST(context, without_cancel_keeps_the_values_only) {
  everywhere([] {
    const context parent = context::background().with_value("k", 1).with_timeout(1h);
    const context apart = parent.without_cancel();
    EXPECT_FALSE(apart.deadline());
    EXPECT_TRUE(apart.done() == nullptr);
    const context below = apart.with_cancel();
    parent.cancel();
    EXPECT_FALSE(apart.err());
    EXPECT_TRUE(apart.cause() == nullptr);
    EXPECT_FALSE(below.err());
    EXPECT_EQ(*below.value_as<int>("k"), 1);
    apart.cancel();
    EXPECT_FALSE(apart.err());
    below.cancel();
    EXPECT_TRUE(is_done(below));
    EXPECT_TRUE(context::background().without_cancel() == context::background());
  });
}

// ---- functions that wait for the end

// Go: AfterFuncCalledAfterCancel, …AfterTimeout, …Immediately, NotCalledAfterStop, CalledAsynchronously.
TEST(context, after_func_is_called_once_after_the_end) {
  everywhere([] {
    const context c = context::background().with_cancel();
    std::atomic<int> calls{0};
    wait_group called;
    called.add(2);
    const auto f = [&] {
      EXPECT_TRUE(c.err());
      EXPECT_TRUE(context::current() == context::background());
      EXPECT_FALSE(this_goroutine::cancelled());
      ++calls;
      called.done();
    };
    auto r = context::after_func(c, f);
    yield();
    EXPECT_EQ(calls.load(), 0);
    with(c, [&] { c.cancel(); });  // not from under the context that has ended
    auto at_once = context::after_func(c, f);
    called.wait();
    EXPECT_EQ(calls.load(), 2);
    EXPECT_FALSE(r.stop());
    EXPECT_FALSE(at_once());
    wait_group by_timeout;
    by_timeout.add(1);
    const context timed = context::background().with_timeout(1ms);
    context::after_func(timed, [&] { by_timeout.done(); });
    by_timeout.wait();
  });
}

TEST(context, after_func_that_is_stopped_is_not_called) {
  everywhere([] {
    const context c = context::background().with_cancel();
    const auto held = std::make_shared<int>(0);
    auto r = context::after_func(c, [held] { ADD_FAILURE(); });
    EXPECT_TRUE(r.stop());
    EXPECT_FALSE(r.stop());
    auto never = context::after_func(context::background(), [held] { ADD_FAILURE(); });
    EXPECT_TRUE(never.stop());
    EXPECT_FALSE(never.stop());
    c.cancel();
    EXPECT_THROW(static_cast<void>(context::after_func(c, std::function<void()>())), error);
  });
}

TEST(context, stop_against_cancel_of_an_after_func_has_one_winner) {
  everywhere([] {
    const context c = context::background().with_cancel();
    std::atomic<int> calls{0};
    std::atomic<int> stopped{0};
    wait_group all;
    {
      auto r = context::after_func(c, [&, done = std::make_shared<int>(0)] { ++calls; });
      all.go([&] { c.cancel(); });
      all.go([&, r = std::move(r)] { stopped += r.stop() ? 1 : 0; });
      all.wait();
    }
    test::yield_until([&] { return calls + stopped == 1; });
  });
}

// Go: AfterFuncCalledAsynchronously.
TEST(context, after_func_may_wait_for_whoever_cancels) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<> go_on;
    wait_group ended;
    ended.add(1);
    auto r = context::after_func(c, [&] {
      go_on.recv();
      ended.done();
    });
    c.cancel();
    go_on.send();
    ended.wait();
  });
}

TEST(context, without_a_runtime_all_works_on_plain_threads) {
  const context c = context::background().with_cancel();
  const context timed = context::background().with_timeout(2ms);
  int called = 0;
  auto r = context::after_func(c, [&] { ++called; });
  std::thread other([&] {
    with(c, [&] { EXPECT_TRUE(context::current() == c); });
    EXPECT_TRUE(context::current() == context::background());
    c.cancel();
  });
  EXPECT_FALSE(c.done().recv());
  other.join();
  EXPECT_EQ(called, 1);  // on the thread that cancelled
  EXPECT_FALSE(r.stop());
  timed.done().recv();
  EXPECT_EQ(timed.err(), context_errc::deadline_exceeded);
}

TEST(context, one_serves_several_runtimes_and_outlives_them) {
  const context c = context::background().with_cancel();
  std::atomic<int> unwound{0};
  {
    runtime a, b;
    for (runtime* each : {&a, &b}) {
      each->go([&] {
        try {
          with(c, [] { chan<>().recv(); });
        } catch (const cancelled&) {
          ++unwound;
        }
      });
    }
    a.run([&] { c.cancel(); });
    while (unwound != 2) std::this_thread::yield();
  }
  EXPECT_TRUE(c.err());
}

// ---- stop tokens

TEST(context, a_stop_token_follows_its_context) {
  everywhere([] {
    const context parent = context::background().with_cancel();
    const context c = parent.with_cancel();
    const std::stop_token early = c.stop_token();
    EXPECT_TRUE(early.stop_possible());
    EXPECT_FALSE(early.stop_requested());
    EXPECT_TRUE(early == c.stop_token());
    int called = 0;
    const std::stop_callback callback(early, [&] {
      ++called;
      EXPECT_TRUE(c.err());
      c.cancel();  // which is over, and not waited for
    });
    parent.cancel();
    EXPECT_TRUE(early.stop_requested());
    EXPECT_EQ(called, 1);
    EXPECT_TRUE(c.stop_token().stop_requested());
    const context born = parent.with_cancel();
    EXPECT_TRUE(born.stop_token().stop_requested());
  });
}

TEST(context, a_context_follows_its_stop_token) {
  everywhere([] {
    std::stop_source source;
    const context c = context::from(source.get_token());
    const context below = c.with_cancel();
    EXPECT_FALSE(is_done(c));
    source.request_stop();
    EXPECT_TRUE(is_done(c) && is_done(below));
    EXPECT_EQ(c.err(), context_errc::canceled);
    EXPECT_TRUE(is_done(context::from(source.get_token())));
    const context of_none = context::from(std::stop_token());
    EXPECT_FALSE(is_done(of_none));
    of_none.cancel();
    EXPECT_TRUE(is_done(of_none));
    // There and back.
    const context first = context::background().with_cancel();
    const context second = context::from(first.stop_token());
    first.cancel();
    EXPECT_TRUE(is_done(second));
  });
}

TEST(context, one_of_a_stop_token_may_go_while_the_stop_is_requested) {
  everywhere([] {
    std::stop_source source;
    wait_group all;
    for (int i = 0; i < 2; ++i) {
      all.go([c = context::from(source.get_token())]() mutable {
        const recv_chan<> done = c.done();
        yield();
        c = context();
      });
    }
    all.go([&] { source.request_stop(); });
    all.wait();
  });
}

// ---- goroutines under a context

struct counts_its_end {
  std::atomic<int>& n;
  ~counts_its_end() { ++n; }
};

TEST(with, current_is_what_it_says_and_inherited) {
  everywhere([] {
    const context a = context::background().with_cancel();
    const context b = a.with_value("k", 1);
    EXPECT_EQ(with(a,
                   [&] {
                     EXPECT_TRUE(context::current() == a);
                     with(b, [&] {
                       EXPECT_TRUE(context::current() == b);
                       wait_group all;
                       all.go([&] {
                         EXPECT_TRUE(context::current() == b);
                         with(context::background(), [] { EXPECT_TRUE(context::current() == context::background()); });
                         all.go([&] { EXPECT_TRUE(context::current() == b); });
                       });
                       go(attrs{.name = "named"}, [&all, b, one = (all.add(1), 0)] {
                         EXPECT_TRUE(context::current() == b);
                         EXPECT_EQ(this_goroutine::name(), "named");
                         all.done();
                       });
                       all.wait();
                     });
                     EXPECT_TRUE(context::current() == a);
                     return 7;
                   }),
              7);
    EXPECT_TRUE(context::current() == context::background());
    EXPECT_THROW(with(a, [] { throw std::runtime_error("through"); }), std::runtime_error);
    EXPECT_TRUE(context::current() == context::background());
  });
}

TEST(with, every_cancellation_point_obeys) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<int> ch;
    semaphore never(0);
    wait_group nobody;
    nobody.add(1);
    latch l(1);
    barrier<> b(2);
    mutex m;
    condition_variable cv;
    const future<int> pending = async([&ch] { return *ch.recv(); });
    task_group group;
    std::atomic<int> unwound{0};
    wait_group all;
    const auto waits = [&](auto f) {
      all.go([&, f] {
        with(c, [&] {
          const counts_its_end end{unwound};
          f();
          ADD_FAILURE() << "it did not unwind";
        });
      });
    };
    chan<int> mine, full(1);
    full.send(1);
    waits([&] { mine.recv(); });
    waits([&] { chan<int>().send(1); });
    waits([&] { full.send(2); });
    waits([&] { select(recv(mine), on(context::background().done())); });
    waits([&] { select(); });
    waits([&] { recv_chan<>(nullptr).recv(); });
    waits([&] { sleep(1h); });
    waits([&] { never.acquire(); });
    waits([&] { nobody.wait(); });
    waits([&] { l.wait(); });
    waits([&] { b.arrive_and_wait(); });
    waits([&] { pending.wait(); });
    waits([&] { pending.wait_for(1h); });
    waits([&] {
      std::unique_lock lock(m);
      cv.wait(lock);
    });
    waits([&] {
      std::unique_lock lock(m);
      const counts_its_end held{unwound};
      try {
        cv.wait(lock);
      } catch (const cancelled&) {
        EXPECT_TRUE(lock.owns_lock());
        --unwound;
        throw;
      }
    });
    if (sim::active()) {
      yield();
    } else {
      test::yield_until([&] { return true; });
      sleep(1ms);
    }
    c.cancel();
    all.wait();
    EXPECT_EQ(unwound.load(), 15);
    // Nobody was left in a queue.
    never.release();
    EXPECT_TRUE(never.try_acquire());
    EXPECT_EQ(full.try_send(3), chan_status::would_block);
    ch.send(1);
    EXPECT_EQ(pending.get(), 1);
  });
}

TEST(with, what_need_not_wait_succeeds_and_locks_are_no_points) {
  everywhere([] {
    const context c = context::background().with_cancel();
    c.cancel();
    with(c, [&] {
      EXPECT_TRUE(this_goroutine::cancelled());
      chan<int> buffered(1);
      buffered.send(1);
      EXPECT_EQ(*buffered.recv(), 1);
      semaphore one(1);
      one.acquire();
      wait_group zero;
      zero.wait();
      mutex m;
      m.lock();
      m.unlock();
      yield();
      sleep(0s);
      select(on(c.done()));
      const future<int> ready = [] {
        future<int> f = async([] { return 1; });
        no_cancel uninterrupted;
        f.wait();
        return f;
      }();
      EXPECT_EQ(ready.get(), 1);
      EXPECT_THROW(one.acquire(), cancelled);
      EXPECT_THROW(buffered.recv(), cancelled);  // swallowed, it comes again
      EXPECT_THROW(sleep(1h), cancelled);
    });
    EXPECT_FALSE(this_goroutine::cancelled());
  });
}

TEST(with, a_mutex_that_is_waited_for_is_got) {
  everywhere([] {
    const context c = context::background().with_cancel();
    mutex m;
    m.lock();
    std::atomic<bool> got{false};
    wait_group all;
    all.go([&] {
      with(c, [&] {
        const std::lock_guard hold(m);
        got = true;
      });
    });
    yield();
    c.cancel();
    EXPECT_FALSE(got.load());
    m.unlock();
    all.wait();
    EXPECT_TRUE(got.load());
  });
}

TEST(with, no_cancel_and_unwinding_shield) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<> to;
    std::atomic<int> received{0};
    wait_group all;
    all.go([&] {
      try {
        with(c, [&] {
          {
            no_cancel uninterrupted;
            to.recv();
            ++received;
          }
          struct waits_at_its_end {
            chan<>& to;
            std::atomic<int>& received;
            ~waits_at_its_end() {
              to.recv();  // while an exception is on its way
              ++received;
            }
          } at_end{to, received};
          chan<>().recv();
        });
        ADD_FAILURE();
      } catch (const cancelled&) {
      }
    });
    all.go([&] { c.cancel(); });
    to.send();
    to.send();
    all.wait();
    EXPECT_EQ(received.load(), 2);
  });
}

TEST(with, it_unwinds_out_of_with_and_no_further_than_it_is_let) {
  everywhere([] {
    const context outer = context::background().with_cancel();
    const context inner = outer.with_cancel();
    const context unrelated = context::background().with_cancel();
    inner.cancel();
    with(outer, [&] {
      try {
        with(inner, [] { chan<>().recv(); });
        ADD_FAILURE();
      } catch (const cancelled&) {
        EXPECT_FALSE(this_goroutine::cancelled());
      }
      chan<> ch;
      go([&] { ch.send(); });
      EXPECT_TRUE(ch.recv());
      // The innermost counts.
      outer.cancel();
      with(unrelated, [] {
        chan<> other;
        go([other] { other.send(); });
        EXPECT_TRUE(other.recv());
      });
      EXPECT_THROW(chan<>().recv(), cancelled);
    });
  });
}

TEST(with, a_goroutine_ends_silently_and_leaves_nothing) {
  everywhere([] {
    const context c = context::background().with_cancel();
    std::atomic<int> ended{0};
    wait_group all;
    with(c, [&] {
      for (int i = 0; i < 4; ++i) {
        all.go([&, i] {
          const counts_its_end end{ended};
          chan<> ch;
          if (i % 2 == 0) yield();
          ch.recv();
        });
      }
    });
    c.cancel();
    all.wait();
    EXPECT_EQ(ended.load(), 4);
  });
}

TEST(with, a_goroutine_waits_and_goes_on_many_times_before_it_is_cancelled) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<int> there, back;
    wait_group all;
    std::atomic<int> n{0};
    all.go([&] {
      with(c, [&] {
        for (int& i : there) {
          back.send(i + 1);
          ++n;
        }
      });
    });
    for (int i = 0; i < 4; ++i) {
      there.send(i);
      EXPECT_EQ(*back.recv(), i + 1);
    }
    c.cancel();
    all.wait();
    EXPECT_EQ(n.load(), 4);
  });
}

// The wait has been won by somebody else: a value that was received is not lost.
TEST(with, a_cancellation_against_a_hand_over_has_one_winner) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<int> ch;
    std::atomic<int> received{0};
    wait_group all;
    all.go([&] {
      with(c, [&] {
        if (ch.recv()) ++received;
      });
    });
    std::atomic<int> sent{0};
    all.go([&] {
      if (select(send(ch, 1), on(c.done())) == 0) ++sent;
    });
    all.go([&] { c.cancel(); });
    all.wait();
    EXPECT_EQ(sent.load(), received.load());
  });
}

TEST(with, a_cancelled_acquire_leaves_the_permit_to_the_next) {
  everywhere([] {
    const context c = context::background().with_cancel();
    semaphore s(0);
    std::atomic<int> got{0};
    wait_group all;
    all.go([&] {
      with(c, [&] {
        s.acquire();
        ++got;
        s.release();
      });
    });
    all.go([&] {
      s.acquire();
      ++got;
      s.release();
    });
    all.go([&] { c.cancel(); });
    s.release();
    all.wait();
    EXPECT_GE(got.load(), 1);
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST(with, exit_passes_through) {
  everywhere([] {
    wait_group all;
    std::atomic<int> ended{0};
    all.go([&] {
      const counts_its_end end{ended};
      with(context::background().with_cancel(), [] { this_goroutine::exit(); });
    });
    all.wait();
    EXPECT_EQ(ended.load(), 1);
  });
}

TEST(with, the_runtime_ends_those_under_a_context_too) {
  for (const int procs : {1, 2, 4}) {
    std::atomic<int> ended{0};
    const context c = context::background().with_cancel();
    options o;
    o.procs = procs;
    run(o, [&] {
      for (int i = 0; i < 6; ++i) {
        go(attrs{.name = i % 2 == 0 ? "named" : ""}, [&, i] {
          const counts_its_end end{ended};
          if (i < 2) with(c, [] { chan<>().recv(); });
          if (i >= 4) with(context::background(), [] { chan<>().recv(); });
          chan<>().recv();
        });
      }
      if (procs != 2) yield();
    });
    EXPECT_EQ(ended.load(), 6);
    EXPECT_FALSE(c.err());
  }
}

TEST(with, many_under_one_context_all_unwind) {
  on_threads([] {
    constexpr int n = 2000;
    const context c = context::background().with_cancel();
    std::atomic<int> unwound{0};
    chan<int> ch;
    semaphore s(0);
    wait_group all;
    with(c, [&] {
      for (int i = 0; i < n; ++i) {
        all.go([&, i] {
          const counts_its_end end{unwound};
          switch (i % 3) {
            case 0: ch.recv(); break;
            case 1: s.acquire(); break;
            default: select(recv(ch), acquire(s)); break;
          }
        });
      }
    });
    for (int i = 0; i < 20; ++i) yield();
    c.cancel();
    all.wait();
    EXPECT_EQ(unwound.load(), n);
  });
}

}  // namespace
