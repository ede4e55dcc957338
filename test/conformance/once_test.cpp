// weft::once, once_func, once_value: Go's Once, OncePanic, OnceFunc and OnceValue tests, restated.
#include "weft/once.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

constinit once made_at_compile_time;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

template <class F>
std::string thrown(F f) {
  try {
    f();
  } catch (const std::runtime_error& e) {
    return e.what();
  } catch (const error& e) {
    return std::string("error: ") + e.what();
  }
  return "nothing thrown";
}

// ---- once

TEST(once, many_call_and_one_is_called) {
  everywhere([] {
    once o;
    int calls = 0;  // plain: a race detector sees a second call, and a return before the end of the first
    wait_group all;
    for (int i = 0; i < 5; ++i) {
      all.go([&] {
        o.call([&] {
          yield();
          ++calls;
        });
        EXPECT_EQ(calls, 1) << "returned before f had ended, or called it again";
      });
    }
    all.wait();
  });
  int calls = 0;
  for (int i = 0; i < 2; ++i) made_at_compile_time.call([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(once, an_exception_is_the_callers_and_it_was_the_one_call) {
  everywhere([] {
    once o;
    EXPECT_EQ(thrown([&] { o.call([] { throw std::runtime_error("no"); }); }), "no");
    EXPECT_EQ(thrown([&] { o.call([] { throw std::runtime_error("again"); }); }), "nothing thrown");

    // Those who wait meanwhile return too, without a call and without the exception.
    once other;
    std::atomic<int> calls{0}, threw{0};
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        threw += thrown([&] {
                   other.call([&] {
                     ++calls;
                     yield();
                     throw std::runtime_error("no");
                   });
                 }) == "no";
      });
    }
    all.wait();
    EXPECT_EQ(calls.load(), 1);
    EXPECT_EQ(threw.load(), 1);
  });
}

TEST(once, exit_in_the_call_was_the_one_call) {
  everywhere([] {
    once o;
    wait_group all;
    all.go([&] { o.call([] { this_goroutine::exit(); }); });
    all.wait();
    o.call([] { ADD_FAILURE() << "a second call"; });
  });
}

TEST(once, serves_goroutines_and_plain_threads) {
  test::for_each_case(
      [](const run_case&) {
        for (int round = 0; round < test::scaled(100); ++round) {
          once o;
          int calls = 0;
          const auto call = [&] {
            o.call([&] { ++calls; });
            EXPECT_EQ(calls, 1);
          };
          std::thread a(call), b(call);
          wait_group all;
          all.go(call);
          all.go(call);
          all.wait();
          blocking([&] {
            a.join();
            b.join();
          });
        }
      },
      several_ps);
}

// From inside f it never returns, as in Go; said by an exploration, and by the report of a process of its own.
void calls_itself() {
  once o;
  o.call([&] { o.call([] {}); });
}

TEST(once, recursion_is_a_deadlock) {
  const test::expecting_a_failed_run leaves_things;
  try {
    sim::explore({.runs = 10}, calls_itself);
    ADD_FAILURE() << "it has returned";
  } catch (const sim::failure& f) {
    EXPECT_EQ(f.kind(), sim::failure_kind::deadlock);
    EXPECT_NE(f.report().find("holds itself"), std::string::npos) << f.what();
  }
}

TEST(once_death, recursion_is_reported) {
  if (test::built_with_tsan) GTEST_SKIP() << "under ThreadSanitizer there is always a thread that is not ours";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(weft::run([] { calls_itself(); }), testing::ExitedWithCode(2),
              "all goroutines are asleep - deadlock!(.|\n)*goroutine 1 \\[sync.Mutex.Lock");
}

// ---- once_func, once_value

TEST(once_func, is_called_once_and_copies_are_one) {
  everywhere([] {
    int calls = 0;
    const auto f = once_func([&] {
      yield();
      ++calls;
    });
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([f, &calls] {
        f();
        EXPECT_EQ(calls, 1);
      });
    }
    all.wait();
    f();
    EXPECT_EQ(calls, 1);
  });
}

TEST(once_value, gives_everybody_the_same_object) {
  everywhere([] {
    int calls = 0;
    const auto f = once_value([&] {
      yield();
      ++calls;
      return std::make_unique<int>(42);  // cannot be copied
    });
    std::atomic<const std::unique_ptr<int>*> seen{nullptr};
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&, f] {
        const std::unique_ptr<int>& value = f();
        EXPECT_EQ(*value, 42);
        const std::unique_ptr<int>* before = seen.exchange(&value);
        EXPECT_TRUE(before == nullptr || before == &value);
      });
    }
    all.wait();
    EXPECT_EQ(calls, 1);
  });
}

// Go's OnceFuncPanic and OnceValuePanic: the same value, in every call.
TEST(once_func, what_the_first_call_throws_every_call_throws) {
  everywhere([] {
    int calls = 0;
    const auto f = once_func([&] {
      ++calls;
      yield();
      throw std::runtime_error("broken");
    });
    const auto v = once_value([&]() -> int {
      ++calls;
      throw std::runtime_error("broken");
    });
    std::vector<const void*> objects;
    wait_group all;
    mutex m;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        EXPECT_EQ(thrown([&] { v(); }), "broken");
        try {
          f();
          ADD_FAILURE() << "nothing thrown";
        } catch (const std::runtime_error& e) {
          const std::string what = e.what();
          EXPECT_EQ(what, "broken");
          m.lock();
          objects.push_back(&e);
          m.unlock();
        }
      });
    }
    all.wait();
    EXPECT_EQ(calls, 2);
    ASSERT_EQ(objects.size(), 3u);
    EXPECT_TRUE(objects[0] == objects[1] && objects[1] == objects[2]) << "another exception object";
  });
}

TEST(once_func, a_call_that_was_left_by_exit_is_an_error_for_later_ones) {
  everywhere([] {
    const auto f = once_func([] { this_goroutine::exit(); });
    const auto v = once_value([]() -> int { this_goroutine::exit(); });
    wait_group all;
    all.go([&] { f(); });
    all.go([&] { v(); });
    all.wait();
    constexpr const char* text =
        "error: weft: once: the goroutine of the first call was cancelled in it, or has called exit";
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(thrown([&] { f(); }), text);
      EXPECT_EQ(thrown([&] { v(); }), text);
    }
  });
}

// Go's OnceXGC: what f holds is let go after the call, not with the last copy; also when it has thrown.
TEST(once_func, what_f_holds_goes_after_the_call) {
  everywhere([] {
    for (const bool throws : {false, true}) {
      auto held = std::make_shared<int>(1);
      const std::weak_ptr<int> watched = held;
      const auto f = once_func([held = std::move(held), throws] {
        if (throws) throw std::runtime_error("x");
      });
      EXPECT_FALSE(watched.expired());
      EXPECT_EQ(thrown([&] { f(); }), throws ? "x" : "nothing thrown");
      EXPECT_TRUE(watched.expired());
      EXPECT_EQ(thrown([&] { f(); }), throws ? "x" : "nothing thrown");
    }
  });
}

}  // namespace
