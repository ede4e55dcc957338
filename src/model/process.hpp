// process: what all runtimes of the process share. One object without a constructor to run: plain threads
// may wait on a semaphore before the first runtime exists and after the last has gone.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "lock/doorbell.hpp"
#include "lock/mutex.hpp"
#include "mem/slab.hpp"
#include "mem/stack.hpp"
#include "model/g.hpp"
#include "model/m.hpp"
#include "model/sematable.hpp"
#include "model/timer.hpp"
#include "os/sys.hpp"

namespace weft::rt {

inline constexpr std::size_t gqueue_block_bytes = (sizes::global_block + 1) * sizeof(void*);

struct exploration;  // sched/exploration.hpp
struct sched_t;

struct process {
  stack_arenas stacks;
  raw_slab gs{sizeof(g)};
  raw_slab ms{sizeof(m)};
  raw_slab qblocks{gqueue_block_bytes};
  raw_slab timers{sizeof(p_timers)};
  sematable semas;

  mutex lock;          // what follows
  g* gfree = nullptr;  // dead gs of ended runtimes, and proxies of plain threads at rest
  m* mfree = nullptr;
  void* qfree = nullptr;  // blocks of global queues at rest
  p_timers* timers_free = nullptr;
  bool booted = false;  // the parts that need the system are set up

  // Whether Ps can be taken from threads that are outside the runtime: 1; 2: this kernel cannot, or was told not to.
  atomic<std::uint32_t> membarrier{0};
  bool membarrier_ready() const { return membarrier.load(relaxed) == 1; }

  mutex explore_lock;               // what follows, and the set of objects that it has touched
  exploration* explorer = nullptr;  // the one exploration of the process

  // The time of the last refresh_coarse_now(), in ticks of 2^coarse_shift ns: for the reports' "since when", which
  // must cost a park two instructions and no look at a clock. 0: never refreshed.
  atomic<std::int64_t> coarse_now{0};

  // The timers of threads that are in no runtime, and the thread that serves them, once there has been one
  // (sched/timekeeper.cpp).
  p_timers outside_timers;
  doorbell outside_bell;
  mutex outside_lock;
  atomic<bool> outside_served{false};
  atomic<std::uint32_t> outside_fired{0};    // odd: one is about to be popped, or being called
  atomic<std::uint32_t> outside_threads{0};  // threads apart that it has started, and that have not called back yet

  atomic<std::uint64_t> goidgen{0};
  atomic<std::uint32_t> runtimes{0};
  atomic<bool> forked{false};  // a child of a process with runtimes: what is here is its parent's
  mutex runtimes_lock;         // the list of them; before each sched.lock
  sched_t* all_runtimes = nullptr;
  atomic<std::uint64_t> proxies_in_use{0};

  // For plain threads, which have no generator of their own: in [0, n).
  std::uint32_t thread_choice(std::uint32_t n) {
    return static_cast<std::uint32_t>(mix64(thread_choices.fetch_add(1, relaxed)) >> 32) % n;
  }
  atomic<std::uint64_t> thread_choices{0};

  atomic<std::uint64_t> local_ids{0};  // numbers of weft::locals, given out
};

extern process the_process;

// 8.4 ms: a g keeps 32 bits of it, which must not come round in the life of a process that waits (417 days).
inline constexpr int coarse_shift = 23;

// Whoever calls it gives the time to all waits that begin until the next call: sysmon every 10 ms while anything
// runs, and an M that comes back from its sleep, before it runs a goroutine. Returns os::now().
std::int64_t refresh_coarse_now();

constexpr std::uint32_t coarse_ticks(std::int64_t ns) { return static_cast<std::uint32_t>(ns >> coarse_shift); }

// For how long a wait that began at `since` has lasted at `now`, to a tick. A stamp a little ahead of `now` is one
// of another thread that saw the clock later.
constexpr std::int64_t coarse_elapsed_ns(std::uint32_t since, std::int64_t now) {
  const std::uint32_t ticks = coarse_ticks(now) - since;
  constexpr std::uint32_t ahead = 1000;
  return ticks > 0xffffffffu - ahead ? 0 : static_cast<std::int64_t>(ticks) << coarse_shift;
}

}  // namespace weft::rt
