// Stop-the-world: production's stop.cpp, with the door, the way back, find_runnable and the dance as they are.
//
// "Nothing is lost" is stated as the absence of a deadlock: each goroutine must have ended before the Ms go home.
#include "sched/stop.hpp"

#include "model/town.hpp"
#include "sched/retake.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

MODEL(stop_against_calls, "the goroutine comes and goes by the door: it loses its P, and gets it back", .timeouts = 0) {
  town t(1);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_asks_again, "found inside the runtime, the M is asked again a little later", .preemptions = 2,
      .timeouts = 1) {
  town t(1);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_against_find, "the M is in the scheduler, with one goroutine picked and one in its ring: both run",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  rt::g* first = t.goroutine([](rt::g*) { return then::ends; });
  rt::g* second = t.goroutine([&](rt::g*) {
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0);
  mp->picked = first;
  t.queue(0, second);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_against_laying_down, "the M finds nothing and lays its P down while the world is to stop", .timeouts = 0) {
  town t(1);
  rt::m* mp = t.m_with(0);
  auto stopper = [&] {
    expect(t.stop(nullptr), "nobody else ends the runtime");
    t.end_from_outside();
  };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_against_blocking, "its P is given away for a blocking call: to nobody, while somebody stops the world",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.blocks();
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_idle_and_busy, "one P is idle and one is held: each is stopped once", .timeouts = 0) {
  town t(2);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(1, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_by_two_threads, "two threads outside stop the world, one after the other", .preemptions = 2, .timeouts = 0) {
  town t(1);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  auto b = start(stopper);
  t.live(mp);
  a.join();
  b.join();
  t.expect_over();
}

MODEL(stop_by_a_goroutine, "a goroutine gives its own P up first, and has it again at its next call", .preemptions = 2,
      .timeouts = 0) {
  town t(2);
  rt::atomic<std::uint32_t> left{2};
  auto body = [&](rt::g* self, bool stops) {
    if (stops) expect(t.stop(self), "its runtime lives as long as it does");
    t.call(self);
    if (left.fetch_sub(1, rt::acq_rel) == 1) t.main_returns();
    return then::ends;
  };
  rt::m* a = t.m_with(0, t.goroutine([&](rt::g* self) { return body(self, true); }));
  rt::m* b = t.m_with(1, t.goroutine([&](rt::g* self) { return body(self, false); }));
  auto other = [&] { t.live(b); };
  auto thread = start(other);
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(stop_by_two_goroutines, "two goroutines stop the world at the same time: whoever waits holds no P",
      .preemptions = 1, .timeouts = 0) {
  town t(2);
  rt::atomic<std::uint32_t> left{2};
  auto body = [&](rt::g* self) {
    expect(t.stop(self), "its runtime lives as long as it does");
    if (left.fetch_sub(1, rt::acq_rel) == 1) t.main_returns();
    return then::ends;
  };
  rt::m* a = t.m_with(0, t.goroutine(body));
  rt::m* b = t.m_with(1, t.goroutine(body));
  auto other = [&] { t.live(b); };
  auto thread = start(other);
  t.live(a);
  thread.join();
  t.expect_over();
}

// Its own P is given back to it, with what it has started; and the spinner that was to find that has been stopped.
MODEL(stop_by_the_submitter, "who has started a goroutine stops the world and does not come back: the other P takes it",
      .preemptions = 1, .timeouts = 0) {
  town t(2);
  rt::atomic<std::uint32_t> ran{0};
  rt::g* started = t.goroutine([&](rt::g*) {
    ran.store(1, rt::release);
    rt::os::futex_wake(&ran);
    return then::ends;
  });
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.submit(self, started);
    t.stop(self);
    for (std::uint32_t v; (v = ran.load(rt::acquire)) == 0;) rt::os::futex_wait(&ran, v);
    t.main_returns();
    return then::ends;
  });
  rt::m* a = t.m_with(0, gp);
  rt::m* b = t.idle_m();
  auto other = [&] { t.live(b); };
  auto thread = start(other);
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(stop_beside_a_revoker,
      "another revoker is between its membarrier and its decision: it does not take the stopper's question for its own",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto revoker = [&] {
    rt::retake round(t.sched());
    {
      const rt::mutex_guard guard(t.sched()->lock);
      if (!round.ask(mp)) return;
    }
    round.barrier();
    const rt::mutex_guard guard(t.sched()->lock);
    while (rt::p* pp = round.decide()) rt::pidleput(t.sched(), pp);
  };
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  auto b = start(revoker);
  t.live(mp);
  a.join();
  b.join();
  t.expect_over();
}

MODEL(stop_fewer_ps, "a P goes, and what is in its ring runs elsewhere", .preemptions = 2, .timeouts = 0) {
  town t(2);
  rt::atomic<std::uint32_t> left{2};
  auto ends = [&](rt::g*) {
    if (left.fetch_sub(1, rt::acq_rel) == 1) t.main_returns();
    return then::ends;
  };
  rt::g* gp = t.goroutine(ends);
  rt::g* other = t.goroutine(ends);
  rt::m* mp = t.m_with(1, gp);
  t.queue(1, other);
  auto stopper = [&] { rt::set_procs(t.sched(), nullptr, 1, true); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_without_membarrier, "without membarrier it is asked for as soon as it fences at each call", .preemptions = 2,
      .timeouts = 1) {
  town t(1);
  rt::the_process.membarrier.store(2, rt::relaxed);
  rt::g* gp = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.call(self);
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] { t.stop(nullptr); };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

MODEL(stop_without_membarrier_in_a_loop,
      "the goroutine does nothing but call until the world has been stopped: it is stopped at the door", .sample = true,
      .timeouts = 0) {
  town t(1);
  rt::the_process.membarrier.store(2, rt::relaxed);
  rt::atomic<std::uint32_t> stopped{0};
  rt::g* gp = t.goroutine([&](rt::g* self) {
    while (stopped.load(rt::acquire) == 0) {
      t.call(self);
      rt::os::pause();
    }
    t.main_returns();
    return then::ends;
  });
  rt::m* mp = t.m_with(0, gp);
  auto stopper = [&] {
    expect(t.stop(nullptr), "the goroutine waits for it");
    stopped.store(1, rt::release);
  };
  auto a = start(stopper);
  t.live(mp);
  a.join();
  t.expect_over();
}

}  // namespace
