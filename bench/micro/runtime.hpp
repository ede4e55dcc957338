// runtime: benchmarks whose timed loop runs inside a weft::run.
//
// The argument of each benchmark is the number of Ps. Times are wall time, beside the CPU time of the whole process:
// the goroutine that runs the loop may change threads, so no thread's own clock is right.
#pragma once
#include <benchmark/benchmark.h>
#include <weft/weft.hpp>

#include <atomic>
#include <cstdint>

namespace bench {

// Runs body(state) on the main goroutine of a runtime with state.range(0) Ps.
template <class F>
void inside(benchmark::State& state, F&& body) {
  weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [&] { body(state); });
}

// As Go's b.RunParallel: one goroutine per P (times `factor`), each of which does its share of every batch of
// iterations. share(n) does n of them. One iteration is one operation, so that the figures compare with Go's.
template <class F>
void in_parallel(benchmark::State& state, F&& share, std::int64_t factor = 1) {
  inside(state, [&](benchmark::State& inner) {
    const std::int64_t goroutines = inner.range(0) * factor;
    constexpr std::int64_t each = 10'000;
    while (inner.KeepRunningBatch(goroutines * each)) {
      weft::wait_group all;
      for (std::int64_t i = 0; i < goroutines; ++i) all.go([&share] { share(each); });
      all.wait();
    }
  });
}

// A hundred multiplications and divisions, as Go's benchmarks of sync do between two operations.
inline void work() {
  int foo = 0;
  for (int i = 0; i < 100; ++i) {
    foo *= 2;
    foo /= 2;
    benchmark::DoNotOptimize(foo);
  }
}

}  // namespace bench

// One P and two; by wall time, with the CPU time of all threads.
#define WEFT_BENCH(name) BENCHMARK(name)->Arg(1)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime()
