#include "sched/takeback.hpp"

#include <algorithm>
#include <utility>

#include "base/print.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/dispatch.hpp"
#include "sched/retake.hpp"
#include "sched/weight.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t us = 1'000;
constexpr std::int64_t ms = 1'000'000;

constexpr std::int64_t base_slice_ns = 10 * ms;  // Go's forcePreemptNS
constexpr std::int64_t most_by_clock_ns = 64 * ms;
constexpr std::int64_t of_loops_ns = base_slice_ns / 2;  // by the clock, of a crowd that does not come back
constexpr std::uint64_t turn_of_spinners_ns = 10 * ms;
constexpr std::int64_t sleeps_alone_ns = 1 * ms;
constexpr std::int64_t chain_ns = 2 * ms;  // of CPU, the first of which may be charged too much
constexpr std::int64_t hog_is_remembered_ns = 50 * ms;
constexpr std::int64_t time_to_meet_ns = 20 * us;
constexpr std::int64_t count_again_ns = 10 * ms;
constexpr std::int64_t lingers_ns = 3 * base_slice_ns;  // with its P, though nobody waits for that
constexpr std::int64_t second = 1000 * ms;
constexpr std::uint32_t come_back_each_second = 8;  // for each P
// Between two looks: while all Ps are busy; and for as long as sleepers_ns after a P was taken from one that slept.
constexpr std::int64_t busy_ns = 1 * ms;
constexpr std::int64_t among_sleepers_ns = 200 * us;
constexpr std::int64_t sleepers_ns = 100 * ms;

bool due(const p* pp, std::int64_t now) { return pp->timers->min_when() <= now; }

bool somebody_waits(const sched_t* rt, const p* pp, std::int64_t now) {
  return !pp->q.empty() || rt->runq_size.load(relaxed) != 0 || due(pp, now);
}

// Under sched.lock, of a P that nobody holds. What has run before, and what its timers are about to ready, goes before those in
// its ring that have not begun, which are put behind all that wait: they may be more of the same, and each would keep the
// P for as long, before the others come. True: they were moved.
bool make_way(sched_t* rt, p* pp) {
  g* ring[sizes::runq];
  std::uint32_t n = 0;
  std::uint32_t begun = 0;
  while (g* gp = pp->q.take()) {
    begun += gp->stack != nullptr ? 1 : 0;
    ring[n++] = gp;
  }
  const bool all_stay = begun == n || (begun == 0 && pp->timers->min_when() == no_timer);
  for (std::uint32_t i = 0; i < n; ++i) {
    if (all_stay || ring[i]->stack != nullptr) {
      runqput(pp, ring[i], false);
    } else {
      rt->runq.push_back(ring[i]);
    }
  }
  runq_changed(rt);
  return !all_stay;
}

// `seems`: by its CPU time, where the file cannot be read (no /proc, no descriptor to be had).
bool sleeps(std::uint64_t thread, bool seems) {
  const os::sleep_state s = os::thread_sleeps(thread);
  if (s != os::sleep_state::unreadable) return s == os::sleep_state::asleep;
  static constinit atomic<bool> told{false};
  if (!told.exchange(true, relaxed)) {
    line{}
        .text(
            "weft: /proc/self/task cannot be read: goroutines that block are known by the CPU time that they do not "
            "use, after 10 ms\n")
        .flush_sig();
  }
  return seems;
}

}  // namespace

slice slice_of(const crowd_now& those, bool urgent) {
  const double x = 1.0 + static_cast<double>(those.on_cpu) / those.procs;
  const double of_cpu = those.weighs ? 2 : x;  // one out of so many of the kernel's turns is the P's
  double wanted = static_cast<double>(base_slice_ns) * (urgent ? (7 + x) / 8 : x * of_cpu);
  if (those.weighs && !those.come_back) wanted = static_cast<double>(of_loops_ns);
  const double by_clock = std::min(wanted, static_cast<double>(most_by_clock_ns));
  return {static_cast<std::int64_t>(by_clock / of_cpu), x < crowd ? INT64_MAX : static_cast<std::int64_t>(by_clock)};
}

