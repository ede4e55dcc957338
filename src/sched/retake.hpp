// retake: the one place where Ps are taken from Ms that are outside the runtime, for all who do: sysmon (sched/takeback.hpp)
// and who stops the world (sched/stop.cpp).
//
//   R0  pick     the caller
//   R1  ask      for each (sched/revoke.hpp)
//   R2  barrier  one for all: in the owners' threads, by the kernel (membarrier); or a fence here, when the owners have one at
//                each call of theirs (revoke_slow)
//   R3  decide   for each, under sched.lock, in one section with the taking off of the P
//
// Who    a round belongs to one thread; several rounds may be under way at once (a word that is asked for is passed over by the
//        second), there is no lock over a round: the generation tells them apart.
// Order  enter.door, enter.leave: sched/revoke.hpp.
//        enter.fence  owner: calls (release), then its fence at each call / revoker: calls (acquire), not 0: it fences
// Why    a kernel without membarrier, or one that begins to refuse it: every M gets revoke_slow, and can be asked as soon as it
//        is sure to see the flag: it has made one call since, or whoever set it has been on every CPU. An M that is made later is born with it.
// Never  clear revoke_slow.
// Checked by test/model/revoke_model.cpp; test/fault/membarrier_test.cpp.
#pragma once
#include <cstdint>

#include "sched/revoke.hpp"
#include "sched/sched.hpp"

namespace weft::rt {

class retake {
 public:
  static constexpr std::uint32_t most = 64;

  explicit retake(sched_t* rt);
  retake(const retake&) = delete;
  retake& operator=(const retake&) = delete;

  bool full() const { return n_ == most; }
  bool empty() const { return n_ == 0; }

  // R1. Under sched.lock, of an M of this runtime. False: another asks already, it has no P to lose, or it is not sure that
  // it would see the question.
  bool ask(m* mp);
  // R2. Without sched.lock.
  void barrier();
  // R3. Under sched.lock: the next P that is won, taken off its M, whose goroutine is detached; or null at the end.
  [[nodiscard]] p* decide(m** from = nullptr);

 private:
  sched_t* rt_;
  suspect suspects_[most];
  m* of_[most];
  std::uint32_t n_ = 0;
  std::uint32_t at_ = 0;
  bool by_kernel_;  // R2 is membarrier's; settled at the start, for all of the round
  bool refused_ = false;
};

// From here on the owners fence, because membarrier was refused with that errno: said in a line.
void do_without_membarrier(int err);

// Between two steps of a revoker, for tests: WEFT_DEBUG=revokedelay.
void revoker_delays(const sched_t* rt);

}  // namespace weft::rt
