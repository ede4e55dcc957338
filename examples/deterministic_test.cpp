// deterministic_test: two tests of a program, with weft::sim. A race that real execution hardly ever shows, found, replayed,
// understood and fixed; and a timer that fires as it is set anew, in a test of half an hour that costs no time.
//
// Run     build/release/examples/deterministic_test
// Prints  what the search has found: the failure, the one switch that makes it happen, and the steps that lead to it
// Go      testing/synctest has the virtual time and the deadlocks of this; it does not search.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>

namespace {

using namespace std::chrono_literals;

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

// snippet: session
// A session that ends when nobody has used it for half an hour.
template <bool looks_again>
class session {
 public:
  // True: it is open, and stays so for another half an hour.
  bool use() {
    const std::lock_guard hold(m_);
    if (!open_) return false;
    used_ = weft::clock::now();
    timer_.reset(30min);
    return true;
  }

 private:
  // reset() says by its result when this has been started already, and waits at m_; to ask here is simpler.
  void expire() {
    const std::lock_guard hold(m_);
    if (looks_again && weft::clock::now() - used_ < 30min) return;
    open_ = false;
  }

  weft::mutex m_;
  bool open_ = true;
  weft::clock::time_point used_ = weft::clock::now();
  weft::timer timer_ = weft::after_func(30min, [this] { expire(); });
};

template <bool looks_again>
void back_from_lunch() {
  session<looks_again> s;
  weft::sleep(30min);
  if (s.use()) {  // not yet over
    weft::sleep(29min);
    weft::sim::check(s.use(), "a session that is used stays open");
  }
  weft::sleep(31min);
  weft::sim::check(!s.use(), "one that is left alone ends");
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

  // snippet: time
  try {
    weft::sim::explore({.runs = 1000, .minimize = true}, back_from_lunch<false>);
    std::puts("nothing found");
  } catch (const weft::sim::failure& f) {
    std::printf("found: %s\nswitches: %s\n%s", weft::sim::to_text(f.kind()), f.choices().c_str(), f.schedule().c_str());
  }
  auto shortest = weft::clock::duration::max();
  const weft::sim::summary t = weft::sim::explore({.runs = 1000}, [&] {
    const auto begin = weft::clock::now();
    back_from_lunch<true>();
    shortest = std::min(shortest, weft::clock::now() - begin);
  });
  std::printf("repaired: %d runs of %lld minutes or more without a failure\n", t.runs,
              static_cast<long long>(shortest / 1min));
  // snippet: end
}
