// skynet: a million goroutines at the leaves of a tree, ten children to each node, summed on the way up
// (github.com/atemerev/skynet). Up to a tenth of them are parked at a time, each on its own stack.
#include <benchmark/benchmark.h>
#include <weft/weft.hpp>

#include <array>
#include <cstdint>
#include <numeric>

namespace {

constexpr std::size_t children = 10;

std::uint64_t sum_of(std::uint64_t first, std::uint64_t leaves) {
  if (leaves == 1) return first;
  std::array<std::uint64_t, children> sums{};
  weft::wait_group running;
  const std::uint64_t share = leaves / children;
  for (std::size_t i = 0; i < children; ++i)
    running.go([&sums, first, share, i] { sums[i] = sum_of(first + i * share, share); });
  running.wait();
  return std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
}

void Skynet(benchmark::State& state) {
  constexpr std::uint64_t leaves = 1'000'000;
  weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [&] {
    for (auto _ : state) {
      if (sum_of(0, leaves) != leaves * (leaves - 1) / 2) state.SkipWithError("wrong sum");
    }
  });
}
BENCHMARK(Skynet)->Arg(1)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
