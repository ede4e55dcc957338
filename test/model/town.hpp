// town: a few Ms that live as schedule() says, with find_runnable, stoplockedm, mexit and the door as they are in production; but
// nobody switches: a goroutine is a script, which its M calls. So what goes on between Ms and Ps can be walked to its end,
// which a whole runtime cannot.
//
// Each P has something plain that its holder alone may touch, and there is something plain that holders read and only who has
// stopped the world may change: two holders, or one beside a stopper, are a race.
#pragma once
#include <array>
#include <functional>

#include "model/fabric.hpp"
#include "sched/cancel.hpp"
#include "sched/countdown.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/extras.hpp"
#include "sched/park.hpp"
#include "sched/revoke.hpp"
#include "sched/stop.hpp"
#include "sched/world.hpp"
#include "weft/go.hpp"

namespace weft::check {

// What a goroutine does when its script is over: it ends, or the script begins again when it runs next.
// parks: in the semaphore table, unless it is cancelled.
// parks_watched: the same under a context, which it looks at as production does.
// sleeps: until the time that sleep_until has set.
enum class then : std::uint8_t { ends, yields, waits, parks, parks_watched, sleeps };

class town {
 public:
  using script = std::function<then(rt::g*)>;

  // No threads but the model's, as if the system refused them. All Ps are idle.
  explicit town(std::uint32_t procs) : f_(procs) {
    f_.sched()->no_thread_until = std::int64_t{1} << 60;
    for (std::uint32_t i = procs; i-- > 0;) rt::pidleput(sched(), p(i));
  }

  rt::sched_t* sched() { return f_.sched(); }
  rt::p* p(std::uint32_t i) { return f_.p(i); }

  // Runnable, and in no queue yet.
  rt::g* goroutine(script s) {
    if (scripts_.size() == most) fail("the model has more than %zu goroutines", most);
    scripts_.push_back(std::move(s));
    rt::bump(p(0)->created);
    return f_.new_g(scripts_.size());
  }
  // On the idle list.
  rt::m* idle_m() {
    rt::m* mp = asleep_m();
    mp->schedlink = sched()->midle;
    sched()->midle = mp;
    ++sched()->nmidle;
    mp->set_listed(true);
    asleep_at_start_[mp->id] = true;
    return mp;
  }
  // Its goroutine is runnable elsewhere; it waits for it.
  rt::m* locked_m(rt::g* gp) {
    rt::m* mp = asleep_m();
    lock(mp, gp);
    mp->idle_locked = true;
    ++sched()->nmidlelocked;
    asleep_at_start_[mp->id] = true;
    return mp;
  }
  // With that P, and about to run gp, or to look for work.
  rt::m* m_with(std::uint32_t pp, rt::g* gp = nullptr) {
    rt::m* mp = asleep_m();
    rt::pidletake(sched(), p(pp));
    rt::acquirep(mp, p(pp));
    first_[mp->id] = gp;
    return mp;
  }
  // Without a P: it was taken while gp was outside, where its script begins.
  rt::m* m_outside(rt::g* gp) {
    rt::m* mp = asleep_m();
    gp->m = mp;
    mp->curg = gp;
    gp->status.set(rt::status::runnable, rt::status::running);
    gp->status.set(rt::status::running, rt::status::detached);
    rt::set_revoke(mp->revoke, rt::revoke_done);
    mp->in_runtime.store(0, rt::relaxed);
    return mp;
  }
  void queue(std::uint32_t pp, rt::g* gp) {
    const rt::m* holder = p(pp)->m;
    if (holder == nullptr) fail("the model queues a goroutine on a P that nobody holds");
    rt::runqput(p(pp), gp, false);
  }
  static void lock(rt::m* mp, rt::g* gp) {
    gp->flags |= rt::g_locked;
    gp->tied = mp;
    mp->lockedg = gp;
    mp->lockedext = 1;
    mp->attention = &always_;
  }

  // The life of an M, on the calling thread.
  void live(rt::m* mp) {
    rt::setg(&mp->g0);
    if (asleep_at_start_[mp->id]) {
      mp->park.sleep();
      mp->park.clear();
      if (rt::p* pp = mp->nextp) {
        mp->nextp = nullptr;
        rt::acquirep(mp, pp);
      }
      if (mp->lockedg != nullptr) {
        run(mp, mp->lockedg);
      } else if (mp->p == nullptr && rt::stopm(mp)) {  // woken to watch
        rt::fire_all_due(mp);
      }
    }
    if (rt::g* gp = first_[mp->id]) run(mp, gp);
    if (rt::g* gp = mp->curg) run_outside(mp, gp);
    for (;;) {
      if (mp->lockedg != nullptr) {
        rt::stoplockedm(mp);
        run(mp, mp->lockedg);
        continue;
      }
      if (mp->exiting) break;
      bool inherit = false;
      rt::g* gp = rt::find_runnable(mp, inherit);
      if (gp == nullptr) break;
      if (mp->spinning) rt::resetspinning(mp);
      if ((gp->flags & rt::g_bound) != 0) {
        rt::startlockedm(mp, gp);
        continue;
      }
      run(mp, gp);
    }
    if (mp->exiting) rt::mexit(mp);
    if (mp->p != nullptr) rt::releasep(mp);
    rt::setg(nullptr);
    rt::leave(sched()->live_ms);
  }

