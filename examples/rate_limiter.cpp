// rate_limiter: so many requests a second, with a burst now and then.
//
// Tokens are permits of a semaphore: a request takes one, a ticker brings one back each period, and what is saved up is the
// burst. Who would wait too long for a token gives up: try_acquire_for is acquire with a limit.
//
// Run     build/release/examples/rate_limiter
// Prints  request 0 at 0 ms
//         request 1 at 0 ms
//         request 2 at 0 ms
//         request 3 at 10 ms
//         request 4 at 20 ms
//         request 5 at 30 ms
//         impatient: gave up after 5 ms
//         (The times are exact because this runs as an exploration, whose clock stands still while anybody works.)
// Go      a buffered channel of time.Time, filled by a time.Ticker
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>

namespace {

using namespace std::chrono_literals;

// snippet: limiter
class rate_limiter {
 public:
  rate_limiter(int burst, weft::duration period) : tokens_(burst), refill_(period) {
    filler_.go([this] {
      for (;;) {
        if (weft::select(weft::recv(stop_), weft::recv(refill_.channel())) == 0) return;
        if (missing_ > 0) {
          --missing_;
          tokens_.release();
        }
      }
    });
  }
  ~rate_limiter() {
    stop_.close();
    filler_.wait();
  }

  // False: there was no token for so long.
  bool wait(weft::duration patience) {
    if (!tokens_.try_acquire_for(patience)) return false;
    ++missing_;
    return true;
  }

 private:
  weft::semaphore tokens_;
  std::atomic<int> missing_{0};  // of the burst
  weft::ticker refill_;
  weft::chan<> stop_;
  weft::wait_group filler_;
};
// snippet: end

void work() {
  const auto begin = weft::clock::now();
  const auto ms = [&] { return static_cast<int>((weft::clock::now() - begin) / 1ms); };
  rate_limiter limit(3, 10ms);
  for (int i = 0; i < 6; ++i) {
    if (limit.wait(1s)) std::printf("request %d at %d ms\n", i, ms());
  }
  const int before = ms();
  if (!limit.wait(5ms)) std::printf("impatient: gave up after %d ms\n", ms() - before);
}

}  // namespace

int main() { weft::sim::run(1, work); }
