// Who sleeps until the next timer (sched/timers.hpp, order timers.watch): Ms that live as find_runnable and stopm have it.
//
// A lost timer shows as a deadlock: the goroutine that waits for it is waited for. A watch that sleeps past an earlier timer
// shows by the clock: it jumps only when somebody's time has come and nobody else can go on, so it must not be beyond that
// timer's own when its goroutine runs.
#include "sched/timers.hpp"

#include "model/town.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

// Times of the execution, both to come.
std::int64_t soon, late;
void set_times() {
  soon = rt::os::now() + 1'000'000;
  late = rt::os::now() + 1'000'000'000'000;
}

// Others wait for it without giving their P up.
struct gate {
  rt::atomic<std::uint32_t> open{0};
  void pass() {
    open.store(1, rt::release);
    rt::os::futex_wake(&open, 3);
  }
  void wait() {
    while (open.load(rt::acquire) == 0) rt::os::futex_wait(&open, 0);
  }
};

MODEL(watch_sleeper_comes_back, "the only goroutine sleeps, and its M wakes it", .timeouts = 0) {
  set_times();
  town t(2);
  int turn = 0;
  rt::g* a = t.goroutine([&](rt::g* gp) {
    if (++turn == 1) return t.sleep_until(gp, soon);
    expect(rt::os::now() >= soon, "not early");
    t.main_returns();
    return then::ends;
  });
  rt::m* one = t.m_with(0, a);
  rt::m* two = t.idle_m();
  auto other = [&] { t.live(two); };
  auto s = start(other);
  t.live(one);
  s.join();
  t.expect_over();
}

MODEL(watch_beside_a_busy_p, "a goroutine sleeps, and another keeps its P: an idle M wakes it on another P",
      .preemptions = 1, .timeouts = 0) {
  set_times();
  town t(2);
  gate woken;
  int turn = 0;
  rt::g* sleeper = t.goroutine([&](rt::g* gp) {
    if (++turn == 1) return t.sleep_until(gp, soon);
    woken.pass();
    return then::ends;
  });
  rt::g* hog = t.goroutine([&](rt::g*) {
    woken.wait();
    t.main_returns();
    return then::ends;
  });
  rt::m* one = t.m_with(0, sleeper);
  t.queue(0, hog);
  rt::m* two = t.idle_m();
  auto other = [&] { t.live(two); };
  auto s = start(other);
  t.live(one);
  s.join();
  t.expect_over();
}

// The watch sleeps until `late`, or is about to: a timer that comes before is armed by somebody who goes on running.
MODEL(watch_is_told_of_an_earlier_timer, "the M that sleeps until a timer is woken for an earlier one",
      .preemptions = 1, .timeouts = 0) {
  set_times();
  town t(2);
  gate fired;
  static std::int64_t when_fired;
  when_fired = 0;
  int turn = 0;
  rt::g* late_sleeper = t.goroutine([&](rt::g* gp) {
    if (++turn == 1) return t.sleep_until(gp, late);
    return then::ends;
  });
  static constexpr auto fire = [](rt::g*, void* arg, std::uint64_t, std::int64_t) {
    when_fired = rt::os::now();
    static_cast<gate*>(arg)->pass();
  };
  static constexpr rt::timer_ops ops{fire, [](void*, std::uint64_t) {}};
  rt::timer early;
  early.ops = &ops;
  early.arg = &fired;
  rt::g* adder = t.goroutine([&](rt::g* gp) {
    {
      rt::enter inside(gp);
      rt::arm(gp->m, &early, soon);
    }
    fired.wait();
    expect(when_fired >= soon && when_fired < late, "at its own time, not when the later one is due");
    t.main_returns();
    return then::ends;
  });
  // Each has a P: one goes idle and watches while the other arms.
  rt::m* one = t.m_with(0, late_sleeper);
  rt::m* two = t.m_with(1, adder);
  auto other = [&] { t.live(two); };
  auto s = start(other);
  t.live(one);
  s.join();
  t.expect_over();
}

