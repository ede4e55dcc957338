// wake: Ms and Ps come together and part. One place decides that a thread is worth waking (wakep), one starts
// it (startm), one lets it sleep (stopm). The reasoning about who may sleep stands in sched/spinning.hpp.
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "os/sys.hpp"
#include "sched/dispatch.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/timers.hpp"
#include "sched/world.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t no_thread_pause_ns = 100'000'000;
constexpr std::int64_t no_room_pause_ns = 1'000'000;

// Under sched.lock. A thread was refused a moment ago, and no M sleeps that could be woken instead.
bool no_thread_now(sched_t* rt) {
  return rt->midle == nullptr && rt->no_thread_until != 0 && os::now() < rt->no_thread_until;
}

// Under sched.lock: off the idle list, where it is.
m* unlist(sched_t* rt, m** link) {
  m* mp = *link;
  *link = mp->schedlink;
  --rt->nmidle;
  mp->set_listed(false);
  stand_down(rt, mp);
  return mp;
}

// Under sched.lock: an M that waits for its locked goroutine is about to get a P.
void no_longer_idle(sched_t* rt, m* mp) {
  if (!mp->idle_locked) return;
  mp->idle_locked = false;
  --rt->nmidlelocked;
}

// Whether a thread may be cloned by the calling one: a thread of this runtime, whose state (namespaces, affinity,
// credentials) no goroutine has claimed for itself. Else sysmon does it, which is as the runtime found the world
// (Go's template thread).
bool is_template(const sched_t* rt) {
  const g* self = getg();
  return self != nullptr && self->rt == rt && self->m->lockedg == nullptr && !self->m->exiting;
}

// mp sleeps on its note and is on no list.
void give(m* mp, p* pp, bool spinning) {
  noise(noise_at::m_taken);
  if (mp->nextp != nullptr) fatal("sched: an M is given a second P", mp->id);
  if (spinning) mp->set_spinning(true);
  mp->nextp = pp;
  mp->park.wakeup();
}

// No thread could be made for pp. Nothing is lost. An M that has become idle meanwhile gets it; so does an M whose
// goroutine waits for a P, which needs no new thread. Else the P is idle again and its work is in the global
// queue: every M that runs finds it there, every M that is about to sleep looks there once more (stopm), and one
// that comes back from a blocking call takes the P.
void no_thread_for(sched_t* rt, p* pp, bool spinning, int err) {
  m* other = nullptr;
  bool spins = false;
  bool warn = false;
  bool hopeless = false;
  std::uint32_t have = 0;
  {
    mutex_guard guard(rt->lock);
    if (err != 0) {
      rt->no_thread_until = os::now() + no_thread_pause_ns;
      rt->no_thread_err = err;
      warn = !rt->warned_no_thread;
      rt->warned_no_thread = true;
      have = rt->nm;
    }
    other = midleget(rt);
    spins = spinning && other != nullptr;
    if (other == nullptr) {
      while (g* gp = pp->q.take_next()) globrunqput(rt, gp);
      while (g* gp = pp->q.take()) globrunqput(rt, gp);
      if (g* gp = rt->runq.take_bound()) {
        runq_changed(rt);
        other = gp->tied;
        no_longer_idle(rt, other);
      } else {
        pidleput(rt, pp);
        // (sysmon asks again, and knows when that has been in vain for long.)
        hopeless = !rt->has_sysmon && !rt->runq.empty() && nobody_to_run(rt);
      }
    }
    // Inside the lock: whoever drops a P next must see either a spinner or needspinning.
    if (spinning && !spins) give_back_wake(spin(rt));
  }
  if (other != nullptr) give(other, pp, spins);
  if (warn) {
    line{}
        .text("weft: cannot create a thread (have ")
        .number(have)
        .text("; errno ")
        .number(static_cast<std::uint64_t>(err))
        .text(err == 11 ? ": Resource temporarily unavailable; may need to increase max user processes, ulimit -u" : "")
        .text("): going on with the threads there are\n")
        .flush_sig();
  }
  if (hopeless) no_thread_at_all(rt);
}

}  // namespace

// The one that watches is taken last: another would have to watch in its place.
m* midleget(sched_t* rt) {
  if (rt->midle == nullptr) return nullptr;
  m** link = &rt->midle;
  for (std::uint32_t k = settled_here(site::idle_m, rt->nmidle); k != 0; --k) link = &(*link)->schedlink;
  if (*link == rt->watch && rt->nmidle > 1) link = (*link)->schedlink != nullptr ? &(*link)->schedlink : &rt->midle;
  return unlist(rt, link);
}

