// The whole runtime, as it is, on 1 to 3 Ps: small programs of goroutines over the real schedule, find, wake, park and
// exit code (layer V2). Too large to be walked to the end: sampled. With a ring of 4, "every 3rd" for "every 61st", no
// spinning: what is rare in production happens all the time.
//
// The shapes are those that did the killing (RELIABILITY 3.3). "spin" means: a goroutine that waits for a flag without a
// runtime call, so that only another P can run who sets it; this is how lost work shows, as a livelock. Which of two
// goroutines must be stolen is decided by runnext: the one that was started last is there.
#include <atomic>
#include <stdexcept>

#include "model/runtime.hpp"
#include "sched/park.hpp"
#include "sched/takeback.hpp"

namespace {

using namespace weft::check;
namespace w = weft;

// ---- beginning and ending

WORKLOAD(hello, "a runtime with one goroutine begins and ends") {
  int n = 0;
  with_runtime(1, [&] { n = 1; });
  expect(n == 1, "main has run");
}

WORKLOAD(twice, "a runtime can follow another; dead goroutines and Ms live again") {
  int n = 0;
  for (int i = 0; i < 2; ++i) {
    with_runtime(2, [&] {
      w::wait_group wg;
      wg.add(1);
      w::go([&] {
        ++n;
        wg.done();
      });
      wg.wait();
    });
  }
  expect(n == 2, "both have run");
}

WORKLOAD(main_returns_first_2p, "run waits for those who are left, wherever they are") {
  int ran[3] = {};
  with_runtime(2, [&] {
    for (int i = 0; i < 3; ++i) {
      w::go([&ran, i] {
        w::yield();
        ++ran[i];
      });
    }
  });
  expect(ran[0] == 1 && ran[1] == 1 && ran[2] == 1, "each has run once");
}

WORKLOAD(main_returns_first_3p, "the same with three Ps, which all look for the end") {
  int ran[2] = {};
  with_runtime(3, [&] {
    for (int i = 0; i < 2; ++i) {
      w::go([&ran, i] { ++ran[i]; });
    }
  });
  expect(ran[0] == 1 && ran[1] == 1, "each has run once");
}

// The last to end has been started by the last but one, elsewhere: who counts must not see the end of the one without the
// beginning of the other.
WORKLOAD(main_returns_chain_3p, "each counts before it is counted out, wherever it runs") {
  int ran = 0;
  with_runtime(3, [&] {
    w::go([&] {
      w::go([&] {
        w::go([&] { ++ran; });
        w::yield();
      });
    });
  });
  expect(ran == 1, "the last has run");
}

WORKLOAD(two_runtimes_at_once, "a semaphore joins goroutines of two runtimes") {
  w::semaphore ping(0), pong(0);
  auto other = start([&] {
    with_runtime(1, [&] {
      ping.acquire();
      pong.release();
    });
  });
  with_runtime(1, [&] {
    ping.release();
    pong.acquire();
  });
  other.join();
}

// ---- spawning

WORKLOAD(spawn_one_2p, "a goroutine runs on whichever P takes it") {
  int n = 0;
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      n = 1;
      wg.done();
    });
    wg.wait();
    expect(n == 1, "it has run");
  });
}

WORKLOAD(spawn_exit_spawn_2p, "gs and stacks are used again at once, by whoever") {
  int n[4] = {};
  with_runtime(2, [&] {
    w::wait_group wg;
    for (int round = 0; round < 2; ++round) {
      wg.add(2);
      for (int i = 0; i < 2; ++i) {
        w::go([&, at = round * 2 + i] {
          ++n[at];
          wg.done();
        });
      }
      wg.wait();
    }
  });
  for (const int k : n) expect(k == 1, "each has run once");
}

