// park: the only doors running -> waiting and waiting -> runnable.
//
// Who    parker: a goroutine, or a plain thread with a proxy g. waker: whoever took the parker's sudog off
//        its queue (the taker rule, model/sudog.hpp); there is exactly one for each park.
// State  running -> waiting on the other side of the switch, then the commit unlocks what the waker needs.
// Order  status.park    (model/status.hpp)
//        park.commit    status waiting, then the commit's unlock (release) / waker: lock (acquire), then ready
// Never  ready a goroutine while holding the lock of an object: the waiter may have its status locked by a
//        taker who is after that very lock.
// Never  touch the waiter's frame after ready.
// Checked by test/stress/taker.cpp and the conformance tests; as a model by test/spin/park.pml; exhaustively, for
// plain threads and the status word, by test/model/park_model.cpp.
#pragma once
#include <cstdint>

#include "arch/getg.hpp"
#include "base/check.hpp"
#include "base/noise.hpp"
#include "model/g.hpp"
#include "model/glist.hpp"
#include "model/process.hpp"
#include "model/sematable.hpp"
#include "model/sudog.hpp"
#include "sched/cancel.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/timers.hpp"

namespace weft::rt {

// Parks the calling goroutine. Commit(arg) runs on the other side, when gp is `waiting`; from then on gp may be
// running elsewhere. The caller is inside the runtime (enter_and_park).
template <void (*Commit)(void*)>
void gopark(g* gp, void* arg, wait_reason why) {
  m* mp = gp->m;
  gp->reason = why;
  gp->since = static_cast<std::uint32_t>(the_process.coarse_now.load(relaxed));
  mp->after = [](m*, g* left, void* what) {
    left->m = nullptr;
    left->status.set(status::running, status::waiting);
    noise(noise_at::parked);
    Commit(what);  // order: park.commit
  };
  mp->after_g = gp;
  mp->after_arg = arg;
  noise(noise_at::parking);
  leave_to_next(mp, gp);
}

// Makes a waiting goroutine (or plain thread) runnable. `self` is the caller's getg().
//   a goroutine of the same runtime: runnext of the caller's P, as Go's goready
//   from a plain thread or another runtime: the global queue of the goroutine's own runtime
//   a plain thread: woken
void ready(g* self, g* gp);
// What users call as weft::yield, for callers inside the runtime.
void yield_inside(g* gp);
// The same for one that waits for the mutex at sg.addr, whose lowest bit says that it is held: others may pass it over as
// long as it is.
void give_way(g* gp, sudog& sg);
// Returns after a while, to a caller inside the runtime (or a plain thread: null) that has found an object's lock taken by
// another CPU and holds none.
void stay_away(g* self);

// By the holder of a P that is about to run what it readies: another thread is woken by the caller, if it is needed.
void ready_quietly(g* self, g* gp);

// All of a list, in its order; empties it.
void ready_all(g* self, glist& list);

// A g for a plain thread that is about to wait. From the process's dead gs; takes a lock.
g* proxy_get();
void proxy_put(g* gp);

// Whoever calls a blocking primitive: the goroutine, inside the runtime for this scope, or the thread.
class caller {
 public:
  explicit caller(op what = op::none, const void* object = nullptr) : self_(getg()) {
    if (self_ != nullptr) door_in(self_, what, object);
  }
  ~caller() {
    if (self_ != nullptr) {
      // No lock is held and nothing of the object is touched any more: as good a place to give way as any.
      if (self_->m->choose.settled_if_checked(site::yield_here, 2) != 0) yield_inside(self_);
      door_out(self_->m);
    } else if (proxy_ != nullptr) {
      proxy_put(proxy_);
    }
  }
  caller(const caller&) = delete;
  caller& operator=(const caller&) = delete;

  // Null for a plain thread.
  g* self() const { return self_; }
  // The g that sg.gp must name; for a plain thread its proxy, which lives as long as this scope.
  g* waiter() {
    if (self_ != nullptr) return self_;
    if (proxy_ == nullptr) proxy_ = proxy_get();
    return proxy_;
  }
  // A cancelled goroutine that is about to wait: it unwinds instead.
  bool cancelled() {
    if (self_ == nullptr || self_->extras->asks.load(relaxed) == 0) [[likely]]  // order: cancel.stop
      return false;
    const looked l = look(self_);
    if (l == looked::watched) proxy_ = self_;
    return l == looked::unwinds;
  }
  // It waits under a context, and will look at that once more with its status locked: its commit must not ready it.
  bool watched() const { return self_ != nullptr && proxy_ != nullptr; }
  // A random number for the semaphore table.
  std::uint32_t ticket() { return ticket_for(self_); }

  // In [0, n), for a free choice that the program sees; in an exploration it is the exploration's.
  std::uint32_t choose(site where, std::uint32_t n) { return choose_for(self_, where, n); }

