// Park and ready: the status word, the commit, and who takes a waiter. A goroutine's park is played by a thread that saves
// a context, says `waiting` and unlocks, as gopark's other side does; a plain thread's park is the production code.
#include "sched/park.hpp"

#include "model/fabric.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::status;

// A goroutine and what it waits in.
struct waiter {
  rt::status_word word;
  int context = 0;   // plain: saved by who leaves it, read by who continues it
  int runs = 0;      // plain: raised by who continues it
  rt::mutex bucket;  // guards what follows
  bool queued = false;
  bool permit = false;

  waiter() {
    word.born();
    word.set(status::runnable, status::running);
  }

  // Parks unless a permit is there already. The caller's thread is gone from the goroutine after it.
  void park() {
    bucket.lock();
    if (permit) {
      permit = false;
      bucket.unlock();
      ++runs;
      return;
    }
    queued = true;
    context = 1;
    word.set(status::running, status::waiting);
    bucket.unlock();  // the commit
  }

  bool take() {
    const rt::mutex_guard guard(bucket);
    const bool mine = queued;
    queued = false;
    return mine;
  }

  void ready() {
    word.wake();
    word.set(status::runnable, status::running);
    expect(context == 1, "its context is saved when it is continued");
    context = 0;
    ++runs;
  }

  void release() {
    bool mine = false;
    {
      const rt::mutex_guard guard(bucket);
      mine = queued;
      queued = false;
      if (!mine) permit = true;
    }
    if (mine) ready();
  }

  // take_waiter, without the names.
  void time_out() {
    if (!word.lock_waiting()) return;
    const bool mine = take();
    word.unlock_waiting();
    if (mine) ready();
  }

  // A dump: looks at the goroutine while it waits.
  void look() {
    if (!word.try_lock_waiting()) return;
    expect(context == 1, "who has the state locked reads a saved context");
    word.unlock_waiting();
  }
};

MODEL(park_against_ready, "the waker that takes the waiter off continues a context that was saved") {
  waiter w;
  auto waker = [&] { w.release(); };
  auto t = start(waker);
  w.park();
  t.join();
  expect(w.runs == 1, "it goes on once");
}

MODEL(park_timeout_against_ready, "a timeout and a releaser: one of them continues it") {
  waiter w;
  auto waker = [&] { w.release(); };
  auto timeout = [&] { w.time_out(); };
  auto a = start(waker);
  auto b = start(timeout);
  w.park();
  a.join();
  b.join();
  expect(w.runs == 1, "it goes on once");
}

MODEL(park_two_takers_against_ready,
      "a timeout and a cancellation: the second waits for the first and comes too late") {
  waiter w;
  auto timeout = [&] { w.time_out(); };
  auto a = start(timeout);
  auto b = start(timeout);
  w.park();
  a.join();
  b.join();
  expect(w.runs <= 1, "one of them takes it, at most");
  if (w.runs == 0) w.release();
  expect(w.runs == 1, "it goes on once");
}

MODEL(park_looked_at,
      "a dump locks the state: what it reads there is the waiter's, and nobody continues it meanwhile") {
  waiter w;
  auto waker = [&] { w.release(); };
  auto dump = [&] { w.look(); };
  auto a = start(waker);
  auto b = start(dump);
  w.park();
  a.join();
  b.join();
  expect(w.runs == 1, "it goes on once");
}

// An object of the least kind: permits and a queue, under the bucket's lock.
class turnstile {
 public:
  rt::wait_result pass() {
    rt::caller me;
    rt::sudog sg;
    sg.gp = me.waiter();
    sg.addr = this;
    rt::sema_bucket& b = bucket();
    b.lock.lock();
    if (permits_ != 0) {
      --permits_;
      b.lock.unlock();
      return rt::wait_result::handed;
    }
    b.push_back(&sg, b.empty() ? 0 : me.ticket());
    me.wait(b, sg, rt::wait_reason::semacquire);
    return sg.result;
  }
  void let_one() {
    rt::g* next = nullptr;
    {
      rt::sema_bucket& b = bucket();
      const rt::mutex_guard guard(b.lock);
      if (rt::sudog* sg = b.front(this)) {
        b.remove(sg);
        sg->result = rt::wait_result::handed;
        next = sg->gp;
      } else {
        ++permits_;
      }
    }
    if (next != nullptr) rt::ready(nullptr, next);
  }
  int permits() {
    const rt::mutex_guard guard(bucket().lock);
    return permits_;
  }

 private:
  rt::sema_bucket& bucket() { return rt::the_process.semas.bucket(this); }
  int permits_ = 0;
};

// The g that the next plain thread to wait will get as its proxy.
rt::g* next_proxy() {
  rt::g* gp = rt::proxy_get();
  rt::proxy_put(gp);
  return gp;
}

