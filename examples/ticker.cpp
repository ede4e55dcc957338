// ticker: something that is done again and again, on a grid that stays where it is.
//
// A tick is the time for which it was due. Whoever is late gets that one tick, and those that were missed are skipped: the next
// is on the grid again. So a slow turn delays itself and no other. A ticker that nobody waits for costs nothing.
//
// Run     build/release/examples/ticker
// Prints  tick 1 at 10 ms
//         tick 2 at 20 ms
//         tick 3 at 30 ms
//         (busy until 75 ms)
//         tick 4 at 40 ms
//         tick 5 at 80 ms
//         stopped: no tick in 30 ms
//         (The times are exact because this runs as an exploration, whose clock stands still while anybody works.)
// Go      for t := range time.NewTicker(10 * time.Millisecond).C { … }
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>

namespace {

using namespace std::chrono_literals;

// snippet: ticker
void work() {
  const auto begin = weft::clock::now();
  const auto ms = [begin](weft::clock::time_point t) { return static_cast<int>((t - begin) / 1ms); };
  const weft::ticker every(10ms);
  int n = 0;
  for (const weft::clock::time_point tick : every.channel()) {
    std::printf("tick %d at %d ms\n", ++n, ms(tick));
    if (n == 5) break;
    if (n != 3) continue;
    weft::this_goroutine::sleep_until(begin + 75ms);
    std::printf("(busy until %d ms)\n", ms(weft::clock::now()));
  }
  every.stop();
  if (weft::select(weft::recv(every.channel()), weft::after(30ms)) == 1) std::puts("stopped: no tick in 30 ms");
}
// snippet: end

}  // namespace

int main() { weft::sim::run(1, work); }
