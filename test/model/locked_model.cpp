// Locked goroutines: stoplockedm, startlockedm and hand_over of production, against whoever makes the goroutine runnable,
// whoever stops the world, and the end.
#include "model/town.hpp"
#include "sched/stop.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

// Counts down, and the last one says that main has returned.
struct countdown {
  town& t;
  rt::atomic<std::uint32_t> left;
  countdown(town& of, std::uint32_t n) : t(of), left(n) {}
  then out() {
    if (left.fetch_sub(1, rt::acq_rel) == 1) t.main_returns();
    return then::ends;
  }
};

MODEL(locked_yields_to_another, "the P goes to the other's M, and comes back to the locked one's", .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.call(self);
    return ++turns == 1 ? then::yields : c.out();
  });
  rt::g* other = t.goroutine([&](rt::g* self) {
    t.call(self);
    return c.out();
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_to_locked, "two locked goroutines yield to each other: the P goes to and fro, with no M in between",
      .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  int turns[2] = {};
  auto body = [&](rt::g* self) {
    t.call(self);
    return ++turns[self->goid - 1] == 1 ? then::yields : c.out();
  };
  rt::g* first = t.goroutine(body);
  rt::g* second = t.goroutine(body);
  rt::m* a = t.m_with(0, first);
  rt::m* b = t.locked_m(second);
  town::lock(a, first);
  t.queue(0, second);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

// It is in a queue before its M has laid itself down: whoever dequeues it then finds an M that is not counted yet.
MODEL(locked_found_early, "a thief finds the locked goroutine while its M is still on its way to sleep",
      .preemptions = 1, .timeouts = 0) {
  town t(2);
  countdown c(t, 1);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.call(self);
    return ++turns == 1 ? then::yields : c.out();
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.m_with(1);
  town::lock(a, locked);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_readied, "who waits is made ready on another P, at any moment of its M's way to sleep", .preemptions = 1,
      .timeouts = 0) {
  town t(2);
  countdown c(t, 2);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.call(self);
    return ++turns == 1 ? then::waits : c.out();
  });
  rt::g* waker = t.goroutine([&](rt::g* self) {
    t.ready_when_it_waits(self, locked);
    return c.out();
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.m_with(1, waker);
  town::lock(a, locked);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_readied_from_outside, "a thread outside makes it ready, and no thread can be had: its own M takes the P",
      .timeouts = 0) {
  town t(1);
  countdown c(t, 1);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.call(self);
    return ++turns == 1 ? then::waits : c.out();
  });
  rt::m* a = t.m_with(0, locked);
  town::lock(a, locked);
  auto thread = start([&] { t.ready_when_it_waits(nullptr, locked); });
  t.live(a);
  thread.join();
  t.expect_over();
}

// The P that its M has just laid down is idle, on its way back to that M, or the stopper's.
MODEL(locked_readied_against_a_stopper, "a thread outside makes it ready while the world is to stop", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  countdown c(t, 1);
  int turns = 0;
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.call(self);
    return ++turns == 1 ? then::waits : c.out();
  });
  rt::m* a = t.m_with(0, locked);
  town::lock(a, locked);
  auto outside = start([&] { t.ready_when_it_waits(nullptr, locked); });
  auto stopper = start([&] { t.stop(nullptr); });
  t.live(a);
  outside.join();
  stopper.join();
  t.expect_over();
}

MODEL(locked_in_blocking, "a locked goroutine blocks and comes back while its P is another's", .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  rt::g* locked = t.goroutine([&](rt::g* self) {
    t.blocks();
    t.call(self);
    return c.out();
  });
  rt::g* other = t.goroutine([&](rt::g* self) {
    t.call(self);
    return c.out();
  });
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_against_a_stopper, "it yields for ever to nobody: whoever stops the world gets its P all the same",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  countdown c(t, 1);
  rt::atomic<std::uint32_t> stopped{0};
  rt::g* locked = t.goroutine([&](rt::g*) {
    if (stopped.load(rt::acquire) != 0) return c.out();
    rt::os::pause();
    return then::yields;
  });
  rt::m* a = t.m_with(0, locked);
  town::lock(a, locked);
  auto stopper = start([&] {
    expect(t.stop(nullptr), "the goroutine waits for it");
    stopped.store(1, rt::release);
  });
  t.live(a);
  stopper.join();
  t.expect_over();
}

MODEL(locked_hand_over_against_a_stopper,
      "the P is on its way from one locked M to the other when the world is to stop", .preemptions = 1, .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  int turns[2] = {};
  auto body = [&](rt::g* self) {
    t.call(self);
    return ++turns[self->goid - 1] == 1 ? then::yields : c.out();
  };
  rt::g* first = t.goroutine(body);
  rt::g* second = t.goroutine(body);
  rt::m* a = t.m_with(0, first);
  rt::m* b = t.locked_m(second);
  town::lock(a, first);
  t.queue(0, second);
  auto thread = start([&] { t.live(b); });
  auto stopper = start([&] { t.stop(nullptr); });
  t.live(a);
  thread.join();
  stopper.join();
  t.expect_over();
}

MODEL(locked_end_takes_the_thread, "an M whose goroutine has ended locked gives its P to another M and goes",
      .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  auto body = [&](rt::g* self) {
    t.call(self);
    return c.out();
  };
  rt::g* locked = t.goroutine(body);
  rt::g* other = t.goroutine(body);
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

// Each counts itself and looks at the other's count: both may miss it. Who looks again under the lock is the last.
MODEL(locked_end_of_the_last_two, "the last two end at the same time, one of them locked: the runtime ends",
      .timeouts = 0) {
  town t(2);
  t.main_returns();
  auto body = [](rt::g*) { return then::ends; };
  rt::g* locked = t.goroutine(body);
  rt::g* other = t.goroutine(body);
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.m_with(1, other);
  town::lock(a, locked);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_end_of_the_first_m, "the first M cannot end its thread: it waits for the end, and is woken",
      .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  auto body = [&](rt::g* self) {
    t.call(self);
    return c.out();
  };
  rt::g* locked = t.goroutine(body);
  rt::g* other = t.goroutine(body);
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  a->callers = true;
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(locked_end_against_a_stopper, "its P is stopped on the way from the M that ends to the next one",
      .preemptions = 1, .timeouts = 0) {
  town t(1);
  countdown c(t, 2);
  auto body = [&](rt::g* self) {
    t.call(self);
    return c.out();
  };
  rt::g* locked = t.goroutine(body);
  rt::g* other = t.goroutine(body);
  rt::m* a = t.m_with(0, locked);
  rt::m* b = t.idle_m();
  town::lock(a, locked);
  t.queue(0, other);
  auto thread = start([&] { t.live(b); });
  auto stopper = start([&] { t.stop(nullptr); });
  t.live(a);
  thread.join();
  stopper.join();
  t.expect_over();
}

}  // namespace
