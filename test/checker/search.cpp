#include "checker/search.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <functional>

namespace weft::check {
namespace {

[[noreturn]] void unsteady(const char* what) {
  std::fprintf(stderr, "checker: the model is not deterministic: %s differs from the execution before\n", what);
  std::abort();
}

std::uint32_t lowest(mask m) { return static_cast<std::uint32_t>(std::countr_zero(m)); }

struct node {
  bool is_choice = false;
  std::uint8_t cur = 0;
  std::uint8_t n = 0;  // of a choice
  mask enabled = 0;
  mask backtrack = 0;
  mask done = 0;
  mask sleep = 0;
  std::uint32_t preemptions = 0;  // before this node
};

// The common half of the two that walk the whole tree, depth first.
class tree : public search {
 public:
  bool begin() override {
    path_.clear();
    pos_ = 0;
    if (first_) {
      first_ = false;
      return true;
    }
    while (!nodes_.empty()) {
      node& n = nodes_.back();
      if (n.is_choice) {
        if (n.cur + 1 < n.n) {
          ++n.cur;
          return true;
        }
      } else {
        n.done |= mask{1} << n.cur;
        const mask todo = n.backtrack & ~n.done & ~n.sleep;
        if (todo != 0) {
          n.cur = static_cast<std::uint8_t>(lowest(todo));
          return true;
        }
      }
      nodes_.pop_back();
    }
    return false;
  }

  std::uint32_t choose(std::uint32_t n) override {
    if (pos_ == nodes_.size()) {
      node fresh;
      fresh.is_choice = true;
      fresh.n = static_cast<std::uint8_t>(n);
      nodes_.push_back(fresh);
    }
    const node& at = nodes_[pos_++];
    if (!at.is_choice || at.n != n) unsteady("a choice");
    chosen(at.cur);
    return at.cur;
  }

 protected:
  node& replayed(mask enabled) {
    node& n = nodes_[pos_++];
    if (n.is_choice || n.enabled != enabled) unsteady("who is enabled");
    if ((enabled & (enabled - 1)) != 0) chosen(n.cur);
    return n;
  }
  node& added(mask enabled, std::uint32_t cur) {
    node fresh;
    fresh.enabled = enabled;
    fresh.cur = static_cast<std::uint8_t>(cur);
    nodes_.push_back(fresh);
    ++pos_;
    if ((enabled & (enabled - 1)) != 0) chosen(cur);
    return nodes_.back();
  }

  std::vector<node> nodes_;
  std::size_t pos_ = 0;

 private:
  bool first_ = true;
};

class full_search : public tree {
 public:
  explicit full_search(std::uint32_t preemptions) : bound_(preemptions) {}

  bool begin() override {
    switched_ = 0;
    return tree::begin();
  }

  int pick(mask enabled, std::uint32_t current, const step*) override {
    const mask bit = mask{1} << current;
    const bool could_go_on = (enabled & bit) != 0;
    if (pos_ == nodes_.size()) {
      node& n = added(enabled, could_go_on ? current : lowest(enabled));
      n.preemptions = switched_;
      n.backtrack = could_go_on && switched_ >= bound_ ? bit : enabled;
    } else {
      replayed(enabled);
    }
    const std::uint32_t t = nodes_[pos_ - 1].cur;
    if (could_go_on && t != current) ++switched_;
    return static_cast<int>(t);
  }

 private:
  std::uint32_t bound_;
  std::uint32_t switched_ = 0;
};

// Source-DPOR. The trace has its own happens-before, by dependence (not the memory model's): `dclock` says for each
// thread which of its steps are before.
class dpor : public tree {
 public:
  bool begin() override {
    sleep_ = 0;
    trace_.clear();
    for (clock& c : after_) c = clock{};
    last_global_ = none;
    ++generation_;
    if (!tree::begin()) return false;
    // Races among the steps that are done again were found before; the last one is new.
    fresh_from_ = nodes_.empty() ? 0 : nodes_.size();
    return true;
  }

