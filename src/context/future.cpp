// future: one result, made once; whoever waits for it is in the semaphore table, by the address of its word.
//
// State  word: pending ─▶ waited_for ─▶ ready, or pending ─▶ ready. waited_for: under the bucket's lock; ready: by the
//        goroutine whose result it is.
// Order  future.ready   the result, then ready (exchange, acq_rel) / wait: ready (acquire); for a waiter: status.park
//        future.done    ready, a barrier, then the channel / who makes the channel: it, a barrier, then ready. One of the two
//                       closes it, or both do, which closes it once.
// Why    a share is held across: by the goroutine until it has readied the last, by a waiter as long as it waits. So unlike a
//        latch the word may be looked at after it is ready.
// Checked by test/model/future_model.cpp, test/conformance/future_test.cpp.
#include "weft/future.hpp"

#include "chan/close.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

using v0::detail::future_state;

constexpr std::uint64_t pending = 0;
constexpr std::uint64_t waited_for = 1;
constexpr std::uint64_t ready_word = v0::detail::future_ready_word;

bool is_ready(word64 word) { return word.load_acquire() == ready_word; }  // order: future.ready

[[gnu::noinline]] void release_all(word64 word) {
  caller me;
  glist released;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  {
    mutex_guard guard(b.lock);
    while (sudog* sg = b.front(word.addr())) {
      b.remove(sg);
      sg->result = wait_result::handed;
      released.push_front(sg->gp);
    }
  }
  // The one that has waited longest last: it runs next, as with a channel that is closed.
  ready_all(me.self(), released);
}

wait_result wait(word64 word, std::int64_t deadline) {
  if (is_ready(word)) return wait_result::handed;
  caller me;
  if (me.cancelled()) return wait_result::cancelled;
  sudog sg;
  sg.gp = me.waiter();
  sg.addr = word.addr();
  sema_bucket& b = the_process.semas.bucket(word.addr());
  b.lock.lock();
  for (std::uint64_t old = word.load(); old != waited_for;) {
    if (old == pending && word.cas(old, waited_for)) break;
    if (old != ready_word) continue;
    b.lock.unlock();
    word.load_acquire();  // order: future.ready
    return wait_result::handed;
  }
  b.push_back(&sg, b.empty() ? 0 : me.ticket());
  me.wait_until(b, sg, wait_reason::future_wait, true, deadline);
  return sg.result;
}

void close_done(hchan* c) {
  caller me;
  glist waiters;
  close_quietly(c, waiters);
  ready_all(me.self(), waiters);
}

void settle(future_state* s) {
  const std::uint64_t old = __atomic_exchange_n(&s->word, ready_word, __ATOMIC_ACQ_REL);  // order: future.ready
  store_load_barrier();  // order: future.done
  if (hchan* c = __atomic_load_n(&s->done, __ATOMIC_ACQUIRE)) [[unlikely]]
    close_done(c);
  if (old == waited_for) release_all(word64(&s->word));
}

[[gnu::noinline, gnu::cold]] void explored_settle(future_state* s) {
  step(op::fulfil, &s->word);
  settle(s);
  stepped(op::fulfil, &s->word);
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void future_settle(future_state* s) noexcept {
  if (door_open()) [[unlikely]]
    return rt::explored_settle(s);
  rt::settle(s);
}

void future_wait(future_state* s) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::future_wait, &s->word);
  if (rt::wait(rt::word64(&s->word), rt::no_timer) == rt::wait_result::cancelled) throw cancelled();
}

bool future_wait_for(future_state* s, std::int64_t ns) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::future_wait, &s->word);
  if (future_is_ready(s)) return true;
  if (ns <= 0) return false;
  switch (rt::wait(rt::word64(&s->word), rt::later(rt::now_for(rt::getg()), ns))) {
    case rt::wait_result::cancelled: throw cancelled();
    case rt::wait_result::timed_out: return future_is_ready(s);
    default: return true;
  }
}

hchan* future_done(future_state* s) {
  hchan* c = __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
  if (c == nullptr) {
    hchan* made = make_chan(&rt::future_done_type, 0);
    if (__atomic_compare_exchange_n(&s->done, &c, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      c = made;
      rt::store_load_barrier();  // order: future.done
      if (future_is_ready(s)) rt::close_done(c);
    } else {
      chan_drop(made);
    }
  }
  return c;
}

void future_throw(const future_state* s) {
  if (s->what == outcome::thrown) std::rethrow_exception(s->thrown);
  throw future_cancelled();
}

void future_throw_no_state() { throw error("weft: a future without a result: default-constructed, or moved from"); }
void future_throw_taken() { throw error("weft: the result of this future has been taken"); }

}  // namespace detail
}  // namespace v0
}  // namespace weft