WORKLOAD(tree_2p, "goroutines start goroutines") {
  std::atomic<int> leaves{0};
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(4);
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        for (int k = 0; k < 2; ++k) {
          w::go([&] {
            leaves.fetch_add(1, std::memory_order_relaxed);
            wg.done();
          });
        }
      });
    }
    wg.wait();
  });
  expect(leaves.load(std::memory_order_relaxed) == 4, "four leaves");
}

template <int Ps, int N>
void overflow() {
  int ran[N] = {};
  with_runtime(Ps, [&] {
    w::wait_group wg;
    wg.add(N);
    for (int i = 0; i < N; ++i) {
      w::go([&ran, &wg, i] {
        ++ran[i];
        wg.done();
      });
    }
    wg.wait();
  });
  for (const int k : ran) expect(k == 1, "each has run once");
}
WORKLOAD(overflow_1p, "a ring of four overflows into the global queue; nobody is lost") { overflow<1, 7>(); }
WORKLOAD(overflow_2p, "the same against a thief") { overflow<2, 7>(); }
WORKLOAD(overflow_3p, "the same against two") { overflow<3, 6>(); }

// ---- work conservation: runnable beside an idle P does not last

WORKLOAD(go_spin_2p, "who was started runs although its starter keeps the P") {
  with_runtime(2, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      set(f);
      wg.done();
    });
    spin_until(f);
    wg.wait();
  });
}

WORKLOAD(go_spin_older_2p, "the goroutine in the ring is stolen, not the one in runnext") {
  with_runtime(2, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      set(f);
      wg.done();
    });
    w::go([&] { wg.done(); });
    spin_until(f);
    wg.wait();
  });
}

WORKLOAD(go_spin_3p, "two that spin and one that is needed: the third P must come") {
  with_runtime(3, [] {
    flag a{0}, b{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      set(b);
      wg.done();
    });
    w::go([&] {
      spin_until(b);
      set(a);
      wg.done();
    });
    spin_until(a);
    wg.wait();
  });
}

WORKLOAD(go_spin_chain_3p, "a spinner that has found work wakes the next one") {
  with_runtime(3, [] {
    flag a{0}, b{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      set(a);
      spin_until(b);
      wg.done();
    });
    w::go([&] {
      spin_until(a);
      set(b);
      wg.done();
    });
    spin_until(a);
    spin_until(b);
    wg.wait();
  });
}

// The others are about to drop their Ps when there is work again: nobody is idle yet, and soon everybody is.
WORKLOAD(go_spin_busy_3p, "work comes while the other two Ps are being laid down") {
  with_runtime(3, [] {
    flag x{0}, y{0}, a{0}, b{0};
    w::go([&] { set(x); });
    w::go([&] { set(y); });
    spin_until(x);
    spin_until(y);
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      set(b);
      wg.done();
    });
    w::go([&] {
      spin_until(b);
      set(a);
      wg.done();
    });
    spin_until(a);
    wg.wait();
  });
}

WORKLOAD(ready_spin_2p, "who was made ready runs although its waker keeps the P") {
  with_runtime(2, [] {
    flag f{0};
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      s.acquire();
      set(f);
      wg.done();
    });
    w::yield();
    s.release();
    spin_until(f);
    wg.wait();
  });
}

WORKLOAD(ready_spin_3p, "the same with two, one of whom waits for the other") {
  with_runtime(3, [] {
    flag a{0}, b{0};
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      s.acquire();
      set(b);
      wg.done();
    });
    w::go([&] {
      s.acquire();
      spin_until(b);
      set(a);
      wg.done();
    });
    w::yield();
    s.release(2);
    spin_until(a);
    wg.wait();
  });
}

WORKLOAD(yield_helps_2p, "a goroutine that only yields helps the other P") {
  with_runtime(2, [] {
    flag f{0}, stop{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      while (stop.load(std::memory_order_acquire) == 0) {
        w::yield();
        yield_step(0);
      }
      wg.done();
    });
    w::go([&] {
      set(f);
      wg.done();
    });
    spin_until(f);
    set(stop);
    wg.wait();
  });
}

