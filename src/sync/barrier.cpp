// barrier: rounds. The waiters are in the semaphore table, by address.
//
// State  missing: counts down from expected; at zero the round is being completed, by whoever arrived last, and until that
//        is done nobody may arrive. phase: the number of the round; a change of it is what releases.
// Who    all of it under the bucket's lock; phase is also read without it.
// Order  barrier.phase   each arrival and the completion, under the bucket's lock, then phase: store (release) / wait: phase
//        (acquire); for a waiter: status.park
// Never  touch the state after the phase has changed: who sees that may destroy the barrier. Only the queue is looked at, by
//        its address.
// Checked by test/model/barrier_model.cpp, test/conformance/latch_barrier_test.cpp.
#include "weft/barrier.hpp"

#include "base/print.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

using v0::detail::barrier_state;

std::uint64_t phase_of(const barrier_state* s) { return __atomic_load_n(&s->phase, __ATOMIC_ACQUIRE); }

[[noreturn, gnu::cold]] void bad_arrival(std::ptrdiff_t n, std::uint32_t missing) {
  line text;
  text.text("weft: barrier arrive(").signed_number(n).text(") with ").number(missing).text(" missing");
  throw v0::error(text.c_str());
}

bool arrive(barrier_state* s, std::ptrdiff_t n, bool drop, std::uint64_t* phase) {
  std::uint32_t missing;
  {
    caller me;
    sema_bucket& b = the_process.semas.bucket(s);
    mutex_guard guard(b.lock);
    missing = s->missing;
    if (n > 0 && n <= static_cast<std::ptrdiff_t>(missing)) {
      *phase = s->phase;
      s->missing = missing - static_cast<std::uint32_t>(n);
      if (drop) --s->expected;
      return s->missing == 0;
    }
  }
  bad_arrival(n, missing);
}

void complete(barrier_state* s) {
  caller me;
  glist released;
  {
    sema_bucket& b = the_process.semas.bucket(s);
    mutex_guard guard(b.lock);
    s->missing = s->expected;
    __atomic_store_n(&s->phase, s->phase + 1, __ATOMIC_RELEASE);  // order: barrier.phase
    while (sudog* sg = b.front(s)) {
      b.remove(sg);
      sg->result = wait_result::handed;
      released.push_back(sg->gp);
    }
  }
  ready_all(me.self(), released);
}

wait_result wait(barrier_state* s, std::uint64_t phase) {
  if (phase_of(s) != phase) return wait_result::handed;  // order: barrier.phase
  caller me;
  sudog sg;
  sg.addr = s;
  sema_bucket& b = the_process.semas.bucket(s);
  b.lock.lock();
  if (phase_of(s) != phase || me.cancelled()) {
    const bool over = phase_of(s) != phase;
    b.lock.unlock();
    return over ? wait_result::handed : wait_result::cancelled;
  }
  sg.gp = me.waiter();
  b.push_back(&sg, b.empty() ? 0 : me.ticket());
  me.wait(b, sg, wait_reason::barrier_wait, true);
  return sg.result;
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

// In an exploration: a scheduling point before each, and one after a round's end.
bool barrier_arrive(barrier_state* s, std::ptrdiff_t n, bool drop, std::uint64_t* phase) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::arrive, s);
  return rt::arrive(s, n, drop, phase);
}

void barrier_complete(barrier_state* s) {
  const bool explored = door_open();
  rt::complete(s);
  if (explored) [[unlikely]]
    rt::stepped(rt::op::arrive, s);
}

void barrier_wait(barrier_state* s, std::uint64_t phase) {
  if (door_open()) [[unlikely]]
    rt::step(rt::op::barrier_wait, s);
  if (rt::wait(s, phase) == rt::wait_result::cancelled) throw cancelled();
}

void barrier_bad_count(std::ptrdiff_t n) {
  rt::line text;
  text.text("weft: barrier count ").signed_number(n).text(": must be 0 to 2147483647");
  throw error(text.c_str());
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
