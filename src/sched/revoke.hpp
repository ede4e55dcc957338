// revoke: the revoker's half of the door (sched/enter.hpp), over two words of an M: taking the P of a thread that does
// not come back.
//
//   R1  ask      revoke: none -> pending, generation + 1 (CAS), for all suspects
//   R2           one membarrier for all of them (sched/retake.hpp)
//   R3  decide   in_runtime == 0 ? pending of this generation -> done (CAS): the P is ours; else pending -> none
//
// Who    revokers: any thread, several at once; each needs its own R1 and R2. The owner's half is door_in and enter_slow.
// State  a suspect is one M in one batch; what it asked for is named by the generation that R1 has given out.
// Order  enter.door    R1 before R3's look, E1 before E3: the membarrier between R1 and R3 is a full barrier in the owner's
//                      thread, so the owner sees `pending` at E3 or the revoker sees 1 at R3.
//        enter.leave   E4: what the owner did on its P, then in_runtime = 0 (release) / R3: in_runtime (acquire)
//        What the revoker does to m and its goroutine is ordered by sched.lock.
// Why    a generation: without it a revoker that was asleep between R2 and its CAS takes the `pending` of a later one,
//        whose membarrier is still to come, for its own.
//        R3 and the taking of the P are one section under sched.lock, as rejoin is: the owner may see `done` at once, and
//        must find its P gone then.
// Never  read m.p before R3 has won: the P that raised the suspicion may have been given up since.
// Never  lower the generation: an old revoker's would come again. Every change of the word that makes a new one counts on
//        from what it replaces.
// Checked by test/model/revoke_model.cpp, exhaustively.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "model/m.hpp"

namespace weft::rt {

// One M under suspicion, in one batch.
class suspect {
 public:
  suspect() = default;
  suspect(atomic<std::uint32_t>& in_runtime, atomic<std::uint32_t>& revoke)
      : in_runtime_(&in_runtime), revoke_(&revoke) {}

  // R1. False: another revoker is at it, or it has no P to lose.
  bool ask() {
    std::uint32_t word = revoke_->load(relaxed);
    if ((word & revoke_state) != revoke_none) return false;
    asked_ = next_revoke(word, revoke_pending);
    if (!revoke_->compare_exchange_strong(word, asked_, relaxed, relaxed)) asked_ = 0;  // order: enter.door
    return asked_ != 0;
  }

  // R3, after a membarrier; under sched.lock. True: the P that m.p names now is the caller's.
  [[nodiscard]] bool decide() {
    if (asked_ == 0) return false;
    const std::uint32_t asked = asked_;
    asked_ = 0;
    // False when the owner has come in and withdrawn it.
    if (in_runtime_->load(acquire) == 0) return settle(asked, revoke_done);  // order: enter.leave, enter.door
    settle(asked, revoke_none);
    return false;
  }

  // In place of R3, when R2 failed.
  void give_up() {
    if (asked_ != 0) settle(asked_, revoke_none);
    asked_ = 0;
  }

 private:
  // What was asked, and nothing else, becomes `state`. The flag may have come in between.
  bool settle(std::uint32_t asked, std::uint32_t state) {
    std::uint32_t word = asked;
    while (!revoke_->compare_exchange_strong(word, (word & ~revoke_state) | state, relaxed, relaxed)) {
      if ((word & ~revoke_slow) != (asked & ~revoke_slow)) return false;
    }
    return true;
  }

  atomic<std::uint32_t>* in_runtime_ = nullptr;
  atomic<std::uint32_t>* revoke_ = nullptr;
  std::uint32_t asked_ = 0;  // what R1 wrote; 0: nothing
};

// Owner, inside the runtime: it gives its P away by itself, or has one again. By load and store the generation could go
// back, when revokers have asked and withdrawn in between.
inline void set_revoke(atomic<std::uint32_t>& revoke, std::uint32_t state) {
  std::uint32_t word = revoke.load(relaxed);
  while (!revoke.compare_exchange_weak(word, next_revoke(word, state), relaxed, relaxed)) {
  }
}

}  // namespace weft::rt
