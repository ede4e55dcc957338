// sched: yielding, starting, ending, waking. Names are Go's (runtime/proc_test.go) where Go has one.
#include <memory>
#include <vector>

#include "runtime.hpp"

namespace {

// n goroutines that yield; an iteration is one yield.
void yield_among(benchmark::State& state, std::int64_t n) {
  bench::inside(state, [n](benchmark::State& inner) {
    constexpr std::int64_t each = 1000;
    while (inner.KeepRunningBatch(n * each)) {
      weft::wait_group all;
      for (std::int64_t i = 0; i < n; ++i) {
        all.go([] {
          for (std::int64_t k = 0; k < each; ++k) weft::yield();
        });
      }
      all.wait();
    }
  });
}
void Yield2(benchmark::State& state) { yield_among(state, 2); }
void Yield1000(benchmark::State& state) { yield_among(state, 1000); }
WEFT_BENCH(Yield2);
WEFT_BENCH(Yield1000);

// Go: a batch is started by one goroutine each, and each starts the next until the count is used up.
void start_chain(std::int64_t left, weft::wait_group* done) {
  if (left == 0) {
    done->done();
    return;
  }
  weft::go([left, done] { start_chain(left - 1, done); });
}
void create_goroutines(benchmark::State& state, std::int64_t chains) {
  bench::inside(state, [chains](benchmark::State& inner) {
    constexpr std::int64_t each = 10'000;
    while (inner.KeepRunningBatch(chains * each)) {
      weft::wait_group done;
      done.add(chains);
      for (std::int64_t i = 0; i < chains; ++i) start_chain(each, &done);
      done.wait();
    }
  });
}
void CreateGoroutines(benchmark::State& state) { create_goroutines(state, 1); }
void CreateGoroutinesParallel(benchmark::State& state) { create_goroutines(state, state.range(0)); }
WEFT_BENCH(CreateGoroutines);
WEFT_BENCH(CreateGoroutinesParallel);

// Four goroutines a time, each with a callable of six words.
void CreateGoroutinesCapture(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    for (auto _ : inner) {
      constexpr std::int64_t n = 4;
      weft::wait_group all;
      for (std::int64_t i = 0; i < n; ++i) {
        std::int64_t a = i, b = a + 1, c = b + 1, d = c + 1, e = d + 1;
        all.go([a, b, c, d, e] {
          std::int64_t sum = a + b + c + d + e;
          benchmark::DoNotOptimize(sum);
        });
      }
      all.wait();
    }
  });
}
WEFT_BENCH(CreateGoroutinesCapture);

// One goroutine starts all, then waits for all.
void CreateGoroutinesSingle(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    constexpr std::int64_t batch = 10'000;
    while (inner.KeepRunningBatch(batch)) {
      weft::wait_group all;
      all.add(batch);
      for (std::int64_t i = 0; i < batch; ++i) weft::go([&all] { all.done(); });
      all.wait();
    }
  });
}
WEFT_BENCH(CreateGoroutinesSingle);

// The same with a callable that does not fit into the goroutine and goes to the heap.
void CreateGoroutinesLarge(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    constexpr std::int64_t batch = 10'000;
    struct {
      char bytes[100] = {};
    } payload;
    while (inner.KeepRunningBatch(batch)) {
      weft::wait_group all;
      all.add(batch);
      for (std::int64_t i = 0; i < batch; ++i) {
        weft::go([&all, payload] {
          benchmark::DoNotOptimize(payload.bytes[0]);
          all.done();
        });
      }
      all.wait();
    }
  });
}
WEFT_BENCH(CreateGoroutinesLarge);

// A goroutine that never blocks beside two that wake each other: the two must not suffer from the hog's slice. An
// iteration is a round trip. Go's has channels here.
void PingPongHog(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    std::atomic<bool> stop = false;
    weft::semaphore ping(0), pong(0);
    weft::wait_group others;
    others.go([&stop] {
      while (!stop.load(std::memory_order_relaxed)) weft::yield();
    });
    others.go([&] {
      for (;;) {
        ping.acquire();
        if (stop) return;
        pong.release();
      }
    });
    for (auto _ : inner) {
      ping.release();
      pong.acquire();
    }
    stop = true;
    ping.release();
    others.wait();
  });
}
WEFT_BENCH(PingPongHog);

// The same without the hog.
void PingPong(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    bool stop = false;
    weft::semaphore ping(0), pong(0);
    weft::wait_group other;
    other.go([&] {
      for (;;) {
        ping.acquire();
        if (stop) return;
        pong.release();
      }
    });
    for (auto _ : inner) {
      ping.release();
      pong.acquire();
    }
    stop = true;
    ping.release();
    other.wait();
  });
}
WEFT_BENCH(PingPong);

// Goroutine i has woken before goroutine i + 1: a chain of n wake-ups through goroutines with stacks of their own.
void WakeChain1000(benchmark::State& state) {
  bench::inside(state, [](benchmark::State& inner) {
    constexpr std::size_t n = 1000;
    std::vector<std::unique_ptr<weft::semaphore>> turns;
    for (std::size_t i = 0; i <= n; ++i) turns.push_back(std::make_unique<weft::semaphore>(0));
    std::atomic<bool> stop = false;
    weft::wait_group all;
    for (std::size_t i = 0; i < n; ++i) {
      all.go([&turns, &stop, i] {
        // `stop` is read between the two: whoever sees it has been woken by one who has, and wakes the next.
        for (bool last = false; !last;) {
          turns[i]->acquire();
          last = stop.load(std::memory_order_relaxed);
          turns[i + 1]->release();
        }
      });
    }
    while (inner.KeepRunningBatch(n)) {
      turns[0]->release();
      turns[n]->acquire();
    }
    stop = true;
    turns[0]->release();
    all.wait();
  });
}
WEFT_BENCH(WakeChain1000);

void RunEmpty(benchmark::State& state) {
  for (auto _ : state) weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [] {});
}
WEFT_BENCH(RunEmpty);

}  // namespace