// ---- waiting

template <int Ps>
void ping_pong() {
  int turns = 0;
  with_runtime(Ps, [&] {
    w::semaphore ping(0), pong(0);
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      for (int i = 0; i < 2; ++i) {
        ping.acquire();
        ++turns;
        pong.release();
      }
      wg.done();
    });
    for (int i = 0; i < 2; ++i) {
      ping.release();
      pong.acquire();
      ++turns;
    }
    wg.wait();
  });
  expect(turns == 4, "four turns");
}
WORKLOAD(ping_pong_1p, "a permit goes to and fro") { ping_pong<1>(); }
WORKLOAD(ping_pong_2p, "the same over two Ps") { ping_pong<2>(); }

template <int Ps>
void locked_counter() {
  int n = 0;  // plain: the mutex orders it
  with_runtime(Ps, [&] {
    w::mutex m;
    w::wait_group wg;
    wg.add(3);
    for (int i = 0; i < 3; ++i) {
      w::go([&] {
        m.lock();
        const int old = n;
        w::yield();
        n = old + 1;
        m.unlock();
        wg.done();
      });
    }
    wg.wait();
  });
  expect(n == 3, "three increments");
}
WORKLOAD(mutex_1p, "a mutex that is held over a yield") { locked_counter<1>(); }
WORKLOAD(mutex_2p, "the same over two Ps") { locked_counter<2>(); }

// Who holds it comes back at once, and yields more often than the waiter that was woken for nothing is content to give way: that
// one is passed over meanwhile (sched/park.cpp, pick_instead), and nobody is lost by it.
template <int Ps>
void locked_by_who_comes_back() {
  int n = 0;  // plain: the mutex orders it
  with_runtime(Ps, [&] {
    w::mutex m;
    w::wait_group wg;
    wg.add(2);
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        for (int round = 0; round < 2; ++round) {
          m.lock();
          const int old = n;
          for (int k = 0; k < 4; ++k) w::yield();
          n = old + 1;
          m.unlock();
        }
        wg.done();
      });
    }
    wg.wait();
  });
  expect(n == 4, "four increments");
}
WORKLOAD(mutex_passed_over_1p, "a waiter that gives way is passed over") { locked_by_who_comes_back<1>(); }
WORKLOAD(mutex_passed_over_2p, "the same over two Ps") { locked_by_who_comes_back<2>(); }

WORKLOAD(semaphore_two_2p, "two waiters, two permits from two hands") {
  with_runtime(2, [&] {
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(3);
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        s.acquire();
        wg.done();
      });
    }
    w::go([&] {
      s.release();
      wg.done();
    });
    s.release();
    wg.wait();
  });
}

WORKLOAD(destroyed_early_2p, "a semaphore goes as soon as its last waiter has returned") {
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(1);
    auto* s = new w::semaphore(0);
    w::go([s, &wg] {
      s->release();
      wg.done();
    });
    s->acquire();
    delete s;
    wg.wait();
  });
}

WORKLOAD(wait_group_of_many_2p, "everyone who waits is woken") {
  with_runtime(2, [&] {
    w::wait_group work, waiters;
    work.add(1);
    waiters.add(2);
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        work.wait();
        waiters.done();
      });
    }
    w::go([&] { work.done(); });
    waiters.wait();
  });
}

WORKLOAD(timeout_against_release_2p, "a permit and a timeout for one waiter: exactly one of them happens") {
  with_runtime(2, [&] {
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(2);
    weft::rt::g* waiter = nullptr;
    std::uint64_t goid = 0;
    std::uint32_t seq = 0;
    flag known{0};
    std::atomic<int> took{0};
    w::go([&] {
      weft::rt::g* me = weft::rt::getg();
      waiter = me;
      goid = me->goid;
      seq = me->wait_seq + 1;
      set(known);
      s.acquire();
      wg.done();
    });
    w::go([&] {
      spin_until(known);
      weft::rt::g* self = weft::rt::getg();
      {
        weft::rt::enter inside(self);
        if (weft::rt::take_waiter(self, waiter, goid, seq, weft::rt::wait_result::timed_out)) {
          took.store(1, std::memory_order_relaxed);
        }
      }
      wg.done();
    });
    w::yield();
    s.release();
    wg.wait();
    // The permit is the waiter's, or it is still here.
    expect(s.try_acquire() == (took.load(std::memory_order_relaxed) == 1), "nothing is lost, nothing given twice");
  });
}

