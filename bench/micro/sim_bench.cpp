// sim: runs of an exploration per second, with all their bookkeeping: four goroutines and main, about 43 steps a run. The
// argument is the strategy: 0 portfolio, 1 random, 2 pct, 3 pos, 4 round robin.
#include <benchmark/benchmark.h>
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <mutex>

namespace {

void Explore(benchmark::State& state) {
  constexpr int runs = 1000;
  std::uint64_t steps = 0;
  for (auto _ : state) {
    const weft::sim::options o{.runs = runs, .strategy = static_cast<weft::sim::strategy>(state.range(0))};
    steps += weft::sim::explore(o, [] {
               weft::wait_group all;
               weft::mutex m;
               int n = 0;
               for (int i = 0; i < 4; ++i) {
                 all.go([&] {
                   const std::lock_guard hold(m);
                   ++n;
                 });
               }
               all.wait();
               weft::sim::check(n == 4);
             }).steps;
  }
  const auto done = static_cast<double>(state.iterations());
  state.counters["runs/s"] = benchmark::Counter(done * runs, benchmark::Counter::kIsRate);
  state.counters["steps/s"] = benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate);
}
BENCHMARK(Explore)->DenseRange(0, 4)->Unit(benchmark::kMillisecond);

}  // namespace
