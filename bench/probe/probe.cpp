// probe: one operation of the runtime, as often as asked for, and nothing else around it.
//
// The same loops serve three measures: time (bench/figures.py takes the least of many short rounds), instructions
// (bench/instructions.py counts two runs of different length and divides the difference) and a profiler's look at
// one operation at a time. bench/go/probe.go has the same operations under the same names.
//
// Run     probe OPERATION ROUNDS SIZE [PROCS]
// Prints  four numbers: the least and the median nanoseconds per operation over the rounds, the least nanoseconds
//         of CPU time, and how many operations the rounds had together
//
// A round lasts less than a millisecond where it can: short enough that some rounds are not interrupted on a busy
// machine, and long enough that reading the clock does not matter. The clock is read inside the runtime.
#include <time.h>
#include <unistd.h>
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "probe/door.hpp"
#include "probe/rounds.hpp"

namespace {

using namespace bench;

// Goroutines that do nothing but yield. Whoever makes a round full looks at the clock.
//
// `alike`: all run the same loop. Otherwise one of them runs another: then each yield returns into another function
// than the one that the CPU's return predictor expects.
void yield_among(int rounds, std::uint64_t goroutines, bool alike) {
  constexpr std::uint64_t per_round = 20'000;
  counter yields;
  round_clock clock;
  int round = -1;  // in the one before the first they get their stacks
  std::atomic<bool> stop = false;
  const auto round_is_full = [&] {
    if (round >= 0) clock.stop(per_round);
    stop = ++round == rounds;
    clock.start();
  };
  const auto loop = [&] {
    while (!stop.load(std::memory_order_relaxed)) {
      if (yields.step(1) % per_round == 0) round_is_full();
      weft::yield();
    }
  };
  weft::wait_group all;
  for (std::uint64_t i = alike ? 0 : 1; i < goroutines; ++i) all.go(loop);
  if (!alike) {
    while (!stop.load(std::memory_order_relaxed)) {
      if (yields.step(1) % per_round == 0) round_is_full();
      weft::yield();
    }
  }
  all.wait();
}
void yield_alike(int rounds, std::uint64_t goroutines) { yield_among(rounds, goroutines, true); }
void yield_unlike(int rounds, std::uint64_t goroutines) { yield_among(rounds, goroutines, false); }

// Spawned all, then run all, while main is parked: the last one wakes it.
void spawn(int rounds, std::uint64_t batch) {
  weft::semaphore all_done(0);
  counter left;
  const auto once = [&] {
    left.set(batch);
    for (std::uint64_t i = 0; i < batch; ++i) {
      weft::go([&left, &all_done] {
        if (left.step(~std::uint64_t{0}) == 0) all_done.release();
      });
    }
    all_done.acquire();
  };
  once();  // memory comes from the system in the first round
  for (int r = 0; r < rounds; ++r) round_of(batch, once);
}

// Each goroutine runs before the next is spawned: two switches each, and no running in place.
void spawn_one(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) {
    round_of(n, [n] {
      for (std::uint64_t i = 0; i < n; ++i) {
        weft::go([] {});
        weft::yield();
      }
    });
  }
}

// n goroutines that park on a gate, and are let through when the last has come to it. Each has a stack of its own
// then, which goes back when it ends. `when_all_wait` runs in between.
template <class F>
void park_all(std::uint64_t n, F&& when_all_wait) {
  weft::semaphore gate(0), all_wait(0);
  weft::wait_group ended;
  std::atomic<std::uint64_t> coming = n;
  for (std::uint64_t i = 0; i < n; ++i) {
    ended.go([&] {
      if (coming.fetch_sub(1, std::memory_order_relaxed) == 1) all_wait.release();
      gate.acquire();
    });
  }
  all_wait.acquire();
  weft::yield();  // the last one is still on its way to the gate
  when_all_wait();
  gate.release(static_cast<std::ptrdiff_t>(n));
  ended.wait();
}

void spawn_and_park(int rounds, std::uint64_t n) {
  park_all(n, [] {});
  for (int r = 0; r < rounds; ++r) round_of(n, [n] { park_all(n, [] {}); });
}

