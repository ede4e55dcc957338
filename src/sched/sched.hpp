// The scheduler's verbs, as far as they call each other. Each is explained where it is defined.
#pragma once
#include <cstdint>

#include "arch/getg.hpp"
#include "model/m.hpp"
#include "model/p.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "sched/spinning.hpp"

namespace weft::rt {

// The choice of the M that the caller runs on. A plain thread has none, and chooses what is settled.
inline std::uint32_t settled_here(site where, std::uint32_t n) {
  g* gp = getg();
  return gp == nullptr ? 0 : gp->m->choose.settled(where, n);
}

inline spin_words spin(sched_t* rt) { return {rt->nmspinning, rt->needspinning, rt->npidle}; }

// ---- schedule.cpp; the inline half is in dispatch.hpp
[[noreturn]] void schedule(void* mp);        // g0's loop
void runqput_slow(p* pp, g* gp, bool next);  // the ring is full
[[gnu::cold]] g* long_chain(p* pp);          // runnext, if it may go before the others still; else it goes to the tail
void globrunqput(sched_t* rt, g* gp);        // under sched.lock

// ---- find.cpp, steal.cpp
g* find_runnable(m* mp, bool& inherit);  // blocks; null: the runtime has ended
g* globrunqget_batch(m* mp);             // under sched.lock
g* steal_work(m* mp, bool& moves);       // `moves`: nothing but what its own P runs before a thief can
bool work_visible(m* mp);                // a hint that a look at the queues is worth while
bool steal_step_is_good(std::uint32_t step, std::uint32_t n);

// ---- wake.cpp
void wakep(sched_t* rt);  // after work was submitted
void resetspinning(m* mp);
bool may_hand_over(sched_t* rt);                 // under sched.lock
void warn_no_room(sched_t* rt);                  // under sched.lock; once
bool no_room_for_m(sched_t* rt);                 // under sched.lock: threads that have lost their P use them all up
void startm(sched_t* rt, p* pp, bool spinning);  // gives an idle-state P to an M
void handoffp(p* pp, bool last_looks = true);    // the holder cannot run goroutines any more
// Sleeps until somebody gives this M a P. True: it has one because timers are due.
bool stopm(m* mp);
m* midleget(sched_t* rt);               // under sched.lock: an idle M, off the list, or null
void midle_remove(sched_t* rt, m* mp);  // under sched.lock: this one, which is on it
void startlockedm(m* mp, g* gp);        // gives the P to the M that gp is bound to
bool start_bound(sched_t* rt, g* gp);   // gp goes on with an idle P, if there is one
bool stoplockedm(m* mp);  // sleeps until mp's locked goroutine can go on, with a P; whether in the slice there is
void start_waiting_ms(sched_t* rt);     // those that startm has left to sysmon
bool nobody_to_run(const sched_t* rt);  // under sched.lock: no M runs, is idle, blocks, or is being made
[[noreturn]] void no_thread_at_all(const sched_t* rt);
void acquirep(m* mp, p* pp);
p* releasep(m* mp);
void pidleput(sched_t* rt, p* pp);   // under sched.lock
p* pidleget(sched_t* rt);            // under sched.lock
p* pidleget_spinning(sched_t* rt);   // under sched.lock
bool pidletake(sched_t* rt, p* pp);  // under sched.lock: this very P, if it is idle

// ---- thread.cpp
// Ms of this runtime fence and count at each call (model/m.hpp).
inline bool takes_slow_path(const sched_t* rt) {
  return the_process.membarrier.load(relaxed) == 2 || rt->knobs.stall != 0;
}
m* allocm(sched_t* rt);  // under sched.lock: an m with an id, counted; null: no memory
void mstart(m* mp);      // the life of an M; returns when the runtime has ended
int newm(m* mp);         // starts its thread; else errno, and the m is gone
void minit(m* mp);       // the calling thread becomes mp's
void unminit(m* mp);
void mexit(m* mp);          // on g0: an M that ends before its runtime; its thread is on its way home
void give_m(m* mp);         // to the process
bool reap_ms(sched_t* rt);  // joins the threads of such; false: some are not gone yet

// ---- newproc.cpp
// By a timer: a goroutine that nobody alive has started, whose callable is plain bytes. `creator` and `pc`: who has asked for it
// and where, for reports; 0: nobody. False: the runtime has ended, and it is not started.
bool launch_by_timer(m* mp, const v0::detail::entry_ops* ops, void* from, std::uint64_t creator, const void* pc);

// ---- goexit.cpp
bool end_if_last(sched_t* rt);  // main has returned, or the end was asked for: was this the last goroutine?

// ---- stacks and gs (newproc.cpp, goexit.cpp)
void bind_stack(m* mp, g* gp);  // a stack for the first run
void bind_stack(g* gp, stack* st);
void free_stack(p* pp, stack* st);                  // of a goroutine that has ended
stack* get_stack(p* pp, int size_class, int* err);  // to borrow; null with *err when refused
void keep_stack(p* pp, stack* st);                  // one that was borrowed
void borrow_stack(g* gp, stack* st);                // gp is about to go on on st
os::stack_bounds stack_of_caller();                 // of a thread that is no M: its own, or one that it has borrowed
stack* return_stack(g* gp);                         // gp is back from it; returns it
g* gfget(m* mp);                                    // null: no memory
void gfput_slow(p* pp);                             // the cache is full: half of it goes to the others
inline void gfput(p* pp, g* gp) {
  pp->gfree[pp->ngfree] = gp;
  if (++pp->ngfree == sizes::gfree_high) [[unlikely]]
    gfput_slow(pp);
}
// Makes gp, whose callable is in place, a runnable goroutine of mp's P.
void launch(m* mp, g* gp, const v0::detail::entry_ops* ops, const g* creator, const void* pc);

// ---- sysmon.cpp
void start_sysmon(sched_t* rt);
void stop_sysmon(sched_t* rt);
// ---- stall.cpp
void start_stall_watch(sched_t* rt);  // if it is asked for
void stop_stall_watch(sched_t* rt);
void print_schedtrace(sched_t* rt);  // schedtrace.cpp

}  // namespace weft::rt
