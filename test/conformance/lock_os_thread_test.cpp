// A goroutine and its thread: Go's LockOSThread family, BlockLocked, YieldLocked, YieldLockedProgress.
//
// What a locked goroutine makes of its thread stays there, so cases that spoil one run on a thread of their own: m0 is
// theirs then, and not the thread of the tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "model/m.hpp"
#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;
using testing::HasSubstr;

// The cases of `procs`, each with a fresh thread as m0.
void for_each_case_on_a_fresh_thread(const std::vector<int>& procs, const std::function<void(const run_case&)>& body) {
  for (const int n : procs) {
    std::thread([&] { test::for_each_case(body, {{n}, 1}); }).join();
    if (testing::Test::HasFailure() || testing::Test::IsSkipped()) return;
  }
}

bool thread_lives(std::uint64_t tid) { return ::access(("/proc/self/task/" + std::to_string(tid)).c_str(), F_OK) == 0; }

bool is_locked() { return (rt::getg()->flags & rt::g_locked) != 0; }

// n goroutines that all run at the same time, each on a thread, which it gives to f.
template <class F>
void on_so_many_threads_at_once(int n, F f) {
  std::atomic<int> inside{0};
  wait_group all;
  for (int i = 0; i < n; ++i) {
    all.go([&] {
      f();
      blocking([&] {
        ++inside;
        test::spin_until([&] { return inside.load() == n; });
      });
    });
  }
  all.wait();
}

// ---- the lock itself

TEST(lock_os_thread, so_many_locks_need_so_many_unlocks) {
  test::for_each_case([](const run_case&) {
    wait_group all;
    all.go([] {
      for (int i = 0; i < 100; ++i) {
        lock_os_thread();
        EXPECT_TRUE(is_locked());
      }
      for (int i = 0; i < 99; ++i) {
        unlock_os_thread();
        EXPECT_TRUE(is_locked()) << i;
      }
      unlock_os_thread();
      EXPECT_FALSE(is_locked());
      EXPECT_EQ(nullptr, rt::getg()->m->lockedg);
    });
    all.wait();
  });
}

TEST(lock_os_thread, the_scope_nests_as_the_calls_do) {
  test::for_each_case([](const run_case&) {
    {
      const os_thread_lock outer;
      const std::uint64_t mine = test::thread_id();
      {
        const os_thread_lock inner;
        yield();
        EXPECT_EQ(mine, test::thread_id());
      }
      EXPECT_TRUE(is_locked());
      for (int i = 0; i < 20; ++i) {
        go([] {});
        yield();
        ASSERT_EQ(mine, test::thread_id());
      }
    }
    EXPECT_FALSE(is_locked());
  });
}

TEST(lock_os_thread, an_unlock_too_many_does_nothing) {
  test::for_each_case_and_schedule([](const run_case&) {
    unlock_os_thread();
    unlock_os_thread();
    lock_os_thread();
    EXPECT_TRUE(is_locked() || rt::getg()->rt->explore != nullptr);
    unlock_os_thread();
    EXPECT_FALSE(is_locked());
    unlock_os_thread();
    EXPECT_FALSE(is_locked());
  });
}

