// The door and the loss of a P: production's enter.hpp and enter.cpp on the owner's side; on the revokers' side retake.cpp
// and revoke.hpp, and the stopper's stop.cpp; the hand-off in between (handoffp), and the way back (rejoin).
//
// Who holds a P has its payload to itself: a plain field, raised at each use.
#include "sched/revoke.hpp"

#include <array>

#include "checker/sys_model.hpp"
#include "model/fabric.hpp"
#include "sched/deadlock.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/retake.hpp"
#include "sched/stop.hpp"
#include "weft/go.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::status;

enum class membarrier : std::uint8_t {
  works,
  none,           // from the start: each M fences, and counts its calls
  fails,          // begins to: at any call of the kernel
  fails_counted,  // the same, with Ms that fence from their start on (WEFT_DEBUG=stall)
};

// One M with a goroutine on each of the first Ps; further ones are outside, and have lost theirs.
class town {
 public:
  town(std::uint32_t owners, std::uint32_t procs, membarrier has = membarrier::works) : f_(procs) {
    rt::the_process.membarrier.store(has == membarrier::none ? 2 : 1, rt::relaxed);
    system_now().membarrier_fails = has == membarrier::fails || has == membarrier::fails_counted;
    f_.sched()->knobs.stall = has == membarrier::fails_counted ? 1 : 0;
    rt::list_runtime(f_.sched());
    for (std::uint32_t i = 0; i < owners; ++i) {
      rt::m* mp = f_.new_m();
      rt::g* gp = f_.new_g(i + 1);
      gp->status.set(status::runnable, status::running);
      gp->m = mp;
      mp->curg = gp;
      if (i < procs) {
        rt::acquirep(mp, f_.p(i));
      } else {
        gp->status.set(status::running, status::detached);
        rt::set_revoke(mp->revoke, rt::revoke_done);
      }
      mp->in_runtime.store(0, rt::relaxed);
      m_[i] = mp;
      g_[i] = gp;
    }
    // No threads but the model's: a P that nobody can run goes to a goroutine that waits for one, or is idle.
    f_.sched()->no_thread_until = std::int64_t{1} << 60;
  }

  rt::m* m(std::uint32_t i = 0) { return m_[i]; }
  fabric& all() { return f_; }
  void idle(std::uint32_t i) {
    const rt::mutex_guard guard(f_.sched()->lock);
    rt::pidleput(f_.sched(), f_.p(i));
  }

  // The owner calls into the runtime so many times; outside it does nothing, which is where it loses its P.
  void calls(int n, std::uint32_t i = 0) {
    rt::setg(g_[i]);
    for (int k = 0; k < n; ++k) {
      rt::enter inside(g_[i]);
      use(m_[i]->p);
    }
    rt::setg(nullptr);
  }
  void blocks(std::uint32_t i = 0) {
    rt::setg(g_[i]);
    { weft::detail::blocking_scope away; }
    {
      rt::enter inside(g_[i]);
      use(m_[i]->p);
    }
    rt::setg(nullptr);
  }
  // One blocking call in another: the inner one has to have a P before it gives it away.
  void blocks_nested(std::uint32_t i = 0) {
    rt::setg(g_[i]);
    {
      weft::detail::blocking_scope away;
      weft::detail::blocking_scope further;
    }
    rt::setg(nullptr);
  }

  void use(rt::p* pp) { ++used_[pp->id]; }
  void slice_is_over() { f_.p(0)->slice_over.store(true, rt::relaxed); }
  // Its goroutine ends.
  void gives_away(std::uint32_t i) {
    rt::setg(g_[i]);
    rt::door_in(g_[i]);
    rt::setg(nullptr);
    rt::handoffp(rt::releasep(m_[i]), false);
  }

  // A round of R1 to R3 over the first n Ms from i on, and what sysmon does with what it has won.
  void revoke(std::uint32_t i = 0, std::uint32_t n = 1) {
    rt::retake round(f_.sched());
    {
      const rt::mutex_guard guard(f_.sched()->lock);
      for (std::uint32_t k = i; k < i + n; ++k) round.ask(m_[k]);
    }
    if (round.empty()) return;
    round.barrier();
    std::array<rt::p*, 2> won{};
    {
      const rt::mutex_guard guard(f_.sched()->lock);
      std::uint32_t k = 0;
      while (rt::p* pp = round.decide()) won[k++] = pp;
    }
    for (rt::p* pp : won) {
      if (pp != nullptr) use(pp);
    }
    for (rt::p* pp : won) {
      if (pp != nullptr) rt::handoffp(pp, false);
    }
  }
  void stop() {
    const rt::stopped_world stopped(f_.sched(), nullptr);
    expect(static_cast<bool>(stopped), "nobody ends the runtime");
    for (std::uint32_t i = 0; i < rt::procs(f_.sched()); ++i) use(f_.p(i));
  }

