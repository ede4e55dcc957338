// skynet: a million goroutines at the leaves of a tree, ten children to each node, summed on the way up.
//
// A goroutine costs little enough to be the unit of recursion. Parents wait while their children run, so up to a tenth of all
// goroutines are parked at a time. How a child tells its sum: it writes into its parent's frame, and the parent waits for a
// wait group; or, with --channels, it sends it, as in the original. A channel for each parent costs an allocation and ten
// hand-overs, and in return needs no place for each child.
//
// Run     build/release/examples/skynet [--channels] [LEAVES]      a power of ten, 1000000 unless given
// Prints  499999500000
//         231 ms
// Go      github.com/atemerev/skynet
#include <weft/weft.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>

namespace {

constexpr std::size_t children = 10;

// The sum of the leaves first … first + leaves - 1.
std::uint64_t sum_of(std::uint64_t first, std::uint64_t leaves) {
  if (leaves == 1) return first;

  // On this goroutine's stack, which stays where it is: the children write straight into it.
  std::array<std::uint64_t, children> sums{};
  weft::wait_group running;
  const std::uint64_t share = leaves / children;
  for (std::size_t i = 0; i < children; ++i)
    running.go([&sums, first, share, i] { sums[i] = sum_of(first + i * share, share); });
  running.wait();
  return std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
}

void send_sum_of(std::uint64_t first, std::uint64_t leaves, const weft::send_chan<std::uint64_t>& to) {
  if (leaves == 1) return to.send(first);

  const weft::chan<std::uint64_t> sums;
  const std::uint64_t share = leaves / children;
  for (std::size_t i = 0; i < children; ++i)
    weft::go([sums, first, share, i] { send_sum_of(first + i * share, share, sums); });
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < children; ++i) sum += *sums.recv();
  to.send(sum);
}

std::uint64_t sum_by_channels(std::uint64_t leaves) {
  const weft::chan<std::uint64_t> sum;
  weft::go([sum, leaves] { send_sum_of(0, leaves, sum); });
  return *sum.recv();
}

bool power_of_ten(std::uint64_t n) {
  while (n != 0 && n % 10 == 0) n /= 10;
  return n == 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool channels = argc > 1 && std::string_view(argv[1]) == "--channels";
  const int given = argc - (channels ? 2 : 1);
  const std::uint64_t leaves = given > 0 ? std::strtoull(argv[argc - 1], nullptr, 10) : 1'000'000;
  if (given > 1 || !power_of_ten(leaves)) {
    std::fprintf(stderr, "usage: skynet [--channels] [LEAVES], a power of ten, not \"%s\"\n", argv[argc - given]);
    return 2;
  }
  return weft::run([channels, leaves] {
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t sum = channels ? sum_by_channels(leaves) : sum_of(0, leaves);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    std::printf("%llu\n%.0f ms\n", static_cast<unsigned long long>(sum), taken.count());
  });
}