// Two goroutines, two semaphores: a round trip is two hand-overs. `locked`: each on a thread of its own, and an operation
// is one hand-over.
void ping_pong(int rounds, std::uint64_t n, bool locked) {
  weft::semaphore ping(0), pong(0);
  bool stop = false;
  weft::wait_group other;
  other.go([&] {
    if (locked) weft::lock_os_thread();
    for (;;) {
      ping.acquire();
      if (stop) break;
      pong.release();
    }
    if (locked) weft::unlock_os_thread();
  });
  if (locked) weft::lock_os_thread();
  for (int r = 0; r < rounds; ++r) {
    round_of(locked ? 2 * n : n, [&] {
      for (std::uint64_t i = 0; i < n; ++i) {
        ping.release();
        pong.acquire();
      }
    });
  }
  stop = true;
  ping.release();
  if (locked) weft::unlock_os_thread();
  other.wait();
}
void semaphore_round_trip(int rounds, std::uint64_t n) { ping_pong(rounds, n, false); }
void locked_ping_pong(int rounds, std::uint64_t n) { ping_pong(rounds, n, true); }

void semaphore_free(int rounds, std::uint64_t n) {
  weft::semaphore s(1);
  loop(rounds, n, [&s] {
    s.acquire();
    s.release();
  });
}

void mutex_free(int rounds, std::uint64_t n) {
  weft::mutex mu;
  loop(rounds, n, [&mu] {
    mu.lock();
    mu.unlock();
  });
}

void wait_group_add_done(int rounds, std::uint64_t n) {
  weft::wait_group wg;
  loop(rounds, n, [&wg] {
    wg.add(1);
    wg.done();
  });
}

// Nobody else runs: one P more, and one less.
void gomaxprocs(int rounds, std::uint64_t n) {
  const int procs = weft::gomaxprocs(0);
  bool more = false;
  loop(rounds, n, [&] { weft::gomaxprocs((more = !more) ? procs + 1 : procs); });
}

void on_big_stack(int rounds, std::uint64_t n) {
  loop(rounds, n, [] { weft::on_big_stack([] {}); });
}

// The door alone, and the same loop without it: their difference is the door's price.
void door(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) round_of(n, [n] { bench::through_the_door(n); });
}
void no_door(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) round_of(n, [n] { bench::past_the_door(n); });
}

double resident_bytes() {
  unsigned long long size = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr || std::fscanf(f, "%llu %llu", &size, &resident) != 2) std::abort();
  std::fclose(f);
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// Not a time: resident bytes per goroutine that has been spawned and has not run. Once per process.
void queued_bytes(int, std::uint64_t n) {
  weft::wait_group wg;
  const double before = resident_bytes();
  for (std::uint64_t i = 0; i < n; ++i) wg.go([] {});
  seen.wall.push_back((resident_bytes() - before) / static_cast<double>(n));
  wg.wait();
}

// The same for goroutines that are parked, each on its own stack.
void parked_bytes(int, std::uint64_t n) {
  const double before = resident_bytes();
  park_all(n, [&] { seen.wall.push_back((resident_bytes() - before) / static_cast<double>(n)); });
}

// Waits for ever. For those who watch what an idle runtime does. A plain thread could end it, or it would be a deadlock.
void idle(int, std::uint64_t) {
  std::thread([] { ::pause(); }).detach();
  weft::semaphore never(0);
  weft::go([] {});  // with two Ps this starts a second thread, which then has nothing to do
  std::puts("idle");
  std::fflush(stdout);
  never.acquire();
}

// Runs of a search: main and four goroutines that count under a mutex, with everything that explore keeps about them.
void explore(int rounds, std::uint64_t runs) {
  for (int i = 0; i < rounds; ++i) {
    weft::sim::options o;
    o.runs = static_cast<int>(runs);
    o.seed = static_cast<std::uint64_t>(i) + 1;
    round_of(runs, [&] {
      weft::sim::explore(o, [] {
        weft::wait_group all;
        weft::mutex m;
        int n = 0;
        for (int k = 0; k < 4; ++k) {
          all.go([&] {
            m.lock();
            ++n;
            m.unlock();
          });
        }
        all.wait();
        weft::sim::check(n == 4);
      });
    });
  }
}

// ---- class runtime, from a plain thread

weft::options embedded;

void runtime_start_stop(int rounds, std::uint64_t n) {
  loop(rounds, n, [] { weft::runtime begun_and_ended(embedded); });
}

// The thread sleeps until the goroutine has ended.
void runtime_run(int rounds, std::uint64_t n) {
  weft::runtime r(embedded);
  r.run([] {});
  loop(rounds, n, [&r] { r.run([] {}); });
}

