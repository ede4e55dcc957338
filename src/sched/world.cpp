#include "sched/world.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "base/print.hpp"
#include "model/process.hpp"
#include "sched/sched.hpp"
#include "sched/timers.hpp"

namespace weft::rt::world {
namespace {

// A walk over more waiting goroutines than this would hold sched.lock for long, each time the last M falls asleep.
constexpr std::uint64_t most_walked = 4096;

class inspector {
 public:
  inspector(sched_t* rt, others who)
      : rt_(rt), alone_(who == others::none), ended_((rt->attention.load(acquire) & attention_done) != 0) {}

  // In this order because each step relies on what those before it have shown: lists end, Ms are this runtime's.
  const char* run() {
    for (const step s : {&inspector::ms, &inspector::idle_ps, &inspector::ps, &inspector::queues, &inspector::dead_gs,
                         &inspector::stacks, &inspector::timers, &inspector::waiters, &inspector::locks,
                         &inspector::sums, &inspector::dance}) {
      if (const char* broken = (this->*s)()) return broken;
    }
    return nullptr;
  }

 private:
  using step = const char* (inspector::*)();

  // The text, in the runtime itself: it must outlive this, and not be another runtime's.
  const char* broken(const char* what, std::uint64_t found, const char* than, std::uint64_t wanted) {
    line text;
    text.text("world: ").text(what).text(" ").number(found).text(than).number(wanted);
    std::strncpy(rt_->broken, text.c_str(), sizeof rt_->broken - 1);
    return rt_->broken;
  }
  const char* differ(const char* what, std::uint64_t found, std::uint64_t wanted) {
    return found == wanted ? nullptr : broken(what, found, ", not ", wanted);
  }
  // Something about the object of that number.
  const char* wrong(const char* what, std::uint64_t id) {
    line text;
    text.text("world: ").text(what).text(" ").number(id);
    std::strncpy(rt_->broken, text.c_str(), sizeof rt_->broken - 1);
    return rt_->broken;
  }

  // ---- Ms: the idle list, and all of them
  const char* ms() {
    std::uint64_t idle = 0;
    for (const m* mp = rt_->midle; mp != nullptr; mp = mp->schedlink) {
      if (++idle > rt_->nmidle) return broken("idle Ms on the list: at least", idle, ", not ", rt_->nmidle);
      if (!mp->listed) return wrong("on the idle list without its token: M", mp->id);
      if (mp->p != nullptr || mp->curg != nullptr || mp->picked != nullptr)
        return wrong("idle with a P or work: M", mp->id);
      if (mp->nextp != nullptr) return wrong("listed as idle, but somebody gave it a P: M", mp->id);
    }
    if (const char* b = differ("idle Ms on the list:", idle, rt_->nmidle)) return b;
    std::uint64_t all = 0;
    std::uint64_t tokens = 0;
    for (const m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) {
      if (++all > rt_->nm) break;
      if (mp->rt != rt_) return wrong("of another runtime: M", mp->id);
      tokens += mp->listed ? 1 : 0;
      if (mp->spinning) return wrong("spins at rest: M", mp->id);
      if (mp->after != nullptr) return wrong("has left something undone after a switch: M", mp->id);
      if (const p* pp = mp->p; pp != nullptr && pp->m != mp) return wrong("holds a P that is not its own: M", mp->id);
      if (const g* gp = mp->curg; gp != nullptr && gp->m != mp)
        return wrong("runs a goroutine that is not its own: M", mp->id);
      // Inside `blocking`, or back from it and waiting for a P.
      if (mp->curg != nullptr && mp->p == nullptr) {
        const status s = mp->curg->status.get();
        if (s != status::detached && s != status::runnable) return wrong("without a P, with a goroutine: M", mp->id);
        detached_ += s == status::detached ? 1 : 0;
        count_stack(mp->curg, s == status::detached);
      }
      if (mp->curg != nullptr && mp->p != nullptr) {
        ++running_;
        count_stack(mp->curg, true);
      }
    }
    if (const char* b = differ("Ms in all:", all, rt_->nm)) return b;
    if (const char* b = differ("Ms that think they are listed:", tokens, rt_->nmidle)) return b;
    // An M that waits for its locked goroutine is counted before it hands its P off, and may still be calling somebody to watch
    // the timers (handoffp, keep_watch), with a claim to a spinner.
    if (rt_->nmidlelocked != 0) return nullptr;
    return differ("nmspinning at rest:", rt_->nmspinning.load(relaxed), 0);
  }