void midle_remove(sched_t* rt, m* mp) {
  m** link = &rt->midle;
  while (*link != mp) link = &(*link)->schedlink;
  unlist(rt, link);
}

// Each of those there are waits for its locked goroutine; a runtime to embed may have none yet.
bool nobody_to_run(const sched_t* rt) {
  return rt->midle == nullptr && rt->to_start == nullptr && rt->nmidlelocked == rt->nm;
}

// Go's end of this.
void no_thread_at_all(const sched_t* rt) {
  const int err = rt->no_thread_err;
  line{}
      .text("weft: failed to create a thread (have ")
      .number(rt->nm)
      .text(" already; errno ")
      .number(static_cast<std::uint64_t>(err))
      .text(err == 11 ? ": may need to increase max user processes, ulimit -u" : "")
      .text("), and no other can run the goroutines that wait for one\n")
      .flush_sig();
  fatal("no thread to be had");
}

void acquirep(m* mp, p* pp) {
  if (pp->m != nullptr || mp->p != nullptr || pp->listed) fatal("sched: acquirep");
  pp->m = mp;
  pp->held_by.store(mp, release);  // order: takeback.holder
  mp->p = pp;
  pp->q.adopt(mp);
  pp->status.set(p_status::idle, p_status::running);
}

p* releasep(m* mp) {
  p* pp = mp->p;
  if (pp == nullptr || pp->m != mp) fatal("sched: releasep");
  pp->status.set(p_status::running, p_status::idle);
  pp->q.disown(mp);
  pp->m = nullptr;
  pp->held_by.store(nullptr, relaxed);
  mp->p = nullptr;
  return pp;
}

void pidleput(sched_t* rt, p* pp) {
  if (!pp->q.empty()) fatal("sched: idle P with work");
  if (pp->listed || pp->m != nullptr) fatal("sched: a P that is listed or held is laid down", pp->id);
  if ((rt->attention.load(relaxed) & attention_stop) != 0) [[unlikely]] {  // order: stop.begin
    stop_p(rt, pp);                                                        // order: stop.count
    return;
  }
  pp->listed = true;
  pp->idle_prev = nullptr;
  pp->idle_next = rt->pidle;
  if (rt->pidle != nullptr) rt->pidle->idle_prev = pp;
  rt->pidle = pp;
  rt->npidle.store(rt->npidle.load(relaxed) + 1, relaxed);
}

bool pidletake(sched_t* rt, p* pp) {
  if (!pp->listed) return false;
  pp->listed = false;
  if (pp->idle_prev != nullptr) {
    pp->idle_prev->idle_next = pp->idle_next;
  } else {
    rt->pidle = pp->idle_next;
  }
  if (pp->idle_next != nullptr) pp->idle_next->idle_prev = pp->idle_prev;
  pp->idle_next = pp->idle_prev = nullptr;
  rt->npidle.store(rt->npidle.load(relaxed) - 1, relaxed);
  if (rt->sysmon_waits || (rt->sysmon_naps && rt->npidle.load(relaxed) == 0)) [[unlikely]] {
    rt->sysmon_waits = rt->sysmon_naps = false;
    rt->sysmon_bell.ring();
  }
  return true;
}

p* pidleget(sched_t* rt) {
  p* pp = rt->pidle;
  if (pp == nullptr) return nullptr;
  for (std::uint32_t k = settled_here(site::idle_p, rt->npidle.load(relaxed)); k != 0; --k) pp = pp->idle_next;
  pidletake(rt, pp);
  return pp;
}

// For somebody who has found work that a P is needed for. None: the next M that would drop its P spins instead.
p* pidleget_spinning(sched_t* rt) {
  p* pp = pidleget(rt);
  if (pp == nullptr) rt->needspinning.store(1, relaxed);
  return pp;
}

void wakep(sched_t* rt) {
  // An M that waits for its locked goroutine needs no new thread: no_thread_for finds that one.
  p* pp = claim_idle_p(spin(rt), rt->lock,
                       [rt] { return no_thread_now(rt) && rt->nmidlelocked == 0 ? nullptr : pidleget(rt); });
  if (pp != nullptr) startm(rt, pp, true);
}

