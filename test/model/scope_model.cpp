// Goroutines under a context: who waits under it, and who cancels it (sched/cancel.hpp). The park is production's, from the look
// before it to the commit on the other side; the Ms are those of town.hpp.
#include "model/town.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;

// As a context that is cancelled, seen from its goroutines.
void cancel(rt::scope& s) {
  {
    const rt::mutex_guard guard(s.lock);
    s.state.store(rt::scope_state::done, rt::release);
  }
  rt::cancel_members(&s);
}

// A goroutine that parks under a scope, so many times, and ends when it is cancelled or has been released so often.
struct member {
  town& t;
  rt::scope& under;
  rt::g_extras extras;
  int rounds;
  rt::g* gp;
  wait_result how = wait_result::pending;
  bool parked = false;

  member(town& of, rt::scope& s, int n = 1)
      : t(of), under(s), rounds(n), gp(t.goroutine([this](rt::g* self) { return turn(self); })) {
    extras.asks.store(1, rt::relaxed);
    rt::give_extras(gp, &extras);
    extras.obeys = &under;
  }

  then turn(rt::g* self) {
    t.call(self);
    if (parked) how = t.wait_of(self).result;
    if (how == wait_result::cancelled || rounds-- == 0) return end();
    parked = true;
    return then::parks_watched;
  }
  then end() {
    rt::leave_scope(&extras);
    gp->flags &= static_cast<std::uint8_t>(~rt::g_has_extras);
    gp->extras = &t.sched()->no_extras;
    return then::ends;
  }
};

// Main has returned, and waits for the others: the runtime ends when they have.
void live_to_the_end(town& t, rt::m* mp) {
  t.main_returns();
  t.live(mp);
}

MODEL(scope_cancel_against_park, "it looks and parks: it has seen that the context has ended, or is taken",
      .preemptions = 2, .timeouts = 0) {
  town t(1);
  rt::scope s;
  member w(t, s);
  rt::m* mp = t.m_with(0, w.gp);
  auto canceller = start([&] { cancel(s); });
  live_to_the_end(t, mp);
  canceller.join();
  t.expect_over();
  expect(w.how == wait_result::cancelled && s.members == nullptr, "nobody else could have taken it");
}

MODEL(scope_cancel_against_release, "a releaser and the cancellation: one of them is the taker", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  rt::scope s;
  member w(t, s);
  rt::m* mp = t.m_with(0, w.gp);
  bool released = false;
  auto releaser = start([&] { released = t.release(w.gp); });
  auto canceller = start([&] { cancel(s); });
  live_to_the_end(t, mp);
  releaser.join();
  canceller.join();
  t.expect_over();
  expect(w.how == (released ? wait_result::woken : wait_result::cancelled), "who took it has said so");
  expect(s.members == nullptr, "and it has left the list");
}

MODEL(scope_two_members, "two that wait, one that has waited before: all are found", .sample = true, .timeouts = 0) {
  town t(2);
  rt::scope s;
  member a(t, s, 2);
  member b(t, s);
  rt::m* m0 = t.m_with(0, a.gp);
  rt::m* m1 = t.m_with(1, b.gp);
  t.main_returns();
  auto other = start([&] { t.live(m1); });
  auto canceller = start([&] {
    t.release(a.gp);
    cancel(s);
  });
  t.live(m0);
  other.join();
  canceller.join();
  t.expect_over();
  expect(b.how == wait_result::cancelled, "nobody has released it");
  expect(s.members == nullptr, "nobody is left in the list");
}

MODEL(scope_cancel_beside_the_end_of_the_runtime, "a context and the whole runtime: one of the two takes it",
      .sample = true, .timeouts = 0) {
  town t(1);
  rt::scope s;
  member w(t, s);
  rt::m* mp = t.m_with(0, w.gp);
  auto canceller = start([&] { cancel(s); });
  auto end = start([&] { t.end_from_outside(); });
  t.live(mp);
  canceller.join();
  end.join();
  t.expect_over();
  expect(w.how == wait_result::cancelled && s.members == nullptr, "it has been told");
}

MODEL(scope_shields, "a no_cancel scope stays until its releaser comes, also under a context", .preemptions = 1,
      .timeouts = 0) {
  town t(1);
  rt::scope s;
  member w(t, s);
  w.gp->flags |= rt::g_no_cancel;
  rt::m* mp = t.m_with(0, w.gp);
  auto canceller = start([&] {
    cancel(s);
    t.await_park();
    expect(t.release(w.gp), "it is still there");
  });
  live_to_the_end(t, mp);
  canceller.join();
  t.expect_over();
  expect(w.how == wait_result::woken, "only its releaser may take it");
}

}  // namespace
