// park_ready: pairs that wake each other, as fast as they can, across Ps and between goroutines and plain threads. A
// wake-up that comes while the other is about to wait, and is lost, is a hang.
//
// In an exploration (test/conformance/explored_stress_test.cpp) the same, without plain threads.
#pragma once
#include <memory>
#include <thread>
#include <vector>

#include "support/stress.hpp"
#include "weft/sim.hpp"

namespace weft::test::park_ready {

// The same with each of the three primitives.
struct by_semaphore {
  semaphore s{0};
  void wait() { s.acquire(); }
  void wake() { s.release(); }
};
struct by_wait_group {
  // One object per direction and turn: a wait_group may be reused only when its last wait has returned, which the other
  // side knows after its own turn.
  wait_group g[2];
  std::uint32_t waits = 0, wakes = 0;
  by_wait_group() {
    g[0].add(1);
    g[1].add(1);
  }
  void wait() {
    wait_group& mine = g[waits++ % 2];
    mine.wait();
    mine.add(1);
  }
  void wake() { g[wakes++ % 2].done(); }
};
// A mutex handed back and forth: locked means "not your turn"; the other side unlocks it.
struct by_mutex {
  mutex m;
  by_mutex() { m.lock(); }
  void wait() { m.lock(); }
  void wake() { m.unlock(); }
};

template <class Event>
void side(Event& mine, Event& other, int rounds, bool first, test::random_source r, bool goroutine) {
  for (int i = 0; i < rounds; ++i) {
    if (first || i > 0) other.wake();
    mine.wait();
    for (std::uint32_t d = r.below(40); d > 0; --d) rt::os::pause();
    if (goroutine && r.one_in(16)) yield();
    if (goroutine && r.one_in(64)) blocking([] {});
  }
  if (!first) other.wake();
}

template <class Event>
void pair(wait_group& all, std::vector<std::thread>& threads, int rounds, test::random_source& r) {
  auto a = std::make_shared<Event>();
  auto b = std::make_shared<Event>();
  const std::uint64_t sa = r.next_seed(), sb = r.next_seed();
  all.go([=] { side(*a, *b, rounds, true, test::random_source(sa), true); });
  if (!sim::active() && r.one_in(3)) {
    threads.emplace_back([=] { side(*b, *a, rounds, false, test::random_source(sb), false); });
  } else {
    all.go([=] { side(*b, *a, rounds, false, test::random_source(sb), true); });
  }
}

// Returns how many turns there were.
inline std::uint64_t round(random_source& r, int rounds) {
  wait_group all;
  std::vector<std::thread> threads;
  const std::uint32_t pairs = 1 + r.below(sim::active() ? 2 : 8);
  for (std::uint32_t i = 0; i < pairs; ++i) {
    switch (r.below(3)) {
      case 0: pair<by_semaphore>(all, threads, rounds, r); break;
      case 1: pair<by_wait_group>(all, threads, rounds, r); break;
      default: pair<by_mutex>(all, threads, rounds, r); break;
    }
  }
  all.wait();
  blocking([&] {
    for (std::thread& t : threads) t.join();
  });
  return pairs * 2 * static_cast<std::uint64_t>(rounds);
}

}  // namespace weft::test::park_ready