// A spinner has found work: it starts a successor, because it no longer looks for what may come next.
void resetspinning(m* mp) {
  mp->set_spinning(false);
  end_spinning(spin(mp->rt));
  wakep(mp->rt);
}

// Under sched.lock. The limit of threads is the program's own doing, and the end of it; but not where taking Ps back has used
// them up. Then the goroutines wait until one of those threads is back, as they would if no P had been taken. One that is back and waits
// for a P can have this one at once (no_thread_for).
bool no_room_for_m(sched_t* rt) {
  const std::uint32_t used = rt->ntaken + rt->nback.load(relaxed) + rt->nhanding.load(relaxed);
  if (rt->nm < rt->max_threads || used == 0) return false;
  rt->no_thread_until = os::now() + no_room_pause_ns;
  rt->no_thread_err = 0;
  warn_no_room(rt);
  return true;
}

void warn_no_room(sched_t* rt) {
  if (rt->warned_no_room) return;
  rt->warned_no_room = true;
  line{}
      .text("weft: all ")
      .number(rt->max_threads)
      .text(" threads (max_threads) are in use: goroutines that block or spin keep their Ps until one is free\n")
      .flush_sig();
}

// Under sched.lock. An M is idle, or can be made.
bool may_hand_over(sched_t* rt) {
  if (rt->midle != nullptr) return true;
  if (rt->nm >= rt->max_threads) {
    warn_no_room(rt);
    return false;
  }
  return !no_thread_now(rt);
}

void startm(sched_t* rt, p* pp, bool spinning) {
  if (spinning && !pp->q.empty()) fatal("sched: a spinning M would get a P with work");
  rt->lock.lock();
  if ((rt->attention.load(relaxed) & attention_done) != 0) {
    // From a waker outside, whose goroutine has run and was the last. Nothing is started any more, by nobody.
    rt->lock.unlock();
    if (spinning) end_spinning(spin(rt));
    return;
  }
  if (m* idle = midleget(rt)) {
    rt->lock.unlock();
    give(idle, pp, spinning);
    return;
  }
  if (no_thread_now(rt)) {
    rt->lock.unlock();
    no_thread_for(rt, pp, spinning, 0);
    return;
  }
  if (no_room_for_m(rt)) {
    rt->lock.unlock();
    no_thread_for(rt, pp, spinning, 0);
    return;
  }
  m* mp = allocm(rt);
  if (mp != nullptr) {
    mp->nextp = pp;
    if (spinning) mp->set_spinning(true);
    if (rt->has_sysmon && !is_template(rt)) {
      mp->schedlink = rt->to_start;
      rt->to_start = mp;
      rt->lock.unlock();
      rt->sysmon_bell.ring();
      return;
    }
  }
  rt->lock.unlock();
  const int err = mp != nullptr ? newm(mp) : 12;
  if (err != 0) no_thread_for(rt, pp, spinning, err);
}

// By sysmon.
void start_waiting_ms(sched_t* rt) {
  for (;;) {
    m* mp = nullptr;
    p* pp = nullptr;
    bool spinning = false;
    {
      mutex_guard guard(rt->lock);
      mp = rt->to_start;
      if (mp == nullptr) return;
      rt->to_start = mp->schedlink;
      pp = mp->nextp;
      spinning = mp->spinning;
    }
    if (const int err = newm(mp)) no_thread_for(rt, pp, spinning, err);
  }
}

// The caller had the P and cannot run goroutines any more. An M is started for it whenever find_runnable would
// find something.
//
// `last_looks`: if this P is the last that could look for work, an M is started that does. Whoever submits work finds the
// P idle or sets needspinning, so nothing is lost without (test/spin/dance.pml, NO_LAST_HANDOFF); it is for an M that
// goes out for longer than to let another in.
void handoffp(p* pp, bool last_looks) {
  sched_t* rt = pp->rt;
  if ((rt->attention.load(relaxed) & attention_stop) != 0) [[unlikely]] {
    mutex_guard guard(rt->lock);
    if ((rt->attention.load(relaxed) & attention_stop) != 0) {  // order: stop.begin
      stop_p(rt, pp);                                           // order: stop.count
      return;
    }
  }
  if (!pp->q.empty() || rt->runq_size.load(relaxed) != 0) {
    startm(rt, pp, false);
    return;
  }
  // Nobody looks for work and nobody would: this P is the last that could.
  std::uint32_t none = 0;
  if (last_looks && rt->nmspinning.load(relaxed) + rt->npidle.load(relaxed) == 0 &&
      rt->nmspinning.compare_exchange_strong(none, 1, seq_cst, relaxed)) {
    rt->needspinning.store(0, relaxed);
    startm(rt, pp, true);
    return;
  }
  rt->lock.lock();
  if (!rt->runq.empty()) {
    rt->lock.unlock();
    startm(rt, pp, false);
    return;
  }
  // Somebody has work and found no idle P: as in find_runnable, this one is not laid down.
  if (rt->needspinning.load(relaxed) != 0) {
    begin_spinning(spin(rt));
    rt->lock.unlock();
    startm(rt, pp, true);
    return;
  }
  // (The last running P goes on when nobody polls the network.)
  pidleput(rt, pp);
  rt->lock.unlock();
  keep_watch(rt);
}

