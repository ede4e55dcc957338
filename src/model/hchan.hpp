// hchan, from inside: the queues of a channel, and the token of a select (Go's runtime.hchan, waitq, selectDone).
//
// Who    a queue: whoever holds the channel's lock. A select's token: whoever takes one of its sudogs, with that channel's
//        lock; or a timeout or cancellation, with the waiter's status locked. The first sets it and owns the wake-up.
// State  a select is queued in several channels. Once its token is set its other sudogs are dead: whoever finds one under
//        the channel's lock takes it off and goes on; the rest the select takes off itself when it runs again.
//        The CAS on it decides and orders nothing: what is read of a select is ordered by the channel's lock or the locked
//        status, what is written into it by status.park.
// Why    a sudog in a queue is in a live frame as long as the channel's lock is held: the select cannot return before it has
//        had the lock of each channel in which it is still queued.
// Checked by test/model/chan_model.cpp, test/model/select_model.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "lock/mutex.hpp"
#include "model/sudog.hpp"
#include "weft/detail/hchan.hpp"

namespace weft::rt {

using hchan = v0::detail::hchan;
using v0::detail::elem_fn;
using v0::detail::elem_type;

// Channels that the runtime closes, in place of something else: reports know them by their type.
inline constexpr elem_type context_done_type{0, 1, nullptr, nullptr};
inline constexpr elem_type future_done_type{0, 1, nullptr, nullptr};
inline constexpr elem_type stop_requested_type{0, 1, nullptr, nullptr};

struct select_wait;

struct chan_sudog : waiter {
  chan_sudog* next;
  chan_sudog* prev;
  void* elem;  // a sender's value; where a receiver wants it: null, nowhere
  elem_fn put;
  bool copy;              // a sender keeps its value
  bool sends;             // in which of the two queues
  bool orphaned = false;  // the waiter has a handle of its own: the last one went while this was queued, or it is dead
  std::uint32_t index;    // of a select's case
  select_wait* select = nullptr;

  hchan* chan() const { return static_cast<hchan*>(const_cast<void*>(addr)); }
};

struct select_wait : waiter {
  atomic<std::uint32_t> done{0};
  std::uint32_t n = 0;
  chan_sudog* cases = nullptr;
  chan_sudog* won = nullptr;  // null: by a timeout or cancellation, or a semaphore
};

// A select among the waiters of a semaphore: in the semaphore table as any sudog, but for its `kind`.
struct acquiring_wait;
struct sema_case : sudog {
  std::uint32_t index;  // of the case
  acquiring_wait* select;
};

struct acquiring_wait : select_wait {
  std::uint32_t nsemas = 0;
  sema_case* semas = nullptr;
  sema_case* won_sema = nullptr;  // null: not by a semaphore
};

// The token: true for the one that has it now. Who decides by a queue has that queue's lock.
inline bool set_token(select_wait* sel) {
  std::uint32_t open = 0;
  return sel->done.compare_exchange_strong(open, 1, relaxed, relaxed);
}

// The public header has the lock as a plain number, so that inline fast paths can take it (weft/detail/hchan.hpp).
inline mutex& lock_of(hchan* c) {
  static_assert(sizeof(mutex) == sizeof c->key && alignof(mutex) == alignof(std::uint32_t));
  return *reinterpret_cast<mutex*>(&c->key);
}

// One of the two queues of a channel, first come, first served.
class waitq {
 public:
  static waitq recv(hchan* c) { return {&c->recvq_first, &c->recvq_last}; }
  static waitq send(hchan* c) { return {&c->sendq_first, &c->sendq_last}; }

  // Also without the lock, as a hint.
  static void* first_of(void* const& first) { return __atomic_load_n(&first, __ATOMIC_RELAXED); }
  chan_sudog* first() const { return static_cast<chan_sudog*>(first_of(*first_)); }

  void push_back(chan_sudog* sg) {
    invariant(!sg->queued, "chan: sudog is queued already");
    sg->queued = true;
    auto* last = static_cast<chan_sudog*>(*last_);
    sg->next = nullptr;
    sg->prev = last;
    if (last != nullptr) {
      last->next = sg;
    } else {
      set_first(sg);
    }
    *last_ = sg;
  }

  void remove(chan_sudog* sg) {
    if (!sg->queued) [[unlikely]]
      fatal("chan: sudog is not queued");
    sg->queued = false;
    if (sg->prev != nullptr) {
      sg->prev->next = sg->next;
    } else {
      set_first(sg->next);
    }
    if (sg->next != nullptr) {
      sg->next->prev = sg->prev;
    } else {
      *last_ = sg->prev;
    }
  }

  // The oldest one that still waits. A select among them is won by that, and its wake-up the caller's to give; it stays in
  // the queue all the same, as does every other, until remove().
  chan_sudog* claim() {
    return claim_at([this] { return first(); });
  }
  // The same, of the youngest.
  chan_sudog* claim_last() {
    return claim_at([this] { return static_cast<chan_sudog*>(*last_); });
  }

 private:
  template <class End>
  chan_sudog* claim_at(End end) {
    for (;;) {
      chan_sudog* sg = end();
      if (sg == nullptr || sg->select == nullptr || win(sg)) return sg;
      remove(sg);
      // Its select has still to take this channel's lock, and nobody can see in the queue that it will.
      v0::detail::chan_hold(sg->chan());
      sg->orphaned = true;
    }
  }

  waitq(void** first, void** last) : first_(first), last_(last) {}
  void set_first(chan_sudog* sg) { __atomic_store_n(first_, sg, __ATOMIC_RELEASE); }  // order: chan.looks
  static bool win(chan_sudog* sg) {
    if (!set_token(sg->select)) return false;
    sg->select->won = sg;
    return true;
  }

  void** first_;
  void** last_;
};

// Whose `result` is read when sg's goroutine goes on.
inline void set_result(chan_sudog* sg, wait_result r) {
  if (sg->select != nullptr) {
    sg->select->result = r;
  } else {
    sg->result = r;
  }
}

// Takes sg off its queue, if it is still there. False: somebody else has.
inline bool leave_queue(chan_sudog* sg) {
  hchan* c = sg->chan();
  mutex_guard guard(lock_of(c));
  if (!sg->queued) return false;
  (sg->sends ? waitq::send(c) : waitq::recv(c)).remove(sg);
  return true;
}

// The waiter is told how its wait ended, and leaves the queue. The caller readies it, with the lock given back.
inline g* finish(waitq q, chan_sudog* sg, wait_result r) {
  q.remove(sg);
  set_result(sg, r);
  return sg->gp;
}

}  // namespace weft::rt
