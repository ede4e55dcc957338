// A runtime with nothing to do does nothing, and one with a little to do wakes little (FAULTS 33, 34; RELIABILITY W10 and
// rule 13: at rest every counter agrees with what it counts).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

// What is wrong with a runtime that is at rest; "busy" while some M is not on the idle list. Called on a plain thread.
std::string check_at_rest(rt::sched_t& s, std::vector<std::uint64_t>& tids) {
  rt::mutex_guard hold(s.lock);
  tids.clear();
  if (s.nmidle != s.nm) return "busy";
  std::uint32_t ms = 0, ps = 0;
  for (const rt::m* mp = s.midle; mp != nullptr; mp = mp->schedlink) {
    ++ms;
    tids.push_back(mp->tid);
    if (!mp->listed || mp->spinning || mp->p != nullptr || mp->curg != nullptr) return "an idle M has something";
  }
  for (const rt::p* pp = s.pidle; pp != nullptr; pp = pp->idle_next) {
    ++ps;
    if (pp->m != nullptr || !pp->q.empty() || pp->status.get() != rt::p_status::idle) {
      return "an idle P has something";
    }
  }
  if (ms != s.nmidle) return "nmidle " + std::to_string(s.nmidle) + ", listed " + std::to_string(ms);
  if (ps != s.npidle.load(rt::relaxed)) return "npidle " + std::to_string(s.npidle) + ", listed " + std::to_string(ps);
  if (ps != s.nprocs) return "all Ms are idle and a P is not";
  if (s.nmspinning.load(rt::relaxed) != 0) return "nmspinning " + std::to_string(s.nmspinning) + " at rest";
  if (!s.runq.empty() || s.runq_size.load(rt::relaxed) != 0) return "work in the global queue at rest";
  return "";
}

std::string wait_for_rest(rt::sched_t& s, std::vector<std::uint64_t>& tids) {
  std::string found;
  while ((found = check_at_rest(s, tids)) == "busy") rt::os::yield_thread();
  return found;
}

struct task_times {
  std::uint64_t sleeps = 0;  // voluntary context switches
  std::uint64_t ticks = 0;   // CPU time, user and system
};

// The sum over the given threads.
task_times times_of(const std::vector<std::uint64_t>& tids) {
  task_times sum;
  for (std::uint64_t tid : tids) {
    const std::string dir = "/proc/self/task/" + std::to_string(tid);
    char line[1000];
    if (std::FILE* f = std::fopen((dir + "/status").c_str(), "re")) {
      unsigned long long n = 0;
      while (std::fgets(line, sizeof line, f) != nullptr) {
        if (std::sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1) sum.sleeps += n;
      }
      std::fclose(f);
    }
    if (std::FILE* f = std::fopen((dir + "/stat").c_str(), "re")) {
      unsigned long long user = 0, system = 0;
      if (std::fgets(line, sizeof line, f) != nullptr) {
        const char* rest = std::strrchr(line, ')');  // the name before it may hold anything
        if (rest != nullptr &&
            std::sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) == 2) {
          sum.ticks += user + system;
        }
      }
      std::fclose(f);
    }
  }
  return sum;
}

// Work for every P, so that every M exists that will.
void make_threads(int procs) {
  std::atomic<int> running{0};
  wait_group all;
  for (int i = 0; i < procs; ++i) {
    all.go([&] {
      ++running;
      test::spin_until([&] { return running.load() == procs; });
    });
  }
  all.wait();
}

// The sleep below is the measurement, not a synchronisation: in a window of it no thread of the runtime may run. One
// quiet window is enough, because the first ones may still see threads going to sleep.
TEST(idle, fault_33_an_idle_runtime_neither_burns_cpu_nor_wakes_up) {
  test::for_each_case(
      [](const run_case& c) {
        make_threads(c.procs);
        semaphore over(0);
        rt::sched_t& s = *rt::getg()->rt;
        std::string wrong;
        bool quiet = false;
        std::thread observer([&] {
          std::vector<std::uint64_t> tids;
          for (int window = 0; window < 10 && !quiet; ++window) {
            wrong = wait_for_rest(s, tids);
            if (!wrong.empty()) break;
            const task_times before = times_of(tids);
            std::this_thread::sleep_for(std::chrono::milliseconds(300));
            const task_times after = times_of(tids);
            quiet = before.sleeps == after.sleeps && before.ticks == after.ticks;
          }
          over.release();
        });
        over.acquire();
        blocking([&] { observer.join(); });
        EXPECT_EQ(wrong, "");
        EXPECT_TRUE(quiet) << "a thread of the idle runtime ran in each of ten windows";
      },
      {{1, 4}, 1});
}

