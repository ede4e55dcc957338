#include "base/noise.hpp"

#include "base/floor.hpp"
#include "base/random.hpp"

namespace weft::rt {

#ifdef WEFT_CHECKED
constinit atomic<std::uint32_t> noise_level{0};
#endif

namespace {

constinit atomic<std::uint64_t> state{0};
constinit atomic<std::uint64_t> seed_now{0};
constinit atomic<std::uint64_t> made{0};

// The address of a local tells threads apart that read the same state.
std::uint64_t draw() {
  const std::uint64_t at = state.load(relaxed) + golden_ratio;
  state.store(at, relaxed);
  return mix64(at ^ reinterpret_cast<std::uintptr_t>(&at));
}

std::uint32_t choose(strategy*, site where, std::uint32_t n) {
  const std::uint64_t r = draw();
  const bool settled = static_cast<std::uint32_t>(where) >= first_settled_site;
  if (settled && r % 16 != 0) return 0;
  return scale(r, n);
}

constinit strategy choices{choose};

}  // namespace

void set_noise([[maybe_unused]] std::uint64_t level, std::uint64_t seed) {
  seed_now.store(mix64(seed * golden_ratio + 1), relaxed);
  state.store(seed_now.load(relaxed), relaxed);
#ifdef WEFT_CHECKED
  noise_level.store(static_cast<std::uint32_t>(level), relaxed);
#endif
}

std::uint64_t noise_made() { return made.load(relaxed); }

strategy* noise_choices() { return &choices; }

#ifdef WEFT_CHECKED
void noise_slow(noise_at where) {
  // In this run a quarter of the points is silent, and an eighth is 16 times as loud as the others.
  const std::uint64_t voice = mix64(seed_now.load(relaxed) + static_cast<std::uint64_t>(where)) % 8;
  if (voice < 2) return;
  const std::uint32_t loud = voice == 7 ? 16 : 1;
  const std::uint32_t one_in = 512u >> noise_level.load(relaxed);
  const std::uint64_t r = draw();
  if (one_in > loud && scale(r, one_in) >= loud) return;
  made.store(made.load(relaxed) + 1, relaxed);
  // Of different lengths, because windows are: another core comes by within nanoseconds, a wake-up within
  // microseconds, and a thread that shares our core only when it gets it.
  switch (r % 16) {
    case 0:
    case 1: os::sleep_ns(1000 + static_cast<std::int64_t>((r >> 8) % 60'000)); return;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7: os::yield_thread(); return;
    default:
      for (std::uint64_t i = (std::uint64_t{1} << ((r >> 8) % 9)); i != 0; --i) os::pause();
      return;
  }
}
#endif

}  // namespace weft::rt