  // ---- what scripts do
  then sleep_until(const rt::g* gp, std::int64_t when) {
    sleepers_[gp->goid - 1].until = when;
    return then::sleeps;
  }
  // A call into the runtime.
  void call(rt::g* gp) {
    rt::enter inside(gp);
    use(gp);
  }
  void use(const rt::g* gp) {
    expect(config_ >= 0, "changed while the world is stopped, and whole");
    ++used_[gp->m->p->id];
  }
  void blocks() {
    const detail::blocking_scope away;
    ++out_;
  }
  void submit(rt::g* by, rt::g* what) {
    rt::enter inside(by);
    rt::runqput(by->m->p, what, true);
    rt::wakep_from_p(by->m->p);
  }
  void await_park() {
    while (parked_.load(rt::acquire) == 0) rt::os::futex_wait(&parked_, 0);
  }
  // As a releaser who has taken its sudog: the commit of its park has been, its M is on its way to sleep.
  void ready_when_it_waits(rt::g* by, rt::g* what) {
    await_park();
    if (by == nullptr) {
      rt::ready(nullptr, what);
      return;
    }
    rt::enter inside(by);
    rt::ready(by, what);
  }
  // The wait of a goroutine that parks; what its script finds there when it runs again.
  rt::sudog& wait_of(const rt::g* gp) { return waits_[gp->goid - 1]; }
  // Its wait is not cancellable, as a mutex's.
  void parks_for_good(rt::g* gp) { for_good_ = gp; }
  // A releaser outside. True: it was the taker.
  bool release(rt::g* gp) {
    rt::sudog& sg = wait_of(gp);
    rt::sema_bucket& b = rt::the_process.semas.bucket(&sg);
    {
      const rt::mutex_guard guard(b.lock);
      if (!sg.queued) return false;
      b.remove(&sg);
      sg.result = rt::wait_result::woken;
    }
    rt::ready(nullptr, gp);
    return true;
  }
  // Stops the world, has all of it to itself, and starts it again. False: the runtime has ended.
  bool stop(rt::g* self) {
    rt::stopped_world stopped(sched(), self);
    if (!stopped) return false;
    config_ = -1;
    for (std::uint32_t i = 0; i < rt::procs(sched()); ++i) {
      expect(p(i)->status.get() == rt::p_status::stopped, "each P is stopped");
      expect(p(i)->m == nullptr && !p(i)->listed, "nobody has it");
      ++used_[i];
    }
    ++config_;
    return true;
  }
  // Main returns: when the last goroutine has ended, Ms go home.
  void main_returns() { sched()->attention.fetch_or(rt::attention_main_returned, rt::release); }

  // What a goroutine does that newproc has made, whose number is beyond the model's own.
  script started_outside = [](rt::g*) { return then::ends; };

  // As runtime::shut_down: the goroutines are cancelled, and the last one out ends the runtime.
  void end_from_outside() {
    sched()->foreign.fetch_add(1, rt::seq_cst);
    main_returns();
    if (rt::goroutines_alive(sched()) != 0) rt::cancel_all(sched(), nullptr);
    rt::end_if_last(sched());
    rt::leave(sched()->foreign);
  }

  // ---- at the end, by the last thread: everybody is home
  void expect_over() {
    expect(sched()->live_ms.load(rt::acquire) == 0, "every M has gone home");
    expect(rt::goroutines_alive(sched()) == 0, "every goroutine has ended");
    expect(sched()->runq.empty() && sched()->nmspinning.load(rt::relaxed) == 0, "nothing is left behind");
    expect(sched()->nmidlelocked == 0, "no M waits for a locked goroutine");
    expect(sched()->ntaken == 0, "whoever has lost its P is back");
    expect((sched()->attention.load(rt::relaxed) & rt::attention_stop) == 0, "nobody stops the world");
    expect((sched()->attention.load(rt::relaxed) & rt::attention_back) == 0, "nobody is back and waits");
  }

 private:
  static constexpr std::size_t most = 4;
  inline static constinit const rt::atomic<std::uint32_t> always_{~0u};

  rt::m* asleep_m() {
    rt::m* mp = f_.new_m();
    ++sched()->nm;
    mp->thread_seen.store(mp->id + 1, rt::relaxed);
    mp->g0.flags = rt::g_is_g0;
    mp->g0.m = mp;
    mp->g0.rt = sched();
    return mp;
  }

