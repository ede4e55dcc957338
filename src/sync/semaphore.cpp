// semaphore: permits and waiters in one word, so that there is no moment in which a releaser has added a
// permit and not yet looked for waiters (FAULTS 1: the store-buffering bug of this class is W8, shipped by
// three runtimes). The queue is in the semaphore table, by address.
//
// State  word: permits in the low half, waiters in the high half; never both above zero with the bucket free.
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
#include "sync/word.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

constexpr std::uint64_t one_waiter = std::uint64_t{1} << 32;
constexpr std::uint64_t max_permits = 0x7fffffff;
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

// A timeout has taken sg off the queue: one waiter less to hand permits to.
void waiter_gone(sudog* sg, glist&) {
  word64(static_cast<std::uint64_t*>(const_cast<void*>(sg->addr))).add(0 - one_waiter);
}

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
    too_many(n, found);
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
  wait_for_permit(word);
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
