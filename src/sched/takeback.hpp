// takeback: when a P is taken from a goroutine that does not come back to the runtime (DESIGN 2; Go's retake, GO-BEHAVIOUR A13,
// A15). How it is taken: sched/retake.hpp.
//
// Who    sysmon alone.
// State  p.watched: the slice that was seen on each P, since when, and the CPU time that its thread had then. A slice is the same
//        as long as p.schedtick and the holder are.
// When   the goroutine is outside the runtime (or makes one call after the other), and
//        - its thread sleeps in the kernel: at once if anybody waits for a P, else after sleeps_alone_ns, so that the P is idle,
//          and can be had, when somebody comes;
//        - its thread runs, or waits for a CPU, and somebody waits: when its slice is over. A slice is of the thread's own CPU
//          time: one that the kernel does not run has used nothing.
//        Somebody waits: in the P's queue, in the global queue, or with a timer of that P that is due.
// How    long a slice is. Let x = 1 + D / procs, D the threads without P that are on a CPU just now: with no other load a
// long   thread gets 1 / x of a CPU. A slice is 10 ms · x of CPU, which lets tasks of some tens of ms end on the P they began
//        on: in balance tasks of L ms keep sqrt(L / 10) threads for each P, not L / 10. But never more than 64 ms / x, which
//        is 64 ms by the clock: endless loops would be given 10 ms · x² each, 100 s with 200 of them. Where a timer is due it
//        is 10 ms by the clock beside few such threads, and the same 64 ms beside many.
//        Where a P's thread weighs as much as the crowd (weight.hpp) its x is 2; and where that crowd does not come back a slice is 5 ms by
//        the clock: no slice would be long enough for endless loops.
//        With x of 8 or more the clock alone is enough: who has been on a CPU there for a moment, and is not just now, has had
//        its fair share, and will wait for all others before it can use up the rest.
// Why    not by wall time: 2000 tasks of 50 ms on 2 Ps ended with 1986 threads (DESIGN 2).
// Chains goroutines that ready each other run in one slice, of 16 hops; after 2 ms of CPU p.slice_over ends it, if somebody waits.
//        Where that met one with fewer hops, those with many may go on until it meets them (p.hogs), or one pair that has
//        much to do in each hop would have all the time of another that has little (Go's PingPongHog).
// Order  takeback.holder  acquirep: the m as it was made, then p.held_by (release) / sysmon: held_by (acquire), then what
//        it reads of the m without sched.lock
// Never  take a P when there is no thread to run it.
// Checked by test/stalls; test/model/revoke_model.cpp; test/unit/sched/takeback_test.cpp.
#pragma once
#include <cstdint>
#include <utility>

#include "sched/sched.hpp"

namespace weft::rt {

struct slice {
  std::int64_t cpu;       // ns of its thread's CPU time
  std::int64_t by_clock;  // in a crowd: or this, whatever it has used of it
};
// What there is beside a P on which somebody waits.
struct crowd_now {
  std::uint32_t on_cpu;  // threads without P on a CPU
  std::uint32_t procs;
  bool weighs;     // a P's thread has half a CPU all the same (sched/weight.hpp)
  bool come_back;  // they do, every now and then
};
slice slice_of(const crowd_now& those, bool urgent);  // urgent: the P has a due timer

class takeback {
 public:
  explicit takeback(sched_t* rt) : rt_(rt), off_(rt->knobs.takeback != 0), cannot_weigh_(rt->knobs.weight != 0) {}

  // One look at all Ps. Returns after how many ns the next one is due.
  std::int64_t look(std::int64_t now);
  // A P is busy again after all were idle, or the last idle one was taken.
  void wake() { delay_ = shortest_ns / 2; }
  // Whether a P was taken since this was asked last.
  bool took() { return std::exchange(took_, false); }

  // All Ps are idle, or the runtime ends: no thread weighs more than another.
  void rest();

 private:
  static constexpr std::int64_t shortest_ns = 20'000;  // Go's
  static constexpr std::int64_t longest_ns = 10'000'000;

  enum class finding : std::uint8_t { well, soon, sleeps, slice_over };
  finding examine(p* pp, std::int64_t now);
  void take(std::uint32_t n);  // of suspects_
  void count_on_cpu(std::int64_t now);
  void see_who_comes_back(std::int64_t now);
  void set_weight(int nice);
  void distribute_weight(std::int64_t now);

  sched_t* rt_;
  bool off_;
  bool cannot_weigh_;
  int weight_ = 0;  // sched.weight, and this thread's
  std::uint32_t round_ = 0;
  bool come_back_ = false;  // until they have been seen to: tasks are, before they are a crowd
  std::uint32_t came_ = 0;  // sched.ncame_back, when
  std::int64_t came_since_ = 0;
  std::int64_t delay_ = shortest_ns;
  std::int64_t slept_last_ = 0;  // when a P was last taken from a thread that slept
  std::int64_t looked_ = 0;
  std::int64_t counted_ = 0;
  std::uint32_t asked_from_ = 0;
  std::uint32_t on_cpu_ = 0;
  bool hurry_ = false;  // a P was taken in the last round
  bool took_ = false;
  p* suspects_[64];
  bool spins_[64];  // each of them
};

}  // namespace weft::rt
