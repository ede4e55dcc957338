// stop: what is so while the world is stopped, and what a P that goes leaves behind.
#include "sched/stop.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "model/process.hpp"
#include "support/goroutines.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/weft.hpp"

namespace {

using namespace small_runtime;
using weft::rt::p_status;
using weft::rt::relaxed;
using weft::rt::sched_t;

// Nobody runs, nobody has a P, none is listed as idle, and everybody is counted.
void expect_stopped(sched_t& s) {
  EXPECT_EQ(0u, s.stopwait.load(relaxed));
  EXPECT_EQ(0u, s.npidle.load(relaxed));
  EXPECT_EQ(nullptr, s.pidle);
  EXPECT_NE(0u, s.attention.load(relaxed) & weft::rt::attention_stop);
  for (std::uint32_t i = 0; i < weft::rt::procs(&s); ++i) {
    EXPECT_EQ(p_status::stopped, s.allp[i].status.get()) << i;
    EXPECT_EQ(nullptr, s.allp[i].m) << i;
    EXPECT_EQ(nullptr, s.allp[i].q.owner()) << i;
  }
}

TEST(stop, a_goroutine_stops_all_ps_and_its_own) {
  for (const int procs : {1, 2, 4}) {
    with_procs(procs, [] {
      sched_t& s = *my_sched();
      std::atomic<bool> over{false};
      weft::wait_group all;
      for (int i = 0; i < 5; ++i) {
        all.go([&] {
          while (!over) weft::yield();
        });
      }
      for (int i = 0; i < 20; ++i) {
        weft::yield();
        {
          const weft::rt::stopped_world stopped(&s, weft::rt::getg());
          ASSERT_TRUE(static_cast<bool>(stopped));
          expect_stopped(s);
          EXPECT_EQ(weft::rt::status::detached, weft::rt::getg()->status.get());
        }
        EXPECT_EQ(weft::rt::status::running, weft::rt::getg()->status.get());
        EXPECT_EQ(0u, s.attention.load(relaxed) & weft::rt::attention_stop);
        EXPECT_NE(nullptr, my_p());
      }
      over = true;
      all.wait();
    });
  }
}

TEST(stop, a_plain_thread_stops_all_ps) {
  for (const int procs : {1, 3}) {
    with_procs(procs, [] {
      sched_t& s = *my_sched();
      std::atomic<std::uint64_t> turns{0};
      std::atomic<bool> over{false};
      std::thread outside([&] {
        for (int i = 0; i < 20; ++i) {
          std::uint64_t before = 0;
          {
            const weft::rt::stopped_world stopped(&s, nullptr);
            ASSERT_TRUE(static_cast<bool>(stopped));
            expect_stopped(s);
            // Between two calls they run on without a P, so far each may count once more; then it waits at the door.
            const std::uint64_t at_first = turns.load();
            for (int k = 0; k < 100; ++k) std::this_thread::yield();
            before = turns.load();
            EXPECT_LE(before, at_first + 3);
          }
          weft::test::spin_until([&] { return turns.load() > before + 3; });
        }
        over = true;
      });
      weft::wait_group all;
      for (int i = 0; i < 3; ++i) {
        all.go([&] {
          while (!over) {
            weft::yield();
            ++turns;
          }
        });
      }
      all.wait();
      weft::blocking([&] { outside.join(); });
    });
  }
}

// Idle Ps only: nobody has to be asked.
TEST(stop, a_world_at_rest_is_stopped_and_started) {
  with_procs(4, [] {
    sched_t& s = *my_sched();
    weft::semaphore over(0);
    std::thread outside([&] {
      for (int i = 0; i < 50; ++i) {
        const weft::rt::stopped_world stopped(&s, nullptr);
        expect_stopped(s);
      }
      weft::test::spin_until([&] { return s.npidle.load(weft::rt::acquire) == 4; });
      over.release();
    });
    over.acquire();
    weft::blocking([&] { outside.join(); });
  });
}

TEST(stop, ps_come_and_go_and_come_back) {
  with_procs(2, [] {
    sched_t& s = *my_sched();
    weft::gomaxprocs(6);
    EXPECT_EQ(6u, s.nallp.load(relaxed));
    weft::gomaxprocs(3);
    EXPECT_EQ(6u, s.nallp.load(relaxed)) << "they stay, dead";
    for (std::uint32_t i = 0; i < 6; ++i) {
      EXPECT_EQ(i >= 3, s.allp[i].status.get() == p_status::dead) << i;
    }
    EXPECT_LT(my_p()->id, 3u);
    weft::gomaxprocs(5);
    EXPECT_EQ(6u, s.nallp.load(relaxed));
    for (std::uint32_t i = 0; i < 6; ++i) {
      EXPECT_EQ(i >= 5, s.allp[i].status.get() == p_status::dead) << i;
    }
  });
}

// Created on Ps that are gone, ended on others: the counters of all that have ever been are added up.
TEST(stop, a_dead_p_still_counts_its_goroutines) {
  with_procs(4, [] {
    weft::semaphore gate(0);
    std::atomic<int> started{0};
    weft::wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&] {
        for (int k = 0; k < 25; ++k) all.go([&] { gate.acquire(); });
        ++started;
        weft::test::spin_until([&] { return started == 4; });
      });
    }
    until([&] { return weft::num_goroutine() == 101; });
    weft::gomaxprocs(1);
    EXPECT_EQ(101, weft::num_goroutine());
    gate.release(60);
    until([&] { return weft::num_goroutine() == 41; });
    weft::gomaxprocs(4);
    EXPECT_EQ(41, weft::num_goroutine());
    gate.release(40);
    all.wait();
    until([&] { return weft::num_goroutine() == 1; });
  });
}

