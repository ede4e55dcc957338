// Operations of the probe on timers. Those that sleep measure how late, or how much CPU, and say so as one value.
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "probe/rounds.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

// The usual life of a timeout: set, and stopped before its time.
void timer_set_stop(int rounds, std::uint64_t n) {
  loop(rounds, n, [] {
    const weft::timer t(30s);
    t.stop();
  });
}

// In a heap, with so many others of the same length that stay: the timeouts of a server.
void func_set_stop(int rounds, std::uint64_t live) {
  std::vector<weft::timer> others;
  others.reserve(live);
  for (std::uint64_t i = 0; i < live; ++i) others.push_back(weft::after_func(30s, [] {}));
  loop(rounds, 10'000, [] { weft::after_func(30s, [] {}).stop(); });
  for (const weft::timer& t : others) t.stop();
}

void timer_reset(int rounds, std::uint64_t n) {
  const auto t = weft::after_func(30s, [] {});
  loop(rounds, n, [&] { t.reset(30s); });
  t.stop();
}

// A select that times out never, on a channel with a value: what the limit costs.
void select_with_limit(int rounds, std::uint64_t n) {
  const weft::chan<int> c(1);
  loop(rounds, n, [&] {
    c.send(1);
    weft::select(weft::recv(c), weft::after(30s));
  });
}

void one_value(double ns, std::uint64_t operations) {
  seen.wall.push_back(ns);
  seen.operations += operations;
}

// How late the median of so many sleeps is, on a runtime that has nothing else to do.
void sleep_late(int rounds, std::uint64_t us) {
  const auto d = std::chrono::microseconds(us);
  for (int r = 0; r < rounds; ++r) {
    std::vector<double> late;
    for (int i = 0; i < 200; ++i) {
      const auto begin = weft::clock::now();
      weft::sleep(d);
      late.push_back(static_cast<double>((weft::clock::now() - begin - d).count()));
    }
    std::nth_element(late.begin(), late.begin() + 100, late.end());
    one_value(late[100], 200);
  }
}

struct sleepers {
  double cpu = 0;  // ns, from when all sleep to when all have ended
  double p99 = 0;  // ns too late
};

// All sleep before the first wakes; then n wake within 100 ms.
sleepers let_sleep(std::uint64_t n) {
  std::vector<std::int64_t> late(n);
  std::atomic<std::uint64_t> in = 0;
  weft::wait_group all;
  const auto base = weft::clock::now() + 2s;
  for (std::uint64_t i = 0; i < n; ++i) {
    all.go([&, i] {
      const auto until = base + std::chrono::microseconds(1000 + i * 7919 % 99'000);
      in.fetch_add(1, std::memory_order_relaxed);
      weft::this_goroutine::sleep_until(until);
      late[i] = (weft::clock::now() - until).count();
    });
  }
  while (in.load(std::memory_order_relaxed) < n) weft::yield();
  weft::this_goroutine::sleep_until(base);
  const double before = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  all.wait();
  sleepers s;
  s.cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - before;
  std::nth_element(late.begin(), late.begin() + static_cast<std::ptrdiff_t>(n * 99 / 100), late.end());
  s.p99 = static_cast<double>(late[n * 99 / 100]);
  return s;
}

void sleepers_cpu(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) one_value(let_sleep(n).cpu, n);
}
void sleepers_late(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) one_value(let_sleep(n).p99, n);
}

// CPU time of a second in which somebody wakes so many times.
void tick_cpu(int rounds, std::uint64_t hz) {
  for (int r = 0; r < rounds; ++r) {
    const weft::ticker t(std::chrono::nanoseconds(1'000'000'000 / hz));
    t.channel().recv();
    const double before = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    for (std::uint64_t i = 0; i < hz; ++i) t.channel().recv();
    one_value(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - before, hz);
  }
}

}  // namespace

const std::vector<operation> timer_operations = {
    {"timer_set_stop", timer_set_stop, "operations in a round"},
    {"func_set_stop", func_set_stop, "timers that stay meanwhile"},
    {"timer_reset", timer_reset, "operations in a round"},
    {"select_with_limit", select_with_limit, "operations in a round"},
    {"sleep_late", sleep_late, "microseconds of a sleep"},
    {"sleepers_cpu", sleepers_cpu, "goroutines that sleep"},
    {"sleepers_late", sleepers_late, "goroutines that sleep"},
    {"tick_cpu", tick_cpu, "ticks a second"},
};

}  // namespace bench
