// Threads: made when they are needed, gone when nobody has needed them for long, and no more than allowed: Go's
// ThreadExhaustion, and what its M count promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

// The Ms of the caller's runtime.
std::uint32_t threads() {
  rt::sched_t& s = *rt::getg()->rt;
  const rt::mutex_guard guard(s.lock);
  return s.nm;
}

bool thread_lives(std::uint64_t tid) { return ::access(("/proc/self/task/" + std::to_string(tid)).c_str(), F_OK) == 0; }

// n goroutines in blocking calls at the same time. Their threads.
std::set<std::uint64_t> block_at_once(int n) {
  std::vector<std::uint64_t> tids(static_cast<std::size_t>(n));
  std::atomic<int> inside{0};
  wait_group all;
  for (std::size_t i = 0; i < tids.size(); ++i) {
    all.go([&, i] {
      blocking([&] {
        tids[i] = test::thread_id();
        ++inside;
        test::spin_until([&] { return inside.load() == n; });
      });
    });
  }
  all.wait();
  return {tids.begin(), tids.end()};
}

TEST(threads, none_is_made_before_it_is_needed) {
  test::for_each_case(
      [](const run_case&) {
        EXPECT_EQ(threads(), 1u);
        for (int i = 0; i < 100; ++i) {
          go([] {});
          yield();
        }
        semaphore s(0);
        go([&] { s.release(); });
        s.acquire();
        EXPECT_EQ(threads(), 1u) << "one P, and nobody has blocked its thread";
      },
      {{1}, 2});
}

TEST(threads, goroutines_that_block_have_a_thread_each) {
  test::for_each_case([](const run_case&) {
    EXPECT_EQ(block_at_once(8).size(), 8u);
    EXPECT_GE(threads(), 8u);
    const std::uint32_t before = threads();
    for (int i = 0; i < 10; ++i) block_at_once(4);
    EXPECT_LE(threads(), before + 1) << "idle threads are used again";
  });
}

TEST(threads, those_that_nobody_needs_end_and_new_ones_come) {
  test::run_options o{{1, 2, 4}, 2};
  o.knobs = "rest=50";
  test::for_each_case(
      [](const run_case&) {
        const std::uint64_t m0 = ::getpid();
        for (int round = 0; round < 2; ++round) {
          const std::set<std::uint64_t> tids = block_at_once(6);
          EXPECT_EQ(tids.size(), 6u);
          // One has main; all others have nothing to do from here on.
          blocking([&] {
            test::spin_until([&] {
              int left = 0;
              for (const std::uint64_t tid : tids) left += thread_lives(tid) ? 1 : 0;
              return left <= 2;  // m0 does not end, and main's own is in this call
            });
          });
          EXPECT_TRUE(thread_lives(m0));
          test::yield_until([] { return threads() <= 3; });
        }
      },
      o);
}

TEST(threads, with_rest_0_they_stay) {
  test::run_options o{{2}, 1};
  o.knobs = "rest=0";
  test::for_each_case(
      [](const run_case&) {
        const std::set<std::uint64_t> tids = block_at_once(5);
        blocking([] { std::this_thread::sleep_for(std::chrono::milliseconds(200)); });  // what is measured
        for (const std::uint64_t tid : tids) EXPECT_TRUE(thread_lives(tid));
      },
      o);
}

// A goroutine that is readied while idle threads come to their end loses nobody.
TEST(threads, work_that_comes_while_threads_end_is_done) {
  test::run_options o{{2, 4}, 2};
  o.knobs = "rest=1";
  o.memory_settles = false;
  test::for_each_case(
      [](const run_case& c) {
        std::atomic<long> done{0};
        long expected = 0;
        for (int i = 0; i < test::scaled(150); ++i) {
          wait_group all;
          for (int k = 0; k < 2 * c.procs; ++k) {
            all.go([&] {
              blocking([] {});
              ++done;
            });
          }
          all.wait();
          expected += 2 * c.procs;
          blocking([&] { std::this_thread::sleep_for(std::chrono::microseconds(300 + 50 * (i % 40))); });
        }
        EXPECT_EQ(done.load(), expected);
      },
      o);
}

// The runtime's threads block the program's signals; a program that is started there must be one that can be ended.
TEST(threads, a_child_forked_on_one_of_them_takes_the_programs_signals) {
  sigset_t mine;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  ASSERT_EQ(0, sigismember(&mine, SIGTERM));
  options o;
  o.procs = 2;
  weft::run(o, [] {
    wait_group done;
    done.go([] {
      sigset_t here;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &here);
      const bool blocked_here = sigismember(&here, SIGTERM) == 1;
      const pid_t child = ::fork();
      if (child == 0) {
        ::pthread_sigmask(SIG_SETMASK, nullptr, &here);
        ::_exit(sigismember(&here, SIGTERM));
      }
      int status = -1;
      ::waitpid(child, &status, 0);
      EXPECT_TRUE(blocked_here);
      EXPECT_EQ(0, status);
    });
    // Keeps run's own thread, so that the goroutine is on another.
    blocking([] { std::this_thread::sleep_for(std::chrono::milliseconds(50)); });
    done.wait();
  });
}

// Go's ThreadExhaustion: a limit of ten, and twenty goroutines that keep their threads.
TEST(threads, twenty_locked_goroutines_are_more_than_ten_threads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        options o;
        o.procs = 2;
        o.max_threads = 10;
        weft::run(o, [] {
          semaphore never(0);
          wait_group locked;
          for (int i = 0; i < 20; ++i) {
            locked.add(1);
            go([&] {
              lock_os_thread();
              locked.done();
              never.acquire();
            });
          }
          locked.wait();
          std::_Exit(3);
        });
      },
      testing::ExitedWithCode(2),
      "weft: program exceeds 10-thread limit\n(.*\n)*fatal error: thread exhaustion|"
      "fatal error: thread exhaustion");
}

TEST(threads, as_many_as_allowed_are_no_error) {
  test::run_options o{{2}, 2};
  o.runtime.max_threads = 10;
  test::for_each_case(
      [](const run_case&) {
        const os_thread_lock main_keeps_m0;
        semaphore gate(0);
        wait_group all, locked;
        for (int i = 0; i < 6; ++i) {
          locked.add(1);
          all.go([&] {
            const os_thread_lock mine;
            locked.done();
            gate.acquire();
          });
        }
        locked.wait();
        gate.release(6);
        all.wait();
      },
      o);
}

}  // namespace