TEST(lock_os_thread, is_refused_outside_a_runtime) {
  const auto message_of = [](void (*f)()) -> std::string {
    try {
      f();
    } catch (const error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message_of(lock_os_thread), HasSubstr("weft::lock_os_thread called outside a runtime"));
  EXPECT_THAT(message_of(unlock_os_thread), HasSubstr("weft::unlock_os_thread called outside a runtime"));
  EXPECT_THROW(os_thread_lock{}, error);
}

// ---- whose thread it is

TEST(lock_os_thread, nobody_else_runs_on_the_thread_meanwhile) {
  test::for_each_case([](const run_case&) {
    std::mutex lock;  // never held across a switch
    std::set<std::uint64_t> taken;
    std::atomic<int> trespasses{0};
    std::atomic<bool> stop{false};
    wait_group lockers, others;
    for (int i = 0; i < 10; ++i) {
      others.go([&] {
        while (!stop.load()) {
          {
            const std::lock_guard hold(lock);
            if (taken.count(test::thread_id()) != 0) ++trespasses;
          }
          yield();
        }
      });
    }
    for (int i = 0; i < 4; ++i) {
      lockers.go([&] {
        for (int round = 0; round < test::scaled(50); ++round) {
          const os_thread_lock mine;
          const std::uint64_t tid = test::thread_id();
          {
            const std::lock_guard hold(lock);
            if (!taken.insert(tid).second) ++trespasses;
          }
          yield();
          if (round % 10 == 0) blocking([] { rt::os::yield_thread(); });
          yield();
          if (test::thread_id() != tid) ++trespasses;
          const std::lock_guard hold(lock);
          taken.erase(tid);
        }
      });
    }
    lockers.wait();
    stop = true;
    others.wait();
    EXPECT_EQ(trespasses.load(), 0);
  });
}

TEST(lock_os_thread, a_locked_goroutine_can_wait_and_be_woken_again_and_again) {
  test::for_each_case_and_schedule([](const run_case&) {
    semaphore there(0), back(0);
    wait_group all;
    all.go([&] {
      const os_thread_lock mine;
      const std::uint64_t tid = test::thread_id();
      for (int i = 0; i < 50; ++i) {
        there.acquire();
        EXPECT_EQ(tid, test::thread_id());
        back.release();
      }
    });
    for (int i = 0; i < 50; ++i) {
      there.release();
      back.acquire();
    }
    all.wait();
  });
}

// Both ends locked: each P goes straight from one thread to the other.
TEST(lock_os_thread, two_locked_goroutines_hand_over_to_each_other) {
  test::for_each_case([](const run_case&) {
    const int rounds = test::scaled(1000);
    semaphore there(0), back(0);
    int last = -1;
    wait_group all;
    all.go([&] {
      const os_thread_lock mine;
      const std::uint64_t tid = test::thread_id();
      for (int i = 0; i < rounds; ++i) {
        there.acquire();
        EXPECT_EQ(last, i);
        EXPECT_EQ(tid, test::thread_id());
        back.release();
      }
    });
    const os_thread_lock mine;
    const std::uint64_t tid = test::thread_id();
    for (int i = 0; i < rounds; ++i) {
      last = i;
      there.release();
      back.acquire();
      ASSERT_EQ(tid, test::thread_id());
    }
    all.wait();
  });
}

TEST(lock_os_thread, a_locked_goroutine_that_yields_stays_on_its_thread) {
  test::for_each_case_and_schedule([](const run_case&) {
    wait_group all;
    for (int k = 0; k < 3; ++k) {
      all.go([] {
        const os_thread_lock mine;
        const std::uint64_t tid = test::thread_id();
        for (int i = 0; i < 30; ++i) {
          yield();
          ASSERT_EQ(tid, test::thread_id());
        }
      });
    }
    all.wait();
  });
}

TEST(lock_os_thread, yields_of_a_locked_goroutine_let_others_make_progress) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<bool> stop{false};
    std::atomic<int> turns{0};
    wait_group all;
    all.go([&] {
      const os_thread_lock mine;
      while (!stop.load(std::memory_order_relaxed)) {
        turns.fetch_add(1, std::memory_order_relaxed);
        yield();
      }
    });
    test::yield_until([&] { return turns.load(std::memory_order_relaxed) >= 100; });
    stop = true;
    all.wait();
  });
}

TEST(lock_os_thread, blocking_from_a_locked_goroutine_lets_others_run_and_comes_back) {
  test::for_each_case([](const run_case&) {
    const os_thread_lock mine;
    const std::uint64_t tid = test::thread_id();
    for (int i = 0; i < 20; ++i) {
      std::atomic<bool> ran{false};
      go([&] { ran = true; });
      blocking([&] { test::spin_until([&] { return ran.load(); }); });
      ASSERT_EQ(tid, test::thread_id());
    }
  });
}

// ---- the end of a locked goroutine

TEST(lock_os_thread, a_goroutine_that_ends_locked_takes_its_thread_with_it) {
  test::for_each_case([](const run_case&) {
    const os_thread_lock main_keeps_m0;  // so the others are on threads that can end
    std::set<std::uint64_t> tainted;
    std::mutex lock;
    for (int round = 0; round < 5; ++round) {
      std::uint64_t tid = 0;
      wait_group all;
      all.go([&] {
        lock_os_thread();
        if (round % 2 == 1) lock_os_thread();  // counts do not matter
        tid = test::thread_id();
      });
      all.wait();
      ASSERT_NE(tid, test::thread_id());
      test::yield_until([&] { return !thread_lives(tid); });
      tainted.insert(tid);
      for (int i = 0; i < 20; ++i) {
        all.go([&] {
          yield();
          const std::lock_guard hold(lock);
          EXPECT_EQ(tainted.count(test::thread_id()), 0u);
        });
      }
      all.wait();
    }
  });
}

