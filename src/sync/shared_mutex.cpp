// shared_mutex: readers and writers in one word, with Go's rule (GO-BEHAVIOUR C5), and what Go's has not: it may be
// destroyed by whoever finds it free. The waiters are in the semaphore table: writers by the word's address, readers by that
// of its high half, which is in the same bucket; so one lock guards both queues.
//
// State  written 1 | writers wait 2 | readers wait 4 | readers << 32. Written excludes readers. The waiting bits are set
//        exactly while their queues are not empty. With `written` or `writers` no reader comes in; so readers wait only then.
// Who    without waiting bits: anyone, by CAS. The waiting bits, and the word while it is written and somebody waits: only
//        under the bucket's lock. A reader that is not the last may leave by CAS at any time.
//        The lock is handed over: to all readers that wait when a writer leaves, else to the oldest writer. Nobody barges.
// Order  rw.free   unlock: CAS or store (release) / lock: CAS (acquire); handed over: status.park
// Never  touch the word after it was given away, but under the bucket's lock with somebody waiting.
// Checked by test/model/shared_mutex_model.cpp, test/conformance/shared_mutex_test.cpp.
#include "weft/shared_mutex.hpp"

#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

constexpr std::uint64_t written = v0::detail::rw_written;
constexpr std::uint64_t writers_wait = v0::detail::rw_writers;
constexpr std::uint64_t readers_wait = v0::detail::rw_readers;
constexpr std::uint64_t one_reader = v0::detail::rw_reader;

std::uint64_t readers(std::uint64_t word) { return word >> 32; }

// The two queues.
const void* writers_of(word64 word) { return word.addr(); }
const void* readers_of(word64 word) { return static_cast<const char*>(word.addr()) + 4; }

bool admits_writer(std::uint64_t word) { return word == 0; }
bool admits_reader(std::uint64_t word) { return (word & (written | writers_wait)) == 0; }

// Under the bucket's lock: all readers that wait. How many.
std::uint64_t take_readers(sema_bucket& b, word64 word, glist& out) {
  std::uint64_t n = 0;
  for (; sudog* sg = b.front(readers_of(word)); ++n) {
    b.remove(sg);
    sg->result = wait_result::handed;
    out.push_back(sg->gp);
  }
  return n;
}

// Under the bucket's lock: the oldest writer. Whether more wait.
bool take_writer(sema_bucket& b, word64 word, glist& out) {
  sudog* sg = b.front(writers_of(word));
  b.remove(sg);
  sg->result = wait_result::handed;
  out.push_back(sg->gp);
  return b.front(writers_of(word)) != nullptr;
}

// A timeout has taken a waiter. The last writer that waited may have been all that kept the readers out.
void waiter_gone(sudog* sg, glist& others) {
  const auto at = reinterpret_cast<std::uintptr_t>(sg->addr);
  word64 word(reinterpret_cast<std::uint64_t*>(at & ~std::uintptr_t{7}));
  sema_bucket& b = the_process.semas.bucket(word.addr());
  if (b.front(sg->addr) != nullptr) return;
  if (sg->addr == readers_of(word)) {
    for (std::uint64_t old = word.load(); !word.cas(old, old & ~readers_wait);) {
    }
    return;
  }
  for (std::uint64_t old = word.load(); !word.cas(old, old & ~writers_wait);) {
  }
  if ((word.load() & (written | readers_wait)) != readers_wait) return;
  // No reader comes by itself yet: the bit that says they wait makes it a slow path for none, so this adds to a word
  // that others may change.
  const std::uint64_t n = take_readers(b, word, others);
  for (std::uint64_t old = word.load(); !word.cas(old, (old & ~readers_wait) + n * one_reader);) {
  }
}

// Until `deadline` at most: false, then.
template <bool Writer>
bool wait_for(word64 word, std::int64_t deadline = no_timer) {
  caller me;
  sudog sg;
  sg.addr = Writer ? writers_of(word) : readers_of(word);
  sg.on_taken = waiter_gone;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  b.lock.lock();
  for (std::uint64_t old = word.load();;) {
    if (Writer ? admits_writer(old) : admits_reader(old)) {
      if (!word.cas(old, Writer ? written : old + one_reader)) continue;  // order: rw.free
      b.lock.unlock();
      return true;
    }
    if (word.cas(old, old | (Writer ? writers_wait : readers_wait))) break;
  }
  sg.gp = me.waiter();
  b.push_back(&sg, b.empty() ? 0 : me.ticket());
  me.wait_until(b, sg, Writer ? wait_reason::rwmutex_lock : wait_reason::rwmutex_rlock, false, deadline);
  return sg.result == wait_result::handed;
}

bool try_write(word64 word) {
  std::uint64_t old = word.load();
  while (admits_writer(old)) {
    if (word.cas(old, written)) return true;  // order: rw.free
  }
  return false;
}

bool try_read(word64 word) {
  std::uint64_t old = word.load();
  while (admits_reader(old)) {
    if (word.cas(old, old + one_reader)) return true;  // order: rw.free
  }
  return false;
}