  // ---- Ps
  const char* idle_ps() {
    const std::uint32_t npidle = rt_->npidle.load(relaxed);
    std::uint64_t n = 0;
    const p* before = nullptr;
    for (const p* pp = rt_->pidle; pp != nullptr; before = pp, pp = pp->idle_next) {
      if (++n > npidle) return broken("idle Ps on the list: at least", n, ", not ", npidle);
      if (!pp->listed) return wrong("on the idle list without its token: P", pp->id);
      if (pp->idle_prev != before) return wrong("the idle list is torn at P", pp->id);
      if (!pp->q.empty()) return wrong("idle with work: P", pp->id);
    }
    return differ("idle Ps on the list:", n, npidle);
  }

  const char* ps() {
    std::uint64_t tokens = 0;
    for (std::uint32_t i = 0; i < rt_->nallp.load(relaxed); ++i) {
      const p& pp = rt_->allp[i];
      if ((pp.status.get() == p_status::dead) != (i >= procs(rt_)))
        return wrong("dead and counted, or the other way round: P", i);
      if (i >= procs(rt_)) {
        if (pp.m != nullptr || pp.listed || !pp.q.empty() || pp.ngfree != 0) return wrong("dead and in use: P", i);
        continue;
      }
      tokens += pp.listed ? 1 : 0;
      const bool held = pp.m != nullptr;
      if (held && pp.listed) return wrong("idle and held: P", i);
      if (held != (pp.status.get() == p_status::running)) return wrong("its status is not what its holder says: P", i);
      if (pp.q.owner() != pp.m) return wrong("its run queue has another owner: P", i);
      if (held && pp.m->p != &pp) return wrong("its M holds another: P", i);
      // On its way to an M, or laid down at home.
      if (!held && !pp.listed && !ended_ && !on_its_way(&pp))
        return wrong("neither held nor idle nor given to an M: P", i);
    }
    return differ("Ps that think they are idle:", tokens, rt_->npidle.load(relaxed));
  }

  bool on_its_way(const p* pp) const {
    for (const m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) {
      if (mp->nextp == pp) return true;
    }
    return false;
  }

  // ---- runnable goroutines
  const char* queues() {
    const char* bad = nullptr;
    auto look = [&](const g* gp) {
      if (bad != nullptr) return;
      ++queued_;
      count_stack(gp, gp != nullptr);
      if (gp == nullptr) {
        bad = wrong("an empty place among the runnable goroutines: number", queued_);
      } else if (gp->status.get() != status::runnable) {
        bad = wrong("queued and not runnable: goroutine", gp->goid);
      } else if (gp->rt != rt_) {
        bad = wrong("queued in another runtime than its own: goroutine", gp->goid);
      } else if ((gp->flags & g_tied) == 0 ? gp->m != nullptr : gp->m != gp->tied) {
        bad = wrong("queued while an M runs it: goroutine", gp->goid);
      }
    };
    for (std::uint32_t i = 0; i < procs(rt_); ++i) {
      if (!rt_->allp[i].q.for_each_at_rest(look)) return wrong("more in its ring than fits: P", i);
      if (bad != nullptr) return bad;
    }
    const std::uint64_t local = queued_;
    rt_->runq.for_each(look);
    if (bad != nullptr) return bad;
    if (const char* b = differ("goroutines in the blocks of the global queue:", queued_ - local, rt_->runq.size()))
      return b;
    return differ("runq_size:", rt_->runq_size.load(relaxed), rt_->runq.size());
  }

  // ---- dead gs
  const char* dead_gs() {
    const char* bad = nullptr;
    auto look = [&](const g* gp) {
      if (bad != nullptr) return;
      if (gp == nullptr) {
        bad = wrong("an empty place among the dead gs of runtime", 0);
        return;
      }
      const status s = gp->status.get();
      if ((s != status::dead && s != status::idle) || gp->stack != nullptr || gp->m != nullptr) {
        bad = wrong("free and in use: g of goroutine", gp->goid);
      } else if (gp->rt != rt_) {
        bad = wrong("in the cache of another runtime: g of goroutine", gp->goid);
      }
    };
    for (std::uint32_t i = 0; i < procs(rt_); ++i) {
      const p& pp = rt_->allp[i];
      if (pp.ngfree > sizes::gfree_high)
        return broken("dead gs in the cache of a P:", pp.ngfree, ", above ", sizes::gfree_high);
      for (std::uint32_t k = 0; k < pp.ngfree; ++k) look(pp.gfree[k]);
      if (bad != nullptr) return bad;
    }
    // Not under its lock: at rest nobody else has it, and sched.lock is never held with it.
    std::uint64_t n = 0;
    rt_->gfree.for_each([&](const g* gp) {
      ++n;
      look(gp);
    });
    if (bad != nullptr) return bad;
    return differ("dead gs that the Ps share:", n, rt_->ngfree.load(relaxed));
  }