takeback::finding takeback::examine(p* pp, std::int64_t now) {
  p_watch& w = pp->watched;
  m* mp = pp->held_by.load(acquire);  // order: takeback.holder
  if (pp->status.get() != p_status::running || mp == nullptr) {
    w.holder = nullptr;
    return finding::well;
  }
  const std::uint32_t tick = pp->schedtick.load(relaxed);
  const bool fresh = mp != w.holder || tick != w.tick;
  if (fresh) w = {mp, tick, now, -1, -1, w.hog};
  const bool waits = w.waited = somebody_waits(rt_, pp, now);
  // Inside the runtime nobody is asked but those whose slice is over: they may be there at each look, for a loop of calls is
  // outside for a few instructions only, but meet the question at the next.
  const bool inside = mp->in_runtime.load(relaxed) != 0;
  if (inside && !waits) return finding::well;
  const std::uint64_t thread = mp->thread_seen.load(relaxed);
  const std::int64_t cpu = thread != 0 ? os::thread_cpu_time(thread) : -1;
  if (cpu < 0) return finding::well;
  const std::int64_t before = w.cpu_last;
  w.cpu_last = cpu;
  // It began after the last look; what it has used since is charged as if it had run all the time.
  if (w.cpu_begin < 0) w.cpu_begin = cpu - std::min({now - looked_, busy_ns, cpu});
  const std::int64_t used = cpu - w.cpu_begin;
  if (waits && used >= chain_ns) {
    pp->slice_over.store(true, relaxed);
    if (pp->chain_tick.load(relaxed) != tick) w.hog = now;
  }
  const bool hogs = w.hog != 0 && now - w.hog < hog_is_remembered_ns;
  if (hogs != pp->hogs.load(relaxed)) pp->hogs.store(hogs, relaxed);
  if (off_) return finding::well;
  // A first look tells nothing of whether it sleeps, but what the file says; that is asked when others have just been found
  // asleep, or twice in a row.
  const bool still = before < 0 ? hurry_ : cpu - before < (now - looked_) / 4;
  if (still && !inside && sleeps(thread, cpu == before && now - w.since >= base_slice_ns)) {
    return waits || now - w.since >= sleeps_alone_ns ? finding::sleeps : finding::well;
  }
  if (!waits) return finding::well;
  const bool urgent = rt_->npidle.load(relaxed) == 0 && due(pp, now);
  const slice s = slice_of({on_cpu_, procs(rt_), weight_ != 0, come_back_}, urgent);
  if (used >= s.cpu || (used > 0 && now - w.since >= s.by_clock)) return finding::slice_over;
  return before < 0 ? finding::soon : finding::well;
}

// R0 has picked n of them.
void takeback::take(std::uint32_t n) {
  retake round(rt_);
  bool inside = false;
  bool rearranged = false;
  revoker_delays(rt_);
  {
    mutex_guard guard(rt_->lock);
    std::uint32_t free = rt_->nmidle;  // threads, for those that wait
    const bool refused = rt_->no_thread_until != 0 && os::now() < rt_->no_thread_until;
    if (!refused && rt_->nm < rt_->max_threads) free += rt_->max_threads - rt_->nm;
    for (std::uint32_t i = 0; i < n; ++i) {
      const p* pp = suspects_[i];
      m* mp = pp->held_by.load(relaxed);
      if (mp == nullptr || pp->status.get() != p_status::running) continue;
      const bool needs = !pp->q.empty() || !rt_->runq.empty();
      if (needs && free == 0) {
        if (!refused) warn_no_room(rt_);
        continue;
      }
      inside = inside || mp->in_runtime.load(relaxed) != 0;
      if (!round.ask(mp)) continue;
      mp->on_cpu = spins_[i];
      free -= needs ? 1 : 0;
    }
  }
  if (round.empty()) return;
  if (inside) os::sleep_ns(time_to_meet_ns);
  round.barrier();
  p* won[retake::most];
  std::uint32_t k = 0;
  {
    mutex_guard guard(rt_->lock);
    m* from = nullptr;
    while (p* pp = round.decide(&from)) {
      from->taken = true;
      from->cpu_seen = -1;
      from->spun = from->on_cpu;
      unweigh(from);
      rearranged = make_way(rt_, pp) || rearranged;
      // What it does is not waited for; who waits on a CPU for the P's next goroutine is. (Under the lock: it may be back. Not
      // the thread that has called run, which has what it was given.)
      if (from->on_cpu && !from->callers) {
        from->turn = os::thread_turn(from->thread_seen.load(relaxed), turn_of_spinners_ns);
      }
      // It is over with the goroutine that had it. Who is next keeps its place: a timer may be about to put somebody there.
      pp->slice_over.store(false, relaxed);
      pp->hops = 0;
      ++rt_->ntaken;
      won[k++] = pp;
    }
  }
  revoker_delays(rt_);
  rt_->nhanding.fetch_add(1, relaxed);
  for (std::uint32_t i = 0; i < k; ++i) handoffp(won[i]);
  rt_->nhanding.fetch_sub(1, relaxed);
  // Who looked at all queues just then may have seen that ring empty, and have gone to sleep.
  if (rearranged) wakep(rt_);
  if (k != 0) {
    start_waiting_ms(rt_);
    hurry_ = true;
  }
}

