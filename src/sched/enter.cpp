// The slow side of the door: giving the P away for a blocking call, and getting one back.
#include "sched/enter.hpp"

#include <utility>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "os/sys.hpp"
#include "sched/dispatch.hpp"
#include "sched/extras.hpp"
#include "sched/revoke.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/weight.hpp"
#include "weft/go.hpp"

namespace weft::rt {
namespace {

// How a goroutine without a P queues for one. `returns`: before those who have not begun (model/gqueue.hpp).
enum class rank : std::uint8_t { returns, last };

// The goroutine runs on this thread and has no P: its old one if that is idle, any idle one, or it queues for
// one, tied to this M: whoever dequeues it hands its P over (startlockedm). So a goroutine never changes threads but by
// parking.
//
// It may be listed as runnable while this thread is still on its stack, because nobody can run it: a dequeuer
// sees `tied` and wakes this M instead.
void rejoin(g* gp, m* mp, rank as = rank::returns) {
  sched_t* rt = mp->rt;
  p* pp = nullptr;
  noise(noise_at::rejoining);
  {
    // Under the same lock as R3 and what follows it: a revoker that has just won has taken the P off by now.
    mutex_guard guard(rt->lock);
    if (mp->p != nullptr) fatal("sched: revoked, but the P is still here");
    mp->declared.store(false, relaxed);
    mp->away = false;
    if (mp->taken) {
      mp->taken = false;
      --rt->ntaken;
      rt->ncame_back += mp->spun ? 1 : 0;
      // Under the lock, as everything that is done to its share of the CPUs: each reads what is there and writes all of it.
      if (const std::uint64_t turn = std::exchange(mp->turn, 0); turn != 0) os::thread_turn(mp->tid, turn);
    }
    if (rt->weight.load(relaxed) != 0) weigh(mp);
    if (mp->nextp != nullptr) {  // a stopper, who has given itself one
      pp = mp->nextp;
      mp->nextp = nullptr;
    } else if (mp->oldp != nullptr && mp->choose.settled(site::old_p, 2) == 0 && pidletake(rt, mp->oldp)) {
      pp = mp->oldp;
    } else {
      pp = pidleget(rt);
    }
    gp->status.set(status::detached, status::runnable);
    if (pp == nullptr) {
      // No P is idle, so every P is held or on its way to an M, and looks at the global queue under this lock
      // before it goes idle; or it is stopped, and whoever starts the world looks there. So gp is found.
      rt->nback.fetch_add(1, relaxed);
      gp->tied = mp;
      gp->flags |= g_tied;
      if (as == rank::returns) {
        rt->runq.push_returning(gp);
        runq_changed(rt);
      } else {
        globrunqput(rt, gp);
      }
    }
  }
  if (pp == nullptr) {
    mp->blocked = true;
    noise(noise_at::rejoined);
    mp->park.sleep();
    mp->park.clear();
    mp->blocked = false;
    rt->nback.fetch_sub(1, relaxed);
    pp = mp->nextp;
    mp->nextp = nullptr;
    mp->inherits = false;  // said to a goroutine that waits in stoplockedm
    gp->flags &= static_cast<std::uint8_t>(~g_tied);
    if (mp->lockedg == nullptr) gp->tied = nullptr;
  }
  mp->oldp = nullptr;
  acquirep(mp, pp);
  set_revoke(mp->revoke, revoke_none);
  begin_run(mp, gp, false);
}

// The slice is over, and others wait: the P goes to them. Where no thread is to be had for them it would only come back.
void end_slice_at_door(g* gp, m* mp) {
  sched_t* rt = mp->rt;
  {
    mutex_guard guard(rt->lock);
    if (!may_hand_over(rt)) return;
  }
  rt->nhanding.fetch_add(1, relaxed);
  p* pp = releasep(mp);
  mp->oldp = nullptr;
  gp->status.set(status::running, status::detached);
  set_revoke(mp->revoke, revoke_done);
  noise(noise_at::handing_off);
  handoffp(pp, false);
  rejoin(gp, mp, rank::last);
  rt->nhanding.fetch_sub(1, relaxed);
}

// Its locals' destructors belong to its run, so they come before the point that says it has ended.
void end_explored(g* gp) {
  if ((gp->flags & g_has_extras) == 0 || is_finished(gp->extras)) return;
  door_out(gp->m);
  finish_extras(gp->extras);
  gp->m->in_runtime.store(1, relaxed);
}

}  // namespace

m* enter_slow(g* gp, op what, const void* object) {
  m* mp = gp->m;
  noise(noise_at::revoke_seen);
  if ((mp->revoke.load(relaxed) & revoke_slow) != 0) {
    mp->calls.store((mp->calls.load(relaxed) + 2) | 1, release);  // order: enter.fence
    store_load_barrier();                                         // order: enter.door
  }
  for (;;) {
    std::uint32_t word = mp->revoke.load(acquire);
    switch (word & revoke_state) {
      case revoke_none: return mp;
      case revoke_pending: {
        // A revoker is between R1 and R3. It will find in_runtime == 1 if it comes after E1; the CAS settles it
        // either way: if it fails, the P is gone.
        const std::uint32_t none = (word & ~revoke_state) | revoke_none;
        if (mp->revoke.compare_exchange_strong(word, none, acq_rel, relaxed)) {
          if ((gp->rt->attention.load(relaxed) & attention_stop) != 0) {
            if (stop_at_door(gp, mp, true)) rejoin(gp, mp);
          } else if (mp->p->slice_over.load(relaxed)) {
            end_slice_at_door(gp, mp);
          }
          return mp;
        }
        break;
      }
      case revoke_explore:
        if (what == op::end) end_explored(gp);
        gp->rt->explore->point(gp->rt->explore, gp, what, object);
        return mp;
      default: rejoin(gp, mp); return mp;
    }
  }
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

// The eager form of losing the P: given away at once, before the call that blocks. Nested: the inner one takes a
// P back at its start and gives it up again; at its end the goroutine keeps the P it gets.
blocking_scope::blocking_scope() : g_(nullptr) {
  using namespace weft::rt;
  g* gp = getg();
  if (gp == nullptr) return;
  g_ = gp;
  enter inside(gp, op::blocking);
  if (gp->rt->explore != nullptr) return;  // inline: whoever could run meanwhile may do so before and after
  m* mp = gp->m;
  p* pp = releasep(mp);
  mp->oldp = pp;
  mp->declared.store(true, relaxed);
  gp->status.set(status::running, status::detached);
  set_revoke(mp->revoke, revoke_done);
  noise(noise_at::handing_off);
  handoffp(pp);
}

blocking_scope::~blocking_scope() {
  using namespace weft::rt;
  if (g_ != nullptr) enter inside(static_cast<g*>(g_), op::back);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