// All submitted, then all awaited.
void runtime_submit(int rounds, std::uint64_t n) {
  weft::runtime r(embedded);
  std::vector<std::future<void>> results(n);
  const auto once = [&] {
    for (auto& each : results) each = r.submit([] {});
    for (auto& each : results) each.get();
  };
  once();
  for (int i = 0; i < rounds; ++i) round_of(n, once);
}

// n goroutines wait, each on its stack; the runtime is ended under them: each unwinds.
void cancel(int rounds, std::uint64_t n) {
  for (int i = 0; i < rounds; ++i) {
    weft::semaphore never(0);
    weft::runtime r(embedded);
    std::atomic<std::uint64_t> coming = n;
    r.run([&] {
      for (std::uint64_t k = 0; k < n; ++k) {
        weft::go([&] {
          coming.fetch_sub(1, std::memory_order_relaxed);
          never.acquire();
        });
      }
      while (coming.load(std::memory_order_relaxed) != 0) weft::yield();
      weft::yield();  // the last one is still on its way
    });
    round_of(n, [&r] { r.shutdown(); });
  }
}

const std::vector<operation> own_operations = {
    {"yield", yield_alike, "goroutines"},
    {"yield_unlike", yield_unlike, "goroutines"},
    {"spawn", spawn, "goroutines alive at once"},
    {"spawn_one", spawn_one, "operations in a round"},
    {"spawn_and_park", spawn_and_park, "goroutines parked at once"},
    {"semaphore_round_trip", semaphore_round_trip, "operations in a round"},
    {"semaphore_free", semaphore_free, "operations in a round"},
    {"mutex_free", mutex_free, "operations in a round"},
    {"wait_group_add_done", wait_group_add_done, "operations in a round"},
    {"door", door, "operations in a round"},
    {"no_door", no_door, "operations in a round"},
    {"queued_bytes", queued_bytes, "goroutines"},
    {"parked_bytes", parked_bytes, "goroutines"},
    {"locked_ping_pong", locked_ping_pong, "round trips in a round"},
    {"gomaxprocs", gomaxprocs, "operations in a round"},
    {"on_big_stack", on_big_stack, "operations in a round"},
    {"runtime_start_stop", runtime_start_stop, "runtimes in a round", true},
    {"runtime_run", runtime_run, "operations in a round", true},
    {"runtime_submit", runtime_submit, "goroutines submitted at once", true},
    {"cancel", cancel, "goroutines that wait", true},
    {"idle", idle, "nothing"},
    {"explore", explore, "runs in a round", true},
};

std::vector<operation> all_operations() {
  std::vector<operation> all = own_operations;
  all.insert(all.end(), channel_operations.begin(), channel_operations.end());
  all.insert(all.end(), context_operations.begin(), context_operations.end());
  all.insert(all.end(), timer_operations.begin(), timer_operations.end());
  all.insert(all.end(), stall_operations.begin(), stall_operations.end());
  return all;
}

int usage() {
  std::fputs("usage: probe OPERATION ROUNDS SIZE [PROCS]\n\nOPERATION and what SIZE is:\n", stderr);
  for (const operation& o : all_operations()) std::fprintf(stderr, "  %-21s %s\n", o.name, o.size);
  std::fputs(
      "PROCS is 1 unless given; only spawn_and_park, semaphore_…, chan_…, select_…, idle and those from "
      "locked_ping_pong on are right "
      "with more.\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) return usage();
  const int rounds = std::atoi(argv[2]);
  const std::uint64_t size = std::strtoull(argv[3], nullptr, 10);
  const int procs = argc > 4 ? std::atoi(argv[4]) : 1;
  const std::vector<operation> operations = all_operations();
  const auto o = std::find_if(operations.begin(), operations.end(),
                              [&](const operation& each) { return std::strcmp(each.name, argv[1]) == 0; });
  if (o == operations.end() || rounds < 1 || size < 1 || procs < 1) return usage();

  seen.wall.reserve(static_cast<std::size_t>(rounds));
  seen.cpu.reserve(static_cast<std::size_t>(rounds));
  embedded.procs = procs;
  if (o->outside) {
    o->run(rounds, size);
  } else {
    weft::run(weft::options{.procs = procs}, [&] { o->run(rounds, size); });
  }

  std::sort(seen.wall.begin(), seen.wall.end());
  const double cpu = seen.cpu.empty() ? 0 : *std::min_element(seen.cpu.begin(), seen.cpu.end());
  std::printf("%.3f %.3f %.3f %llu\n", seen.wall.front(), seen.wall[seen.wall.size() / 2], cpu,
              static_cast<unsigned long long>(seen.operations));
  return 0;
}
