// The timers of the Ps, as the scheduler runs them (GO-BEHAVIOUR C7, A9, A19 protocol 5): who fires them, and who sleeps
// until the next one.
//
// Who    the holder of a P fires its due timers when it comes by find_runnable, and comes by at the end of a slice when
//        some are due; a spinner fires those of others in its last pass; and when a P is idle, one idle M of the runtime, the
//        watch, sleeps until the first timer of all Ps, takes a P and fires. All other idle Ms sleep without limit.
// State  sched.watch: the M that sleeps so, listed as idle as the others are, under sched.lock.
//        sched.watch_until: until when it sleeps; 0: there is none. Written under sched.lock, read by anybody.
// Order  timers.watch  who inserts:  min_when_; barrier; npidle, watch_until
//                      the M that is about to sleep, under sched.lock:  npidle; barrier; min_when_ of all Ps; watch_until
//        If the barrier of an inserter comes before that of the sleeper, the sleeper sees the timer. Else the inserter sees that
//        a P is idle, and a watch_until that is no older than the sleeper's look; if that is none, or later than the timer, it
//        takes sched.lock and looks again, when the sleeper has said until when it sleeps: it wakes it if the timer comes
//        earlier, or some idle M to watch if none does. The same holds for a P that is laid down by somebody who does not look for himself
//        (keep_watch after handoffp, start_world): whenever a P is idle and a timer is pending, somebody watches, or looks.
//        The watch whose time has come ceases to watch (watch_until = 0) and is once more about to sleep: it looks behind its
//        barrier, also to find that there is nothing to watch any more. Whoever armed a timer since may have trusted it.
//        timers.firing  who fires: p.firing odd; min_when_ without what is popped (release); the calls; p.firing even (release)
//                       who ends the last goroutine, and main has exited: p.firing of all Ps (acquire); no goroutine is alive;
//                       min_when_ of all Ps; barrier; p.firing
//        A function that has been popped and has not launched its goroutine yet is in no heap, and no goroutine that is alive
//        stands for it. Who finds a heap without it finds the number odd, or another; or the same, even, and then it has begun
//        with the look at who is alive before it. Whoever was firing comes by find_runnable next, and looks once more.
// Why    the watch is no special thread, and has no P. With all Ps busy nobody watches: each looks after its own. A goroutine
//        that parks until a time wakes nobody when its M goes on to look for work: if that finds none it watches itself. So
//        one goroutine that sleeps again and again on an idle runtime wakes one thread, its own.
// Never  ready under a heap's lock.
// Checked by test/model/watch_model.cpp, with each barrier taken away; test/stress/timers.cpp.
#pragma once
#include <cstdint>

#include "model/timer.hpp"
#include "sched/sched.hpp"

namespace weft::rt {

class glist;

// ---- by the holder of a P

// In the commit of a park: t says who waits. Nothing of t is touched once it is in the heap.
void arm_wait(g* parked, timer* t, std::int64_t when);
// By a goroutine inside the runtime, or by a timer's function: t is armed on the caller's P.
void arm(m* mp, timer* t, std::int64_t when);
// False: it is in no heap: it was fired, or is being fired just now, or was never armed.
inline bool disarm(timer* t) { return p_timers::remove(t); }

// The due ones of one heap, on mp's P. Returns how many.
std::uint32_t fire_due(m* mp, p_timers& heap, std::int64_t now);
// In find_runnable, when its P has timers; and for the watch whose time has come, of all Ps.
void look_at_timers(m* mp);
void fire_all_due(m* mp);
// At the end of a tick of a P with timers: whether the short paths must stop.
void timers_at_tick(p* pp);

// Whether timers_at_tick has found some due, and the M has still to fire them.
bool timers_want(const m* mp);

// The first of all Ps; never: there is none.
std::int64_t next_timer(const sched_t* rt);

// No goroutine is alive, no timer is pending and none is being fired: nothing of the runtime can start one any more.
bool nothing_to_come(const sched_t* rt);

// ---- who watches

// A P is idle, perhaps, and a timer pending: somebody is to watch.
void keep_watch(sched_t* rt);
// Under sched.lock: an M that is taken off the idle list does not watch any more.
inline void stand_down(sched_t* rt, const m* mp) {
  if (rt->watch != mp) return;
  rt->watch = nullptr;
  rt->watch_until.store(0, relaxed);
}

// ---- the heaps themselves

p_timers* timers_get();           // for a new P; null: no memory
void drop_timers(p_timers& all);  // whatever is still in it will never be called
void timers_put(p_timers* all);

}  // namespace weft::rt
