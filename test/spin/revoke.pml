/* revoke: a P is taken from a thread that is outside the runtime, and the thread gets one back (src/sched/enter.hpp,
 * enter.cpp; the revokers: retake.hpp, revoke.hpp).
 *
 * Who     A: an M with one goroutine of its own, which makes CALLS runtime calls, some of them `blocking`.
 *         B1, B2: Ms that run others' goroutines, always inside the runtime. B1 has a P at the start, B2 sleeps.
 *         R(0), R(1): two revokers, R(2): a late one, which suspects A at any time; no lock between them but sched.lock.
 * Claim   between E3 and E4 the P is A's: nobody takes it (assertions at both ends of the work); a P has one holder
 *         (holder[], changed at every hand-over); at rest each P is idle or somebody's, A has made its calls and the
 *         goroutine is not queued (rest()).
 * Memory  A's stores of in_runtime and revoke go through a store buffer of three words, as on x86; m.p, a plain word
 *         that A writes before revoke, goes with it. membarrier waits until the buffer is empty. Everybody else's
 *         words are locked instructions, or guarded by sched.lock.
 * Rules   that the code of the revokers has to keep, beyond E1 to E4 and R1 to R3:
 *         R3 and the taking of the P (m.p = none, m.oldp, status detached) are one critical section of sched.lock, and
 *         the slow path looks at m.p only under that lock (CHECK_EARLY, TAKE_LATE).
 *         The word of `blocking` is an exchange (a CAS loop): a generation must not go back (BLOCKING_STORE).
 * Left out batches of suspects, slice_over, the mode without membarrier (test/model/revoke_model.cpp has both), retries, the note (a word that the sleeper waits for).
 * The names of the mutations, and which are found where, stand in run.py. */

#ifndef CALLS
#define CALLS 2
#endif
#ifndef TRIES
#define TRIES 1 /* of R(0); the others have one each */
#endif
#define NOBODY 7
#define A 0
#define B1 1
#define B2 2
#define REVOKER 3 /* + its number: on its way to an M */
#define FREE 9    /* on the idle list */
#define GIVEN 10  /* + P: in somebody's nextp */

#define NONE 0
#define PENDING 1
#define REVOKED 2
#define STATE(w) ((w) & 3)
#define GENERATION(w) ((w) & 60)
#define NEXT(w) ((GENERATION(w) + 4) & 60)

/* m, as others see it */
bit in_runtime;
byte revoke;
byte mp_p;       /* A's m.p */
byte oldp = NOBODY;
bit detached;    /* the goroutine's status; guarded by lock */
bit tied_queued; /* it is in the global queue, tied to A; guarded by lock */

bit lock;
byte pidle;      /* one bit for each P; guarded by lock */
byte midle = 4;  /* one bit for each M; guarded by lock */
byte nextp[3];   /* a P and 1, or 0 */
byte holder[2];
bit working;     /* A is between E3 and E4, as it believes */
bit done;

#define NP 2

/* ---- A's store buffer */

byte sb0, sb1, sb2;
byte sbp;        /* m.p that goes with the store of revoke in the buffer */
#define IN0 1
#define IN1 2
#define REVOKE 64 /* + the word */
#define DRAINED (sb0 == 0)

inline store(x) {
  atomic {
    sb2 == 0 ->
    if
    :: sb0 == 0 -> sb0 = x
    :: sb0 != 0 && sb1 == 0 -> sb1 = x
    :: else -> sb2 = x
    fi
  }
}

proctype memory() {
end_memory:
  do
  :: atomic {
       sb0 != 0 ->
       if
       :: sb0 == IN0 -> in_runtime = 0
       :: sb0 == IN1 -> in_runtime = 1
       :: else -> revoke = sb0 - REVOKE; mp_p = sbp; sbp = 0
       fi;
       sb0 = sb1;
       sb1 = sb2;
       sb2 = 0
     }
  od
}

/* What A itself reads: its own store first. */
#define SEEN (sb2 >= REVOKE -> sb2 - REVOKE : (sb1 >= REVOKE -> sb1 - REVOKE : (sb0 >= REVOKE -> sb0 - REVOKE : revoke)))

/* A section in which only guarded words are touched is one step, when the lock is free. Only R3 holds it for longer. */
inline acquire_lock() {
  atomic { !lock -> lock = 1 }
}
inline release_lock() {
  lock = 0
}

