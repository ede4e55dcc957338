// parallel_sum: an array summed in chunks, a goroutine for each.
//
// Run     build/release/examples/parallel_sum
// Prints  the sum of 10000000 numbers in 64 chunks is 50000005000000
// Go      for c := range chunks { wg.Go(func() { for _, v := range part(c) { partial[c] += v } }) }; wg.Wait()
#include <weft/weft.hpp>

#include <cstdint>
#include <cstdio>
#include <numeric>
#include <span>
#include <vector>

int main() {
  return weft::run([] {
    constexpr std::size_t chunks = 64;
    std::vector<std::uint64_t> numbers(10'000'000);
    std::iota(numbers.begin(), numbers.end(), 1);

    // One place for each goroutine: nothing is shared, so nothing has to be locked. wait() makes
    // what they wrote visible here.
    std::vector<std::uint64_t> partial(chunks);
    weft::wait_group workers;
    for (std::size_t c = 0; c < chunks; ++c)
      workers.go([&, c] {
        const std::size_t from = numbers.size() * c / chunks, to = numbers.size() * (c + 1) / chunks;
        const auto part = std::span(numbers).subspan(from, to - from);
        partial[c] = std::accumulate(part.begin(), part.end(), std::uint64_t{0});
      });
    workers.wait();

    const std::uint64_t sum = std::accumulate(partial.begin(), partial.end(), std::uint64_t{0});
    std::printf("the sum of %zu numbers in %zu chunks is %llu\n", numbers.size(), chunks,
                static_cast<unsigned long long>(sum));
  });
}
