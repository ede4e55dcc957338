// Faults that other runtimes paid for (FAULTS, RELIABILITY 5), as far as they concern what exists and have no better
// place. Elsewhere: 3, 4 getg_thread_switch_test; 6 exceptions_test; 9, 10 runq_test; 36 mutex_test; 24, 25, 29 and others
// that need a process of their own faults_process_test; 5 and 7 also test/stress/taker and destroy_early.
#include <dlfcn.h>
#include <execinfo.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "arch/gobuf.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

extern "C" void _start();

namespace {

using namespace weft;
using test::run_case;

// ---- wake-ups

// A wake-up that comes between "I am about to wait" and "I wait", from another P and from a plain thread. A lost one is a
// hang, which the watchdog ends.
TEST(faults, fault_01_no_wake_up_is_lost_between_park_and_ready) {
  test::for_each_case([](const run_case&) {
    const int rounds = test::scaled(2000);
    semaphore ping(0), pong(0), out(0), in(0);
    wait_group all;
    all.go([&] {
      for (int i = 0; i < rounds; ++i) {
        ping.acquire();
        pong.release();
      }
    });
    all.go([&] {
      for (int i = 0; i < rounds; ++i) {
        ping.release();
        pong.acquire();
      }
    });
    std::thread plain([&] {
      for (int i = 0; i < rounds; ++i) {
        out.acquire();
        in.release();
      }
    });
    for (int i = 0; i < rounds; ++i) {
      out.release();
      in.acquire();
    }
    all.wait();
    blocking([&] { plain.join(); });
  });
}

// The other goroutine is started, or readied, beside a P that is idle or about to be: it must run although the one who
// started it keeps its own P. `between` shifts the moment.
void other_runs_while_i_spin(int rounds, bool by_release) {
  for (int i = 0; i < rounds; ++i) {
    std::atomic<bool> ran{false};
    semaphore wake(0);
    test::watched other;
    wait_group all;
    if (by_release) {
      all.go([&] {
        other.here();
        wake.acquire();
        ran = true;
      });
      test::yield_until([&] { return other.waits(); });
      wake.release();
    } else {
      all.go([&] { ran = true; });
    }
    test::spin_until([&] { return ran.load(std::memory_order_relaxed); });
    for (int d = i % 50; d > 0; --d) rt::os::pause();
    all.wait();
  }
}

TEST(faults, fault_02_a_started_goroutine_runs_beside_an_idle_p) {
  test::for_each_case([](const run_case&) { other_runs_while_i_spin(test::scaled(500), false); }, {{2, 3, 4}, 3});
}
TEST(faults, fault_11_a_readied_goroutine_is_stolen_from_runnext) {
  test::for_each_case([](const run_case&) { other_runs_while_i_spin(test::scaled(500), true); }, {{2, 3, 4}, 3});
}

// Work that comes from outside while every P is idle, or on its way there.
TEST(faults, fault_02_work_from_a_plain_thread_wakes_an_idle_runtime) {
  test::for_each_case([](const run_case&) {
    const int rounds = test::scaled(500), sleepers = 4;
    semaphore work(0), done(0);
    wait_group all;
    for (int k = 0; k < sleepers; ++k) {
      all.go([&] {
        for (int i = 0; i < rounds; ++i) {
          work.acquire();
          done.release();
        }
      });
    }
    std::thread outside([&] {
      for (int i = 0; i < rounds * sleepers;) {
        const int n = std::min(1 + i % 3, rounds * sleepers - i);
        work.release(n);
        for (int k = 0; k < n; ++k) done.acquire();
        i += n;
      }
    });
    all.wait();  // main waits too: the runtime is idle between two items
    blocking([&] { outside.join(); });
  });
}

// W11: as many goroutines as Ps become runnable at once on one P; each spins until all run.
TEST(faults, fault_W11_work_of_one_p_spreads_over_the_idle_ones) {
  test::for_each_case(
      [](const run_case& c) {
        const int rounds = test::scaled(50);
        for (int i = 0; i < rounds; ++i) {
          std::atomic<int> running{0};
          wait_group all;
          for (int k = 0; k < c.procs; ++k) {
            all.go([&] {
              ++running;
              test::spin_until([&] { return running.load(std::memory_order_relaxed) == c.procs; });
            });
          }
          all.wait();
        }
      },
      {{2, 3, 4}, 3});
}

// ---- run queues

// Many more goroutines than the ring holds, put on one P while others steal; each runs once.
TEST(faults, fault_08_a_hundred_thousand_goroutines_on_one_p_all_run_once) {
  test::for_each_case([](const run_case&) {
    const int n = test::built_with_tsan ? 4000 : test::scaled(100'000);
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
    wait_group all;
    all.add(n);
    for (int i = 0; i < n; ++i) {
      go([&runs, &all, i] {
        runs[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
        all.done();
      });
    }
    all.wait();
    int wrong = 0;
    for (auto& r : runs) wrong += r.load() != 1 ? 1 : 0;
    EXPECT_EQ(wrong, 0);
  });
}

// Two goroutines that ready each other through runnext for ever beside a third in the ring, on one P. Go 52934: runnext
// inherits the time slice, so the third waits until somebody ends the slice; here the chain is cut after so many hops.
TEST(faults, fault_11_a_runnext_chain_lets_the_ring_run) {
  test::for_each_case(
      [](const run_case&) {
        semaphore a(0), b(0);
        bool stop = false;
        int hops = 0;
        std::vector<int> seen;
        wait_group all;
        all.go([&] {
          while (!stop) {
            a.acquire();
            ++hops;
            b.release();
          }
        });
        all.go([&] {
          while (!stop) {
            a.release();
            b.acquire();
            ++hops;
          }
          a.release();
        });
        for (int turn = 0; turn < 100; ++turn) {
          const int before = hops;
          yield();  // to the tail: the chain runs
          seen.push_back(hops - before);
        }
        stop = true;
        all.wait();
        EXPECT_LE(*std::max_element(seen.begin(), seen.end()), 2 * 16);
      },
      {{1}, 2});
}

// A goroutine in the global queue beside a P that always has local work: every 61st tick it is its turn.
TEST(faults, the_global_queue_is_not_starved_by_local_work) {
  test::for_each_case(
      [](const run_case&) {
        bool stop = false;
        long turns = 0, at_release = 0, waited = -1;
        semaphore from_outside(0);
        test::watched sleeper;
        std::atomic<bool> released{false};
        wait_group all;
        all.go([&] {
          sleeper.here();
          from_outside.acquire();
          waited = turns - at_release;
          stop = true;
        });
        test::yield_until([&] { return sleeper.waits(); });
        for (int i = 0; i < 3; ++i) {
          all.go([&] {
            while (!stop) {
              ++turns;
              yield();
            }
          });
        }
        // Readied by a plain thread, it goes to the global queue.
        std::thread outside([&] {
          from_outside.release();
          released = true;
        });
        test::spin_until([&] { return released.load(); });
        outside.join();
        at_release = turns;
        all.wait();
        EXPECT_GE(waited, 0);
        // Not by the constant's name: a wrong one must show. It is 61, and the first tick may be at any phase.
        EXPECT_LE(waited, 2 * 61);
      },
      {.procs = {1}, .seeds = 2, .knobs = "takeback=off"});  // main keeps the P while it spins
}

// ---- stacks and lifetimes

// A waiter's frame, and the object it waits on, are gone as soon as it has been readied. (Under ASan a late touch is a
// report; in other builds a corrupted stack may or may not show.)
TEST(faults, fault_07_objects_die_as_soon_as_their_last_waiter_has_returned) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        const int rounds = test::scaled(1000);
        for (int i = 0; i < rounds; ++i) {
          auto s = std::make_unique<semaphore>(0);
          auto* raw_s = s.get();
          go([raw_s] { raw_s->release(); });
          s->acquire();
          s.reset();

          auto wg = std::make_unique<wait_group>();
          auto* raw_wg = wg.get();
          wg->add(1);
          go([raw_wg] { raw_wg->done(); });
          wg->wait();
          wg.reset();

          auto m = std::make_unique<mutex>();
          auto* raw_m = m.get();
          m->lock();
          go([raw_m] { raw_m->unlock(); });
          m->lock();
          m->unlock();
          m.reset();
        }
      },
      20);
}

