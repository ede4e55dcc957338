// All that is public, seen with the warnings of its user: weft's headers have to pass where they are no system headers.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

bool finds_the_lost_update() {
  const weft::sim::summary s = weft::sim::explore(
      [] {
        int n = 0;
        weft::wait_group both;
        for (int i = 0; i < 2; ++i) {
          both.go([&] {
            const int seen = n;
            weft::sim::point();
            n = seen + 1;
          });
        }
        both.wait();
        weft::sim::check(n == 2, "both have counted");
      });
  return s.runs > 0;
}
