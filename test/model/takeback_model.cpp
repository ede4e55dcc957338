// Taking a P back, as sysmon does (takeback.cpp), and its effects: who is back goes first, whose slice is over goes last, nobody is lost, and
// no more threads than there may be.
#include "sched/takeback.hpp"

#include "checker/sys_model.hpp"
#include "model/town.hpp"
#include "sched/deadlock.hpp"
#include "sched/retake.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

constexpr std::int64_t ms = 1'000'000;

class ending {
 public:
  ending(town& t, std::uint32_t n) : t_(t), left_(n) {}
  // The last of n goroutines ends the runtime.
  then out() {
    if (left_.fetch_sub(1, rt::acq_rel) == 1) t_.main_returns();
    return then::ends;
  }

 private:
  town& t_;
  rt::atomic<std::uint32_t> left_;
};

class event {
 public:
  void happens() {
    word_.store(1, rt::release);
    rt::os::futex_wake(&word_, 2);
  }
  void await() {
    while (word_.load(rt::acquire) == 0) rt::os::futex_wait(&word_, 0);
  }

 private:
  rt::atomic<std::uint32_t> word_{0};
};

// Sysmon's looks, as many as it needs to be sure, at a time that is its own. True: it has taken something.
bool look(town& t, int times = 2) {
  rt::takeback look(t.sched());
  for (int i = 1; i <= times; ++i) look.look(i * 20 * ms);
  return look.took();
}

void all_sleep() { system_now().threads_sleep = true; }
void all_run() { system_now().cpu_step = 20 * ms; }

// ---- who is back

