// Deadlock detection: sysmon's look, at any moment, at a runtime in which somebody can go on. It must never say that nobody can.
#include "sched/deadlock.hpp"

#include "model/town.hpp"
#include "sched/callback_timer.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

// Whoever looks is counted as sysmon.
void watched(town& t) {
  t.sched()->report_deadlock = true;
  t.sched()->has_sysmon = true;
  rt::list_runtime(t.sched());
}
rt::outlook ask() {
  std::int64_t timer = 0;
  return rt::look_for_deadlock(&timer);
}
void look(int times) {
  for (int i = 0; i < times; ++i) expect(ask() != rt::outlook::never, "somebody can go on: this is no deadlock");
}

MODEL(deadlock_beside_a_hand_over, "a P goes from M to M while the look comes", .timeouts = 0) {
  town t(1);
  watched(t);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g*) { return ++turns == 1 ? then::yields : then::ends; });
  rt::g* other = t.goroutine([&](rt::g*) {
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  auto watch = start([&] { look(1); });
  t.live(a);
  thread.join();
  watch.join();
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

// Its M was given a P before it was counted; then all Ps are idle, and one goroutine is outside.
MODEL(deadlock_beside_blocking, "a goroutine that has been locked and found early is in a blocking call",
      .sample = true, .timeouts = 0) {
  town t(2);
  watched(t);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    if (++turns == 1) return then::yields;
    t.blocks();
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.m_with(1);
  town::lock(a, locked);
  auto thread = start([&] { t.live(b); });
  auto watch = start([&] { look(1); });
  t.live(a);
  thread.join();
  watch.join();
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

MODEL(deadlock_beside_a_thread_that_ends, "a thread outside makes the last one ready and ends, between the two looks",
      .preemptions = 1, .timeouts = 0) {
  town t(1);
  watched(t);
  int turns = 0;
  rt::g* waits = t.goroutine([&](rt::g*) {
    if (++turns == 1) return then::waits;
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, waits);
  auto outside = start([&] { t.ready_when_it_waits(nullptr, waits); });
  auto watch = start([&] { look(1); });
  t.live(a);
  outside.join();
  watch.join();
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

// Popped, its timer is in no heap, and its thread has nothing else to be seen by.
MODEL(deadlock_beside_the_timekeeper, "a timer of no runtime makes the last one ready, while the look comes",
      .preemptions = 1, .timeouts = 0) {
  town t(1);
  watched(t);
  int turns = 0;
  rt::g* waits = t.goroutine([&](rt::g*) {
    if (++turns == 1) return then::waits;
    t.main_returns();
    return then::ends;
  });
  struct wake_up {
    town* t;
    rt::g* gp;
  } what{&t, waits};
  static constexpr auto fire = [](rt::g*, void* arg, std::uint64_t, std::int64_t) {
    const auto* w = static_cast<const wake_up*>(arg);
    w->t->ready_when_it_waits(nullptr, w->gp);
  };
  static constexpr rt::timer_ops ops{fire, [](void*, std::uint64_t) {}};
  rt::timer due;
  due.ops = &ops;
  due.arg = &what;
  const std::int64_t now = rt::os::now();
  rt::the_process.outside_timers.insert(&due, now);
  rt::the_process.outside_served.store(true, rt::release);
  rt::m* a = t.m_with(0, waits);
  auto keeper = start([&] { rt::fire_outside(now); });
  auto watch = start([&] { look(1); });
  t.live(a);
  keeper.join();
  watch.join();
  rt::the_process.outside_served.store(false, rt::relaxed);
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

MODEL(deadlock_beside_a_stopper, "the world is stopped: nobody runs, and all will go on", .timeouts = 0) {
  town t(1);
  watched(t);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.stop(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, gp);
  auto watch = start([&] { look(1); });
  t.live(a);
  watch.join();
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

MODEL(deadlock_is_one, "all wait for each other: the look says so, whenever it comes", .preemptions = 2,
      .timeouts = 0) {
  town t(1);
  watched(t);
  rt::atomic<std::uint32_t> found{0};
  rt::g* waits = t.goroutine([&](rt::g*) {
    if (found.load(rt::acquire) == 0) return then::waits;
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, waits);
  auto watch = start([&] {
    while (ask() != rt::outlook::never) rt::os::pause();
    found.store(1, rt::release);
    rt::ready(nullptr, waits);
  });
  t.live(a);
  watch.join();
  rt::unlist_runtime(t.sched());
  t.expect_over();
}

}  // namespace