  int pick(mask enabled, std::uint32_t current, const step* pending) override {
    pending_ = pending;
    if (pos_ == nodes_.size()) {
      const mask awake = enabled & ~sleep_;
      if (awake == 0) return -1;
      const std::uint32_t t = (awake >> current & 1) != 0 ? current : lowest(awake);
      node& n = added(enabled, t);
      n.sleep = sleep_;
      n.backtrack = mask{1} << t;
      // A timeout that another step would take away is in no trace, so no race would ask for it.
      for (mask m = awake; m != 0; m &= m - 1) {
        if (pending[lowest(m)].what == act::timeout) n.backtrack |= mask{1} << lowest(m);
      }
    } else {
      replayed(enabled);
    }
    const node& n = nodes_[pos_ - 1];
    sleep_ = n.sleep | (n.done & ~(mask{1} << n.cur));
    return n.cur;
  }

  void doing(std::uint32_t t, const step& s) override {
    // Who sleeps wakes when something happens that matters to it.
    for (mask m = sleep_; m != 0; m &= m - 1) {
      const std::uint32_t u = lowest(m);
      if (u == t || dependent(pending_[u], s)) sleep_ &= ~(mask{1} << u);
    }
    const auto index = static_cast<std::uint32_t>(trace_.size());
    trace_.push_back({t, static_cast<std::uint32_t>(pos_ - 1), s, {}});
    clock c = after_[t];
    before_ = c;
    const bool look = pos_ >= fresh_from_;
    // Newest first: what is ordered through a later step is no race of its own.
    found_.clear();
    if (s.global) {
      for (std::uint32_t u = 0; u < max_threads; ++u) {
        if (u != t && last_of_[u].generation == generation_) add(last_of_[u].index);
      }
    }
    if (last_global_ != none) add(last_global_);
    for (int i = 0; i < 2; ++i) {
      if (s.object[i] == 0) continue;
      object& o = object_of(s.object[i]);
      if (o.write != none) add(o.write);
      if (s.writes[i]) {
        for (std::uint32_t u = 0; u < max_threads; ++u) {
          if (o.read[u] != none) add(o.read[u]);
        }
      }
    }
    std::sort(found_.begin(), found_.end(), std::greater<>());
    for (const std::uint32_t r : found_) {
      const entry& e = trace_[r];
      if (e.thread == t || c.at[e.thread] > r) continue;
      if (look) reverse(r, index, c);
      c.join(e.dclock);
      c.raise(e.thread, r + 1);
    }
    // The unlock before it is no step that could have come after: what races is the two locks, and that is done above.
    if (s.what == act::lock || s.what == act::try_lock) c.join(object_of(held_state_of(s.object[0])).released);
    c.raise(t, index + 1);
    if (s.what == act::unlock) object_of(s.object[0]).released = c;
    trace_[index].dclock = c;
    after_[t] = c;
    last_of_[t] = {generation_, index};
    if (s.global) last_global_ = index;
    for (int i = 0; i < 2; ++i) {
      if (s.object[i] == 0) continue;
      object& o = object_of(s.object[i]);
      if (s.writes[i]) {
        o.write = index;
        for (std::uint32_t& r : o.read) r = none;
      } else {
        o.read[t] = index;
      }
    }
  }

  void caused(std::uint32_t by, std::uint32_t thread) override { after_[thread].join(after_[by]); }

  // If the store is not ordered before the load by anything else, the execution in which the load comes first is tried
  // too, and shows what it would have read there. Only past a store that must come before does a stale read show
  // something of its own.
  bool looks_past(std::uint32_t thread, std::uint32_t at) override { return at == 0 || before_.at[thread] >= at; }
  bool reduces() const override { return true; }

 protected:
  const step* pending_ = nullptr;
  std::size_t fresh_from_ = 0;

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  // Per thread the number of steps, as index + 1 in the trace, that are before.
  struct clock {
    std::uint32_t at[max_threads] = {};
    void join(const clock& o) {
      for (std::uint32_t i = 0; i < max_threads; ++i) at[i] = std::max(at[i], o.at[i]);
    }
    void raise(std::uint32_t t, std::uint32_t v) { at[t] = std::max(at[t], v); }
  };
  struct entry {
    std::uint32_t thread;
    std::uint32_t node;
    step what;
    clock dclock;
  };
  struct object {
    std::uint64_t name = 0;
    std::uint32_t generation = 0;
    std::uint32_t write = none;
    std::uint32_t read[max_threads];
    clock released;  // of a lock's state: who unlocked it last
  };