// Each sleeps on its own P and M. Whoever lies down second takes the watch over, or is watched for: world::check, when the last M
// lies down, is what looks. (Of two whose time has come the machine may delay either, so the clock says nothing here.)
MODEL(watch_is_taken_over, "one that lies down with an earlier timer does not trust the one that sleeps longer",
      .preemptions = 1, .timeouts = 0) {
  set_times();
  town t(2);
  int turns[2] = {};
  rt::g* late_sleeper = t.goroutine([&](rt::g* gp) {
    if (++turns[0] == 1) return t.sleep_until(gp, late);
    t.main_returns();
    return then::ends;
  });
  rt::g* soon_sleeper = t.goroutine([&](rt::g* gp) {
    if (++turns[1] == 1) return t.sleep_until(gp, soon);
    expect(rt::os::now() >= soon, "not early");
    return then::ends;
  });
  rt::m* one = t.m_with(0, late_sleeper);
  rt::m* two = t.m_with(1, soon_sleeper);
  auto other = [&] { t.live(two); };
  auto s = start(other);
  t.live(one);
  s.join();
  t.expect_over();
}

// The timer that the watch sleeps for is replaced by a later one, at the moment at which its time comes: who does that sees the
// watch, and trusts it; the watch looks again. A store and a load on either side, as for an M that has laid its P down, but
// nothing else that either does is a barrier. Two Ms in stopm and at their P, and no more, so that it is walked to its end.
MODEL(watch_looks_again_at_its_time, "a timer that is armed when the watch's time comes is watched", .timeouts = 1) {
  set_times();
  town t(2);
  gate fired;
  static std::int64_t due;
  due = 0;
  static constexpr auto fire = [](rt::g*, void* arg, std::uint64_t, std::int64_t when) {
    expect(due == 0 && rt::os::now() >= when, "once, and not early");
    due = when;
    static_cast<gate*>(arg)->pass();
  };
  static constexpr rt::timer_ops ops{fire, [](void*, std::uint64_t) {}};
  rt::timer first, second;
  first.ops = second.ops = &ops;
  first.arg = second.arg = &fired;
  rt::m* one = t.m_with(0);
  rt::m* two = t.m_with(1);
  two->p->timers->insert(&first, soon);
  rt::pidleput(t.sched(), rt::releasep(one));  // and goes to sleep
  bool replaced = false;
  auto busy = [&] {
    rt::setg(&two->g0);
    replaced = rt::disarm(&first);
    if (replaced) rt::arm(two, &second, late);
    fired.wait();
    rt::setg(nullptr);
  };
  auto s = start(busy);
  rt::setg(&one->g0);
  // As find_runnable: until it has fired something.
  for (;;) {
    const bool its_time = rt::stopm(one);
    expect(one->p != nullptr, "it has a P then");
    if (its_time) {
      rt::fire_all_due(one);
      if (due != 0) break;
    } else if (!one->spinning) {
      rt::begin_spinning(rt::spin(t.sched()));
      one->set_spinning(true);
    }
    {
      const rt::mutex_guard guard(t.sched()->lock);
      rt::pidleput(t.sched(), rt::releasep(one));
    }
    if (one->spinning) {
      one->set_spinning(false);
      rt::end_spinning(rt::spin(t.sched()));
    }
  }
  rt::setg(nullptr);
  s.join();
  expect(due == (replaced ? late : soon), "the one that was armed");
  rt::releasep(one);
  rt::releasep(two);
}

MODEL(watch_hands_on, "an M that watches is given work, and another watches in its place", .sample = true,
      .timeouts = 0) {
  set_times();
  town t(3);
  gate woken;
  int turn = 0;
  rt::g* sleeper = t.goroutine([&](rt::g* gp) {
    if (++turn == 1) return t.sleep_until(gp, soon);
    woken.pass();
    return then::ends;
  });
  rt::g* hog = t.goroutine([&](rt::g*) {
    woken.wait();
    return then::ends;
  });
  rt::g* starter = t.goroutine([&](rt::g* gp) {
    t.submit(gp, hog);
    woken.wait();
    t.main_returns();
    return then::ends;
  });
  rt::m* one = t.m_with(0, sleeper);
  rt::m* two = t.m_with(1, starter);
  rt::m* three = t.idle_m();
  auto b = [&] { t.live(two); };
  auto c = [&] { t.live(three); };
  auto s = start(b);
  auto u = start(c);
  t.live(one);
  s.join();
  u.join();
  t.expect_over();
}

}  // namespace
