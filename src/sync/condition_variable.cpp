// condition_variable: Go's sync.Cond (GO-BEHAVIOUR C5) without its tickets. A waiter is enlisted in the semaphore table while
// it still holds its lock, and parks after it has given that back; so the order of the table is the order of the waits, and a
// notification between the two is not lost.
//
// State  word: how many are enlisted. Raised and lowered under the bucket's lock, with the queue.
//        a wait is   enlisted (running) ─▶ parked ─▶ notified, or taken by a timeout or cancellation
//                            └──────────▶ notified: it will not park
// Who    the waiter enlists itself and says `parked`; who notifies takes it off; all under the bucket's lock. Only who is
//        parked is readied: `parked` is set in the section that begins the park.
// Order  cond.enlist   enlist: the queue and the word, before the user's unlock / notify: the user's lock, then the word.
//        So a notification made after a change under the lock cannot miss who looked before the change. One that is made
//        without the lock has no such promise, in Go and in std either.
// Never  touch the word once the waiter is off the queue: when all have been notified the object may go.
// Checked by test/model/cond_model.cpp, test/conformance/condition_variable_test.cpp.
#include "weft/condition_variable.hpp"

#include <new>

#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

struct cond_sudog : sudog {
  bool parked = false;
};
static_assert(sizeof(cond_sudog) <= sizeof(v0::detail::cond_waiter) &&
              alignof(cond_sudog) <= alignof(v0::detail::cond_waiter));

cond_sudog* of(v0::detail::cond_waiter* w) { return std::launder(reinterpret_cast<cond_sudog*>(w->space)); }

void waiter_gone(sudog* sg, glist&) {
  word64(static_cast<std::uint64_t*>(const_cast<void*>(sg->addr))).add(std::uint64_t{0} - 1);
}

void enlist(word64 word, v0::detail::cond_waiter* w) {
  auto* sg = ::new (w->space) cond_sudog;
  sg->gp = nullptr;
  sg->addr = word.addr();
  sg->on_taken = waiter_gone;
  caller me;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  const std::uint32_t ticket = me.ticket();
  mutex_guard guard(b.lock);
  b.push_back(sg, ticket);
  word.add(1);
}

wait_result wait(word64 word, cond_sudog* sg, std::int64_t deadline) {
  caller me;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  b.lock.lock();
  if (!sg->queued) {
    b.lock.unlock();
    return wait_result::handed;
  }
  if (me.cancelled()) {
    b.remove(sg);
    word.add(std::uint64_t{0} - 1);
    b.lock.unlock();
    return wait_result::cancelled;
  }
  sg->gp = me.waiter();
  sg->parked = true;
  me.wait_until(b, *sg, wait_reason::cond_wait, true, deadline);
  return sg->result;
}

// Under the bucket's lock. Whoever is still on its way to its park goes on without it.
void notify_front(sema_bucket& b, word64 word, sudog* first, glist& next) {
  b.remove(first);
  word.add(std::uint64_t{0} - 1);
  first->result = wait_result::handed;
  if (static_cast<cond_sudog*>(first)->parked) next.push_back(first->gp);
}

void notify(word64 word, bool all) {
  if (word.load() == 0) return;
  caller me;
  glist next;
  {
    sema_bucket& b = the_process.semas.bucket(word.addr());
    mutex_guard guard(b.lock);
    while (sudog* first = b.front(word.addr())) {
      notify_front(b, word, first, next);
      if (!all) break;
    }
  }
  ready_all(me.self(), next);
}

void withdraw(word64 word, cond_sudog* sg) {
  {
    caller me;
    sema_bucket& b = the_process.semas.bucket(word.addr());
    mutex_guard guard(b.lock);
    if (sg->queued) {
      b.remove(sg);
      word.add(std::uint64_t{0} - 1);
      return;
    }
  }
  notify(word, false);
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void cond_enlist(std::uint64_t* word, cond_waiter* w) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::cond_wait, word);
  rt::enlist(rt::word64(word), w);
}

cond_end cond_wait(std::uint64_t* word, cond_waiter* w, std::int64_t deadline) {
  switch (rt::wait(rt::word64(word), rt::of(w), deadline)) {
    case rt::wait_result::cancelled: return cond_end::cancelled;
    case rt::wait_result::timed_out: return cond_end::timed_out;
    default: return cond_end::notified;
  }
}

void cond_withdraw(std::uint64_t* word, cond_waiter* w) { rt::withdraw(rt::word64(word), rt::of(w)); }

// In an exploration: a scheduling point before and after.
void cond_notify(std::uint64_t* word, bool all) {
  const bool explored = door_open();
  if (explored) [[unlikely]]
    rt::step(rt::op::notify, word);
  rt::notify(rt::word64(word), all);
  if (explored) [[unlikely]]
    rt::stepped(rt::op::notify, word);
}

void cond_throw_cancelled() { throw cancelled(); }

void cond_throw_unlocked() { throw error("weft: condition_variable::wait: the lock is not held"); }

}  // namespace detail
}  // namespace v0
}  // namespace weft
