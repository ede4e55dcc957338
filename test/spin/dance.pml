/* dance: nobody waits beside an idle P (src/sched/spinning.hpp, wake.cpp, find.cpp, schedule.cpp).
 *
 * Who     NM threads (Ms), some of them not made yet; NP Ps, all of which are held at the start: M0 runs a goroutine
 *         that submits, M1 looks for work, what M2 does depends on SHAPE. One lock, sched.lock.
 * Claim   every goroutine, once started, waits (on its P) until all have been started, and there are as many as Ps. So
 *         work that lies beside an idle P, or a wake-up too few, is a state from which nothing goes on: spin calls it an
 *         invalid end state. With -DREFUSE goroutines end instead of waiting, because there may be no thread for each;
 *         then what is claimed is that the work does not stay where it is.
 * Memory  sequentially consistent; with -DTSO each thread has a store buffer of two words, as x86 has (a search that
 *         has to wait for room in it sees no less: a buffer may be drained at any time anyway). Locked instructions
 *         wait until it is empty; so do lock and unlock, which are exchanges.
 * Left out what does not decide who is awake: runnext, batches and halves (a queue is a number), how long one spins
 *         (here not at all: the spinner that is hardest on the others), four passes of stealing (here one), the end of the
 *         runtime, yield. A P's queue is never full.
 *
 * -DSHAPE=n, who submits NP - 1 goroutines:
 *   0  M0 all of them; M2 looks for work, too
 *   1  a chain: each goroutine submits the next; M2 hands off its P (a goroutine goes into `blocking`)
 *   2  M0 one and M2 one; M2 hands off its P then
 *   3  M0 one, and a thread from outside one into the global queue; M2 hands off its P
 * The names of the mutations, and which are found where, stand in run.py. */

#define NP 3
#ifdef REFUSE
#define NM 3
#elif !defined(NM)
#define NM 5
#endif
#define FOREIGN NM /* its number among the threads */
#define N NP
#define NOBODY 7
#ifndef SHAPE
#define SHAPE 0
#endif

byte queue[NP];
byte runq;         /* the global queue, guarded by lock */
byte runq_size;    /* what is seen of it without the lock */
byte nmspinning;
byte needspinning;
byte npidle;       /* what is seen of pidle without the lock */
byte pidle;        /* one bit for each P; guarded by lock */
byte midle;        /* one bit for each M; guarded by lock */
byte made = 3;     /* Ms; guarded by lock */
bit lock;
byte nextp[NM];    /* a P and 1, or 0: what an M that sleeps on its note waits for */
bit spinning[NM];  /* mp->spinning: written by whoever wakes the M, then by the M */
byte started = 1;
#ifdef REFUSE
bit refused;       /* no_thread_until has been set */
#endif

#define BITS(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define LOWEST(m) (((m) & 1) -> 0 : (((m) & 2) -> 1 : (((m) & 4) -> 2 : (((m) & 8) -> 3 : 4))))

/* ---- memory */

#define PUT 10 /* + P: a goroutine more in its queue */
#define NEED 20
#define IDLE 30
#define SIZE 40

inline commit(x) {
  if
  :: x >= SIZE -> runq_size = x - SIZE
  :: x >= IDLE && x < SIZE -> npidle = x - IDLE
  :: x >= NEED && x < IDLE -> needspinning = x - NEED
  :: x < NEED -> queue[x - PUT]++
  fi
}

#ifdef TSO
byte sb0[NM + 1];
byte sb1[NM + 1];
#define DRAINED (sb0[id] == 0)
inline store(x) {
  atomic { sb1[id] == 0 -> if :: sb0[id] == 0 -> sb0[id] = x :: else -> sb1[id] = x fi }
}
inline select_full() {
  if
  :: sb0[0] != 0 -> t = 0
  :: sb0[1] != 0 -> t = 1
  :: sb0[2] != 0 -> t = 2
#if NM > 3
  :: sb0[3] != 0 -> t = 3
#endif
#if NM > 4
  :: sb0[4] != 0 -> t = 4
#endif
  :: sb0[NM] != 0 -> t = NM
  fi
}
proctype memory() {
  byte t, x;
end_memory:
  do
  :: atomic {
       select_full();
       x = sb0[t];
       commit(x);
       sb0[t] = sb1[t];
       sb1[t] = 0;
       t = 0;
       x = 0
     }
  od
}
#else
#define DRAINED true
inline store(x) {
  d_step { commit(x) }
}
#endif