  void add(std::uint32_t index) {
    if (std::find(found_.begin(), found_.end(), index) == found_.end()) found_.push_back(index);
  }

  object& object_of(std::uint64_t name) {
    std::uint32_t i = static_cast<std::uint32_t>((name * 0x9e3779b97f4a7c15u) >> 52);
    while (objects_[i].generation == generation_ && objects_[i].name != name) i = (i + 1) % object_slots;
    object& o = objects_[i];
    if (o.generation != generation_) {
      o.name = name;
      o.generation = generation_;
      o.write = none;
      for (std::uint32_t& r : o.read) r = none;
      o.released = clock{};
    }
    return o;
  }

  // Step `late` (of clock c so far, without it) races with step `early`: somebody who can begin the steps that do not
  // depend on `early`, and lead to `late` before it, must be tried in its place.
  void reverse(std::uint32_t early, std::uint32_t late, const clock& c) {
    const std::uint32_t u = trace_[early].thread;
    std::uint32_t first[max_threads];
    std::fill(std::begin(first), std::end(first), none);
    mask initials = 0;
    for (std::uint32_t k = early + 1; k <= late; ++k) {
      const entry& e = trace_[k];
      const clock& before = k == late ? c : e.dclock;
      if (before.at[u] > early) continue;  // it comes after `early`
      if (first[e.thread] != none) continue;
      bool begins = true;
      for (std::uint32_t r = 0; r < max_threads && begins; ++r) {
        if (r != e.thread && first[r] != none && before.at[r] > first[r]) begins = false;
      }
      first[e.thread] = k;
      if (begins) initials |= mask{1} << e.thread;
    }
    node& n = nodes_[trace_[early].node];
    if ((initials & (n.backtrack | n.done)) != 0) return;
    const mask possible = initials & n.enabled;
    if (possible == 0) {
      // Fairness kept them away then. Everyone who was there must be tried.
      n.backtrack |= n.enabled;
      return;
    }
    const std::uint32_t t = trace_[late].thread;
    n.backtrack |= (possible >> t & 1) != 0 ? mask{1} << t : mask{1} << lowest(possible);
  }

  struct last {
    std::uint32_t generation = 0;
    std::uint32_t index = 0;
  };

  mask sleep_ = 0;
  std::vector<entry> trace_;
  std::vector<std::uint32_t> found_;
  clock after_[max_threads];
  clock before_;  // of the step under way, without what it conflicts with
  last last_of_[max_threads];
  std::uint32_t last_global_ = none;
  std::uint32_t generation_ = 0;
  static constexpr std::uint32_t object_slots = 4096;
  std::vector<object> objects_ = std::vector<object>(object_slots);
};

class sampling : public search {
 public:
  sampling(std::vector<std::unique_ptr<rt::explore::strategy>> strategies, std::uint64_t seed)
      : strategies_(std::move(strategies)), seed_(seed) {}

  bool begin() override {
    path_.clear();
    now_ = strategies_[run_ % strategies_.size()].get();
    now_->begin(rt::explore::mix(seed_, run_++));
    return true;
  }
  int pick(mask enabled, std::uint32_t current, const step* pending) override {
    if ((enabled & (enabled - 1)) == 0) return static_cast<int>(lowest(enabled));
    rt::explore::candidate c[max_threads];
    std::uint32_t n = 0;
    std::uint32_t at = rt::explore::nobody;
    for (mask m = enabled; m != 0; m &= m - 1) {
      const std::uint32_t t = lowest(m);
      if (t == current) at = n;
      c[n++] = {t, pending[t].writes[0], pending[t].object[0]};
    }
    const std::uint32_t t = c[now_->pick({c, n}, at)].actor;
    chosen(t);
    return static_cast<int>(t);
  }
  std::uint32_t choose(std::uint32_t n) override {
    const std::uint32_t c = now_->choose(n);
    chosen(c);
    return c;
  }
  void yielded(std::uint32_t thread) override { now_->yielded(thread); }

