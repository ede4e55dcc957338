// weight: beside a crowd of threads that have lost their Ps, a thread with one weighs more (sched/takeback.hpp).
//
// Why    The kernel divides the CPUs among threads, and a goroutine that spins outside is one. Beside 200 of them on two CPUs
//        whoever has a P would have a hundredth of a CPU, which a hundred timers of 1 ms alone use up many times over. Had they
//        stayed goroutines of two threads, as Go's, the others would have half. So they have: a P's thread weighs as much as the
//        threads for each P that have lost theirs.
// How    the nice value, of which each step down is 1.25 of weight in the kernel's table, -20 at the most.
// Who    Ms that have a P, the idle ones that will be given one next (the kernel lets who is woken run at once then), and sysmon,
//        which looks for the others. Not Ms whose goroutine is outside without a P, or does not let go of one that nobody waits
//        for: they are the crowd.
// When   there are `crowd` threads for each P on a CPU, until there are clearly fewer, all Ps are idle, or the runtime ends.
//        The process is no greater burden to others by it than by its crowd: it has twice the weight at most.
// Where  the system allows it (CAP_SYS_NICE, or RLIMIT_NICE). Else nothing is changed. Threads whose nice value is not 0, or
//        whose policy is not the common one, keep what they have: the program has set it. What a thread starts while it weighs more has the
//        usual weight; the kernel's flag for that stays on a thread that is not allowed to take it off, so that of a caller of run,
//        which is not ours, is left alone there.
// State  sched.weight: the nice value that they are to have; m.weight: the one that this one was given. Under sched.lock, as each
//        change of a thread's share is: two at once would undo each other. By sysmon, 100 times a second and when it
//        takes a P; by the M itself when it comes back from outside, or begins, for it could be late by a whole round of the crowd.
// Checked by test/stalls/around_test.cpp (a_crowd); test/unit/sched/takeback_test.cpp; test/unit/os/sys_test.cpp.
#pragma once
#include <cstdint>

#include "model/m.hpp"
#include "model/sched.hpp"

namespace weft::rt {

inline constexpr double crowd = 8;  // threads for each P, the P's own among them

// The nice value with `on_cpu` threads without P on a CPU, which was `before`.
int weight_beside(std::uint32_t on_cpu, std::uint32_t procs, int before);

// Under sched.lock. As whoever has a P, or is to get one.
void weigh(m* mp);
// Under sched.lock. As anybody.
void unweigh(m* mp);

// While sysmon starts mp's thread: that weighs as much from its first moment, so that it is not the one who is late. When
// others start one it has no weight yet.
class born_with_weight {
 public:
  explicit born_with_weight(m* mp);
  ~born_with_weight();
  born_with_weight(const born_with_weight&) = delete;
  born_with_weight& operator=(const born_with_weight&) = delete;

 private:
  bool bequeaths_ = false;
};
// By a thread that begins, which has found that m.weight before others could see its id.
void begins_with_weight(m* mp, int weight);

}  // namespace weft::rt