// A stack goes back to a cache when its goroutine ends, and another goroutine starts on it at once, perhaps on another
// thread: nobody may still be on it. Each writes all over its frames.
TEST(faults, fault_22_a_stack_is_not_used_before_its_last_owner_has_left_it) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        const int n = test::built_with_tsan ? 2000 : test::scaled(20'000);
        std::atomic<int> bad{0};
        wait_group all;
        struct writer {
          static void on(int depth, int tag, std::atomic<int>& wrong) {
            volatile int frame[64];
            for (int i = 0; i < 64; ++i) frame[i] = tag + i;
            if (depth > 0) {
              on(depth - 1, tag + 64, wrong);
            } else if (tag % 3 == 0) {
              yield();
            }
            for (int i = 0; i < 64; ++i) {
              if (frame[i] != tag + i) ++wrong;
            }
          }
        };
        for (int i = 0; i < n; ++i) {
          all.add(1);
          go({.stack_size = i % 2 == 0 ? std::size_t{16} << 10 : std::size_t{64} << 10}, [&, i] {
            writer::on(4, i, bad);
            all.done();
          });
          if (i % 100 == 99) all.wait();
        }
        all.wait();
        EXPECT_EQ(bad.load(), 0);
      },
      5);
}

// ---- signals

// Where each walk ended, kept for later: looking it up is not for a signal handler.
constexpr std::uint64_t most_walks = 10'000;
std::atomic<std::uint64_t> walks{0};
void* walk_end[most_walks];
int walk_depth[most_walks];

