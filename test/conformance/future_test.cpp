// weft::async and weft::future: std's words for it, as shared handles, and that nobody waits for ever. Go has neither.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <concepts>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::everywhere;
using test::misuse;
using test::run_case;
using test::still_clock;

// ---- signatures, to the letter

using weft::future;
static_assert(std::is_nothrow_default_constructible_v<future<int>> &&
              std::is_nothrow_copy_constructible_v<future<int>> && std::is_nothrow_move_assignable_v<future<int>>);
static_assert(std::is_same_v<decltype(weft::async([] { return 1; })), future<int>>);
static_assert(std::is_same_v<decltype(weft::async([] {})), future<void>>);
static_assert(std::is_same_v<decltype(weft::async([]() -> const std::string { return {}; })), future<std::string>>);
static_assert(std::is_same_v<decltype(weft::async([]() -> int& { throw 1; })), future<int&>>);
static_assert(std::is_same_v<decltype(weft::async(attrs{.name = "x"}, [] { return 1L; })), future<long>>);
template <class R, class Get, class Take>
constexpr bool gives = requires(const future<R> f) {
  { f.get() } -> std::same_as<Get>;
  { f.take() } -> std::same_as<Take>;
  { f.wait() } -> std::same_as<void>;
  { f.wait_for(1ms) } -> std::same_as<std::future_status>;
  { f.wait_until(weft::clock::now()) } -> std::same_as<std::future_status>;
  { f.wait_until(std::chrono::system_clock::now()) } -> std::same_as<std::future_status>;
  { f.valid() } -> std::same_as<bool>;
};
static_assert(gives<int, const int&, int>);
static_assert(gives<std::unique_ptr<int>, const std::unique_ptr<int>&, std::unique_ptr<int>>);
static_assert(gives<void, void, void>);
static_assert(gives<int&, int&, int&>);

// ---- results

TEST(future, the_result_is_there_any_number_of_times) {
  everywhere([] {
    const auto f = async([] { return std::string("result"); });
    const auto copy = f;
    EXPECT_EQ(f.get(), "result");
    EXPECT_EQ(&f.get(), &copy.get());
    EXPECT_TRUE(f.ready() && copy.valid() && f == copy);
    f.wait();
    EXPECT_EQ(f.wait_for(0s), std::future_status::ready);
  });
}

TEST(future, take_moves_it_out_once) {
  everywhere([] {
    const auto f = async([] { return std::make_unique<int>(7); });
    const auto copy = f;
    EXPECT_EQ(*f.get(), 7);
    EXPECT_EQ(*copy.take(), 7);
    const std::string taken = "weft: the result of this future has been taken";
    EXPECT_EQ(misuse([&] { f.take(); }), taken);
    EXPECT_EQ(misuse([&] { static_cast<void>(f.get()); }), taken);
    f.wait();
    EXPECT_TRUE(f.valid());
  });
}

TEST(future, of_many_who_take_one_has_it) {
  everywhere([] {
    const auto f = async([] { return std::make_unique<int>(7); });
    std::atomic<int> got{0}, refused{0};
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        try {
          got += *f.take();
        } catch (const error&) {
          ++refused;
        }
      });
    }
    all.wait();
    EXPECT_EQ(got.load(), 7);
    EXPECT_EQ(refused.load(), 2);
  });
}

struct no_default {
  explicit no_default(int n) : v(n) {}
  int v;
};
struct alignas(64) wide {
  char c = 'w';
};

TEST(future, results_of_all_kinds) {
  everywhere([] {
    const auto nothing = async([] {});
    nothing.get();
    nothing.take();
    EXPECT_EQ(misuse([&] { nothing.take(); }), "weft: the result of this future has been taken");
    int x = 1;
    const auto reference = async([&x]() -> int& { return x; });
    reference.get() = 2;
    EXPECT_EQ(x, 2);
    EXPECT_EQ(&reference.take(), &x);
    EXPECT_EQ(async([] { return no_default(3); }).get().v, 3);
    const auto aligned = async([] { return wide(); });
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&aligned.get()) % 64, 0u);
    const auto large =
        async([big = std::vector<int>(100, 1), pad = std::array<char, 200>()] { return big.size() + pad.size(); });
    EXPECT_EQ(large.get(), 300u);
    EXPECT_EQ(async(std::function<int()>([] { return 4; })).get(), 4);
    EXPECT_EQ(async(attrs{.name = "named"}, [] { return std::string(this_goroutine::name()); }).get(), "named");
    // An exception as a value is one.
    const auto value = async([] { return std::make_exception_ptr(1); });
    EXPECT_TRUE(value.get() != nullptr);
  });
}

