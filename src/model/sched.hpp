// sched: what the Ms and Ps of one runtime share.
//
// Rule  whatever is written under `lock` and read without it is an atomic, and such a read is a hint, unless a
//       protocol head says otherwise (sched/spinning.hpp for nmspinning, npidle, needspinning).
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/knobs.hpp"
#include "lock/doorbell.hpp"
#include "lock/mutex.hpp"
#include "model/extras.hpp"
#include "model/gqueue.hpp"
#include "model/m.hpp"
#include "model/p.hpp"

namespace weft::rt {

// Reasons to leave the short paths and look around in schedule(); zero in an undisturbed run.
inline constexpr std::uint32_t attention_main_returned = 1;  // count goroutines: the last one out ends the runtime
inline constexpr std::uint32_t attention_done = 2;           // no goroutine is left: Ms go home
inline constexpr std::uint32_t attention_explore = 4;        // for ever, in an exploration: it decides who runs
inline constexpr std::uint32_t attention_stop = 8;           // somebody stops the world: give the P up (sched/stop.hpp)
inline constexpr std::uint32_t attention_main_exited = 16;   // by this_goroutine::exit: the last one out is a deadlock
inline constexpr std::uint32_t attention_cancelled = 32;     // every goroutine is cancelled, and those that come
inline constexpr std::uint32_t attention_back = 64;          // some that have come back from outside wait for a P

struct exploration;  // sched/exploration.hpp

// Who hears of it when the holder of a P has started a goroutine.
enum class new_work : std::uint8_t {
  nobody,       // the only P is the caller's: there is none to wake a thread for
  threads,      // wakep
  exploration,  // in which the new goroutine may go first
};

struct sched_t {
  // ---- changed while the world is stopped only. Without a P it is a hint: all of allp stays readable.
  atomic<std::uint32_t> nprocs{0};
  new_work tell = new_work::nobody;
  p* allp = nullptr;               // room for procs_room; those up to nallp exist, those from nprocs on are dead
  atomic<std::uint32_t> nallp{0};  // Ps that have ever been; their counters stay

  // ---- fixed after boot
  std::uint32_t procs_room = 0;
  std::uint32_t max_threads = 0;
  std::uint8_t default_stack_class = 0;
  std::uint64_t seed = 0;
  std::int64_t spin_ns = 0;
  std::int64_t rest_ns = 0;  // 0: idle Ms do not end
  std::int64_t start_time = 0;
  std::int64_t shutdown_timeout = 0;  // ns
  bool exit_with_main = false;
  bool embedded = false;  // class runtime: it has no main, and its end is asked for
  bool report_deadlock = false;
  exploration* explore = nullptr;  // who decides instead of the scheduler
  rt::knobs knobs;

  // ---- read on every path
  alignas(64) atomic<std::uint32_t> attention{0};
  atomic<std::uint32_t> runq_size{0};  // of the global queue
  g_extras no_extras;                  // of all goroutines that have none of their own

  // ---- the spinning dance (sched/spinning.hpp)
  alignas(64) atomic<std::uint32_t> nmspinning{0};
  atomic<std::uint32_t> needspinning{0};
  atomic<std::uint32_t> npidle{0};

  // ---- under lock
  alignas(64) mutex lock;
  global_queue runq;
  m* midle = nullptr;  // idle Ms, last in first out
  std::uint32_t nmidle = 0;
  std::uint32_t nmidlelocked = 0;  // Ms that wait for their locked goroutine to become runnable
  p* pidle = nullptr;              // idle Ps, last in first out
  m* allm = nullptr;
  std::uint32_t nm = 0;              // Ms that exist: ids given out, less those that could not start
  std::uint32_t nmfreed = 0;         // Ms that have ended before the runtime
  std::uint32_t mnext = 0;           // the next id
  m* freem = nullptr;                // Ms that have ended before the runtime; their threads are still to be joined
  m* to_start = nullptr;             // Ms whose threads sysmon is to start: whoever needs them is no model for a thread
  m* wedged = nullptr;               // m0, when its goroutine has ended locked to it: not idle, and not gone
  std::int64_t no_thread_until = 0;  // the system refused a thread: not asked again before this time
  int no_thread_err = 0;             // with that errno
  bool warned_no_thread = false;