TEST(stop, a_p_that_goes_gives_its_caches_to_the_others) {
  with_procs(2, [] {
    sched_t& s = *my_sched();
    // Dead gs and stacks on both.
    std::atomic<int> running{0};
    weft::wait_group all;
    for (int i = 0; i < 2; ++i) {
      all.go([&] {
        ++running;
        weft::test::spin_until([&] { return running == 2; });
        weft::wait_group mine;
        for (int k = 0; k < 20; ++k) mine.go([] {});
        mine.wait();
      });
    }
    all.wait();
    weft::gomaxprocs(1);
    const weft::rt::p& gone = s.allp[1];
    EXPECT_EQ(p_status::dead, gone.status.get());
    EXPECT_EQ(0u, gone.ngfree);
    for (int c = 0; c < weft::rt::stack_classes; ++c) {
      EXPECT_EQ(nullptr, gone.stacks[c]);
      EXPECT_EQ(0u, gone.nstacks[c]);
    }
    EXPECT_TRUE(gone.q.empty());
  });
}

TEST(stop, by_hand_once_is_by_hand_for_ever) {
  with_procs(0, [] {
    sched_t& s = *my_sched();
    const std::uint32_t n = weft::rt::procs(&s);
    EXPECT_FALSE(s.custom_procs);
    EXPECT_EQ(n, weft::rt::set_procs(&s, weft::rt::getg(), n + 1, false));
    EXPECT_EQ(n + 1, weft::rt::procs(&s));
    EXPECT_FALSE(s.custom_procs);
    EXPECT_EQ(static_cast<int>(n + 1), weft::gomaxprocs(0));
    EXPECT_FALSE(s.custom_procs) << "asking is no setting";
    weft::gomaxprocs(static_cast<int>(n + 1));
    EXPECT_TRUE(s.custom_procs) << "the same number is";
    EXPECT_EQ(n + 1, weft::rt::set_procs(&s, weft::rt::getg(), n, false));
    EXPECT_EQ(n + 1, weft::rt::procs(&s));
  });
}

TEST(stop, a_runtime_that_has_ended_is_not_stopped) {
  weft::options o;
  o.procs = 2;
  weft::runtime r(o);
  sched_t* s = r.run([] { return my_sched(); });
  r.shutdown();
  EXPECT_FALSE(weft::rt::stop_world(s));
  const weft::rt::stopped_world not_stopped(s, nullptr);
  EXPECT_FALSE(static_cast<bool>(not_stopped));
}

}  // namespace
