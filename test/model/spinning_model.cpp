// The spinning dance: sched/spinning.hpp under a small copy of its callers, with a flag for a run queue.
//
// Work conservation is stated as the absence of a deadlock: whoever submits keeps its P and sleeps until all it has
// submitted has been run by others; whoever has no work sleeps on its note. Lost work leaves them all asleep.
#include "sched/spinning.hpp"

#include <array>

#include "checker/model.hpp"
#include "lock/mutex.hpp"
#include "lock/note.hpp"

namespace {

using namespace weft::rt;
using weft::check::expect;
using weft::check::fail;
using weft::check::start;

constexpr int nobody = -1;

template <int Ps, int Ms>
struct dance {
  atomic<std::uint32_t> nmspinning{0};
  atomic<std::uint32_t> needspinning{0};
  atomic<std::uint32_t> npidle{0};
  atomic<std::uint32_t> queue[Ps] = {};  // goroutines there; raised by the P's holder, lowered by whoever takes one
  atomic<std::uint32_t> ran{0};
  // ---- under lock
  mutex lock;
  std::array<bool, Ps> pidle{};
  std::array<bool, Ms> midle{};
  int ms = 0;
  // ---- handed over by the note
  note park[Ms];
  std::array<int, Ms> given{};
  std::array<bool, Ms> spins{};
  struct body {
    dance* d;
    int m, p;
    bool spinning;
    void operator()() { d->find(m, p, spinning); }
  };
  std::array<body, Ms> bodies{};

  spin_words words() { return {nmspinning, needspinning, npidle}; }

  struct idle {
    int p = nobody;
    explicit operator bool() const { return p != nobody; }
  };

  // Under lock.
  idle take_idle_p() {
    for (int i = 0; i < Ps; ++i) {
      if (!pidle[static_cast<std::size_t>(i)]) continue;
      pidle[static_cast<std::size_t>(i)] = false;
      npidle.store(npidle.load(relaxed) - 1, relaxed);
      return {i};
    }
    return {};
  }

  // wakep and startm.
  void wake() {
    const idle got = claim_idle_p(words(), lock, [this] { return take_idle_p(); });
    if (!got) return;
    const int p = got.p;
    lock.lock();
    for (int i = 0; i < ms; ++i) {
      if (!midle[static_cast<std::size_t>(i)]) continue;
      midle[static_cast<std::size_t>(i)] = false;
      lock.unlock();
      given[static_cast<std::size_t>(i)] = p;
      spins[static_cast<std::size_t>(i)] = true;
      park[i].wakeup();
      return;
    }
    const int m = ms++;
    if (m == Ms) fail("the model needs more than %d Ms", Ms);
    lock.unlock();
    begin(m, p, true);
  }

  void begin(int m, int p, bool spinning) {
    body& b = bodies[static_cast<std::size_t>(m)];
    b = {this, m, p, spinning};
    static_cast<void>(start(b));
  }

  // Under lock.
  void put_idle_p(int p) {
    pidle[static_cast<std::size_t>(p)] = true;
    npidle.store(npidle.load(relaxed) + 1, relaxed);
  }

  void submit(int p) {
    queue[p].store(queue[p].load(relaxed) + 1, release);
    wake();
  }

  bool take(int p) {
    std::uint32_t n = queue[p].load(relaxed);
    while (n != 0) {
      if (queue[p].compare_exchange_weak(n, n - 1, acquire, relaxed)) return true;
    }
    return false;
  }

  // Keeps its P until so many have begun: then what was left over would be missed.
  std::uint32_t together = 1;

  void run_one() {
    ran.fetch_add(1, release);
    os::futex_wake(&ran, Ms + 1);
    if (together > 1) wait_until_ran(together);
  }

  void wait_until_ran(std::uint32_t n) {
    for (std::uint32_t now; (now = ran.load(acquire)) < n;) os::futex_wait(&ran, now);
  }

