// A workload that needs no more threads than it gets, and looks at its own result; and what must be true of a runtime
// at rest, whatever has failed on the way.
#pragma once
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "arch/getg.hpp"
#include "model/m.hpp"
#include "model/p.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "support/faulty_sys.hpp"
#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace work {

namespace faulty = weft::test::faulty;

// On main. Only main spawns, so that an exception of `go` leaves run().
inline bool everything_is_done() {
  constexpr int goroutines = 24;
  constexpr int rounds = 4;
  constexpr std::size_t stacks[] = {16 << 10, 64 << 10, 256 << 10, 1 << 20, 8 << 20};
  struct shared {
    weft::mutex m;
    weft::semaphore s{2};
    int done = 0;
  };
  // Outlives main: when `go` throws halfway, those that were started go on.
  static shared all;
  all.done = 0;
  weft::wait_group wg;
  struct wait_at_the_end {
    weft::wait_group& wg;
    ~wait_at_the_end() { wg.wait(); }
  } guard{wg};
  for (int i = 0; i < goroutines; ++i) {
    wg.add(1);
    try {
      weft::go({.stack_size = stacks[i % 5]}, [&wg] {
        for (int k = 0; k < rounds; ++k) {
          all.s.acquire();
          weft::blocking([] { std::this_thread::yield(); });
          all.s.release();
          weft::yield();
          const std::lock_guard lock(all.m);
          ++all.done;
        }
        wg.done();
      });
    } catch (...) {
      wg.done();
      throw;
    }
  }
  wg.wait();
  const std::lock_guard lock(all.m);
  return all.done == goroutines * rounds;
}

// On main, when nobody else has anything to do: every P is idle but main's, every list agrees with its counter.
inline void expect_a_whole_world() {
  using namespace weft::rt;
  sched_t* rt = getg()->rt;
  p* const mine = getg()->m->p;
  for (;;) {
    rt->lock.lock();
    if (rt->npidle.load(relaxed) == rt->nprocs - 1 && rt->nmspinning.load(relaxed) == 0) break;
    rt->lock.unlock();
    std::this_thread::yield();  // the watchdog ends it if a P is lost
  }
  std::uint32_t idle = 0;
  for (const p* pp = rt->pidle; pp != nullptr; pp = pp->idle_next) {
    ++idle;
    EXPECT_EQ(p_status::idle, pp->status.get());
    EXPECT_EQ(nullptr, pp->m);
    EXPECT_NE(mine, pp);
    EXPECT_TRUE(pp->q.empty());
  }
  EXPECT_EQ(rt->nprocs - 1, idle);
  EXPECT_EQ(p_status::running, mine->status.get());
  std::uint32_t ms = 0;
  for (const m* mp = rt->allm; mp != nullptr; mp = mp->alllink) ++ms;
  EXPECT_EQ(rt->nm, ms) << "an M that could not start is still counted";
  EXPECT_EQ(rt->nm, rt->live_ms.load(relaxed));
  EXPECT_EQ(0u, rt->runq.size());
  rt->lock.unlock();
  EXPECT_EQ(1, weft::num_goroutine());
}

}  // namespace work