inline acquire_lock() {
  atomic { !lock && DRAINED -> lock = 1 }
}
inline release_lock() {
  atomic { DRAINED -> lock = 0 }
}

/* ---- sched/spinning.hpp */

/* claimed = 1: responsible for one spinning M. */
inline claim_wake() {
#ifndef NO_FENCE_S
  DRAINED;
#endif
  if
  :: nmspinning != 0 -> claimed = 0
  :: else ->
#ifdef NEED_ALONE
     if
     :: needspinning != 0 -> claimed = 0
     :: else -> atomic { DRAINED -> claimed = (nmspinning == 0 -> 1 : 0); nmspinning = nmspinning + claimed }
     fi
#else
     if
     :: needspinning != 0 ->
        if
        :: npidle == 0 -> claimed = 0
        :: else -> atomic { DRAINED -> claimed = (nmspinning == 0 -> 1 : 0); nmspinning = nmspinning + claimed }
        fi
     :: else -> atomic { DRAINED -> claimed = (nmspinning == 0 -> 1 : 0); nmspinning = nmspinning + claimed }
     fi
#endif
  fi
}

inline raise() {
  atomic { DRAINED -> nmspinning++ }
}
inline withdraw() {
  atomic { DRAINED -> assert(nmspinning != 0); nmspinning-- }
}
inline begin_spinning() {
  raise();
#ifdef CLEAR_LATE
  DRAINED
#else
  store(NEED + 0);
#ifndef NO_FENCE_B
  DRAINED
#endif
#endif
}
/* P2 is not here: on x86 the locked decrement is a barrier. That C++ asks for one of its own is for V1 to show. */

/* ---- under the lock */

inline pidleput(pp) {
  assert(queue[pp] == 0); /* fatal: idle P with work */
  d_step { pidle = pidle | (1 << pp) };
  store(IDLE + BITS(pidle))
}
inline pidleget(pp) {
  if
  :: pidle == 0 -> pp = NOBODY
  :: else ->
     d_step { pp = LOWEST(pidle); pidle = pidle & ~(1 << pp) };
     store(IDLE + BITS(pidle))
  fi
}
inline pidleget_spinning(pp) {
  pidleget(pp);
#ifndef NO_NEED_SET
  if
  :: pp == NOBODY -> store(NEED + 1)
  :: else
  fi
#endif
}
inline take_global() { /* runq != 0 */
  runq--;
  store(SIZE + runq)
}

/* ---- a thread */

#define WITH_P 0    /* where to go on after wakep and startm: a goroutine that has submitted, */
#define WORK 1      /* a spinner that has found work, */
#define OUT 2       /* and somebody who hands off its P. */

