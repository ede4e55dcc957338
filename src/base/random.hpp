// random: the one cheap generator of the runtime and its searches, and the one mixing function. Neither is for secrets.
#pragma once
#include <cstdint>

namespace weft::rt {

inline constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15u;

// splitmix64's last step: each bit of the result depends on every bit of x.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The upper half of a random word as a number in [0, n).
constexpr std::uint32_t scale(std::uint64_t random, std::uint32_t n) {
  return static_cast<std::uint32_t>(((random >> 32) * n) >> 32);
}

// xorshift64*: one word of state, no multiplication chains; good enough to spread thieves and schedules.
class xorshift {
 public:
  constexpr void set_state(std::uint64_t s) { state_ = s != 0 ? s : 1; }  // 0 is the one state that would stay
  constexpr std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  constexpr std::uint32_t below(std::uint32_t n) { return scale(next(), n); }

 private:
  std::uint64_t state_ = 1;
};

}  // namespace weft::rt
