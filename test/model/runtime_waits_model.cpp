// The whole runtime, as runtime_model has it: programs of goroutines over channels, select and what is built on the semaphore
// table, on 1 to 3 Ps, with the switches, the cancellation and the fast paths that the models on plain threads have not.
#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "model/hchan.hpp"
#include "model/runtime.hpp"

namespace {

using namespace weft::check;
namespace w = weft;
namespace rt = weft::rt;

// How many wait to receive from c.
int waiting(const w::chan<int>& c) {
  rt::hchan* h = w::detail::chan_access::of(c);
  const rt::mutex_guard guard(rt::lock_of(h));
  int n = 0;
  for (const rt::chan_sudog* sg = rt::waitq::recv(h).first(); sg != nullptr; sg = sg->next) ++n;
  return n;
}

// ---- channels

template <int Ps>
void chan_ping_pong() {
  int turns = 0;
  with_runtime(Ps, [&] {
    w::chan<int> ping, pong;
    w::go([&, ping, pong] {
      for (int i = 0; i < 2; ++i) {
        expect(ping.recv() == i, "the value");
        ++turns;
        pong.send(i);
      }
    });
    for (int i = 0; i < 2; ++i) {
      ping.send(i);
      expect(pong.recv() == i, "it comes back");
      ++turns;
    }
  });
  expect(turns == 4, "four turns");
}
WORKLOAD(chan_ping_pong_1p, "a value goes to and fro, one goroutine at a time") { chan_ping_pong<1>(); }
WORKLOAD(chan_ping_pong_2p, "the same over two Ps") { chan_ping_pong<2>(); }
WORKLOAD(chan_ping_pong_3p, "the same over three Ps") { chan_ping_pong<3>(); }

template <int Ps>
void chan_producers(int capacity) {
  int sum = 0;
  with_runtime(Ps, [&] {
    w::chan<int> c(capacity);
    for (int i = 0; i < 2; ++i) {
      w::go([c, i] {
        c.send(1 + 10 * i);
        c.send(2 + 10 * i);
      });
    }
    int last[2] = {};
    for (int i = 0; i < 4; ++i) {
      const int v = c.recv().value_or(0);
      int& before = last[v > 10 ? 1 : 0];
      expect(v % 10 == before + 1, "a sender's values in its order");
      before = v % 10;
      sum += v;
    }
  });
  expect(sum == 26, "each once");
}
WORKLOAD(chan_producers_1p, "two producers and a buffer of one") { chan_producers<1>(1); }
WORKLOAD(chan_producers_2p, "the same over two Ps: fast paths beside the core") { chan_producers<2>(1); }
WORKLOAD(chan_producers_3p, "the same over three Ps, with a buffer of two") { chan_producers<3>(2); }
WORKLOAD(chan_producers_unbuffered_2p, "the same without a buffer") { chan_producers<2>(0); }

WORKLOAD(chan_close_wakes_all_3p, "a close lets three goroutines go, who run wherever there is room") {
  int seen[3] = {};
  with_runtime(3, [&] {
    w::chan<> done;
    w::wait_group wg;
    wg.add(3);
    int payload = 0;
    for (int i = 0; i < 3; ++i) {
      w::go([&, i, done] {
        expect(!done.recv(), "closed");
        seen[i] = payload;
        wg.done();
      });
    }
    payload = 1;
    done.close();
    wg.wait();
  });
  expect(seen[0] + seen[1] + seen[2] == 3, "each sees what was done before");
}

WORKLOAD(chan_send_readies_2p, "who is readied by a send runs elsewhere when the sender does not give way") {
  with_runtime(2, [] {
    w::chan<int> c;
    flag got{0};
    w::go([&, c] {
      expect(c.recv() == 7, "the value");
      set(got);
    });
    c.send(7);
    spin_until(got);
  });
}

WORKLOAD(chan_freed_by_its_receiver_2p, "the channel goes with its receiver's frame, while the sender is still at it") {
  with_runtime(2, [] {
    auto* c = new w::chan<int>;
    w::go([c] {
      expect(c->recv() == 7, "the value");
      delete c;
    });
    c->send(7);
  });
}

WORKLOAD(chan_and_a_thread_2p, "a plain thread and a goroutine send to and fro") {
  w::chan<int> to, from(1);
  auto t = start([&] { from.send(to.recv().value_or(0) + 1); });
  with_runtime(2, [&] {
    w::wait_group wg;
    wg.go([&] { to.send(1); });
    expect(from.recv() == 2, "it comes back");
    wg.wait();
  });
  t.join();
}

WORKLOAD(chan_between_two_runtimes, "goroutines of two runtimes meet in a channel") {
  w::chan<int> c;
  w::semaphore done(0);
  w::runtime a(embedded(1));
  w::runtime b(embedded(1));
  a.go([&] {
    c.send(1);
    done.release();
  });
  b.go([&] {
    expect(c.recv() == 1, "the value");
    done.release();
  });
  done.acquire();
  done.acquire();
}

template <int Ps>
void chan_cancelled_at_the_end(bool by_select) {
  std::atomic<int> unwound{0};
  with_runtime(Ps, [&] {
    w::chan<int> a, b;  // gone with main's frame
    for (int i = 0; i < 2; ++i) {
      w::go([&, by_select] {
        struct unwinding {
          std::atomic<int>& n;
          ~unwinding() { n.fetch_add(1, std::memory_order_relaxed); }
        } at_end{unwound};
        if (by_select) {
          w::select(w::recv(a), w::recv(b));
        } else {
          static_cast<void>(a.recv());
        }
      });
    }
    // Both wait, or the channels would be gone before they look.
    while (waiting(a) != 2) {
      w::yield();
      yield_step(0);
    }
  });
  expect(unwound.load(std::memory_order_relaxed) == 2, "both have unwound");
}
WORKLOAD(chan_orphaned_at_the_end_1p, "main's channel goes while goroutines wait in it, who are cancelled then") {
  chan_cancelled_at_the_end<1>(false);
}
WORKLOAD(chan_orphaned_at_the_end_2p, "the same over two Ps") { chan_cancelled_at_the_end<2>(false); }
WORKLOAD(select_orphaned_at_the_end_2p, "the same of selects") { chan_cancelled_at_the_end<2>(true); }

WORKLOAD(chan_cancel_against_send_2p,
         "a thread outside sends while main's end cancels the receiver: it has the value or not") {
  w::chan<int> c;
  bool got = false;
  bool sent = false;
  auto t = start([&] { sent = c.try_send(7) == w::chan_status::ok; });
  with_runtime(2, [&] {
    w::go([&] {
      static_cast<void>(c.recv());
      got = true;
    });
  });
  t.join();
  expect(sent == got, "sent is received");
}

// ---- select

template <int Ps>
void select_from_two() {
  int sum = 0;
  with_runtime(Ps, [&] {
    w::chan<int> a, b;
    w::go([a] { a.send(1); });
    w::go([b] { b.send(2); });
    for (int i = 0; i < 2; ++i) {
      w::select(w::recv(a, [&](std::optional<int> v) { sum += v.value_or(0); }),
                w::recv(b, [&](std::optional<int> v) { sum += 10 * v.value_or(0); }));
    }
  });
  expect(sum == 21, "each once");
}
WORKLOAD(select_from_two_1p, "two senders, a select that takes one value after the other") { select_from_two<1>(); }
WORKLOAD(select_from_two_2p, "the same over two Ps: the commit gives locks back while the select goes on elsewhere") {
  select_from_two<2>();
}
WORKLOAD(select_from_two_3p, "the same over three Ps") { select_from_two<3>(); }

WORKLOAD(select_again_2p,
         "a select that is over at once begins the next in the same frames, while the commit is at its unlocks") {
  with_runtime(2, [] {
    w::chan<int> a, b;
    w::go([a, b] {
      for (int i = 0; i < 2; ++i) w::select(w::recv(b), w::recv(a));
    });
    a.send(1);
    b.send(2);
  });
}

WORKLOAD(select_crosswise_2p, "two selects on two channels in different orders meet in one of them") {
  int met = 0;
  with_runtime(2, [&] {
    w::chan<int> a, b;
    w::wait_group wg;
    wg.go([&] { w::select(w::send(b, 2), w::recv(a, [&](std::optional<int> v) { met += v.value_or(0); })); });
    w::select(w::send(a, 1), w::recv(b, [&](std::optional<int> v) { met += v.value_or(0); }));
    wg.wait();
  });
  expect(met == 1 || met == 2, "in one");
}

WORKLOAD(select_done_2p, "workers select between work and a done channel, which closes") {
  std::atomic<int> worked{0};
  int sent = 0;
  with_runtime(2, [&] {
    w::chan<int> work;
    w::chan<> done;
    w::wait_group wg;
    for (int i = 0; i < 2; ++i) {
      wg.go([&, work, done] {
        for (bool going = true; going;) {
          w::select(w::recv(work, [&](std::optional<int>) { worked.fetch_add(1, std::memory_order_relaxed); }),
                    w::recv(done, [&](bool) { going = false; }));
        }
      });
    }
    w::select(w::send(work, 1, [&] { ++sent; }), w::recv(done));
    done.close();
    wg.wait();
  });
  expect(worked.load(std::memory_order_relaxed) == sent && sent == 1, "what was sent was worked on");
}

// ---- on the semaphore table

WORKLOAD(cond_2p, "goroutines wait for a condition; the notifier goes on") {
  with_runtime(2, [] {
    w::mutex m;
    w::condition_variable c;
    int ready = 0;
    w::wait_group wg;
    for (int i = 0; i < 2; ++i) {
      wg.go([&] {
        std::unique_lock lock(m);
        c.wait(lock, [&] { return ready != 0; });
        --ready;
      });
    }
    for (int i = 0; i < 2; ++i) {
      {
        const std::lock_guard guard(m);
        ++ready;
      }
      c.notify_one();
    }
    wg.wait();
    expect(ready == 0, "each has taken one");
  });
}

WORKLOAD(cond_cancelled_2p, "main returns: who waits for a condition unwinds, with the lock held and given back") {
  bool unwound = false;
  w::mutex m;
  w::condition_variable c;
  with_runtime(2, [&] {
    w::go([&] {
      std::unique_lock lock(m);
      try {
        c.wait(lock, [] { return false; });
      } catch (const w::cancelled&) {
        expect(lock.owns_lock(), "it is held while it unwinds");
        unwound = true;
        throw;
      }
    });
  });
  expect(unwound && m.try_lock(), "and free at the end");
}

WORKLOAD(shared_mutex_2p, "readers and writers") {
  with_runtime(2, [] {
    w::shared_mutex m;
    int n = 0;
    w::wait_group wg;
    wg.go([&] {
      const std::shared_lock lock(m);
      expect(n == 0 || n == 2, "not in between");
    });
    wg.go([&] {
      m.lock();
      n = 1;
      w::yield();
      n = 2;
      m.unlock();
    });
    {
      const std::shared_lock lock(m);
      expect(n == 0 || n == 2, "not in between");
    }
    wg.wait();
  });
}

WORKLOAD(barrier_3p, "three goroutines meet twice") {
  with_runtime(3, [] {
    int rounds = 0;
    auto completion = [&]() noexcept { ++rounds; };
    w::barrier b(3, completion);
    w::wait_group wg;
    auto work = [&] {
      for (int i = 1; i <= 2; ++i) {
        b.arrive_and_wait();
        expect(rounds >= i, "the completion has been");
      }
    };
    wg.go(work);
    wg.go(work);
    work();
    wg.wait();
    expect(rounds == 2, "two rounds");
  });
}

}  // namespace
