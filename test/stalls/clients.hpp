// clients: fifty goroutines that each use a blocking client library as it is, beside others that tick. What the libraries do is in
// postgres.cpp and redis.cpp.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace stalls {

inline constexpr int clients = 50;
// Of them, those that wait in foreign code for what another one does.
inline constexpr int waiting = 10;

[[noreturn]] inline void client_failed(const char* what, const char* why) {
  std::fprintf(stderr, "%s: %s\n", what, why);
  std::_Exit(1);
}

// client(i) in a goroutine for each i, on two Ps. 100 others sleep for a millisecond over and over meanwhile; each must have gone
// on, and the longest time without is printed. Returns main's status.
template <class F>
int beside_tickers(const char* name, F client) {
  using namespace std::chrono_literals;
  using steady = std::chrono::steady_clock;
  weft::test::set_replay_line(name);
  weft::test::set_watchdog(50);
  return weft::run({.procs = 2}, [&] {
    std::atomic<bool> stop{false};
    weft::wait_group ticking, all;
    std::vector<double> gaps(100);
    std::vector<int> ticks(gaps.size());
    for (std::size_t i = 0; i < gaps.size(); ++i) {
      ticking.go([&, i] {
        for (; !stop.load(std::memory_order_relaxed); ++ticks[i]) {
          const auto before = steady::now();
          weft::sleep(1ms);
          gaps[i] = std::max(gaps[i], std::chrono::duration<double, std::milli>(steady::now() - before).count());
        }
      });
    }
    const auto begin = steady::now();
    for (int i = 0; i < clients; ++i) all.go([&, i] { client(i); });
    all.wait();
    const auto took = std::chrono::duration<double, std::milli>(steady::now() - begin).count();
    stop = true;
    ticking.wait();
    const int least = *std::min_element(ticks.begin(), ticks.end());
    const double longest = *std::max_element(gaps.begin(), gaps.end());
    std::printf(
        "%s: %d clients took %.0f ms; meanwhile at least %d ticks of each other, longest gap %.1f ms; %llu threads\n",
        name, clients, took, least, longest, static_cast<unsigned long long>(weft::test::count_threads()));
    return least >= 10 ? 0 : 1;
  });
}

}  // namespace stalls