TEST(future, an_exception_travels_to_all_who_ask) {
  everywhere([] {
    const auto f = async([]() -> int { throw std::runtime_error("from the goroutine"); });
    f.wait();
    for (int i = 0; i < 2; ++i) {
      try {
        static_cast<void>(f.get());
        ADD_FAILURE();
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "from the goroutine");
      }
    }
    EXPECT_THROW(static_cast<void>(f.take()), std::runtime_error);
    EXPECT_THROW(async([] { throw 1; }).get(), int);
  });
}

TEST(future, one_that_is_cancelled_or_exits_gives_future_cancelled) {
  everywhere([] {
    const context c = context::background().with_cancel();
    const auto f = with(c, [] { return async([] { return *chan<int>().recv(); }); });
    const auto exits = async([]() -> int { this_goroutine::exit(); });
    c.cancel();
    EXPECT_THROW(static_cast<void>(f.get()), future_cancelled);
    EXPECT_THROW(static_cast<void>(f.take()), future_cancelled);
    EXPECT_THROW(static_cast<void>(exits.get()), future_cancelled);
    EXPECT_EQ(f.wait_for(0s), std::future_status::ready);
  });
}

TEST(future, one_without_a_result_says_so) {
  const std::string none = "weft: a future without a result: default-constructed, or moved from";
  future<int> f;
  EXPECT_FALSE(f.valid());
  EXPECT_EQ(misuse([&] { f.wait(); }), none);
  EXPECT_EQ(misuse([&] { static_cast<void>(f.get()); }), none);
  EXPECT_EQ(misuse([&] { static_cast<void>(f.take()); }), none);
  EXPECT_EQ(misuse([&] { static_cast<void>(f.wait_for(1s)); }), none);
  EXPECT_EQ(misuse([&] { static_cast<void>(f.ready()); }), none);
  EXPECT_EQ(misuse([&] { static_cast<void>(on(f)); }), none);
  EXPECT_EQ(misuse([] { static_cast<void>(async([] {})); }).substr(0, 32), "weft::go called outside a runtim");
  EXPECT_EQ(misuse([] { run([] { static_cast<void>(async(std::function<void()>())); }); }), "go of nil func value");
  everywhere([] {
    auto a = async([] { return 1; });
    const auto b = std::move(a);
    EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(b.get(), 1);
  });
}

// ---- waiting

TEST(future, all_who_wait_go_on) {
  everywhere([] {
    chan<> go_on;
    const auto f = async([go_on] {
      go_on.recv();
      return 5;
    });
    std::atomic<int> sum{0};
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&, i] {
        if (i == 2) {
          select(on(f));
        } else {
          f.wait();
        }
        sum += f.get();
      });
    }
    go_on.send();
    all.wait();
    EXPECT_EQ(sum.load(), 15);
  });
}

TEST(future, wait_for_ends_in_time) {
  everywhere([] {
    chan<> go_on;
    const auto f = async([go_on] { go_on.recv(); });
    const auto begun = weft::clock::now();
    EXPECT_EQ(f.wait_for(1ms), std::future_status::timeout);
    EXPECT_GE(weft::clock::now(), begun + 1ms);
    EXPECT_EQ(f.wait_until(begun), std::future_status::timeout);
    EXPECT_EQ(f.wait_for(-1s), std::future_status::timeout);
    go_on.send();
    EXPECT_EQ(f.wait_for(std::chrono::hours::max()), std::future_status::ready);
    EXPECT_EQ(f.wait_until(begun), std::future_status::ready);
  });
}

TEST(future, a_time_by_another_clock_is_exact) {
  weft::sim::explore({.runs = 1}, [] {
    const chan<> go_on;
    const auto f = async([go_on] { go_on.recv(); });
    for (int k = 1; k < 100; ++k) {
      const auto begun = weft::clock::now();
      ASSERT_EQ(f.wait_until(still_clock::now() + std::chrono::nanoseconds(k * 7919)), std::future_status::timeout);
      ASSERT_EQ((weft::clock::now() - begun).count(), k * 7919);
    }
    go_on.send();
    f.wait();
  });
}

