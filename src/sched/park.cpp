#include "sched/park.hpp"

#include "base/check.hpp"
#include "base/noise.hpp"
#include "model/hchan.hpp"
#include "os/sys.hpp"
#include "sched/countdown.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"
#include "weft/go.hpp"

namespace weft::rt {
namespace {

void yield_after(m* mp, g* gp, void*) {
  gp->m = nullptr;
  gp->status.set(status::running, status::runnable);
  runqput(mp->p, gp, false);
  wakep_from_p(mp->p);
}

// Some P has more than it can run and found nobody to help. A goroutine that only yields is that help: as a spinner
// it clears needspinning and looks at all queues; if it finds nothing it has withdrawn a promise, and looks again
// (sched/spinning.hpp) by way of whoever wakep finds, or by setting needspinning.
void steal_for_yield(m* mp) {
  sched_t* rt = mp->rt;
  mp->set_spinning(true);
  begin_spinning(spin(rt));
  bool moves;
  mp->picked = steal_work(mp, moves);
  mp->set_spinning(false);
  end_spinning(spin(rt));
  if (mp->picked != nullptr || work_visible(mp)) wakep(rt);
}

// On g0, when this P has nothing else. The goroutine gives way to what waits in the global queue: that comes
// into the ring first, or a loop of yields would let it in once in 61 rounds only.
void yield_alone_after(m* mp, g* gp, void*) {
  sched_t* rt = mp->rt;
  if (mp->picked == nullptr && mp->p->q.empty()) {
    if (rt->runq_size.load(relaxed) != 0) {
      mutex_guard guard(rt->lock);
      mp->picked = globrunqget_batch(mp);
    } else if (rt->needspinning.load(relaxed) != 0) {
      steal_for_yield(mp);
    }
  }
  yield_after(mp, gp, nullptr);
}

// Nobody to give way to: this P's queue is empty, so is the global one, and nobody wants attention or help. In an
// exploration never: the others had their turn at the scheduling point, or will have it at the next. (pick_local has not
// looked at the queue for a locked goroutine, which must not switch to another.) Out of line: a yield to somebody has less
// to save then.
[[gnu::noinline]] bool nothing_else(m* mp) {
  const sched_t* rt = mp->rt;
  return mp->picked == nullptr && (mp->lockedg == nullptr || mp->p->q.empty()) &&
         (rt->attention.load(relaxed) & ~attention_explore) == 0 && rt->runq_size.load(relaxed) == 0 &&
         rt->needspinning.load(relaxed) == 0 && !timers_want(mp);
}

// From outside gp's runtime. `foreign` keeps the runtime from ending under us: it was raised while gp still
// waited, so the runtime cannot end before, and it looks at the count after its last goroutine has ended.
[[gnu::noinline]] void ready_foreign(g* self, g* gp) {
  sched_t* rt = gp->rt;
  rt->foreign.fetch_add(1, seq_cst);  // order: rt.foreign
  noise(noise_at::foreign_ready);
  gp->status.wake();
  noise(noise_at::readied);
  if ((gp->flags & g_locked) == 0 || !start_bound(rt, gp)) {
    {
      mutex_guard guard(rt->lock);
      globrunqput(rt, gp);
    }
    noise(noise_at::submitted);
    wakep(rt);
  }
  leave(rt->foreign);  // order: rt.foreign
  if (self != nullptr && self->rt->explore != nullptr) self->rt->explore->readied_foreign(self->rt->explore, self);
}

bool take_from_bucket(sudog* sg, wait_result why, glist& others) {
  sema_bucket& b = the_process.semas.bucket(sg->addr);
  mutex_guard guard(b.lock);
  if (!sg->queued) return false;
  b.remove(sg);
  sg->result = why;
  if (sg->on_taken != nullptr) sg->on_taken(sg, others);
  return true;
}

bool take_from_chan(chan_sudog* sg, wait_result why) {
  if (!leave_queue(sg)) return false;
  sg->result = why;
  return true;
}

bool take_select(select_wait* sel, wait_result why) {
  if (!set_token(sel)) return false;
  sel->result = why;
  return true;
}

[[gnu::noinline]] void ready_thread(g* self, g* gp) {
  gp->status.wake();
  // The thread may be gone by now; its proxy is type-stable, and a spare wake-up harms nobody.
  os::futex_wake(gp->status.futex());
  if (self != nullptr && self->rt->explore != nullptr) self->rt->explore->readied_foreign(self->rt->explore, self);
}

}  // namespace

// A goroutine of the caller's runtime that is locked to its thread: that one goes on at once, where a P is idle.
[[gnu::noinline]] void ready_locked(g* self, g* gp) {
  gp->status.wake();
  noise(noise_at::readied);
  if (start_bound(gp->rt, gp)) return;
  p* pp = self->m->p;
  runqput(pp, gp, goes_next(self->m));
  wakep_from_p(pp);
}

void ready(g* self, g* gp) {
  noise(noise_at::taken);
  if ((gp->flags & (g_is_thread | g_locked)) != 0) [[unlikely]] {
    if (gp->is_thread()) {
      ready_thread(self, gp);
    } else if (self != nullptr && self->rt == gp->rt) {
      ready_locked(self, gp);
    } else {
      ready_foreign(self, gp);
    }
  } else if (self != nullptr && self->rt == gp->rt) {
    gp->status.wake();
    noise(noise_at::readied);
    p* pp = self->m->p;
    runqput(pp, gp, goes_next(self->m));
    wakep_from_p(pp);
  } else {
    ready_foreign(self, gp);
  }
}

void ready_quietly(g* self, g* gp) {
  if ((gp->flags & (g_is_thread | g_locked)) != 0 || self->rt != gp->rt) {
    ready(self, gp);
    return;
  }
  noise(noise_at::taken);
  gp->status.wake();
  noise(noise_at::readied);
  runqput(self->m->p, gp, goes_next(self->m));
}

void ready_all(g* self, glist& list) {
  while (g* gp = list.pop_front()) ready(self, gp);
}

g* proxy_get() {
  g* gp = nullptr;
  {
    mutex_guard guard(the_process.lock);
    gp = the_process.gfree;
    if (gp != nullptr) the_process.gfree = gp->schedlink;
  }
  if (gp == nullptr) {
    void* memory = nullptr;
    if (the_process.gs.fresh(&memory, 1) == 0) fatal("out of memory: no g for a thread that waits");
    gp = static_cast<g*>(memory);
  }
  gp->flags = g_is_thread;
  gp->goid = 0;
  gp->rt = nullptr;
  gp->status.born();
  gp->status.set(status::runnable, status::running);
  the_process.proxies_in_use.fetch_add(1, relaxed);
  return gp;
}

void proxy_put(g* gp) {
  gp->status.set(status::running, status::dead);
  gp->flags = 0;
  the_process.proxies_in_use.fetch_sub(1, relaxed);
  mutex_guard guard(the_process.lock);
  gp->schedlink = the_process.gfree;
  the_process.gfree = gp;
}

// Plain threads have no generator; their stack's address does, because only the balance of the treap depends on it.
std::uint32_t caller::ticket_for(g* self) {
  if (self != nullptr) return self->m->choose(site::treap_ticket, 0xffffffff);
  chooser mix;
  mix.seed(reinterpret_cast<std::uintptr_t>(&mix));
  return mix(site::treap_ticket, 0xffffffff);
}

std::uint32_t caller::choose_for(g* self, site where, std::uint32_t n) {
  if (self == nullptr) return the_process.thread_choice(n);
  if (exploration* by = self->rt->explore; by != nullptr) [[unlikely]]
    return by->choose(by, self, n);
  return self->m->choose(where, n);
}

caller::looked caller::look(g* gp) {
  if (!may_unwind(gp)) return looked::waits;
  if (must_unwind(gp)) return looked::unwinds;
  g_extras* x = gp->extras;
  if (x->obeys == nullptr) return looked::waits;
  return join_scope(x) ? looked::watched : looked::unwinds;
}

// gp is waiting and its status locked: so it stays, and its frame with it, until it has been looked at; whoever takes it
// meanwhile waits for the lock.
void finish_watched_park(g* gp, void (*commit)(void*), void* arg) {
  gp->m = nullptr;
  gp->status.park_locked();
  noise(noise_at::parked);
  store_load_barrier();  // order: cancel.scope
  const bool late = must_unwind(gp);
  commit(arg);  // order: park.commit
  glist others;
  const bool mine =
      late && gp->waiting->cancellable && may_be_unwound(gp) && take_locked(gp, wait_result::cancelled, others);
  gp->status.unlock_waiting();
  if (!late) [[likely]]
    return;
  g* self = getg();
  if (mine) ready(self, gp);
  ready_all(self, others);
}

namespace {

struct watched_commit {
  void (*commit)(void*);
  void* arg;
};

void commit_watched(m*, g* gp, void* what) {
  const auto to = *static_cast<watched_commit*>(what);
  finish_watched_park(gp, to.commit, to.arg);
}

}  // namespace

void caller::park_watched(void (*commit)(void*), void* arg, g* gp, wait_reason why) {
  m* mp = gp->m;
  gp->reason = why;
  gp->since = static_cast<std::uint32_t>(the_process.coarse_now.load(relaxed));
  watched_commit what{commit, arg};
  mp->after = commit_watched;
  mp->after_g = gp;
  mp->after_arg = &what;
  noise(noise_at::parking);
  leave_to_next(mp, gp);
}

void caller::wait_apart(void (*commit)(void*), void* arg, g* gp, wait_reason why) {
  if (gp->is_thread()) {
    wait_as_thread(commit, arg, gp, why);
  } else {
    park_watched(commit, arg, gp, why);
  }
}

// One with a deadline is its own taker.
void caller::wait_as_thread(void (*commit)(void*), void* arg, g* proxy, wait_reason why, std::int64_t deadline) {
  proxy->reason = why;
  // Exact: it is about to make a system call, and nobody may have refreshed the coarse clock in its process.
  proxy->since = coarse_ticks(os::now());
  proxy->status.set(status::running, status::waiting);
  noise(noise_at::parked);
  commit(arg);  // order: park.commit
  constexpr auto waiting = static_cast<std::uint32_t>(status::waiting);
  // order: status.park
  for (std::uint32_t v; ((v = proxy->status.futex()->load(acquire)) & ~status_scan) == waiting;) {
    std::int64_t left = -1;
    if (deadline != no_timer) {
      left = deadline - os::now();
      if (left <= 0) {
        take_waiter(nullptr, proxy, proxy->goid, proxy->wait_seq, wait_result::timed_out);
        deadline = no_timer;  // taken by this, or by somebody who is about to say so
        continue;
      }
    }
    os::futex_wait(proxy->status.futex(), v, left);
  }
  proxy->status.set(status::runnable, status::running);
}

bool take_locked(g* gp, wait_result why, glist& others) {
  noise(noise_at::scan_locked);
  waiter* w = gp->waiting;
  switch (w->kind) {
    case wait_kind::sema: return take_from_bucket(static_cast<sudog*>(w), why, others);
    case wait_kind::chan: return take_from_chan(static_cast<chan_sudog*>(w), why);
    case wait_kind::select:
    case wait_kind::acquiring_select: return take_select(static_cast<select_wait*>(w), why);
    case wait_kind::in_word:
      if (!leave_word(w)) return false;
      w->result = why;
      return true;
    case wait_kind::nowhere: break;
  }
  // Under the status lock: whoever locks it next finds it taken.
  if (!w->queued) return false;
  w->queued = false;
  w->result = why;
  return true;
}

void unqueue(g* gp) {
  waiter* w = gp->waiting;
  if (w == nullptr || gp->status.get() != status::waiting) return;
  switch (w->kind) {
    case wait_kind::sema: {
      auto* sg = static_cast<sudog*>(w);
      sema_bucket& b = the_process.semas.bucket(sg->addr);
      mutex_guard guard(b.lock);
      if (sg->queued) b.remove(sg);
      break;
    }
    case wait_kind::chan:
      if (w->queued) leave_queue(static_cast<chan_sudog*>(w));
      break;
    case wait_kind::select:
    case wait_kind::acquiring_select: {
      auto* sel = static_cast<select_wait*>(w);
      for (std::uint32_t i = 0; i < sel->n; ++i) {
        if (sel->cases[i].queued) leave_queue(&sel->cases[i]);
      }
      if (w->kind == wait_kind::select) break;
      auto* acquiring = static_cast<acquiring_wait*>(w);
      for (std::uint32_t i = 0; i < acquiring->nsemas; ++i) {
        sudog* sg = &acquiring->semas[i];
        sema_bucket& b = the_process.semas.bucket(sg->addr);
        mutex_guard guard(b.lock);
        if (sg->queued) b.remove(sg);
      }
      break;
    }
    case wait_kind::in_word: leave_word(w); break;
    case wait_kind::nowhere: break;
  }
}

bool take_waiter_into(g* gp, std::uint64_t goid, std::uint32_t wait_seq, wait_result why, glist& awake) {
  // Locked, gp stays waiting: its sudog, its frame and the object it waits on stay alive, also when somebody
  // else has taken the sudog already and only waits for the lock to ready gp.
  if (!gp->status.lock_waiting()) return false;
  if (gp->goid != goid || gp->wait_seq != wait_seq) {
    gp->status.unlock_waiting();
    return false;
  }
  glist others;
  const bool mine = take_locked(gp, why, others);
  gp->status.unlock_waiting();
  if (mine) awake.push_back(gp);
  while (g* other = others.pop_front()) awake.push_back(other);
  return mine;
}

bool take_waiter(g* self, g* gp, std::uint64_t goid, std::uint32_t wait_seq, wait_result why) {
  glist awake;
  const bool mine = take_waiter_into(gp, goid, wait_seq, why, awake);
  ready_all(self, awake);
  return mine;
}

// The others on this P have something to do, so they go first; when they all have been here lately, and nothing but that,
// their CPU is of no use to anybody, and sleeps. A P with work that needs no lock of another's has its turns take longer than
// meeting_ns, and never does.
void stay_away(g* self) {
  if (sizes::stay_pauses == 0) return;
  if (self == nullptr) {
    for (std::uint32_t i = 0; i < sizes::stay_pauses; ++i) os::pause();
    return;
  }
  m* mp = self->m;
  const std::int64_t now = os::now();
  if (now - mp->met_since > sizes::meeting_ns) {
    mp->met_since = now;
    mp->met = 0;
  }
  const std::uint32_t others = mp->p->q.length();
  if (++mp->met > others + 1) {
    mp->met = 0;
    os::sleep_ns(sizes::doze_ns);
  } else if (others != 0) {
    yield_inside(self);
  }
}

// The mutex's word, by the waiter: whatever else is in it, its lowest bit says this (sync/mutex.cpp).
bool is_held(const waiter* w) {
  return (__atomic_load_n(static_cast<const std::uint64_t*>(w->addr), __ATOMIC_RELAXED) & 1) != 0;
}

// One that gives way for a mutex which is still held would only give way again. It is passed over instead, to where it would
// have put itself, for half the price: its yield and the holder's are different code, and each switch between the two is a
// return that the CPU does not foresee. At most sizes::passed_over times in a row, so that it learns how long it has waited;
// where there is nobody else it is left to schedule(), which runs it.
// The mutex lives: gp is in its lock(), and ours, since it is off the queue. Whoever gives way stands in the ring, not in
// runnext, so the next in the ring begins a slice as gp would have.
g* pick_instead(m* mp, g* gp) {
  if ((gp->flags & g_bound) == 0) {
    if (mp->passed_over >= sizes::passed_over || !is_held(gp->waiting)) {
      mp->passed_over = 0;
      return gp;
    }
    ++mp->passed_over;
    const bool alone = mp->p->q.empty();
    runqput(mp->p, gp, false);
    if (alone) return nullptr;
    std::uint32_t behind = 0;
    gp = mp->p->q.take(behind);
    if (gp == nullptr || (gp->flags & g_bound) == 0) return gp;
  }
  mp->picked = gp;
  return nullptr;
}

void give_way(g* gp, sudog& sg) {
  gp->waiting = &sg;
  gp->flags |= g_gives_way;
  yield_inside(gp);
  gp->flags &= static_cast<std::uint8_t>(~g_gives_way);
  gp->waiting = nullptr;
}

void yield_inside(g* gp) {
  m* mp = gp->m;
  bool inherit = false;
  g* next = pick_local(mp, inherit);
  mp->after_g = gp;
  if (next == nullptr) [[unlikely]] {
    if (nothing_else(mp)) {
      begin_slice(mp->p);
      return;
    }
    mp->after = yield_alone_after;
    next = &mp->g0;
  } else {
    begin_run(mp, next, inherit);
    if (next->stack == nullptr) bind_stack(mp, next);
    mp->after = yield_after;
  }
  leave_goroutine(mp, gp, next);
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {

void yield() {
  using namespace weft::rt;
  g* gp = getg();
  if (gp == nullptr) {
    os::yield_thread();
    return;
  }
  enter_and_park inside(gp, op::yield);
  yield_inside(gp);
}

}  // namespace v0
}  // namespace weft
