#include "sched/timers.hpp"

#include <algorithm>
#include <new>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "model/glist.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/callback_timer.hpp"
#include "sched/dispatch.hpp"
#include "sched/park.hpp"

namespace weft::rt {
namespace {

// While a look takes less than this, the next one may wait for more ticks.
constexpr std::int64_t short_ticks_ns = 20'000;
constexpr std::uint32_t most_ticks = 16;
constexpr std::uint32_t batch = 32;

// For the short paths of an M whose P has a due timer: a reason to come to schedule().
constinit const atomic<std::uint32_t> timer_due{1};

due_timer copy_of(const timer* t, std::int64_t when) { return {t->ops, t->arg, t->seq, t->order, when, t->wait_seq}; }

// mp's P has a timer that comes before all others it has: the next tick looks.
void look_soon(p* pp) {
  if (pp->rt->explore != nullptr) return;
  pp->tick_look = std::min(pp->tick_mod + 1, sizes::global_tick);
  pp->tick_step = 1;
}

// Whether somebody must be told of a timer that is the first of its P: timers.watch.
bool watched(const sched_t* rt, std::int64_t when) {
  const std::int64_t until = rt->watch_until.load(relaxed);
  // A spinner that finds nothing looks at the timers, after it has ceased to count as one.
  return until != 0 ? until <= when : rt->nmspinning.load(relaxed) != 0;
}

void tell_watch(sched_t* rt, std::int64_t when) {
  store_load_barrier();  // order: timers.watch
  if (rt->npidle.load(relaxed) != 0 && !watched(rt, when)) keep_watch(rt);
}

void fire(g* self, const due_timer& due, glist& awake) {
  if (due.ops != nullptr) {
    due.ops->fire(self, due.arg, due.seq, due.when);
  } else {
    take_waiter_into(static_cast<g*>(due.arg), due.seq, due.wait_seq, wait_result::timed_out, awake);
  }
}

}  // namespace

void arm_wait(g* parked, timer* t, std::int64_t when) {
  g* self = getg();
  m* mp = self->m;
  p* pp = mp->p;
  invariant(pp->rt == parked->rt, "timers: a wait is armed in another runtime");
  static_cast<void>(parked);
  if (!pp->timers->insert(t, when)) return;
  if (procs(pp->rt) == 1 || (self->flags & g_is_g0) != 0) {
    // On its way to find_runnable, which looks at this P's timers.
    look_soon(pp);
    pp->unwatched = true;
    return;
  }
  look_soon(pp);
  tell_watch(pp->rt, when);
}

void arm(m* mp, timer* t, std::int64_t when) {
  p* pp = mp->p;
  if (!pp->timers->insert(t, when)) return;
  look_soon(pp);
  if (procs(pp->rt) != 1) tell_watch(pp->rt, when);
}

std::uint32_t fire_due(m* mp, p_timers& heap, std::int64_t now) {
  p* pp = mp->p;
  sched_t* rt = pp->rt;
  const bool had_work = !pp->q.empty();
  std::uint32_t fired = 0;
  std::uint32_t woken = 0;
  const std::uint32_t firing = pp->firing.load(relaxed);
  pp->firing.store(firing + 1, relaxed);  // order: timers.firing
  for (std::uint32_t n = batch; n == batch;) {
    due_timer due[batch];
    n = 0;
    heap.pop_due(now, batch, [&](timer* t, std::int64_t when) {
      due[n++] = copy_of(t, when);
      if (t->ops == nullptr) __builtin_prefetch(static_cast<const char*>(t->arg) + 64, 1);
    });
    noise(noise_at::timers_popped);
    glist awake;
    for (std::uint32_t i = 0; i < n; ++i) fire(&mp->g0, due[i], awake);
    while (g* gp = awake.pop_front()) {
      ready_quietly(&mp->g0, gp);
      ++woken;
    }
    fired += n;
  }
  pp->firing.store(firing + 2, release);  // order: timers.firing
  if (fired == 0) return 0;
  pp->unwatched = true;
  // One goroutine runs right here, next; for more than that another thread is worth waking.
  if (procs(rt) != 1 && (woken > 1 || (woken != 0 && had_work))) wakep(rt);
  return fired;
}

void look_at_timers(m* mp) {
  p* pp = mp->p;
  sched_t* rt = pp->rt;
  if (mp->attention == &timer_due) mp->attention = &rt->attention;
  const std::int64_t now = os::now();
  if (pp->timers->min_when() <= now) {
    noise(noise_at::timers_due);
    fire_due(mp, *pp->timers, now);
  }
  if (!pp->unwatched) return;
  // With nothing to run this M is about to look for itself, and to watch if it finds nothing.
  if (procs(rt) == 1 || (pp->q.empty() && rt->runq_size.load(relaxed) == 0)) return;
  pp->unwatched = false;
  const std::int64_t next = next_timer(rt);
  if (next != no_timer) tell_watch(rt, next);
}

void fire_all_due(m* mp) {
  sched_t* rt = mp->rt;
  const std::int64_t now = os::now();
  for (std::uint32_t i = 0; i < procs(rt); ++i) {
    p_timers& heap = *rt->allp[i].timers;
    if (heap.min_when() <= now) fire_due(mp, heap, now);
  }
  if (mp->p->unwatched && !mp->p->q.empty()) {
    mp->p->unwatched = false;
    keep_watch(rt);
  }
}

void timers_at_tick(p* pp) {
  const std::int64_t min = pp->timers->min_when();
  if (min == no_timer || pp->rt->explore != nullptr) return;  // the next look is at the global one's tick
  const std::int64_t now = os::now();
  if (min <= now) {
    m* mp = pp->m;
    if (mp->attention == &pp->rt->attention) mp->attention = &timer_due;
  }
  pp->tick_step = now - pp->tick_looked < short_ticks_ns ? std::min(2 * pp->tick_step, most_ticks) : 1;
  pp->tick_looked = now;
  pp->tick_look = std::min(pp->tick_mod + pp->tick_step, sizes::global_tick);
}

bool timers_want(const m* mp) { return mp->attention == &timer_due; }

std::int64_t next_timer(const sched_t* rt) {
  std::int64_t first = no_timer;
  for (std::uint32_t i = 0, n = procs(rt); i < n; ++i) first = std::min(first, rt->allp[i].timers->min_when());
  return first;
}

// Those that are being fired, or have been; odd: some are.
static std::uint32_t firings(const sched_t* rt, bool* now) {
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0, n = rt->nallp.load(acquire); i < n; ++i) {
    const std::uint32_t one = rt->allp[i].firing.load(acquire);  // order: timers.firing
    *now = *now || one % 2 != 0;
    sum += one;
  }
  return sum;
}