TEST(future, a_timeout_against_the_result_has_one_winner) {
  everywhere([] {
    const auto f = async([] {
      sleep(1ms);
      return 1;
    });
    if (f.wait_for(1ms) == std::future_status::ready) {
      EXPECT_TRUE(f.ready());
    }
    EXPECT_EQ(f.get(), 1);
  });
}

// The limit is over before, while, or after the goroutine comes to wait.
TEST(future, the_shortest_of_limits_ends_a_wait) {
  test::for_each_case(
      [](const run_case&) {
        const chan<> never;
        wait_group all;
        for (int k = 0; k < 4; ++k) {
          all.go([never] {
            const auto f = async([never] { never.recv(); });
            for (int i = 0; i < 4000; ++i) {
              ASSERT_EQ(std::future_status::timeout, f.wait_for(std::chrono::nanoseconds(1 + i)));
            }
          });
        }
        all.wait();
        never.close();
      },
      {.procs = {1, 4}, .seeds = 2});
}

TEST(future, nobody_waits_for_one_that_is_dropped) {
  everywhere([] {
    const auto value = std::make_shared<int>(1);
    chan<> ended;
    {
      auto f = async([value, ended] {
        yield();
        ended.send();
        return value;
      });
    }
    ended.recv();
    test::yield_until([&] { return value.use_count() == 1; });
  });
}

TEST(future, what_the_function_holds_goes_before_the_result_is_there) {
  everywhere([] {
    const auto held = std::make_shared<int>(1);
    async([held] {}).get();
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_THROW(async([held] { throw 1; }).get(), int);
    EXPECT_EQ(held.use_count(), 1);
  });
}

TEST(future, who_waits_may_be_cancelled_and_the_others_not) {
  everywhere([] {
    const context c = context::background().with_cancel();
    chan<> go_on;
    const auto f = async([go_on] {
      go_on.recv();
      return 1;
    });
    std::atomic<int> unwound{0}, got{0};
    wait_group all;
    all.go([&] {
      try {
        with(c, [&] { got += f.get(); });
      } catch (const cancelled&) {
        ++unwound;
      }
    });
    all.go([&] { got += f.get(); });
    c.cancel();
    go_on.send();
    all.wait();
    EXPECT_EQ(got + unwound, 2);
    EXPECT_GE(got.load(), 1);
  });
}

TEST(future, plain_threads_wait_too) {
  for (const int procs : {1, 2}) {
    options o;
    o.procs = procs;
    run(o, [] {
      chan<> go_on;
      const auto f = async([go_on] {
        go_on.recv();
        return 3;
      });
      std::thread waits([&] {
        EXPECT_EQ(f.wait_for(1ms), std::future_status::timeout);
        go_on.send();
        EXPECT_EQ(f.get(), 3);
      });
      blocking([&] { waits.join(); });
    });
  }
}

TEST(future, results_outlive_their_runtime) {
  future<std::string> f;
  future<int> cut_off;
  run([&] {
    f = async([] { return std::string("kept"); });
    cut_off = async([] { return *chan<int>().recv(); });
    f.wait();
  });
  EXPECT_EQ(f.get(), "kept");
  EXPECT_THROW(static_cast<void>(cut_off.get()), future_cancelled);
}

// ---- as a case of a select

TEST(future, a_select_takes_the_one_that_is_there) {
  everywhere([] {
    chan<> go_on;
    const auto slow = async([go_on] { go_on.recv(); });
    const auto quick = async([] { return 1; });
    int handled = 0;
    EXPECT_EQ(select(on(slow), on(quick, [&] { ++handled; }), recv(chan<int>(nullptr))), 1u);
    EXPECT_EQ(handled, 1);
    EXPECT_FALSE(try_select(on(slow)));
    const select_case list[] = {on(slow), on(quick)};
    EXPECT_EQ(select(std::span(list)), 1u);
    go_on.send();
    EXPECT_EQ(select(on(slow)), 0u);
    EXPECT_TRUE(try_select(on(slow), on(quick)));
  });
}

}  // namespace
