// The last spinner looks twice; and who is woken when.
//
// While some M spins, submitters wake nobody: they trust it to find the new work. An M that stops spinning
// withdraws that promise, so it must withdraw first and look afterwards:
//
//      submitter                          last spinner
//  S1  put gp in a run queue          P1  nmspinning -= 1
//  S2  store_load_barrier()           P2  store_load_barrier()     order: spin.dance (both)
//  S3  nmspinning == 0 ? wake one     P3  any queue non-empty ? spin again
//
// The barriers are totally ordered. If S2 comes first, P3 sees gp; if P2 does, S3 sees zero. Both may act:
// one spare wake-up. For neither to act, P3 must have been moved above P1, or a barrier weakened to acq_rel,
// under which a later load may pass an earlier store (x86 does so at S; at P its locked decrement hides
// the mistake). Then gp waits beside an idle P for an unrelated wake-up.
//
// needspinning covers the gap between the two: a submitter (or spinner) that finds work but no idle P sets
// it, under sched.lock; an M about to drop its P looks at it under the same lock, and spins instead (Go
// 45867). Whoever becomes a spinner clears it, and then looks at all queues.
//
// So a submitter that reads needspinning == 1 after S2, with no P idle, need not take the lock to set it
// again: the M that clears it, before its own barrier and its look at the queues, sees gp. That keeps
// sched.lock out of `go` and of wake-ups while all Ps are busy, where Go takes it every time.
//
// Who cannot use the count that claim_wake raised gives it back under the lock, and sets needspinning after that, not
// before. In between, a spinner may clear needspinning, find one goroutine of two, and look at the count to see
// whether it needs a successor: it must not see the count of somebody who has already given up (in Go it may).
//
//      submitter, under sched.lock        spinner
//  B1  nmspinning -= 1                C1  needspinning = 0, and look at the queues
//  B2  store_load_barrier()           C2  nmspinning -= 1; store_load_barrier()      order: spin.dance (both)
//  B3  needspinning = 1               C3  nmspinning == 0 ? wake one
//
// If C1 comes last, it erases B3, but then C3 sees B1. If B3 comes last, whoever drops a P sees it.
//
// Checked by test/spin/dance.pml: all interleavings on 3 Ps, also with store buffers; each of the mistakes above is a
// mutation there that must fail (docs/internals/spin-models.md). This code on 2 and 3 Ps:
// test/model/spinning_model.cpp. On real threads: test/stress/work_conservation.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/noise.hpp"

namespace weft::rt {

struct spin_words {
  atomic<std::uint32_t>& nmspinning;
  atomic<std::uint32_t>& needspinning;
  atomic<std::uint32_t>& npidle;
};

// S2 and S3. True: the caller has become responsible for one spinning M (nmspinning was raised for it) and
// must start it, or give the count back.
[[nodiscard]] inline bool claim_wake(spin_words w) {
  store_load_barrier();  // order: spin.dance
  if (w.nmspinning.load(relaxed) != 0) return false;
  if (w.needspinning.load(relaxed) != 0 && w.npidle.load(relaxed) == 0) return false;
  std::uint32_t none = 0;
  if (!w.nmspinning.compare_exchange_strong(none, 1, seq_cst, relaxed)) return false;
  noise(noise_at::claimed_wake);
  return true;
}

// A spinner is born. The caller looks at every queue afterwards.
inline void begin_spinning(spin_words w) {
  w.nmspinning.fetch_add(1, seq_cst);
  noise(noise_at::spin_began);
  w.needspinning.store(0, relaxed);
  store_load_barrier();  // order: spin.dance
}

// P1 and P2. The caller must look at every queue afterwards, unless it has found work and wakes a successor.
inline void end_spinning(spin_words w) {
  if (w.nmspinning.fetch_sub(1, seq_cst) == 0) fatal("sched: nmspinning below zero");
  store_load_barrier();  // order: spin.dance
  noise(noise_at::spin_ended);
}

// Under sched.lock. A claim cannot be used: there is no idle P, or no thread. B1 to B3, in this order.
inline void give_back_wake(spin_words w) {
  if (w.nmspinning.fetch_sub(1, seq_cst) == 0) fatal("sched: nmspinning below zero");
  store_load_barrier();  // order: spin.dance
  w.needspinning.store(1, relaxed);
}

// After work was submitted. What `take_idle` finds, called under the lock, is the caller's to start a spinning M on; it
// finds nothing where there is no idle P, and where there is no need of one.
template <class Lock, class Take>
[[nodiscard]] auto claim_idle_p(spin_words w, Lock& lock, Take take_idle) -> decltype(take_idle()) {
  if (!claim_wake(w)) return {};
  lock.lock();
  auto pp = take_idle();
  // Before the unlock: an M that drops its P in between would see a spinner that does not exist, and needspinning may be
  // gone by then (RELIABILITY, bug 27).
  if (!pp) give_back_wake(w);
  lock.unlock();
  return pp;
}

}  // namespace weft::rt