WORKLOAD(exception_over_a_park_2p, "a goroutine that waits inside a catch keeps its exception") {
  with_runtime(2, [&] {
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(2);
    int right = 0;
    w::go([&] {
      try {
        throw 7;
      } catch (int e) {
        s.acquire();
        right += e == 7 && std::uncaught_exceptions() == 0 ? 1 : 0;
      }
      wg.done();
    });
    w::go([&] {
      try {
        throw 8;
      } catch (int) {
        s.release();
        w::yield();
      }
      wg.done();
    });
    wg.wait();
    expect(right == 1, "the exception is its own");
  });
}

// ---- outside the runtime and back

WORKLOAD(blocking_waits_for_another_1p, "the only P is handed off while its goroutine blocks") {
  with_runtime(1, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      set(f);
      wg.done();
    });
    w::blocking([&] { spin_until(f); });
    wg.wait();
  });
}

WORKLOAD(blocking_and_back_1p, "it comes back while the P is held by somebody else, tied to its thread") {
  with_runtime(1, [] {
    flag out{0}, in{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      const auto before = current_thread();
      w::blocking([&] {
        set(out);
        yield_step(0);
      });
      expect(current_thread() == before, "it stays on its thread");
      wg.done();
    });
    w::go([&] {
      w::yield();
      set(in);
      wg.done();
    });
    wg.wait();
  });
}

WORKLOAD(blocking_two_2p, "two block, a third runs, all come back") {
  int n = 0;
  with_runtime(2, [&] {
    flag f{0};
    w::wait_group wg;
    wg.add(3);
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        w::blocking([&] { spin_until(f); });
        wg.done();
      });
    }
    w::go([&] {
      n = 1;
      set(f);
      wg.done();
    });
    wg.wait();
  });
  expect(n == 1, "the third has run");
}

WORKLOAD(blocking_with_work_queued_1p, "a hand-off takes the queued work along") {
  with_runtime(1, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] { wg.done(); });
    w::go([&] {
      w::yield();
      set(f);
      wg.done();
    });
    w::blocking([&] { spin_until(f); });
    wg.wait();
  });
}

WORKLOAD(foreign_release_1p, "a plain thread wakes a goroutine; the runtime does not end under its hands") {
  w::semaphore s(0);
  auto t = start([&] { s.release(); });
  with_runtime(1, [&] { s.acquire(); });
  t.join();
}

WORKLOAD(foreign_release_2p, "the same while all Ps are idle, or one is on its way there") {
  w::semaphore s(0), back(0);
  auto t = start([&] {
    s.release();
    back.acquire();
  });
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      s.acquire();
      wg.done();
    });
    wg.wait();
    back.release();
  });
  t.join();
}

WORKLOAD(foreign_and_own_2p, "a plain thread and a goroutine take turns with a mutex") {
  int n = 0;
  w::mutex m;
  auto t = start([&] {
    m.lock();
    ++n;
    m.unlock();
  });
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      m.lock();
      ++n;
      m.unlock();
      wg.done();
    });
    m.lock();
    ++n;
    m.unlock();
    wg.wait();
  });
  t.join();
  expect(n == 3, "three increments");
}

WORKLOAD(blocking_beside_work_2p, "a P whose goroutine blocks goes to the work that found none idle") {
  with_runtime(2, [] {
    flag started{0}, f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      set(started);
      w::blocking([&] { spin_until(f); });
      wg.done();
    });
    spin_until(started);
    w::go([&] {
      set(f);
      wg.done();
    });
    spin_until(f);
    wg.wait();
  });
}

