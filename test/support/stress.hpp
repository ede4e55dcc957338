// stress: what the stress programs share. Each is a main() of its own that runs rounds until its time is over.
//
// Environment  TEST_SECONDS  how long (3)      TEST_SEED  the seed of everything random in it (a fresh one)
//              TEST_NOISE    in checked builds the noise of every run, 0 to 8; without it the seed says
// The seed is printed first. A failure prints what is wrong and the line that repeats it, and ends the process.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace weft::test {

// Small, seeded, copied freely: each goroutine has its own, or no replay would be possible.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567) {}
  std::uint32_t below(std::uint32_t n) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>(((state_ * 0x2545f4914f6cdd1du >> 32) * n) >> 32);
  }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  std::uint64_t next_seed() { return (std::uint64_t{below(0xffffffff)} << 32 | below(0xffffffff)) | 1; }

 private:
  std::uint64_t state_;
};

class stress {
 public:
  // Prints the seed. `name` is the program's.
  explicit stress(const char* name);

  // False when the time is over. Ends the process when a round takes more than a minute: that is a hang.
  bool more();
  std::uint64_t rounds() const { return rounds_; }
  random_source& random() { return random_; }
  // P counts to choose from: 1, 2, 3, 4, and more than there are CPUs.
  int any_procs(int least = 1);
  options any_options(int least_procs = 1);

  // Runs body as main of a runtime with a seed of its own; afterwards nothing may be left behind.
  template <class F>
  void run(const options& o, F&& body) {
    run(o, static_cast<F&&>(body), [] {});
  }
  // The same; between the runtime's end and the look for what is left, `after` ends what else there is. `knobs`: more of
  // them, as in WEFT_DEBUG.
  template <class F, class After>
  void run(const options& o, F&& body, After&& after, const std::string& knobs = {}) {
    before_run(knobs);
    weft::run(o, static_cast<F&&>(body));
    after();
    after_run();
  }

  // Says how much was done. Returns main's exit status.
  int finish(const char* what, std::uint64_t count);

 private:
  void before_run(const std::string& more_knobs);
  void after_run();

  static constexpr std::uint64_t noise_by_seed = ~std::uint64_t{0};

  const char* name_;
  std::uint64_t seed_;
  random_source random_;
  std::uint64_t noise_;
  std::int64_t end_;
  std::uint64_t rounds_ = 0;
};

// Prints and ends the process. From any thread.
[[noreturn]] void stress_failed(const std::string& what);
inline void expect(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    stress_failed(what);
}

}  // namespace weft::test
