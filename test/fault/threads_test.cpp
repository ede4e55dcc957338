// The system refuses threads (FAULTS 29, RELIABILITY O1): no P is lost and the work is done by the threads there are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "fault/work.hpp"

namespace {

using namespace work;
using testing::HasSubstr;
using testing::Not;

class threads : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([] {}).join();  // ThreadSanitizer has a thread of its own from the first one on: no leak
    faulty::reset();
  }
  void TearDown() override { faulty::reset(); }

  // What the runtime says on stderr meanwhile.
  static std::string run_workload(int procs, int workloads = 1) {
    testing::internal::CaptureStderr();
    const weft::test::snapshot before = weft::test::take_snapshot();
    weft::test::set_watchdog(60);
    weft::options o;
    o.procs = procs;
    weft::run(o, [&] {
      for (int i = 0; i < workloads; ++i) EXPECT_TRUE(everything_is_done());
      expect_a_whole_world();
    });
    weft::test::clear_watchdog();
    EXPECT_EQ("", weft::test::leaked_since(before));
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(threads, fault_29_any_one_thread_that_cannot_be_created_loses_no_p) {
  for (const int procs : {1, 2, 4}) {
    unsigned k = 1;
    for (; k < 100; ++k) {
      SCOPED_TRACE(testing::Message() << procs << " Ps, thread " << k);
      faulty::fail(faulty::call::thread_start, k, ENOMEM);
      const std::string said = run_workload(procs);
      if (!faulty::has_failed(faulty::call::thread_start)) break;
      EXPECT_THAT(
          said, HasSubstr(k == 1 ? "weft: no thread to watch the scheduler (" : "weft: cannot create a thread (have "));
      EXPECT_THAT(said, HasSubstr("errno 12"));
      if (HasFailure()) return;
    }
    EXPECT_GT(k, 1u) << "nothing was tested";
    EXPECT_LT(k, 100u);
  }
}

TEST_F(threads, fault_29_with_no_more_threads_from_any_moment_on_the_work_is_done) {
  for (const int procs : {1, 2, 4}) {
    for (unsigned k = 1; k <= 6; ++k) {
      SCOPED_TRACE(testing::Message() << procs << " Ps, no thread from the " << k << "th on");
      faulty::fail(faulty::call::thread_start, k, EAGAIN, faulty::for_ever);
      run_workload(procs, 2);
      if (HasFailure()) return;
    }
  }
}

TEST_F(threads, fault_O1_a_refusal_for_a_moment_is_tried_again_and_not_reported) {
  for (unsigned k = 1; k <= 4; ++k) {
    faulty::fail(faulty::call::thread_start, k, EAGAIN);
    EXPECT_THAT(run_workload(2), Not(HasSubstr("cannot create")));
  }
}

TEST_F(threads, a_refusal_is_reported_once_with_what_to_do) {
  faulty::fail(faulty::call::thread_start, 1, EAGAIN, faulty::for_ever);
  const std::string said = run_workload(2, 5);
  EXPECT_THAT(said,
              HasSubstr("weft: cannot create a thread (have 1; errno 11: Resource temporarily unavailable; may need to "
                        "increase max user processes, ulimit -u): going on with the threads there are\n"));
  EXPECT_EQ(said.find("cannot create"), said.rfind("cannot create"));
}

TEST_F(threads, without_a_watching_thread_the_program_runs_and_a_line_says_what_it_lacks) {
  ::setenv("WEFT_DEBUG", "schedtrace=1000", 1);
  // Whichever comes first: the thread for schedtrace is among those that cannot be had.
  faulty::fail(faulty::call::thread_start, 1, ENOMEM, faulty::for_ever);
  const std::string said = run_workload(1);
  ::unsetenv("WEFT_DEBUG");
  EXPECT_THAT(said,
              HasSubstr("weft: no thread to watch the scheduler (errno 12): no schedtrace, no deadlock report, "));
  EXPECT_THAT(said, Not(HasSubstr("SCHED")));
}

// A thread that hangs is ended by the alarm, in a child.
#define EXPECT_THAT_IT_ENDS(...)                \
  EXPECT_EXIT(                                  \
      {                                         \
        ::alarm(30);                            \
        __VA_ARGS__;                            \
        ::_exit(::testing::Test::HasFailure()); \
      },                                        \
      testing::ExitedWithCode(0), "")

// Main comes back from a blocking call, finds no P and queues, tied to its thread. Then the goroutine that had the P
// blocks as well, on what only main will do. No new thread can be had; main's sleeps and could take the P.
void a_thread_that_waits_for_a_p_gets_it() {
  weft::options o;
  o.procs = 1;
  weft::run(o, [] {
    int a[2], b[2];
    if (::pipe(a) != 0 || ::pipe(b) != 0) ::_exit(3);
    char c = 'x';
    weft::rt::sched_t* rt = weft::rt::getg()->rt;
    weft::wait_group wg;
    wg.go([&] {
      char mine = 'y';
      if (::write(a[1], &mine, 1) != 1) ::_exit(4);
      while (rt->runq_size.load(weft::rt::acquire) == 0) std::this_thread::yield();
      faulty::fail(faulty::call::thread_start, 1, ENOMEM, faulty::for_ever);
      weft::blocking([&] {
        if (::read(b[0], &mine, 1) != 1) ::_exit(5);
      });
    });
    weft::blocking([&] {
      if (::read(a[0], &c, 1) != 1) ::_exit(6);
    });
    if (::write(b[1], &c, 1) != 1) ::_exit(7);
    wg.wait();
  });
}

TEST_F(threads, fault_29_a_thread_that_waits_for_a_p_gets_the_one_that_no_new_thread_can_take) {
  EXPECT_THAT_IT_ENDS(a_thread_that_waits_for_a_p_gets_it());
}

// A plain thread readies the last goroutine and goes on to start an M for an idle P. Meanwhile the goroutine runs and
// the runtime ends; only then the system refuses the thread. run() waits for the Ms that live, this one too.
struct late_refusal {
  weft::rt::sched_t* rt = nullptr;
  std::atomic<bool> armed{false};
  std::atomic<bool> in_start{false};
  static void hook(void* arg) {
    auto& self = *static_cast<late_refusal*>(arg);
    if (!self.armed.exchange(false)) return;
    const unsigned waits = faulty::calls(faulty::call::futex_wait);
    self.in_start = true;
    while (self.rt->live_ms.load(weft::rt::acquire) != 1 || faulty::calls(faulty::call::futex_wait) == waits) {
      std::this_thread::yield();
    }
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // it is asleep by now, or will see the change
  }
};

void run_ends_when_the_last_m_could_not_be_started() {
  late_refusal r;
  std::thread waker;
  faulty::fail(faulty::call::thread_start, 1, ENOMEM, faulty::for_ever);
  faulty::at_failure(late_refusal::hook, &r);
  weft::semaphore s(0);
  weft::options o;
  o.procs = 2;
  weft::run(o, [&] {
    r.rt = weft::rt::getg()->rt;
    bool served = false;
    weft::go([&] {
      s.acquire();
      served = true;
    });
    weft::yield();
    {
      weft::rt::mutex_guard guard(r.rt->lock);
      r.rt->no_thread_until = 0;  // the first refusal, at the start, was long ago
    }
    r.armed = true;
    waker = std::thread([&] { s.release(); });
    while (!r.in_start) std::this_thread::yield();
    // With nobody left to cancel, the end does not wait for the P that the waker has in its hands.
    while (!served) weft::yield();
  });
  waker.join();
}

TEST_F(threads, fault_28_run_ends_when_the_last_m_could_not_be_started) {
  EXPECT_THAT_IT_ENDS(run_ends_when_the_last_m_could_not_be_started());
}

}  // namespace
