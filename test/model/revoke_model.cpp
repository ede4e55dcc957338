// The door and the loss of a P: production's enter.hpp and enter.cpp on the owner's side; on the revokers' side revoke.hpp,
// before there is a sysmon that uses it, with what a revoker will do under sched.lock; then the way back (rejoin).
//
// Who holds a P has its payload to itself: a plain field, raised at each use.
#include "sched/revoke.hpp"

#include <array>

#include "model/fabric.hpp"
#include "sched/enter.hpp"
#include "weft/go.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::status;

// One M with a goroutine on each of the first Ps.
class town {
 public:
  town(std::uint32_t owners, std::uint32_t procs) : f_(procs) {
    for (std::uint32_t i = 0; i < owners; ++i) {
      rt::m* mp = f_.new_m();
      rt::g* gp = f_.new_g(i + 1);
      rt::acquirep(mp, f_.p(i));
      gp->status.set(status::runnable, status::running);
      gp->m = mp;
      mp->curg = gp;
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

  void use(rt::p* pp) { ++used_[pp->id]; }

  // What a revoker does with an M that it suspects, R3 and after.
  rt::p* take_p(rt::suspect& s, rt::m* mp) {
    const rt::mutex_guard guard(f_.sched()->lock);
    if (!s.decide()) return nullptr;
    expect(mp->p != nullptr, "whoever is outside with revoke == none has a P");
    rt::p* pp = rt::releasep(mp);
    mp->oldp = pp;
    mp->curg->status.set(status::running, status::detached);
    return pp;
  }
  void revoke(std::uint32_t i = 0) {
    rt::suspect s(m_[i]->in_runtime, m_[i]->revoke);
    expect(rt::suspect_all(&s, 1) == 0, "membarrier works");
    if (rt::p* pp = take_p(s, m_[i])) {
      use(pp);
      give_back(pp);
    }
  }
  // The least that handoffp does: to a goroutine that waits for a P, or to the idle ones.
  void give_back(rt::p* pp) {
    rt::m* other = nullptr;
    {
      const rt::mutex_guard guard(f_.sched()->lock);
      if (const rt::g* gp = f_.sched()->runq.pop_front()) {
        other = gp->tied;
      } else {
        rt::pidleput(f_.sched(), pp);
      }
    }
    if (other == nullptr) return;
    other->nextp = pp;
    other->park.wakeup();
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

MODEL(revoke_by_two_in_turn, "two revokers under a lock of their own, as sysmon and who stops the world") {
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

MODEL(revoke_batch, "one membarrier for two Ms: each P is its owner's or the revoker's") {
  town t(2, 2);
  auto stop = [&] {
    rt::suspect s[2] = {{t.m(0)->in_runtime, t.m(0)->revoke}, {t.m(1)->in_runtime, t.m(1)->revoke}};
    expect(rt::suspect_all(s, 2) == 0, "membarrier works");
    rt::p* mine[2] = {t.take_p(s[0], t.m(0)), t.take_p(s[1], t.m(1))};
    // As one who stops the world: it has them until it gives them back.
    for (rt::p* pp : mine) {
      if (pp != nullptr) t.use(pp);
    }
    for (rt::p* pp : mine) {
      if (pp != nullptr) t.give_back(pp);
    }
  };
  auto other = [&] { t.calls(1, 1); };
  auto a = start(stop);
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

}  // namespace
