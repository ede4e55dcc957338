// spawn_million: a million goroutines alive at once. Queued: none has run before the last is started. Parked: all have
// run, and wait on one gate, each on its own stack of 16 KiB.
#include <benchmark/benchmark.h>
#include <weft/weft.hpp>

#include <atomic>
#include <cstdint>

namespace {

constexpr std::int64_t million = 1'000'000;

void SpawnMillionQueued(benchmark::State& state) {
  weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [&] {
    for (auto _ : state) {
      weft::wait_group all;
      all.add(million);
      for (std::int64_t i = 0; i < million; ++i) weft::go([&all] { all.done(); });
      all.wait();
    }
  });
}

void SpawnMillionParked(benchmark::State& state) {
  weft::run(weft::options{.procs = static_cast<int>(state.range(0)), .stack_size = 16 << 10}, [&] {
    for (auto _ : state) {
      weft::wait_group all, coming;
      weft::semaphore gate(0);
      all.add(million);
      coming.add(million);
      for (std::int64_t i = 0; i < million; ++i) {
        weft::go([&] {
          coming.done();
          gate.acquire();
          all.done();
        });
      }
      coming.wait();
      gate.release(million);
      all.wait();
    }
  });
}

#define PROCS Arg(1)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond)
BENCHMARK(SpawnMillionQueued)->PROCS;
BENCHMARK(SpawnMillionParked)->PROCS->Iterations(2);

}  // namespace
