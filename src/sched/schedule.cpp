// schedule: the whole scheduler on one screen: pick, execute, repeat.
//
// It runs on g0, the thread's own stack. In Go it never returns, because its frames are thrown away at each
// switch; here they are not: execute() is continued when a goroutine comes back to g0, so that every
// call has its return and the CPU's return predictor stays right (LIMITS 1). It ends all the same only in
// one way, by continuing the context that mstart saved.
//
// Goroutines switch to each other directly where the next one is known (leave_to_next); g0 is for searching,
// for what may sleep, and for giving the P away.
#include "base/check.hpp"
#include "base/noise.hpp"
#include "sched/dispatch.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"

namespace weft::rt {
namespace {

void execute(m* mp, g* gp, bool inherit) {
  begin_run(mp, gp, inherit);
  if (gp->stack == nullptr) bind_stack(mp, gp);
  annotate_save(mp->g0.sched);
  switch_to(mp, &mp->g0.sched, &mp->g0, gp);  // gogo
  mp->curg = nullptr;
  finish_switch(mp);
}

// The M goes home: back into mstart, on this stack, over the frames of schedule, which have nothing to destroy.
[[noreturn]] WEFT_UNINSTRUMENTED void go_home(m* mp) {
  if (mp->exiting) mexit(mp);
  if (mp->p != nullptr) releasep(mp);
#ifdef WEFT_ASAN
  __asan_handle_no_return();
#endif
  weft_gogo(&mp->leave);
}

}  // namespace

WEFT_UNINSTRUMENTED void schedule(void* arg) {
  m* mp = static_cast<m*>(arg);
  for (;;) {
    if (mp->lockedg != nullptr) [[unlikely]] {
      const bool inherit = stoplockedm(mp);
      execute(mp, mp->lockedg, inherit);
      continue;
    }
    if (mp->exiting) [[unlikely]]
      go_home(mp);
    bool inherit = false;
    g* gp = find_runnable(mp, inherit);
    if (gp == nullptr) go_home(mp);
    if (mp->spinning) resetspinning(mp);
    if ((gp->flags & g_bound) != 0) {
      startlockedm(mp, gp);
      continue;
    }
    execute(mp, gp, inherit);
  }
}

// By count alone, two goroutines with much to do between their hand-overs would have all the time of two with little. So
// where sysmon has seen such a hog of late (sched/takeback.cpp), chains last until it ends their slice.
g* long_chain(p* pp) {
  g* gp = pp->q.take_next();
  if (gp == nullptr) return nullptr;
  if (pp->hops >= sizes::runnext_hops && pp->hogs.load(relaxed) && !pp->slice_over.load(relaxed)) {
    pp->chain_tick.store(pp->schedtick.load(relaxed), relaxed);
    pp->hops = 1;
    return gp;
  }
  runqput(pp, gp, false);
  return nullptr;
}

// The ring is full: its older half and gp go to the global queue, or a thief has made room meanwhile.
void runqput_slow(p* pp, g* gp, bool next) {
  decltype(pp->q)::spill out;
  if (!pp->q.put_or_spill(gp, next, out)) return;
  noise(noise_at::spilled);
  sched_t* rt = pp->rt;
  mutex_guard guard(rt->lock);
  rt->runq.push_back_n(out.item, out.n);
  runq_changed(rt);
}

void globrunqput(sched_t* rt, g* gp) {
  rt->runq.push_back(gp);
  runq_changed(rt);
}

}  // namespace weft::rt
