// deterministic_test: a race that real execution hardly ever shows, found, replayed, understood and fixed with weft::sim.
//
// Run     build/release/examples/deterministic_test
// Prints  what the search has found: the failure, the one switch that makes it happen, and the steps that lead to it
// Go      testing/synctest has the virtual time and the deadlocks of this; it does not search.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <cstdio>
#include <mutex>

namespace {

// snippet: program
// A value that is expensive to load: whoever needs it first loads it, once.
struct cache {
  weft::mutex m;
  bool loaded = false;
  int value = 0;
  int loads = 0;

  int load() {
    ++loads;
    return 42;
  }

  // Wrong: between the look and the load the mutex is free.
  int get() {
    {
      const std::lock_guard hold(m);
      if (loaded) return value;
    }
    const int fresh = load();
    const std::lock_guard hold(m);
    loaded = true;
    return value = fresh;
  }

  // Right: it stays locked until the value is there.
  int get_once() {
    const std::lock_guard hold(m);
    if (!loaded) value = load();
    loaded = true;
    return value;
  }
};

template <int (cache::*Get)()>
void two_readers() {
  cache c;
  weft::wait_group readers;
  for (int i = 0; i < 2; ++i) {
    readers.go([&] { weft::sim::check((c.*Get)() == 42, "the value is right"); });
  }
  readers.wait();
  weft::sim::check(c.loads == 1, "it is loaded once");
}
// snippet: end

}  // namespace

int main() {
  // snippet: search
  try {
    weft::sim::explore({.runs = 1000, .minimize = true}, two_readers<&cache::get>);
    std::puts("nothing found");
  } catch (const weft::sim::failure& f) {
    std::printf("found: %s\nswitches: %s\n%s", weft::sim::to_text(f.kind()), f.choices().c_str(), f.schedule().c_str());
    try {
      weft::sim::run(f.choices(), two_readers<&cache::get>);
    } catch (const weft::sim::failure& again) {
      std::printf("replayed: %s\n", again.schedule() == f.schedule() ? "the same steps" : "other steps");
    }
  }
  const weft::sim::summary s = weft::sim::explore({.runs = 1000}, two_readers<&cache::get_once>);
  std::printf("repaired: %d runs without a failure\n", s.runs);
  // snippet: end
}
