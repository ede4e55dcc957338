// What a goroutine is told about itself and the others: Go's NumGoroutine, MainGoroutineID, GoNil, and run()'s promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

TEST(goroutine, num_goroutine_counts_those_that_have_started_and_not_ended) {
  test::for_each_case_and_schedule([](const run_case&) {
    ASSERT_EQ(num_goroutine(), 1);
    constexpr int n = 100;
    semaphore gate(0);
    std::vector<test::watched> each(n);
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&, i] {
        each[static_cast<std::size_t>(i)].here();
        gate.acquire();
      });
      // They count from the start, whether they have run or not.
      ASSERT_EQ(num_goroutine(), i + 2);
    }
    test::yield_until([&] {
      for (const test::watched& w : each) {
        if (!w.waits()) return false;
      }
      return true;
    });
    EXPECT_EQ(num_goroutine(), n + 1);
    // As many as there are to be seen from outside, all at rest. Go compares with the stacks of a dump.
    int waiting = 0, running = 0;
    struct both {
      int *waiting, *running;
      const rt::sched_t* mine;
    } count{&waiting, &running, rt::getg()->rt};
    rt::the_process.gs.for_each(
        [](void* object, void* arg) {
          const auto& gp = *static_cast<rt::g*>(object);
          auto& c = *static_cast<both*>(arg);
          const rt::status s = gp.status.get();
          if (s == rt::status::waiting) ++*c.waiting;
          if (s == rt::status::running) ++*c.running;
        },
        &count);
    EXPECT_EQ(waiting, n);
    EXPECT_EQ(running, 1);
    gate.release(n);
    all.wait();
  });
}

