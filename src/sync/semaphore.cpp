// semaphore: permits and waiters in one word, so that there is no moment in which a releaser has added a
// permit and not yet looked for waiters (FAULTS 1: the store-buffering bug of this class is W8, shipped by
// three runtimes). The queue is in the semaphore table, by address.
//
// State  word: permits in the low half, waiters in the high half; never both above zero with the bucket free.
//        With a select among the waiters the low half says so (select_waits), which looks like more permits than there can be:
//        so a release finds it where it looks for too many, and the others pay nothing for it. It goes with the last waiter.
// Who    without waiters: anyone, by CAS. With waiters: only under the bucket's lock. A word that shows a
//        waiter stops the lock-free paths, so under the lock it changes by nobody else's hand.
// Order  sema.permit   release: CAS (acq_rel) / acquire: CAS (acq_rel); for a waiter: status.park
// Never  touch the word after the CAS that gives the last permit away: whoever takes it may destroy the
//        semaphore. With waiters the object lives until they have been readied, after the last touch.
// Checked by test/model/sema_model.cpp, exhaustively, on plain threads; test/unit/sync/semaphore_test.cpp,
//        test/stress/taker.cpp.
#include "weft/semaphore.hpp"

#include <algorithm>

#include "base/print.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/semaphore.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

constexpr std::uint64_t one_waiter = std::uint64_t{1} << 32;
constexpr std::uint64_t max_permits = 0x7fffffff;
constexpr std::uint64_t select_waits = 0x80000000;
constexpr std::uint64_t no_refusal = ~std::uint64_t{0};

std::uint64_t permits(std::uint64_t word) { return word & 0xffffffff; }
std::uint64_t waiters(std::uint64_t word) { return word >> 32; }

[[gnu::always_inline]] inline bool take(word64 word) {
  std::uint64_t old = word.load();
  while (permits(old) != 0 && waiters(old) == 0) {
    if (word.cas(old, old - 1)) return true;  // order: sema.permit
  }
  return false;
}

// One waiter less to hand permits to. Under the lock, with the word that counts it: nobody else changes that.
void one_less(word64 word) {
  const std::uint64_t left = word.load() - one_waiter;
  word.store(waiters(left) != 0 ? left : 0);
}

word64 word_of(const sudog* sg) { return word64(static_cast<std::uint64_t*>(const_cast<void*>(sg->addr))); }

// A timeout or a cancellation has taken sg off the queue.
void waiter_gone(sudog* sg, glist&) { one_less(word_of(sg)); }

// For so many ns at most; no_timer: for however long.
[[gnu::always_inline]] inline wait_result take_or_wait(word64 word, std::int64_t ns) {
  caller me;
  if (me.cancelled()) return wait_result::cancelled;
  const std::int64_t deadline = ns == no_timer ? no_timer : later(me.now(), ns);
  sudog sg;
  sg.gp = me.waiter();
  sg.addr = word.addr();
  sg.on_taken = waiter_gone;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  b.lock.lock();
  // From here on the word says that somebody waits, or we have a permit.
  for (std::uint64_t old = word.load();;) {
    if (permits(old) != 0 && waiters(old) == 0) {
      if (word.cas(old, old - 1)) {  // order: sema.permit
        b.lock.unlock();
        return wait_result::handed;
      }
    } else if (waiters(old) != 0) {
      word.store(old + one_waiter);  // not the first: nobody else changes it
      break;
    } else if (word.cas(old, old + one_waiter)) {
      break;
    }
  }
  b.push_back(&sg, b.empty() ? 0 : me.ticket());
  if (ns == no_timer) {
    me.wait(b, sg, wait_reason::semacquire, true);
  } else {
    me.wait_until(b, sg, wait_reason::semacquire, true, deadline);
  }
  return sg.result;
}

// Under the bucket's lock, with somebody waiting.
g* hand_to_oldest(sema_bucket& b, word64 word) {
  sudog* sg = b.front(word.addr());
  b.remove(sg);
  sg->result = wait_result::handed;
  return sg->gp;
}

