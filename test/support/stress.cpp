#include "support/stress.hpp"
#include "weft/sim.hpp"

#include <cstdio>
#include <cstdlib>

#include "base/check.hpp"
#include "support/leaks.hpp"
#include "weft/sim.hpp"

namespace weft::test {
namespace {

constexpr unsigned hang_seconds = 60;

snapshot before;

}  // namespace

stress::stress(const char* name)
    : name_(name),
      seed_(number_from_env("TEST_SEED", rt::os::random_seed() % 1'000'000'000 + 1)),
      random_(seed_),
      noise_(number_from_env("TEST_NOISE", noise_by_seed)),
      end_(rt::os::now() + static_cast<std::int64_t>(number_from_env("TEST_SECONDS", 3)) * 1'000'000'000) {
  const std::string seconds = std::to_string(number_from_env("TEST_SECONDS", 3));
  std::string noise;
  if constexpr (rt::checked) {
    noise = std::getenv("TEST_NOISE") != nullptr ? " TEST_NOISE=" + std::to_string(noise_) : "";
    std::printf("%s: TEST_SEED=%llu, noise %s\n", name, static_cast<unsigned long long>(seed_),
                noise_ == noise_by_seed ? "by seed" : std::to_string(noise_).c_str());
  } else {
    std::printf("%s: TEST_SEED=%llu\n", name, static_cast<unsigned long long>(seed_));
  }
  std::fflush(stdout);
  set_replay_line("TEST_SECONDS=" + seconds + " TEST_SEED=" + std::to_string(seed_) + noise + ' ' + executable());
  set_watchdog(hang_seconds);
}

bool stress::more() {
  set_watchdog(hang_seconds);
  if (rt::os::now() >= end_) return false;
  ++rounds_;
  return true;
}

int stress::any_procs(int least) {
  constexpr int counts[] = {1, 2, 2, 3, 3, 4, 8};
  int n;
  do {
    n = counts[random_.below(sizeof counts / sizeof counts[0])];
  } while (n < least);
  return n;
}

options stress::any_options(int least_procs) {
  options o;
  o.procs = any_procs(least_procs);
  return o;
}

void stress::before_run(const std::string& more_knobs) {
  std::string knobs = "seed=" + std::to_string(random_.next_seed());
  if (!more_knobs.empty()) knobs += ',' + more_knobs;
  if constexpr (rt::checked) {
    // One run in four is quiet: noise also takes time away, and hides what needs speed.
    const std::uint64_t by_seed = random_.one_in(4) ? 0 : 1 + random_.below(6);
    knobs += ",noise=" + std::to_string(noise_ == noise_by_seed ? by_seed : noise_);
  }
  ::setenv("WEFT_DEBUG", knobs.c_str(), 1);
  before = take_snapshot();
}

void stress::after_run() {
  if (const std::string text = leaked_since(before); !text.empty()) stress_failed("leaked: " + text);
}

int stress::finish(const char* what, std::uint64_t count) {
  clear_watchdog();
  std::printf("%s: %llu rounds, %llu %s, no failure\n", name_, static_cast<unsigned long long>(rounds_),
              static_cast<unsigned long long>(count), what);
  return 0;
}

void stress_failed(const std::string& what) {
  if (sim::active()) sim::check(false, what);  // does not return: the exploration reports it
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  print_replay_sig();
  print_state_sig();
  std::_Exit(1);
}

}  // namespace weft::test
