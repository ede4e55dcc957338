// status: where a goroutine is in its life, and the one door for changing it.
//
//   idle ──▶ runnable ──▶ running ──▶ dead ──▶ runnable (the next life)
//               ▲  ▲         │  │
//               │  └─────────┘  ├──▶ waiting ──▶ runnable
//               └── detached ◀──┘     (detached: outside the runtime without a P; Go's syscall)
//
// The bit `scan` locks a state: whoever sets it on a waiting goroutine keeps it waiting, and with it what
// it waits on alive, until the bit goes (DESIGN 5: timeouts, cancellation, dumps).
//
// Who    running and dead: changed by the M that runs it. runnable: by the M that dequeued it, alone.
//        waiting: by the one waker that took its sudog, unless `scan` is set: then it waits for the bit.
// Order  status.park   park: the saved context, then waiting (release) / wake: waiting -> runnable (acq_rel)
// Why    only waiting -> runnable is contended, so only it pays for a CAS; the others are stores, checked.
// Never  a transition that the door does not know: "bad status" is a fatal error in release builds too,
//        because the next thing would be two threads on one stack.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/sizes.hpp"
#include "os/sys.hpp"

namespace weft::rt {

// Go's numbers, so that dumps and schedtrace read the same.
enum class status : std::uint32_t { idle = 0, runnable = 1, running = 2, detached = 3, waiting = 4, dead = 6 };
inline constexpr std::uint32_t status_scan = 0x1000;

class status_word {
 public:
  status get() const { return static_cast<status>(word_.load(acquire) & ~status_scan); }

  // Owner's transitions: nobody else changes the word in state `from`.
  void set(status from, status to) {
    const std::uint32_t old = word_.load(relaxed);
    if (old != static_cast<std::uint32_t>(from)) [[unlikely]]
      bad(from, to, old);
    // order: status.park
    word_.store(static_cast<std::uint32_t>(to), release);
  }

  // The parker's own: waiting, and locked at once.
  void park_locked() {
    const std::uint32_t old = word_.load(relaxed);
    if (old != static_cast<std::uint32_t>(status::running)) [[unlikely]]
      bad(status::running, status::waiting, old);
    // order: status.park
    word_.store(static_cast<std::uint32_t>(status::waiting) | status_scan, release);
  }

  // A new life: from dead, or from the all-zero word of a g that never lived.
  void born() {
    const std::uint32_t old = word_.load(relaxed);
    if (old != static_cast<std::uint32_t>(status::dead) && old != static_cast<std::uint32_t>(status::idle))
        [[unlikely]] {
      bad(status::dead, status::runnable, old);
    }
    word_.store(static_cast<std::uint32_t>(status::runnable), release);
  }

  // The waker's transition, waiting -> runnable; waits while somebody has the state locked.
  void wake() {
    std::uint32_t expected = static_cast<std::uint32_t>(status::waiting);
    std::uint32_t spins = 0;
    // order: status.park
    while (!word_.compare_exchange_weak(expected, static_cast<std::uint32_t>(status::runnable), acq_rel, relaxed)) {
      if ((expected & ~status_scan) != static_cast<std::uint32_t>(status::waiting)) [[unlikely]] {
        bad(status::waiting, status::runnable, expected);
      }
      expected = static_cast<std::uint32_t>(status::waiting);
      wait_for_scan(++spins);
    }
  }

  // Locks the state if the goroutine waits; false when it does not. Waits while somebody else has it locked:
  // that one may be a taker that comes too late, and this one must not be lost for it.
  [[nodiscard]] bool lock_waiting() {
    for (std::uint32_t spins = 1; !try_lock_waiting(); ++spins) {
      if (get() != status::waiting) return false;
      wait_for_scan(spins);
    }
    return true;
  }
  // The same without waiting: false also when somebody else has it locked.
  [[nodiscard]] bool try_lock_waiting() {
    std::uint32_t expected = static_cast<std::uint32_t>(status::waiting);
    return word_.compare_exchange_strong(expected, expected | status_scan, acquire, relaxed);
  }
  void unlock_waiting() {
    const std::uint32_t locked = static_cast<std::uint32_t>(status::waiting) | status_scan;
    if (word_.load(relaxed) != locked) bad(status::waiting, status::waiting, word_.load(relaxed));
    word_.store(static_cast<std::uint32_t>(status::waiting), release);
  }

  // A plain thread waits on the word itself (src/sched/park.cpp).
  atomic<std::uint32_t>* futex() { return &word_; }

 private:
  // The holder of the bit is a few instructions, or one bucket lock, from giving it back; or it was descheduled.
  static void wait_for_scan(std::uint32_t spins) {
    if (spins % sizes::scan_pauses == 0) {
      os::yield_thread();
    } else {
      os::pause();
    }
  }

  [[noreturn, gnu::cold]] static void bad(status from, status to, std::uint32_t found) {
    fatal("sched: bad goroutine status (wanted from<<8|to, found)",
          static_cast<std::uint32_t>(from) << 8 | static_cast<std::uint32_t>(to), found);
  }

  atomic<std::uint32_t> word_{0};
};

}  // namespace weft::rt
