/* park: waiting, waking and a timeout (src/sched/park.hpp, park.cpp, src/model/status.hpp, sudog.hpp).
 *
 * Who     W: acquires a semaphore WAITS times; each wait has its sudog in a frame of its own. A goroutine (with -DTHREAD a
 *         plain thread, which sleeps on its status word); it runs on whatever M dequeues it, so runner() is its next M.
 *         releaser: releases WAITS times. T(0), T(1): takers from outside (timeout, cancellation); each reads wait_seq
 *         at some time and then takes that wait, if it is still on.
 * Claim   W goes on only from a saved context, on one thread, once for each time that it was taken; it returns `timed
 *         out` only from the wait that the timeout was for; nobody touches a frame or its sudog after W has returned from
 *         the wait; a status changes only as status.hpp allows; a timeout is not lost; W and all takers end.
 * Memory  sequentially consistent: what must be released to whom is for V1 (status.park, park.commit). The bucket's
 *         lock is a lock; the status word is changed by CAS, or by the owner.
 * Left out on_taken; the treap (a bucket here has one waiter); goids: wait_seq goes on counting in a g's next life, so that
 *         to a late taker another life looks like another wait.
 * The names of the mutations, and which are found where, stand in run.py. */

#ifndef WAITS
#define WAITS 2
#endif

#define RUNNABLE 1
#define RUNNING 2
#define WAITING 4
#define SCAN 8

byte status = RUNNING;
bit bucket;      /* its lock */
byte permits;    /* guarded by bucket */
bit queued;      /* the sudog hangs in the bucket; guarded by it */
byte result;     /* of the wait; written under the lock: 1 released, 2 timed out */
byte by;         /* a timeout's seq, for the claim */
byte wait_seq;
bit frame;       /* the sudog's frame is alive */
bit saved;       /* W's context */
bit runq;        /* W is in a run queue */
bit resumed;
bit asleep;      /* THREAD: in futex_wait */
bit done;

inline lock_bucket() {
  atomic { !bucket -> bucket = 1 }
}

/* ready(): the taker's last act with W. */
inline ready() {
#ifdef NO_SCAN_WAIT
  atomic { assert((status & 7) == WAITING); status = RUNNABLE };
#else
  /* anything but waiting is "bad goroutine status" */
  atomic { (status & SCAN) == 0 -> assert(status == WAITING); status = RUNNABLE };
#endif
#ifdef THREAD
#ifndef NO_FUTEX_WAKE
  asleep = 0
#endif
#else
  atomic { assert(!runq); runq = 1 }
#endif
}

proctype w() {
  byte n, seen;
  do
  :: n == WAITS -> break
  :: n != WAITS ->
     n++;
     lock_bucket();
     if
     :: permits != 0 -> permits--; bucket = 0
     :: else ->
        /* caller::wait */
        atomic { frame = 1; queued = 1; result = 0; by = 0; wait_seq++ };
#ifdef THREAD
        atomic { assert(status == RUNNING); status = WAITING };
        bucket = 0;
        do
        :: seen = status;
           if
#ifdef NO_SCAN_MASK
           :: seen != WAITING -> break
#else
           :: (seen & 7) != WAITING -> break
#endif
           :: else -> atomic { if :: status == seen -> asleep = 1 :: else fi }; !asleep
           fi
        od;
        seen = 0;
        atomic { assert(status == RUNNABLE); status = RUNNING };
#else
        /* gopark: the switch saves, then the other side does the rest */
#ifndef SAVE_LATE
        saved = 1;
#endif
#ifdef COMMIT_EARLY
        bucket = 0;
#endif
        atomic { assert(status == RUNNING); status = WAITING };
#ifndef COMMIT_EARLY
        bucket = 0;
#endif
#ifdef SAVE_LATE
        saved = 1;
#endif
        atomic { resumed -> resumed = 0 };
#endif
        /* back in the frame */
        atomic {
          assert(!queued && result != 0);
          assert(result == 1 || by == wait_seq);
          frame = 0
        }
     fi
  od;
  done = 1
}

#ifndef THREAD
/* The next M, which need not wait for the last one to have left W's stack, but for the saved context. */
proctype runner() {
end_idle:
  do
  :: atomic { runq -> runq = 0 };
     atomic { assert(status == RUNNABLE); status = RUNNING };
     atomic { assert(saved); saved = 0; resumed = 1 }
  od
}
#endif

proctype releaser() {
  byte n;
  bit mine;
  do
  :: n == WAITS -> break
  :: n != WAITS ->
     n++;
     lock_bucket();
     if
     :: queued -> atomic { assert(frame); queued = 0; result = 1; mine = 1 }
     :: else -> permits++
     fi;
#ifdef READY_LOCKED
     if :: mine -> ready() :: else fi;
     bucket = 0;
#else
     bucket = 0;
     if :: mine -> ready() :: else fi;
#endif
     mine = 0
  od
}

proctype t() {
  byte seq;
  bit mine;
  /* the wait it is for: any; it is armed when W waits (in the commit), or it might find W not waiting yet, and be lost */
  atomic { (status & 7) == WAITING || done -> seq = wait_seq };
#ifndef NO_SCAN
  /* lock_waiting */
  if
  :: atomic { status == WAITING -> status = WAITING + SCAN }
  :: atomic { (status & 7) != WAITING -> goto late }
#ifdef GIVE_UP_LOCKED
  :: atomic { status == WAITING + SCAN -> goto late }
#endif
  fi;
#endif
#ifndef NO_SEQ
  if
  :: wait_seq == seq
  :: else -> goto unlock
  fi;
#endif
#ifdef NO_SCAN
  if :: (status & 7) != WAITING -> goto late :: else fi;
#endif
  /* gp->waiting: the sudog and what it waits on */
  assert(frame);
  lock_bucket();
  assert(frame);
  if
#ifdef NO_TAKER_RULE
  :: true -> atomic { queued = 0; result = 2; by = seq; mine = 1 }
#else
  :: queued -> atomic { queued = 0; result = 2; by = seq; mine = 1 }
  :: else
#endif
  fi;
  assert(frame);
  bucket = 0;
#ifdef READY_SCANNED
  if :: mine -> mine = 0; ready() :: else fi;
#endif
unlock:
#ifndef NO_SCAN
  atomic { assert(status == WAITING + SCAN); status = WAITING };
#endif
  if :: mine -> ready() :: else fi;
late:
  /* that wait is over, or somebody has taken it */
  assert(!(queued && wait_seq == seq))
}

init {
  atomic {
    run w();
#ifndef THREAD
    run runner();
#endif
    run releaser();
    run t();
    run t()
  }
}