  // At the end everyone has a P, and no P was used by two at once (the race detector has looked).
  void expect_whole(std::uint32_t owners) {
    for (std::uint32_t i = 0; i < owners; ++i) {
      expect(m_[i]->in_runtime.load(rt::relaxed) == 0, "it has left");
      if ((m_[i]->revoke.load(rt::relaxed) & rt::revoke_state) != rt::revoke_none) continue;
      expect(m_[i]->p != nullptr && m_[i]->p->m == m_[i], "whoever has not lost its P holds one");
    }
  }

 private:
  fabric f_;
  std::array<rt::m*, 2> m_{};
  std::array<rt::g*, 2> g_{};
  std::array<int, 3> used_{};
};

MODEL(revoke_against_calls, "one revoker against an owner that comes and goes: the P is the one's or the other's") {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.calls(3);
  a.join();
  t.expect_whole(1);
}

// The two words and one P alone: what several revokers can do to each other.
struct door {
  rt::atomic<std::uint32_t> in_runtime{0};
  rt::atomic<std::uint32_t> revoke{rt::revoke_none};
  rt::mutex lock;      // sched.lock
  bool here = true;    // token: the owner has the P; under lock, or by who holds it
  bool idle = false;   // nobody has it; under lock
  bool waits = false;  // the owner waits for it; under lock
  rt::note given;
  int used = 0;  // plain: the P's

  // E1 to E4 with a use of the P.
  void call() {
    in_runtime.store(1, rt::relaxed);
    rt::compiler_barrier();
    for (;;) {
      std::uint32_t word = revoke.load(rt::relaxed);
      if ((word & rt::revoke_state) == rt::revoke_none) break;
      if ((word & rt::revoke_state) == rt::revoke_pending) {
        if (revoke.compare_exchange_strong(word, word & ~rt::revoke_state, rt::relaxed, rt::relaxed)) break;
        continue;
      }
      bool now = false;
      lock.lock();
      expect(!here, "revoked, and the P is gone");
      now = !waits && idle;
      if (now) {
        idle = false;
      } else {
        waits = true;
      }
      lock.unlock();
      if (!now) {
        given.sleep();
        given.clear();
      }
      here = true;
      rt::set_revoke(revoke, rt::revoke_none);
      break;
    }
    expect(here, "inside with a P");
    ++used;
    in_runtime.store(0, rt::release);
  }

  void take_and_give_back() {
    rt::suspect s(in_runtime, revoke);
    if (!s.ask()) return;
    rt::os::membarrier();
    decide(s);
  }
  void decide(rt::suspect& s) {
    lock.lock();
    const bool mine = s.decide();
    if (mine) here = false;
    lock.unlock();
    if (!mine) return;
    ++used;
    lock.lock();
    const bool now = waits;
    waits = false;
    if (!now) idle = true;
    lock.unlock();
    if (now) given.wakeup();
  }
};

MODEL(revoke_by_two, "two revokers at once, with no lock around them: one of them at most has the P") {
  door d;
  auto revoker = [&] { d.take_and_give_back(); };
  auto a = start(revoker);
  auto b = start(revoker);
  d.call();
  d.call();
  a.join();
  b.join();
}

MODEL(revoke_generation_goes_on, "an owner that gives its P away counts on from what revokers have done meanwhile") {
  door d;
  d.in_runtime.store(1, rt::relaxed);
  auto first = [&] {
    for (int i = 0; i < 2; ++i) {
      rt::suspect s(d.in_runtime, d.revoke);
      if (s.ask()) s.give_up();
    }
    rt::suspect late(d.in_runtime, d.revoke);
    if (!late.ask()) return;
    rt::os::membarrier();
    d.decide(late);
  };
  auto second = [&] {
    rt::suspect s(d.in_runtime, d.revoke);
    static_cast<void>(s.ask());  // and is asleep since
  };
  auto a = start(first);
  auto b = start(second);
  // A blocking call, at whose end the same P is idle.
  rt::set_revoke(d.revoke, rt::revoke_done);
  d.in_runtime.store(0, rt::release);
  d.in_runtime.store(1, rt::relaxed);
  rt::set_revoke(d.revoke, rt::revoke_none);
  d.in_runtime.store(0, rt::release);
  d.call();
  a.join();
  b.join();
}

