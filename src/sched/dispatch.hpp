// dispatch: the steps between two goroutines, inline, because they are the price of every switch: taking the next
// one of this P, making it the running one, putting one at the back. schedule.cpp has the loop around them.
#pragma once
#include "base/check.hpp"
#include "base/noise.hpp"
#include "model/p.hpp"
#include "model/sched.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"

namespace weft::rt {

void timers_at_tick(p* pp);  // timers.cpp

inline void begin_slice(p* pp) {
  pp->schedtick.store(pp->schedtick.load(relaxed) + 1, relaxed);
  // Not ==: a tick_look that was passed would never be met again.
  if (++pp->tick_mod >= pp->tick_look) [[unlikely]] {
    invariant(pp->tick_mod == pp->tick_look && pp->tick_look <= sizes::global_tick,
              "sched: a tick to look at was passed");
    if (pp->tick_mod >= sizes::global_tick) pp->tick_mod = 0;
    pp->tick_look = sizes::global_tick;  // the timer that it was for may be gone
    if (pp->timers->min_when() != no_timer) timers_at_tick(pp);
  }
  pp->hops = 0;
  pp->slice_over.store(false, relaxed);
}

// What every way of running a goroutine has in common (execute, a direct switch, a run in place). The order is
// Go's: linked to its M before it is running, so that a running goroutine always has one.
inline void begin_run(m* mp, g* gp, bool inherit) {
  p* pp = mp->p;
  invariant(pp->m == mp, "sched: execute with the P of another");
  if (!inherit) begin_slice(pp);
  annotate_resume(gp->sched);
  gp->m = mp;
  mp->curg = gp;
  gp->status.set(status::runnable, status::running);
}

// After work was submitted by the holder of a P.
inline void wakep_from_p(p* pp) {
  noise(noise_at::submitted);
  // The only P is the caller's: there is none to wake a thread for.
  if (procs(pp->rt) != 1) wakep(pp->rt);
}

// A goroutine that was made or readied by this M's is the next one of its P (A5).
inline bool goes_next(m* mp) { return mp->choose.settled_if_checked(site::next_or_tail, 2) == 0; }

inline void runqput(p* pp, g* gp, bool next) {
  if (!pp->q.put(gp, next)) [[unlikely]]
    runqput_slow(pp, gp, next);
}

// With more goroutines than the cache holds, resuming one is a chain of misses: the g, then what its stack pointer
// points to. Both are asked for ahead of time, the g 8 places and the stack 4 (LIMITS 3: 3 to 7 times cheaper). Where even the
// outer caches hold not nearly all of them, it is as many lines of the stack as a wait in a channel has: each is a miss of its
// own (with two of them a wake-up cost 0.39 us, with eight 0.22). The first two find the page, the others come when it is known.
// A g is type-stable, so a stale pointer reads a g all the same; what it says is only a hint.
inline void prefetch_behind(p* pp, std::uint32_t behind) {
#ifndef WEFT_RACE_DETECTOR  // the hint is a race by design
  if (behind <= 8) return;
  const auto* far = reinterpret_cast<const char*>(pp->q.peek(8));
  __builtin_prefetch(far, 1);
  __builtin_prefetch(far + 64, 1);
  // Null when thieves have emptied the ring since, in its first round.
  if (const g* near = pp->q.peek(4); near != nullptr && near->stack != nullptr) {
    __builtin_prefetch(reinterpret_cast<const char*>(near) + 128, 1);
    const auto* sp = reinterpret_cast<const char*>(near->sched.sp);
    __builtin_prefetch(sp, 1);
    __builtin_prefetch(sp + 64, 1);
  }
  if (pp->rt->runq_size.load(relaxed) < sizes::many) return;
  if (const g* nearer = pp->q.peek(2); nearer != nullptr && nearer->stack != nullptr) {
    const auto* sp = reinterpret_cast<const char*>(nearer->sched.sp);
    __builtin_prefetch(sp + 128, 1);
    __builtin_prefetch(sp + 192, 1);
    __builtin_prefetch(sp + 256, 1);
    __builtin_prefetch(sp + 320, 1);
    __builtin_prefetch(sp + 384, 1);
    __builtin_prefetch(sp + 448, 1);
  }
#else
  static_cast<void>(pp);
  static_cast<void>(behind);
#endif
}

// At most runnext_hops goroutines in a row come from runnext and inherit the slice: a chain of goroutines
// that ready each other would hold up everybody else on this P for a whole slice, and without anyone to
// end slices for ever (Go 52934). It goes on beside one with much to do in each hop (long_chain).
[[gnu::always_inline]] inline g* runqget(p* pp, bool& inherit) {
  inherit = false;
  if (pp->q.has_next()) {
    if (pp->hops >= sizes::runnext_hops || pp->slice_over.load(relaxed) ||
        pp->m->choose.settled_if_checked(site::take_next, 2) != 0) [[unlikely]] {
      if (g* gp = long_chain(pp)) {
        inherit = true;
        return gp;
      }
    } else if (g* gp = pp->q.take_next()) {
      ++pp->hops;
      inherit = true;
      return gp;
    }
  }
  std::uint32_t behind = 0;
  g* gp = pp->q.take(behind);
  prefetch_behind(pp, behind);
  return gp;
}

// gp was picked, and it is not simply to be run here. (park.cpp)
[[gnu::cold]] g* pick_instead(m* mp, g* gp);

// The next one of this P, or null when schedule() must look, or decide.
[[gnu::always_inline]] inline g* pick_local(m* mp, bool& inherit) {
  p* pp = mp->p;
  if (mp->attention->load(relaxed) != 0) [[unlikely]]
    return nullptr;
  if (pp->tick_mod == 0 && mp->rt->runq_size.load(relaxed) != 0) [[unlikely]]
    return nullptr;
  g* gp = runqget(pp, inherit);
  if (gp == nullptr || (gp->flags & (g_bound | g_gives_way)) == 0) [[likely]]
    return gp;
  return pick_instead(mp, gp);
}

// Off goroutine gp and on to the next; returns when it runs again, perhaps on another M. What is to be done once
// gp has left its stack stands in mp->after.
inline void leave_to_next(m* mp, g* gp) {
  bool inherit = false;
  g* next = pick_local(mp, inherit);
  if (next == nullptr) {
    next = &mp->g0;
  } else {
    begin_run(mp, next, inherit);
    if (next->stack == nullptr) bind_stack(mp, next);
  }
  leave_goroutine(mp, gp, next);
}

}  // namespace weft::rt
