// sysmon: a thread without a P that watches (GO-BEHAVIOUR A14). It is as the runtime found the world when it began, so it
// also starts the threads that a goroutine's own thread, or one that is not ours, must not clone (Go's template thread).
//
// What   each round: starts the Ms that wait for a thread, joins those that have ended, tells the coarse clock the time;
//        asks again for a thread that was refused while there is work for it;
//        takes Ps from goroutines that do not come back (sched/takeback.hpp);
//        and when it is due: a line of schedtrace, a look at how many CPUs there are, at who is awaited after main's end, at
//        whether anybody will ever run again.
// When   after 20 us, then ever later, up to 1 ms while all Ps are busy, and 10 ms while one is idle, which can be had by
//        whoever has work; deep asleep when all are idle, until the first is taken up again (pidletake rings), or somebody
//        rings for work of the kinds above. An idle process wakes nobody. From a sleep of 10 ms it is rung when the last idle P is
//        taken, but not for ever in vain: a P that is busy for some microseconds a thousand times a second would cost as
//        much again for each.
// Without it (the system refuses the thread) all goes on, but for what it would have done; one line says so.
#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/cancel.hpp"
#include "sched/countdown.hpp"
#include "sched/deadlock.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/takeback.hpp"
#include "sched/timers.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t never = INT64_MAX;
constexpr std::int64_t round_ns = 10 * ms;
constexpr std::uint32_t rounds_awake = 5;  // after the last P went idle
constexpr std::uint32_t most_rings = 16;   // in vain, from sleeps of 10 ms; then one such sleep in two is rung
constexpr std::int64_t soon_ns = 1 * ms;
constexpr std::uint64_t turn_ns = 100'000;      // it does little, and is waited for
constexpr std::int64_t join_again_ns = 1 * ms;  // a thread that has said goodbye is about to be gone
constexpr std::int64_t procs_period_ns = 1000 * ms;
constexpr std::int64_t seldom_ns = 60'000 * ms;
constexpr std::int64_t awaited_after_ns = 1000 * ms;
constexpr std::int64_t hopeless_after_ns = 3000 * ms;

class watch {
 public:
  explicit watch(sched_t* rt)
      : rt_(rt), takeback_(rt), trace_due_(rt->start_time), procs_due_(rt->start_time + procs_period_ns) {}

  void run() {
    os::timer_slack(1);
    os::thread_turn(os::thread_id(), turn_ns);  // not of those whom it starts
    for (;;) {
      const std::uint32_t seen = rt_->sysmon_bell.read();
      start_waiting_ms(rt_);
      const bool joined = reap_ms(rt_);
      now_ = refresh_coarse_now();
      wake_at_ = never;
      if (!joined) until(now_ + join_again_ns);
      schedtrace();
      follow_procs();
      await_goroutines();
      if (!look_at_ps()) break;
      const std::int64_t left = wake_at_ == never ? -1 : std::max<std::int64_t>(wake_at_ - os::now(), 0);
      if (left != 0) rt_->sysmon_bell.wait(seen, left);
    }
    takeback_.rest();
  }

 private:
  void until(std::int64_t when) { wake_at_ = std::min(wake_at_, when); }

  void schedtrace() {
    const auto period = static_cast<std::int64_t>(rt_->knobs.schedtrace) * ms;
    if (period == 0) return;
    if (now_ >= trace_due_) {
      print_schedtrace(rt_);
      trace_due_ = std::max(trace_due_ + period, now_);
    }
    until(trace_due_);
  }

  // The machine may give and take CPUs while we run (GO-BEHAVIOUR A16). Once a second at most, and not while all is idle.
  void follow_procs() {
    if (now_ < procs_due_) return;
    procs_due_ = now_ + procs_period_ns;
    {
      mutex_guard guard(rt_->lock);
      if (rt_->custom_procs) return;
    }
    const auto n = std::min(static_cast<std::uint32_t>(os::cpu_count()), rt_->procs_room);
    if (n == rt_->procs_limit) return;
    // The runtime must not end meanwhile; if it has, nothing is stopped.
    rt_->foreign.fetch_add(1, seq_cst);  // order: rt.foreign
    if (set_procs(rt_, nullptr, n, false) != 0) rt_->procs_limit = n;
    leave(rt_->foreign);  // order: rt.foreign
  }

  // What main has left to us (boot.cpp, begin_the_end).
  void cancel_them() {
    if ((rt_->attention.load(relaxed) & attention_cancelled) != 0) return;
    rt_->foreign.fetch_add(1, seq_cst);  // order: rt.foreign
    if (!cancel_all(rt_, nullptr, true)) until(now_ + round_ns);
    leave(rt_->foreign);  // order: rt.foreign
  }

  // After main's end: a line after a second; when patience ends, the process does.
  void await_goroutines() {
    std::int64_t ended = 0;
    {
      mutex_guard guard(rt_->lock);
      if ((rt_->attention.load(relaxed) & attention_done) != 0) return;
      ended = rt_->main_ended;
    }
    if (ended == 0) return;
    cancel_them();
    // A round at least: main's own goroutine may still be on its way out, and others have just been told.
    const std::int64_t wait = std::max(rt_->shutdown_timeout, round_ns);
    const std::int64_t patience = ended > never - wait ? never : ended + wait;
    if (now_ >= patience) {
      wires.awaited(rt_, now_ - ended, true);
      if (rt_->embedded) os::abort_process();
      os::exit_process(rt_->main_status);
    }
    until(patience);
    if (told_) return;
    if (now_ >= ended + awaited_after_ns) {
      told_ = true;
      wires.awaited(rt_, now_ - ended, false);
    } else {
      until(ended + awaited_after_ns);
    }
  }

