#include "sched/deadlock.hpp"

#include <algorithm>

#include "base/wires.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/timers.hpp"

namespace weft::rt {
namespace {

// Under all locks.
bool at_rest(const sched_t* rt) {
  const std::uint32_t attention = rt->attention.load(relaxed);
  if ((attention & (attention_stop | attention_done)) != 0) return false;
  return rt->nmidle + rt->nmidlelocked == rt->nm && rt->npidle.load(relaxed) == procs(rt) && rt->runq.empty() &&
         rt->foreign.load(acquire) == 0 && rt->freem == nullptr;
}

// What all runtimes together look like at one moment.
struct picture {
  bool at_rest = true;
  std::int64_t timer = no_timer;  // the first one
  bool wanted = false;            // some runtime is to report it
  std::uint64_t goroutines = 0;
  std::uint32_t threads = 0;  // of all runtimes
  bool busy = false;          // a thread apart calls the program's code, and may wake anybody
};

picture look() {
  picture seen;
  const std::uint32_t fired = the_process.outside_fired.load(acquire);  // order: outside.fired
  if (the_process.outside_served.load(acquire)) {
    ++seen.threads;
    seen.timer = the_process.outside_timers.min_when();
    seen.busy = the_process.outside_threads.load(acquire) != 0;  // order: outside.threads
  }
  mutex_guard list(the_process.runtimes_lock);
  for (sched_t* rt = the_process.all_runtimes; rt != nullptr; rt = rt->all_next) rt->lock.lock();
  for (const sched_t* rt = the_process.all_runtimes; rt != nullptr; rt = rt->all_next) {
    const std::uint64_t alive = goroutines_alive(rt);
    seen.at_rest = seen.at_rest && at_rest(rt);
    seen.timer = std::min(seen.timer, next_timer(rt));
    seen.wanted = seen.wanted || (rt->report_deadlock && alive != 0 && rt->main_ended == 0);
    seen.goroutines += alive;
    seen.threads += rt->nm + watchers(rt);
  }
  for (sched_t* rt = the_process.all_runtimes; rt != nullptr; rt = rt->all_next) rt->lock.unlock();
  store_load_barrier();  // order: outside.fired
  seen.at_rest = seen.at_rest && fired % 2 == 0 && the_process.outside_fired.load(relaxed) == fired;
  return seen;
}

}  // namespace

outlook look_for_deadlock(std::int64_t* timer) {
  const picture first = look();
  if (!first.at_rest) return outlook::runs;
  *timer = first.timer;
  if (first.timer != no_timer) return outlook::sleeps;
  const int threads = os::process_threads();
  if (first.busy) return outlook::outside;
  if (!first.wanted || threads < 0 || static_cast<std::uint32_t>(threads) != first.threads) return outlook::outside;
  const picture second = look();
  return second.at_rest && second.timer == no_timer && !second.busy && second.wanted ? outlook::never : outlook::runs;
}

void report_deadlock() {
  wires.deadlock("all goroutines are asleep - deadlock!");
  os::exit_process(2);
}

void list_runtime(sched_t* rt) {
  mutex_guard guard(the_process.runtimes_lock);
  rt->all_next = the_process.all_runtimes;
  the_process.all_runtimes = rt;
  // Membarrier may have been refused since its Ms were made, whose threads have not begun, but for the caller's.
  if (the_process.membarrier.load(relaxed) != 2) return;
  mutex_guard all_ms(rt->lock);
  for (m* mp = rt->allm; mp != nullptr; mp = mp->alllink) {
    mp->revoke.fetch_or(revoke_slow, relaxed);
    mp->calls.store(mp->calls.load(relaxed) | 1, release);  // order: enter.fence
  }
}

void unlist_runtime(sched_t* rt) {
  mutex_guard guard(the_process.runtimes_lock);
  sched_t** link = &the_process.all_runtimes;
  while (*link != rt) link = &(*link)->all_next;
  *link = rt->all_next;
}

}  // namespace weft::rt