  // ---- who sleeps until the next timer (sched/timers.hpp)
  m* watch = nullptr;                               // under lock; it is on the idle list
  alignas(64) atomic<std::int64_t> watch_until{0};  // 0: nobody; written under lock

  // ---- dead gs, shared by the Ps
  alignas(64) mutex gfree_lock;
  gstack gfree;
  atomic<std::uint32_t> ngfree{0};

  // ---- Ps that were taken from goroutines outside (sched/takeback.hpp)
  std::uint32_t ntaken = 0;           // Ms that have lost theirs so and are not back; under lock
  std::uint32_t ncame_back = 0;       // how often one of those that did not sleep has come back; under lock
  bool warned_no_room = false;        // under lock
  atomic<int> weight{0};              // sched/weight.hpp; written under lock
  bool weighs_callers = false;        // those who have called run or the like too; under lock
  atomic<std::uint32_t> nhanding{0};  // threads that hand such a P over just now, or have given theirs up at the door
  atomic<std::uint32_t> nback{0};     // Ms whose goroutine is back from outside, queued, and waits for a P

  // ---- stop-the-world (sched/stop.hpp)
  mutex world_lock;                   // one stopper at a time; a thread that holds it has no P
  atomic<std::uint32_t> stopwait{0};  // Ps still to be stopped; changed under lock
  bool custom_procs = false;          // set by hand; else sysmon follows the machine
  std::uint32_t procs_limit = 0;      // what was found last

  // ---- goroutines that were started from outside (class runtime)
  atomic<std::uint64_t> created_outside{0};
  atomic<bool> ending{false};  // no more of them

  // ---- the end
  alignas(64) atomic<std::uint32_t> foreign{0};  // threads outside that are waking one of our goroutines
  atomic<std::uint32_t> live_ms{0};              // Ms that have not gone home; run() sleeps on it

  std::int64_t main_ended = 0;  // when main returned, or shutdown began; under lock
  int main_status = 0;          // what the process ends with if they do not end

  // ---- sysmon
  doorbell sysmon_bell;
  os::thread sysmon_thread;
  bool has_sysmon = false;
  bool sysmon_waits = false;  // deep asleep: whoever takes the first P rings; under lock
  bool sysmon_naps = false;   // whoever takes the last one rings; under lock
  bool sysmon_stop = false;   // under lock
  // ---- stall reports (sched/stall.cpp)
  doorbell stall_bell;
  os::thread stall_thread;
  bool has_stall_watch = false;
  bool stall_stop = false;  // under lock

  sched_t* all_next = nullptr;  // all runtimes of the process, under the_process.runtimes_lock

  // ---- what world::check has found
  char broken[200] = {};
};

// Under sched.lock, after each change of the global queue.
inline void runq_changed(sched_t* rt) {
  rt->runq_size.store(rt->runq.size(), relaxed);
  if (((rt->attention.load(relaxed) & attention_back) != 0) == rt->runq.returning()) return;
  if (rt->runq.returning()) {
    rt->attention.fetch_or(attention_back, relaxed);
  } else {
    rt->attention.fetch_and(~attention_back, relaxed);
  }
}

// Acquire, for who has no P and looks at those that have just been made.
inline std::uint32_t procs(const sched_t* rt) { return rt->nprocs.load(acquire); }  // order: stop.procs

// Threads of the runtime that are no Ms.
inline std::uint32_t watchers(const sched_t* rt) { return (rt->has_sysmon ? 1 : 0) + (rt->has_stall_watch ? 1 : 0); }

// Goroutines that have begun and not ended. `ended` first: the difference is never too small by one that is created
// and ends in between, and a sum of zero is never one of a goroutine that was created meanwhile, because its creator
// has not ended (or it came from outside, which the end waits for: sched_t::ending).
std::uint64_t goroutines_alive(const sched_t* rt);

}  // namespace weft::rt