MODEL(revoke_by_two_in_turn, "two revokers under a lock of their own, as sysmon and who stops the world",
      .preemptions = 2) {
  town t(1, 1);
  rt::mutex revoke_lock;
  auto revoker = [&] {
    const rt::mutex_guard guard(revoke_lock);
    t.revoke();
  };
  auto a = start(revoker);
  auto b = start(revoker);
  t.calls(2);
  a.join();
  b.join();
  t.expect_whole(1);
}

MODEL(revoke_given_up, "R2 fails: the suspicion is withdrawn, and the next one is another") {
  town t(1, 1);
  auto revoker = [&] {
    rt::suspect s(t.m()->in_runtime, t.m()->revoke);
    if (s.ask()) s.give_up();
    t.revoke();
  };
  auto a = start(revoker);
  t.calls(2);
  a.join();
  t.expect_whole(1);
}

MODEL(revoke_batch, "one membarrier for two Ms: each P is its owner's or the revoker's", .preemptions = 2) {
  town t(2, 2);
  auto revoker = [&] { t.revoke(0, 2); };
  auto other = [&] { t.calls(1, 1); };
  auto a = start(revoker);
  auto b = start(other);
  t.calls(1, 0);
  a.join();
  b.join();
  t.expect_whole(2);
}

MODEL(revoke_against_blocking, "the owner gives its P away for a blocking call while a revoker is after it") {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.blocks();
  a.join();
  t.expect_whole(1);
}

MODEL(rejoin_any_idle_p, "its own P is another's by now, but one is idle") {
  town t(1, 2);
  t.idle(1);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.calls(2);
  a.join();
  t.expect_whole(1);
}

MODEL(rejoin_two_for_one_p, "two come back from blocking calls, and there is one P: both get it, one after the other") {
  town t(1, 1);
  fabric& f = t.all();
  // A second goroutine of the same runtime, detached on an M of its own.
  rt::m* mp = f.new_m();
  rt::g* gp = f.new_g(7);
  gp->status.set(status::runnable, status::running);
  gp->m = mp;
  gp->status.set(status::running, status::detached);
  mp->curg = gp;
  mp->revoke.store(rt::revoke_done, rt::relaxed);
  mp->in_runtime.store(0, rt::relaxed);
  auto back = [&] {
    rt::setg(gp);
    {
      rt::enter inside(gp);
      t.use(mp->p);
      // It blocks again: the P goes to whoever waits for it.
      rt::p* pp = rt::releasep(mp);
      gp->status.set(status::running, status::detached);
      mp->revoke.store(rt::revoke_generation | rt::revoke_done, rt::release);
      rt::handoffp(pp);
    }
    rt::setg(nullptr);
  };
  auto a = start(back);
  t.blocks();
  t.blocks();
  // Gives its P to the other, if that still waits.
  {
    rt::p* pp = rt::releasep(t.m());
    rt::handoffp(pp);
  }
  a.join();
}

MODEL(revoke_nested, "blocking calls one in the other, and a revoker: the P is given away twice, and had again twice") {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.blocks_nested();
  a.join();
  t.expect_whole(1);
}

MODEL(revoke_nested_by_two, "the same against two, with no lock around their rounds", .preemptions = 2) {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  auto b = start(revoker);
  t.blocks_nested();
  a.join();
  b.join();
  t.expect_whole(1);
}

MODEL(revoke_by_two_and_stop, "two revokers and one who stops the world, against an owner that blocks and calls",
      .sample = true, .timeouts = 0) {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto stopper = [&] { t.stop(); };
  auto a = start(revoker);
  auto b = start(revoker);
  auto c = start(stopper);
  t.blocks();
  a.join();
  b.join();
  c.join();
  t.expect_whole(1);
}