// Sleeps until somebody gives this M a P, or the runtime ends. An M that nobody has needed for long ends, but for m0,
// whose thread is run's caller. False: this one does.
static bool rest(m* mp) {
  sched_t* rt = mp->rt;
  if (mp->callers || rt->rest_ns == 0) {
    mp->park.sleep();
    return true;
  }
  if (mp->park.sleep_for(rt->rest_ns)) return true;
  {
    mutex_guard guard(rt->lock);
    if (mp->listed) {
      midle_remove(rt, mp);
      mp->exiting = true;
      return false;
    }
  }
  // Somebody has just taken it off the list, and is about to wake it.
  mp->park.sleep();
  return true;
}

// Under sched.lock, with mp about to be listed as idle: the time until which it is the one to sleep, or no_timer. It takes the
// place of one that would sleep for longer, and need not wake it.
static std::int64_t begin_watch(sched_t* rt, m* mp) {
  if (rt->npidle.load(relaxed) == 0) return no_timer;
  store_load_barrier();  // order: timers.watch
  const std::int64_t until = next_timer(rt);
  if (until == no_timer || (rt->watch != nullptr && rt->watch_until.load(relaxed) <= until)) return no_timer;
  rt->watch = mp;
  rt->watch_until.store(until, relaxed);
  return until;
}

enum class watched_until : std::uint8_t {
  woken,     // before its time
  its_time,  // off the idle list, with a P
  replaced,  // another watches; it is idle still
};

// As rest, for the one that watches.
static watched_until rest_until(m* mp, std::int64_t until) {
  sched_t* rt = mp->rt;
  for (;;) {
    const std::int64_t left = until - os::now();
    if (left > 0 && mp->park.sleep_for(left)) return watched_until::woken;
    {
      mutex_guard guard(rt->lock);
      if (mp->listed) {
        if (rt->watch != mp) return watched_until::replaced;
        // It has ceased to watch before it looks again: who has armed a timer since may still have trusted it. There may be none
        // any more, or no idle P, so that each looks after its own: then it is idle as all others are.
        stand_down(rt, mp);
        until = begin_watch(rt, mp);
        if (until == no_timer) return watched_until::replaced;
        if (until > os::now()) continue;
        midle_remove(rt, mp);
        acquirep(mp, pidleget(rt));
        return watched_until::its_time;
      }
    }
    // Somebody has just taken it off the list, and is about to wake it.
    mp->park.sleep();
    return watched_until::woken;
  }
}

