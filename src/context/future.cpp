// future: one result, made once, and those who wait for it.
//
// State  word: flags in the low bits, above them the first who waits, in whose frame it points.
//          ready       the result is there; for ever, and then nothing else is in the word
//          more        others wait in the semaphore table, by the address of the word; set under the bucket's lock
//          has_channel `done` is to be closed
// Who    whoever waits comes into the word from its commit, when it has left its stack; one that finds it taken, waits with
//        a limit, or under a context, goes to the table. The goroutine whose result it is takes all of it out at once.
// Order  future.ready   the result, then ready (exchange, acq_rel) / wait: ready (acquire); for a waiter: status.park
//        future.done    the channel, then has_channel (CAS, release) / ready (exchange, acquire), then the channel.
//                       So who makes the channel either closes it, having found the result, or has it closed.
//                       Found: ready (acquire), since whoever hears of the close reads the result.
// Why    a future has one who waits, nearly always; in the word that costs two locked instructions, in the table six.
//        Shares are held across: by the goroutine until it has readied the last, by a waiter as long as it waits. So unlike a
//        latch's the word may be looked at after it is ready.
//        A limit is armed before its waiter is known (caller::arm_and), and may be over at once, on another thread: in the
//        table that finds the bucket locked, and waits; in the word it would find nobody, and the wait had no limit any more.
// Never  ready a waiter from its own commit if it is watched (sched/park.hpp): its status is locked there.
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

constexpr std::uint64_t is_there = v0::detail::future_ready;
constexpr std::uint64_t more = 2;
constexpr std::uint64_t has_channel = 4;
static_assert((is_there | more | has_channel) == in_word_flags && alignof(waiter) > in_word_flags);

bool is_ready(word64 word) { return (word.load_acquire() & is_there) != 0; }  // order: future.ready

[[gnu::noinline]] void release_table(caller& me, word64 word) {
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

// The commit of a park: into the word. If that is ready, or another's, the waiter goes on at once and looks again.
void come_into_word(void* p) {
  auto* w = static_cast<waiter*>(p);
  const word64 word(static_cast<std::uint64_t*>(const_cast<void*>(w->addr)));
  std::uint64_t old = word.load();
  while ((old & is_there) == 0 && waiter_in(old) == nullptr) {
    if (word.cas(old, old | as_word(w))) return;
  }
  w->result = wait_result::woken;
  ready(getg(), w->gp);
}

[[gnu::always_inline]] inline wait_result wait_in_word(caller& me, word64 word) {
  waiter w;
  w.gp = me.waiter();
  w.addr = word.addr();
  w.kind = wait_kind::in_word;
  me.wait<come_into_word>(w, &w, wait_reason::future_wait, true);
  return w.result;
}

[[gnu::noinline]] wait_result wait_in_table(caller& me, word64 word, std::int64_t deadline) {
  sudog sg;
  sg.gp = me.waiter();
  sg.addr = word.addr();
  sema_bucket& b = the_process.semas.bucket(word.addr());
  b.lock.lock();
  for (std::uint64_t old = word.load(); (old & more) == 0;) {
    if ((old & is_there) != 0) {
      b.lock.unlock();
      word.load_acquire();  // order: future.ready
      return wait_result::handed;
    }
    if (word.cas(old, old | more)) break;
  }
  b.push_back(&sg, b.empty() ? 0 : me.ticket());
  me.wait_until(b, sg, wait_reason::future_wait, true, deadline);
  return sg.result;
}

// The result was not there a moment ago. Limited: apart, so that the others have no limit to look at.
template <bool Limited>
[[gnu::noinline]] wait_result wait(word64 word, std::int64_t deadline) {
  caller me;
  for (;;) {
    if (me.cancelled()) return is_ready(word) ? wait_result::handed : wait_result::cancelled;
    if (Limited || waiter_in(word.load()) != nullptr || me.watched()) [[unlikely]]
      return wait_in_table(me, word, deadline);
    const wait_result r = wait_in_word(me, word);
    if (r != wait_result::woken) [[likely]]
      return r;
    if (is_ready(word)) return wait_result::handed;
  }
}

void close_done(hchan* c) {
  caller me;
  glist waiters;
  close_quietly(c, waiters);
  ready_all(me.self(), waiters);
}

[[gnu::noinline]] void wake_up(future_state* s, std::uint64_t old) {
  if ((old & has_channel) != 0) close_done(__atomic_load_n(&s->done, __ATOMIC_ACQUIRE));
  caller me;
  if ((old & more) != 0) release_table(me, word64(&s->word));
  if (waiter* w = waiter_in(old)) {
    w->result = wait_result::handed;
    ready(me.self(), w->gp);
  }
}

[[gnu::always_inline]] inline void settle(future_state* s) {
  const std::uint64_t old =
      __atomic_exchange_n(&s->word, is_there, __ATOMIC_ACQ_REL);  // order: future.ready, future.done
  if (old != 0) wake_up(s, old);
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
  if (future_is_ready(s)) return;
  if (rt::wait<false>(rt::word64(&s->word), rt::no_timer) == rt::wait_result::cancelled) throw cancelled();
}

bool future_wait_for(future_state* s, std::int64_t ns) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::future_wait, &s->word);
  if (future_is_ready(s)) return true;
  if (ns <= 0) return false;
  switch (rt::wait<true>(rt::word64(&s->word), rt::later(rt::now_for(rt::getg()), ns))) {
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
      const rt::word64 word(&s->word);
      std::uint64_t old = word.load();
      while ((old & rt::is_there) == 0 && !word.cas(old, old | rt::has_channel)) {  // order: future.done
      }
      if ((old & rt::is_there) != 0) {
        word.load_acquire();  // order: future.done
        rt::close_done(c);
      }
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
