// What the operations of the probe have in common: the rounds and what they have shown.
#pragma once
#include <time.h>

#include <atomic>
#include <cstdint>
#include <vector>

namespace bench {

inline double nanoseconds(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// What the rounds have shown.
struct results {
  std::vector<double> wall, cpu;  // nanoseconds per operation
  std::uint64_t operations = 0;
};
inline results seen;

class round_clock {
 public:
  void start() {
    cpu_ = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    wall_ = nanoseconds(CLOCK_MONOTONIC);
  }
  void stop(std::uint64_t operations) const {
    const double wall = nanoseconds(CLOCK_MONOTONIC) - wall_;
    const double cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_;
    seen.wall.push_back(wall / static_cast<double>(operations));
    seen.cpu.push_back(cpu / static_cast<double>(operations));
    seen.operations += operations;
  }

 private:
  double wall_ = 0, cpu_ = 0;
};

template <class F>
void round_of(std::uint64_t operations, F&& f) {
  round_clock clock;
  clock.start();
  f();
  clock.stop(operations);
}

// For one P only: no two goroutines run at a time, so a count needs no locked instruction, which would be a
// good part of what is measured. The compiler must not keep it in a register, though.
class counter {
 public:
  std::uint64_t get() const { return n_.load(std::memory_order_relaxed); }
  void set(std::uint64_t n) { n_.store(n, std::memory_order_relaxed); }
  std::uint64_t step(std::uint64_t by) {
    set(get() + by);
    return get();
  }

 private:
  std::atomic<std::uint64_t> n_ = 0;
};

template <class F>
void loop(int rounds, std::uint64_t n, F&& operation) {
  for (int r = 0; r < rounds; ++r) {
    round_of(n, [&] {
      for (std::uint64_t i = 0; i < n; ++i) operation();
    });
  }
}

struct operation {
  const char* name;
  void (*run)(int rounds, std::uint64_t size);
  const char* size;      // what SIZE is
  bool outside = false;  // of a runtime
};

extern const std::vector<operation> channel_operations;  // chan.cpp
extern const std::vector<operation> context_operations;  // context.cpp
extern const std::vector<operation> timer_operations;    // timers.cpp
extern const std::vector<operation> stall_operations;    // stalls.cpp

}  // namespace bench
