// gomaxprocs and what it rests on, stopping the world: Go's GOMAXPROCS as its users know it, BigGOMAXPROCS,
// StopTheWorldDeadlock, MexitSTW; the order of goroutines when their P goes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "model/sched.hpp"
#include "sched/retake.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;
using testing::HasSubstr;

// For the time of a test, as on a kernel that begins to refuse membarrier: who makes a call from now on fences at each.
class without_membarrier {
 public:
  without_membarrier() : before_(rt::the_process.membarrier.load(rt::acquire)) {
    constexpr int no_such_call = 38;
    rt::do_without_membarrier(no_such_call);
  }
  ~without_membarrier() { rt::the_process.membarrier.store(before_, rt::release); }
  without_membarrier(const without_membarrier&) = delete;
  without_membarrier& operator=(const without_membarrier&) = delete;

 private:
  std::uint32_t before_;
};

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// So many goroutines are inside at the same time, none of which calls the runtime while it is.
int most_at_once(int goroutines) {
  std::atomic<int> inside{0}, most{0};
  wait_group all;
  for (int i = 0; i < goroutines; ++i) {
    all.go([&] {
      const int now = ++inside;
      for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      for (int k = 0; k < 2000; ++k) rt::os::pause();
      --inside;
    });
  }
  all.wait();
  return most.load();
}

// ---- the number

TEST(gomaxprocs, returns_what_it_was_and_asks_with_less_than_one) {
  test::for_each_case([](const run_case& c) {
    EXPECT_EQ(gomaxprocs(0), c.procs);
    EXPECT_EQ(gomaxprocs(-5), c.procs);
    EXPECT_EQ(gomaxprocs(3), c.procs);
    EXPECT_EQ(gomaxprocs(3), 3);
    EXPECT_EQ(gomaxprocs(0), 3);
    EXPECT_EQ(gomaxprocs(1), 3);
    EXPECT_EQ(gomaxprocs(5), 1);
    EXPECT_EQ(gomaxprocs(-2147483647 - 1), 5);
    EXPECT_EQ(rt::procs(rt::getg()->rt), 5u);
  });
}

TEST(gomaxprocs, is_remembered_in_an_exploration_too) {
  test::for_each_case_and_schedule([](const run_case&) {
    const int before = gomaxprocs(0);
    EXPECT_EQ(gomaxprocs(before + 2), before);
    EXPECT_EQ(gomaxprocs(0), before + 2);
    EXPECT_EQ(gomaxprocs(before), before + 2);
  });
}

TEST(gomaxprocs, refuses_what_it_cannot_give_and_where_there_is_no_runtime) {
  test::for_each_case([](const run_case& c) {
    EXPECT_THAT(message_of([] { gomaxprocs(4097); }), HasSubstr("weft::gomaxprocs 4097: must be 1 to 4096"));
    EXPECT_THAT(message_of([] { gomaxprocs(2147483647); }), HasSubstr("gomaxprocs 2147483647"));
    EXPECT_EQ(gomaxprocs(0), c.procs);
  });
  EXPECT_THAT(message_of([] { gomaxprocs(0); }), HasSubstr("weft::gomaxprocs called outside a runtime"));
  EXPECT_THAT(message_of([] { gomaxprocs(2); }), HasSubstr("weft::gomaxprocs called outside a runtime"));
}

// With the lock of stoppers held, whoever stops the world would wait for ever.
TEST(gomaxprocs, asking_stops_nobody) {
  test::for_each_case([](const run_case& c) {
    const rt::mutex_guard hold(rt::getg()->rt->world_lock);
    EXPECT_EQ(gomaxprocs(0), c.procs);
    EXPECT_EQ(gomaxprocs(-1), c.procs);
  });
}

TEST(gomaxprocs, no_more_goroutines_run_at_once_than_that) {
  test::for_each_case([](const run_case&) {
    for (const int n : {1, 3, 2, 1, 4, 1}) {
      gomaxprocs(n);
      EXPECT_LE(most_at_once(30), n);
    }
  });
}

