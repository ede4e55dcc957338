// chan: Go's channels (GO-BEHAVIOUR C1), for goroutines and plain threads alike.
//
// Who    all of a channel under its lock. Partners meet there: whoever comes second does the work of both, and readies the
//        first when the lock is free again.
// State  weft/detail/hchan.hpp, model/hchan.hpp
// Order  chan.hand     the element, then the lock's unlock and status.park / the receiver goes on
//        chan.closed   see transfer.hpp
// Never  touch the channel after its lock was given back, but by one's own handle: a receiver may free it as soon as it
//        has its value. So each call ends with the unlock, and then the wake-up.
// Checked by test/model/chan_model.cpp, test/model/chan_fast_model.cpp, test/conformance/chan_test.cpp, test/stress.
#include "weft/chan.hpp"

#include <new>

#include "chan/close.hpp"
#include "chan/timer_chan.hpp"
#include "chan/transfer.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"

#include "weft/error.hpp"

namespace weft::rt {

namespace {
void nothing_to_unlock(void*) {}
}  // namespace

void wait_for_nothing(wait_reason why) {
  caller me;
  if (me.cancelled()) return;
  rt::waiter w;
  w.gp = me.waiter();
  w.addr = nullptr;
  w.kind = wait_kind::nowhere;
  w.queued = true;
  me.wait<nothing_to_unlock>(w, nullptr, why, true);
}

namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 47;  // as many as a process can address

void unlock_chan(void* c) { lock_of(static_cast<hchan*>(c)).unlock(); }

enum class end : std::uint8_t { done, closed, would_block, cancelled };

// The lock is held across; what is thrown leaves with it free, and nobody forgotten.
template <class Now>
[[gnu::always_inline]] inline attempt under_lock(hchan* c, caller& me, Now now) {
  g* next = nullptr;
  attempt a;
  try {
    a = now(next);
  } catch (...) {
    lock_of(c).unlock();
    if (next != nullptr) ready(me.self(), next);
    throw;
  }
  if (a == attempt::nobody) return a;  // with the lock
  lock_of(c).unlock();
  if (next != nullptr) ready(me.self(), next);
  return a;
}

// Queued on its side of c until somebody has served it, or it is to try again.
[[gnu::always_inline]] inline wait_result wait_in(hchan* c, caller& me, place what, bool sends) {
  chan_sudog sg;
  sg.gp = me.waiter();
  sg.addr = c;
  sg.kind = wait_kind::chan;
  sg.elem = what.elem;
  sg.put = what.put;
  sg.copy = what.copy;
  sg.sends = sends;
  (sends ? waitq::send(c) : waitq::recv(c)).push_back(&sg);
  me.wait<unlock_chan>(sg, c, sends ? wait_reason::chan_send : wait_reason::chan_receive, true);
  if (sg.orphaned) [[unlikely]]
    v0::detail::chan_drop(c);
  return sg.result;
}

template <bool Sends>
[[gnu::always_inline]] inline end operate(hchan* c, place what, bool block) {
  caller me;
  for (;;) {
    lock_chan(me.self(), c, block);
    const attempt a = under_lock(
        c, me, [&](g * &next) __attribute__((always_inline)) {
          if constexpr (Sends) {
            return send_now(c, what, next);
          } else {
            return recv_now(c, what, next);
          }
        });
    if (a == attempt::done) return end::done;
    if (a == attempt::closed) return end::closed;
    if (!block || me.cancelled()) {
      lock_of(c).unlock();
      return block ? end::cancelled : end::would_block;
    }
    switch (wait_in(c, me, what, Sends)) {
      case wait_result::handed: return end::done;
      case wait_result::closed: return end::closed;
      case wait_result::cancelled: return end::cancelled;
      default: break;
    }
  }
}

[[noreturn, gnu::cold, gnu::noinline]] void unwind() { throw v0::cancelled(); }
[[noreturn, gnu::cold, gnu::noinline]] void send_on_closed() { throw v0::send_on_closed_channel(); }

// For ever, or until cancelled.
[[noreturn, gnu::cold, gnu::noinline]] void wait_on_nil(wait_reason why) {
  wait_for_nothing(why);
  unwind();
}

[[gnu::always_inline]] inline void send(hchan* c, place from) {
  if (c == nullptr) [[unlikely]]
    wait_on_nil(wait_reason::chan_send_nil);
  switch (operate<true>(c, from, true)) {
    case end::closed: send_on_closed();
    case end::cancelled: unwind();
    default: return;
  }
}

v0::detail::chan_op try_send(hchan* c, place from) {
  if (c == nullptr) return v0::detail::chan_op::would_block;
  // In this order: a close sends waiting receivers away, so a channel that was open before it looked full may never have been
  // both (Go looks the other way round, and may say that it would block).
  if (looks_full(c) && looks_open(c)) return v0::detail::chan_op::would_block;
  switch (operate<true>(c, from, false)) {
    case end::closed: return v0::detail::chan_op::closed;
    case end::would_block: return v0::detail::chan_op::would_block;
    default: return v0::detail::chan_op::ok;
  }
}

[[gnu::always_inline]] inline bool recv(hchan* c, place to) {
  if (c == nullptr) [[unlikely]]
    wait_on_nil(wait_reason::chan_receive_nil);
  if (is_drained(c)) {  // order: chan.closed
    if (c->closed != v0::detail::is_of_timer) return false;
    if (!timer_recv(c, to.elem, to.put)) unwind();
    return true;
  }
  switch (operate<false>(c, to, true)) {
    case end::closed: return false;
    case end::cancelled: unwind();
    default: return true;
  }
}

v0::detail::chan_op try_recv(hchan* c, place to) {
  if (c == nullptr) return v0::detail::chan_op::would_block;
  // In this order: a channel that was open after it was empty was empty and open at once. If it is closed, a value may have
  // come in between.
  if (looks_empty(c) && looks_open(c)) return v0::detail::chan_op::would_block;
  if (is_drained(c)) {  // order: chan.closed
    if (c->closed != v0::detail::is_of_timer) return v0::detail::chan_op::closed;
    return timer_try_recv(c, to.elem, to.put) ? v0::detail::chan_op::ok : v0::detail::chan_op::would_block;
  }
  switch (operate<false>(c, to, false)) {
    case end::closed: return v0::detail::chan_op::closed;
    case end::would_block: return v0::detail::chan_op::would_block;
    default: return v0::detail::chan_op::ok;
  }
}

// Stacks that were bound one after the other lie in a row, so the way from one waiter to the next often is that to those
// behind it, too.
void look_ahead(const chan_sudog* sg, std::uintptr_t& last) {
  const auto here = reinterpret_cast<std::uintptr_t>(sg);
  __builtin_prefetch(reinterpret_cast<const void*>(here + 8 * (here - last)), 1);
  last = here;
}

// All who wait, before those there are; the one that waited longest last, which is readied last and so is the next to run
// (Go's order). Taken from both ends: each step waits for memory that nobody has touched for long, and two can wait at once.
void collect(waitq q, glist& all) {
  glist older;
  glist younger;
  std::uintptr_t at_first = 0;
  std::uintptr_t at_last = 0;
  while (chan_sudog* sg = q.claim()) {
    look_ahead(sg, at_first);
    older.push_front(finish(q, sg, wait_result::closed));
    sg = q.claim_last();
    if (sg == nullptr) break;
    look_ahead(sg, at_last);
    younger.push_back(finish(q, sg, wait_result::closed));
  }
  younger.append(older);
  younger.append(all);
  all = younger;
}

bool close(hchan* c) {
  caller me;
  glist all;
  if (!close_quietly(c, all)) return false;
  ready_all(me.self(), all);
  return true;
}

void close_or_throw(hchan* c) {
  if (c == nullptr) throw v0::close_of_nil_channel();
  if (!close(c)) throw v0::close_of_closed_channel();
}

// ---- in an exploration: a scheduling point before each, and one after those that may let others go on

[[gnu::noinline, gnu::cold]] void explored_send(hchan* c, place from) {
  step(op::send, c);
  send(c, from);
  stepped(op::send, c);
}

[[gnu::noinline, gnu::cold]] bool explored_recv(hchan* c, place to) {
  step(op::recv, c);
  const bool received = recv(c, to);
  stepped(op::recv, c, received);
  return received;
}

[[gnu::noinline, gnu::cold]] v0::detail::chan_op explored_try_send(hchan* c, place from) {
  step(op::try_send, c);
  const v0::detail::chan_op r = try_send(c, from);
  stepped(op::try_send, c, r == v0::detail::chan_op::ok);
  return r;
}

[[gnu::noinline, gnu::cold]] v0::detail::chan_op explored_try_recv(hchan* c, place to) {
  step(op::try_recv, c);
  const v0::detail::chan_op r = try_recv(c, to);
  stepped(op::try_recv, c, r == v0::detail::chan_op::ok);
  return r;
}

[[gnu::noinline, gnu::cold]] void explored_close(hchan* c) {
  step(op::close, c);
  close_or_throw(c);
  stepped(op::close, c);
}

// How many sudogs stay behind in q; each of them has a handle from now on.
std::uint64_t orphan(waitq q) {
  std::uint64_t n = 0;
  for (chan_sudog* sg = q.first(); sg != nullptr; sg = sg->next, ++n) sg->orphaned = true;
  return n;
}

}  // namespace

