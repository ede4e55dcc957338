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

// The scope of a runtime call on a goroutine. Nests: the flag is put back as it was found.
class enter {
 public:
  explicit enter(g* gp) : gp_(gp) {
    m* mp = gp->m;
    saved_ = mp->in_runtime.load(relaxed);
    mp->in_runtime.store(1, relaxed);  // order: enter.door
    compiler_barrier();
    if ((mp->revoke.load(relaxed) & revoke_state) != revoke_none) [[unlikely]]
      enter_slow(gp);
  }
  ~enter() {
    compiler_barrier();
    gp_->m->in_runtime.store(saved_, release);  // order: enter.leave
  }
  enter(const enter&) = delete;
  enter& operator=(const enter&) = delete;

 private:
  g* gp_;
  std::uint32_t saved_;
};

// The same for a caller that may be a plain thread, which has no door.
class enter_if {
 public:
  explicit enter_if(g* gp) : gp_(gp) {
    if (gp == nullptr) return;
    m* mp = gp->m;
    saved_ = mp->in_runtime.load(relaxed);
    mp->in_runtime.store(1, relaxed);
    compiler_barrier();
    if ((mp->revoke.load(relaxed) & revoke_state) != revoke_none) [[unlikely]]
      enter_slow(gp);
  }
  ~enter_if() {
    if (gp_ == nullptr) return;
    compiler_barrier();
    gp_->m->in_runtime.store(saved_, release);
  }
  enter_if(const enter_if&) = delete;
  enter_if& operator=(const enter_if&) = delete;

 private:
  g* gp_;
  std::uint32_t saved_ = 0;
};

}  // namespace weft::rt
