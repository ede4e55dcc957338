// enter: the door into the runtime, and how a goroutine that has lost its P gets one back (DESIGN 2).
//
//   every runtime call, on its own thread                 a revoker, for an M whose P has not moved on
//   E1  m.in_runtime = 1        (relaxed store)           R1  m.revoke: none -> pending, generation + 1  (CAS)
//   E2  compiler barrier                                  R2  membarrier(PRIVATE_EXPEDITED)
//   E3  m.revoke != none ? slow path                      R3  in_runtime == 0 ? pending of this generation ->
//   ..  work on the P ..                                      revoked (CAS): the P is ours; else pending -> none
//   E4  m.in_runtime = saved    (release)
//
// Who    the M's own thread on the left; on the right sysmon and those who stop the world, in a later
//        part of the runtime. Until then only `blocking` revokes, and it revokes its own M.
// State  between E1 and E4 the P is the M's and stays so. Outside, it may be gone at any time: the goroutine
//        is `detached`. It finds out at E3 of its next call.
// Order  enter.door   E1 before E3, R1 before R3: membarrier puts a full barrier into the M's thread, between
//        any two of its instructions; E2 keeps the compiler from swapping them.
//        enter.leave  what was done on the P, then E4 (release) / R3 in_runtime (acquire)
// Never  hold an object's lock over E3: the slow path may wait for a P, while others spin on the lock
//        (FAULTS 45). Every call enters before its first lock.
// Never  let user code run with in_runtime == 1, but for the moving of a callable or an element.
// Checked by test/unit/sched/enter_test.cpp; exhaustively by the exploration engine.
#pragma once
#include "arch/getg.hpp"
#include "base/atomic.hpp"
#include "model/m.hpp"

namespace weft::rt {

// E3 found a word that is not `none`: undoes a pending one, or waits until the goroutine has a P again.
void enter_slow(g* gp);

// E1 to E3; returns the flag as it was found. Also for scopes that park: those leave by another m than they came.
inline std::uint32_t door_in(g* gp, m* mp) {
  const std::uint32_t saved = mp->in_runtime.load(relaxed);
  mp->in_runtime.store(1, relaxed);  // order: enter.door
  compiler_barrier();
  if ((mp->revoke.load(relaxed) & revoke_state) != revoke_none) [[unlikely]]
    enter_slow(gp);
  return saved;
}

// E4.
inline void door_out(m* mp, std::uint32_t saved) {
  compiler_barrier();
  mp->in_runtime.store(saved, release);  // order: enter.leave
}

// The scope of a runtime call that does not park: the goroutine leaves on the thread it came on, because the slow
// path ties it to its M. Nests: the flag is put back as it was found.
class enter {
 public:
  explicit enter(g* gp) : mp_(gp->m), saved_(door_in(gp, mp_)) {}
  ~enter() { door_out(mp_, saved_); }
  enter(const enter&) = delete;
  enter& operator=(const enter&) = delete;

 private:
  m* mp_;
  std::uint32_t saved_;
};

// The scope of one that may park: m is asked for again at the end.
class enter_and_park {
 public:
  explicit enter_and_park(g* gp) : gp_(gp), saved_(door_in(gp, gp->m)) {}
  ~enter_and_park() { door_out(gp_->m, saved_); }
  enter_and_park(const enter_and_park&) = delete;
  enter_and_park& operator=(const enter_and_park&) = delete;

 private:
  g* gp_;
  std::uint32_t saved_;
};

}  // namespace weft::rt
