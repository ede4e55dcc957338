#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "os/sys.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/go.hpp"

namespace {

using namespace small_runtime;
using weft::rt::os::thread_id;

// The same claims inside and outside a runtime.
void returns_what_the_function_returns() {
  EXPECT_EQ(42, weft::blocking([] { return 42; }));
  EXPECT_EQ("text", weft::blocking([] { return std::string("text"); }));
  auto owned = weft::blocking([] { return std::make_unique<int>(7); });
  EXPECT_EQ(7, *owned);
  int x = 1;
  static_assert(std::is_same_v<int&, decltype(weft::blocking([&]() -> int& { return x; }))>);
  EXPECT_EQ(&x, &weft::blocking([&]() -> int& { return x; }));
  static_assert(std::is_same_v<void, decltype(weft::blocking([] {}))>);
  bool ran = false;
  weft::blocking([&] { ran = true; });
  EXPECT_TRUE(ran);
  // Called as what it was given: an rvalue may be consumed.
  struct once {
    std::unique_ptr<int> value;
    std::unique_ptr<int> operator()() && { return std::move(value); }
  };
  EXPECT_EQ(9, *weft::blocking(once{std::make_unique<int>(9)}));
}

void lets_exceptions_pass() {
  try {
    weft::blocking([] { throw std::runtime_error("from inside"); });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ("from inside", e.what());
  }
}

TEST(blocking, returns_what_the_function_returns) { with_procs(1, returns_what_the_function_returns); }

TEST(blocking, on_a_plain_thread_just_calls_the_function) {
  returns_what_the_function_returns();
  lets_exceptions_pass();
  std::thread([] { returns_what_the_function_returns(); }).join();
}

TEST(blocking, exceptions_pass_and_the_goroutine_has_a_p_again) {
  with_procs(1, [] {
    lets_exceptions_pass();
    EXPECT_NE(nullptr, my_p());
    EXPECT_EQ(weft::rt::status::running, weft::rt::getg()->status.get());
  });
}

TEST(blocking, gives_the_only_p_to_the_others_meanwhile) {
  with_procs(1, [] {
    pipe_pair p;
    weft::go([&] { p.write('!'); });
    // Without the hand-over nobody would ever write.
    EXPECT_EQ('!', weft::blocking([&] { return p.read(); }));
  });
}

TEST(blocking, a_goroutine_that_is_started_meanwhile_runs) {
  with_procs(1, [] {
    pipe_pair to_main, to_other;
    weft::go([&] {
      EXPECT_EQ('a', weft::blocking([&] { return to_other.read(); }));
      weft::go([&] { to_main.write('b'); });
    });
    to_other.write('a');
    EXPECT_EQ('b', weft::blocking([&] { return to_main.read(); }));
  });
}

TEST(blocking, the_function_runs_detached_on_the_same_stack_and_thread) {
  with_procs(1, [] {
    weft::rt::g* const self = weft::rt::getg();
    const std::uint64_t thread = thread_id();
    const std::uint64_t id = weft::this_goroutine::id();
    weft::blocking([&] {
      EXPECT_EQ(self, weft::rt::getg());
      EXPECT_EQ(weft::rt::status::detached, self->status.get());
      EXPECT_EQ(nullptr, self->m->p);
      EXPECT_EQ(thread, thread_id());
      EXPECT_EQ(id, weft::this_goroutine::id());
      EXPECT_EQ(1, weft::num_goroutine());
    });
    EXPECT_EQ(thread, thread_id());
    EXPECT_EQ(weft::rt::status::running, self->status.get());
  });
}

TEST(blocking, nested_calls_give_the_p_away_each_time) {
  with_procs(1, [] {
    pipe_pair outer, inner;
    weft::go([&] {
      outer.write('o');
      weft::go([&] { inner.write('i'); });
    });
    weft::blocking([&] {
      EXPECT_EQ('o', outer.read());
      EXPECT_EQ('i', weft::blocking([&] { return inner.read(); }));
      EXPECT_NE(nullptr, my_p()) << "after the inner call the goroutine has a P, as after any call";
    });
    EXPECT_NE(nullptr, my_p());
    EXPECT_EQ(3, weft::blocking([] { return weft::blocking([] { return weft::blocking([] { return 3; }); }); }));
  });
}

TEST(blocking, the_function_may_call_the_runtime) {
  with_procs(1, [] {
    weft::semaphore s(0);
    int value = 0;
    weft::blocking([&] {
      weft::go([&] {
        value = 5;
        s.release();
      });
      s.acquire();  // parks: inside of blocking, but on a P again
      EXPECT_EQ(5, value);
    });
  });
}

TEST(blocking, keeps_the_thread_while_others_compete_for_the_ps) {
  with_procs(2, [] {
    weft::wait_group wg;
    std::atomic<bool> stop{false};
    for (int i = 0; i < 3; ++i) {
      wg.go([&] {
        while (!stop.load(std::memory_order_relaxed)) weft::yield();
      });
    }
    weft::wait_group blockers;
    for (int i = 0; i < 4; ++i) {
      blockers.go([] {
        for (int k = 0; k < 50; ++k) {
          const std::uint64_t before = thread_id();
          const std::uint64_t inside = weft::blocking([] {
            std::this_thread::yield();
            return thread_id();
          });
          ASSERT_EQ(before, inside);
          ASSERT_EQ(before, thread_id());
        }
      });
    }
    blockers.wait();
    stop = true;
    wg.wait();
  });
}

TEST(blocking, more_blockers_than_ps_leave_the_ps_to_the_others) {
  for (const int procs : {1, 2}) {
    with_procs(procs, [] {
      constexpr int n = 12;
      pipe_pair pipes[n];
      std::atomic<int> inside{0};
      std::vector<int> got(n);
      weft::wait_group wg;
      for (int i = 0; i < n; ++i) {
        wg.go([&, i] {
          got[static_cast<std::size_t>(i)] = weft::blocking([&] {
            ++inside;
            return pipes[i].read();
          });
        });
      }
      // All are in the kernel at once, and main still runs.
      until([&] { return inside == n; });
      EXPECT_GE(weft::debug::stats().threads, static_cast<std::uint64_t>(n + 1));
      for (int i = 0; i < n; ++i) pipes[i].write(static_cast<char>('a' + i));
      wg.wait();
      for (int i = 0; i < n; ++i) EXPECT_EQ('a' + i, got[static_cast<std::size_t>(i)]);
    });
  }
}

// A line of goroutines, each of which frees the next one from its system call: any P that is lost stops it.
TEST(blocking, a_chain_of_blockers_wakes_up_one_by_one) {
  for (const int procs : {1, 2}) {
    with_procs(procs, [] {
      constexpr int n = 20;
      pipe_pair pipes[n + 1];
      weft::wait_group wg;
      for (int i = 0; i < n; ++i) {
        wg.go([&, i] {
          for (int round = 0; round < 5; ++round) {
            weft::blocking([&] { pipes[i].read(); });
            pipes[i + 1].write('x');
          }
        });
      }
      for (int round = 0; round < 5; ++round) {
        pipes[0].write('x');
        weft::blocking([&] { pipes[n].read(); });
      }
      wg.wait();
    });
  }
}

}  // namespace
