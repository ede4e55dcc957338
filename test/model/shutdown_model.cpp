// The end of a runtime: threads outside wake its last goroutine, and the runtime is freed as soon as the counts say so.
// Whatever is used after that is used after free.
#include "checker/sys_model.hpp"
#include "model/fabric.hpp"
#include "model/town.hpp"
#include "sched/countdown.hpp"
#include "sched/park.hpp"
#include "sched/timers.hpp"
#include "weft/error.hpp"

namespace weft::rt {
void newproc_for(sched_t* rt, const v0::detail::entry_ops* ops, void* from, v0::detail::text name,
                 std::size_t stack_size, const void* pc);
}  // namespace weft::rt

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::status;

// The last M of a runtime, as far as it matters: it sleeps without work, gets a P, runs what is in the global queue, and
// goes home when so many goroutines have ended.
void last_m(rt::m* mp, std::uint32_t goroutines) {
  rt::sched_t* s = mp->rt;
  while (goroutines != 0) {
    if (mp->p == nullptr) rt::stopm(mp);
    if (mp->spinning) rt::resetspinning(mp);
    rt::g* gp = mp->p->q.take();
    if (gp == nullptr) {
      const rt::mutex_guard guard(s->lock);
      gp = rt::globrunqget_batch(mp);
      if (gp == nullptr) rt::pidleput(s, rt::releasep(mp));
    }
    if (gp == nullptr) continue;
    gp->status.set(status::runnable, status::running);
    gp->status.set(status::running, status::dead);
    --goroutines;
  }
  if (mp->p != nullptr) rt::releasep(mp);
  rt::leave(s->live_ms);
}

// A goroutine that waits for a thread outside.
rt::g* waiting(fabric& f, std::uint64_t goid) {
  rt::g* gp = f.new_g(goid);
  gp->status.set(status::runnable, status::running);
  gp->status.set(status::running, status::waiting);
  return gp;
}

// As run(): waits for the counts, and takes it all down.
void end_of_run(fabric& f) {
  rt::sched_t* s = f.sched();
  rt::wait_until_none(s->live_ms);
  rt::wait_until_none(s->foreign);
  fabric::take_apart(s);
  f.taken_apart();
}

MODEL(shutdown_against_a_foreign_waker, "the waker is still in the runtime when its goroutine has ended") {
  fabric f(2);
  rt::sched_t* s = f.sched();
  rt::pidleput(s, f.p(0));
  rt::g* gp = waiting(f, 1);
  rt::m* mp = f.new_m();
  s->no_thread_until = std::int64_t{1} << 60;
  auto waker = [&] { rt::ready(nullptr, gp); };
  auto t = start(waker);
  last_m(mp, 1);
  end_of_run(f);
  t.join();
}

// What runtime::shut_down does, as far as its threads and counts go.
void shut_down(town& t) {
  rt::sched_t* s = t.sched();
  s->ending.exchange(true, rt::seq_cst);
  rt::store_load_barrier();
  rt::wait_until_none(s->foreign);
  t.end_from_outside();
  rt::wait_until_none(s->live_ms);
  rt::wait_until_none(s->foreign);
}

using no_capture = void (*)();
void nothing() {}

MODEL(shutdown_against_go, "a goroutine from outside is refused, or runs before the end", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  rt::the_process.goidgen.store(100, rt::relaxed);  // what it starts is none of the model's own goroutines
  int ran = 0;
  t.started_outside = [&](rt::g*) {
    ++ran;
    return then::ends;
  };
  rt::m* mp = t.idle_m();
  bool refused = false;
  auto starter = start([&] {
    using entry = weft::detail::entry_of<no_capture, no_capture>;
    no_capture f = nothing;
    try {
      rt::newproc_for(t.sched(), &entry::ops, &f, {}, weft::detail::default_stack, nullptr);
    } catch (const weft::error&) {
      refused = true;
    }
  });
  auto ender = start([&] { shut_down(t); });
  t.live(mp);
  starter.join();
  ender.join();
  t.expect_over();
  expect(ran == (refused ? 0 : 1), "started and run, or refused");
}

// Main has called exit. One goroutine is left, and ends while the last timer is being fired on another P. Who finds that nobody is
// left reports it, which ends the process: here, all go home.
struct last_timer {
  struct reported {};

  town t{2};
  rt::timer due;
  rt::m* fires = nullptr;
  rt::m* runs = nullptr;
  bool to_begin;  // its function starts a goroutine
  bool ran = false;
  rt::atomic<int> reports{0};