bool stopm(m* mp) {
  sched_t* rt = mp->rt;
  if (mp->p != nullptr || mp->spinning) fatal("sched: stopm with a P, or spinning");
  for (;;) {
    std::int64_t until = no_timer;
    {
      mutex_guard guard(rt->lock);
      if ((rt->attention.load(relaxed) & attention_done) != 0) return false;
      // A P may have been laid down with work in the global queue, or beside work in a ring, for want of an M
      // (no_thread_for, wakep): here is one.
      const bool wanted = !rt->runq.empty() || rt->needspinning.load(relaxed) != 0;
      if (p* pp = wanted ? pidleget(rt) : nullptr) {
        acquirep(mp, pp);
        return false;
      }
      until = begin_watch(rt, mp);
      mp->schedlink = rt->midle;
      rt->midle = mp;
      ++rt->nmidle;
      mp->set_listed(true);
      if constexpr (checked) world::check_at_rest(rt);
    }
    mp->blocked = true;
    noise(noise_at::m_listed);
    const watched_until how = until == no_timer ? watched_until::replaced : rest_until(mp, until);
    if (how == watched_until::replaced && !rest(mp)) return false;
    refresh_coarse_now();  // sysmon may have slept as long as this M: waits that begin now began now
    mp->park.clear();
    mp->blocked = false;
    if (how == watched_until::its_time) return true;
    if (p* pp = mp->nextp) {
      mp->nextp = nullptr;
      acquirep(mp, pp);
      // It has watched, perhaps, and calls nobody in its place. Without an idle P nobody need watch; who lays one down next looks.
      // With one: if it was called to look around, it lies down again and watches, or finds something and wakes a successor
      // (resetspinning), of whom the same holds. If it got work to run (handoffp): whatever waits in a queue beside an idle P has
      // a spinner in being (sched/spinning.hpp), of whom the same holds. start_world asks for itself.
      return false;
    }
    // Woken to look at the timers, or at the end.
  }
}

// The P goes to the M that gp is bound to. `inherits`: gp was runnext, and goes on with the slice.
static void hand_over(m* mp, g* gp, bool inherits) {
  sched_t* rt = mp->rt;
  m* other = gp->tied;
  if (other == mp) fatal("sched: a goroutine is tied to the M that dequeued it");
  {
    mutex_guard guard(rt->lock);
    no_longer_idle(rt, other);
  }
  other->inherits = inherits;
  give(other, releasep(mp), false);
}

// By whoever makes gp runnable, with sched.lock free. An M woken to look for work could only hand its P over.
bool start_bound(sched_t* rt, g* gp) {
  if (rt->npidle.load(relaxed) == 0) return false;
  m* other = gp->tied;
  p* pp = nullptr;
  {
    mutex_guard guard(rt->lock);
    pp = pidleget(rt);
    if (pp == nullptr) return false;
    no_longer_idle(rt, other);
  }
  give(other, pp, false);
  return true;
}

void startlockedm(m* mp, g* gp) {
  hand_over(mp, gp, false);
  stopm(mp);
}

// mp's goroutine is locked to it and cannot go on. The P goes to whoever runs what comes next: at once to that one's own
// thread, if it is locked too, which saves the M in between that Go wakes.
bool stoplockedm(m* mp) {
  sched_t* rt = mp->rt;
  if (mp->spinning) fatal("sched: a locked M spins", mp->id);
  if (p* pp = mp->p) {
    bool inherit = false;
    g* next = mp->picked;
    mp->picked = nullptr;
    if (next == nullptr) next = runqget(pp, inherit);
    // A stopper would wait for an M that runs nobody but its own: it does not come by find_runnable.
    const bool stops = (rt->attention.load(relaxed) & attention_stop) != 0;
    // So would others: those who are back from outside, the global queue at its tick, timers when a slice begins.
    const bool others = (rt->attention.load(relaxed) & attention_back) != 0 ||
                        (pp->tick_mod == 0 && rt->runq_size.load(relaxed) != 0) ||
                        (!inherit && pp->timers->min_when() != no_timer && pp->timers->min_when() <= os::now());
    if (next == mp->lockedg && !stops && !others) return inherit;
    {
      mutex_guard guard(rt->lock);
      mp->idle_locked = true;
      ++rt->nmidlelocked;
    }
    if (next != nullptr && (next->flags & g_bound) != 0 && !stops && !others) {
      hand_over(mp, next, inherit);
    } else {
      if (next != nullptr) runqput(pp, next, true);
      if (!inherit) {  // it was the ring's turn, and must be when the P is taken up
        pp->hops = 0;
        pp->slice_over.store(false, relaxed);
      }
      handoffp(releasep(mp), false);
    }
  }
  mp->blocked = true;
  noise(noise_at::m_locked);
  mp->park.sleep(rt->spin_ns != 0 ? sizes::handover_pauses : 0);
  mp->park.clear();
  mp->blocked = false;
  // Whoever gave it the P was here before it was counted: its goroutine can be found as soon as it has left it.
  if (mp->idle_locked) {
    mutex_guard guard(rt->lock);
    no_longer_idle(rt, mp);
  }
  p* pp = mp->nextp;
  mp->nextp = nullptr;
  acquirep(mp, pp);
  return std::exchange(mp->inherits, false);
}

}  // namespace weft::rt