  // find_runnable, of M number m, which holds p.
  void find(int m, int p, bool spinning) {
    const auto me = static_cast<std::size_t>(m);
    weft::check::may_be_left_asleep();
    for (;;) {
      bool got = take(p);
      if (!got && !spinning) {
        if (2 * nmspinning.load(relaxed) < static_cast<std::uint32_t>(Ps) - npidle.load(relaxed)) {
          spinning = true;
          begin_spinning(words());
        }
      }
      if (!got && spinning) {
        for (int i = 0; i < Ps && !got; ++i) got = i != p && take(i);
      }
      if (got) {
        if (spinning) {
          spinning = false;
          end_spinning(words());
          wake();
        }
        run_one();
        continue;
      }
      lock.lock();
      if (!spinning && needspinning.load(relaxed) != 0) {
        spinning = true;
        begin_spinning(words());
        lock.unlock();
        continue;
      }
      put_idle_p(p);
      lock.unlock();
      if (spinning) {
        spinning = false;
        end_spinning(words());
        bool found = false;
        for (int i = 0; i < Ps && !found; ++i) found = queue[i].load(acquire) != 0;
        if (found) {
          lock.lock();
          p = take_idle_p().p;
          if (p == nobody) needspinning.store(1, relaxed);
          lock.unlock();
          if (p != nobody) {
            spinning = true;
            begin_spinning(words());
            continue;
          }
        }
      }
      lock.lock();
      midle[me] = true;
      lock.unlock();
      park[m].sleep();
      park[m].clear();
      p = given[me];
      spinning = spins[me];
    }
  }
};

// Ms that sleep when it is over are left asleep, so it does not lie in a frame that ends.
template <int Ps, int Ms>
dance<Ps, Ms>& fresh() {
  using type = dance<Ps, Ms>;
  alignas(type) static unsigned char memory[sizeof(type)];
  return *new (memory) type;
}

// M `main` holds P 0 and never gives it back; the others start where the model says.
MODEL(spinning_last_one_leaves, "work comes while the last spinner stops spinning: it is run all the same") {
  dance<2, 3>& d = fresh<2, 3>();
  d.nmspinning.store(1, relaxed);
  d.ms = 1;
  d.begin(0, 1, true);
  d.submit(0);
  d.wait_until_ran(1);
}

MODEL(spinning_p_is_dropped, "work comes while an M that does not spin drops its P") {
  dance<2, 3>& d = fresh<2, 3>();
  d.ms = 1;
  d.begin(0, 1, false);
  d.submit(0);
  d.wait_until_ran(1);
}

MODEL(spinning_second_submitter, "needspinning is set already and no P is idle: the second submitter takes no lock") {
  dance<2, 3>& d = fresh<2, 3>();
  d.queue[0].store(1, relaxed);
  d.needspinning.store(1, relaxed);
  d.ms = 1;
  d.begin(0, 1, false);
  d.submit(0);
  d.wait_until_ran(2);
}

MODEL(spinning_p_is_idle, "all have gone to sleep: the submitter wakes one") {
  dance<2, 3>& d = fresh<2, 3>();
  d.put_idle_p(1);
  d.submit(0);
  d.wait_until_ran(1);
}

MODEL(spinning_need_is_old,
      "needspinning stands from before, and the only spinner drops its P: then a P is idle, and an M is woken") {
  dance<3, 4>& d = fresh<3, 4>();  // P 2 runs something for ever
  d.nmspinning.store(1, relaxed);
  d.needspinning.store(1, relaxed);
  d.ms = 1;
  d.begin(0, 1, true);
  d.submit(0);
  d.wait_until_ran(1);
}

MODEL(spinning_two_at_once,
      "two are submitted while the other Ps are about to be dropped: both are run, at the same time", .sample = true) {
  dance<3, 6>& d = fresh<3, 6>();
  d.together = 2;
  d.ms = 2;
  d.begin(0, 1, false);
  d.begin(1, 2, false);
  d.submit(0);
  d.submit(0);
  d.wait_until_ran(2);
}

}  // namespace
