// timekeeper: a thread that fires the timers of those who are in no runtime: a plain thread has no P whose timers
// somebody would look at. Started by the first of them; it sleeps until the next timer, and without limit when there is none.
//
// Who    any plain thread arms and disarms; the keeper alone fires, with no g.
// Order  bell.ring (lock/doorbell.hpp)   arm: the heap's first time, then the ring / the keeper: the count, then the heap
//        outside.fired  the keeper: outside_fired odd; barrier; the pop; the call; outside_fired even (release)
//                       the look for a deadlock: outside_fired (acquire); the heap's first time; barrier; outside_fired
//        What was popped and has not readied anybody yet is in no heap, and its thread is not at rest: who finds the heap
//        without it finds the number odd, or another; or the same, even, and then all that the call did is to be seen. A
//        thread apart is counted within the call, and counts itself out (release) when its own is done: with the number the
//        same and even, who finds none (acquire) sees all that they did.
// Why    a thread apart for each call of the program's code: one that waits must not keep the keeper, and may wait for another.
//        They are seldom, and as many as wait at a time, so they end with their call.
//        The keeper is there for the life of the process: to end it when it has nothing to do would take a protocol, to save
//        one thread that sleeps. The look for a deadlock counts it.
// Checked by test/unit/sched/callback_timer_test.cpp; test/model/deadlock_model.cpp (deadlock_beside_the_timekeeper).
#include <new>

#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/callback_timer.hpp"

namespace weft::rt {
namespace {

struct apart {
  void (*fn)(void*);
  void* arg;
};

// Also when the program's code ends the thread, which unwinds it.
struct leaves {
  ~leaves() { the_process.outside_threads.fetch_sub(1, release); }  // order: outside.threads
};

void call(void* arg) {
  const leaves at_the_end;
  const apart c = *static_cast<apart*>(arg);
  delete static_cast<apart*>(arg);
  c.fn(c.arg);
}

void keep_time(void*) {
  p_timers& heap = the_process.outside_timers;
  for (;;) {
    const std::uint32_t seen = the_process.outside_bell.read();
    const std::int64_t first = heap.min_when();
    const std::int64_t now = os::now();
    if (first > now) {
      the_process.outside_bell.wait(seen, first == no_timer ? -1 : first - now);
      continue;
    }
    fire_outside(now);
  }
}

int serve() {
  mutex_guard guard(the_process.outside_lock);
  if (the_process.outside_served.load(relaxed)) return 0;
  os::thread keeper;
  const int err = os::thread_start(&keeper, keep_time, nullptr);
  if (err == 0) the_process.outside_served.store(true, release);
  return err;
}

}  // namespace

void call_apart(void (*fn)(void*), void* arg) {
  auto* c = new (std::nothrow) apart{fn, arg};
  if (c == nullptr) return fn(arg);
  the_process.outside_threads.fetch_add(1, relaxed);
  if (os::thread_start_alone(call, c) == 0) return;
  the_process.outside_threads.fetch_sub(1, relaxed);
  delete c;
  fn(arg);
}

void fire_outside(std::int64_t now) {
  due_timer due{};
  const auto copy = [&](const timer* t, std::int64_t when) {
    due = {t->ops, t->arg, t->seq, t->order, when, t->wait_seq};
  };
  const std::uint32_t fired = the_process.outside_fired.load(relaxed);
  the_process.outside_fired.store(fired + 1, relaxed);
  store_load_barrier();  // order: outside.fired
  if (the_process.outside_timers.pop_due(now, 1, copy) != 0) due.ops->fire(nullptr, due.arg, due.seq, due.when);
  the_process.outside_fired.store(fired + 2, release);  // order: outside.fired
}

int arm_outside(timer* t, std::int64_t when) {
  if (!the_process.outside_served.load(acquire)) {
    if (const int err = serve()) return err;
  }
  if (the_process.outside_timers.insert(t, when)) the_process.outside_bell.ring();
  return 0;
}

}  // namespace weft::rt