TEST(goroutine, main_is_goroutine_1_in_a_fresh_process) {
  // The statement runs in a new process, before any other runtime.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::uint64_t id = 0;
        weft::run([&] { id = this_goroutine::id(); });
        std::_Exit(id == 1 ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(goroutine, ids_are_never_used_twice) {
  std::mutex lock;
  std::vector<std::uint64_t> ids;
  ids.reserve(1 << 20);  // here, because what grows from case to case looks like a leak
  test::for_each_case([&](const run_case&) {
    wait_group all;
    auto note = [&] {
      std::lock_guard hold(lock);
      ids.push_back(this_goroutine::id());
    };
    note();
    for (int i = 0; i < 200; ++i) all.go(note);
    all.wait();
  });
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  EXPECT_NE(ids.front(), 0u) << "0 is a plain thread's";
}

TEST(goroutine, a_plain_thread_has_id_0_and_no_name) {
  EXPECT_EQ(this_goroutine::id(), 0u);
  EXPECT_EQ(this_goroutine::name(), "");
}

TEST(goroutine, has_the_name_it_was_given_up_to_63_bytes) {
  test::for_each_case_and_schedule([](const run_case&) {
    const std::string name(100, 'x');
    std::string seen, unnamed = "?";
    wait_group all;
    all.add(2);
    go({.name = name}, [&] {
      yield();
      seen = this_goroutine::name();
      all.done();
    });
    go([&] {
      unnamed = this_goroutine::name();
      all.done();
    });
    all.wait();
    EXPECT_EQ(seen, name.substr(0, 63));
    EXPECT_EQ(unnamed, "");
    EXPECT_EQ(this_goroutine::name(), "");
  });
}

template <class F>
std::string what_of(F f) {
  try {
    f();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(goroutine, go_of_nothing_throws_and_starts_nothing) {
  test::for_each_case_and_schedule([](const run_case&) {
    void (*null)() = nullptr;
    EXPECT_EQ(what_of([&] { go(null); }), "go of nil func value");
    EXPECT_EQ(what_of([&] { go(std::function<void()>()); }), "go of nil func value");
    wait_group all;
    EXPECT_EQ(what_of([&] { all.go(null); }), "go of nil func value");
    all.wait();
    EXPECT_EQ(num_goroutine(), 1);
  });
}

TEST(goroutine, go_outside_a_runtime_throws) {
  EXPECT_NE(what_of([] { go([] {}); }).find("outside a runtime"), std::string::npos);
  EXPECT_NE(what_of([] { static_cast<void>(num_goroutine()); }).find("outside a runtime"), std::string::npos);
}

TEST(goroutine, run_inside_a_goroutine_throws) {
  test::for_each_case([](const run_case&) {
    EXPECT_NE(what_of([] { weft::run([] {}); }).find("inside a goroutine"), std::string::npos);
  });
}

// A callable is moved in once, called once and destroyed once, before the goroutine counts as ended: of each size and
// kind, and also when its move throws.
TEST(goroutine, a_callable_is_called_and_destroyed_once) {
  struct counters {
    std::atomic<int> alive{0}, calls{0};
  };
  test::for_each_case_and_schedule([](const run_case&) {
    counters c;
    struct token {
      counters* c;
      explicit token(counters* k) : c(k) { ++c->alive; }
      token(token&& o) noexcept : c(o.c) { ++c->alive; }
      token(const token&) = delete;
      ~token() { --c->alive; }
    };
    struct large {
      token t;
      char more[200] = {};
      void operator()() { ++t.c->calls; }
    };
    struct alignas(64) aligned {
      token t;
      void operator()() {
        if (reinterpret_cast<std::uintptr_t>(this) % 64 == 0) ++t.c->calls;
      }
    };
    go([t = token(&c)] { ++t.c->calls; });
    go([t = token(&c), more = 1L] { t.c->calls += static_cast<int>(more); });
    go(large{token(&c)});
    go(aligned{token(&c)});
    go([p = std::make_unique<token>(&c)] { ++p->c->calls; });
    test::yield_until([&] { return num_goroutine() == 1; });
    EXPECT_EQ(c.calls.load(), 5);
    EXPECT_EQ(c.alive.load(), 0);
  });
}

TEST(goroutine, a_callable_whose_move_throws_starts_nothing) {
  struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&&) { throw std::runtime_error("moved"); }
    void operator()() {}
  };
  struct large : throws_when_moved {
    char more[200] = {};
  };
  test::for_each_case_and_schedule([](const run_case&) {
    EXPECT_THROW(go(throws_when_moved()), std::runtime_error);
    EXPECT_THROW(go(large()), std::runtime_error);
    EXPECT_THROW(go({.name = "with a name"}, throws_when_moved()), std::runtime_error);
    EXPECT_EQ(num_goroutine(), 1);
  });
}

TEST(goroutine, go_with_a_bad_stack_size_throws) {
  test::for_each_case_and_schedule([](const run_case&) {
    EXPECT_NE(what_of([] { go({.stack_size = 10}, [] {}); }).find("stack_size 10"), std::string::npos);
    EXPECT_NE(what_of([] { go({.stack_size = std::size_t{9} << 20}, [] {}); }).find("stack_size"), std::string::npos);
    EXPECT_EQ(num_goroutine(), 1);
  });
}

// Each class of stack: deep enough use of it, in a goroutine that parks in the middle.
TEST(goroutine, runs_on_a_stack_of_each_class) {
  struct deep {
    static int down(int bytes) {
      volatile char frame[1024];
      frame[0] = 1;
      if (bytes <= 0) {
        yield();
        return frame[0];
      }
      return down(bytes - 1024) + frame[0];
    }
  };
  test::for_each_case_and_schedule([](const run_case&) {
    wait_group all;
    for (std::size_t bytes : {16u << 10, 64u << 10, 256u << 10, 1u << 20, 8u << 20}) {
      for (int i = 0; i < 3; ++i) {
        all.add(1);
        go({.stack_size = bytes}, [&all, bytes] {
          // Half of the stack, less the guard and what instrumentation adds to frames.
          deep::down(static_cast<int>(bytes / (test::built_with_sanitizer ? 8 : 2)) - 4096);
          all.done();
        });
      }
    }
    all.wait();
  });
}

TEST(run, returns_what_main_returns_and_throws_what_main_throws) {
  EXPECT_EQ(weft::run([] { return 42; }), 42);
  EXPECT_EQ(weft::run([] { return std::string("text"); }), "text");
  EXPECT_EQ(weft::run([] {}), 0);
  EXPECT_THROW(weft::run([] { throw std::runtime_error("main"); }), std::runtime_error);
}

TEST(run, returns_when_the_last_goroutine_has_ended) {
  for (int procs : {1, 2, 4}) {
    std::atomic<int> ended{0};
    options o;
    o.procs = procs;
    struct chain {
      std::atomic<int>* ended;
      int more;
      void operator()() {
        for (int i = 0; i < 5; ++i) yield();
        // Started after main has returned.
        if (more > 0) go(chain{ended, more - 1});
        ++*ended;
      }
    };
    weft::run(o, [&] { go(chain{&ended, 49}); });
    EXPECT_EQ(ended.load(), 50) << procs;
    EXPECT_THROW(weft::run(o,
                           [&] {
                             go(chain{&ended, 49});
                             throw std::runtime_error("main");
                           }),
                 std::runtime_error);
    EXPECT_EQ(ended.load(), 100) << procs;
  }
}

TEST(run, two_runtimes_run_at_the_same_time) {
  auto runtime = [](int* result) {
    options o;
    o.procs = 2;
    *result = weft::run(o, [] {
      std::atomic<int> sum{0};
      wait_group all;
      for (int i = 1; i <= 100; ++i) all.go([&sum, i] { sum += i; });
      all.wait();
      return sum.load();
    });
  };
  int a = 0, b = 0;
  std::thread other(runtime, &a);
  runtime(&b);
  other.join();
  EXPECT_EQ(a, 5050);
  EXPECT_EQ(b, 5050);
}

}  // namespace
