// exploration: the wire from the scheduler up to an exploration (src/sim), which decides who runs (DESIGN 7).
//
//   sched_t::explore     set for the life of a runtime that is explored; null in all others
//   m.revoke             revoke_explore, for ever: each entry of the door takes its slow path, which calls point()
//   sched_t::attention   attention_explore, for ever: nobody is picked on the short paths, find_runnable calls next()
//   detail::door         door_explore: inline fast paths give way to the compiled functions, which call step()
//
// Who    one M with one P, on the thread that called weft::sim::explore; everything here but touched(), step()
//        and now_for() runs on it. So nothing of an exploration's own needs a lock, but the set that touched() reads.
// Never  a scheduling point with a lock held or an object half changed: point() may switch to any goroutine, and may not
//        return at all, when it ends the run.
// Why    a table of functions, not a call: the exploration is two floors up (docs/decisions/0010).
#pragma once
#include <cstdint>

#include "model/g.hpp"

namespace weft::rt {

struct m;
struct sched_t;

// What a goroutine is about to do at a scheduling point. Names are printed and parsed: a choice string that was written
// down goes on to mean the same only while they stay. `none`: an entry of the door that is not an operation of the
// user's, or one whose point has been passed already.
enum class op : std::uint8_t {
  none,
  start,
  end,
  go,
  yield,
  sem_acquire,
  sem_try_acquire,
  sem_release,
  lock,
  try_lock,
  unlock,
  add,
  wait,
  sleep,
  settle,
  poll,
  blocking,
  back,   // from blocking
  point,  // sim::point: a variable that no lock guards
  done,
  // The operation has been done, and what comes next in the goroutine has not.
  after_go,
  after_release,
  after_unlock,
  after_add,
  after_done,
  send,
  recv,
  try_send,
  try_recv,
  close,
  select,
  try_select,
  after_send,
  after_recv,
  after_close,
  after_select,
  cond_wait,
  notify,
  after_notify,
  lock_shared,
  try_lock_shared,
  unlock_shared,
  after_unlock_shared,
  arrive,
  after_arrive,
  count_down,
  after_count_down,
  latch_wait,
  barrier_wait,
  derive,  // a context from another
  cancel,
  after_cancel,
  future_wait,
  fulfil,
  after_fulfil,
  timer_start,
  timer_stop,
  timer_reset,
  due,  // nobody's: which of several timers of one time is fired first, or whether somebody goes on before
  count_,
};
constexpr const char* to_text(op o) {
  constexpr const char* names[] = {"none",
                                   "start",
                                   "end",
                                   "go",
                                   "yield",
                                   "acquire",
                                   "try_acquire",
                                   "release",
                                   "lock",
                                   "try_lock",
                                   "unlock",
                                   "add",
                                   "wait",
                                   "sleep",
                                   "settle",
                                   "poll",
                                   "blocking",
                                   "back",
                                   "point",
                                   "done",
                                   "after_go",
                                   "after_release",
                                   "after_unlock",
                                   "after_add",
                                   "after_done",
                                   "send",
                                   "recv",
                                   "try_send",
                                   "try_recv",
                                   "close",
                                   "select",
                                   "try_select",
                                   "after_send",
                                   "after_recv",
                                   "after_close",
                                   "after_select",
                                   "cond_wait",
                                   "notify",
                                   "after_notify",
                                   "lock_shared",
                                   "try_lock_shared",
                                   "unlock_shared",
                                   "after_unlock_shared",
                                   "arrive",
                                   "after_arrive",
                                   "count_down",
                                   "after_count_down",
                                   "latch_wait",
                                   "barrier_wait",
                                   "derive",
                                   "cancel",
                                   "after_cancel",
                                   "future_wait",
                                   "fulfil",
                                   "after_fulfil",
                                   "timer_start",
                                   "timer_stop",
                                   "timer_reset",
                                   "due"};
  static_assert(sizeof names / sizeof *names == static_cast<std::size_t>(op::count_));
  return names[static_cast<std::size_t>(o)];
}

// The point after it, if it lets others go on; else none.
constexpr op after(op o) {
  switch (o) {
    case op::go: return op::after_go;
    case op::sem_release: return op::after_release;
    case op::unlock: return op::after_unlock;
    case op::add: return op::after_add;
    case op::done: return op::after_done;
    case op::send: return op::after_send;
    case op::recv: return op::after_recv;
    case op::close: return op::after_close;
    case op::select: return op::after_select;
    case op::notify: return op::after_notify;
    case op::unlock_shared: return op::after_unlock_shared;
    case op::arrive: return op::after_arrive;
    case op::count_down: return op::after_count_down;
    case op::cancel: return op::after_cancel;
    case op::fulfil: return op::after_fulfil;
    default: return op::none;
  }
}
// The operation that such a point comes after; else none.
constexpr op before(op o) {
  for (const op of : {op::go, op::sem_release, op::unlock, op::add, op::done, op::send, op::recv, op::close, op::select,
                      op::notify, op::unlock_shared, op::arrive, op::count_down, op::cancel, op::fulfil}) {
    if (o == after(of)) return of;
  }
  return op::none;
}

struct exploration {
  // A scheduling point of the goroutine that runs, which is inside the door. Others may run before it returns.
  void (*point)(exploration* self, g* gp, op what, const void* object);
  // The operation of the last point has been done: what came of it. Only for the trace.
  void (*done)(exploration* self, g* gp, op what, const void* object, bool success);
  // On g0: who runs next; null: the run is over, and the M goes home.
  g* (*next)(exploration* self, m* mp);
  // gp is about to sleep for so long. Only for the trace.
  void (*sleeps)(exploration* self, g* gp, std::int64_t ns);
  // Which of n, in the operation that gp is in; 0 in the plain schedule.
  std::uint32_t (*choose)(exploration* self, g* gp, std::uint32_t n);
  // An exception that nobody catches, in the terminate handler, on its goroutine's stack. Does not return.
  void (*uncaught)(exploration* self, g* gp);
  // gp has readied a plain thread, or a goroutine of another runtime.
  void (*readied_foreign)(exploration* self, g* gp);
  // Whether the run has touched that object. From any thread, under the_process.explore_lock.
  bool (*touched)(exploration* self, const void* object);
  std::int64_t now = 0;  // the virtual time
};

// For compiled functions that found the door open: the scheduling point before `what`. From inside the door never.
// Throws weft::error for a plain thread, or a goroutine that is not explored, if it would touch an explored object.
void step(op what, const void* object);
// The operation has been done; `object` may be gone by now. With an op that lets others go on: the point after it.
void stepped(op what, const void* object, bool success = true);

// Now, for whoever decides by it: virtual for a goroutine in an exploration. `self` is the caller's getg().
std::int64_t now_for(const g* self);

// A runtime for an exploration: one P, and one M that is the calling thread. It can run many times.
class explored_runtime {
 public:
  // Throws as weft::run does.
  explicit explored_runtime(exploration* by);
  ~explored_runtime();
  explored_runtime(const explored_runtime&) = delete;
  explored_runtime& operator=(const explored_runtime&) = delete;

  // Runs body(arg) as goroutine 1, and all that it starts, until next() returns null.
  void run(void (*body)(void*), void* arg);
  // The goroutines of the last run that are left: out of the semaphore table, their records and stacks to the P's
  // caches. Nothing of theirs is run any more, no destructor either.
  void abandon(g* gp);
  // The goroutines in the run queues, in the order in which they would run. Null: there are no more.
  g* take_queued();
  // Created and not ended.
  std::uint64_t alive() const;
  m* the_m() const { return m_; }

 private:
  std::uint8_t main_class_;
  void* runtime_;  // boot.cpp's
  m* m_;
};

// Leaves the calling goroutine for good, to g0: next() is called there.
[[noreturn]] void leave_for_good(g* gp);

}  // namespace weft::rt
