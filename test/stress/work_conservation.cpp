// work_conservation: no goroutine waits beside an idle P (RELIABILITY 3.3).
//
// A goroutine spins, without a yield, until another has run. The other must therefore be found by somebody else: it has
// been started or readied on the spinner's own P, and was put into the queue *before* something that took runnext from it,
// so it lies in the ring and only a thief gets it there. A P that goes to sleep in the wrong moment is a hang. Bugs
// 1, 2, 15, 16 and 27 of RELIABILITY 2 are found by this kind of program; three Ps show what two do not.
#include <vector>

#include "support/stress.hpp"

using namespace weft;

namespace {

std::uint64_t handed = 0;

// Started first, so that it must be stolen from the ring; the second goroutine takes runnext.
void after_go(test::random_source r) {
  std::atomic<bool> set{false}, second{false};
  wait_group all;
  all.go([&] { set.store(true, std::memory_order_relaxed); });
  if (r.one_in(2)) {
    all.go([&] { second.store(true, std::memory_order_relaxed); });
  } else {
    second = true;
  }
  for (std::uint32_t d = r.below(30); d > 0; --d) rt::os::pause();
  test::spin_until([&] { return set.load(std::memory_order_relaxed) && second.load(std::memory_order_relaxed); });
  all.wait();
}

// The same with goroutines that were waiting: they become runnable by a release.
void after_release(test::random_source r) {
  const std::uint32_t n = 1 + r.below(2);
  std::atomic<std::uint32_t> ran{0};
  semaphore wake(0);
  test::watched each[2];
  wait_group all;
  for (std::uint32_t i = 0; i < n; ++i) {
    all.go([&, i] {
      each[i].here();
      wake.acquire();
      ran.fetch_add(1, std::memory_order_relaxed);
    });
  }
  for (std::uint32_t i = 0; i < n; ++i) test::yield_until([&] { return each[i].waits(); });
  // The Ps have had time to become idle, or are about to.
  for (std::uint32_t d = r.below(300); d > 0; --d) rt::os::pause();
  if (r.one_in(2)) {
    wake.release(n);
  } else {
    for (std::uint32_t i = 0; i < n; ++i) wake.release();
  }
  test::spin_until([&] { return ran.load(std::memory_order_relaxed) == n; });
  all.wait();
}

// All Ps at once: each goroutine starts the next and then spins until the last has run, so every P that goes idle on the
// way must come back.
void chain(int procs) {
  struct link {
    std::atomic<int> started{0};
    wait_group all;
    int n;
    void start() {
      all.go([this] {
        if (started.fetch_add(1) + 1 < n) start();
        test::spin_until([this] { return started.load(std::memory_order_relaxed) == n; });
      });
    }
  } c;
  c.n = procs;
  c.start();
  c.all.wait();
}

}  // namespace

int main() {
  test::stress s("work_conservation");
  while (s.more()) {
    const options o = s.any_options(2);
    const int rounds = test::scaled(200);
    test::random_source r(s.random().next_seed());
    s.run(o, [&] {
      for (int i = 0; i < rounds; ++i) {
        test::random_source mine(r.next_seed());
        switch (r.below(3)) {
          case 0: after_go(mine); break;
          case 1: after_release(mine); break;
          default: chain(o.procs < 4 ? o.procs : 3); break;
        }
        ++handed;
      }
    });
  }
  return s.finish("goroutines found by others", handed);
}