TEST(gomaxprocs, that_many_goroutines_do_run_at_once) {
  test::for_each_case([](const run_case&) {
    for (const int n : {4, 1, 2, 6, 3}) {
      gomaxprocs(n);
      std::atomic<int> running{0};
      wait_group all;
      for (int i = 0; i < n; ++i) {
        all.go([&, n] {
          ++running;
          test::spin_until([&] { return running.load() == n; });
        });
      }
      all.wait();
    }
  });
}

TEST(gomaxprocs, may_be_large_and_small_again) {
  test::for_each_case(
      [](const run_case& c) {
        EXPECT_EQ(gomaxprocs(1024), c.procs);
        EXPECT_EQ(gomaxprocs(0), 1024);
        std::atomic<int> ran{0};
        wait_group all;
        for (int i = 0; i < 200; ++i) {
          all.go([&] {
            yield();
            ++ran;
          });
        }
        all.wait();
        EXPECT_EQ(ran.load(), 200);
        EXPECT_EQ(gomaxprocs(1), 1024);
        for (int i = 0; i < 200; ++i) {
          all.go([&] {
            yield();
            ++ran;
          });
        }
        all.wait();
        EXPECT_EQ(ran.load(), 400);
        EXPECT_EQ(gomaxprocs(4096), 1);
        EXPECT_EQ(gomaxprocs(0), 4096);
      },
      {{1, 2}, 2});
}

TEST(gomaxprocs, a_runtime_may_begin_with_many) {
  test::for_each_case(
      [](const run_case& c) {
        EXPECT_EQ(gomaxprocs(0), c.procs);
        std::atomic<int> ran{0};
        wait_group all;
        for (int i = 0; i < 100; ++i) all.go([&] { ++ran; });
        all.wait();
        EXPECT_EQ(ran.load(), 100);
      },
      {{1024}, 1});
}

// ---- order

// Main keeps one P busy, another goroutine the other, so nobody steals. What the other P has queued goes before what is in
// the global queue, and as it would have run: runnext, then the ring.
TEST(gomaxprocs, goroutines_of_a_p_that_goes_run_in_their_order_before_those_of_the_global_queue) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int local = 10, global = 5;
        std::vector<int> order;  // one P: nobody else writes
        std::atomic<bool> running{false}, queued{false}, over{false};
        semaphore from_outside(0);
        std::vector<test::watched> waiting(global);
        wait_group all;
        for (std::size_t i = 0; i < global; ++i) {
          all.go([&, i] {
            waiting[i].here();
            from_outside.acquire();
            order.push_back(100 + static_cast<int>(i));
          });
          test::yield_until([&] { return waiting[i].waits(); });  // one after the other: they are served so
        }
        all.go([&] {
          running = true;
          test::spin_until([&] { return over.load() || rt::getg()->rt->runq_size.load(rt::acquire) == global; });
          for (int i = 0; i < local; ++i) all.go([&order, i] { order.push_back(i); });
          queued = true;
          test::spin_until([&] { return over.load(); });
        });
        test::spin_until([&] { return running.load(); });
        std::thread outside([&] { from_outside.release(global); });
        outside.join();
        test::spin_until([&] { return queued.load(); });
        EXPECT_EQ(gomaxprocs(1), 2);
        over = true;
        all.wait();
        EXPECT_THAT(order, testing::ElementsAre(9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 100, 101, 102, 103, 104));
      },
      {{2}, 5});
}

// ---- whoever is in the way

TEST(stop_the_world, goroutines_that_only_yield_do_not_hold_it_up) {
  test::for_each_case([](const run_case&) {
    std::atomic<bool> stop{false};
    std::atomic<int> turns{0};
    wait_group all;
    for (int i = 0; i < 20; ++i) {
      all.go([&] {
        while (!stop.load(std::memory_order_relaxed)) {
          turns.fetch_add(1, std::memory_order_relaxed);
          yield();
        }
      });
    }
    for (int i = 0; i < test::scaled(200); ++i) {
      gomaxprocs(1 + i % 5);
      if (i % 8 == 0) yield();
    }
    const int before = turns.load();
    test::yield_until([&] { return turns.load() >= before + 100; });
    stop = true;
    all.wait();
  });
}

