// find_runnable: the sources of work in their order (GO-BEHAVIOUR A9), one step after the other; then the
// long way down to sleep. The order is the content.
#include <algorithm>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "os/sys.hpp"
#include "sched/dispatch.hpp"
#include "sched/exploration.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/timers.hpp"

namespace weft::rt {
namespace {

bool ended(sched_t* rt) { return (rt->attention.load(acquire) & attention_done) != 0; }

g* globrunqget_one(sched_t* rt) {
  mutex_guard guard(rt->lock);
  g* gp = rt->runq.pop_front();
  runq_changed(rt);
  return gp;
}

g* get_returning(sched_t* rt) {
  mutex_guard guard(rt->lock);
  g* gp = rt->runq.pop_returning();
  runq_changed(rt);
  return gp;
}

g* globrunqget_locked(m* mp) {
  mutex_guard guard(mp->rt->lock);
  return globrunqget_batch(mp);
}

void become_spinning(m* mp) {
  mp->set_spinning(true);
  begin_spinning(spin(mp->rt));
}

enum class sight : std::uint8_t { nothing, work, switches };

std::uint32_t slices_begun(const sched_t* rt) {
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < procs(rt); ++i) n += rt->allp[i].schedtick.load(relaxed);
  return n;
}

// Looks around until `end`, because work often comes within microseconds and a futex costs several of them on both
// sides (LIMITS 8). Goroutines that take turns are not always to be seen in their P's queue; but slices begin there at a rate
// of more than one in a microsecond.
sight look_around(m* mp, std::int64_t end) {
  const sched_t* rt = mp->rt;
  const std::uint32_t before = slices_begun(rt);
  for (std::uint32_t round = 1; round <= sizes::spin_rounds; ++round) {
    for (std::uint32_t i = 0; i < sizes::mutex_pauses; ++i) os::pause();
    if (work_visible(mp)) return sight::work;
    if (slices_begun(rt) - before >= 2 * round) return sight::switches;
    if (os::now() >= end) break;
  }
  return sight::nothing;
}

// Steals, and looks around. With one P nobody else can produce any work.
//
// Where all that is to be seen are queues that move (sched/steal.cpp), this M looks less often, and sleeps in between. It goes
// on being the one that spins, or each of those wake-ups would call another. What comes new into a ring meanwhile may wait for as
// long as it sleeps; its own P, which runs something else every few hundred nanoseconds, will mostly be there first.
g* spin_for_work(m* mp) {
  sched_t* rt = mp->rt;
  bool moves;
  if (g* gp = steal_work(mp, moves)) return gp;
  if (rt->spin_ns == 0 || procs(rt) == 1) return nullptr;
  // All others are idle, and this P has a timer: what comes next is that, as a rule.
  const std::int64_t next = mp->p->timers->min_when();
  if (next != no_timer && !moves && rt->npidle.load(relaxed) + 1 == procs(rt)) return nullptr;
  std::int64_t now = os::now();
  std::int64_t end = std::min(now + rt->spin_ns, next);
  std::int64_t doze = sizes::doze_ns;
  for (;;) {
    if (next <= now) return nullptr;  // a timer of its own is due
    if (moves) {
      os::sleep_ns(std::min(doze, next - now));
      doze = std::min(2 * doze, std::int64_t{sizes::longest_doze_ns});
      now = os::now();
      end = std::min(now + rt->spin_ns, next);
    } else {
      const sight seen = look_around(mp, end);
      if (seen == sight::nothing) return nullptr;
      now = os::now();
      if (seen == sight::switches) {
        moves = true;
        continue;
      }
    }
    if (g* gp = steal_work(mp, moves)) return gp;
    if (!moves && now >= end) return nullptr;
    if (rt->runq_size.load(relaxed) != 0 || ended(rt) || (rt->attention.load(relaxed) & attention_stop) != 0)
      return nullptr;
  }
}

// The last spinner's second look (sched/spinning.hpp): P3. True: it has a P and spins again.
bool look_again(m* mp) {
  sched_t* rt = mp->rt;
  bool found = false;
  {
    mutex_guard guard(rt->lock);
    found = !rt->runq.empty();
  }
  for (std::uint32_t i = 0; !found && i < procs(rt); ++i) found = !rt->allp[i].q.empty();
  if (!found) return false;
  p* pp = nullptr;
  {
    mutex_guard guard(rt->lock);
    pp = pidleget_spinning(rt);
  }
  if (pp == nullptr) return false;  // needspinning is set: whoever drops a P next looks on
  acquirep(mp, pp);
  become_spinning(mp);
  return true;
}

}  // namespace