bool close_quietly(hchan* c, glist& all) {
  mutex_guard guard(lock_of(c));
  if (c->closed != 0) return false;
  __atomic_store_n(&c->closed, 1, __ATOMIC_RELEASE);  // order: chan.closed
  collect(waitq::recv(c), all);
  collect(waitq::send(c), all);
  return true;
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

// A channel of which nobody has a handle, and in which somebody waits all the same (the handle was on another goroutine's
// stack), is no use to anybody; but a cancellation comes by that queue, so it lives until the last of them has left.
void free_chan(hchan* c) noexcept {
  {
    rt::mutex_guard guard(rt::lock_of(c));
    const std::uint64_t left = rt::orphan(rt::waitq::recv(c)) + rt::orphan(rt::waitq::send(c));
    if (left != 0) {
      __atomic_store_n(&c->refs, left, __ATOMIC_RELAXED);
      return;
    }
  }
  if (c->closed == is_of_timer) {
    ::operator delete(static_cast<void*>(c));
    return;
  }
  if (c->type->destroy != nullptr) {
    for (; c->qcount != 0; --c->qcount, c->recvx = rt::after(c, c->recvx)) c->type->destroy(rt::slot(c, c->recvx));
  }
  const std::size_t align = c->type->align > alignof(hchan) ? c->type->align : alignof(hchan);
  ::operator delete (static_cast<void*>(c), std::align_val_t{align});
}

hchan* make_chan(const elem_type* type, std::ptrdiff_t capacity) {
  const std::size_t align = type->align > alignof(hchan) ? type->align : alignof(hchan);
  const std::size_t head = (sizeof(hchan) + align - 1) / align * align;
  if (capacity < 0 || (type->size != 0 && static_cast<std::size_t>(capacity) > (rt::most_bytes - head) / type->size)) {
    throw error("makechan: size out of range");
  }
  const auto n = static_cast<std::size_t>(capacity);
  void* memory = ::operator new (head + n * type->size, std::align_val_t{align});
  auto* c = ::new (memory) hchan{};
  c->dataqsiz = n;
  c->buf = static_cast<unsigned char*>(memory) + head;
  c->type = type;
  c->refs = 1;
  return c;
}

void stop_case_open(hchan* c) noexcept {
  c->type = &rt::stop_requested_type;
  c->refs = 1;
}

// In whatever requests the stop. Not by `caller`: there must be no other goroutine's turn in a callback that the standard
// library knows by its thread.
void stop_case_close(hchan* c) noexcept {
  rt::g* self = rt::getg();
  if (self != nullptr) rt::door_in(self);
  rt::glist waiters;
  rt::close_quietly(c, waiters);
  rt::ready_all(self, waiters);
  if (self != nullptr) rt::door_out(self->m);
}

void chan_unlocked(hchan* c) noexcept { rt::os::futex_wake(reinterpret_cast<rt::atomic<std::uint32_t>*>(&c->key)); }

void chan_send(hchan* c, void* from) {
  if (door_open()) [[unlikely]]
    return rt::explored_send(c, {from, nullptr, nullptr});
  rt::send(c, {from, nullptr, nullptr});
}

chan_op chan_try_send(hchan* c, void* from, copy_fn copy) {
  if (door_open()) [[unlikely]]
    return rt::explored_try_send(c, {from, nullptr, copy});
  return rt::try_send(c, {from, nullptr, copy});
}

bool chan_recv(hchan* c, void* to, elem_fn put) {
  if (door_open()) [[unlikely]]
    return rt::explored_recv(c, {to, put, nullptr});
  return rt::recv(c, {to, put, nullptr});
}

chan_op chan_try_recv(hchan* c, void* to, elem_fn put) {
  if (door_open()) [[unlikely]]
    return rt::explored_try_recv(c, {to, put, nullptr});
  return rt::try_recv(c, {to, put, nullptr});
}

void chan_close(hchan* c) {
  if (door_open()) [[unlikely]]
    return rt::explored_close(c);
  rt::close_or_throw(c);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