// D. Who was taken as a spinner counts until it is seen asleep, others from when they are seen to run: by the file, where what
// they use of a CPU makes it doubtful. One that polls uses some CPU each time, and is no spinner.
void takeback::count_on_cpu(std::int64_t now) {
  if (now - counted_ < count_again_ns) return;
  counted_ = now;
  constexpr std::uint32_t most_asked = 64;  // each time: it is a system call each
  int files = 4;
  m* asked[most_asked];
  std::uint32_t n = 0;
  std::uint32_t at = 0;
  const double crowded = 1.0 + static_cast<double>(on_cpu_) / procs(rt_);
  const bool had_weight = weight_ != 0;
  set_weight(weight_beside(on_cpu_, procs(rt_), weight_));
  on_cpu_ = 0;
  {
    mutex_guard guard(rt_->lock);
    see_who_comes_back(now);
    if (had_weight || weight_ != 0) distribute_weight(now);
    if (rt_->ntaken != 0) {
      for (m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) {
        if (!mp->taken) continue;
        on_cpu_ += mp->on_cpu ? 1 : 0;
        if (at++ >= asked_from_ && n < most_asked) asked[n++] = mp;
      }
    }
  }
  asked_from_ = asked_from_ + n >= at ? 0 : asked_from_ + n;
  // They stay Ms of this runtime: it is this thread that joins those that have ended.
  for (std::uint32_t i = 0; i < n; ++i) {
    m* mp = asked[i];
    const std::uint64_t thread = mp->thread_seen.load(relaxed);
    const std::int64_t cpu = os::thread_cpu_time(thread);
    const std::int64_t before = std::exchange(mp->cpu_seen, cpu);
    const std::int64_t elapsed = now - std::exchange(mp->cpu_seen_at, now);
    if (before < 0) continue;
    // A quarter of what one gets that never waits.
    const bool seems = static_cast<double>(cpu - before) * 4 * crowded >= static_cast<double>(elapsed);
    if (seems != mp->on_cpu && files-- > 0) mp->on_cpu = !sleeps(thread, !seems);
  }
}

// Under sched.lock.
void takeback::see_who_comes_back(std::int64_t now) {
  if (came_since_ != 0 && now - came_since_ < second) return;
  if (came_since_ != 0) {
    const double seconds = static_cast<double>(now - came_since_) / static_cast<double>(second);
    come_back_ = rt_->ncame_back - came_ >= come_back_each_second * procs(rt_) * seconds;
  }
  came_ = rt_->ncame_back;
  came_since_ = now;
}

void takeback::set_weight(int nice) {
  if (nice == weight_ || cannot_weigh_) return;
  const std::uint64_t me = os::thread_id();
  const bool first = weight_ == 0;
  if (nice == 0) {
    if (!os::thread_nice_back(me, weight_, false)) return;  // the next time
  } else if (os::thread_nice(me, weight_, nice, false) != 0) {
    // What is refused to this thread would be refused to all.
    cannot_weigh_ = true;
    os::thread_nice_back(me, weight_, false);
    nice = 0;
  }
  weight_ = nice;
  bool may_bequeath = false;
  if (nice != 0 && first) {
    may_bequeath = os::thread_bequeaths(true) == 0;
    os::thread_bequeaths(false);
  }
  mutex_guard guard(rt_->lock);
  rt_->weight.store(nice, relaxed);
  if (nice != 0 && first) rt_->weighs_callers = may_bequeath;
}

// Under sched.lock.
void takeback::distribute_weight(std::int64_t now) {
  const std::uint32_t np = procs(rt_);
  ++round_;
  for (std::uint32_t i = 0; i < np; ++i) {
    const p& pp = rt_->allp[i];
    if (pp.status.get() != p_status::running) continue;
    m* mp = pp.held_by.load(acquire);  // it can end under the lock only
    const p_watch& w = pp.watched;
    const bool same_slice = w.holder == mp && w.tick == pp.schedtick.load(relaxed);
    if (same_slice && !w.waited && now - w.since >= lingers_ns) {
      unweigh(mp);
    } else {
      mp->weigh_round = round_;
    }
  }
  std::uint32_t next = np;
  for (m* mp = rt_->midle; mp != nullptr && next != 0; mp = mp->schedlink, --next) mp->weigh_round = round_;
  for (m* mp = rt_->allm; mp != nullptr; mp = mp->alllink) {
    if (weight_ == 0 || mp->away || mp->declared.load(relaxed)) {
      unweigh(mp);
    } else if (mp->weigh_round == round_) {
      weigh(mp);
    }
  }
}

void takeback::rest() {
  if (weight_ == 0) return;
  set_weight(0);
  mutex_guard guard(rt_->lock);
  distribute_weight(0);
}

std::int64_t takeback::look(std::int64_t now) {
  count_on_cpu(now);
  std::uint32_t n = 0;
  bool soon = false;
  bool slept = false;
  for (std::uint32_t i = 0, np = procs(rt_); i < np; ++i) {
    p* pp = &rt_->allp[i];
    const finding f = examine(pp, now);
    soon = soon || f == finding::soon;
    if (f == finding::slice_over) pp->slice_over.store(true, relaxed);
    if (f != finding::sleeps && f != finding::slice_over) continue;
    slept = slept || f == finding::sleeps;
    if (n == retake::most) continue;
    spins_[n] = f == finding::slice_over;
    suspects_[n++] = pp;
  }
  looked_ = now;
  hurry_ = false;
  if (n != 0) take(n);
  if (hurry_ && slept) slept_last_ = now;
  took_ = took_ || hurry_;
  const bool all_busy = rt_->npidle.load(relaxed) == 0;
  const bool sleepers = now - slept_last_ < sleepers_ns;
  const std::int64_t most = sleepers ? among_sleepers_ns : all_busy || n != 0 ? busy_ns : longest_ns;
  if (hurry_ || soon) {
    delay_ = shortest_ns;
  } else {
    delay_ = std::min(2 * delay_, most);
  }
  return delay_;
}

}  // namespace weft::rt
