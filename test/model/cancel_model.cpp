// Cancellation: cancel_all of production against goroutines that look at the flag and park, and against other takers.
#include "sched/cancel.hpp"

#include "model/town.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;

// A goroutine that parks once and ends when it has been taken; `how` is what took it.
struct waiter {
  town& t;
  rt::g* gp;
  wait_result how = wait_result::pending;
  bool began = false;
  explicit waiter(town& of) : t(of), gp(t.goroutine([this](rt::g* self) { return turn(self); })) {}
  then turn(rt::g* self) {
    t.call(self);
    if (!began) {
      began = true;
      return then::parks;
    }
    how = t.wait_of(self).result;
    return then::ends;
  }
};

MODEL(cancel_against_park, "it looks at the flag and parks: it has seen the flag, or is found waiting",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  waiter w(t);
  rt::m* mp = t.m_with(0, w.gp);
  auto end = start([&] { t.end_from_outside(); });
  t.live(mp);
  end.join();
  t.expect_over();
  expect(w.how == wait_result::cancelled, "nobody else could have taken it");
}

MODEL(cancel_against_release, "a releaser and the cancellation: one of them is the taker", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  waiter w(t);
  rt::m* mp = t.m_with(0, w.gp);
  bool released = false;
  auto releaser = start([&] { released = t.release(w.gp); });
  auto end = start([&] { t.end_from_outside(); });
  t.live(mp);
  releaser.join();
  end.join();
  t.expect_over();
  expect(w.how == (released ? wait_result::woken : wait_result::cancelled), "who took it has said so");
}

MODEL(cancel_by_a_goroutine, "main cancels the others: it stops the world with its own P given up", .sample = true,
      .timeouts = 0) {
  town t(2);
  waiter w(t);
  rt::g* main = t.goroutine([&](rt::g* self) {
    t.call(self);
    t.main_returns();
    rt::cancel_all(t.sched(), self);
    return then::ends;
  });
  rt::m* a = t.m_with(0, main);
  rt::m* b = t.m_with(1, w.gp);
  auto thread = start([&] { t.live(b); });
  t.live(a);
  thread.join();
  t.expect_over();
  expect(w.how == wait_result::cancelled, "nobody else could have taken it");
}

void ended_by_its_releaser_only(town& t, waiter& w) {
  rt::m* mp = t.m_with(0, w.gp);
  auto end = start([&] {
    t.end_from_outside();
    t.await_park();
    expect(t.release(w.gp), "it is still there");
  });
  t.live(mp);
  end.join();
  t.expect_over();
  expect(w.how == wait_result::woken, "only its releaser may take it");
}

MODEL(cancel_leaves_who_must_not, "a wait that is not cancellable stays, and its releaser ends it", .preemptions = 2,
      .timeouts = 0) {
  town t(1);
  waiter w(t);
  t.parks_for_good(w.gp);
  ended_by_its_releaser_only(t, w);
}

MODEL(cancel_leaves_a_no_cancel_scope, "so does the wait of a goroutine in a no_cancel scope", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  waiter w(t);
  w.gp->flags |= rt::g_no_cancel;
  ended_by_its_releaser_only(t, w);
}

MODEL(cancel_leaves_who_unwinds, "and of one through whose frames an exception is on its way", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  waiter w(t);
  w.gp->eh.uncaught = 1;
  ended_by_its_releaser_only(t, w);
}

}  // namespace