// A profiler's handler: walks the stack of whatever was interrupted, the switch itself included.
void profile(int, siginfo_t*, void*) {
  const int saved = errno;
  void* frames[100];
  const int n = ::backtrace(frames, 100);
  const std::uint64_t i = walks.fetch_add(1, std::memory_order_relaxed);
  if (i < most_walks) {
    walk_end[i] = n > 0 ? frames[n - 1] : nullptr;
    walk_depth[i] = n;
  }
  errno = saved;
}

// A whole walk ends in the first frame of a goroutine or of a thread, the main thread's _start included.
bool is_first_frame(void* pc) {
  const auto at = reinterpret_cast<std::uintptr_t>(pc);
  const auto in = [&](std::uintptr_t fn) { return at - fn < 64; };
  if (in(reinterpret_cast<std::uintptr_t>(&rt::weft_goroutine_start)) ||
      in(reinterpret_cast<std::uintptr_t>(&_start))) {
    return true;
  }
  Dl_info info;
  return ::dladdr(pc, &info) != 0 && info.dli_fname != nullptr && std::strstr(info.dli_fname, "/libc.so") != nullptr;
}

TEST(faults, fault_23_a_profiler_may_walk_the_stack_at_any_instruction) {
  if (test::built_with_tsan) GTEST_SKIP() << "ThreadSanitizer delivers signals late, never inside a switch";
  void* warm[4];
  ::backtrace(warm, 4);  // loads the unwinder, which allocates
  struct sigaction action {
  }, before{};
  action.sa_sigaction = profile;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ASSERT_EQ(::sigaction(SIGPROF, &action, &before), 0);
  const std::uint64_t wanted = test::scaled(1500, 5);  // one in some meets a switch
  test::for_each_case(
      [&](const run_case& c) {
        // Threads of the scheduler block all signals. Each goroutine opens its thread to this one; a storm of direct
        // signals is denser than any profiling timer.
        const std::uint64_t until = walks.load() + wanted;
        std::atomic<bool> stop{false};
        std::mutex lock;
        std::map<std::uint64_t, pthread_t> threads;
        wait_group all;
        for (int k = 0; k < 2 * c.procs; ++k) {
          all.go([&, k] {
            sigset_t prof;
            ::sigemptyset(&prof);
            ::sigaddset(&prof, SIGPROF);
            std::uint64_t known = 0;
            for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
              if (const std::uint64_t tid = rt::getg()->m->tid; tid != known) {
                known = tid;
                ::pthread_sigmask(SIG_UNBLOCK, &prof, nullptr);
                std::lock_guard hold(lock);
                threads.emplace(tid, ::pthread_self());
              }
              if (k % 2 == 0) {
                yield();
              } else {
                wait_group one;  // births, deaths and parks
                one.go([] {});
                one.wait();
              }
            }
          });
        }
        blocking([&] {
          while (walks.load() < until) {
            {
              std::lock_guard hold(lock);
              for (auto& [tid, thread] : threads) ::pthread_kill(thread, SIGPROF);
            }
            rt::os::yield_thread();
          }
        });
        stop = true;
        all.wait();
      },
      {{1, 2, 4}, 1});
  ::sigaction(SIGPROF, &before, nullptr);
  std::uint64_t lost = 0;
  for (std::uint64_t i = 0; i < walks.load() && i < most_walks; ++i) {
    EXPECT_LT(walk_depth[i], 100) << "stacks this deep do not exist here: the unwinder ran in circles";
    if (!is_first_frame(walk_end[i])) ++lost;
  }
  EXPECT_EQ(lost, 0u) << "walks that ended in the middle, of " << walks.load();
}