// All threads of the process but the calling one, with how often each has gone to sleep so far.
std::map<std::uint64_t, std::uint64_t> sleeps_of_others() {
  std::map<std::uint64_t, std::uint64_t> sleeps;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::uint64_t tid = std::stoull(task.path().filename().string());
    if (tid != static_cast<std::uint64_t>(::gettid())) sleeps[tid] = times_of({tid}).sleeps;
  }
  return sleeps;
}

// Timers that are far away change nothing: the M that sleeps until the first of them makes no other call meanwhile, nor does any
// other thread of the process: sysmon, and the one that serves timers in no runtime. Whoever wakes up has to go to sleep again,
// which is counted, and so is a thread that has come or gone. (As `strace -f -c -p` over some seconds shows it: no line.)
TEST(idle, timers_that_are_far_away_wake_nobody) {
  if (test::built_with_tsan) GTEST_SKIP() << "ThreadSanitizer's own thread wakes up ten times a second";
  using namespace std::chrono_literals;
  const context outside = context::background().with_timeout(2h);
  test::for_each_case(
      [](const run_case& c) {
        make_threads(c.procs);
        semaphore over(0), never(0);
        const context ctx = context::background().with_timeout(1h);
        rt::sched_t& s = *rt::getg()->rt;
        wait_group all;
        for (int i = 1; i <= 3; ++i) all.go([&, i] { EXPECT_TRUE(never.try_acquire_for(i * 1h)); });
        all.go([&] {
          timer far(3h);
          EXPECT_EQ(select(recv(far.channel()), on(ctx.done())), 1U);
        });
        std::string wrong;
        bool quiet = false;
        std::thread observer([&] {
          std::vector<std::uint64_t> idle;
          for (int window = 0; window < 10 && !quiet; ++window) {
            wrong = wait_for_rest(s, idle);
            if (!wrong.empty()) break;
            const auto before = sleeps_of_others();
            std::this_thread::sleep_for(std::chrono::milliseconds(1000));
            quiet = before == sleeps_of_others();
          }
          over.release();
        });
        over.acquire();
        never.release(3);
        ctx.cancel();
        all.wait();
        blocking([&] { observer.join(); });
        EXPECT_EQ(wrong, "");
        EXPECT_TRUE(quiet) << "a thread of the process ran in each of ten windows";
      },
      {{1, 4}, 1});
}

TEST(idle, fault_W10_counters_agree_with_the_lists_at_rest) {
  test::for_each_case([](const run_case& c) {
    const int rounds = test::scaled(100);
    semaphore rest(0), go_on(0);
    rt::sched_t& s = *rt::getg()->rt;
    std::string wrong;
    std::thread observer([&] {
      std::vector<std::uint64_t> tids;
      for (int i = 0; i < rounds; ++i) {
        rest.acquire();
        const std::string found = wait_for_rest(s, tids);
        if (wrong.empty()) wrong = found;
        go_on.release();
      }
    });
    for (int i = 0; i < rounds; ++i) {
      wait_group all;
      for (int k = 0; k < 3 * c.procs; ++k) {
        all.go([k] {
          yield();
          if (k % 4 == 0) blocking([] {});
        });
      }
      all.wait();
      rest.release();
      go_on.acquire();
    }
    blocking([&] { observer.join(); });
    EXPECT_EQ(wrong, "");
  });
}

// One goroutine becomes runnable in a runtime of eight idle Ps. It needs one thread; the one that comes starts a spinning
// successor; that is all. Waking everybody would be eight.
TEST(idle, fault_34_one_item_wakes_a_few_threads_and_not_all) {
  test::for_each_case(
      [](const run_case& c) {
        const int items = 300;
        make_threads(c.procs);
        semaphore item(0), handled(0), over(0);
        rt::sched_t& s = *rt::getg()->rt;
        std::string wrong;
        double wakes = 0;
        wait_group all;
        all.go([&] {
          for (int i = 0; i < items; ++i) {
            item.acquire();
            handled.release();
          }
        });
        std::thread outside([&] {
          std::vector<std::uint64_t> tids;
          wrong = wait_for_rest(s, tids);
          const task_times before = times_of(tids);
          for (int i = 0; i < items && wrong.empty(); ++i) {
            item.release();
            handled.acquire();
            wrong = wait_for_rest(s, tids);
          }
          wakes = static_cast<double>(times_of(tids).sleeps - before.sleeps) / items;
          if (!wrong.empty()) item.release(items);
          over.release();
        });
        over.acquire();
        all.wait();
        blocking([&] { outside.join(); });
        EXPECT_EQ(wrong, "");
        EXPECT_LE(wakes, 5.0) << "threads of the runtime that went back to sleep, per item";
      },
      {{8}, 1});
}

}  // namespace