// A hint that a look at the queues is worth while.
bool work_visible(m* mp) {
  sched_t* rt = mp->rt;
  if (rt->runq_size.load(relaxed) != 0 || rt->attention.load(relaxed) != 0) return true;
  for (std::uint32_t i = 0; i < procs(rt); ++i) {
    if (&rt->allp[i] != mp->p && !rt->allp[i].q.empty()) return true;
  }
  return false;
}

// Takes the first and moves more into the local ring, which is empty. Under sched.lock.
g* globrunqget_batch(m* mp) {
  sched_t* rt = mp->rt;
  const std::uint32_t size = rt->runq.size();
  if (size == 0) return nullptr;
  std::uint32_t n = size / procs(rt) + 1;
  if (n > size) n = size;
  if (n > sizes::runq / 2) n = sizes::runq / 2;
  n -= mp->choose.settled(site::global_batch, n);
  g* first = rt->runq.pop_front();
  g* rest[sizes::runq / 2];
  rt->runq.pop_front_n(rest, n - 1);
  if (mp->p->q.put_batch(rest, n - 1) != n - 1) fatal("sched: no room for a batch from the global queue");
  runq_changed(rt);
  return first;
}

g* find_runnable(m* mp, bool& inherit) {
  sched_t* rt = mp->rt;
  for (;;) {
    inherit = false;
    if (rt->attention.load(acquire) != 0) [[unlikely]] {
      if (rt->explore != nullptr) return rt->explore->next(rt->explore, mp);
      if (ended(rt)) {
        if (mp->spinning) {
          mp->set_spinning(false);
          end_spinning(spin(rt));
        }
        return nullptr;
      }
      if ((rt->attention.load(relaxed) & attention_stop) != 0 && stop_here(mp)) {
        const bool due = stopm(mp);
        if (mp->exiting) return nullptr;
        if (due) fire_all_due(mp);
        continue;
      }
    }
    if (mp->p == nullptr) fatal("sched: find_runnable without a P");

    if (g* gp = mp->picked) {
      mp->picked = nullptr;
      return gp;
    }

    // The timers of this P that are due run first. Those that an M was sent here for (timers_at_tick) may be gone: then it is
    // to go by the short paths again.
    if (mp->p->timers->min_when() != no_timer || mp->attention != &rt->attention) [[unlikely]]
      look_at_timers(mp);

    // Every 61st tick the global queue comes first, or two goroutines that ready each other would keep it waiting.
    if (mp->p->tick_mod == 0 && rt->runq_size.load(relaxed) != 0) {
      if (g* gp = globrunqget_one(rt)) return gp;
    }
    // Who is back from outside keeps a thread until it has had its turn (model/gqueue.hpp).
    if ((rt->attention.load(relaxed) & attention_back) != 0) [[unlikely]] {
      if (++mp->p->theirs <= sizes::turns_of_returners) {
        if (g* gp = get_returning(rt)) return gp;
      }
      mp->p->theirs = 0;
    }

    if (g* gp = runqget(mp->p, inherit)) return gp;
    if (rt->runq_size.load(relaxed) != 0) {
      if (g* gp = globrunqget_locked(mp)) return gp;
    }

    // (A look at the netpoller without blocking comes here.)

    // Not more spinners than half of the busy Ps: more would burn CPU for little parallelism.
    const std::uint32_t busy = procs(rt) - rt->npidle.load(relaxed);
    if (mp->spinning || (2 * rt->nmspinning.load(relaxed) < busy && mp->choose.settled(site::spin, 2) == 0)) {
      if (!mp->spinning) become_spinning(mp);
      if (g* gp = spin_for_work(mp)) return gp;
      if (rt->attention.load(relaxed) != 0 && ended(rt)) continue;
    }

    // Nothing anywhere: the P is given up, under the lock that guards the global queue and needspinning.
    rt->lock.lock();
    if ((rt->attention.load(relaxed) & (attention_main_returned | attention_main_exited | attention_done)) != 0)
        [[unlikely]] {
      rt->lock.unlock();
      if (ended(rt) || end_if_last(rt)) continue;  // order: rt.last
      rt->lock.lock();
    }
    if (g* gp = globrunqget_batch(mp)) {
      rt->lock.unlock();
      return gp;
    }
    if (!mp->spinning && rt->needspinning.load(relaxed) != 0) {
      become_spinning(mp);
      rt->lock.unlock();
      continue;
    }
    pidleput(rt, releasep(mp));
    rt->lock.unlock();
    noise(noise_at::p_laid_down);

    if (mp->spinning) {
      mp->set_spinning(false);
      end_spinning(spin(rt));
      if (look_again(mp)) continue;
    }

    // (One M without work blocks in the netpoller here, until the next timer.)

    const bool due = stopm(mp);  // with a P, or at the end of the runtime, or this M's
    if (mp->exiting) return nullptr;
    if (due) fire_all_due(mp);
  }
}

}  // namespace weft::rt