// ---- Ps are taken back. There is no sysmon here; a thread of the model does what it does, at a time of its own.

// Main is to hold it by a local, and to call end() before it returns.
class sysmon_of_main {
 public:
  explicit sysmon_of_main(bool sleepers) : rt_(weft::rt::getg()->rt), thread_(start(look_loop{this})) {
    if (sleepers) {
      system_now().threads_sleep = true;
    } else {
      system_now().cpu_step = 20'000'000;
    }
  }
  void end() {
    set(over_);
    thread_.join();
  }

 private:
  struct look_loop {
    sysmon_of_main* self;
    void operator()() const { self->looks(); }
  };
  void looks() {
    weft::rt::takeback t(rt_);
    for (std::int64_t now = 0; over_.load(std::memory_order_acquire) == 0;) {
      t.look(now += 20'000'000);
      weft::rt::os::pause();
    }
  }

  weft::rt::sched_t* rt_;
  flag over_{0};
  started thread_;
};

// So many goroutines that wait for a flag outside the runtime as there are Ps, and one that sets it.
template <int Ps>
void taken_back(bool sleepers) {
  with_runtime(Ps, [&] {
    sysmon_of_main sysmon(sleepers);
    flag f{0};
    w::wait_group wg;
    wg.add(Ps);
    for (int i = 1; i < Ps; ++i) {
      w::go([&] {
        spin_until(f);
        w::yield();
        wg.done();
      });
    }
    w::go([&] {
      set(f);
      wg.done();
    });
    spin_until(f);
    wg.wait();
    sysmon.end();
  });
}
WORKLOAD(taken_back_1p, "who spins outside keeps nobody waiting on its P") { taken_back<1>(false); }
WORKLOAD(taken_back_2p, "the same on two Ps, with both stuck") { taken_back<2>(false); }
WORKLOAD(taken_back_3p, "the same on three") { taken_back<3>(false); }
WORKLOAD(taken_back_sleepers_1p, "who sleeps outside keeps nobody waiting on its P") { taken_back<1>(true); }
WORKLOAD(taken_back_sleepers_2p, "the same on two Ps") { taken_back<2>(true); }

WORKLOAD(taken_back_often_1p, "whoever never blocks stays on its thread, however often it is taken back") {
  with_runtime(1, [] {
    sysmon_of_main sysmon(false);
    flag f{0}, g{0};
    w::semaphore s(1);
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      const auto thread = current_thread();
      set(f);
      spin_until(g);
      s.release();
      expect(current_thread() == thread, "it stays on its thread");
      s.acquire();
      wg.done();
    });
    w::go([&] {
      set(g);
      wg.done();
    });
    const auto thread = current_thread();
    spin_until(f);
    expect(s.try_acquire(), "there is one");
    expect(current_thread() == thread, "it stays on its thread");
    s.release();
    wg.wait();
    sysmon.end();
  });
}

// A call that does not block, and is no inline path past the door.
void call() { weft::rt::enter inside(weft::rt::getg()); }

// It is never away for long: it is asked for, and the question is met at the door.
WORKLOAD(taken_back_at_door_1p, "a loop of calls that do not block does not keep the P for ever") {
  with_runtime(1, [] {
    sysmon_of_main sysmon(false);
    flag f{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      set(f);
      wg.done();
    });
    while (f.load(std::memory_order_acquire) == 0) {
      call();
      yield_step(0);
    }
    wg.wait();
    sysmon.end();
  });
}

WORKLOAD(taken_back_gomaxprocs_2p, "Ps go and come while some are taken: everybody runs, and is back") {
  int ran = 0;
  with_runtime(2, [&] {
    sysmon_of_main sysmon(false);
    flag f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      spin_until(f);
      wg.done();
    });
    w::go([&] {
      w::gomaxprocs(1);
      set(f);
      w::gomaxprocs(3);
      ++ran;
      wg.done();
    });
    spin_until(f);
    wg.wait();
    sysmon.end();
  });
  expect(ran == 1, "the number has been changed");
}

