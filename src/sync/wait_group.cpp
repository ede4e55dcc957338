// wait_group: Go's sync.WaitGroup (GO-BEHAVIOUR C5). Counter and waiters in one word; the queue is in the
// semaphore table, by address. A latch is the same counter, and only goes down.
//
// State  word: counter in the high half, waiters in the low half.
// Who    the counter: anyone, by CAS. The waiters: raised under the bucket's lock while the counter is above
//        zero; set to zero, under the lock, by the one whose add made the counter zero.
// Order  wg.zero   add: CAS (acq_rel) / wait: load (acquire); for a waiter: status.park
// Never  touch the word after an add that left no waiters behind at zero: a waiter that comes later sees zero,
//        returns and may destroy the group.
// Checked by test/model/wait_group_model.cpp, exhaustively, on plain threads; test/unit/sync/wait_group_test.cpp,
//        test/stress.
#include "weft/wait_group.hpp"

#include <algorithm>

#include "base/print.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"
#include "weft/latch.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t max_count = 0x7fffffff;

std::int64_t count(std::uint64_t word) { return static_cast<std::int64_t>(word >> 32); }
std::uint64_t waiters(std::uint64_t word) { return word & 0xffffffff; }

void waiter_gone(sudog* sg, glist&) {
  word64(static_cast<std::uint64_t*>(const_cast<void*>(sg->addr))).add(std::uint64_t{0} - 1);
}

// The counter has become zero by the caller's hand, with waiters: they are all released.
[[gnu::noinline]] void release_all(word64 word) {
  caller me;
  glist released;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  {
    mutex_guard guard(b.lock);
    // The queue first: a waiter keeps the group alive, the word alone does not. Timeouts may have left none, and
    // the group may be gone; its address may even be another object's by now.
    const sudog* first = b.front(word.addr());
    if (first == nullptr || first->on_taken != waiter_gone) return;
    // Counting again: timeouts had left no waiter and a new round has begun, whose waiters are not ours.
    if (count(word.load_acquire()) != 0) return;  // order: wg.zero
    while (sudog* sg = b.front(word.addr())) {
      b.remove(sg);
      sg->result = wait_result::handed;
      released.push_back(sg->gp);
    }
    // With waiters and a count of zero an add throws, and with the lock ours no waiter comes or goes.
    word.store(0);
  }
  ready_all(me.self(), released);
}

[[gnu::always_inline]] inline void add(word64 word, std::ptrdiff_t n) {
  // Beyond these every n fails alike, and the sum below cannot overflow.
  const std::int64_t step = std::clamp<std::int64_t>(n, -2 * max_count, 2 * max_count);
  for (std::uint64_t old = word.load();;) {
    const std::int64_t now = count(old) + step;
    if (now < 0) throw v0::negative_counter();
    if (now > max_count) {
      line text;
      text.text("weft: wait_group counter ").signed_number(now).text(" exceeds the maximum of 2147483647");
      throw v0::error(text.c_str());
    }
    if (count(old) == 0 && waiters(old) != 0 && n > 0) {
      throw v0::wait_group_misuse("sync: WaitGroup misuse: Add called concurrently with Wait");
    }
    if (!word.cas(old, static_cast<std::uint64_t>(now) << 32 | waiters(old))) continue;  // order: wg.zero
    if (now == 0 && n != 0 && waiters(old) != 0) release_all(word);
    return;
  }
}

[[gnu::always_inline]] inline wait_result wait(word64 word, wait_reason why) {
  if (count(word.load_acquire()) == 0) return wait_result::handed;  // order: wg.zero
  wait_result result;
  {
    caller me;
    if (me.cancelled()) return wait_result::cancelled;
    sudog sg;
    sg.gp = me.waiter();
    sg.addr = word.addr();
    sg.on_taken = waiter_gone;
    sema_bucket& b = the_process.semas.bucket(word.addr());
    b.lock.lock();
    for (std::uint64_t old = word.load();;) {
      if (count(old) == 0) {
        b.lock.unlock();
        word.load_acquire();  // order: wg.zero
        return wait_result::handed;
      }
      if (word.cas(old, old + 1)) break;
    }
    b.push_back(&sg, b.empty() ? 0 : me.ticket());
    me.wait(b, sg, why, true);
    result = sg.result;
  }
  // Ours is one of the waits that the group must outlive, so its word can be read. The goroutines that the last
  // done() released may start a new round before this one has left; that is an error in Go and here.
  if (result == wait_result::handed && why == wait_reason::wait_group_wait && word.load() != 0) {
    throw v0::wait_group_misuse("sync: WaitGroup is reused before previous Wait has returned");
  }
  return result;
}

void wait_or_unwind(word64 word, wait_reason why = wait_reason::wait_group_wait) {
  if (wait(word, why) == wait_result::cancelled) throw v0::cancelled();
}

[[noreturn, gnu::cold]] void bad_count_down(std::ptrdiff_t n, std::int64_t left) {
  line text;
  text.text("weft: latch count_down(").signed_number(n).text(") with ").signed_number(left).text(" left");
  throw v0::error(text.c_str());
}

// A latch is a counter that nobody raises.
void count_down(word64 word, std::ptrdiff_t n) {
  for (std::uint64_t old = word.load();;) {
    if (n < 0 || n > count(old)) bad_count_down(n, count(old));
    const auto now = static_cast<std::uint64_t>(count(old) - n);
    if (!word.cas(old, now << 32 | waiters(old))) continue;  // order: wg.zero
    if (now == 0 && n != 0 && waiters(old) != 0) release_all(word);
    return;
  }
}

// In an exploration: a scheduling point before each, and one after add, which may let others go on.
[[gnu::noinline, gnu::cold]] void explored_add(word64 word, std::ptrdiff_t n) {
  const op what = n < 0 ? op::done : op::add;
  step(what, word.addr());
  add(word, n);
  stepped(what, word.addr());
}

[[gnu::noinline, gnu::cold]] void explored_wait(word64 word) {
  step(op::wait, word.addr());
  wait_or_unwind(word);
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void wait_group_add(std::uint64_t* word, std::ptrdiff_t n) {
  if (door_open()) [[unlikely]]
    return rt::explored_add(rt::word64(word), n);
  rt::add(rt::word64(word), n);
}

void wait_group_wait(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_wait(rt::word64(word));
  rt::wait_or_unwind(rt::word64(word));
}

void latch_count_down(std::uint64_t* word, std::ptrdiff_t n) {
  const bool explored = door_open();
  if (explored) [[unlikely]]
    rt::step(rt::op::count_down, word);
  rt::count_down(rt::word64(word), n);
  if (explored) [[unlikely]]
    rt::stepped(rt::op::count_down, word);
}

void latch_wait(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::latch_wait, word);
  rt::wait_or_unwind(rt::word64(word), rt::wait_reason::latch_wait);
}

void latch_bad_count(std::ptrdiff_t n) {
  rt::line text;
  text.text("weft: latch count ").signed_number(n).text(": must be 0 to 2147483647");
  throw error(text.c_str());
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
