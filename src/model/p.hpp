// p: the right to run goroutines, and what belongs to it: a run queue and caches. Whoever holds a P has them
// to itself and needs no lock; only the run queue is looked at, and stolen from, by others.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/sizes.hpp"
#include "mem/stack.hpp"
#include "model/glist.hpp"
#include "model/runq.hpp"
#include "model/timer.hpp"

namespace weft::rt {

struct m;
struct sched_t;

// Go's numbers. stopped: taken by whoever stops the world (Go's gcstop), its ring as it was; dead: gomaxprocs is lower.
enum class p_status : std::uint32_t { idle = 0, running = 1, stopped = 3, dead = 4 };

// The one door for a P's status: its holder's transitions, each from what it must have been. Read by anyone, as a hint.
class p_status_word {
 public:
  p_status get() const { return word_.load(relaxed); }
  void set(p_status from, p_status to) {
    const p_status old = word_.load(relaxed);
    if (old != from) [[unlikely]] {
      fatal("sched: bad P status (wanted from<<8|to, found)",
            static_cast<std::uint32_t>(from) << 8 | static_cast<std::uint32_t>(to), static_cast<std::uint32_t>(old));
    }
    word_.store(to, relaxed);
  }

 private:
  atomic<p_status> word_{p_status::idle};
};

// What sysmon remembers of a P (sched/takeback.cpp): the slice that it saw, and since when.
struct p_watch {
  rt::m* holder = nullptr;
  std::uint32_t tick = 0;
  std::int64_t since = 0;
  std::int64_t cpu_begin = -1;  // CPU time of the holder's thread when it was first looked at; -1: not yet
  std::int64_t cpu_last = -1;
  std::int64_t hog = 0;  // a slice with few hops was ended then
  bool waited = false;   // somebody did, at the last look
};

struct alignas(64) p {
  // ---- the holder's
  rt::m* m = nullptr;  // token: who holds it
  sched_t* rt = nullptr;
  std::uint32_t id = 0;
  std::uint32_t tick_mod = 0;                    // schedtick modulo sizes::global_tick
  std::uint32_t tick_look = sizes::global_tick;  // the tick, of those, at whose end somebody looks around
  std::uint32_t hops = 0;                        // runnext taken so often in this slice
  std::uint32_t theirs = 0;                      // turns in a row of those who come back
  std::uint32_t ngfree = 0;
  std::uint64_t goid_next = 0;            // ids from here
  std::uint64_t goid_end = 0;             // to here are this P's to give
  stack* stacks[stack_classes + 1] = {};  // free stacks, last in first out
  std::uint32_t nstacks[stack_classes + 1] = {};

  // ---- its timers; who looks at them when: sched/timers.hpp
  p_timers* timers = nullptr;    // in memory that stays one of those for ever
  std::uint32_t tick_step = 1;   // ticks between two looks
  bool unwatched = false;        // the first one has changed, and whether anybody watches was not asked
  std::int64_t tick_looked = 0;  // the time of the last look

  // ---- read by others
  alignas(64) p_status_word status;
  atomic<std::uint32_t> schedtick{0};   // one more for each slice begun
  atomic<bool> slice_over{false};       // set by a revoker: a new slice begins at the next runqget
  atomic<std::uint32_t> firing{0};      // odd: its holder has popped timers, or is about to, and calls them
  atomic<std::uint64_t> created{0};     // goroutines started by this P
  atomic<std::uint64_t> ended{0};       // goroutines that ended on it
  atomic<std::uint64_t> steals{0};      // goroutines it took from others
  atomic<rt::m*> held_by{nullptr};      // m, for sysmon: a hint, but an m is one for ever
  atomic<bool> hogs{false};             // sysmon has ended slices of it that had few hops
  atomic<std::uint32_t> chain_tick{0};  // the last slice that had more hops than it may have without that
  p_watch watched;                      // sysmon's own
  bool listed = false;                  // token: on the idle list
  p* idle_next = nullptr;               // idle list, under sched.lock
  p* idle_prev = nullptr;

  alignas(64) runq<g, sizes::runq> q;

  // ---- the holder's again
  g* gfree[sizes::gfree_high] = {};  // dead gs, last in first out; no chain, so that they can be prefetched
};

// The counters have one writer, the holder: no RMW needed.
inline void bump(atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.store(counter.load(relaxed) + by, relaxed);
}

}  // namespace weft::rt
