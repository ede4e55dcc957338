// sudog: one wait of one goroutine (or plain thread) in one queue. It lives in the waiter's frame, because
// stacks do not move; it is gone when the wait is over.
//
//   waiter       what every wait has, whatever the queue: g.waiting points to it
//   sudog        in the semaphore table, by address (model/sematable.hpp)
//   chan_sudog   in a queue of a channel (model/hchan.hpp); a select has one for each of its cases
//
// The taker rule (DESIGN 5)  Whoever takes a sudog off its queue, under the queue's lock, owns the wake-up:
// it alone writes `result` and readies `gp`. A releaser, a timeout and a cancellation are takers alike. A select waits in
// many queues under many locks: there the taker is who has set its token (model/hchan.hpp).
// Never  touch a sudog after its goroutine was readied: the frame may be gone.
#pragma once
#include <cstdint>

namespace weft::rt {

struct g;
struct sudog;
class glist;

enum class wait_result : std::uint8_t {
  pending,    // still queued, or not yet read
  woken,      // try again: the object may be free
  handed,     // what was waited for is yours, or has happened
  closed,     // the channel has been closed
  timed_out,  // a timeout took the wait away
  cancelled,  // its goroutine is to unwind
};

// Where a wait is queued, and with it how a timeout or a cancellation takes it away.
enum class wait_kind : std::uint8_t {
  sema,              // a sudog
  chan,              // a chan_sudog
  select,            // several chan_sudogs; addr is the select_wait
  nowhere,           // nobody else knows of it: a nil channel, a select without cases
  in_word,           // alone, in the object's word: a pointer to it, in the bits above in_word_flags
  acquiring_select,  // as select, and in the semaphore table too: an acquiring_wait (model/hchan.hpp)
};

struct waiter {
  waiter() {}  // what a queue fills in when it takes the sudog is left open: this is on every slow path

  g* gp;
  const void* addr;  // what it waits on: the key of the semaphore table, the channel
  wait_result result = wait_result::pending;
  wait_kind kind = wait_kind::sema;
  bool queued = false;       // token: in a queue; changed under its lock only
  bool cancellable = false;  // if its goroutine may unwind (sched/cancel.hpp)
  std::int64_t since = 0;    // when a mutex waiter began to wait
};

// A word that can hold one waiter (src/context/future.cpp): the low bits are the object's.
inline constexpr std::uint64_t in_word_flags = 7;
inline std::uint64_t as_word(const waiter* w) { return reinterpret_cast<std::uintptr_t>(w); }
inline waiter* waiter_in(std::uint64_t word) { return reinterpret_cast<waiter*>(word & ~in_word_flags); }
// Takes w out of its word, if it is still there.
inline bool leave_word(waiter* w) {
  auto* at = static_cast<std::uint64_t*>(const_cast<void*>(w->addr));
  std::uint64_t word = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (waiter_in(word) == w) {
    if (__atomic_compare_exchange_n(at, &word, word & in_word_flags, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      return true;
  }
  return false;
}

// What an object needs to know when somebody other than itself takes a waiter off its queue. Called under the
// queue's lock; may take further waiters that can go on now, and adds them to `ready`.
using taken_fn = void (*)(sudog* sg, glist& ready);

struct sudog : waiter {
  // Waiters of the same address, oldest first; the first is the node of the treap and knows the last.
  sudog* next;
  sudog* prev;
  sudog* tail;
  // The treap of distinct addresses: valid in the first waiter of an address.
  sudog* parent;
  sudog* left;
  sudog* right;
  std::uint32_t ticket;
  taken_fn on_taken = nullptr;
};

}  // namespace weft::rt