WORKLOAD(taken_back_locked_1p, "a locked goroutine loses its P outside, and has it again on its own thread") {
  with_runtime(1, [] {
    sysmon_of_main sysmon(true);
    flag f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      const w::os_thread_lock here;
      const auto thread = current_thread();
      spin_until(f);
      w::yield();
      expect(current_thread() == thread, "it stays on its thread");
      wg.done();
    });
    w::go([&] {
      set(f);
      wg.done();
    });
    wg.wait();
    sysmon.end();
  });
}

WORKLOAD(taken_back_for_a_timer_1p, "the timer of a P whose goroutine spins is served by somebody else") {
  with_runtime(1, [] {
    sysmon_of_main sysmon(false);
    flag f{0};
    w::semaphore never(0);
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      expect(!never.try_acquire_for(std::chrono::microseconds(10)), "nobody releases it");
      set(f);
      wg.done();
    });
    w::yield();
    spin_until(f);
    wg.wait();
    sysmon.end();
  });
}

WORKLOAD(taken_back_fenced_1p, "the same on a kernel without membarrier, once it has made a call") {
  system_now().no_membarrier = true;
  taken_back<1>(false);
}
WORKLOAD(taken_back_refused_2p, "the same on one that refuses it now and then: who has made a call since is taken") {
  with_runtime(2, [&] {
    sysmon_of_main sysmon(true);
    system_now().membarrier_fails = true;
    flag f{0};
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      while (f.load(std::memory_order_acquire) == 0) {
        call();
        yield_step(0);
      }
      wg.done();
    });
    w::go([&] {
      set(f);
      wg.done();
    });
    while (f.load(std::memory_order_acquire) == 0) {
      call();
      yield_step(0);
    }
    wg.wait();
    sysmon.end();
  });
}

// ---- the number of Ps changes

WORKLOAD(gomaxprocs_up_2p, "a second P comes: whoever has been waiting runs although the first P is kept") {
  with_runtime(1, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      set(f);
      wg.done();
    });
    expect(w::gomaxprocs(2) == 1, "there was one");
    spin_until(f);
    wg.wait();
  });
}

WORKLOAD(gomaxprocs_spin_2p, "who has started a goroutine stops the world and spins: it runs all the same") {
  with_runtime(2, [] {
    flag f{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      set(f);
      wg.done();
    });
    w::gomaxprocs(3);
    spin_until(f);
    wg.wait();
  });
}

WORKLOAD(gomaxprocs_down_and_up_2p, "Ps go and come under yields and spawns; everybody runs") {
  int ran[3] = {};
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(3);
    for (int i = 0; i < 3; ++i) {
      w::go([&, i] {
        w::yield();
        ++ran[i];
        wg.done();
      });
    }
    w::gomaxprocs(1);
    w::yield();
    w::gomaxprocs(2);
    wg.wait();
  });
  for (const int k : ran) expect(k == 1, "each has run once");
}

WORKLOAD(gomaxprocs_by_two_2p, "two goroutines change the number at the same time, a third parks and is readied") {
  with_runtime(2, [] {
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(3);
    for (int n = 1; n <= 2; ++n) {
      w::go([&, n] {
        w::gomaxprocs(n);
        s.release();
        wg.done();
      });
    }
    w::go([&] {
      s.acquire();
      s.acquire();
      wg.done();
    });
    wg.wait();
  });
}

WORKLOAD(gomaxprocs_beside_blocking_2p, "one is in a blocking call while its P goes, and comes back to another") {
  with_runtime(2, [] {
    flag in{0}, out{0};
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      w::blocking([&] {
        set(in);
        spin_until(out);
      });
      wg.done();
    });
    w::blocking([&] { spin_until(in); });
    w::gomaxprocs(1);
    set(out);
    wg.wait();
  });
}