TEST(lock_os_thread, a_goroutine_that_exits_locked_takes_its_thread_with_it) {
  test::for_each_case([](const run_case&) {
    const os_thread_lock main_keeps_m0;
    std::uint64_t tid = 0;
    wait_group all;
    all.go([&] {
      const os_thread_lock mine;
      lock_os_thread();  // the scope's destructor undoes one of two
      tid = test::thread_id();
      this_goroutine::exit();
    });
    all.wait();
    test::yield_until([&] { return !thread_lives(tid); });
    // And one that had only the scope leaves the thread alone.
    all.go([&] {
      const os_thread_lock mine;
      this_goroutine::exit();
    });
    all.wait();
  });
}

// The thread that called run cannot end; nobody runs on it any more, and run() returns on it.
TEST(lock_os_thread, the_first_thread_is_wedged_when_its_goroutine_ends_locked) {
  for_each_case_on_a_fresh_thread({1}, [](const run_case&) {
    const std::uint64_t m0 = test::thread_id();
    bool on_m0 = false;
    go([&] {
      on_m0 = test::thread_id() == m0;
      lock_os_thread();
    });
    yield();
    EXPECT_TRUE(on_m0) << "with one P and nobody blocking there is one thread";
    EXPECT_NE(m0, test::thread_id());
    EXPECT_TRUE(thread_lives(m0));
    std::atomic<int> trespasses{0};
    wait_group all;
    for (int i = 0; i < 100; ++i) {
      all.go([&, i] {
        if (test::thread_id() == m0) ++trespasses;
        if (i % 10 == 0) blocking([] { rt::os::yield_thread(); });
        if (test::thread_id() == m0) ++trespasses;
      });
    }
    all.wait();
    EXPECT_EQ(trespasses.load(), 0);
  });
}

TEST(lock_os_thread, main_may_return_locked) {
  for_each_case_on_a_fresh_thread({1, 2, 4}, [](const run_case&) {
    lock_os_thread();
    wait_group all;
    for (int i = 0; i < 10; ++i) all.go([] { yield(); });
    all.wait();
  });
  // With others left, who have to end without m0.
  for (const int procs : {1, 2, 4}) {
    std::thread([&] {
      semaphore never(0);
      std::atomic<int> ended{0};
      options o;
      o.procs = procs;
      const std::uint64_t caller = test::thread_id();
      const int value = weft::run(o, [&] {
        for (int i = 0; i < 10; ++i) {
          go([&] {
            struct at_end {
              std::atomic<int>& ended;
              ~at_end() { ++ended; }
            } signal{ended};
            never.acquire();
          });
        }
        lock_os_thread();
        yield();
        return 5;
      });
      EXPECT_EQ(value, 5);
      EXPECT_EQ(ended.load(), 10);
      EXPECT_EQ(caller, test::thread_id());
    }).join();
  }
}

// ---- what a thread is like

// As the kernel tells it of the calling thread.
struct thread_state {
  std::string directory;
  std::string umask;
  cpu_set_t cpus;
  sigset_t blocked;

  static thread_state here() {
    thread_state s;
    char path[4096];
    if (::getcwd(path, sizeof path) != nullptr) s.directory = path;
    if (std::FILE* f = std::fopen("/proc/thread-self/status", "re")) {
      char line[1000];
      while (std::fgets(line, sizeof line, f) != nullptr) {
        if (std::strncmp(line, "Umask:", 6) == 0) s.umask = line;
      }
      std::fclose(f);
    }
    CPU_ZERO(&s.cpus);
    ::sched_getaffinity(0, sizeof s.cpus, &s.cpus);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &s.blocked);
    return s;
  }
};

// Files, umask and CPUs of the calling thread become its own. False: not permitted here.
bool spoil_thread() {
  if (::unshare(CLONE_FS) != 0) return false;
  ::umask(0137);
  if (::chdir("/proc") != 0) return false;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) return false;
  sigset_t usr2;
  ::sigemptyset(&usr2);
  ::sigaddset(&usr2, SIGUSR2);
  ::pthread_sigmask(SIG_UNBLOCK, &usr2, nullptr);
  return true;
}

void expect_unspoiled(const thread_state& before) {
  const thread_state s = thread_state::here();
  EXPECT_EQ(s.directory, before.directory);
  EXPECT_EQ(s.umask, before.umask);
  EXPECT_TRUE(CPU_EQUAL(&s.cpus, &before.cpus));
}

