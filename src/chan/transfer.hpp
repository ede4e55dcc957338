// transfer: one element on its way from a sender to a receiver, or into and out of the buffer, under the channel's lock.
//
// Who    the goroutine that found a partner, or room, does both sides' work: it runs the element's copy or move, which is
//        the program's code. That code sees what a plain thread sees: for its duration getg() is null. So it can call
//        whatever a thread may call, and cannot leave its stack while the lock is held and the door is closed.
// State  an element that is plain bytes has no functions; then no code of the program's runs here, and nothing throws.
// Never  change the channel before what may throw has been done: a move that throws leaves everything as it was. Only
//        a select that was won cannot be un-won; it is told to try again.
#pragma once
#include <cstring>

#include "arch/getg.hpp"
#include "model/hchan.hpp"
#include "sched/park.hpp"

namespace weft::rt {

class as_a_thread {
 public:
  as_a_thread() : gp_(getg()) { setg(nullptr); }
  ~as_a_thread() { setg(gp_); }
  as_a_thread(const as_a_thread&) = delete;
  as_a_thread& operator=(const as_a_thread&) = delete;

 private:
  g* gp_;
};

// Sizes that are common get instructions of their own.
[[gnu::always_inline]] inline void copy_bytes(void* to, const void* from, std::size_t n) {
  switch (n) {
    case 0: return;
    case 4: std::memcpy(to, from, 4); return;
    case 8: std::memcpy(to, from, 8); return;
    case 16: std::memcpy(to, from, 16); return;
    default: std::memcpy(to, from, n);
  }
}

// Somebody on another CPU works on this channel just now. Two who take turns at every value pay for a cache line each time;
// so this one stays away for as long as the other may need to fill or drain the buffer. Then it finds its work in one
// piece, and, if the other had to wait for it, readies it here, where both go on without meeting again.
// (A call that does not wait stays on its thread; it looks for a moment only.)
[[gnu::always_inline]] inline void lock_chan(g* self, hchan* c, bool may_wait) {
  if (lock_of(c).try_lock()) [[likely]]
    return;
  stay_away(may_wait ? self : nullptr);
  lock_of(c).lock();
}

// Where a value comes from, or where it goes: what a call brings with it, and a sudog keeps while it waits.
struct place {
  void* elem;  // to null: it goes nowhere (plain bytes only)
  elem_fn put;
  copy_fn copy;
};

inline place of(const chan_sudog* sg) { return {sg->elem, sg->put, sg->copy}; }

[[gnu::always_inline]] inline void move_elem(const elem_type* type, place to, place from) {
  if (to.put != nullptr) [[unlikely]] {
    as_a_thread outside;
    if (from.copy != nullptr) {
      from.copy(to.put, to.elem, from.elem);
    } else {
      to.put(to.elem, from.elem);
    }
  } else if (to.elem != nullptr) {
    copy_bytes(to.elem, from.elem, type->size);
  }
}

inline unsigned char* slot(hchan* c, std::uint64_t i) { return c->buf + i * c->type->size; }
inline std::uint64_t after(const hchan* c, std::uint64_t i) { return i + 1 == c->dataqsiz ? 0 : i + 1; }
inline void set_count(hchan* c, std::uint64_t n) {
  __atomic_store_n(&c->qcount, n, __ATOMIC_RELEASE);  // order: chan.looks
}

// Into a free place of the buffer, which the caller counts.
[[gnu::always_inline]] inline void move_in(hchan* c, place from) {
  move_elem(c->type, {slot(c, c->sendx), c->type->construct, nullptr}, from);
  c->sendx = after(c, c->sendx);
}

// The buffer has room.
[[gnu::always_inline]] inline void put_last(hchan* c, place from) {
  move_in(c, from);
  set_count(c, c->qcount + 1);
}

// The oldest value out of the buffer, which the caller counts. What is left of it there is destroyed.
[[gnu::always_inline]] inline void move_out(hchan* c, place to) {
  unsigned char* from = slot(c, c->recvx);
  move_elem(c->type, to, {from, nullptr, nullptr});
  if (c->type->destroy != nullptr) [[unlikely]] {
    as_a_thread outside;
    c->type->destroy(from);
  }
  c->recvx = after(c, c->recvx);
}

// What came of an attempt, with the lock held all the time.
enum class attempt : std::uint8_t { done, closed, nobody };

// Sends, if that can be done now. `next` gets the receiver to be readied, if there is one.
// Throws what the element's move throws: then nothing has happened, but that `next` may be a select that is to try again.
[[gnu::always_inline]] inline attempt send_now(hchan* c, place from, g*& next) {
  if (c->closed != 0) return attempt::closed;
  if (chan_sudog* sg = waitq::recv(c).claim()) {
    if (sg->put == nullptr) {
      move_elem(c->type, of(sg), from);
    } else {
      try {
        move_elem(c->type, of(sg), from);
      } catch (...) {
        if (sg->select != nullptr) next = finish(waitq::recv(c), sg, wait_result::woken);
        throw;
      }
    }
    next = finish(waitq::recv(c), sg, wait_result::handed);
    return attempt::done;
  }
  if (c->qcount == c->dataqsiz) return attempt::nobody;
  put_last(c, from);
  return attempt::done;
}

// The buffer was full and has one free place, which the oldest sender's value gets: false if there is none. When its move
// throws, the sender has to meet that, not whoever makes room: it tries again.
inline bool refill(hchan* c, g*& next) {
  if (waitq::send(c).first() == nullptr) return false;
  chan_sudog* sg = waitq::send(c).claim();
  if (sg == nullptr) return false;
  wait_result r = wait_result::handed;
  if (c->type->construct == nullptr) {
    move_in(c, of(sg));
  } else {
    try {
      move_in(c, of(sg));
    } catch (...) {
      r = wait_result::woken;
    }
  }
  next = finish(waitq::send(c), sg, r);
  return r == wait_result::handed;
}

// The same of a receive; c is not a timer's channel, which who receives has seen without the lock (is_drained).
[[gnu::always_inline]] inline attempt recv_now(hchan* c, place to, g*& next) {
  if (c->qcount != 0) {
    move_out(c, to);
    // A place that is filled again stays counted: who looks without the lock must not find a buffer of one empty.
    if (!refill(c, next)) set_count(c, c->qcount - 1);
    return attempt::done;
  }
  if (c->closed != 0) return attempt::closed;
  chan_sudog* sg = waitq::send(c).claim();
  if (sg == nullptr) return attempt::nobody;
  if (to.put == nullptr) {
    move_elem(c->type, to, of(sg));
  } else {
    try {
      move_elem(c->type, to, of(sg));
    } catch (...) {
      if (sg->select != nullptr) next = finish(waitq::send(c), sg, wait_result::woken);
      throw;
    }
  }
  next = finish(waitq::send(c), sg, wait_result::handed);
  return attempt::done;
}

// Without the lock, as hints; each can be wrong a moment later. A select that has gone elsewhere makes a queue look
// inhabited; whoever then looks with the lock takes it off.
inline bool looks_open(const hchan* c) { return __atomic_load_n(&c->closed, __ATOMIC_ACQUIRE) == 0; }
// Order  chan.looks   who takes the last value, or empties a queue: closed, if it knows of it, then qcount or first (release) /
//        here: qcount and first (acquire), then closed. So what looks empty, or full, and then open was both at once. A buffer
//        that is full may be an old one: nobody fills it who knows of a close.
inline bool looks_empty(const hchan* c) {
  const bool no_value = __atomic_load_n(&c->qcount, __ATOMIC_ACQUIRE) == 0;           // order: chan.looks
  return no_value & (__atomic_load_n(&c->sendq_first, __ATOMIC_ACQUIRE) == nullptr);  // order: chan.looks
}
inline bool looks_full(const hchan* c) {
  const bool no_room = __atomic_load_n(&c->qcount, __ATOMIC_RELAXED) == c->dataqsiz;
  return no_room & (__atomic_load_n(&c->recvq_first, __ATOMIC_ACQUIRE) == nullptr);  // order: chan.looks
}
// For good: nothing comes into a closed channel any more. So a done channel that all wait on is no place where they meet
// (Go 20351): nobody writes to it.
// Order  chan.closed   close: closed (release), after all that was sent / here: closed (acquire), then qcount
inline bool is_drained(const hchan* c) { return !looks_open(c) && __atomic_load_n(&c->qcount, __ATOMIC_RELAXED) == 0; }

}  // namespace weft::rt
