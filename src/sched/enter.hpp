// enter: the door into the runtime, and how a goroutine that has lost its P gets one back (DESIGN 2).
//
//   every runtime call, on its own thread                 a revoker, for an M whose P has not moved on
//   E1  m.in_runtime = 1        (relaxed store)           R1  m.revoke: none -> pending, generation + 1  (CAS)
//   E2  compiler barrier                                  R2  membarrier(PRIVATE_EXPEDITED)
//   E3  m.revoke != none ? slow path                      R3  in_runtime == 0 ? pending of this generation ->
//   ..  work on the P ..                                      revoked (CAS): the P is ours; else pending -> none
//   E4  m.in_runtime = 0        (release)
//
// Who    the M's own thread on the left; on the right sysmon and those who stop the world (sched/retake.hpp). `blocking`
//        revokes its own M.
// State  between E1 and E4 the P is the M's and stays so. Outside, it may be gone at any time: the goroutine
//        is `detached`. It finds out at E3 of its next call.
// Order  enter.door   E1 before E3, R1 before R3: membarrier puts a full barrier into the M's thread, between
//        any two of its instructions; E2 keeps the compiler from swapping them. With revoke_slow in the word E3 takes the
//        slow path, which fences and looks again.
//        enter.leave  what was done on the P, then E4 (release) / R3 in_runtime (acquire)
// Never  hold an object's lock over E3: the slow path may wait for a P, while others spin on the lock
//        (FAULTS 45). Every call enters before its first lock.
// Never  let user code run with in_runtime == 1, but for the moving of a callable or an element.
// Checked by test/model/revoke_model.cpp, exhaustively, with the revokers of sched/revoke.hpp; as a model by
// test/spin/revoke.pml; test/unit/sched/enter_test.cpp.
#pragma once
#include "arch/getg.hpp"
#include "base/atomic.hpp"
#include "base/check.hpp"
#include "model/m.hpp"
#include "sched/exploration.hpp"

namespace weft::rt {

// E3 found a word that is not `none`: undoes a pending one, or waits until the goroutine has a P again. Returns the
// M, which is still the same: the goroutine is tied to it meanwhile. In an exploration: the scheduling point before
// `what`, and the M is the only one there is.
m* enter_slow(g* gp, op what, const void* object);

// E1 to E3. What the caller is about to do is of interest to the slow path only, and costs nothing on this one.
inline m* door_in(g* gp, op what = op::none, const void* object = nullptr) {
  m* mp = gp->m;
  if constexpr (checked) invariant(mp->in_runtime.load(relaxed) == 0, "sched: the runtime is entered from inside");
  mp->in_runtime.store(1, relaxed);  // order: enter.door
  compiler_barrier();
  // order: enter.door
  if ((mp->revoke.load(relaxed) & revoke_door) != revoke_none) [[unlikely]]
    return enter_slow(gp, what, object);
  return mp;
}

// E4; released to R3.
inline void door_out(m* mp) {
  compiler_barrier();
  mp->in_runtime.store(0, release);  // order: enter.leave
}

// The scope of a runtime call that does not park. Six instructions: it does not nest, so there is no flag to save;
// what the runtime calls from inside is another function than what users call.
class enter {
 public:
  explicit enter(g* gp, op what = op::none) : mp_(door_in(gp, what)) {}
  ~enter() { door_out(mp_); }
  enter(const enter&) = delete;
  enter& operator=(const enter&) = delete;

 private:
  m* mp_;
};

// The scope of one that may park: it leaves by the m that the goroutine is on at the end.
class enter_and_park {
 public:
  explicit enter_and_park(g* gp, op what = op::none) : gp_(gp) { door_in(gp, what); }
  ~enter_and_park() { door_out(gp_->m); }
  enter_and_park(const enter_and_park&) = delete;
  enter_and_park& operator=(const enter_and_park&) = delete;

 private:
  g* gp_;
};

}  // namespace weft::rt