proctype M(byte id; byte begin) {
  byte p = NOBODY;  /* its P */
  byte give;        /* the P that startm is to find an M for */
  byte give_spins;  /* and whether as a spinner */
  byte other;
  byte ret;
  byte submit;      /* goroutines that the goroutine it runs has yet to submit */
  bit claimed;
  bit twice;

  if
  :: begin == 0 -> p = 0; submit = (SHAPE == 0 -> N - 1 : 1); goto goroutine
  :: begin == 1 -> p = 1; goto find
  :: begin == 2 ->
     p = 2;
     if
     :: SHAPE == 0 -> goto find
     :: SHAPE == 2 -> submit = 1; goto goroutine
     :: else -> goto handoffp
     fi
  :: else -> goto sleep
  fi;

find: /* find_runnable */
  if
  :: atomic { queue[p] != 0 && DRAINED -> queue[p]--; goto got }
  :: queue[p] == 0
  fi;
  if
  :: runq_size != 0 ->
     acquire_lock();
     if
     :: runq != 0 -> take_global(); release_lock(); goto got
     :: else -> release_lock()
     fi
  :: else
  fi;
  if
  :: spinning[id]
  :: else ->
     other = NP - npidle;
     if
     :: 2 * nmspinning < other -> other = 0; spinning[id] = 1; begin_spinning()
     :: else -> other = 0; goto lay_down
     fi
  fi;
  /* steal_work: the others in one order or the other */
  twice = 0;
  if
  :: other = (p + 1) % NP
  :: other = (p + 2) % NP; twice = 1
  fi;
  if
  :: atomic { queue[other] != 0 && DRAINED -> queue[other]--; other = 0; twice = 0; goto got }
  :: queue[other] == 0
  fi;
  other = (twice -> (p + 1) % NP : (p + 2) % NP);
  if
  :: atomic { queue[other] != 0 && DRAINED -> queue[other]--; other = 0; twice = 0; goto got }
  :: queue[other] == 0
  fi;
  atomic { other = 0; twice = 0 };
#ifdef CLEAR_LATE
  store(NEED + 0);
#endif

lay_down:
  acquire_lock();
#ifndef NO_GLOBAL_FIND
  if
  :: runq != 0 -> take_global(); release_lock(); goto got
  :: else
  fi;
#endif
#ifndef NO_NEED_FIND
  if
  :: !spinning[id] && needspinning != 0 -> spinning[id] = 1; begin_spinning(); release_lock(); goto find
  :: else
  fi;
#endif
  pidleput(p);
  p = NOBODY;
  release_lock();
  if
  :: spinning[id] ->
     spinning[id] = 0;
#ifdef LOOK_FIRST
     /* P3 above P1: what it saw is acted upon after the count is down. */
     acquire_lock();
     other = (runq != 0 -> 1 : 0);
     release_lock();
     if :: other == 0 -> other = (queue[0] != 0 -> 1 : 0) :: else fi;
     if :: other == 0 -> other = (queue[1] != 0 -> 1 : 0) :: else fi;
     if :: other == 0 -> other = (queue[2] != 0 -> 1 : 0) :: else fi;
     withdraw();
     if :: other != 0 -> other = 0; goto look_found :: else -> goto stopm fi;
#endif
     withdraw();
#ifdef NO_RECHECK
     goto stopm
#endif
  :: else -> goto stopm
  fi;
  /* look_again */
  acquire_lock();
#ifndef NO_RECHECK_GLOBAL
  if
  :: runq != 0 -> release_lock(); goto look_found
  :: else -> release_lock()
  fi;
#else
  release_lock();
#endif
  if :: queue[0] != 0 -> goto look_found :: else fi;
  if :: queue[1] != 0 -> goto look_found :: else fi;
  if :: queue[2] != 0 -> goto look_found :: else fi;
  goto stopm;
look_found:
  acquire_lock();
  pidleget_spinning(p);
  release_lock();
  if
  :: p == NOBODY -> goto stopm
  :: else -> spinning[id] = 1; begin_spinning(); goto find
  fi;

stopm:
  acquire_lock();
#ifndef NO_LOOK_STOPM
  if
  :: runq != 0 ->
     pidleget(p);
     if
     :: p != NOBODY -> release_lock(); goto find
     :: else
     fi
  :: else
  fi;
#endif
  midle = midle | (1 << id);
  release_lock();

sleep:
end_asleep:
  atomic { nextp[id] != 0 -> p = nextp[id] - 1; nextp[id] = 0 };
  goto find;

got: /* schedule: it has a goroutine */
  if
  :: spinning[id] ->
     spinning[id] = 0;
     withdraw();
     ret = WORK;
#ifdef NO_SUCCESSOR
     goto execute;
#endif
     goto wakep
  :: else
  fi;
execute:
  atomic {
    ret = 0;
    started++;
    submit = (SHAPE == 1 && started < N -> 1 : 0)
  };

goroutine: /* a goroutine */
  if
  :: submit != 0 -> submit--; store(PUT + p); ret = WITH_P; goto wakep
  :: else
  fi;
  if
  :: begin == 2 && SHAPE == 2 -> goto handoffp
  :: else
  fi;
#ifdef REFUSE
  goto find;
#else
  started == N;
  goto done;
#endif

wakep:
  claim_wake();
  if
  :: !claimed -> goto back
  :: else -> claimed = 0
  fi;
  acquire_lock();
  give = NOBODY;
#ifdef REFUSE
  if
  :: midle == 0 && refused -> goto nothing_to_give /* no_thread_now */
  :: skip                                          /* or its time has passed */
  fi;
#endif
  pidleget(give);
  if
  :: give != NOBODY -> release_lock(); give_spins = 1; goto startm
  :: else
  fi;
nothing_to_give:
  give = 0;
#ifdef NEED_FIRST
  store(NEED + 1);
#endif
#ifdef DEC_OUTSIDE
  store(NEED + 1);
  release_lock();
  withdraw();
#else
  withdraw();
#if !defined(NEED_FIRST) && !defined(NO_NEED_SET)
  store(NEED + 1);
#endif
  release_lock();
#endif
  goto back;

startm:
  assert(!give_spins || queue[give] == 0); /* fatal: a spinning M would get a P with work */
#ifdef REFUSE
  acquire_lock();
  if
  :: midle == 0 -> release_lock(); goto no_thread_for
  :: else
  fi;
#else
  atomic { !lock && DRAINED && (midle != 0 || made < NM) -> lock = 1 }; /* with all made: one that is about to sleep */
#endif
  if
  :: midle != 0 -> d_step { other = LOWEST(midle); midle = midle & ~(1 << other) }
  :: else -> other = made; made++
  fi;
  release_lock();
wake_up:
  atomic { DRAINED -> assert(nextp[other] == 0); spinning[other] = give_spins; nextp[other] = give + 1; other = 0 };
  atomic { give = 0; give_spins = 0 };
  goto back;

#ifdef REFUSE
no_thread_for:
  acquire_lock();
  refused = 1;
  if
  :: midle != 0 ->
     d_step { other = LOWEST(midle); midle = midle & ~(1 << other) };
     release_lock();
     goto wake_up
  :: else ->
     if
     :: queue[give] != 0 ->
        d_step { runq = runq + queue[give]; queue[give] = 0 };
        store(SIZE + runq)
     :: else
     fi;
     pidleput(give)
  fi;
#ifdef GIVE_BACK_OUTSIDE
  release_lock();
#endif
  if
  :: give_spins ->
#ifdef NEED_FIRST
     store(NEED + 1);
     withdraw()
#else
     withdraw();
     store(NEED + 1)
#endif
  :: else
  fi;
#ifndef GIVE_BACK_OUTSIDE
  release_lock();
#endif
  atomic { give = 0; give_spins = 0 };
  goto back;
#endif

handoffp: /* of p; the goroutine is outside the runtime from then on, for ever (how it comes back: revoke.pml) */
  atomic { give = p; p = NOBODY; ret = OUT };
#ifndef NO_QUEUE_HANDOFF
  if
  :: queue[give] != 0 || runq_size != 0 -> goto startm
  :: else
  fi;
#endif
#ifndef NO_LAST_HANDOFF
  other = nmspinning;
  other = other + npidle;
  if
  :: other == 0 ->
     atomic { DRAINED -> claimed = (nmspinning == 0 -> 1 : 0); nmspinning = nmspinning + claimed };
     if
     :: claimed -> claimed = 0; store(NEED + 0); give_spins = 1; goto startm
     :: else
     fi
  :: else -> other = 0
  fi;
#endif
  acquire_lock();
#ifndef NO_GLOBAL_HANDOFF
  if
  :: runq != 0 -> release_lock(); goto startm
  :: else
  fi;
#endif
#ifndef NO_NEED_HANDOFF
  if
  :: needspinning != 0 -> begin_spinning(); release_lock(); give_spins = 1; goto startm
  :: else
  fi;
#endif
  pidleput(give);
  release_lock();
  give = 0;

back:
  if
  :: ret == WITH_P -> goto goroutine
  :: ret == WORK -> goto execute
  :: ret == OUT
  fi;
done:
  skip
}

