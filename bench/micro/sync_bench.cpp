// sync: mutex, semaphore, wait_group. Names and loops are Go's (sync/mutex_test.go, runtime_sema_test.go,
// waitgroup_test.go).
#include "runtime.hpp"

namespace {

void mutex_loop(benchmark::State& state, bool slack, bool work) {
  weft::mutex mu;
  bench::in_parallel(
      state,
      [&mu, work](std::int64_t n) {
        for (; n != 0; --n) {
          mu.lock();
          mu.unlock();
          if (work) bench::work();
        }
      },
      slack ? 10 : 1);
}
void MutexUncontended(benchmark::State& state) {
  bench::in_parallel(state, [](std::int64_t n) {
    struct alignas(128) {
      weft::mutex mu;
    } mine;
    for (; n != 0; --n) {
      mine.mu.lock();
      mine.mu.unlock();
    }
  });
}
void Mutex(benchmark::State& state) { mutex_loop(state, false, false); }
void MutexSlack(benchmark::State& state) { mutex_loop(state, true, false); }
void MutexWork(benchmark::State& state) { mutex_loop(state, false, true); }
void MutexWorkSlack(benchmark::State& state) { mutex_loop(state, true, true); }
WEFT_BENCH(MutexUncontended);
WEFT_BENCH(Mutex);
WEFT_BENCH(MutexSlack);
WEFT_BENCH(MutexWork);
WEFT_BENCH(MutexWorkSlack);

// Every so often somebody holds the mutex for long and yields meanwhile: spinning cannot help here, and must not hurt.
void MutexNoSpin(benchmark::State& state) {
  weft::mutex mu;
  std::atomic<std::uint64_t> acc0 = 0, acc1 = 0;
  bench::in_parallel(
      state,
      [&](std::int64_t n) {
        std::uint64_t data[4 << 10] = {};
        for (std::int64_t i = 0; i < n; ++i) {
          if (i % 4 == 0) {
            mu.lock();
            acc0 += 100;
            weft::yield();
            mu.unlock();
          } else {
            for (std::size_t k = 0; k < std::size(data); k += 4) ++data[k];
            benchmark::DoNotOptimize(data);
          }
          acc1.fetch_add(1, std::memory_order_relaxed);
        }
      },
      4);
}
WEFT_BENCH(MutexNoSpin);

// Short sections and some work of one's own in between: spinning pays.
void MutexSpin(benchmark::State& state) {
  weft::mutex mu;
  std::uint64_t shared = 0;
  bench::in_parallel(state, [&](std::int64_t n) {
    std::uint64_t data[16 << 10 >> 3] = {};
    for (; n != 0; --n) {
      mu.lock();
      shared += 100;
      mu.unlock();
      for (std::size_t k = 0; k < std::size(data); k += 8) ++data[k];
      benchmark::DoNotOptimize(data);
    }
  });
}
WEFT_BENCH(MutexSpin);

void SemaUncontended(benchmark::State& state) {
  bench::in_parallel(state, [](std::int64_t n) {
    struct alignas(128) {
      weft::semaphore s{1};
    } mine;
    for (; n != 0; --n) {
      mine.s.release();
      mine.s.acquire();
    }
  });
}
// `block`: so many goroutines hold a permit each for ever that each acquire has to wait.
void sema_loop(benchmark::State& state, bool block, bool work) {
  if (block && state.range(0) == 1) {
    // Go's count of holders is GOMAXPROCS / 2.
    state.SkipWithError("needs two Ps");
    return;
  }
  weft::semaphore s(0);
  bench::inside(state, [&](benchmark::State& inner) {
    weft::semaphore stop(0);
    if (block) {
      for (std::int64_t i = 0; i < inner.range(0) / 2; ++i) {
        weft::go([&] {
          s.acquire();
          stop.acquire();
          s.release();
        });
        s.release();
        weft::yield();
      }
    }
    constexpr std::int64_t each = 10'000;
    while (inner.KeepRunningBatch(inner.range(0) * each)) {
      weft::wait_group all;
      for (std::int64_t i = 0; i < inner.range(0); ++i) {
        all.go([&s, work] {
          for (std::int64_t n = each; n != 0; --n) {
            s.release();
            if (work) bench::work();
            s.acquire();
          }
        });
      }
      all.wait();
    }
    if (block) stop.release(inner.range(0) / 2);
  });
}
void SemaSyntNonblock(benchmark::State& state) { sema_loop(state, false, false); }
void SemaSyntBlock(benchmark::State& state) { sema_loop(state, true, false); }
void SemaWorkNonblock(benchmark::State& state) { sema_loop(state, false, true); }
void SemaWorkBlock(benchmark::State& state) { sema_loop(state, true, true); }
WEFT_BENCH(SemaUncontended);
WEFT_BENCH(SemaSyntNonblock);
BENCHMARK(SemaSyntBlock)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime();
WEFT_BENCH(SemaWorkNonblock);
BENCHMARK(SemaWorkBlock)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime();

void WaitGroupUncontended(benchmark::State& state) {
  bench::in_parallel(state, [](std::int64_t n) {
    struct alignas(128) {
      weft::wait_group wg;
    } mine;
    for (; n != 0; --n) {
      mine.wg.add(1);
      mine.wg.done();
      mine.wg.wait();
    }
  });
}
void wait_group_loop(benchmark::State& state, bool work) {
  weft::wait_group wg;
  bench::in_parallel(state, [&wg, work](std::int64_t n) {
    for (; n != 0; --n) {
      wg.add(1);
      if (work) bench::work();
      wg.done();
    }
  });
}
void WaitGroupAddDone(benchmark::State& state) { wait_group_loop(state, false); }
void WaitGroupAddDoneWork(benchmark::State& state) { wait_group_loop(state, true); }
void WaitGroupWait(benchmark::State& state) {
  weft::wait_group wg;
  bench::in_parallel(state, [&wg](std::int64_t n) {
    for (; n != 0; --n) wg.wait();
  });
}
// A goroutine for each wait, which really waits.
void WaitGroupActuallyWait(benchmark::State& state) {
  bench::in_parallel(state, [](std::int64_t n) {
    for (; n != 0; --n) {
      weft::wait_group wg;
      wg.go([] {});
      wg.wait();
    }
  });
}
WEFT_BENCH(WaitGroupUncontended);
WEFT_BENCH(WaitGroupAddDone);
WEFT_BENCH(WaitGroupAddDoneWork);
WEFT_BENCH(WaitGroupWait);
WEFT_BENCH(WaitGroupActuallyWait);

}  // namespace