// It has no runtime call, so it loses its P at once and runs on without.
TEST(stop_the_world, a_goroutine_that_spins_in_its_own_code_does_not_hold_it_up) {
  test::for_each_case(
      [](const run_case& c) {
        std::atomic<bool> stop{false};
        std::atomic<int> running{0};
        wait_group all;
        for (int i = 1; i < c.procs; ++i) {
          all.go([&] {
            ++running;
            test::spin_until([&] { return stop.load(); });
          });
        }
        test::spin_until([&] { return running.load() == c.procs - 1; });
        for (int i = 0; i < 10; ++i) gomaxprocs(1 + i % 4);
        // Its P is with others, who run beside it.
        gomaxprocs(1);
        int ran = 0;
        for (int i = 0; i < 10; ++i) {
          go([&] { ++ran; });
          yield();
        }
        EXPECT_EQ(ran, 10);
        stop = true;
        all.wait();
      },
      {{2, 4, 8}, 3});
}

// All of these take and leave without entering the runtime.
TEST(stop_the_world, goroutines_on_the_short_paths_of_locks_do_not_hold_it_up) {
  test::for_each_case(
      [](const run_case& c) {
        std::atomic<bool> stop{false};
        std::atomic<int> running{0};
        wait_group all;
        for (int i = 1; i < c.procs; ++i) {
          all.go([&, i] {
            semaphore s(1);
            mutex m;
            ++running;
            while (!stop.load(std::memory_order_relaxed)) {
              if (i % 2 == 0) {
                if (s.try_acquire()) s.release();
              } else {
                m.lock();
                m.unlock();
              }
            }
          });
        }
        test::spin_until([&] { return running.load() == c.procs - 1; });
        for (int i = 0; i < 20; ++i) gomaxprocs(1 + i % 4);
        stop = true;
        all.wait();
      },
      {{2, 4}, 3});
}

TEST(stop_the_world, goroutines_in_blocking_calls_do_not_hold_it_up) {
  test::for_each_case([](const run_case&) {
    int fd[2];
    ASSERT_EQ(::pipe(fd), 0);
    constexpr int n = 6;
    std::atomic<int> in_call{0};
    std::atomic<long> bytes{0};
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&] {
        char byte = 0;
        ++in_call;
        bytes += blocking([&] { return ::read(fd[0], &byte, 1); });
      });
    }
    test::yield_until([&] { return in_call.load() == n; });
    for (int i = 0; i < 20; ++i) gomaxprocs(1 + i % 4);
    EXPECT_EQ(bytes.load(), 0);
    EXPECT_EQ(::write(fd[1], "123456", n), n);
    all.wait();
    EXPECT_EQ(bytes.load(), n);
    ::close(fd[0]);
    ::close(fd[1]);
  });
}

TEST(stop_the_world, parked_goroutines_stay_where_they_are) {
  test::for_each_case([](const run_case&) {
    constexpr int n = 100;
    semaphore gate(0);
    std::atomic<int> passed{0};
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&] {
        gate.acquire();
        ++passed;
      });
    }
    for (int i = 0; i < 20; ++i) {
      gomaxprocs(1 + i % 4);
      yield();
    }
    EXPECT_EQ(passed.load(), 0);
    gate.release(n);
    all.wait();
    EXPECT_EQ(passed.load(), n);
  });
}