// Those who wait are there, and only the lock's holder changes the word.
void unlock_with_waiters(word64 word) {
  caller me;
  glist next;
  {
    sema_bucket& b = the_process.semas.bucket(word.addr());
    mutex_guard guard(b.lock);
    const std::uint64_t old = word.load();
    if ((old & readers_wait) != 0) {
      word.store(take_readers(b, word, next) * one_reader | (old & writers_wait));  // order: rw.free
    } else if ((old & writers_wait) != 0) {
      // Taken and counted before the word says so: the lock is the next writer's from here on.
      word.store(written | (take_writer(b, word, next) ? writers_wait : 0));  // order: rw.free
    } else {
      word.store(0);  // timeouts have left nobody; order: rw.free
    }
  }
  ready_all(me.self(), next);
}

bool write_unlock(word64 word) {
  std::uint64_t old = word.load();
  while ((old & (writers_wait | readers_wait)) == 0) {
    if ((old & written) == 0) return false;
    if (word.cas(old, 0)) return true;  // order: rw.free
  }
  if ((old & written) == 0) return false;
  unlock_with_waiters(word);
  return true;
}

// The last reader, with writers waiting; or it was so a moment ago.
void last_reader_leaves(word64 word) {
  caller me;
  glist next;
  {
    sema_bucket& b = the_process.semas.bucket(word.addr());
    mutex_guard guard(b.lock);
    for (std::uint64_t old = word.load();;) {
      if (readers(old) != 1 || (old & writers_wait) == 0) {
        if (word.cas(old, old - one_reader)) return;  // order: rw.free
        continue;
      }
      // Of the last reader's count nobody but it can take, and no other comes: the word is ours. What the readers before did is
      // handed over, too.
      // order: rw.free
      word.load_acquire();
      word.store(written | (old & readers_wait) | (take_writer(b, word, next) ? writers_wait : 0));  // order: rw.free
      break;
    }
  }
  ready_all(me.self(), next);
}

bool read_unlock(word64 word) {
  for (std::uint64_t old = word.load();;) {
    if (readers(old) == 0) return false;
    if (readers(old) == 1 && (old & writers_wait) != 0) {
      last_reader_leaves(word);
      return true;
    }
    if (word.cas(old, old - one_reader)) return true;  // order: rw.free
  }
}

template <bool Writer>
[[gnu::noinline]] bool lock_for(word64 word, std::int64_t ns) {
  if (Writer ? try_write(word) : try_read(word)) return true;
  return ns > 0 && wait_for<Writer>(word, later(now_for(getg()), ns));
}

template <bool Writer>
[[gnu::noinline, gnu::cold]] bool explored_lock_for(word64 word, std::int64_t ns) {
  constexpr op what = Writer ? op::lock : op::lock_shared;
  step(what, word.addr());
  const bool taken = lock_for<Writer>(word, ns);
  stepped(what, word.addr(), taken);
  return taken;
}

// In an exploration: a scheduling point before each, and one after an unlock, which lets others go on.
[[gnu::noinline, gnu::cold]] void explored_lock(word64 word) {
  step(op::lock, word.addr());
  if (!try_write(word)) wait_for<true>(word);
  stepped(op::lock, word.addr());
}

[[gnu::noinline, gnu::cold]] void explored_lock_shared(word64 word) {
  step(op::lock_shared, word.addr());
  if (!try_read(word)) wait_for<false>(word);
  stepped(op::lock_shared, word.addr());
}

[[gnu::noinline, gnu::cold]] bool explored_try(op what, word64 word) {
  step(what, word.addr());
  const bool taken = what == op::try_lock ? try_write(word) : try_read(word);
  stepped(what, word.addr(), taken);
  return taken;
}

[[gnu::noinline, gnu::cold]] bool explored_unlock(op what, word64 word) {
  step(what, word.addr());
  const bool held = what == op::unlock ? write_unlock(word) : read_unlock(word);
  stepped(what, word.addr());
  return held;
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void shared_mutex_lock(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_lock(rt::word64(word));
  if (!rt::try_write(rt::word64(word))) rt::wait_for<true>(rt::word64(word));
}

bool shared_mutex_try_lock(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_try(rt::op::try_lock, rt::word64(word));
  return rt::try_write(rt::word64(word));
}

void shared_mutex_unlock(std::uint64_t* word) {
  const bool held =
      door_open() ? rt::explored_unlock(rt::op::unlock, rt::word64(word)) : rt::write_unlock(rt::word64(word));
  if (!held) throw unlock_of_unlocked_mutex("sync: Unlock of unlocked RWMutex");
}

void shared_mutex_lock_shared(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_lock_shared(rt::word64(word));
  if (!rt::try_read(rt::word64(word))) rt::wait_for<false>(rt::word64(word));
}

bool shared_mutex_try_lock_for(std::uint64_t* word, std::int64_t ns) {
  if (door_open()) [[unlikely]]
    return rt::explored_lock_for<true>(rt::word64(word), ns);
  return rt::lock_for<true>(rt::word64(word), ns);
}

bool shared_mutex_try_lock_shared_for(std::uint64_t* word, std::int64_t ns) {
  if (door_open()) [[unlikely]]
    return rt::explored_lock_for<false>(rt::word64(word), ns);
  return rt::lock_for<false>(rt::word64(word), ns);
}

bool shared_mutex_try_lock_shared(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_try(rt::op::try_lock_shared, rt::word64(word));
  return rt::try_read(rt::word64(word));
}

void shared_mutex_unlock_shared(std::uint64_t* word) {
  const bool held =
      door_open() ? rt::explored_unlock(rt::op::unlock_shared, rt::word64(word)) : rt::read_unlock(rt::word64(word));
  if (!held) throw unlock_of_unlocked_mutex("sync: RUnlock of unlocked RWMutex");
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
