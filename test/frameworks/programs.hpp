// What the programs of this directory explore: one that is right, one that is not.
#pragma once
#include <weft/sim.hpp>
#include <weft/weft.hpp>

namespace {

// snippet: program
inline void count(bool locked) {
  weft::mutex m;
  int n = 0;
  weft::wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      if (locked) m.lock();
      const int seen = n;
      weft::sim::point();
      n = seen + 1;
      if (locked) m.unlock();
    });
  }
  both.wait();
  weft::sim::check(n == 2, "both have counted");
}
// snippet: end

}  // namespace