bool nothing_to_come(const sched_t* rt) {
  bool now = false;
  const std::uint32_t before = firings(rt, &now);
  if (goroutines_alive(rt) != 0 || next_timer(rt) != no_timer) return false;
  store_load_barrier();  // order: timers.firing
  return firings(rt, &now) == before && !now;
}

void keep_watch(sched_t* rt) {
  if (rt->explore != nullptr) return;
  store_load_barrier();  // order: timers.watch
  if (rt->npidle.load(relaxed) == 0) return;
  const std::int64_t next = next_timer(rt);
  if (next == no_timer || watched(rt, next)) return;
  m* mp = nullptr;
  {
    mutex_guard guard(rt->lock);
    if (rt->npidle.load(relaxed) == 0 || (rt->attention.load(relaxed) & attention_done) != 0) return;
    if (rt->watch != nullptr) {
      if (rt->watch_until.load(relaxed) <= next) return;
      mp = rt->watch;
      midle_remove(rt, mp);
    } else {
      mp = midleget(rt);
    }
  }
  if (mp == nullptr) {
    wakep(rt);  // nobody is idle: a new thread finds nothing to do, and watches
    return;
  }
  noise(noise_at::m_taken);
  mp->park.wakeup();  // with no P: it looks at the timers, and sleeps again
}

p_timers* timers_get() {
  {
    mutex_guard guard(the_process.lock);
    if (p_timers* t = the_process.timers_free) {
      the_process.timers_free = t->next_free;
      return t;
    }
  }
  void* memory = nullptr;
  if (the_process.timers.fresh(&memory, 1) == 0) return nullptr;
  return ::new (memory) p_timers;
}

void drop_timers(p_timers& all) {
  for (bool more = true; more;) {
    due_timer dropped{};
    more = all.pop_any([&](const timer* t, std::int64_t when) { dropped = copy_of(t, when); });
    if (more && dropped.ops != nullptr) dropped.ops->drop(dropped.arg, dropped.seq);
  }
}

void timers_put(p_timers* all) {
  drop_timers(*all);
  all->give_back_memory();
  mutex_guard guard(the_process.lock);
  all->next_free = the_process.timers_free;
  the_process.timers_free = all;
}

}  // namespace weft::rt