[[noreturn, gnu::cold]] void too_many(std::uint64_t n, std::uint64_t found) {
  line text;
  text.text("weft: semaphore release(")
      .number(n)
      .text(") with ")
      .number(found)
      .text(" permits would exceed the maximum of 2147483647");
  throw v0::error(text.c_str());
}

// With selects among the waiters, some of which may have gone elsewhere: those are taken off and get nothing. What is left over
// becomes permits. Returns no_refusal, or the permits that there are if there would be too many.
[[gnu::noinline]] std::uint64_t give_past_selects(word64 word, std::uint64_t n) {
  caller me;
  glist served;
  std::uint64_t found = no_refusal;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  {
    mutex_guard guard(b.lock);
    std::uint64_t old = word.load();
    if (n > max_permits) found = 0;
    while (found == no_refusal && n != 0 && waiters(old) != 0) {
      sudog* sg = b.front(word.addr());
      b.remove(sg);
      old -= one_waiter;
      if (sg->kind == wait_kind::acquiring_select) {
        auto* sc = static_cast<sema_case*>(sg);
        if (!set_token(sc->select)) continue;  // its frame stays until it has had this lock
        sc->select->won_sema = sc;
        sc->select->result = wait_result::handed;
      } else {
        sg->result = wait_result::handed;
      }
      served.push_back(sg->gp);
      --n;
    }
    // Until here the word says that there are waiters, so nobody else changes it; if there were none, anybody may.
    if (waiters(old) != 0) {
      if (found == no_refusal) word.store(old);
    } else if (!served.empty() || (word.load() & select_waits) != 0) {
      word.store(n);  // order: sema.permit
    } else {
      while (found == no_refusal && n != 0) {
        if (old + n > max_permits) {
          found = old;
        } else if (word.cas(old, old + n)) {  // order: sema.permit
          break;
        }
      }
    }
  }
  ready_all(me.self(), served);
  return found;
}

// `found` looks like too many permits: it is, or a select waits.
[[gnu::noinline, gnu::cold]] void give_or_refuse(word64 word, std::uint64_t n, std::uint64_t found) {
  if ((found & select_waits) != 0) found = give_past_selects(word, n);
  if (found != no_refusal) too_many(n, found);
}

// There were waiters a moment ago.
[[gnu::noinline]] void give_to_waiters(word64 word, std::uint64_t n) {
  std::uint64_t found = no_refusal;
  {
    caller me;
    g* first = nullptr;
    glist others;
    sema_bucket& b = the_process.semas.bucket(word.addr());
    {
      mutex_guard guard(b.lock);
      // The waiters may have been served, or have timed out, before the lock was ours: then the word is free for
      // others too. What is left over becomes permits, with the last touch of the word.
      for (std::uint64_t old = word.load();;) {
        const std::uint64_t given = n < waiters(old) ? n : waiters(old);
        const std::uint64_t left = n - given;
        if (permits(old) + left > max_permits) [[unlikely]] {
          found = permits(old);
          break;
        }
        const std::uint64_t now = old - given * one_waiter + left;
        if (given == 0) [[unlikely]] {
          if (word.cas(old, now)) break;  // order: sema.permit
          continue;
        }
        word.store(now);  // order: sema.permit
        first = hand_to_oldest(b, word);
        for (std::uint64_t i = 1; i < given; ++i) others.push_back(hand_to_oldest(b, word));
        break;
      }
    }
    if (first != nullptr) ready(me.self(), first);
    if (!others.empty()) ready_all(me.self(), others);
  }
  // Outside: an exception is made with malloc.
  if (found != no_refusal) [[unlikely]]
    give_or_refuse(word, n, found);
}

// Throws, and nothing has happened, when there would be more permits than there can be.
[[gnu::always_inline]] inline void give(word64 word, std::uint64_t n) {
  for (std::uint64_t old = word.load(); waiters(old) == 0;) {
    if (old + n > max_permits) [[unlikely]]
      too_many(n, old);
    if (word.cas(old, old + n)) return;  // order: sema.permit
  }
  give_to_waiters(word, n);
}

