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
[[noreturn]] void go_home(m* mp) {
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
    bool inherit = false;
    g* gp = find_runnable(mp, inherit);
    if (gp == nullptr) go_home(mp);
    if (mp->spinning) resetspinning(mp);
    if (gp->tied != nullptr) {
      startlockedm(mp, gp);
      continue;
    }
    execute(mp, gp, inherit);
  }
}

// The order is Go's: linked to its M before it is running, so that a running goroutine always has one.
void begin_run(m* mp, g* gp, bool inherit) {
  p* pp = mp->p;
  invariant(pp != nullptr && pp->m == mp, "sched: execute without a P");
  gp->m = mp;
  mp->curg = gp;
  gp->reason = wait_reason::none;
  gp->status.set(status::runnable, status::running);
  if (!inherit) {
    pp->schedtick.store(pp->schedtick.load(relaxed) + 1, relaxed);
    if (++pp->tick_mod == sizes::global_tick) pp->tick_mod = 0;
    pp->hops = 0;
  }
}

// At most runnext_hops goroutines in a row come from runnext and inherit the slice: a chain of goroutines
// that ready each other would hold up everybody else on this P for a whole slice, and without anyone to
// end slices for ever (Go 52934).
g* runqget(p* pp, bool& inherit) {
  const bool over = pp->hops >= sizes::runnext_hops || pp->slice_over.load(relaxed);
  if (!over) [[likely]] {
    if (g* gp = pp->q.take_next()) {
      ++pp->hops;
      inherit = true;
      return gp;
    }
  } else {
    pp->slice_over.store(false, relaxed);
    if (g* gp = pp->q.take_next()) runqput(pp, gp, false);
  }
  inherit = false;
  return pp->q.take();
}

void runqput(p* pp, g* gp, bool next) {
  decltype(pp->q)::spill out;
  if (!pp->q.put(gp, next, out)) [[likely]]
    return;
  glist batch;
  for (std::uint32_t i = 0; i < out.n; ++i) batch.push_back(out.item[i]);
  sched_t* rt = pp->rt;
  mutex_guard guard(rt->lock);
  rt->runq.append(batch);
  rt->runq_size.store(rt->runq.size(), relaxed);
}

void globrunqput(sched_t* rt, g* gp) {
  rt->runq.push_back(gp);
  rt->runq_size.store(rt->runq.size(), relaxed);
}

g* pick_local(m* mp, bool& inherit) {
  p* pp = mp->p;
  sched_t* rt = mp->rt;
  if (rt->attention.load(relaxed) != 0) [[unlikely]]
    return nullptr;
  if (pp->tick_mod == 0 && rt->runq_size.load(relaxed) != 0) [[unlikely]]
    return nullptr;
  g* gp = runqget(pp, inherit);
  if (gp != nullptr && gp->tied != nullptr) [[unlikely]] {
    mp->picked = gp;
    return nullptr;
  }
  return gp;
}

void leave_to_next(m* mp, g* gp) {
  bool inherit = false;
  g* next = pick_local(mp, inherit);
  if (next == nullptr) {
    leave_goroutine(mp, gp, &mp->g0);
    return;
  }
  begin_run(mp, next, inherit);
  if (next->stack == nullptr) bind_stack(mp, next);
  leave_goroutine(mp, gp, next);
}

}  // namespace weft::rt