// ---- locked to a thread

template <int Ps>
void locked_ping_pong() {
  int turns = 0;
  with_runtime(Ps, [&] {
    w::semaphore ping(0), pong(0);
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      const w::os_thread_lock here;
      const auto thread = current_thread();
      for (int i = 0; i < 2; ++i) {
        ping.acquire();
        expect(current_thread() == thread, "it stays on its thread");
        ++turns;
        pong.release();
      }
      wg.done();
    });
    const w::os_thread_lock here;
    const auto thread = current_thread();
    for (int i = 0; i < 2; ++i) {
      ping.release();
      pong.acquire();
      expect(current_thread() == thread, "it stays on its thread");
      ++turns;
    }
    wg.wait();
  });
  expect(turns == 4, "four turns");
}
WORKLOAD(locked_ping_pong_1p, "a permit goes to and fro between two locked goroutines") { locked_ping_pong<1>(); }
WORKLOAD(locked_ping_pong_2p, "the same over two Ps") { locked_ping_pong<2>(); }

// Its P is handed off without a last look around: that work has found all Ps busy is said by needspinning alone.
WORKLOAD(locked_beside_work_2p, "a locked goroutine waits, beside work that has found no idle P: its P goes to that") {
  with_runtime(2, [] {
    flag started{0}, f{0};
    w::semaphore s(0);
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      const w::os_thread_lock here;
      set(started);
      s.acquire();
      wg.done();
    });
    spin_until(started);
    w::go([&] {
      set(f);
      wg.done();
    });
    spin_until(f);
    s.release();
    wg.wait();
  });
}

WORKLOAD(locked_end_2p, "a goroutine ends locked, its thread with it; the others go on") {
  int ran = 0;
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      w::lock_os_thread();
      wg.done();
    });
    w::go([&] {
      w::yield();
      ++ran;
      wg.done();
    });
    wg.wait();
  });
  expect(ran == 1, "the other has run");
}

WORKLOAD(locked_main_2p, "main returns locked: its thread waits for the others") {
  int ran = 0;
  with_runtime(2, [&] {
    w::go([&] {
      w::yield();
      ++ran;
    });
    w::lock_os_thread();
  });
  expect(ran == 1, "the other has run");
}

WORKLOAD(locked_blocking_1p, "a locked goroutine blocks, yields, and sees the number of Ps change") {
  with_runtime(1, [] {
    w::wait_group wg;
    wg.add(2);
    w::go([&] {
      const w::os_thread_lock here;
      const auto thread = current_thread();
      w::blocking([] { yield_step(0); });
      w::yield();
      expect(current_thread() == thread, "it stays on its thread");
      wg.done();
    });
    w::go([&] {
      w::gomaxprocs(2);
      wg.done();
    });
    wg.wait();
  });
}

// ---- cancellation

template <int Ps>
void cancelled_at_the_end() {
  w::semaphore s(0);
  std::atomic<int> left{2};
  with_runtime(Ps, [&] {
    for (int i = 0; i < 2; ++i) {
      w::go([&] {
        try {
          s.acquire();
          left.fetch_sub(1, std::memory_order_relaxed);
        } catch (const w::cancelled&) {
          left.fetch_sub(1, std::memory_order_relaxed);
          throw;
        }
      });
    }
    w::yield();
    s.release();
  });
  expect(left.load(std::memory_order_relaxed) == 0, "each has got a permit, or has unwound");
}
WORKLOAD(cancel_1p, "main returns: who waits unwinds, who has got its permit goes on") { cancelled_at_the_end<1>(); }
WORKLOAD(cancel_2p, "the same over two Ps, with a waiter on its way to sleep") { cancelled_at_the_end<2>(); }

