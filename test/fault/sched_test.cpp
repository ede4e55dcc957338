// The system refuses threads to those who need one: goroutines locked to theirs, runtimes without a thread of the caller's,
// Ps that are added, and the thread that watches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "fault/work.hpp"

namespace {

using namespace work;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

weft::options with(int procs) {
  weft::options o;
  o.procs = procs;
  return o;
}

// In a child, which the alarm ends if a thread hangs. What it prints is compared.
#define EXPECT_THAT_IT_ENDS(said, ...)          \
  EXPECT_EXIT(                                  \
      {                                         \
        ::alarm(60);                            \
        __VA_ARGS__;                            \
        ::_exit(::testing::Test::HasFailure()); \
      },                                        \
      testing::ExitedWithCode(0), said)

class sched : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([] {}).join();  // ThreadSanitizer has a thread of its own from the first one on: no leak
    faulty::reset();
  }
  void TearDown() override { faulty::reset(); }
};

// Goroutines that have threads of their own, hand over to each other, and end so.
void locked_work() {
  weft::semaphore there(0), back(0);
  weft::wait_group all;
  int rounds = 0;
  all.go([&] {
    const weft::os_thread_lock mine;
    for (int i = 0; i < 20; ++i) {
      there.acquire();
      ++rounds;
      back.release();
    }
  });
  {
    const weft::os_thread_lock mine;
    for (int i = 0; i < 20; ++i) {
      there.release();
      back.acquire();
      weft::yield();
    }
  }
  all.wait();
  EXPECT_EQ(20, rounds);
  for (int i = 0; i < 3; ++i) all.go([] { weft::lock_os_thread(); });
  all.wait();
  weft::blocking([] { std::this_thread::yield(); });
}

// Locked, main's thread can run nobody else: a P whose thread was refused has nobody, until the system has one again.
TEST_F(sched, any_one_thread_that_is_refused_loses_no_locked_goroutine) {
  for (const int procs : {1, 2, 4}) {
    for (unsigned k = 1; k <= 6; ++k) {
      for (const int err : {ENOMEM, EAGAIN}) {
        SCOPED_TRACE(testing::Message() << procs << " Ps, thread " << k << ", errno " << err);
        EXPECT_THAT_IT_ENDS("", {
          faulty::fail(faulty::call::thread_start, k, err, err == EAGAIN ? 3 : 1);
          weft::run(with(procs), locked_work);
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(sched, threads_refused_for_a_while_come_late) {
  for (const int procs : {1, 2}) {
    EXPECT_THAT_IT_ENDS("weft: cannot create a thread", {
      faulty::fail(faulty::call::thread_start, 2, ENOMEM, 4);  // the first is the watching one
      weft::run(with(procs), locked_work);
    });
  }
}

// Nobody will ever run again, and that is said.
TEST_F(sched, no_thread_for_what_only_another_thread_can_run_is_an_error_in_the_end) {
  EXPECT_EXIT(
      {
        ::alarm(60);
        faulty::fail(faulty::call::thread_start, 2, EAGAIN, faulty::for_ever);
        weft::run(with(1), locked_work);
        ::_exit(3);
      },
      testing::ExitedWithCode(2), "ulimit -u");
}

TEST_F(sched, ps_that_are_added_without_threads_lose_no_work) {
  for (unsigned k = 1; k <= 4; ++k) {
    EXPECT_THAT_IT_ENDS("", {
      faulty::fail(faulty::call::thread_start, k, ENOMEM, faulty::for_ever);
      weft::run(with(2), [] {
        for (const int n : {4, 1, 8, 2, 3}) {
          weft::gomaxprocs(n);
          EXPECT_EQ(n, weft::gomaxprocs(0));
          EXPECT_TRUE(everything_is_done());
        }
        expect_a_whole_world();
      });
    });
  }
}

// A runtime to embed has no thread of the caller's that could do all the work.
TEST_F(sched, a_runtime_to_embed_waits_for_its_first_thread) {
  for (const int procs : {1, 3}) {
    for (unsigned k = 1; k <= 4; ++k) {
      SCOPED_TRACE(testing::Message() << procs << " Ps, thread " << k);
      EXPECT_THAT_IT_ENDS("", {
        faulty::fail(faulty::call::thread_start, k, ENOMEM);
        weft::runtime r(with(procs));
        EXPECT_EQ(7, r.run([] { return 7; }));
        std::atomic<int> ran{0};
        for (int i = 0; i < 20; ++i) r.go([&] { ++ran; });
        r.run([&] {
          while (ran != 20) weft::yield();
        });
        r.shutdown();
      });
      if (HasFailure()) return;
    }
  }
}

TEST_F(sched, everything_but_the_watching_works_without_the_thread_that_watches) {
  for (const int procs : {1, 2, 4}) {
    EXPECT_THAT_IT_ENDS("weft: no thread to watch the scheduler", {
      faulty::fail(faulty::call::thread_start, 1, ENOMEM);
      weft::semaphore never(0);
      std::atomic<int> unwound{0};
      weft::run(with(procs), [&] {
        locked_work();
        for (int i = 1; i < 5; ++i) weft::gomaxprocs(i);
        EXPECT_TRUE(everything_is_done());
        for (int i = 0; i < 10; ++i) {
          weft::go([&] {
            struct at_end {
              std::atomic<int>& n;
              ~at_end() { ++n; }
            } end{unwound};
            never.acquire();
          });
        }
      });
      EXPECT_EQ(10, unwound.load());
      weft::run(with(procs), locked_work);  // and the next runtime has it again
    });
  }
}

TEST_F(sched, threads_that_end_without_the_thread_that_watches_are_joined_at_the_end) {
  ::setenv("WEFT_DEBUG", "rest=1", 1);
  EXPECT_THAT_IT_ENDS("weft: no thread to watch the scheduler", {
    const weft::test::snapshot before = weft::test::take_snapshot();
    faulty::fail(faulty::call::thread_start, 1, ENOMEM);
    weft::run(with(4), [] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(everything_is_done());
        weft::blocking([] { std::this_thread::sleep_for(3ms); });
      }
    });
    EXPECT_EQ("", weft::test::leaked_since(before));
  });
  ::unsetenv("WEFT_DEBUG");
}

}  // namespace
