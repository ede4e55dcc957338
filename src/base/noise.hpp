// noise: delays at the points of a protocol where a few instructions decide, so that real threads meet there more
// often than once in a million times (RELIABILITY 1, method 10). In release builds there is nothing of it.
//
// Who    anyone, anywhere in the runtime, also while holding a lock: a delayed thread is one that the kernel has
//        descheduled, which may happen at any instruction.
// State  off until a runtime is started with WEFT_DEBUG=noise=N, and again when the last runtime has ended. One setting
//        for the process, that of the runtime started last: threads of several runtimes, and plain ones, pass the
//        same points.
// Order  the generator is one word, read and written relaxed and without an RMW: on x86 a locked instruction is a
//        full barrier, and would hide exactly the bugs that are looked for. Threads that lose a step of it draw the
//        same number twice, which harms nobody. So a seed repeats how much noise there is and where, not its order.
//        A seed also picks which points are quiet and which are loud in this run: a window is hit more often when
//        its neighbours do not slow everything down (the swarm testing of FoundationDB).
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/choice.hpp"

namespace weft::rt {

// The windows, named after what has just happened and what has not yet.
enum class noise_at : std::uint8_t {
  submitted,           // a goroutine is queued; nobody was woken for it
  claimed_wake,        // nmspinning was raised for an M that is not started
  spin_began,          // nmspinning was raised by a spinner that has not looked yet
  spin_ended,          // nmspinning was lowered; the second look is to come
  p_laid_down,         // the P is idle, its M still counts as a spinner
  m_taken,             // an M was taken off the idle list and not woken
  m_listed,            // an M is on the idle list and not asleep
  m_allocated,         // an M is counted and has no thread
  note_signalled,      // the word of a note says so, the sleeper was not woken
  note_unsignalled,    // looked at, and not slept on yet
  lock_contended,      // the runtime's lock says that somebody sleeps, who does not yet
  lock_freed,          // the runtime's lock is free, the sleeper was not woken
  put_slot,            // run queue: the slot is written, the tail not
  put_kicked,          // run queue: the old runnext is nowhere
  taken_slot,          // run queue: the slot is read, the head not moved
  stolen_slots,        // run queue: slots are copied, the head is not moved
  stolen_unpublished,  // run queue: the head is moved, the loot not published
  spilled,             // the older half is out of the ring and not in the global queue
  parking,             // queued as a waiter, still on its stack
  parked,              // waiting, the commit to come
  taken,               // a waiter is off its queue, under the lock or just after it
  readied,             // runnable, and in no queue
  scan_locked,         // a taker holds the waiter's status, not yet the bucket
  handing_off,         // the P was given up for a blocking call, nobody has it
  rejoining,           // back from it, without a P, not queued
  rejoined,            // queued, not asleep
  revoke_seen,         // the door has found a revoke word that is not none
  buried,              // dead and reusable, still on its stack
  counted,             // the end of a goroutine was counted, `attention` not looked at
  last_out,            // the last goroutine has ended, the Ms do not know
  mutex_slow,          // users' mutex: the fast path has failed, the bucket is not locked
  foreign_ready,       // a thread outside has announced itself to a runtime
  m_locked,            // an M that waits for its locked goroutine counts as idle, and is not asleep
  asked,               // a revoker has asked for Ps, and not decided yet
  timers_due,          // a P has a due timer, which is still in its heap
  timers_popped,       // due timers are out of their heap, and nothing of them is done yet
  count                // not a point
};

// In a search (test/checker) there is none either: each point would be one more step for nothing. But every choice is the
// search's, always (test/model/choices.cpp).
#if defined(WEFT_CHECKED) && !defined(WEFT_MODEL)
inline constexpr bool makes_noise = true;
extern constinit atomic<std::uint32_t> noise_level;
[[gnu::noinline]] void noise_slow(noise_at where);
inline void noise(noise_at where) {
  if (noise_level.load(relaxed) != 0) [[unlikely]]
    noise_slow(where);
}
inline bool noisy() { return noise_level.load(relaxed) != 0; }
#else
inline constexpr bool makes_noise = false;
inline void noise(noise_at) {}
#ifdef WEFT_MODEL
inline bool noisy() { return true; }
#else
inline bool noisy() { return false; }
#endif
#endif

inline constexpr std::uint64_t max_noise = 8;
// level 0: off. Up to max_noise: one in 512 >> level passages is delayed, more at loud points.
void set_noise(std::uint64_t level, std::uint64_t seed);
// How often any point has delayed somebody since the process began.
std::uint64_t noise_made();
// Answers choices with noise: mostly the settled policy, random where there is none.
strategy* noise_choices();

}  // namespace weft::rt