  // What execute() and the goroutine's own frames do, without a switch.
  void run(rt::m* mp, rt::g* gp) {
    rt::begin_run(mp, gp, false);
    rt::door_out(mp);
    run_outside(mp, gp);
  }
  void run_outside(rt::m* mp, rt::g* gp) {
    rt::setg(gp);
    const then what = gp->goid <= most ? scripts_[gp->goid - 1](gp) : started_outside(gp);
    rt::door_in(gp);
    rt::setg(&mp->g0);
    mp->curg = nullptr;
    gp->m = nullptr;
    rt::p* pp = mp->p;
    switch (what) {
      case then::ends: bury(mp, gp); break;
      case then::yields:
        gp->status.set(rt::status::running, rt::status::runnable);
        rt::runqput(pp, gp, false);
        rt::wakep_from_p(pp);
        break;
      case then::waits:
        gp->status.set(rt::status::running, rt::status::waiting);
        say_parked();
        break;
      case then::parks: park(pp, gp); break;
      case then::parks_watched: park_watched(pp, gp); break;
      case then::sleeps: sleep(gp); break;
    }
  }

  // As caller::cancelled, caller::wait and the commit, between two calls of the door.
  void park(rt::p* pp, rt::g* gp) {
    rt::sudog& sg = wait_of(gp);
    rt::sema_bucket& b = rt::the_process.semas.bucket(&sg);
    b.lock.lock();
    const bool cancellable = for_good_ != gp;
    if (cancellable && rt::is_cancelled(gp) && rt::may_be_unwound(gp)) {
      b.lock.unlock();
      sg.result = rt::wait_result::cancelled;
      gp->status.set(rt::status::running, rt::status::runnable);
      rt::runqput(pp, gp, false);
      return;
    }
    sg.gp = gp;
    sg.addr = &sg;
    sg.cancellable = cancellable;
    b.push_back(&sg, static_cast<std::uint32_t>(gp->goid));
    gp->waiting = &sg;
    gp->status.set(rt::status::running, rt::status::waiting);
    b.lock.unlock();
    say_parked();
  }
  // As caller::look, and caller::wait under a context.
  void park_watched(rt::p* pp, rt::g* gp) {
    rt::sudog& sg = wait_of(gp);
    if (rt::may_be_unwound(gp) && (rt::must_unwind(gp) || !rt::join_scope(gp->extras))) {
      sg.result = rt::wait_result::cancelled;
      gp->status.set(rt::status::running, rt::status::runnable);
      rt::runqput(pp, gp, false);
      return;
    }
    rt::sema_bucket& b = rt::the_process.semas.bucket(&sg);
    b.lock.lock();
    sg.gp = gp;
    sg.addr = &sg;
    sg.result = rt::wait_result::pending;
    sg.cancellable = true;
    b.push_back(&sg, static_cast<std::uint32_t>(gp->goid));
    gp->waiting = &sg;
    ++gp->wait_seq;
    rt::finish_watched_park(
        gp, [](void* bucket) { static_cast<rt::sema_bucket*>(bucket)->lock.unlock(); }, &b);
    say_parked();
  }
  // As caller::wait_until and its commit, on g0.
  void sleep(rt::g* gp) {
    sleeper& s = sleepers_[gp->goid - 1];
    s.wait.gp = gp;
    s.wait.addr = nullptr;
    s.wait.kind = rt::wait_kind::nowhere;
    s.wait.result = rt::wait_result::pending;
    s.wait.queued = true;
    s.timer.arg = gp;
    s.timer.seq = gp->goid;
    s.timer.wait_seq = ++gp->wait_seq;
    gp->waiting = &s.wait;
    const std::int64_t until = s.until;
    gp->status.set(rt::status::running, rt::status::waiting);
    rt::arm_wait(gp, &s.timer, until);
  }
  void say_parked() {
    parked_.store(1, rt::release);
    rt::os::futex_wake(&parked_, 2);
  }

  void bury(rt::m* mp, rt::g* gp) {
    gp->status.set(rt::status::running, rt::status::dead);
    if ((gp->flags & rt::g_locked) != 0) {
      mp->lockedg = nullptr;
      mp->exiting = true;
      gp->tied = nullptr;
    }
    gp->flags = 0;
    rt::p* pp = mp->p;
    pp->ended.store(pp->ended.load(rt::relaxed) + 1, rt::release);
    if (sched()->attention.load(rt::relaxed) != 0) rt::end_if_last(sched());
  }

  struct sleeper {
    rt::waiter wait;
    rt::timer timer;
    std::int64_t until = 0;
  };

  fabric f_;
  std::vector<script> scripts_;
  std::array<sleeper, most> sleepers_{};
  std::array<rt::g*, most> first_{};
  std::array<bool, most> asleep_at_start_{};
  std::array<rt::sudog, most> waits_{};
  rt::g* for_good_ = nullptr;
  rt::atomic<std::uint32_t> parked_{0};  // somebody has
  std::array<int, most> used_{};         // by P
  int config_ = 0;
  rt::atomic<int> out_{0};
};

}  // namespace weft::check
