// overflow: a hundred thousand goroutines put on one P, faster than it runs them, while thieves take from its ring and
// from the global queue into which half of the ring spills. Each runs once; those that are readied too.
#include <memory>
#include <vector>

#include "support/stress.hpp"

using namespace weft;

int main() {
  test::stress s("overflow");
  std::uint64_t total = 0;
  while (s.more()) {
    const options o = s.any_options();
    const int n = test::built_with_tsan ? 3000 : test::scaled(100'000);
    auto runs = std::make_unique<std::atomic<int>[]>(static_cast<std::size_t>(n));
    test::random_source r(s.random().next_seed());
    s.run(o, [&] {
      // One in so many waits first, and comes back by a release of all of them at once: a batch into runnext and ring.
      const std::uint32_t waiters = 2 + r.below(50);
      semaphore gate(0);
      std::atomic<int> passed{0};
      wait_group all;
      all.add(n);
      int waiting = 0;
      for (int i = 0; i < n; ++i) {
        const bool waits = r.one_in(waiters);
        waiting += waits ? 1 : 0;
        go([&, i, waits] {
          if (waits) gate.acquire();
          runs[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
          passed.fetch_add(1, std::memory_order_relaxed);
          all.done();
        });
      }
      test::yield_until([&] { return passed.load(std::memory_order_relaxed) == n - waiting; });
      gate.release(waiting);
      all.wait();
    });
    for (int i = 0; i < n; ++i) {
      const int k = runs[static_cast<std::size_t>(i)].load();
      if (k != 1) test::stress_failed("goroutine " + std::to_string(i) + " ran " + std::to_string(k) + " times");
    }
    total += static_cast<std::uint64_t>(n);
  }
  return s.finish("goroutines", total);
}
