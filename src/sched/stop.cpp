#include "sched/stop.hpp"

#include <new>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/countdown.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/retake.hpp"
#include "sched/revoke.hpp"
#include "sched/sched.hpp"
#include "sched/timers.hpp"

namespace weft::rt {
namespace {

// Between two rounds of asking. A holder that is inside the runtime is there for less than a microsecond, unless its
// thread does not run.
constexpr std::int64_t ask_again_ns = 50'000;

bool ended(const sched_t* rt) { return (rt->attention.load(relaxed) & attention_done) != 0; }

// One round of R1 to R3 over the Ms that seem to be outside with a P: their goroutines run on without it, and find out at the
// door. Under sched.lock, which it gives up meanwhile.
void revoke_round(sched_t* rt) {
  retake round(rt);
  for (m* mp = rt->allm; mp != nullptr && !round.full(); mp = mp->alllink) {
    if (mp->in_runtime.load(relaxed) == 0) round.ask(mp);
  }
  if (round.empty()) return;
  rt->lock.unlock();
  round.barrier();
  rt->lock.lock();
  while (p* pp = round.decide()) stop_p(rt, pp);
}

void make_p(sched_t* rt, std::uint32_t i) {
  p_timers* heap = timers_get();
  if (heap == nullptr) fatal("out of memory: no timers for another P");
  p* pp = ::new (static_cast<void*>(&rt->allp[i])) p;
  pp->id = i;
  pp->rt = rt;
  pp->timers = heap;
  pp->status.set(p_status::idle, p_status::stopped);
}

// The goroutines of a P that goes to the front of the global queue, in their order: they would have run before others.
void drain_to_global(sched_t* rt, p* pp) {
  g* ring[sizes::runq];
  std::uint32_t n = 0;
  g* next = pp->q.take_next();
  while (g* gp = pp->q.take()) ring[n++] = gp;
  while (n != 0) rt->runq.push_front(ring[--n]);
  if (next != nullptr) rt->runq.push_front(next);
  runq_changed(rt);
}

// start_world sees to it that somebody watches (FAULTS 14). Between the two heaps nobody is to find none of them: as if they were
// being fired. Whoever looks for the end then, on an M that ends, need not be called again: they are still to come.
void move_timers(p* from, p* to) {
  if (from->timers->size_hint() == 0) return;
  const std::uint32_t firing = from->firing.load(relaxed);
  from->firing.store(firing + 1, relaxed);  // order: timers.firing
  from->timers->move_to(*to->timers);
  from->firing.store(firing + 2, release);  // order: timers.firing
}

// Its caches, for the others.
void empty_caches(sched_t* rt, p* pp) {
  {
    mutex_guard guard(rt->gfree_lock);
    rt->ngfree.store(rt->ngfree.load(relaxed) + pp->ngfree, relaxed);
    while (pp->ngfree != 0) rt->gfree.push(pp->gfree[--pp->ngfree]);
  }
  for (int c = 0; c < stack_classes; ++c) {
    the_process.stacks.put_list(c, pp->stacks[c]);
    pp->stacks[c] = nullptr;
    pp->nstacks[c] = 0;
  }
}

}  // namespace

void stop_p(sched_t* rt, p* pp) {
  pp->status.set(p_status::idle, p_status::stopped);
  if ((rt->attention.load(relaxed) & attention_stop) == 0) return;
  const std::uint32_t left = rt->stopwait.load(relaxed);
  if (left == 0) fatal("sched: more Ps stopped than there are", pp->id);
  rt->stopwait.store(left - 1, relaxed);
  if (left == 1) os::futex_wake(&rt->stopwait);
}

bool stop_here(m* mp) {
  sched_t* rt = mp->rt;
  p* pp = mp->p;
  // Chosen already, for this M: it would wait for as long as the M sleeps.
  if (g* gp = mp->picked) {
    mp->picked = nullptr;
    runqput(pp, gp, true);
  }
  mutex_guard guard(rt->lock);
  if ((rt->attention.load(relaxed) & attention_stop) == 0) return false;  // order: stop.begin
  if (mp->spinning) {
    // Before the P is counted: whoever starts the world again looks at every queue in this one's place, and is to find
    // that nobody looks. Later, who submits work then would still rely on this one.
    mp->set_spinning(false);
    end_spinning(spin(rt));
  }
  stop_p(rt, releasep(mp));  // order: stop.count
  return true;
}

bool stop_at_door(g* gp, m* mp, bool asked) {
  sched_t* rt = mp->rt;
  mutex_guard guard(rt->lock);
  if (asked && (rt->attention.load(relaxed) & attention_stop) == 0) return false;
  p* pp = releasep(mp);
  mp->oldp = pp;
  gp->status.set(status::running, status::detached);
  set_revoke(mp->revoke, revoke_done);
  stop_p(rt, pp);  // order: stop.count
  return true;
}

bool stop_world(sched_t* rt, bool watching) {
  // The stopper there is may wait for a P that is on its way to an M which sysmon has to start: sysmon does not wait.
  if (!watching) {
    rt->world_lock.lock();
  } else if (!rt->world_lock.try_lock()) {
    return false;
  }
  rt->lock.lock();
  if (ended(rt)) {
    rt->lock.unlock();
    rt->world_lock.unlock();
    return false;
  }
  std::uint32_t left = 0;
  for (std::uint32_t i = 0; i < procs(rt); ++i) left += rt->allp[i].status.get() == p_status::stopped ? 0 : 1;
  rt->stopwait.store(left, relaxed);
  rt->attention.fetch_or(attention_stop, release);  // order: stop.begin
  while (p* pp = rt->pidle) {
    pidletake(rt, pp);
    stop_p(rt, pp);
  }
  while (rt->stopwait.load(relaxed) != 0 && !ended(rt)) {
    revoke_round(rt);
    const std::uint32_t seen = rt->stopwait.load(relaxed);
    if (seen == 0) break;
    rt->lock.unlock();
    if (watching) start_waiting_ms(rt);
    os::futex_wait(&rt->stopwait, seen, ask_again_ns);
    rt->lock.lock();
  }
  const bool stopped = rt->stopwait.load(relaxed) == 0;  // order: stop.count
  if (!stopped) rt->attention.fetch_and(~attention_stop, release);
  rt->lock.unlock();
  if (!stopped) rt->world_lock.unlock();
  return stopped;
}

void procresize(sched_t* rt, std::uint32_t n) {
  const std::uint32_t old = procs(rt);
  for (std::uint32_t i = n; i < old; ++i) empty_caches(rt, &rt->allp[i]);
  mutex_guard guard(rt->lock);
  for (std::uint32_t i = old; i < n; ++i) {
    if (i < rt->nallp.load(relaxed)) {
      rt->allp[i].status.set(p_status::dead, p_status::stopped);
    } else {
      make_p(rt, i);
    }
  }
  if (n > rt->nallp.load(relaxed)) rt->nallp.store(n, release);
  for (std::uint32_t i = n; i < old; ++i) {
    drain_to_global(rt, &rt->allp[i]);
    move_timers(&rt->allp[i], &rt->allp[0]);
    rt->allp[i].status.set(p_status::stopped, p_status::dead);
  }
  rt->nprocs.store(n, release);  // order: stop.procs
  rt->tell = n == 1 ? new_work::nobody : new_work::threads;
  for (std::uint32_t i = 0; i < n; ++i) rt->allp[i].q.set_solo(n == 1);
}

void start_world(sched_t* rt, m* self) {
  p* with_work = nullptr;
  bool work = false;
  {
    mutex_guard guard(rt->lock);
    work = !rt->runq.empty() || rt->needspinning.load(relaxed) != 0;
    rt->attention.fetch_and(~attention_stop, release);
    p* mine = nullptr;
    if (self != nullptr) {
      mine = self->oldp != nullptr && self->oldp->id < procs(rt) ? self->oldp : &rt->allp[0];
      mine->status.set(p_status::stopped, p_status::idle);
      if (self->nextp != nullptr) fatal("sched: a stopper has a P already");
      self->nextp = mine;
    }
    // Those that came to the door meanwhile, and others, wait in the global queue: as many Ms come for them.
    std::uint32_t queued = rt->runq.size();
    for (std::uint32_t i = procs(rt); i-- > 0;) {
      p* pp = &rt->allp[i];
      work = work || !pp->q.empty();
      if (pp == mine) continue;
      pp->status.set(p_status::stopped, p_status::idle);
      if (pp->q.empty() && queued == 0) {
        pidleput(rt, pp);
      } else {
        queued -= pp->q.empty() ? 1 : 0;
        pp->idle_next = with_work;
        with_work = pp;
      }
    }
  }
  while (with_work != nullptr) {
    p* pp = with_work;
    with_work = pp->idle_next;
    pp->idle_next = nullptr;
    startm(rt, pp, false);
  }
  // For whoever found no idle P, and for the second goroutine of a queue: the spinner that its submitter relied on has been
  // stopped.
  if (work) wakep(rt);
  keep_watch(rt);
  rt->world_lock.unlock();
}

stopped_world::stopped_world(sched_t* rt, g* self, bool watching) : rt_(rt), self_(self), stopped_(false) {
  if (self_ != nullptr && self_->rt != rt_) self_ = nullptr;  // of another runtime: its P is not among these
  if (self_ != nullptr) {
    enter inside(self_);
    stop_at_door(self_, self_->m, false);
  }
  stopped_ = stop_world(rt_, watching);
}

stopped_world::~stopped_world() {
  if (stopped_) start_world(rt_, self_ == nullptr ? nullptr : self_->m);
  if (self_ != nullptr) enter inside(self_);  // and takes the P
}

std::uint32_t set_procs(sched_t* rt, g* self, std::uint32_t n, bool by_hand) {
  stopped_world stopped(rt, self, !by_hand);  // sysmon, when it is not by hand
  if (!stopped) return 0;
  const std::uint32_t old = procs(rt);
  if (!by_hand && rt->custom_procs) return old;
  if (by_hand) {
    mutex_guard guard(rt->lock);
    rt->custom_procs = true;
  }
  if (n != old) procresize(rt, n);
  return old;
}

}  // namespace weft::rt
