// Operations of the probe on what others notice when goroutines block or spin: how late a goroutine is that sleeps a millisecond at
// a time, from before the first of them begins. One value for each round, of a second or more.
#include <unistd.h>
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "probe/rounds.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

using sleeper = std::function<void(std::chrono::milliseconds)>;

// In ns, in their order; until `over`.
std::vector<double> lateness(const std::atomic<bool>& over, const sleeper& sleep) {
  std::vector<double> late;
  for (auto last = steady::now(); !over.load(std::memory_order_relaxed);) {
    sleep(1ms);
    const auto now = steady::now();
    late.push_back(static_cast<double>((now - last - 1ms).count()));
    last = now;
  }
  std::sort(late.begin(), late.end());
  return late;
}

void loop_until(const std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) {
  }
}

// Beside n goroutines that each do that until `over`.
std::vector<double> beside(std::uint64_t n, std::chrono::milliseconds time,
                           void (*stall)(const std::atomic<bool>& over)) {
  std::atomic<bool> over = false;
  std::vector<double> late;
  weft::wait_group ticking, stalled;
  ticking.go([&] { late = lateness(over, [](auto d) { weft::sleep(d); }); });
  weft::sleep(20ms);
  const auto end = steady::now() + time;
  for (std::uint64_t i = 0; i < n; ++i) stalled.go([&] { stall(over); });
  while (steady::now() < end) weft::sleep(10ms);
  over = true;
  ticking.wait();
  stalled.wait();
  return late;
}

enum class of { median, most_of_100, worst };

void show(const std::vector<double>& late, of which) {
  const std::size_t n = late.size();
  seen.wall.push_back(which == of::median ? late[n / 2] : which == of::most_of_100 ? late[n * 99 / 100] : late[n - 1]);
  seen.operations += n;
}

template <of which>
void beside_loops(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) show(beside(n, 3s, loop_until), which);
}

template <of which>
void beside_sleepers(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) show(beside(n, 1s, [](const auto&) { ::usleep(900'000); }), which);
}

template <of which>
void beside_calls(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) {
    show(beside(n, 1s,
                [](const auto& over) {
                  while (!over.load(std::memory_order_relaxed)) ::usleep(5000);
                }),
         which);
  }
}

// What the kernel does for a thread beside as many threads that spin.
void a_thread_beside_loops(int rounds, std::uint64_t n) {
  for (int r = 0; r < rounds; ++r) {
    std::atomic<bool> over = false;
    std::vector<double> late;
    std::thread ticking([&] { late = lateness(over, [](auto d) { std::this_thread::sleep_for(d); }); });
    std::this_thread::sleep_for(20ms);
    std::vector<std::thread> loops;
    for (std::uint64_t i = 0; i < n; ++i) loops.emplace_back([&] { loop_until(over); });
    std::this_thread::sleep_for(3s);
    over = true;
    ticking.join();
    for (std::thread& t : loops) t.join();
    show(late, of::worst);
  }
}

}  // namespace

const std::vector<operation> stall_operations = {
    {"beside_loops_99", beside_loops<of::most_of_100>, "goroutines that spin"},
    {"beside_loops_worst", beside_loops<of::worst>, "goroutines that spin"},
    {"threads_beside_loops", a_thread_beside_loops, "threads that spin"},
    {"beside_sleepers_worst", beside_sleepers<of::worst>, "goroutines in usleep(3), for 0.9 s"},
    {"beside_calls_median", beside_calls<of::median>, "goroutines in usleep(3), 5 ms each time"},
    {"beside_calls_worst", beside_calls<of::worst>, "goroutines in usleep(3), 5 ms each time"},
};

}  // namespace bench
