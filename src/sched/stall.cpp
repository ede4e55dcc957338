// stall: a thread without a P that looks for goroutines which make no call of the runtime (knob `stall`), and reports each such
// stretch once, through the wires.
//
// Who    one thread for each runtime, and only when the knob is set.
// How    each call goes by the slow path then and is counted (m.calls, takes_slow_path). A goroutine is in the same stretch as
//        long as its M is outside and the count stands still: no other can come onto the M but by a call of the first. One
//        that has lost its P goes on to be looked at: its M is still on the list.
// When   a quarter of the time asked for, at least each ms, at most each 100 ms: a stretch is reported up to so much later.
// Not    in weft::blocking, which says that it may take long; and a mutex that is free, or the like, is taken without a call.
// Why    not by sysmon: to find names takes up to seconds, in which no P would be taken from anybody.
// Checked by test/death/stall_test.cpp.
#include <algorithm>

#include "base/glance.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/sched.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t soonest_ns = 1 * ms;
constexpr std::int64_t latest_ns = 100 * ms;

class stall_watch {
 public:
  explicit stall_watch(sched_t* rt)
      : rt_(rt),
        limit_(static_cast<std::int64_t>(rt->knobs.stall) * ms),
        period_(std::clamp(limit_ / 4, soonest_ns, latest_ns)) {}

  void run() {
    for (;;) {
      const std::uint32_t seen = rt_->stall_bell.read();
      n_ = 0;
      {
        mutex_guard guard(rt_->lock);
        if (rt_->stall_stop) return;
        const std::int64_t now = os::now();
        for (m* mp = rt_->allm; mp != nullptr && n_ < most_stalls; mp = mp->alllink) look(mp, now);
      }
      if (n_ != 0) wires.stalled(found_, n_);
      // The others of many come at once.
      if (n_ < most_stalls) rt_->stall_bell.wait(seen, period_);
    }
  }

 private:
  void look(m* mp, std::int64_t now) {
    // order: enter.leave
    if (mp->in_runtime.load(acquire) != 0 || mp->declared.load(relaxed)) {
      mp->calls_seen = 0;
      return;
    }
    const std::uint32_t calls = mp->calls.load(relaxed);
    if (calls != mp->calls_seen) {
      mp->calls_seen = calls;
      mp->calls_since = now;
      mp->stall_told = false;
    } else if (!mp->stall_told && now - mp->calls_since >= limit_) {
      mp->stall_told = true;
      const g* gp = glance(mp->curg);
      const std::uint64_t goid = gp != nullptr ? glance(gp->goid) : 0;
      // Else it is back just now, and what was read may be another's.
      store_load_barrier();
      if (gp == nullptr || mp->calls.load(relaxed) != calls || mp->in_runtime.load(relaxed) != 0) return;
      found_[n_++] = {mp, calls, mp->thread_seen.load(relaxed), gp, goid, now - mp->calls_since};
    }
  }

  sched_t* rt_;
  std::int64_t limit_;
  std::int64_t period_;
  stall found_[most_stalls];
  std::size_t n_ = 0;
};

void stall_main(void* arg) { stall_watch(static_cast<sched_t*>(arg)).run(); }

}  // namespace

void start_stall_watch(sched_t* rt) {
  if (rt->knobs.stall == 0 || !sizes::watch) return;
  rt->has_stall_watch = true;
  const int err = os::thread_start(&rt->stall_thread, stall_main, rt);
  if (err == 0) return;
  rt->has_stall_watch = false;
  line{}
      .text("weft: no thread to look for stalls (errno ")
      .number(static_cast<std::uint64_t>(err))
      .text("): WEFT_DEBUG=stall has no effect\n")
      .flush_sig();
}

void stop_stall_watch(sched_t* rt) {
  if (!rt->has_stall_watch) return;
  {
    mutex_guard guard(rt->lock);
    rt->stall_stop = true;
  }
  rt->stall_bell.ring();
  os::thread_join(rt->stall_thread);
  mutex_guard guard(rt->lock);
  rt->has_stall_watch = false;
}

}  // namespace weft::rt
