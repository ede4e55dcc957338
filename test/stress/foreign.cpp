// foreign: plain threads and the goroutines of two runtimes at once on the same semaphores, mutex and wait_groups, while
// runtimes end and others begin. Tokens in are tokens out; a goroutine that is readied from outside its runtime goes
// into that runtime's global queue, and the waker is still on its way out when the runtime ends.
#include <thread>
#include <vector>

#include "support/stress.hpp"

using namespace weft;

namespace {

constexpr int rounds = test::scaled(300);

// Tokens go from `full` to `empty` and back; in one user's hands at most, in all never more than there are.
struct shared {
  explicit shared(int tokens) : full(tokens), empty(0), n(tokens) {}
  semaphore full, empty;
  mutex lock;
  int n;
  int held = 0;  // under lock
  std::uint64_t moves = 0;
};

void use(shared& sh, int n, test::random_source r, bool goroutine) {
  for (int i = 0; i < n; ++i) {
    if (r.one_in(4)) {
      if (!sh.full.try_acquire()) continue;
    } else {
      sh.full.acquire();
    }
    sh.lock.lock();
    test::expect(++sh.held <= sh.n, "more tokens than there are");
    ++sh.moves;
    sh.lock.unlock();
    if (goroutine && r.one_in(8)) yield();
    sh.empty.release();
    // Whoever takes it back need not be the same.
    sh.empty.acquire();
    sh.lock.lock();
    test::expect(--sh.held >= 0, "fewer tokens than none");
    sh.lock.unlock();
    sh.full.release();
  }
}

}  // namespace

int main() {
  test::stress s("foreign");
  std::uint64_t moves = 0;
  while (s.more()) {
    test::random_source& r = s.random();
    const int tokens = 1 + static_cast<int>(r.below(4));
    shared sh(tokens);
    // Plain threads for the whole round; in two more threads one short runtime after the other.
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < 1 + r.below(3); ++i) {
      const std::uint64_t seed = r.next_seed();
      threads.emplace_back([&sh, seed] { use(sh, rounds, test::random_source(seed), false); });
    }
    for (int k = 0; k < 2; ++k) {
      const std::uint64_t seed = r.next_seed();
      threads.emplace_back([&sh, seed] {
        test::random_source mine(seed);
        for (int runtimes = 0; runtimes < 5; ++runtimes) {
          options o;
          o.procs = 1 + static_cast<int>(mine.below(3));
          const std::uint32_t goroutines = 1 + mine.below(6);
          const bool wait = mine.one_in(2);
          weft::run(o, [&] {
            for (std::uint32_t i = 0; i < goroutines; ++i) {
              const std::uint64_t inner = mine.next_seed();
              go([&sh, inner] { use(sh, rounds / 5, test::random_source(inner), true); });
            }
            // Or main leaves at once, and the runtime ends when the last goroutine does.
            if (wait) test::yield_until([] { return num_goroutine() == 1; });
          });
        }
      });
    }
    for (std::thread& t : threads) t.join();
    for (int i = 0; i < tokens; ++i) test::expect(sh.full.try_acquire(), "a token is lost");
    test::expect(!sh.full.try_acquire() && !sh.empty.try_acquire(), "there is a token too many");
    test::expect(sh.held == 0, "somebody still holds a token");
    moves += sh.moves;
  }
  return s.finish("tokens moved", moves);
}
