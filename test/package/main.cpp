// A user's program, built by each of the consumer projects beside this file. Goroutines meet at a mutex, a semaphore and
// a wait group; two exceptions are thrown inside the library and caught by type here, which a hidden type_info would
// break; and an exploration finds a lost update.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace {

bool refuses_bad_options() {
  weft::options o;
  o.procs = -1;
  try {
    weft::run(o, [] {});
  } catch (const weft::error& e) {
    return std::string_view(e.what()).find("-1") != std::string_view::npos;
  }
  return false;
}

long sum_of_squares() {
  weft::options o;
  o.procs = 2;
  return weft::run(o, [] {
    std::array<long, 100> squares{};
    long total = 0;
    weft::mutex m;
    weft::semaphore finished(0);
    weft::wait_group workers;
    for (std::size_t i = 0; i < squares.size(); ++i) {
      workers.go([&, i] {
        const auto n = static_cast<long>(i);
        weft::yield();
        squares[i] = weft::blocking([n] { return n * n; });
        m.lock();
        total += squares[i];
        m.unlock();
      });
    }
    weft::go([&] {
      workers.wait();
      finished.release();
    });
    finished.acquire();
    return total;
  });
}

bool finds_the_lost_update() {
  try {
    weft::sim::explore({.name = "lost_update", .runs = 100}, [] {
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
  } catch (const weft::sim::failure&) {
    return true;
  }
  return false;
}

}  // namespace

int main() {
  const bool refused = refuses_bad_options();
  const long sum = sum_of_squares();
  const bool found = finds_the_lost_update();
  std::printf("sum of squares: %ld\nbad options: %s\nlost update: %s\n", sum, refused ? "refused" : "taken",
              found ? "found" : "missed");
  return 0;
}