  // False: the end.
  bool look_at_ps() {
    bool idle = false;
    bool left_alone = false;
    {
      mutex_guard guard(rt_->lock);
      if (rt_->sysmon_stop) return false;
      // A thread was refused, and no M may ever come by (all are in blocking calls, or there is none).
      left_alone = !rt_->runq.empty() && rt_->pidle != nullptr && rt_->no_thread_until != 0;
      if (left_alone) rt_->foreign.fetch_add(1, seq_cst);  // order: rt.foreign
      if (!left_alone || !nobody_to_run(rt_)) {
        nobody_since_ = 0;
      } else if (nobody_since_ == 0) {
        nobody_since_ = now_;
      }
      idle = rt_->npidle.load(relaxed) == procs(rt_) && rt_->to_start == nullptr;
      // Rung for: a P was busy, perhaps for some microseconds, and may soon be again, for a timer. To be woken each time
      // would cost as much as what the P did.
      const bool rung = (deep_ && !rt_->sysmon_waits) || (napped_ && !rt_->sysmon_naps);
      if (rung) {
        idle_rounds_ = 0;
        takeback_.wake();
      }
      if (napped_ && rung && rings_ != 0) --rings_;
      napped_ = rt_->sysmon_naps = false;
      deep_ = idle && idle_rounds_ >= rounds_awake;
      rt_->sysmon_waits = deep_;
    }
    if (nobody_since_ != 0 && now_ - nobody_since_ >= hopeless_after_ns) no_thread_at_all(rt_);
    if (left_alone) {
      wakep(rt_);
      leave(rt_->foreign);  // order: rt.foreign
      until(now_ + round_ns);
    }
    if (!idle) {
      if (std::exchange(idle_rounds_, 0) != 0) takeback_.wake();
      deadlock_due_ = 0;
      deadlock_pause_ = round_ns;
      const std::int64_t next = takeback_.look(now_);
      if (takeback_.took()) rings_ = most_rings;
      until(os::now() + next);
      if (next >= round_ns) nap();
      return true;
    }
    if (idle_rounds_ < rounds_awake) {
      if (++idle_rounds_ == rounds_awake) takeback_.rest();
      until(now_ + round_ns);
      nap();
    }
    look_whether_for_ever();
    return true;
  }

  // A sleep of 10 ms while some P is idle: whoever takes the last one rings, if that has not been in vain too often.
  void nap() {
    if (rings_ == 0) {
      rings_ = 1;
      return;
    }
    mutex_guard guard(rt_->lock);
    napped_ = rt_->sysmon_naps = rt_->npidle.load(relaxed) != 0;
    if (!napped_) until(now_ + soon_ns);  // the last one has just been taken
  }

  // Somebody outside may end without having woken anybody, and nobody tells us: looked at again, ever more seldom, after
  // 10 ms, 100 ms, 1 s, 10 s, then each minute. An M of ours that is out tells us when it is back.
  void look_whether_for_ever() {
    if (now_ >= deadlock_due_) {
      std::int64_t timer = never;
      switch (look_for_deadlock(&timer)) {
        case outlook::never: report_deadlock();
        case outlook::sleeps: deadlock_due_ = std::max(now_, std::min(timer, never - round_ns)) + round_ns; break;
        // An M may be on its way to sleep: that takes no second. Most are out; they ring when they take a P.
        case outlook::runs:
          deadlock_due_ = now_ + deadlock_pause_;
          deadlock_pause_ = deadlock_pause_ < 400 * ms ? deadlock_pause_ * 7 : seldom_ns;
          break;
        case outlook::outside:
          deadlock_due_ = now_ + deadlock_pause_;
          deadlock_pause_ = std::min(deadlock_pause_ * 10, seldom_ns);
          break;
      }
    }
    if (rt_->report_deadlock) until(deadlock_due_);
  }

  sched_t* rt_;
  takeback takeback_;
  std::int64_t now_ = 0;
  std::int64_t wake_at_ = never;
  std::int64_t trace_due_;
  std::int64_t procs_due_;
  std::int64_t deadlock_due_ = 0;
  std::int64_t deadlock_pause_ = round_ns;
  std::int64_t nobody_since_ = 0;  // since then a thread is refused that nobody else can stand in for; 0: not so
  std::uint32_t idle_rounds_ = 0;
  std::uint32_t rings_ = most_rings;
  bool napped_ = false;
  bool deep_ = false;  // nothing was to be looked at but what somebody rings for
  bool told_ = false;
};

void sysmon_main(void* arg) {
  auto* rt = static_cast<sched_t*>(arg);
  watch(rt).run();
}

}  // namespace

void start_sysmon(sched_t* rt) {
  if (!sizes::watch) return;
  rt->has_sysmon = true;
  refresh_coarse_now();
  const int err = os::thread_start(&rt->sysmon_thread, sysmon_main, rt);
  if (err == 0) return;
  rt->has_sysmon = false;
  line{}
      .text("weft: no thread to watch the scheduler (errno ")
      .number(static_cast<std::uint64_t>(err))
      .text(
          "): no schedtrace, no deadlock report, no shutdown_timeout, the number of Ps stays, and none is taken from "
          "who blocks or spins\n")
      .flush_sig();
}

void stop_sysmon(sched_t* rt) {
  {
    mutex_guard guard(rt->lock);
    rt->sysmon_stop = true;
  }
  rt->sysmon_bell.ring();
  os::thread_join(rt->sysmon_thread);
  mutex_guard guard(rt->lock);
  rt->has_sysmon = false;
}

}  // namespace weft::rt