// ---- the end of a runtime

// Plain threads release what the last goroutines wait for, and are still inside that call when the runtime ends. A
// thousand runtimes, so that the end falls on many of its instructions.
TEST(faults, fault_28_a_plain_thread_wakes_the_last_goroutine_while_the_runtime_ends) {
  const int runtimes = test::scaled(1000, 5);
  test::set_replay_line(test::executable() + " --gtest_filter=faults.fault_28*");
  test::set_watchdog(120);
  const test::snapshot before = test::take_snapshot();
  semaphore start(0), finished(0);
  std::atomic<semaphore*> target{nullptr};
  std::atomic<bool> stop{false};
  std::thread foreign([&] {
    for (;;) {
      start.acquire();
      if (stop.load()) return;
      target.load()->release();
      // (From here on the runtime and the semaphore may be gone.)
      finished.release();
    }
  });
  for (int i = 0; i < runtimes; ++i) {
    options o;
    o.procs = 1 + i % 4;
    weft::run(o, [&, i] {
      auto* last = new semaphore(0);
      target = last;
      go([&, last, i] {
        const no_cancel until_it_is_ours;
        start.release();
        for (int d = i % 100; d > 0; --d) rt::os::pause();
        last->acquire();
        delete last;
      });
    });
    finished.acquire();
  }
  stop = true;
  start.release();
  foreign.join();
  test::clear_watchdog();
  EXPECT_EQ(test::leaked_since(before), "");
}

// Goroutines that end at the same moment on different Ps, main among them: one of them must notice that it was the last.
TEST(faults, the_last_of_several_goroutines_that_end_at_once_ends_the_runtime) {
  const int runtimes = test::scaled(1000);
  test::set_replay_line(test::executable() + " --gtest_filter=faults.the_last_of*");
  test::set_watchdog(120);
  for (int i = 0; i < runtimes; ++i) {
    options o;
    o.procs = 2 + i % 2;
    auto at = std::make_shared<std::atomic<int>>(0);
    weft::run(o, [at, i] {
      go([at] {
        at->store(1);
        // Bounded: main may have had no time to say so before it returned.
        for (int k = 0; k < 100'000 && at->load(std::memory_order_relaxed) != 2; ++k) rt::os::pause();
      });
      test::spin_until([&] { return at->load(std::memory_order_relaxed) == 1; });
      at->store(2);
      for (int d = i % 64; d > 0; --d) rt::os::pause();
    });
  }
  test::clear_watchdog();
}

// E2: main returns while a goroutine is in a blocking call, on a thread that the scheduler has lent to it.
TEST(faults, fault_E2_run_waits_for_a_goroutine_in_a_blocking_call) {
  for (int procs : {1, 2, 4}) {
    options o;
    o.procs = procs;
    std::atomic<bool> inside{false}, main_has_returned{false}, ended{false};
    weft::run(o, [&] {
      go([&] {
        blocking([&] {
          inside = true;
          test::spin_until([&] { return main_has_returned.load(); });
        });
        yield();
        ended = true;
      });
      test::yield_until([&] { return inside.load(); });
      main_has_returned = true;
    });
    EXPECT_TRUE(ended.load());
  }
}

}  // namespace