  // ---- stacks in the caches
  const char* stacks() {
    for (std::uint32_t i = 0; i < procs(rt_); ++i) {
      const p& pp = rt_->allp[i];
      for (int c = 0; c <= stack_classes; ++c) {
        std::uint64_t n = 0;
        for (const stack* st = pp.stacks[c]; st != nullptr; st = st->next) {
          if (++n > pp.nstacks[c]) break;
          if (st->owner != nullptr) return wrong("a cached stack has an owner: P", i);
          if (st->size_class != c) return wrong("a cached stack is of another class: P", i);
        }
        if (const char* b = differ("stacks in the cache of a P:", n, pp.nstacks[c])) return b;
        stacks_ += n;
      }
    }
    return nullptr;
  }

  // ---- timers: each heap in order, and somebody sleeps until the first of all
  const char* timers() {
    std::int64_t first = no_timer;
    for (std::uint32_t i = 0; i < rt_->nallp.load(relaxed); ++i) {
      p_timers& heap = *rt_->allp[i].timers;
      if (const char* bad = heap.broken()) {
        line text;
        text.text("timers of P: ").text(bad).text(": P");
        return wrong(text.c_str(), i);
      }
      if (i >= procs(rt_) && heap.min_when() != no_timer) return wrong("dead and with timers: P", i);
      first = std::min(first, heap.min_when());
    }
    const m* watch = rt_->watch;
    if ((watch != nullptr) != (rt_->watch_until.load(relaxed) != 0)) return wrong("watched by half: timers of P", 0);
    if (watch != nullptr && !watch->listed) return wrong("watches, and is not idle: M", watch->id);
    // Nobody is on his way to look, or to tell somebody: one sleeps until the first timer at the latest.
    const bool all_asleep = rt_->nmidle + rt_->nmidlelocked == rt_->nm && rt_->npidle.load(relaxed) == procs(rt_);
    if (ended_ || !all_asleep || rt_->nmidle == 0 || first == no_timer) return nullptr;
    if (watch == nullptr)
      return broken("all asleep, and nobody watches timers: the first is due at", static_cast<std::uint64_t>(first),
                    ", those who watch: ", 0);
    if (rt_->watch_until.load(relaxed) > first) return wrong("sleeps past a timer: M", watch->id);
    return nullptr;
  }

  // ---- waiting goroutines
  const char* waiters() {
    const char* bad = nullptr;
    for (std::uint32_t i = 0; i < sizes::sema_buckets; ++i) {
      sema_bucket& b = the_process.semas.bucket_at(i);
      // Buckets come before sched.lock; one that somebody holds is looked at another time.
      if (!b.lock.try_lock()) {
        all_buckets_ = false;
        continue;
      }
      if (!b.check()) bad = wrong("the semaphore table is not in order: bucket", i);
      if (bad == nullptr) {
        b.for_each([&](const sudog* sg) {
          const g* gp = sg->gp;
          if (gp == nullptr) return;  // enlisted with a condition variable: it runs, and is not yet on its way to park
          if (gp->is_thread() || gp->rt != rt_ || bad != nullptr) return;
          if (sg->kind == wait_kind::acquiring_select) return;  // it is in other queues too: waiters_elsewhere
          ++waiting_;
          count_stack(gp, true);
          // A plain thread that has just queued itself is not this; a goroutine parks before the bucket is free.
          if (gp->status.get() != status::waiting)
            bad = wrong("queued as a waiter and not waiting: goroutine", gp->goid);
          if (bad == nullptr && gp->m != nullptr) bad = wrong("waiting while an M runs it: goroutine", gp->goid);
          if (bad == nullptr && gp->waiting != sg) bad = wrong("waits for something else: goroutine", gp->goid);
        });
      }
      b.lock.unlock();
      if (bad != nullptr) return bad;
    }
    return nullptr;
  }