WORKLOAD(cancel_against_foreign_2p, "a thread outside releases while main's end cancels: a permit is had or left") {
  w::semaphore s(0);
  bool had = false;
  auto t = start([&] { s.release(); });
  with_runtime(2, [&] {
    w::go([&] {
      s.acquire();
      had = true;
    });
  });
  t.join();
  expect(s.try_acquire() == !had, "nothing is lost, nothing given twice");
}

WORKLOAD(no_cancel_2p, "a goroutine in a no_cancel scope is awaited") {
  bool had = false;
  with_runtime(2, [&] {
    auto* s = new w::semaphore(0);
    w::go([&had, s] {
      const w::no_cancel here;
      s->acquire();
      had = true;
      delete s;
    });
    w::go([s] {
      const w::no_cancel here;
      s->release();
    });
  });
  expect(had, "it has got its permit");
}

// ---- a runtime to embed

WORKLOAD(embedded_go, "a thread outside starts goroutines; the end waits for those that it does not cancel") {
  int ran = 0;
  {
    w::runtime r(embedded(1));
    w::semaphore done(0);
    r.go([&] {
      ++ran;
      done.release();
    });
    done.acquire();
  }
  expect(ran == 1, "it has run");
}

WORKLOAD(embedded_go_against_shutdown, "two threads: one starts a goroutine, one shuts down") {
  std::atomic<int> ran{0};
  bool refused = false;
  {
    w::runtime r(embedded(2));
    auto t = start([&] {
      try {
        r.go([&] { ran.fetch_add(1, std::memory_order_relaxed); });
      } catch (const w::error&) {
        refused = true;
      }
    });
    r.shutdown();
    t.join();
  }
  expect(ran.load(std::memory_order_relaxed) == (refused ? 0 : 1), "started and run, or refused");
}

WORKLOAD(embedded_shutdown_by_two, "two threads shut down at the same time, with a waiter that unwinds") {
  w::semaphore s(0);
  bool got = false;
  {
    w::runtime r(embedded(1));
    r.go([&] {
      s.acquire();
      got = true;
    });
    auto t = start([&] { r.shutdown(); });
    r.shutdown();
    t.join();
  }
  expect(!got, "nobody has released");
}

WORKLOAD(embedded_two, "goroutines of two runtimes on one semaphore") {
  w::semaphore ping(0), pong(0), done(0);
  w::runtime a(embedded(1));
  w::runtime b(embedded(1));
  a.go([&] {
    ping.release();
    pong.acquire();
    done.release();
  });
  b.go([&] {
    ping.acquire();
    pong.release();
  });
  done.acquire();
}

// ---- the system refuses

WORKLOAD(no_thread_2p, "a thread is refused: the work is done by those there are") {
  int n[2] = {};
  system_now().refuse_threads = 3;
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.add(2);
    for (int i = 0; i < 2; ++i) {
      w::go([&, i] {
        ++n[i];
        wg.done();
      });
    }
    wg.wait();
  });
  expect(n[0] == 1 && n[1] == 1, "both have run");
}

WORKLOAD(no_thread_for_blocking_1p, "a thread for a handed-off P is refused: it comes back to its goroutine") {
  system_now().refuse_threads = 3;
  int n = 0;
  with_runtime(1, [&] {
    w::wait_group wg;
    wg.add(1);
    w::go([&] {
      n = 1;
      wg.done();
    });
    w::blocking([] { yield_step(0); });
    wg.wait();
  });
  expect(n == 1, "it has run");
}

WORKLOAD(no_thread_for_blocking_two_1p, "the same with work in the ring of that P") {
  system_now().refuse_threads = 3;
  int n[3] = {};
  with_runtime(1, [&] {
    w::wait_group wg;
    wg.add(3);
    for (int i = 0; i < 3; ++i) {
      w::go([&, i] {
        ++n[i];
        wg.done();
      });
    }
    w::blocking([] { yield_step(0); });
    wg.wait();
  });
  for (const int k : n) expect(k == 1, "each has run once");
}

}  // namespace
