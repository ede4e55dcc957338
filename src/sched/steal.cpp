// steal_work: half of somebody's ring. Four passes over all Ps, each in an order of its own, so that thieves
// do not queue up behind one victim; only the last pass may take runnext, because a running victim is about to run it
// itself and in its own cache.
//
// A runnext is worth taking when it stays. Goroutines that hand something to each other ready each other and park, some ten
// million times a second; whoever takes one of them has its next partner come after it over two caches, and gains nothing,
// because they take turns. So a thief watches runnext for a moment, and takes it if it is still the same. (Go's sleeps for 3 us,
// which the kernel makes 50, and then takes what it finds.) The same holds for a ring with a single goroutine in it. What moves
// is reported to the caller, who sleeps on it.
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

// True: `look` gives something else before so much time is over.
template <class Look, class T>
bool changes(Look look, T seen, std::uint32_t ns) {
  const std::int64_t end = os::now() + ns;
  for (std::uint32_t i = 0; i < sizes::backoff_pauses && os::now() < end; ++i) {
    os::pause();
    if (look() != seen) return true;
  }
  return false;
}

g* steal_from(p* mine, p* victim, bool last_pass, bool& moves) {
  const bool runs = victim->status.get() == p_status::running;
  const auto& q = victim->q;
  if (runs && q.length() == 1) {
    if (!last_pass) return nullptr;
    if (changes([&] { return q.taken(); }, q.taken(), sizes::last_one_backoff_ns)) {
      moves = true;
      return nullptr;
    }
  }
  std::uint32_t stolen = 1;
  g* gp = victim->q.steal_into(mine->q, stolen);
  if (gp == nullptr && last_pass) {
    g* next = q.peek_next();
    if (next == nullptr) return nullptr;
    if (runs && changes([&] { return q.peek_next(); }, next, sizes::runnext_backoff_ns)) {
      moves = true;
    } else {
      gp = victim->q.steal_next(next);
    }
  }
  if (gp != nullptr) bump(mine->steals, stolen);
  return gp;
}

}  // namespace

// A step that is coprime to n visits each of the n Ps exactly once, from any start.
bool steal_step_is_good(std::uint32_t step, std::uint32_t n) { return gcd(step, n) == 1; }

g* steal_work(m* mp, bool& moves) {
  moves = false;
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
      if (g* gp = steal_from(mp->p, victim, last, moves)) return gp;
    }
  }
  return nullptr;
}

}  // namespace weft::rt
