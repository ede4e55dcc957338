#include "sched/cancel.hpp"

#include <climits>

#include "base/check.hpp"
#include "model/glist.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "weft/error.hpp"
#include "weft/this_goroutine.hpp"

namespace weft::rt {
namespace {

struct cancellation {
  sched_t* rt;
  glist taken;   // ours, off their queues
  glist others;  // whoever can go on because of that
};

// Its status is locked for the look: what is waiting may be another runtime's, and not for long.
void cancel_waiting(void* object, void* arg) {
  auto& c = *static_cast<cancellation*>(arg);
  auto* gp = static_cast<g*>(object);
  if (gp->status.get() != status::waiting || !gp->status.lock_waiting()) return;
  const bool taken = gp->rt == c.rt && !gp->is_thread() && gp->waiting != nullptr && gp->waiting->cancellable &&
                     may_be_unwound(gp) && take_locked(gp, wait_result::cancelled, c.others);
  gp->status.unlock_waiting();
  if (!taken) return;
  gp->status.wake();
  c.taken.push_back(gp);
}

// Members taken out of a scope's list at a time, with its lock held.
constexpr std::uint32_t members_at_once = 32;

}  // namespace

bool join_scope(g_extras* x) {
  scope* s = x->obeys;
  if (x->joined == s) return s->is_open();
  mutex_guard guard(s->lock);
  if (!s->is_open()) return false;
  x->prev = nullptr;
  x->next = s->members;
  if (x->next != nullptr) x->next->prev = x;
  s->members = x;
  x->queued = true;
  x->joined = s;
  return true;
}

// The lock of s is held.
static void unlink_member(scope* s, g_extras* x) {
  if (x->prev != nullptr) {
    x->prev->next = x->next;
  } else {
    s->members = x->next;
  }
  if (x->next != nullptr) x->next->prev = x->prev;
  x->queued = false;
}

void leave_scope(g_extras* x) {
  scope* s = x->joined;
  if (s == nullptr) return;
  caller me;
  mutex_guard guard(s->lock);
  if (x->queued) unlink_member(s, x);
  x->joined = nullptr;
}

void take_if_cancelled(g* self, g* gp) {
  if (!gp->status.lock_waiting()) return;
  glist others;
  const bool mine = !gp->is_thread() && gp->waiting != nullptr && gp->waiting->cancellable && may_be_unwound(gp) &&
                    must_unwind(gp) && take_locked(gp, wait_result::cancelled, others);
  gp->status.unlock_waiting();
  if (mine) ready(self, gp);
  ready_all(self, others);
}

void cancel_members(scope* s) {
  store_load_barrier();  // order: cancel.scope
  for (;;) {
    caller me;
    // A member may leave, and end, as soon as the lock is free: its g is type-stable, and what it is by then is looked at.
    g* taken[members_at_once];
    std::uint32_t n = 0;
    {
      mutex_guard guard(s->lock);
      while (s->members != nullptr && n < members_at_once) {
        taken[n++] = s->members->gp;
        unlink_member(s, s->members);
      }
    }
    if (n == 0) return;
    for (std::uint32_t i = 0; i < n; ++i) take_if_cancelled(me.self(), taken[i]);
  }
}

bool cancel_all(sched_t* rt, g* self, bool watching) {
  cancellation c{rt, {}, {}};
  {
    stopped_world stopped(rt, self, watching);
    if (!stopped) return false;
    rt->attention.fetch_or(attention_cancelled, release);
    rt->no_extras.asks.store(1, relaxed);  // order: cancel.stop
    the_process.gs.for_each(cancel_waiting, &c);
    mutex_guard guard(rt->lock);
    while (g* gp = c.taken.pop_front()) globrunqput(rt, gp);
  }
  // As from outside: the caller is not inside the runtime.
  ready_all(nullptr, c.others);
  return true;
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {

no_cancel::no_cancel() noexcept : outermost_(false) {
  rt::g* gp = rt::getg();
  if (gp == nullptr || (gp->flags & rt::g_no_cancel) != 0) return;
  gp->flags |= rt::g_no_cancel;
  outermost_ = true;
}

no_cancel::~no_cancel() {
  if (outermost_) rt::getg()->flags &= static_cast<std::uint8_t>(~rt::g_no_cancel);
}

namespace this_goroutine {

bool cancelled() noexcept {
  const rt::g* gp = rt::getg();
  return gp != nullptr && rt::is_cancelled(gp);
}

void exit() {
  if (rt::getg() == nullptr) throw error("weft::this_goroutine::exit called outside a runtime: a plain thread returns");
  throw detail::goexit_unwind();
}

}  // namespace this_goroutine
}  // namespace v0
}  // namespace weft
