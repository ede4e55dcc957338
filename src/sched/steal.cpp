// steal_work: half of somebody's ring. Four passes over all Ps, each in an order of its own, so that thieves
// do not queue up behind one victim; only the last pass may take runnext, and only after a pause, because a
// running victim is about to run it itself and in its own cache.
#include "os/sys.hpp"
#include "sched/dispatch.hpp"
#include "sched/sched.hpp"
#include "sched/timers.hpp"

namespace weft::rt {
namespace {

std::uint32_t gcd(std::uint32_t a, std::uint32_t b) {
  while (b != 0) {
    const std::uint32_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

g* steal_next(p* victim) {
  if (!victim->q.has_next()) return nullptr;
  if (victim->status.get() == p_status::running) {
    const std::int64_t end = os::now() + sizes::runnext_backoff_ns;
    for (std::uint32_t i = 0; i < sizes::runnext_backoff_pauses && os::now() < end; ++i) os::pause();
  }
  return victim->q.steal_next();
}

g* steal_from(p* mine, p* victim, bool take_next) {
  std::uint32_t stolen = 1;
  g* gp = victim->q.steal_into(mine->q, stolen);
  if (gp == nullptr && take_next) gp = steal_next(victim);
  if (gp != nullptr) bump(mine->steals, stolen);
  return gp;
}

}  // namespace

// A step that is coprime to n visits each of the n Ps exactly once, from any start.
bool steal_step_is_good(std::uint32_t step, std::uint32_t n) { return gcd(step, n) == 1; }

g* steal_work(m* mp) {
  sched_t* rt = mp->rt;
  const std::uint32_t n = procs(rt);
  if (n == 1) return nullptr;
  // The clock is read once, and not at all while no other P has timers.
  std::int64_t at_now = 0;
  const auto due = [&](const p* victim) {
    const std::int64_t first = victim->timers->min_when();
    if (first == no_timer) return false;
    if (at_now == 0) at_now = os::now();
    return first <= at_now;
  };
  for (std::uint32_t pass = 0; pass < sizes::steal_passes; ++pass) {
    const bool last = pass == sizes::steal_passes - 1;
    std::uint32_t at = mp->choose(site::steal_start, n);
    std::uint32_t step = mp->choose(site::steal_step, n - 1) + 1;
    while (!steal_step_is_good(step, n)) step = step == n - 1 ? 1 : step + 1;
    for (std::uint32_t i = 0; i < n; ++i, at = (at + step) % n) {
      p* victim = &rt->allp[at];
      if (victim == mp->p) continue;
      if (last && due(victim) && fire_due(mp, *victim->timers, at_now) != 0 && !mp->p->q.empty()) {
        bool inherit = false;
        if (g* gp = runqget(mp->p, inherit)) return gp;
      }
      if (victim->status.get() == p_status::idle && victim->q.empty()) continue;
      if (g* gp = steal_from(mp->p, victim, last)) return gp;
    }
  }
  return nullptr;
}

}  // namespace weft::rt