  // Those that wait in channels, of which there is no list: found among all gs.
  void waiters_elsewhere() {
    the_process.gs.for_each(
        [](void* object, void* arg) {
          auto* self = static_cast<inspector*>(arg);
          const auto* gp = static_cast<const g*>(object);
          if (gp->rt != self->rt_ || gp->is_thread() || gp->status.get() != status::waiting) return;
          if (gp->waiting == nullptr || gp->waiting->kind == wait_kind::sema) return;
          ++self->waiting_;
          self->count_stack(gp, true);
        },
        this);
  }

  const char* sums() {
    std::uint64_t created = rt_->created_outside.load(relaxed);
    std::uint64_t ended = 0;
    for (std::uint32_t i = 0; i < rt_->nallp.load(relaxed); ++i) {
      ended += rt_->allp[i].ended.load(acquire);
      created += rt_->allp[i].created.load(acquire);
    }
    if (ended > created) return broken("goroutines ended:", ended, ", of ", created);
    const std::uint64_t alive = created - ended;
    if (alone_ && all_buckets_ && queued_ + running_ + waiting_ + detached_ < alive) waiters_elsewhere();
    const std::uint64_t seen = queued_ + running_ + waiting_ + detached_;
    if (ended_ && alive != 0) return broken("goroutines alive after the end:", alive, ", not ", 0);
    if (seen > alive) return broken("goroutines found:", seen, ", more than are alive: ", alive);
    if (!alone_ || !all_buckets_) return nullptr;
    if (const char* b = differ("goroutines found in a queue, on an M or waiting:", seen, alive)) return b;
    // The arenas are the process's.
    if (the_process.runtimes.load(relaxed) > 1) return nullptr;
    return differ("stacks of goroutines and in caches:", stacks_, the_process.stacks.slots_in_use());
  }

  // ---- goroutines and their threads
  const char* locks() {
    std::uint64_t waiting = 0;
    for (const m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) {
      waiting += mp->idle_locked ? 1 : 0;
      const g* gp = mp->lockedg;
      if (gp == nullptr) continue;
      if ((gp->flags & g_locked) == 0 || gp->tied != mp)
        return wrong("locked to a goroutine that is not locked to it: M", mp->id);
      if (gp->m != nullptr && gp->m != mp) return wrong("its locked goroutine runs elsewhere: M", mp->id);
    }
    return differ("Ms that wait for their locked goroutine:", waiting, rt_->nmidlelocked);
  }

  // Everybody sleeps: nothing runnable may be left, and an M that would help is not asked for in vain.
  const char* dance() {
    const std::uint32_t need = rt_->needspinning.load(relaxed);
    if (need > 1) return broken("needspinning:", need, ", not 0 or ", 1);
    if (rt_->pidle != nullptr && rt_->nmidle + rt_->nmidlelocked == rt_->nm && queued_ != 0) {
      return broken("goroutines runnable beside idle Ps, and all Ms asleep:", queued_, ", not ", 0);
    }
    return nullptr;
  }

  void count_stack(const g* gp, bool counts) {
    if (!counts) return;
    for (const stack* st = gp->stack; st != nullptr; st = st->outer) ++stacks_;
  }

  sched_t* rt_;
  bool alone_;
  bool ended_;  // every M has gone home: Ps lie where they were dropped
  bool all_buckets_ = true;
  std::uint64_t queued_ = 0, running_ = 0, waiting_ = 0, detached_ = 0, stacks_ = 0;
};

// Somebody outside may be between waking one of ours and queueing it: then nothing is at rest.
bool disturbed(const sched_t* rt) { return rt->foreign.load(acquire) != 0; }

}  // namespace

const char* check(sched_t* rt, others who) { return inspector(rt, who).run(); }

void check_at_rest(sched_t* rt) {
  if (rt->nmidle + rt->nmidlelocked != rt->nm || rt->npidle.load(relaxed) != procs(rt) || disturbed(rt)) return;
  if (goroutines_alive(rt) > most_walked) return;
  const char* broken = check(rt);
  // A foreign waker raises its count before it changes the waiter's status, and cannot lower it again without
  // sched.lock, which is ours: what we have seen of its doing comes with its count.
  if (broken != nullptr && !disturbed(rt)) fatal(broken);
}

void check_at_end(sched_t* rt) {
  if (const char* broken = check(rt)) fatal(broken);
}

}  // namespace weft::rt::world
