// callback_timer: calls a function of the runtime's own at a time. For whoever must act then and has no goroutine that
// waits for it (contexts, futures, after_func); it lives in their objects.
//
// Who    start, stop: whoever holds the lock that guards the object; the heap's lock is a leaf, so an object's may be held.
//        fire: an M on its scheduler's stack (`self` is its g0), or the thread that serves those in no runtime (`self` is
//        null); under no lock. drop: whoever takes a runtime down, on a plain thread, when the timer's goroutines are gone.
// State  not armed ── start ─▶ armed ─┬─ stop() == true ─▶ not armed: nobody has called, or will call, for this start
//                                     ├─ popped ─▶ not armed; fire(self, arg, seq, when) is about to be called, once
//                                     └─ its runtime ends ─▶ not armed; drop(arg, seq) is called, once, instead
// Life   of the timer: it must live until it is not armed; from then on nobody touches it any more, also while fire runs.
//        of what `arg` is: each start has exactly one of the three ends above. So the starter takes a reference for each
//        start, and the end gives it back: stop's caller if it returned true, else fire or drop, with its last touch.
//        stop() == false says that fire or drop has begun, or will, or has ended: nobody can tell. Who must know whether
//        it was in time asks its own object, under its own lock: fire takes that lock, compares `seq` with the number of
//        the latest start, and does nothing for an older one.
// fire   must not block, park, throw, or allocate. It may lock objects, ready goroutines (ready(self, gp)), start a goroutine
//        whose callable is at hand (launch), and start this timer or another one again, with `self`.
// drop   may do the same with `self` null: start(nullptr, …) hands the timer to the thread of those in no runtime.
// Not    a period: a call that takes long would overlap with the next, and no stop could say which of them is over. Who
//        wants one starts the timer again in fire.
// Checked by test/unit/sched/callback_timer_test.cpp.
#pragma once
#include <cstdint>

#include "sched/timers.hpp"

namespace weft::rt {

// For a caller in no runtime; returns errno: no thread could be started to serve it, and it is not armed.
[[nodiscard]] int arm_outside(timer* t, std::int64_t when);
// For a `fire` with no `self`: fn(arg) on a thread of its own, as it is, or may call, the program's code, which may block. If
// no thread can be had it is called here, and the timers of all in no runtime wait for it.
void call_apart(void (*fn)(void*), void* arg);
// By the thread that serves them: the first of them, if it is due.
void fire_outside(std::int64_t now);

class callback_timer {
 public:
  constexpr callback_timer(const timer_ops* ops, void* arg) {
    t_.ops = ops;
    t_.arg = arg;
  }
  callback_timer(const callback_timer&) = delete;
  callback_timer& operator=(const callback_timer&) = delete;

  // Not armed before; `when` by now_for(self), or past: then it is called soon, but not by this call. `self`: getg() of the
  // caller, which is inside the runtime; or null on a plain thread. O(log n) of the P's timers.
  // Returns 0, and always for a caller in a runtime; else errno, as arm_outside.
  [[nodiscard]] int start(g* self, std::int64_t when, std::uint64_t seq = 0) {
    t_.seq = seq;
    if (self == nullptr) return arm_outside(&t_, when);
    arm(self->m, &t_, when);
    return 0;
  }
  // True: it was armed, and will not be called. From any thread. O(log n).
  bool stop() { return disarm(&t_); }
  // A hint.
  bool armed() const { return t_.home.load(relaxed) != nullptr; }

 private:
  timer t_;
};

}  // namespace weft::rt
