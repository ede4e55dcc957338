#include "explore/strategy.hpp"

#include <algorithm>

namespace weft::rt::explore {
namespace {

class random_walk : public strategy {
 public:
  void begin(std::uint64_t seed) override { random_.reseed(seed); }
  std::uint32_t pick(std::span<const candidate> enabled, std::uint32_t) override {
    const auto n = static_cast<std::uint32_t>(enabled.size());
    return n == 1 ? 0 : random_.below(n);
  }
  std::uint32_t choose(std::uint32_t n) override { return random_.below(n); }

 protected:
  random_source random_;
};

class round_robin : public random_walk {
 public:
  void begin(std::uint64_t seed) override {
    random_walk::begin(seed);
    last_ = nobody;
  }
  std::uint32_t pick(std::span<const candidate> enabled, std::uint32_t) override {
    // The next higher number, or the lowest.
    std::uint32_t next = nobody;
    std::uint32_t lowest = 0;
    for (std::uint32_t i = 0; i < enabled.size(); ++i) {
      if (enabled[i].actor < enabled[lowest].actor) lowest = i;
      if ((last_ == nobody || enabled[i].actor > last_) && (next == nobody || enabled[i].actor < enabled[next].actor)) {
        next = i;
      }
    }
    if (next == nobody) next = lowest;
    last_ = enabled[next].actor;
    return next;
  }

 private:
  std::uint32_t last_ = nobody;
};

class pct : public random_walk {
 public:
  explicit pct(std::uint32_t depth) : depth_(std::max(depth, 1u)) {}

  void begin(std::uint64_t seed) override {
    random_walk::begin(seed);
    // The length of a run is not known before it has ended: the longest seen so far stands for it.
    longest_ = expected_ != 0 ? expected_ : std::max(longest_, steps_);
    steps_ = 0;
    floor_ = 0;
    priority_.clear();
    change_.clear();
    for (std::uint32_t i = 1; i < depth_; ++i) {
      change_.push_back({1 + random_.below(std::max(longest_, 1u)), static_cast<std::int64_t>(depth_ - i)});
    }
  }

  void expect(std::uint32_t picks) override { expected_ = picks; }

  std::uint32_t pick(std::span<const candidate> enabled, std::uint32_t) override {
    std::uint32_t best = top(enabled);
    if (enabled.size() > 1) {
      ++steps_;
      for (const change& c : change_) {
        if (c.at != steps_) continue;
        priority_[enabled[best].actor] = c.priority;
        best = top(enabled);
      }
    }
    return best;
  }

  void yielded(std::uint32_t actor) override {
    priority_of(actor);
    priority_[actor] = --floor_;
  }

 private:
  struct change {
    std::uint32_t at;
    std::int64_t priority;  // below every initial one, above every yielded one
  };

  std::uint32_t top(std::span<const candidate> enabled) {
    std::uint32_t best = 0;
    std::int64_t high = INT64_MIN;
    for (std::uint32_t i = 0; i < enabled.size(); ++i) {
      const std::int64_t p = priority_of(enabled[i].actor);
      if (p > high) {
        high = p;
        best = i;
      }
    }
    return best;
  }

  std::int64_t priority_of(std::uint32_t actor) {
    if (actor >= priority_.size()) priority_.resize(actor + 1, 0);
    // 0 stands for "has none yet"; initial ones are far above the change points.
    if (priority_[actor] == 0) priority_[actor] = (std::int64_t{1} << 32) + (random_.next() >> 32);
    return priority_[actor];
  }

  std::uint32_t depth_;
  std::uint32_t longest_ = 32;
  std::uint32_t expected_ = 0;
  std::uint32_t steps_ = 0;
  std::int64_t floor_ = 0;
  std::vector<std::int64_t> priority_;
  std::vector<change> change_;
};

class pos : public random_walk {
 public:
  void begin(std::uint64_t seed) override {
    random_walk::begin(seed);
    priority_.clear();
  }

  std::uint32_t pick(std::span<const candidate> enabled, std::uint32_t) override {
    if (enabled.size() == 1) {
      redraw(enabled[0].actor);
      return 0;
    }
    std::uint32_t best = 0;
    std::uint64_t high = 0;
    for (std::uint32_t i = 0; i < enabled.size(); ++i) {
      const std::uint64_t p = priority_of(enabled[i].actor);
      if (p >= high) {
        high = p;
        best = i;
      }
    }
    const candidate& done = enabled[best];
    redraw(done.actor);
    if (done.object != 0) {
      for (const candidate& c : enabled) {
        if (c.object == done.object && (c.writes || done.writes)) redraw(c.actor);
      }
    }
    return best;
  }

  void yielded(std::uint32_t actor) override {
    priority_of(actor);
    priority_[actor] = 1;
  }

 private:
  void redraw(std::uint32_t actor) {
    if (actor < priority_.size()) priority_[actor] = 0;
  }
  std::uint64_t priority_of(std::uint32_t actor) {
    if (actor >= priority_.size()) priority_.resize(actor + 1, 0);
    if (priority_[actor] == 0) priority_[actor] = random_.next() | 2;
    return priority_[actor];
  }

  std::vector<std::uint64_t> priority_;
};

}  // namespace

void random_source::reseed(std::uint64_t seed) { set_state(mix(seed, golden_ratio)); }

std::uint64_t mix(std::uint64_t a, std::uint64_t b) { return mix64(a + golden_ratio * (b + 1)); }

std::unique_ptr<strategy> make_strategy(kind k, std::uint32_t depth) {
  switch (k) {
    case kind::random: return std::make_unique<random_walk>();
    case kind::pct: return std::make_unique<pct>(depth);
    case kind::pos: return std::make_unique<pos>();
    case kind::round_robin: return std::make_unique<round_robin>();
  }
  return nullptr;
}

}  // namespace weft::rt::explore
