// m: an OS thread that runs goroutines, with its own scheduler stack g0 (the thread's stack). Type-stable:
// its memory is never anything else, because a revoker may look at an m that has just ended.
#pragma once
#include <cstdint>

#include "arch/gobuf.hpp"
#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/choice.hpp"
#include "base/sizes.hpp"
#include "lock/note.hpp"
#include "model/g.hpp"
#include "os/sys.hpp"

namespace weft::rt {

struct p;
struct sched_t;

// The revoke word (DESIGN 2): two bits of state; one that sends each call of the owner through the slow path; the rest
// a generation, so that the second revoker's `pending` is never taken for the first's.
inline constexpr std::uint32_t revoke_none = 0;     // the M keeps its P
inline constexpr std::uint32_t revoke_pending = 1;  // a revoker looks whether it may have the P
inline constexpr std::uint32_t revoke_done = 2;     // the P is gone; the goroutine is detached
inline constexpr std::uint32_t revoke_explore = 3;  // for ever, in an exploration: each entry is a scheduling point
inline constexpr std::uint32_t revoke_state = 3;    // mask
// Set for ever: the owner fences at each call, because nobody can do it for it (no membarrier), and counts its calls.
inline constexpr std::uint32_t revoke_slow = 4;
inline constexpr std::uint32_t revoke_door = revoke_state | revoke_slow;  // none of it: the fast path
inline constexpr std::uint32_t revoke_generation = 8;

// The word with the next generation and the state given.
constexpr std::uint32_t next_revoke(std::uint32_t word, std::uint32_t state) {
  constexpr std::uint32_t generations = ((std::uint64_t{1} << sizes::revoke_generation_bits) - 1) << 3;
  return ((word + revoke_generation) & generations) | (word & revoke_slow) | state;
}

// The states of an M that is not running a goroutine, each a flag with a door that checks what it was before.
struct alignas(64) m {
  // Out of work and looking for it; counted in sched.nmspinning.
  void set_spinning(bool to) {
    if (spinning == to) [[unlikely]]
      fatal(to ? "sched: M spins already" : "sched: M does not spin", id);
    spinning = to;
  }
  // On the idle list; under sched.lock.
  void set_listed(bool to) {
    if (listed == to) [[unlikely]]
      fatal(to ? "sched: M is listed already" : "sched: M is not listed", id);
    listed = to;
  }

  // ---- the door (sched/enter.hpp): written by the M's own thread, read by revokers
  atomic<std::uint32_t> in_runtime{1};  // an M without P, in the scheduler, parked or not yet started has 1
  atomic<std::uint32_t> revoke{revoke_none};
  atomic<std::uint32_t> calls{0};  // through the slow path with revoke_slow; not 0: the owner fences
  rt::p* p = nullptr;              // token: the P it holds. Written by its own thread with in_runtime == 1, or by
                                   // whoever revoked it, before the hand-off
  g* curg = nullptr;               // the goroutine it runs; null in the scheduler
  sched_t* rt = nullptr;
  eh_globals* eh = nullptr;  // this thread's __cxa_get_globals()

  // ---- what the other side of a switch does for the one who left (sched/switch.hpp)
  void (*after)(m* mp, g* left, void* arg) = nullptr;
  g* after_g = nullptr;
  void* after_arg = nullptr;

  // ---- scheduling
  rt::p* nextp = nullptr;  // the P that whoever woke it has given it
  bool inherits = false;   // with it: its locked goroutine goes on with the slice
  rt::p* oldp = nullptr;   // the P it had before it went out; it likes that one best
  std::uint32_t met = 0;   // how often its goroutines met another CPU at some object of late (stay_away)
  std::int64_t met_since = 0;
  std::uint32_t passed_over = 0;  // how often in a row it passed over one that gives way (pick_instead)
  g* picked = nullptr;            // chosen already, but only g0 can run it
  bool spinning = false;          // set_spinning
  bool listed = false;            // token: set_listed
  bool blocked = false;           // sleeps on its note
  // Where the short paths look for a reason to go to schedule(): the runtime's word, or a constant one while a goroutine
  // is locked to this M, which must not run another.
  const atomic<std::uint32_t>* attention = nullptr;
  g* lockedg = nullptr;         // the goroutine that is locked to it
  std::uint32_t lockedext = 0;  // how many times
  bool idle_locked = false;     // token: counted in nmidlelocked, under sched.lock
  bool callers = false;         // m0: its thread is that which called run, and cannot end
  // It ends before its runtime: its goroutine has ended locked to it, or nobody has needed it for long.
  bool exiting = false;
  note park;
  chooser choose;

  // ---- what sysmon knows and remembers of it (sched/takeback.cpp)
  atomic<std::uint64_t> thread_seen{0};  // tid, once its thread has begun
  bool taken = false;  // its P was taken from it, and it has not come back; counted in ntaken, under sched.lock
  atomic<bool> declared{false};  // its goroutine has said that it blocks (weft::blocking)
  std::uint64_t turn = 0;        // its thread's, when it was given long ones for that; 0: it was not; under sched.lock
  bool spun = false;             // when it was taken
  bool away = false;             // it has lost its P to somebody, and has not come back; under sched.lock
  int weight = 0;                // its thread's nice value, where it was given one (sched/weight.hpp); under sched.lock
  std::uint32_t weigh_round = 0;  // of takeback, in which it was found to serve
  bool on_cpu = false;            // of one that is suspected or taken: it ran when it was last looked at
  std::int64_t cpu_seen = -1;     // its thread's CPU time then
  std::int64_t cpu_seen_at = 0;   // and when that was

  // ---- what the watch of stalls remembers of it (sched/stall.cpp)
  std::uint32_t calls_seen =
      0;  // `calls`, when it was last found outside; 0: inside, or in a call that blocks by design
  std::int64_t calls_since = 0;  // when that was first seen
  bool stall_told = false;       // token: this stretch has been reported

  // ---- life
  gobuf leave;  // where the thread came from: continuing it ends the M (Go: g0.sched)
  gobuf scrap;  // where a context is saved that nobody will continue
  void (*mstartfn)(m*) = nullptr;
  std::uint32_t id = 0;
  std::uint64_t tid = 0;
  std::uint64_t slack = 0;  // the thread's own, while it is an M
  os::thread thread;
  void* g0_fake_stack = nullptr;  // AddressSanitizer's, in its builds
  os::stack_bounds g0_stack;      // known in AddressSanitizer builds only
  void* g0_fiber = nullptr;       // ThreadSanitizer's, in its builds
  void* signal_stack = nullptr;
  eh_globals thread_eh;    // the exceptions of the thread that called run, while it is an M
  m* schedlink = nullptr;  // idle list, or free list of the process
  m* alllink = nullptr;    // all Ms of the runtime
  g g0;
};

}  // namespace weft::rt
