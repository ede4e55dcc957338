// A user's program, built by each of the consumer projects beside it: goroutines meet at a mutex, a semaphore and a wait
// group; an exception is thrown by the library and caught by type here, which a hidden type_info would break.
#include <weft/weft.hpp>

#include <array>
#include <cstdio>
#include <string_view>

int main() {
  bool refused = false;
  try {
    weft::options none;
    none.procs = -1;
    weft::run(none, [] {});
  } catch (const weft::error& e) {
    refused = std::string_view(e.what()).find("-1") != std::string_view::npos;
  }

  weft::options two;
  two.procs = 2;
  const long sum = weft::run(two, [] {
    std::array<long, 100> squares{};
    long total = 0;
    weft::mutex m;
    weft::semaphore finished(0);
    weft::wait_group workers;
    for (std::size_t i = 0; i < squares.size(); ++i) {
      workers.go([&, i] {
        const auto n = static_cast<long>(i);
        weft::yield();
        squares[i] = n * n;
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
  std::printf("sum of 100 squares: %ld, bad options: %s\n", sum, refused ? "refused" : "taken");
}