 private:
  std::vector<std::unique_ptr<rt::explore::strategy>> strategies_;
  std::uint64_t seed_;
  std::uint64_t run_ = 0;
  rt::explore::strategy* now_ = nullptr;
};

// The decisions of a path. Over `dpor` it leaves out the reads that dpor left out.
template <class Base>
class replay_search : public Base {
 public:
  explicit replay_search(std::vector<std::uint8_t> path) : given_(std::move(path)) {}
  bool begin() override {
    if (at_ != 0) return false;
    return Base::begin();
  }
  int pick(mask enabled, std::uint32_t current, const step* pending) override {
    this->sees(pending);
    if ((enabled & (enabled - 1)) == 0) return static_cast<int>(lowest(enabled));
    std::uint32_t t = (enabled >> current & 1) != 0 ? current : lowest(enabled);
    if (at_ < given_.size()) {
      t = given_[at_++];
      if ((enabled >> t & 1) == 0) other_program();
    }
    this->chosen(t);
    return static_cast<int>(t);
  }
  std::uint32_t choose(std::uint32_t n) override {
    std::uint32_t c = 0;
    if (at_ < given_.size()) {
      c = given_[at_++];
      if (c >= n) other_program();
    }
    this->chosen(c);
    return c;
  }

 private:
  [[noreturn]] static void other_program() {
    std::fprintf(stderr, "checker: this path belongs to another model, or to an older version of it\n");
    std::exit(2);
  }
  std::vector<std::uint8_t> given_;
  std::size_t at_ = 0;
};

class plain_base : public search {
 public:
  bool begin() override {
    path_.clear();
    return true;
  }
  void sees(const step*) {}
};

// Follows what is dependent, and looks for no race to reverse.
class following_dpor : public dpor {
 public:
  bool begin() override {
    const bool first = dpor::begin();
    fresh_from_ = ~std::size_t{0};
    return first;
  }
  void sees(const step* pending) { pending_ = pending; }
};

}  // namespace

std::unique_ptr<search> exhaustive() { return std::make_unique<dpor>(); }
std::unique_ptr<search> full(std::uint32_t preemptions) { return std::make_unique<full_search>(preemptions); }

std::unique_ptr<search> sampled(rt::explore::kind k, std::uint32_t depth, std::uint64_t seed) {
  std::vector<std::unique_ptr<rt::explore::strategy>> one;
  one.push_back(rt::explore::make_strategy(k, depth));
  return std::make_unique<sampling>(std::move(one), seed);
}

std::unique_ptr<search> portfolio(std::uint64_t seed) {
  using rt::explore::kind;
  using rt::explore::make_strategy;
  std::vector<std::unique_ptr<rt::explore::strategy>> all;
  all.push_back(make_strategy(kind::pos));
  all.push_back(make_strategy(kind::pct, 2));
  all.push_back(make_strategy(kind::pos));
  all.push_back(make_strategy(kind::pct, 3));
  all.push_back(make_strategy(kind::random));
  all.push_back(make_strategy(kind::pct, 4));
  return std::make_unique<sampling>(std::move(all), seed);
}

std::unique_ptr<search> replay(std::vector<std::uint8_t> path, bool reduced) {
  if (reduced) return std::make_unique<replay_search<following_dpor>>(std::move(path));
  return std::make_unique<replay_search<plain_base>>(std::move(path));
}

namespace {
constexpr char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
}

std::string path_text(const std::vector<std::uint8_t>& path, bool reduced) {
  std::string text = reduced ? "." : "";
  for (const std::uint8_t c : path) {
    if (c >= 36) std::abort();  // no choice has so many answers
    text += digits[c];
  }
  return text.empty() ? "-" : text;
}

bool parse_path(const std::string& text, std::vector<std::uint8_t>& out, bool& reduced) {
  out.clear();
  reduced = !text.empty() && text[0] == '.';
  if (text == "-") return true;
  for (const char c : text.substr(reduced ? 1 : 0)) {
    const char* at = std::find(digits, digits + 36, c);
    if (at == digits + 36) return false;
    out.push_back(static_cast<std::uint8_t>(at - digits));
  }
  return !text.empty();
}

}  // namespace weft::check
