// choice: the one door for every free choice of the scheduler (DESIGN 7).
//
// Which victim first, use of runnext or not, whom to wake, yield here or not: each is choice(site, n),
// an answer in [0, n). Production: a cheap random number, or, where Go has a policy, settled(site, n): 0, which
// stands for that policy. When a strategy is set (exploration, noise) it answers instead; nothing else in the runtime
// knows which is at work. Every answer of a strategy is one that the scheduler's promises allow.
#pragma once
#include <cstdint>

#include "base/check.hpp"
#include "base/random.hpp"

namespace weft::rt {

// Names of the places that choose. New ones go at the end: recorded schedules name them by number.
enum class site : std::uint8_t {
  steal_start,   // where a thief begins
  steal_step,    // and how it goes on
  treap_ticket,  // balances the semaphore table
  select_case,   // of those that are ready
  // Settled ones; what 0 stands for, and what else there is.
  idle_m,        // the M that slept last; any idle M
  idle_p,        // the P that was laid down last; any idle P
  old_p,         // back from a blocking call: the P it had; 1: any
  next_or_tail,  // a goroutine made runnable is runnext; 1: it goes to the tail
  take_next,     // runnext goes first; 1: the slice ends and it goes to the tail
  yield_here,    // the goroutine goes on after a call; 1: it yields
  spin,          // an M without work looks around; 1: it gives its P up at once
  global_batch,  // the P's share of the global queue; k: k fewer
};
inline constexpr std::uint32_t first_settled_site = static_cast<std::uint32_t>(site::idle_m);

struct strategy {
  // Returns the choice, below n; must not block or call back into the runtime.
  std::uint32_t (*pick)(strategy* self, site where, std::uint32_t n);
};

class chooser {
 public:
  void seed(std::uint64_t s) { random_.set_state(s * golden_ratio + 1); }
  void set_strategy(strategy* s) { strategy_ = s; }

  // A site with a policy: 0, unless a strategy says otherwise. One load and a branch.
  std::uint32_t settled(site where, std::uint32_t n) {
    if (strategy_ != nullptr) [[unlikely]]
      return strategy_->pick(strategy_, where, n);
    return 0;
  }
  // The same on paths where even that is too dear: strategies are asked in checked builds only.
  std::uint32_t settled_if_checked(site where, std::uint32_t n) {
    if constexpr (checked) return settled(where, n);
    return 0;
  }

  std::uint32_t operator()(site where, std::uint32_t n) {
    if (strategy_ != nullptr) [[unlikely]]
      return strategy_->pick(strategy_, where, n);
    return random_.below(n);
  }

 private:
  strategy* strategy_ = nullptr;
  xorshift random_;
};

}  // namespace weft::rt