MODEL(revoke_beside_stop, "a revoker and one who stops the world: who wins the P has it to itself", .preemptions = 2,
      .timeouts = 0) {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto stopper = [&] { t.stop(); };
  auto a = start(revoker);
  auto b = start(stopper);
  t.calls(1);
  a.join();
  b.join();
  t.expect_whole(1);
}

// ---- without membarrier

MODEL(revoke_fenced, "no membarrier: the owner has a fence at each call, the revoker one of its own") {
  town t(1, 1, membarrier::none);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.calls(3);
  a.join();
  t.expect_whole(1);
}

MODEL(revoke_fenced_by_two, "the same with two revokers", .preemptions = 2) {
  town t(1, 1, membarrier::none);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  auto b = start(revoker);
  t.calls(2);
  a.join();
  b.join();
  t.expect_whole(1);
}

MODEL(revoke_fenced_blocking, "the same around a blocking call") {
  town t(1, 1, membarrier::none);
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.blocks();
  a.join();
  t.expect_whole(1);
}

// The flag comes between R1 and R3 of the round that finds it out; the next round is without membarrier, and the owner may be asked
// only when it is sure that it fences.
MODEL(revoke_refused, "membarrier begins to fail: what was asked is withdrawn, and the next round goes by fences") {
  town t(1, 1, membarrier::fails);
  auto revoker = [&] {
    t.revoke();
    t.revoke();
  };
  auto a = start(revoker);
  t.calls(2);
  a.join();
  t.expect_whole(1);
}

MODEL(revoke_refused_to_one_of_two, "it fails for one revoker in the middle of another's round", .preemptions = 2) {
  town t(1, 1, membarrier::fails);
  auto revoker = [&] { t.revoke(); };
  auto twice = [&] {
    t.revoke();
    t.revoke();
  };
  auto a = start(revoker);
  auto b = start(twice);
  t.calls(2);
  a.join();
  b.join();
  t.expect_whole(1);
}

// The flag, and nothing else, has come in between.
MODEL(revoke_flag_between, "an owner is told to fence between R1 and R3 of a round whose membarrier works") {
  town t(1, 1);
  auto revoker = [&] { t.revoke(); };
  auto other = [&] { t.m()->revoke.fetch_or(rt::revoke_slow, rt::relaxed); };
  auto a = start(revoker);
  auto b = start(other);
  t.calls(2);
  a.join();
  b.join();
  t.expect_whole(1);
  expect((t.m()->revoke.load(rt::relaxed) & rt::revoke_slow) != 0, "it is told for ever");
}

MODEL(revoke_flag_is_no_answer, "what was asked before the flag came is still asked after it") {
  town t(1, 1);
  rt::suspect taken(t.m()->in_runtime, t.m()->revoke);
  expect(taken.ask(), "nobody else asks");
  t.m()->revoke.fetch_or(rt::revoke_slow, rt::relaxed);
  rt::os::membarrier();
  expect(taken.decide(), "the owner is outside and has not answered");
}

MODEL(revoke_refused_and_asked_again, "who never calls, and was asked in vain, is asked again") {
  town t(1, 1, membarrier::fails_counted);
  t.revoke();
  t.revoke();
  expect(t.m()->p == nullptr, "taken in one of the rounds");
}

// ---- the end of a slice

MODEL(slice_ends_at_door, "asked for with its slice over, the owner gives its P to who waits, and waits behind it",
      .preemptions = 1) {
  town t(2, 1);
  t.slice_is_over();
  auto revoker = [&] { t.revoke(); };
  auto other = [&] {
    t.calls(1, 1);
    t.gives_away(1);
  };
  auto a = start(revoker);
  auto b = start(other);
  t.calls(1);
  t.gives_away(0);
  a.join();
  b.join();
}

MODEL(slice_ends_alone, "the same with nobody else: it has its P again at once") {
  town t(1, 1);
  t.slice_is_over();
  auto revoker = [&] { t.revoke(); };
  auto a = start(revoker);
  t.calls(2);
  a.join();
  t.expect_whole(1);
}

MODEL(slice_ends_beside_stop, "its slice ends at the door while somebody stops the world", .preemptions = 2,
      .timeouts = 0) {
  town t(1, 1);
  t.slice_is_over();
  auto revoker = [&] { t.revoke(); };
  auto stopper = [&] { t.stop(); };
  auto a = start(revoker);
  auto b = start(stopper);
  t.calls(1);
  a.join();
  b.join();
  t.expect_whole(1);
}

}  // namespace
