// process: what all runtimes of the process share. One object without a constructor to run: plain threads
// may wait on a semaphore before the first runtime exists and after the last has gone.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "lock/mutex.hpp"
#include "mem/slab.hpp"
#include "mem/stack.hpp"
#include "model/g.hpp"
#include "model/m.hpp"
#include "model/sematable.hpp"

namespace weft::rt {

inline constexpr std::size_t gqueue_block_bytes = (sizes::global_block + 1) * sizeof(void*);

struct exploration;  // sched/exploration.hpp

struct process {
  stack_arenas stacks;
  raw_slab gs{sizeof(g)};
  raw_slab ms{sizeof(m)};
  raw_slab qblocks{gqueue_block_bytes};
  sematable semas;

  mutex lock;          // what follows
  g* gfree = nullptr;  // dead gs of ended runtimes, and proxies of plain threads at rest
  m* mfree = nullptr;
  void* qfree = nullptr;  // blocks of global queues at rest
  bool booted = false;    // the parts that need the system are set up

  mutex explore_lock;               // what follows, and the set of objects that it has touched
  exploration* explorer = nullptr;  // the one exploration of the process

  atomic<std::uint64_t> goidgen{0};
  atomic<std::uint32_t> runtimes{0};
  atomic<std::uint64_t> proxies_in_use{0};
};

extern process the_process;

}  // namespace weft::rt