// Two take turns with the P and would do so for long.
MODEL(back_goes_first, "who comes back from outside waits for two turns of others at most", .timeouts = 0) {
  town t(1);
  ending e(t, 3);
  int waited = 0;  // plain: the P's
  int turns[2] = {};
  auto body = [&](rt::g* self) {
    {
      const rt::mutex_guard guard(t.sched()->lock);
      waited = t.sched()->runq.returning() ? waited + 1 : 0;
    }
    expect(waited <= 2, "it is not passed over again");
    return ++turns[self->goid - 1] < 4 ? then::yields : e.out();
  };
  rt::g* first = t.goroutine(body);
  rt::g* second = t.goroutine(body);
  rt::g* back = t.goroutine([&](rt::g* self) {
    t.call(self);
    return e.out();
  });
  rt::m* a = t.m_with(0, first);
  t.queue(0, second);
  rt::m* b = t.m_outside(back);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

MODEL(back_from_two, "two come back to one P that is laid down meanwhile", .timeouts = 0) {
  town t(1);
  ending e(t, 2);
  auto body = [&](rt::g* self) {
    t.call(self);
    return e.out();
  };
  rt::m* a = t.m_outside(t.goroutine(body));
  rt::m* b = t.m_outside(t.goroutine(body));
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
}

// ---- who is taken

template <class Before>
void taken(Before before) {
  town t(1);
  ending e(t, 2);
  event out, in;
  rt::g* owner = t.goroutine([&](rt::g* self) {
    out.happens();
    in.await();
    t.call(self);
    return e.out();
  });
  rt::g* other = t.goroutine([&](rt::g* self) {
    t.call(self);
    in.happens();
    return e.out();
  });
  rt::m* a = t.m_with(0, owner);
  rt::m* b = t.idle_m();
  t.queue(0, other);
  before();
  auto sysmon = start([&] {
    out.await();
    expect(look(t), "somebody waits, and there is an M");
  });
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  sysmon.join();
  expect(!a->taken, "it is back");
  expect(!t.p(0)->slice_over.load(rt::relaxed), "the slice was that of the goroutine that is gone");
  t.expect_over();
}
MODEL(taken_from_a_sleeper, "who sleeps in the kernel keeps nobody waiting", .preemptions = 2, .timeouts = 0) {
  taken(all_sleep);
}
MODEL(taken_from_a_spinner, "who has had its slice keeps nobody waiting", .preemptions = 2, .timeouts = 0) {
  taken(all_run);
}

// The goroutine that is next has its whole slice: what was left of the other's is not charged to it.
MODEL(taken_with_its_slice, "a P that is taken at the end of a slice begins another") {
  town t(1);
  rt::g* owner = t.goroutine([](rt::g*) { return then::ends; });
  rt::g* other = t.goroutine([](rt::g*) { return then::ends; });
  rt::m* mp = t.m_with(0);
  t.queue(0, other);
  rt::m* idle = t.idle_m();
  rt::begin_run(mp, owner, false);
  rt::door_out(mp);
  all_run();
  expect(look(t), "somebody waits, and there is an M");
  expect(mp->p == nullptr && mp->taken && mp->on_cpu, "taken from one that ran");
  expect(idle->nextp == t.p(0), "for the one that was idle");
  expect(!t.p(0)->slice_over.load(rt::relaxed), "the slice was that of the goroutine that is gone");
  expect(t.sched()->ntaken == 1, "counted");
  expect(owner->status.get() == rt::status::detached, "it runs on without");
}

MODEL(taken_without_a_thread, "a P is not taken when no M could run it") {
  town t(1);
  rt::g* owner = t.goroutine([](rt::g*) { return then::ends; });
  rt::g* other = t.goroutine([](rt::g*) { return then::ends; });
  rt::m* mp = t.m_with(0);
  t.queue(0, other);
  rt::begin_run(mp, owner, false);
  rt::door_out(mp);
  all_sleep();
  expect(!look(t, 4), "there is no M");
  expect(mp->p == t.p(0), "the P is still its own");
}

MODEL(taken_up_to_the_limit, "with as many threads as there may be, back from outside and blocking is not the end",
      .preemptions = 1, .timeouts = 0) {
  town t(1);
  t.sched()->no_thread_until = 0;
  t.sched()->max_threads = 2;
  ending e(t, 2);
  event out, in;
  rt::g* owner = t.goroutine([&](rt::g* self) {
    out.happens();
    in.await();
    t.call(self);
    return e.out();
  });
  rt::g* other = t.goroutine([&](rt::g* self) {
    in.happens();
    t.blocks();
    t.call(self);
    return e.out();
  });
  rt::m* a = t.m_with(0, owner);
  rt::m* b = t.idle_m();
  t.queue(0, other);
  all_sleep();
  auto sysmon = start([&] {
    out.await();
    expect(look(t), "somebody waits, and there is an M");
  });
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  sysmon.join();
  t.expect_over();
}

// It has come in, and its P has gone to somebody else, between the look and the question.
MODEL(taken_while_it_calls, "sysmon looks and takes while the owner calls and ends: each P is held by one",
      .preemptions = 1, .timeouts = 0) {
  town t(1);
  ending e(t, 2);
  rt::g* owner = t.goroutine([&](rt::g* self) {
    t.call(self);
    return e.out();
  });
  rt::g* other = t.goroutine([&](rt::g* self) {
    t.call(self);
    return e.out();
  });
  rt::m* a = t.m_with(0, owner);
  rt::m* b = t.idle_m();
  t.queue(0, other);
  all_sleep();
  auto sysmon = start([&] { look(t); });
  auto thread = start([&] { t.live(b); });
  t.live(a);
  sysmon.join();
  thread.join();
  t.expect_over();
}

// ---- whose slice is over

// It is asked outside and answers by a call, which never waits: the question is met there.
MODEL(slice_over_at_a_call, "whose slice is over goes on behind those that wait, though it calls before it is taken",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  ending e(t, 2);
  event out, asked, answered;
  bool ran = false;  // plain: the P's
  rt::g* owner = t.goroutine([&](rt::g* self) {
    out.happens();
    asked.await();
    t.call(self);
    expect(ran, "the other had the P");
    answered.happens();
    return e.out();
  });
  rt::g* other = t.goroutine([&](rt::g*) {
    ran = true;
    return e.out();
  });
  rt::m* a = t.m_with(0, owner);
  rt::m* b = t.idle_m();
  t.queue(0, other);
  auto revoker = start([&] {
    out.await();
    rt::retake round(t.sched());
    t.p(0)->slice_over.store(true, rt::relaxed);
    {
      const rt::mutex_guard guard(t.sched()->lock);
      expect(round.ask(a), "it can be asked");
    }
    asked.happens();
    answered.await();
    round.barrier();
    const rt::mutex_guard guard(t.sched()->lock);
    expect(round.decide() == nullptr, "it has answered");
  });
  auto thread = start([&] { t.live(b); });
  t.live(a);
  revoker.join();
  thread.join();
  t.expect_over();
}

}  // namespace
