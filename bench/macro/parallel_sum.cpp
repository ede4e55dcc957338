// parallel_sum: ten million numbers summed in chunks, a goroutine for each. What matters is how little the time grows
// with the number of chunks, and that two Ps take half of one's.
#include <benchmark/benchmark.h>
#include <weft/weft.hpp>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace {

void ParallelSum(benchmark::State& state) {
  const auto chunks = static_cast<std::size_t>(state.range(1));
  std::vector<std::uint64_t> numbers(10'000'000);
  std::iota(numbers.begin(), numbers.end(), 1);
  std::vector<std::uint64_t> partial(chunks);
  weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [&] {
    for (auto _ : state) {
      weft::wait_group workers;
      for (std::size_t c = 0; c < chunks; ++c) {
        workers.go([&, c] {
          const std::size_t from = numbers.size() * c / chunks, to = numbers.size() * (c + 1) / chunks;
          const auto part = std::span(numbers).subspan(from, to - from);
          partial[c] = std::accumulate(part.begin(), part.end(), std::uint64_t{0});
        });
      }
      workers.wait();
      if (std::accumulate(partial.begin(), partial.end(), std::uint64_t{0}) != 50'000'005'000'000) {
        state.SkipWithError("wrong sum");
      }
    }
  });
}
BENCHMARK(ParallelSum)
    ->ArgsProduct({{1, 2}, {1, 64, 4096, 65536}})
    ->ArgNames({"procs", "chunks"})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