/* ready_foreign: a thread without a P. */
#if SHAPE == 3
proctype Outside() {
  byte id = FOREIGN;
  byte give;
  byte other;
  bit claimed;
  acquire_lock();
  runq++;
  store(SIZE + runq);
  release_lock();
  claim_wake();
  if
  :: !claimed -> goto done
  :: else
  fi;
  acquire_lock();
  pidleget(give);
  if
  :: give == NOBODY -> withdraw(); store(NEED + 1); release_lock(); goto done
  :: else -> release_lock()
  fi;
  atomic { !lock && DRAINED && (midle != 0 || made < NM) -> lock = 1 };
  if
  :: midle != 0 -> d_step { other = LOWEST(midle); midle = midle & ~(1 << other) }
  :: else -> other = made; made++
  fi;
  release_lock();
  atomic { DRAINED -> assert(nextp[other] == 0); spinning[other] = 1; nextp[other] = give + 1 };
done:
  skip
}
#endif

init {
  atomic {
    run M(0, 0);
    run M(1, 1);
    run M(2, 2);
#if NM > 3
    run M(3, 3);
#endif
#if NM > 4
    run M(4, 3);
#endif
#if SHAPE == 3
    run Outside();
#endif
#ifdef TSO
    run memory()
#endif
  };
#ifdef REFUSE
  started >= N
#endif
}