/* ---- handoffp, as in wake.cpp; what decides that an M is started for other work (queues, needspinning: dance.pml) is
 * left open. An M is there: with B2 asleep or on its way to sleep. */
inline handoffp(pp, who) {
  if
  :: true ->
#ifdef NO_LOOK_HANDOFF
     atomic { !lock -> lay_down(pp, who) }
#else
     if
     :: atomic { !lock && tied_queued -> skip }; startm(pp, who)
     :: atomic { !lock && !tied_queued -> lay_down(pp, who) }
     fi
#endif
  :: true -> startm(pp, who)
  fi
}
inline lay_down(pp, who) {
  assert(holder[pp] == who);
  holder[pp] = FREE;
  pidle = pidle | (1 << pp)
}
inline startm(pp, who) {
  atomic {
    !lock && midle != 0 ->
    m = ((midle & 2) -> B1 : B2);
    midle = midle & ~(1 << m);
    assert(holder[pp] == who && nextp[m] == 0);
    holder[pp] = GIVEN + m;
    nextp[m] = pp + 1;
    m = 0
  }
}

/* ---- the goroutine on its own thread */

proctype a() {
  byte p = 0; /* m.p as its own thread knows it, by way of `oldp` and `revoked` */
  byte word;
  byte calls;
  byte m;
  bit blocking, blocked;

  do
  :: calls == CALLS -> break
  :: calls != CALLS ->
     calls++;
again:
     blocking = 0;
     if
     :: true
#ifdef BLOCKING
     :: !blocked -> blocking = 1; blocked = 1
#endif
     fi;
     /* E1 to E3 */
#ifdef NO_E2
     word = SEEN;
     store(IN1);
#else
     store(IN1);
     word = SEEN;
#endif
     if
     :: STATE(word) == NONE
     :: else ->
slow:
        atomic { DRAINED -> word = revoke };
        if
        :: STATE(word) == NONE
        :: STATE(word) == PENDING ->
#ifdef UNDO_STORE
           sbp = p;
           store(REVOKE + GENERATION(word));
#else
           if
           :: atomic { DRAINED && revoke == word -> revoke = GENERATION(word) }
           :: atomic { DRAINED && revoke != word -> goto slow }
           fi
#endif
        :: STATE(word) == REVOKED ->
           /* rejoin */
#ifdef CHECK_EARLY
           assert(mp_p == NOBODY); /* fatal: revoked, but the P is still here */
#endif
           p = NOBODY;
           atomic {
             !lock && DRAINED -> assert(mp_p == NOBODY && detached);
             if
             :: (pidle & (1 << oldp)) != 0 -> p = oldp
             :: (pidle & (1 << oldp)) == 0 && pidle != 0 -> p = (pidle & 1 -> 0 : 1)
             :: else
             fi;
             if
             :: p != NOBODY -> assert(holder[p] == FREE); pidle = pidle & ~(1 << p); holder[p] = A; detached = 0
#ifdef QUEUE_LATE
             :: else
#else
             :: else -> detached = 0; tied_queued = 1
#endif
             fi
           };
           if
           :: p != NOBODY
           :: else ->
#ifdef QUEUE_LATE
              atomic { !lock -> detached = 0; tied_queued = 1 };
#endif
              atomic { nextp[A] != 0 -> p = nextp[A] - 1; nextp[A] = 0; assert(holder[p] == GIVEN + A); holder[p] = A }
           fi;
           oldp = NOBODY;
           atomic { sbp = p; word = NEXT(revoke) };
           store(REVOKE + word)
        fi
     fi;
     /* work on the P */
     atomic { working = 1; assert(p != NOBODY && holder[p] == A) };
     atomic { assert(p != NOBODY && holder[p] == A); working = 0 };
     if
     :: blocking ->
        /* blocking_scope: releasep, detached, revoked, handoffp */
        /* plain words of A's own (m.p, m.oldp, the status): in its buffer until the exchange empties it */
#ifdef BLOCKING_STORE
        word = SEEN;
#endif
        atomic {
          DRAINED -> mp_p = NOBODY;
          oldp = p;
          detached = 1;
#ifndef BLOCKING_STORE
          word = revoke;
#endif
          revoke = NEXT(word) | REVOKED
        };
        word = 0;
        handoffp(p, A);
        p = NOBODY
     :: else
     fi;
     /* E4 */
     store(IN0)
  od;
  DRAINED;
  /* a call more, so that what is lost is seen */
  if
  :: STATE(revoke) != REVOKED -> skip
  :: STATE(revoke) == REVOKED -> calls = CALLS; goto again
  fi;
  done = 1
}

