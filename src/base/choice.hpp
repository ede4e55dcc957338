// choice: the one door for every free choice of the scheduler (DESIGN 7).
//
// Which victim first, use of runnext or not, whom to wake, yield here or not: each is choice(site, n),
// an answer in [0, n). Production: a cheap random number, or the site's fixed policy. When a strategy
// is set (exploration, noise) it answers instead; nothing else in the runtime knows which is at work.
#pragma once
#include <cstdint>

namespace weft::rt {

// Names of the places that choose. New ones go at the end: recorded schedules name them by number.
enum class site : std::uint8_t { steal_start, steal_step, treap_ticket };

struct strategy {
  // Returns the choice, below n; must not block or call back into the runtime.
  std::uint32_t (*pick)(strategy* self, site where, std::uint32_t n);
};

class chooser {
 public:
  void seed(std::uint64_t s) {
    state_ = s * 0x9e3779b97f4a7c15u + 1;
    if (state_ == 0) state_ = 1;  // the one state that would stay
  }
  void set_strategy(strategy* s) { strategy_ = s; }

  std::uint32_t operator()(site where, std::uint32_t n) {
    if (strategy_ != nullptr) [[unlikely]]
      return strategy_->pick(strategy_, where, n);
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(next()) * n) >> 32);
  }

 private:
  // xorshift64*, upper half. One word of state, no multiplication chains, good enough to spread thieves.
  std::uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545f4914f6cdd1du) >> 32);
  }

  strategy* strategy_ = nullptr;
  std::uint64_t state_ = 1;
};

}  // namespace weft::rt
