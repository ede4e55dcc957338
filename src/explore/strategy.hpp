// strategy: who goes next, and which of n, in a search for bad schedules. The same objects serve both faces of the
// exploration engine: model threads in test/checker, goroutines in src/sim.
//
// A driver runs one actor at a time. Before each step that others could notice it asks pick() who goes next, and
// at each free choice (which store a load reads, whom to steal from) choose(). What is enabled, and that an actor
// which has yielded waits until the others have had their turn, is the driver's business.
//
//   random       any enabled actor, each time. Best at shallow bugs that need many alternations.
//   pct          random priorities and d-1 random points at which the running actor falls to the bottom. With n actors
//                and k steps a bug of depth d shows with probability 1/(n k^(d-1)) or better in each run
//                (Burckhardt, Kothari, Musuvathi, Nagarakatte 2010).
//   pos          each pending step has a random priority; when a step is done, those that race with it draw again
//                (Yuan, Yang, Gu 2018). Samples partial orders; best on average.
//   round_robin  each actor in turn; no randomness in pick().
//
// None suffices (RELIABILITY 1): a portfolio alternates them. Not thread-safe; deterministic: the same seed and the
// same questions give the same answers.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/random.hpp"

namespace weft::rt::explore {

struct candidate {
  std::uint32_t actor = 0;   // a small number, given in the order of creation
  bool writes = true;        // its next step changes `object`
  std::uint64_t object = 0;  // what its next step touches; 0: nothing that others see. Any name, equal if the same
};

// Seeded through `mix`, so that seeds may be 1, 2, 3.
class random_source : public xorshift {
 public:
  explicit random_source(std::uint64_t seed = 1) { reseed(seed); }
  void reseed(std::uint64_t seed);
};

// Mixes two words into one that depends on every bit of both.
std::uint64_t mix(std::uint64_t a, std::uint64_t b);

inline constexpr std::uint32_t nobody = ~std::uint32_t{0};

class strategy {
 public:
  virtual ~strategy() = default;
  // A new run. What the strategy learned about the length of runs it keeps.
  virtual void begin(std::uint64_t seed) = 0;
  // Before begin(): the run is taken to have so many picks among two or more, and nothing learned counts. So a run
  // depends on its seed and this number only.
  virtual void expect(std::uint32_t picks) { static_cast<void>(picks); }
  // An index into `enabled`, which is not empty. `current`: the index of the actor that ran last, or nobody.
  virtual std::uint32_t pick(std::span<const candidate> enabled, std::uint32_t current) = 0;
  // In [0, n).
  virtual std::uint32_t choose(std::uint32_t n) = 0;
  // The actor has given way.
  virtual void yielded(std::uint32_t actor) { static_cast<void>(actor); }
};

enum class kind : std::uint8_t { random = 0, pct = 1, pos = 2, round_robin = 3 };

// `depth` is pct's d (1 or more); the others ignore it.
std::unique_ptr<strategy> make_strategy(kind k, std::uint32_t depth = 3);

}  // namespace weft::rt::explore