  last_timer(const rt::timer_ops* ops, bool starts_one) : to_begin(starts_one) {
    system_now().deadlock = [] { throw reported(); };
    rt::the_process.goidgen.store(100, rt::relaxed);
    t.sched()->attention.fetch_or(rt::attention_main_exited, rt::release);
    t.started_outside = [this](rt::g*) {
      ran = true;
      return then::ends;
    };
    due.ops = ops;
    due.arg = this;
    rt::g* gp = t.goroutine([](rt::g*) { return then::ends; });
    fires = t.m_with(0);
    runs = t.m_with(1, gp);
    t.p(0)->timers->insert(&due, rt::os::now());
  }
  void live(rt::m* mp) {
    try {
      t.live(mp);
    } catch (const reported&) {
      expect(!to_begin || ran, "the goroutine of the timer has been, before nobody is left");
      reports.fetch_add(1, rt::relaxed);
      t.main_returns();
      rt::end_if_last(t.sched());
      if (mp->spinning) {
        mp->set_spinning(false);
        rt::end_spinning(rt::spin(t.sched()));
      }
      if (mp->p != nullptr) rt::releasep(mp);
      rt::setg(nullptr);
      rt::leave(t.sched()->live_ms);
    }
  }
  void pass() {
    auto other = [&] { live(fires); };
    auto s = start(other);
    live(runs);
    s.join();
    t.expect_over();
    expect(reports.load(rt::relaxed) != 0, "somebody has found that nobody is left");
  }
};

// It is in no heap then, and its goroutine not yet among those that are alive.
MODEL(shutdown_beside_the_last_timer, "the last goroutine ends while a timer's function is about to start another",
      .preemptions = 1, .timeouts = 0) {
  static constexpr auto fire = [](rt::g* self, void*, std::uint64_t, std::int64_t) {
    using entry = weft::detail::entry_of<no_capture, no_capture>;
    no_capture f = nothing;
    expect(rt::launch_by_timer(self->m, &entry::ops, &f, 0, nullptr), "the end has not come");
  };
  static constexpr rt::timer_ops ops{fire, [](void*, std::uint64_t) {}};
  last_timer l(&ops, true);
  l.pass();
}

// Whoever has gone to sleep because it was being fired is not asked again: who fires looks.
MODEL(shutdown_beside_a_timer_that_starts_none, "the last goroutine ends while a timer is fired that nobody waits for",
      .preemptions = 1, .timeouts = 0) {
  static constexpr rt::timer_ops ops{[](rt::g*, void*, std::uint64_t, std::int64_t) {}, [](void*, std::uint64_t) {}};
  last_timer l(&ops, false);
  l.pass();
}

MODEL(shutdown_rest_against_give, "an idle M whose rest is over is being taken: it runs what it was taken for",
      .preemptions = 2, .timeouts = 1) {
  town t(1);
  t.sched()->rest_ns = 1000;
  rt::g* gp = t.goroutine([&](rt::g*) {
    t.main_returns();
    return then::ends;
  });
  gp->status.set(status::runnable, status::running);
  gp->status.set(status::running, status::waiting);
  rt::m* rests = t.m_with(0);
  rt::m* stays = t.idle_m();
  stays->callers = true;
  auto first = start([&] { t.live(rests); });
  auto waker = start([&] { rt::ready(nullptr, gp); });
  t.live(stays);
  first.join();
  waker.join();
  t.expect_over();
}

MODEL(shutdown_rest_against_the_end, "an idle M whose rest is over is sent home at the same time", .timeouts = 1) {
  town t(2);
  t.sched()->rest_ns = 1000;
  rt::g* gp = t.goroutine([&](rt::g*) {
    t.main_returns();
    return then::ends;
  });
  rt::m* rests = t.m_with(1);
  rt::m* a = t.m_with(0, gp);
  a->callers = true;
  auto first = start([&] { t.live(rests); });
  t.live(a);
  first.join();
  t.expect_over();
}

MODEL(shutdown_reap, "sysmon joins the threads of Ms that have ended, and no other's", .timeouts = 1) {
  town t(1);
  t.sched()->rest_ns = 1000;
  t.sched()->has_sysmon = true;
  rt::m* rests = t.m_with(0);
  auto first = start([&] {
    rests->thread = rt::os::this_thread();
    t.live(rests);
  });
  auto watcher = start([&] {
    while (rt::the_process.mfree != rests) {
      const std::uint32_t seen = t.sched()->sysmon_bell.read();
      expect(rt::reap_ms(t.sched()), "whoever is to be joined is on its last way");
      if (rt::the_process.mfree == nullptr) t.sched()->sysmon_bell.wait(seen, -1);
    }
  });
  watcher.join();
  first.join();
}

MODEL(shutdown_last_m_home, "the thread that called run waits for the Ms to go home, and frees what they were part of",
      .spurious = 1) {
  fabric f(2);
  rt::sched_t* s = f.sched();
  f.new_m();
  f.new_m();
  auto goes_home = [&] {
    s->needspinning.store(1, rt::relaxed);
    rt::leave(s->live_ms);
  };
  auto a = start(goes_home);
  auto b = start(goes_home);
  end_of_run(f);
  a.join();
  b.join();
}

}  // namespace