TEST(lock_os_thread, what_a_locked_goroutine_makes_of_its_thread_is_not_inherited) {
  for_each_case_on_a_fresh_thread({1, 2, 4}, [](const run_case&) {
    const thread_state before = thread_state::here();
    std::uint64_t spoiled = 0;
    wait_group all;
    // On m0, or on another thread: the one that has the only P, or one of several.
    all.go([&] {
      lock_os_thread();
      spoiled = test::thread_id();
      if (!spoil_thread()) {
        GTEST_SKIP() << "unshare(CLONE_FS) or sched_setaffinity is not permitted here";
      }
      // Whoever is woken by these finds no thread: it has to be made, while this one is the one that asks.
      on_so_many_threads_at_once(6, [&] {
        EXPECT_NE(spoiled, test::thread_id());
        expect_unspoiled(before);
      });
      const thread_state mine = thread_state::here();
      EXPECT_EQ(mine.directory, "/proc");
      EXPECT_NE(mine.umask, before.umask);
    });
    all.wait();
    // Its thread has gone with it, or is m0 and wedged.
    on_so_many_threads_at_once(8, [&] {
      EXPECT_NE(spoiled, test::thread_id());
      expect_unspoiled(before);
    });
  });
}

// A plain thread that wakes goroutines may have to have a thread made for them: there is only m0 when the Ps come, and it is
// busy.
TEST(lock_os_thread, what_a_plain_thread_is_like_is_not_inherited) {
  for_each_case_on_a_fresh_thread({1}, [](const run_case&) {
    const thread_state before = thread_state::here();
    const std::uint64_t m0 = test::thread_id();
    semaphore start(0);
    std::atomic<int> running{0};
    std::atomic<bool> permitted{true};
    wait_group all;
    std::vector<test::watched> waiting(3);
    for (test::watched& w : waiting) {
      all.go([&] {
        w.here();
        start.acquire();
        ++running;
        test::spin_until([&] { return running.load() == 3; });
        EXPECT_NE(m0, test::thread_id());
        expect_unspoiled(before);
      });
      test::yield_until([&] { return w.waits(); });
    }
    gomaxprocs(4);
    std::thread outside([&] {
      permitted = spoil_thread();
      start.release(3);
    });
    test::spin_until([&] { return running.load() == 3; });
    outside.join();
    all.wait();
    if (!permitted.load()) GTEST_SKIP() << "unshare(CLONE_FS) or sched_setaffinity is not permitted here";
  });
}

// Signals are for the threads that the program has made: a handler would run on the stack of a goroutine.
TEST(lock_os_thread, new_threads_block_the_signals_of_the_program) {
  test::for_each_case([](const run_case&) {
    const os_thread_lock main_keeps_m0;
    on_so_many_threads_at_once(5, [] {
      const thread_state s = thread_state::here();
      for (const int n :
           {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGPROF, SIGRTMIN + 3}) {
        EXPECT_EQ(::sigismember(&s.blocked, n), 1) << n;
      }
      for (const int n : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_EQ(::sigismember(&s.blocked, n), 0) << n;
    });
  });
}

// ---- the first lock against the start of everything else

TEST(lock_os_thread, the_first_lock_may_come_while_threads_are_being_started) {
  const test::snapshot before = test::take_snapshot();
  test::set_watchdog(60);
  const int iterations = test::scaled(300);
  for (int i = 0; i < iterations; ++i) {
    options o;
    o.procs = 1 + i % 4;
    std::atomic<int> ran{0};
    weft::run(o, [&] {
      wait_group all;
      for (int k = 0; k < 4; ++k) {
        all.go([&, k] {
          lock_os_thread();
          all.go([&] { ++ran; });
          if (k % 2 == 0) unlock_os_thread();
        });
      }
      all.wait();
    });
    ASSERT_EQ(ran.load(), 4);
  }
  test::clear_watchdog();
  EXPECT_EQ(test::leaked_since(before), "");
}

// The two hand their only P to each other, from thread to thread; what they ready each other into is runnext.
TEST(lock_os_thread, two_that_ready_each_other_keep_nobody_waiting) {
  test::for_each_case(
      [](const run_case&) {
        std::atomic<bool> over{false};
        const chan<> to, fro;
        wait_group wg;
        wg.go([&] {
          const os_thread_lock lock;
          while (to.recv()) fro.send();
          fro.close();
        });
        wg.go([&] {
          const os_thread_lock lock;
          while (!over.load()) {
            to.send();
            fro.recv();
          }
          to.close();
        });
        for (int i = 0; i < 50; ++i) yield();
        for (int i = 0; i < 5; ++i) sleep(std::chrono::milliseconds(1));
        for (int i = 0; i < 5; ++i) blocking([] { ::usleep(500); });
        for (int i = 0; i < 5; ++i) {
          ::usleep(3000);
          yield();
        }
        over = true;
        wg.wait();
      },
      {{1, 2}, 1});
}

}  // namespace