MODEL(park_of_a_thread,
      "a plain thread sleeps on its proxy's status until it is readied; what it waited on may go then", .spurious = 1) {
  auto* t = new turnstile;
  int payload = 0;
  auto waker = [&] {
    payload = 1;
    t->let_one();
  };
  auto a = start(waker);
  expect(t->pass() == rt::wait_result::handed, "handed");
  expect(payload == 1, "what was written before is there");
  delete t;
  a.join();
}

MODEL(park_thread_taken_by_timeout, "a timeout takes the wait, or the releaser: never both, never neither") {
  turnstile t;
  rt::g* proxy = next_proxy();
  const std::uint32_t seq = proxy->wait_seq + 1;
  bool took = false;
  auto waker = [&] { t.let_one(); };
  auto timeout = [&] { took = rt::take_waiter(nullptr, proxy, 0, seq, rt::wait_result::timed_out); };
  auto a = start(waker);
  auto b = start(timeout);
  const rt::wait_result r = t.pass();
  a.join();
  b.join();
  expect((r == rt::wait_result::timed_out) == took, "timed out exactly when the timeout says that it took it");
  expect(t.permits() == (took ? 1 : 0), "the permit is left over exactly then");
}

// A waiter that is parked already, without a thread that sleeps: who takes it and how is all there is to see.
struct parked {
  rt::g* gp;
  rt::sudog sg;

  parked() : gp(rt::proxy_get()) {
    rt::sema_bucket& b = rt::the_process.semas.bucket(this);
    b.lock.lock();
    sg.gp = gp;
    sg.addr = this;
    b.push_back(&sg, 0);
    gp->waiting = &sg;
    ++gp->wait_seq;
    gp->status.set(status::running, status::waiting);
    b.lock.unlock();
  }
  bool take(std::uint32_t seq, rt::wait_result why) { return rt::take_waiter(nullptr, gp, 0, seq, why); }
  // By its taker alone.
  bool runs() const { return gp->status.get() == status::runnable; }
};

MODEL(park_two_timeouts, "a timeout, a cancellation and then a releaser of one wait: one of them takes it") {
  parked w;
  const std::uint32_t seq = w.gp->wait_seq;
  int takers[3] = {};
  auto timeout = [&] { takers[0] = w.take(seq, rt::wait_result::timed_out) ? 1 : 0; };
  auto cancel = [&] { takers[1] = w.take(seq, rt::wait_result::timed_out) ? 1 : 0; };
  auto a = start(timeout);
  cancel();
  {
    rt::sema_bucket& bucket = rt::the_process.semas.bucket(&w);
    bool mine = false;
    {
      const rt::mutex_guard guard(bucket.lock);
      if (w.sg.queued) {
        bucket.remove(&w.sg);
        w.sg.result = rt::wait_result::handed;
        mine = true;
      }
    }
    if (mine) rt::ready(nullptr, w.gp);
    takers[2] = mine ? 1 : 0;
  }
  a.join();
  expect(takers[0] + takers[1] + takers[2] == 1, "exactly one");
  expect(w.runs(), "it was readied");
  expect((w.sg.result == rt::wait_result::handed) == (takers[2] == 1), "the result is its taker's");
}

MODEL(park_timeout_beside_a_late_one,
      "a late timeout has the state locked for a moment: the right one waits, and takes the wait") {
  parked w;
  const std::uint32_t seq = w.gp->wait_seq;
  auto late = [&] { expect(!w.take(seq - 1, rt::wait_result::timed_out), "that wait is over"); };
  auto a = start(late);
  expect(w.take(seq, rt::wait_result::timed_out), "nobody else takes it");
  a.join();
  expect(w.runs(), "it was readied");
}

MODEL(park_late_timeout,
      "the timeout of the first wait comes during the second: it takes nothing, and nothing is lost") {
  turnstile t;
  rt::g* proxy = next_proxy();
  const std::uint32_t seq = proxy->wait_seq + 1;
  bool took = false;
  auto waker = [&] {
    t.let_one();
    took = rt::take_waiter(nullptr, proxy, 0, seq, rt::wait_result::timed_out);
    t.let_one();
  };
  auto a = start(waker);
  const rt::wait_result first = t.pass();
  const std::uint32_t waits = proxy->wait_seq;
  const rt::wait_result second = t.pass();
  a.join();
  if (waits == seq) {
    expect(second == rt::wait_result::handed, "the second wait is not the timeout's");
    expect((first == rt::wait_result::timed_out) == took, "the first is, if it says so");
  }
  expect(t.permits() == (took ? 1 : 0), "no permit is lost or made");
}

}  // namespace