  // Waits as w says, which is queued under a lock that the caller holds and Commit(arg) gives back; returns when somebody
  // has taken w off.
  // `cancellable`: the wait may end with wait_result::cancelled; the caller has looked at cancelled() before it queued.
  template <void (*Commit)(void*)>
  void wait(rt::waiter& w, void* arg, wait_reason why, bool cancellable) {
    g* gp = w.gp;
    w.cancellable = cancellable;
    gp->waiting = &w;
    ++gp->wait_seq;
    if (proxy_ == nullptr) [[likely]] {
      gopark<Commit>(gp, arg, why);
    } else {
      wait_apart(Commit, arg, gp, why);
    }
    gp->waiting = nullptr;
  }
  // The same until `deadline` at most: then the wait ends with wait_result::timed_out, if nobody else has ended it.
  // What Commit reads of the waiter's frame, it must read with a lock held that whoever takes w needs.
  template <void (*Commit)(void*)>
  void wait_until(rt::waiter& w, void* arg, wait_reason why, bool cancellable, std::int64_t deadline) {
    if (deadline == no_timer) return wait<Commit>(w, arg, why, cancellable);
    invariant(w.kind != wait_kind::in_word, "park: a wait in a word has a deadline");
    g* gp = w.gp;
    w.cancellable = cancellable;
    gp->waiting = &w;
    ++gp->wait_seq;
    if (self_ != nullptr) {
      timed_park t;
      t.t.arg = gp;
      t.t.seq = gp->goid;
      t.t.wait_seq = gp->wait_seq;
      t.deadline = deadline;
      t.arg = arg;
      if (proxy_ == nullptr) {
        gopark<arm_and<Commit>>(gp, &t, why);
      } else {
        park_watched(arm_and<Commit>, &t, gp, why);
      }
      disarm(&t.t);
    } else {
      wait_as_thread(Commit, arg, gp, why, deadline);
    }
    gp->waiting = nullptr;
  }
  // In bucket b.
  void wait(sema_bucket& b, sudog& sg, wait_reason why, bool cancellable = false) {
    wait<unlock_bucket>(sg, &b, why, cancellable);
  }
  void wait_until(sema_bucket& b, sudog& sg, wait_reason why, bool cancellable, std::int64_t deadline) {
    wait_until<unlock_bucket>(sg, &b, why, cancellable, deadline);
  }
  // Now, by the clock that the caller's deadlines are of.
  std::int64_t now() const { return now_for(self_); }

 private:
  static void unlock_bucket(void* b) { static_cast<sema_bucket*>(b)->lock.unlock(); }
  // What a wait with a deadline has in its frame.
  struct timed_park {
    timer t;
    std::int64_t deadline;
    void* arg;
  };
  // Before the commit gives back what the waiter is queued under. Once armed, the timer may be fired on another thread at
  // once; who fires then needs the lock that Commit still holds, or, if there is none, the frame may be gone. A waiter that only
  // Commit makes known, in a word, it would not find: those have no deadline.
  template <void (*Commit)(void*)>
  static void arm_and(void* p) {
    auto* t = static_cast<timed_park*>(p);
    void* arg = t->arg;
    arm_wait(static_cast<g*>(t->t.arg), &t->t, t->deadline);
    Commit(arg);
  }
  static void wait_as_thread(void (*commit)(void*), void* arg, g* proxy, wait_reason why,
                             std::int64_t deadline = no_timer);
  // A goroutine that looks at its context once more when it is waiting.
  static void park_watched(void (*commit)(void*), void* arg, g* gp, wait_reason why);
  static void wait_apart(void (*commit)(void*), void* arg, g* gp, wait_reason why);  // one of the two
  // Not members of this object, nor what follows: it need not be in memory for them.
  static std::uint32_t ticket_for(g* self);
  static std::uint32_t choose_for(g* self, site where, std::uint32_t n);
  // Something may have cancelled the goroutine.
  enum class looked : std::uint8_t { unwinds, waits, watched };
  static looked look(g* gp);

  g* self_;
  g* proxy_ = nullptr;  // of a thread that waits; a goroutine itself, if it waits under a context
};

// Takes the wait of gp, whose status the caller has locked, off its queue, if nobody else has. `ready` gets whoever can go
// on because of that. True: the caller readies gp, once it has unlocked the status. (A select takes the rest of itself off
// its queues when it runs.)
bool take_locked(g* gp, wait_result why, glist& ready);

// The third kind of taker beside releasers: a timeout or cancellation. Takes the wait that gp was in when its
// goid and wait_seq were read, if it still is; the waiter returns with `why`. True: it was taken.
// Any thread; not while holding a lock.
bool take_waiter(g* self, g* gp, std::uint64_t goid, std::uint32_t wait_seq, wait_result why);

// The same, but gp, and whoever can go on because of that, are the caller's to ready.
bool take_waiter_into(g* gp, std::uint64_t goid, std::uint32_t wait_seq, wait_result why, glist& awake);

// The other side of a park under a context: gp has left its stack, and commit(arg) makes it known to who can ready it.
void finish_watched_park(g* gp, void (*commit)(void*), void* arg);

// Takes whatever gp waits in off its queues; it will not run again. Of the objects themselves only channels are touched,
// and those whose queues it is in exist. On an exploration's one thread.
void unqueue(g* gp);

}  // namespace weft::rt