/* ---- an M of the others */

proctype b(byte id) {
  byte p;
  byte m;
  if
  :: id == B1 -> p = 1
  :: else -> goto sleep
  fi;
  do
  :: /* a goroutine of this P runs, then find_runnable: the global queue, under the lock that guards the idle list */
     if
#ifdef NO_LOOK_FIND
     :: atomic { !lock -> lay_down(p, id) }
#else
     :: atomic {
          !lock && tied_queued -> tied_queued = 0;
#ifdef NOT_TIED
          assert(false) /* it would run twice: here, and where its thread is on its stack */
#endif
        };
        /* startlockedm */
        atomic { assert(holder[p] == id && nextp[A] == 0); holder[p] = GIVEN + A; nextp[A] = p + 1 }
     :: atomic { !lock && !tied_queued -> lay_down(p, id) }
#endif
     fi;
     p = 0;
     /* stopm */
     atomic { !lock -> midle = midle | (1 << id) };
sleep:
end_asleep:
     atomic { nextp[id] != 0 -> p = nextp[id] - 1; nextp[id] = 0; assert(holder[p] == GIVEN + id); holder[p] = id }
  od
}

/* ---- R0 to R3 */

proctype r(byte id) {
  byte tries;
  byte mine;  /* the word of R1 */
  byte p;
  byte m;
  do
  :: tries == (id == 0 -> TRIES : 1) -> break
  :: tries != (id == 0 -> TRIES : 1) ->
     tries++;
#ifdef P_BEFORE
     p = mp_p; /* R0: the P that raised the suspicion */
#endif
     /* R1 */
     if
     :: atomic {
          STATE(revoke) == NONE ->
#ifdef NO_GENERATION
          mine = PENDING;
#else
          mine = NEXT(revoke) | PENDING;
#endif
          revoke = mine
        }
     :: atomic { STATE(revoke) != NONE -> goto end_try }
     fi;
#ifndef NO_MEMBARRIER
     /* R2 */
     DRAINED;
#endif
     /* R3 */
#ifdef LOOK_UNLOCKED
     if :: in_runtime == 0 :: else -> acquire_lock(); goto undo fi;
     acquire_lock();
     goto won;
#endif
     acquire_lock();
     if
#ifndef NO_RECHECK
     :: in_runtime ->
undo:
        release_lock();
#ifdef UNDO_BLIND
        revoke = GENERATION(revoke)
#else
        atomic { if :: revoke == mine -> revoke = GENERATION(mine) :: else fi }
#endif
     :: !in_runtime ->
#else
     :: true ->
#endif
won:
        if
        :: atomic { revoke == mine -> revoke = GENERATION(mine) | REVOKED }
        :: atomic { revoke != mine -> lock = 0; goto end_try }
        fi;
#ifdef TAKE_LATE
        release_lock();
        acquire_lock();
#endif
#ifndef P_BEFORE
        p = mp_p;
#endif
        d_step {
          assert(p != NOBODY && holder[p] == A && !working);
          holder[p] = REVOKER + id;
          mp_p = NOBODY;
          oldp = p;
          detached = 1
        };
        release_lock();
        handoffp(p, REVOKER + id);
        p = 0
     fi;
end_try:
     mine = 0
  od
}

init {
  atomic {
    holder[0] = A;
    holder[1] = B1;
    run a();
    run b(B1);
    run b(B2);
    run r(0);
    run r(1);
#ifdef LATE
    run r(2);
#endif
    run memory()
  };
  /* rest() */
  timeout;
  assert(done && !tied_queued && !lock);
  assert(holder[0] == FREE || holder[0] == A);
  assert(holder[1] == FREE || holder[1] == A);
  assert(holder[0] == FREE || holder[1] == FREE);
  assert((holder[0] == FREE) == ((pidle & 1) != 0));
  assert((holder[1] == FREE) == ((pidle & 2) != 0))
}