// Apart from the paths that do not wait: those need no frame then.
[[gnu::noinline]] void wait_for_permit(word64 word) {
  if (take_or_wait(word, no_timer) == wait_result::cancelled) throw v0::cancelled();
}

[[gnu::noinline]] bool wait_for_permit_for(word64 word, std::int64_t ns) {
  if (ns <= 0) return false;
  const wait_result r = take_or_wait(word, std::min(ns, far_future));
  if (r == wait_result::cancelled) throw v0::cancelled();
  return r == wait_result::handed;
}

// In an exploration each is a scheduling point before it, and release one after it too.
[[gnu::noinline, gnu::cold]] void explored_acquire(word64 word) {
  step(op::sem_acquire, word.addr());
  if (!take(word)) wait_for_permit(word);
  stepped(op::sem_acquire, word.addr());
}

[[gnu::noinline, gnu::cold]] bool explored_acquire_for(word64 word, std::int64_t ns) {
  step(op::sem_acquire, word.addr());
  const bool taken = take(word) || wait_for_permit_for(word, ns);
  stepped(op::sem_acquire, word.addr(), taken);
  return taken;
}

[[gnu::noinline, gnu::cold]] bool explored_try_acquire(word64 word) {
  step(op::sem_try_acquire, word.addr());
  const bool taken = take(word);
  stepped(op::sem_try_acquire, word.addr(), taken);
  return taken;
}

[[gnu::noinline, gnu::cold]] void explored_release(word64 word, std::ptrdiff_t n) {
  step(op::sem_release, word.addr());
  give(word, static_cast<std::uint64_t>(n));
  stepped(op::sem_release, word.addr());
}

// No permit to give, or less than none.
[[gnu::noinline, gnu::cold]] void release_none(std::ptrdiff_t n) {
  if (n < 0) v0::detail::semaphore_bad_count(n);
}

}  // namespace

bool sema_looks_free(word64 word) {
  const std::uint64_t old = word.load();
  return permits(old) != 0 && waiters(old) == 0;
}

bool sema_take(word64 word) { return take(word); }

bool sema_take_or_queue(sema_bucket& b, word64 word, sema_case* sg, std::uint32_t ticket) {
  for (std::uint64_t old = word.load();;) {
    if (waiters(old) != 0) {
      word.store((old + one_waiter) | select_waits);  // not the first: nobody else changes it
      break;
    }
    if (permits(old) != 0) {
      if (word.cas(old, old - 1)) return true;  // order: sema.permit
    } else if (word.cas(old, one_waiter | select_waits)) {
      break;
    }
  }
  b.push_back(sg, ticket);
  return false;
}

void sema_leave(sema_bucket& b, sema_case* sg) {
  if (!sg->queued) return;
  b.remove(sg);
  one_less(word_of(sg));
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void semaphore_acquire(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_acquire(rt::word64(word));
  if (!rt::take(rt::word64(word))) rt::wait_for_permit(rt::word64(word));
}

bool semaphore_try_acquire(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_try_acquire(rt::word64(word));
  return rt::take(rt::word64(word));
}

bool semaphore_try_acquire_for(std::uint64_t* word, std::int64_t ns) {
  if (door_open()) [[unlikely]]
    return rt::explored_acquire_for(rt::word64(word), ns);
  return rt::take(rt::word64(word)) || rt::wait_for_permit_for(rt::word64(word), ns);
}

void semaphore_release(std::uint64_t* word, std::ptrdiff_t n) {
  if (n <= 0) [[unlikely]]
    return rt::release_none(n);
  if (door_open()) [[unlikely]]
    return rt::explored_release(rt::word64(word), n);
  rt::give(rt::word64(word), static_cast<std::uint64_t>(n));
}

void semaphore_bad_count(std::ptrdiff_t n) {
  rt::line text;
  text.text("weft: semaphore count ").signed_number(n).text(": must be 0 to 2147483647");
  throw error(text.c_str());
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
