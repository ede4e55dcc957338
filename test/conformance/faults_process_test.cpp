// Faults that show at the end of a process, or need one of their own: the statement of a death test of style
// "threadsafe" runs in a fresh process, before any runtime.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

class faults_process : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// ---- 29: the system refuses threads

std::size_t address_space_in_use() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0;
  statm >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void refuse_mappings(bool refuse) {
  struct rlimit limit {};
  ::getrlimit(RLIMIT_AS, &limit);
  // Room for the runtime's own small mappings, none for a thread's stack.
  limit.rlim_cur = refuse ? address_space_in_use() + (128 << 10) : limit.rlim_max;
  ::setrlimit(RLIMIT_AS, &limit);
}

// Eight Ps and one thread: all work is done by the thread there is, goroutines that block included; and when threads can
// be had again, they are.
[[noreturn]] void run_without_threads() {
  options one;
  one.procs = 1;
  // Maps the arenas while it is allowed: as many goroutines wait at the same time as below.
  weft::run(one, [] {
    wait_group all, gate;
    gate.add(1);
    for (int i = 0; i < 60; ++i) all.go([&] { gate.wait(); });
    yield();
    gate.done();
    all.wait();
  });
  refuse_mappings(true);
  options o;
  o.procs = 8;
  int sum = 0;
  bool parallel_again = false;
  weft::run(o, [&] {
    for (int round = 0; round < 20; ++round) {
      wait_group all;
      mutex m;
      for (int i = 0; i < 50; ++i) {
        all.go([&, i] {
          yield();
          if (i % 10 == 0) blocking([] { rt::os::yield_thread(); });
          std::lock_guard hold(m);
          ++sum;
        });
      }
      all.wait();
    }
    if (debug::stats().threads != 1) std::_Exit(3);
    refuse_mappings(false);
    // Not asked for again at once (the pause after a refusal), but at last.
    std::atomic<int> running{0};
    auto together = [&] {
      ++running;
      test::spin_until([&] { return running.load() == 2; });
    };
    wait_group all;
    while (debug::stats().threads == 1) {
      all.go([] {});
      yield();
    }
    all.go(together);
    all.go(together);
    all.wait();
    parallel_again = true;
  });
  std::_Exit(sum == 1000 && parallel_again ? 0 : 1);
}

TEST_F(faults_process, fault_29_goes_on_with_the_threads_there_are) {
  if (test::built_with_sanitizer) GTEST_SKIP() << "sanitizers map all of the address space: it cannot be limited";
  EXPECT_EXIT(
      {
        ::alarm(60);
        run_without_threads();
      },
      ::testing::ExitedWithCode(0), "weft: cannot create a thread \\(have 1; errno 11");
}

TEST_F(faults_process, more_threads_than_allowed_is_a_fatal_error) {
  EXPECT_EXIT(
      {
        ::alarm(60);
        options o;
        o.procs = 8;
        o.max_threads = 3;
        weft::run(o, [] {
          std::atomic<int> running{0};
          wait_group all;
          for (int i = 0; i < 8; ++i) {
            all.go([&] {
              ++running;
              test::spin_until([&] { return running.load() == 8; });
            });
          }
          all.wait();
        });
      },
      ::testing::ExitedWithCode(2), "exceeds 3-thread limit(.|\n)*thread exhaustion");
}

// ---- 24, 25: the sanitizers see through the switches: what is planted is found; that nothing else is, is the rest of
// the suite in those builds.

#ifdef WEFT_TSAN
TEST_F(faults_process, fault_24_tsan_finds_a_planted_race_between_goroutines) {
  EXPECT_EXIT(
      {
        options o;
        o.procs = 2;
        int planted = 0;
        // On a machine that is busy one time in thirty goes by unseen.
        for (int round = 0; round < 20; ++round) {
          weft::run(o, [&] {
            std::atomic<int> running{0};
            wait_group all;
            for (int i = 0; i < 2; ++i) {
              all.go([&] {
                ++running;
                test::spin_until([&] { return running.load(std::memory_order_relaxed) == 2; });
                for (int k = 0; k < 1000; ++k) ++planted;
              });
            }
            all.wait();
          });
        }
        std::exit(planted > 0 ? 0 : 1);
      },
      [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 66; }, "data race");
}
#endif

#ifdef WEFT_ASAN
int after_switches(char* at) {
  for (int i = 0; i < 3; ++i) yield();
  return *at;
}

TEST_F(faults_process, fault_25_asan_finds_an_overflow_on_a_goroutine) {
  EXPECT_DEATH(weft::run([] {
                 wait_group all;
                 all.go([] {
                   auto bytes = std::make_unique<char[]>(10);
                   char* volatile end = bytes.get() + 10;
                   std::printf("%d", after_switches(end));
                 });
                 all.wait();
               }),
               "heap-buffer-overflow");
}

TEST_F(faults_process, fault_25_asan_finds_a_stack_overflow_on_a_goroutine) {
  EXPECT_DEATH(weft::run([] {
                 wait_group all;
                 all.go([] {
                   char bytes[10] = {};
                   char* volatile end = bytes + 10;
                   std::printf("%d", after_switches(end));
                 });
                 all.wait();
               }),
               "stack-buffer-overflow");
}

TEST_F(faults_process, fault_25_asan_finds_a_use_after_free_across_goroutines) {
  EXPECT_DEATH(weft::run([] {
                 wait_group all;
                 auto* gone = new char('x');
                 all.go([gone] { delete gone; });
                 all.wait();
                 all.go([gone] { std::printf("%d", after_switches(gone)); });
                 all.wait();
               }),
               "heap-use-after-free");
}

// With fake stacks, which each goroutine must keep over its parks and give back at its end: throw, park and end, without
// a false report. The tests of exceptions do all of that.
TEST_F(faults_process, fault_25_no_false_report_with_fake_stacks) {
  EXPECT_EXIT(
      {
        ::setenv("ASAN_OPTIONS", "detect_stack_use_after_return=1", 1);
        const std::string self = test::executable();
        ::execl(self.c_str(), self.c_str(), "--gtest_filter=exceptions.*:faults.fault_22*:faults.fault_07*", nullptr);
        std::_Exit(99);
      },
      ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