// Who has made a call since is sure to see the question at the next: its P is taken while it spins.
TEST(stop_the_world, without_membarrier_ps_are_taken_from_those_that_fence) {
  test::for_each_case(
      [](const run_case& c) {
        const without_membarrier old_kernel;
        std::atomic<int> running{0};
        std::atomic<bool> over{false};
        wait_group all;
        for (int i = 1; i < c.procs; ++i) {
          all.go([&] {
            yield();
            ++running;
            test::spin_until([&] { return over.load(); });
          });
        }
        test::yield_until([&] { return running.load() == c.procs - 1; });
        EXPECT_EQ(gomaxprocs(1), c.procs);
        over = true;
        all.wait();
        for (int i = 0; i < 10; ++i) {
          gomaxprocs(1 + i % 4);
          EXPECT_LE(most_at_once(8), 1 + i % 4);
        }
      },
      {{2, 4}, 3});
}

TEST(stop_the_world, threads_that_end_meanwhile_are_not_missed) {
  test::for_each_case([](const run_case&) {
    const os_thread_lock main_keeps_m0;
    const int rounds = test::scaled(40);
    std::atomic<bool> over{false};
    std::atomic<int> ended{0};
    wait_group all, dying;
    all.go([&] {
      for (int i = 0; !over.load(); ++i) {
        gomaxprocs(1 + i % 4);
        yield();
      }
    });
    for (int i = 0; i < rounds; ++i) {
      dying.go([&] {
        lock_os_thread();
        ++ended;
      });
      if (i % 4 == 3) dying.wait();
    }
    dying.wait();
    over = true;
    all.wait();
    EXPECT_EQ(ended.load(), rounds);
  });
}

// ---- several at once

TEST(stop_the_world, any_number_may_want_to_at_once_and_nothing_is_lost) {
  test::for_each_case([](const run_case&) {
    const int rounds = test::scaled(60);
    std::atomic<long> ran{0};
    wait_group all;
    for (int who = 1; who <= 4; ++who) {
      all.go([&, who] {
        for (int i = 0; i < rounds; ++i) {
          const int before = gomaxprocs(who);
          EXPECT_GE(before, 1);
          EXPECT_LE(before, 8);
          for (int k = 0; k < 5; ++k) all.go([&] { ++ran; });
          if (i % 3 == 0) yield();
        }
      });
    }
    all.wait();
    EXPECT_EQ(ran.load(), 4l * rounds * 5);
    const int last = gomaxprocs(0);
    EXPECT_TRUE(last >= 1 && last <= 4) << last;
  });
}

TEST(stop_the_world, a_locked_goroutine_may_want_to) {
  test::for_each_case([](const run_case&) {
    wait_group all;
    for (int who = 0; who < 3; ++who) {
      all.go([&] {
        const os_thread_lock mine;
        const std::uint64_t tid = test::thread_id();
        for (int i = 0; i < test::scaled(30); ++i) {
          gomaxprocs(1 + i % 4);
          ASSERT_EQ(tid, test::thread_id());
          yield();
          ASSERT_EQ(tid, test::thread_id());
        }
      });
    }
    all.wait();
  });
}

// Tokens that go round in a ring of goroutines while the Ps come and go: none is lost and none is there twice.
TEST(stop_the_world, tokens_in_are_tokens_out) {
  test::for_each_case([](const run_case&) {
    constexpr int stations = 16, tokens = 5;
    const int laps = test::scaled(200);
    std::vector<std::unique_ptr<semaphore>> ring;
    for (int i = 0; i < stations; ++i) ring.push_back(std::make_unique<semaphore>(0));
    std::atomic<int> left{tokens * laps};
    std::atomic<bool> over{false};
    wait_group all;
    for (std::size_t i = 0; i < stations; ++i) {
      all.go([&, i] {
        for (;;) {
          ring[i]->acquire();
          if (over.load()) break;
          if (i == 0 && --left == 0) {
            over = true;
            for (auto& s : ring) s->release();
            break;
          }
          if (i % 5 == 0) blocking([] {});
          ring[(i + 1) % stations]->release();
        }
      });
    }
    ring[0]->release(tokens);
    for (int i = 0; !over.load(); ++i) {
      gomaxprocs(1 + i * 7 % 6);
      yield();
    }
    all.wait();
    EXPECT_EQ(left.load(), 0);
  });
}

}  // namespace
