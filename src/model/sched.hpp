// sched: what the Ms and Ps of one runtime share.
//
// Rule  whatever is written under `lock` and read without it is an atomic, and such a read is a hint, unless a
//       protocol head says otherwise (sched/spinning.hpp for nmspinning, npidle, needspinning).
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/knobs.hpp"
#include "lock/mutex.hpp"
#include "lock/note.hpp"
#include "model/gqueue.hpp"
#include "model/m.hpp"
#include "model/p.hpp"

namespace weft::rt {

// Reasons to leave the short paths and look around in schedule(); zero in an undisturbed run.
inline constexpr std::uint32_t attention_main_returned = 1;  // count goroutines: the last one out ends the runtime
inline constexpr std::uint32_t attention_done = 2;           // no goroutine is left: Ms go home
inline constexpr std::uint32_t attention_explore = 4;        // for ever, in an exploration: it decides who runs

struct exploration;  // sched/exploration.hpp

// Who hears of it when the holder of a P has started a goroutine.
enum class new_work : std::uint8_t {
  nobody,       // the only P is the caller's: there is none to wake a thread for
  threads,      // wakep
  exploration,  // in which the new goroutine may go first
};

struct sched_t {
  // ---- fixed after boot
  std::uint32_t nprocs = 0;
  new_work tell = new_work::nobody;
  p* allp = nullptr;  // array of nprocs
  std::uint32_t max_threads = 0;
  std::uint8_t default_stack_class = 0;
  std::uint64_t seed = 0;
  std::int64_t spin_ns = 0;
  std::int64_t start_time = 0;
  bool exit_with_main = false;
  exploration* explore = nullptr;  // who decides instead of the scheduler
  rt::knobs knobs;

  // ---- read on every path
  alignas(64) atomic<std::uint32_t> attention{0};
  atomic<std::uint32_t> runq_size{0};  // of the global queue

  // ---- the spinning dance (sched/spinning.hpp)
  alignas(64) atomic<std::uint32_t> nmspinning{0};
  atomic<std::uint32_t> needspinning{0};
  atomic<std::uint32_t> npidle{0};

  // ---- under lock
  alignas(64) mutex lock;
  gqueue runq;         // the global queue
  m* midle = nullptr;  // idle Ms, last in first out
  std::uint32_t nmidle = 0;
  p* pidle = nullptr;  // idle Ps, last in first out
  m* allm = nullptr;
  std::uint32_t nm = 0;              // Ms that exist: ids given out, less those that could not start
  std::uint32_t mnext = 0;           // the next id
  std::int64_t no_thread_until = 0;  // the system refused a thread: not asked again before this time
  bool warned_no_thread = false;

  // ---- dead gs, shared by the Ps
  alignas(64) mutex gfree_lock;
  gstack gfree;
  atomic<std::uint32_t> ngfree{0};

  // ---- the end
  alignas(64) atomic<std::uint32_t> foreign{0};  // threads outside that are waking one of our goroutines
  atomic<std::uint32_t> live_ms{0};              // Ms that have not gone home; run() sleeps on it

  // ---- sysmon
  note sysmon_note;
  os::thread sysmon_thread;
  bool has_sysmon = false;

  // ---- what world::check has found
  char broken[200] = {};
};

}  // namespace weft::rt
