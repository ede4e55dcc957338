// timer: one entry of a P's heap: a wait that ends at its time, or a function that is called then.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "lock/mutex.hpp"
#include "model/timers.hpp"

namespace weft::rt {

struct g;

// What a callback_timer calls (sched/callback_timer.hpp).
struct timer_ops {
  void (*fire)(g* self, void* arg, std::uint64_t seq, std::int64_t when);
  void (*drop)(void* arg, std::uint64_t seq);
};

struct timer {
  atomic<void*> home{nullptr};     // the heap it is in
  std::uint32_t index = 0;         // there
  std::uint32_t wait_seq = 0;      // of a wait: which one (model/g.hpp)
  std::uint64_t order = 0;         // when it was inserted, among those of its heap
  const timer_ops* ops = nullptr;  // null: a wait
  void* arg = nullptr;             // of a wait: the g
  std::uint64_t seq = 0;           // of a wait: its goid
};

// What is left to be done when a timer has been popped and its heap is free again.
struct due_timer {
  const timer_ops* ops;
  void* arg;
  std::uint64_t seq;
  std::uint64_t order;
  std::int64_t when;
  std::uint32_t wait_seq;
};

// The next time on the grid of `period` from `when` on that is after now: those in between are skipped.
constexpr std::int64_t next_on_grid(std::int64_t when, std::int64_t period, std::int64_t now) {
  const std::int64_t behind = now > when ? (now - when) / period : 0;
  if (behind + 1 > (far_future - when) / period) return far_future;
  return when + (behind + 1) * period;
}

// Type-stable, like m: who removes a timer may be about to lock a heap whose runtime has just ended.
struct p_timers : timer_heap<timer, mutex> {
  p_timers* next_free = nullptr;
};

}  // namespace weft::rt
