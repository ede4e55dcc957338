// explore: many runs, the first that fails, and what there is to say about it.
//
// The seed alone says what a run does: its low bits name the strategy, its depth and the length it expects, so that
// nothing that was learned from other runs plays a part. The report is made by doing the run again, with everything
// written down: the search itself writes down nothing but a hash.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_set>

#include "arch/getg.hpp"
#include "base/print.hpp"
#include "base/span_of_time.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sim/engine.hpp"
#include "sim/exhaustive.hpp"
#include "sim/report.hpp"
#include "weft/error.hpp"

namespace weft::rt::lab {
namespace {

using v0::detail::program;
using v0::sim::failure;
using v0::sim::failure_kind;
using v0::sim::options;
using v0::sim::summary;

// ---- seeds
//
//   63 .. 12 random | 11 .. 6 length | 5 .. 2 depth | 1 .. 0 strategy

constexpr std::uint32_t max_depth = 15;

// Lengths grow by a quarter of an octave: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, …
std::uint32_t length_of(std::uint32_t code) { return (4 + code % 4) << (code / 4); }
std::uint32_t code_of_length(std::uint32_t picks) {
  std::uint32_t code = 0;
  while (code < 63 && length_of(code) < picks) ++code;
  return code;
}

std::uint64_t make_seed(std::uint64_t random, explore::kind k, std::uint32_t depth, std::uint32_t picks) {
  return random << 12 | code_of_length(picks) << 6 | depth << 2 | static_cast<std::uint64_t>(k);
}

// How a seed is run. Strategies are kept: making one costs more than many a run.
class strategies {
 public:
  explore::strategy* begin(std::uint64_t seed) {
    const auto k = static_cast<explore::kind>(seed & 3);
    const auto depth = static_cast<std::uint32_t>(seed >> 2 & max_depth);
    std::unique_ptr<explore::strategy>& s = made_[static_cast<std::size_t>(k)][k == explore::kind::pct ? depth : 0];
    if (s == nullptr) s = explore::make_strategy(k, depth);
    s->expect(length_of(seed >> 6 & 63));
    s->begin(seed);
    return s.get();
  }

 private:
  std::unique_ptr<explore::strategy> made_[4][max_depth + 1];
};

const char* strategy_name(std::uint64_t seed) {
  constexpr const char* names[] = {"random", "pct", "pos", "round robin"};
  return names[seed & 3];
}

v0::sim::strategy strategy_of(std::uint64_t seed) {
  using v0::sim::strategy;
  constexpr strategy all[] = {strategy::random, strategy::pct, strategy::pos, strategy::round_robin};
  return all[seed & 3];
}

std::uint64_t nth_seed(const options& o, std::uint64_t i, std::uint32_t picks) {
  const std::uint64_t random = explore::mix(o.seed, i);
  const auto depth = static_cast<std::uint32_t>(o.depth);
  using v0::sim::strategy;
  switch (o.strategy) {
    case strategy::random: return make_seed(random, explore::kind::random, 0, picks);
    case strategy::pct: return make_seed(random, explore::kind::pct, depth, picks);
    case strategy::pos: return make_seed(random, explore::kind::pos, 0, picks);
    case strategy::round_robin: return make_seed(random, explore::kind::round_robin, 0, picks);
    case strategy::portfolio:
    case strategy::exhaustive: break;  // has no seeds
  }
  if (i % 3 == 0) return make_seed(random, explore::kind::pos, 0, picks);
  if (i % 3 == 1) return make_seed(random, explore::kind::random, 0, picks);
  return make_seed(random, explore::kind::pct, 2 + static_cast<std::uint32_t>(i / 3) % depth, picks);
}

std::string hex(std::uint64_t v, std::size_t digits) {
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; v >>= 4) text[i] = "0123456789abcdef"[v & 15];
  return text;
}

std::uint32_t fingerprint(std::uint64_t hash) { return static_cast<std::uint32_t>(hash ^ hash >> 32); }

std::string seed_text(std::uint64_t seed, std::uint64_t hash) {
  return "0x" + hex(seed, 16) + "-" + hex(fingerprint(hash), 8);
}

// What to replay: a seed, perhaps with a fingerprint, or choices; in front of it perhaps, with a colon, the name of the
// exploration that it is for.
struct recipe {
  std::string_view name;
  bool by_choices = false;
  std::uint64_t seed = 0;
  bool has_fingerprint = false;
  std::uint32_t wanted = 0;
  choice_list choices;
};

// All of s as a number; hexadecimal with 0x, or always.
bool to_number(std::string_view s, bool always_hex, std::uint64_t* out) {
  std::uint64_t base = 10;
  if (s.starts_with("0x") || s.starts_with("0X")) {
    base = 16;
    s.remove_prefix(2);
  } else if (always_hex) {
    base = 16;
  }
  if (s.empty()) return false;
  std::uint64_t v = 0;
  for (const char c : s) {
    std::uint64_t digit = 16;
    if (c >= '0' && c <= '9') digit = static_cast<std::uint64_t>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<std::uint64_t>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') digit = static_cast<std::uint64_t>(c - 'A') + 10;
    if (digit >= base || v > (~std::uint64_t{0} - digit) / base) return false;
    v = v * base + digit;
  }
  *out = v;
  return true;
}

recipe parse_recipe(std::string_view text, const std::string& from) {
  recipe r;
  const std::string_view whole = text;
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && !text.starts_with("sim:")) {
    r.name = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  if (text.starts_with("sim:")) {
    r.by_choices = true;
    r.choices = parse_choices(text);
    return r;
  }
  const std::size_t dash = text.find('-');
  std::uint64_t print = 0;
  r.has_fingerprint = dash != std::string_view::npos;
  if (!to_number(text.substr(0, dash), false, &r.seed) ||
      (r.has_fingerprint && (!to_number(text.substr(dash + 1), true, &print) || print > 0xffffffff))) {
    throw v0::error("weft: bad value " + from + "\"" + std::string(whole) +
                    "\": takes a seed (a number, or 0x…, with or without -fingerprint) or a choice string (sim:…), "
                    "with or without the name of an exploration and a colon in front");
  }
  r.wanted = static_cast<std::uint32_t>(print);
  return r;
}

// ---- the environment

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

[[noreturn]] void bad_variable(const char* name, const char* value, const char* takes) {
  throw v0::error(std::string("weft: bad value ") + name + "=" + value + ": takes " + takes);
}

int runs_from_env(int otherwise) {
  const char* value = variable("WEFT_SIM_RUNS");
  if (value == nullptr) return otherwise;
  std::uint64_t v = 0;
  if (!to_number(value, false, &v) || v < 1 || v > 0x7fffffff) bad_variable("WEFT_SIM_RUNS", value, "1 to 2147483647");
  return static_cast<int>(v);
}

std::int64_t time_from_env(std::int64_t otherwise) {
  const char* value = variable("WEFT_SIM_TIME");
  if (value == nullptr) return otherwise;
  std::int64_t ns = 0;
  if (!parse_span_of_time(value, &ns) || ns == 0) {
    bad_variable("WEFT_SIM_TIME", value, "a number of seconds, or with a unit: 500ms, 10s, 5m");
  }
  return ns;
}

bool trace_from_env() {
  const char* value = variable("WEFT_SIM_TRACE");
  if (value == nullptr || std::strcmp(value, "0") == 0) return false;
  if (std::strcmp(value, "1") != 0) bad_variable("WEFT_SIM_TRACE", value, "1 or 0");
  return true;
}

void check_options(const options& o) {
  const auto bad = [](const char* name, long long value, const char* range) {
    throw v0::error(std::string("weft::sim: ") + name + " " + std::to_string(value) + ": must be " + range);
  };
  const std::string_view name(o.name.data, o.name.size);
  if (name == "sim" || name.find_first_of(": \t\n\"'") != std::string_view::npos) {
    throw v0::error("weft::sim: name \"" + std::string(name) +
                    "\": must not be sim, nor contain a colon, a quote or white space");
  }
  if (o.runs < 1) bad("runs", o.runs, "1 or more");
  if (o.time.count() < 0) bad("time", o.time.count(), "0 (no limit) or more");
  const bool all = o.strategy == v0::sim::strategy::exhaustive;
  if (o.depth < (all ? 0 : 1) || o.depth > 14) bad("depth", o.depth, all ? "0 to 14" : "1 to 14");
  if (o.max_steps < 1) bad("max_steps", 0, "1 or more");
  if (static_cast<std::uint8_t>(o.strategy) > static_cast<std::uint8_t>(v0::sim::strategy::exhaustive)) {
    bad("strategy", static_cast<int>(o.strategy), "one of weft::sim::strategy");
  }
}

// ---- one exploration

// The process has one at a time: it opens the door for all threads.
class claim {
 public:
  explicit claim(exploration* by) {
    mutex_guard guard(the_process.explore_lock);
    if (the_process.explorer != nullptr) {
      throw v0::error("weft::sim: another exploration runs on another thread; there can be one in a process");
    }
    the_process.explorer = by;
    __atomic_store_n(&v0::detail::door, 1, __ATOMIC_RELAXED);
  }
  ~claim() {
    mutex_guard guard(the_process.explore_lock);
    the_process.explorer = nullptr;
    __atomic_store_n(&v0::detail::door, 0, __ATOMIC_RELAXED);
  }
  claim(const claim&) = delete;
  claim& operator=(const claim&) = delete;
};

void refuse_inside() {
  if (const g* gp = getg()) {
    throw v0::error(gp->rt->explore != nullptr
                        ? "weft::sim: explore and run cannot be nested: this is a goroutine of an exploration"
                        : "weft::sim: explore and run are for plain threads, and this is a goroutine");
  }
}

bool same_end(const result& a, const result& b) {
  return a.failed == b.failed && (!a.failed || a.kind == b.kind) && a.hash == b.hash;
}

// For minimizing: the hash differs by design.
bool same_failure(const result& a, const result& b) { return b.failed && a.kind == b.kind && a.text == b.text; }

class session {
 public:
  session(const options& o, program p) : options_(o), program_(p), trace_(trace_from_env()), claim_(&engine_) {}

  summary explore_all() {
    return options_.strategy == v0::sim::strategy::exhaustive ? one_after_the_other() : by_seeds();
  }

  summary by_seeds() {
    const std::int64_t begin = os::now();
    const std::int64_t limit = options_.time.count();
    std::unordered_set<std::uint64_t> seen;
    std::uint32_t picks = 32;
    for (int i = 0; i < options_.runs; ++i) {
      if (limit != 0 && i != 0 && os::now() - begin >= limit) break;
      const std::uint64_t seed = nth_seed(options_, static_cast<std::uint64_t>(i), picks);
      const bool twice = options_.check_determinism && i % 256 == 0;
      const result r = run_seed(seed, trace_, twice);
      ++summary_.runs;
      count(r);
      picks = std::max(picks, r.picks);
      seen.insert(r.hash);
      if (r.failed) report(seed, r);
      if (twice) compare(seed, r, run_seed(seed, false, true));
    }
    summary_.distinct = static_cast<int>(seen.size());
    return summary_;
  }

  summary one_after_the_other() {
    const std::int64_t begin = os::now();
    const std::int64_t limit = options_.time.count();
    exhaustive search(options_.depth == 0 ? exhaustive::any : static_cast<std::uint32_t>(options_.depth));
    for (int i = 0; i < options_.runs && !summary_.complete; ++i) {
      if (limit != 0 && i != 0 && os::now() - begin >= limit) break;
      const bool twice = options_.check_determinism && i % 256 == 0;
      const result r = run_way(search, trace_, twice);
      ++summary_.runs;
      count(r);
      if (search.diverged()) compare(0, run_way(search, false, true), run_way(search, false, true), true);
      if (r.failed) report_way(search, r);
      if (twice) compare(0, r, run_way(search, false, true), false);
      summary_.complete = !search.next();
    }
    summary_.distinct = summary_.runs;
    return summary_;
  }

  summary replay(const recipe& what, bool say) {
    const result r = what.by_choices ? run_choices(what.choices, trace_) : run_seed(what.seed, trace_, false);
    summary_.runs = summary_.distinct = 1;
    count(r);
    summary_.choices = static_cast<std::uint32_t>(what.choices.size());
    summary_.applied = r.applied;
    if (what.has_fingerprint && fingerprint(r.hash) != what.wanted) {
      throw v0::error(
          "weft::sim: seed 0x" + hex(what.seed, 16) + " is another program's, or an older version's of this one: " +
          "the schedule that it was found with has the fingerprint " + hex(what.wanted, 8) + ", here it is " +
          hex(fingerprint(r.hash), 8) + "; a choice string would still fit as far as it can");
    }
    if (r.failed) {
      if (!what.by_choices) report(what.seed, r);
      applied_ = std::to_string(r.applied) + " of " + std::to_string(what.choices.size()) + " choices applied";
      report_choices(what.choices, r);
    }
    if (say) {
      line text;
      text.text("weft::sim: replayed");
      if (options_.name.size != 0) text.text(" in ").text(options_.name.data, options_.name.size);
      text.text(", and the run has passed");
      if (what.by_choices)
        text.text("; ").number(r.applied).text(" of ").number(what.choices.size()).text(" choices applied");
      text.text("\n").flush_sig();
    }
    return summary_;
  }

 private:
  result run_seed(std::uint64_t seed, bool record, bool log) {
    orders o;
    o.strategy = strategies_.begin(seed);
    found_by_ = strategy_of(seed);
    o.seed = seed;
    constexpr std::uint32_t fair_every[] = {1, 4, 16, 4};
    const bool in_turns = static_cast<explore::kind>(seed & 3) == explore::kind::round_robin;
    o.fair_every = in_turns ? 1 : fair_every[explore::mix(seed, 0) & 3];
    return run(o, record, log);
  }

  result run_choices(const choice_list& choices, bool record, bool others = false) {
    orders o;
    o.choices = &choices;
    o.others = others;
    return run(o, record, false);
  }

  result run_way(exhaustive& search, bool record, bool log) {
    search.begin(0);
    found_by_ = v0::sim::strategy::exhaustive;
    orders o;
    o.strategy = &search;
    o.ask_for_bugs = true;
    return run(o, record, log);
  }

  result run(orders o, bool record, bool log) {
    o.max_steps = options_.max_steps;
    o.record = record;
    o.frames = record && frames_;
    o.log = log;
    o.print = trace_;
    return engine_.run(o, program_);
  }

  void count(const result& r) {
    summary_.steps += r.steps;
    summary_.longest = std::max(summary_.longest, r.steps);
  }

  // Two runs of one schedule, with logs. `surely`: they have differed, if not this time.
  void compare(std::uint64_t seed, const result& a, const result& b, bool surely = false) {
    if (!surely && same_end(a, b) && a.log == b.log) return;
    std::size_t i = 0;
    while (i < a.log.size() && i < b.log.size() && a.log[i] == b.log[i]) ++i;
    const auto at = [i](const result& r) {
      if (i >= r.log.size()) return std::string("the run was over");
      const log_entry& e = r.log[i];
      return "goroutine " + std::to_string(e.actor) + " at " + to_text(e.what) + ", one of " +
             std::to_string(e.candidates) + " that could go on";
    };
    result r;
    r.kind = failure_kind::nondeterminism;
    r.text =
        "the same schedule went another way" +
        (a.log == b.log ? std::string(", and not again")
                        : " at step " + std::to_string(i + 1) + ": first " + at(a) + ", then " + at(b)) +
        ".\n  Something outlives the run, or comes from outside: a static, a clock or random numbers that are not the "
        "exploration's, the order of pointers.";
    throw_failure(seed, r, {}, {}, "");
  }

  // The run of that seed has failed.
  [[noreturn]] void report(std::uint64_t seed, const result& found) {
    frames_ = true;
    result r = run_seed(seed, true, false);
    frames_ = false;
    if (!same_end(found, r)) {
      const result a = run_seed(seed, false, true);
      const result b = run_seed(seed, false, true);
      compare(seed, a, b);
      result other;
      other.kind = failure_kind::nondeterminism;
      other.text = "a run has failed (" + std::string(v0::sim::to_text(found.kind)) +
                   "), and the same schedule has not failed so again";
      throw_failure(seed, other, {}, {}, "");
    }
    std::string extra = "run " + std::to_string(std::max(summary_.runs, 1)) + ", strategy " + strategy_name(seed);
    if (!options_.minimize) throw_failure(seed, r, r.choices, seed_text(seed, r.hash), extra);
    throw_minimized(seed, r, seed_text(seed, r.hash), extra);
  }

  [[noreturn]] void report_way(exhaustive& search, const result& found) {
    frames_ = true;
    const result r = run_way(search, true, false);
    frames_ = false;
    if (!same_end(found, r)) compare(0, run_way(search, false, true), run_way(search, false, true), true);
    const std::string extra = "run " + std::to_string(summary_.runs) + ", strategy exhaustive";
    if (options_.minimize) throw_minimized(0, r, to_string(r.choices), extra);
    throw_failure(0, r, r.choices, to_string(r.choices), extra);
  }

  [[noreturn]] void report_choices(const choice_list& choices, const result& found) {
    frames_ = true;
    result r = run_choices(choices, true);
    frames_ = false;
    if (!same_end(found, r)) {
      result other;
      other.kind = failure_kind::nondeterminism;
      other.text =
          "the choices have led to a failure (" + std::string(v0::sim::to_text(found.kind)) + "), and not again";
      throw_failure(0, other, choices, to_string(choices), applied_);
    }
    if (options_.minimize) throw_minimized(0, r, to_string(choices), applied_);
    throw_failure(0, r, r.choices, to_string(r.choices), applied_);
  }

  // Fewer choices, the same failure. First parts of them are left out, halves, then smaller ones, as long as that helps.
  // What is left then is needed, and may still be a long way round: so one and two switches are tried that were not
  // among them, anywhere in the plain schedule, and one instead of any two.
  class minimizer {
   public:
    minimizer(session& s, const result& wanted) : s_(s), wanted_(wanted), kept_(wanted.choices) {}

    // False: the choices alone do not lead to the failure.
    bool begins() {
      const result all = run(kept_, false);
      return same_failure(wanted_, all);
    }
    void minimize() {
      leave_out();
      if (switches() >= 2 && try_others(fired(), 0, 1)) return;
      if (switches() >= 3 && try_others(fired(), 0, 2)) return;
      while (switches() >= 3 && replace_two()) leave_out();
    }

    const choice_list& choices() const { return kept_; }
    std::uint32_t runs() const { return runs_; }

   private:
    bool affordable() const { return runs_ < max_tries && steps_ < max_steps_to_minimize; }

    result run(const choice_list& choices, bool others) {
      ++runs_;
      result r = s_.run_choices(choices, false, others);
      steps_ += r.steps;
      return r;
    }
    // The same failure, by fewer choices: then they are it, without those that no longer fit.
    bool accepts(const result& r, const choice_list& choices) {
      if (!same_failure(wanted_, r)) return false;
      ++runs_;
      const result recorded = s_.run_choices(choices, true, false);
      steps_ += recorded.steps;
      if (!same_failure(wanted_, recorded) || recorded.choices.size() >= kept_.size()) return false;
      kept_ = recorded.choices;
      return true;
    }

    void leave_out() {
      for (std::size_t part = (kept_.size() + 1) / 2; part != 0 && !kept_.empty() && affordable();) {
        bool helped = false;
        for (std::size_t at = 0; at < kept_.size() && affordable();) {
          choice_list fewer;
          for (std::size_t i = 0; i < kept_.size(); ++i) {
            if (i < at || i >= at + part) fewer.push_back(kept_[i]);
          }
          if (accepts(run(fewer, false), fewer)) {
            helped = true;
          } else {
            at += part;
          }
        }
        if (!helped || part > kept_.size()) part = part == 1 && helped ? 1 : part / 2;
      }
    }

    std::size_t switches() const { return kept_.size() - fired().size(); }
    // What buggify did is no question of who goes on: it stays.
    choice_list fired() const {
      choice_list list;
      for (const choice& c : kept_) {
        if (!c.fired.empty()) list.push_back(c);
      }
      return list;
    }

    // `choices` and `more` switches at steps after `after`.
    bool try_others(const choice_list& choices, std::uint64_t after, std::uint32_t more) {
      const result base = run(choices, true);
      return try_others(base, choices, after, more);
    }
    bool try_others(const result& base, const choice_list& choices, std::uint64_t after, std::uint32_t more) {
      for (const auto& [step, c] : base.others) {
        if (step <= after) continue;
        if (!affordable()) return false;
        choice_list with = choices;
        with.push_back(c);
        const result r = run(with, more > 1);
        if (more == 1 ? accepts(r, with) : try_others(r, with, step, more - 1)) return true;
      }
      return false;
    }
    bool replace_two() {
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        for (std::size_t k = i + 1; k < kept_.size(); ++k) {
          if (!kept_[i].fired.empty() || !kept_[k].fired.empty()) continue;
          choice_list rest = kept_;
          rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(k));
          rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
          if (try_others(rest, 0, 1)) return true;
          if (!affordable()) return false;
        }
      }
      return false;
    }

    session& s_;
    const result& wanted_;
    choice_list kept_;
    std::uint32_t runs_ = 0;
    std::uint64_t steps_ = 0;
  };

  [[noreturn]] void throw_minimized(std::uint64_t seed, const result& r, const std::string& replay, std::string extra) {
    minimizer m(*this, r);
    if (!m.begins())
      throw_failure(seed, r, r.choices, replay, extra + "; not minimized: its choices alone do not lead to it");
    m.minimize();
    const choice_list& kept = m.choices();
    extra += kept.size() == r.choices.size()
                 ? std::string("; no choice can be left out")
                 : "; minimized from " + std::to_string(r.choices.size()) + " choices to " +
                       std::to_string(kept.size()) + " in " + std::to_string(m.runs()) + " runs";
    minimized_ = true;
    frames_ = true;
    const result best = run_choices(kept, true, false);
    if (!same_failure(r, best)) throw_failure(seed, r, r.choices, replay, extra + ", and not again by what is left");
    throw_failure(seed, best, kept, replay, extra);
  }

  [[noreturn]] void throw_failure(std::uint64_t seed, const result& r, const choice_list& choices,
                                  const std::string& replay, const std::string& extra) {
    const std::string text = to_string(choices);
    std::string all = "weft::sim: " + headline(r) + "\n";
    if (!extra.empty()) all += "  " + extra + "\n";
    std::string named = replay;
    if (!replay.empty() && options_.name.size != 0)
      named = std::string(options_.name.data, options_.name.size) + ':' + replay;
    if (!replay.empty()) all += "  replay: WEFT_SIM_SEED=" + quoted(named) + " " + command_line() + "\n";
    std::string schedule;
    if (!r.events.empty()) {
      if (minimized_) {
        all += choices.empty() ? std::string("it fails without any switch:\n")
                               : "the switches that make it fail (" + text + "):\n" + choices_in_words(r);
      }
      all +=
          "schedule, the last of " + std::to_string(std::min(r.steps, options_.max_steps)) + " steps:\n" + lanes(r, 20);
      all += "in words:\n" + steps_in_words(r, 8);
      all += "goroutines:\n" + goroutines(r);
      schedule = steps_in_words(r, r.events.size());
    }
    failure f(r.kind, std::max(summary_.runs, 1), found_by_, seed, named, r.events.empty() ? std::string() : text,
              std::move(schedule), all);
    if (r.cause == nullptr) throw f;
    try {
      std::rethrow_exception(r.cause);
    } catch (...) {
      std::throw_with_nested(std::move(f));
    }
  }

  static std::string quoted(const std::string& s) { return s.find('!') == std::string::npos ? s : "'" + s + "'"; }

  // Not a time: the result must be the same on every machine. Some seconds at most.
  static constexpr std::uint32_t max_tries = 20'000;
  static constexpr std::uint64_t max_steps_to_minimize = 10'000'000;

  options options_;
  program program_;
  bool trace_;
  v0::sim::strategy found_by_ = v0::sim::strategy::portfolio;  // of the last run; portfolio: by choices only
  bool minimized_ = false;
  bool frames_ = false;  // the report's last run: while minimizing they would cost more than all else
  std::string applied_;
  summary summary_;
  strategies strategies_;
  engine engine_;
  claim claim_;
};

}  // namespace
}  // namespace weft::rt::lab

namespace weft {
inline namespace v0 {
namespace detail {

using namespace rt::lab;

sim::summary sim_explore(const sim::options& given, program p) {
  refuse_inside();
  check_options(given);
  sim::options o = given;
  o.runs = runs_from_env(o.runs);
  o.time = std::chrono::nanoseconds(time_from_env(o.time.count()));
  if (const char* seed = variable("WEFT_SIM_SEED")) {
    const recipe what = parse_recipe(seed, "WEFT_SIM_SEED=");
    // One without a name is for each exploration that is reached.
    if (what.name.empty() || what.name == std::string_view(o.name.data, o.name.size))
      return session(o, p).replay(what, true);
  }
  return session(o, p).explore_all();
}

sim::summary sim_run(std::uint64_t seed, program p) {
  refuse_inside();
  recipe what;
  what.seed = seed;
  return session({}, p).replay(what, false);
}

sim::summary sim_run(text seed_or_choices, program p) {
  refuse_inside();
  const recipe what = parse_recipe({seed_or_choices.data, seed_or_choices.size}, "");
  return session({}, p).replay(what, false);
}

namespace {

// The engine that runs the caller; null outside an exploration.
engine* my_engine() {
  const rt::g* gp = rt::getg();
  return gp == nullptr ? nullptr : static_cast<engine*>(gp->rt->explore);
}

engine& engine_for(const char* call) {
  engine* e = my_engine();
  if (e == nullptr) throw error(std::string("weft::sim::") + call + " called outside an exploration");
  return *e;
}

}  // namespace

void sim_watch(program pred, bool (*holds)(void*), void (*drop)(void*), text what) {
  if (my_engine() == nullptr) drop(pred.arg);
  engine_for("always").watch(rt::getg(), pred, holds, drop, std::string(what.data, what.size));
}

// Also a call of another thread, while an exploration has opened the door for all of the process.
void sim_point() {
  rt::g* gp = rt::getg();
  if (gp == nullptr || gp->rt->explore == nullptr) return;
  rt::enter inside(gp, rt::op::point);
}

void sim_wait(void* pred, bool (*holds)(void*), std::int64_t within, text what) {
  engine_for("eventually").wait_until(rt::getg(), pred, holds, within, {what.data, what.size});
}

}  // namespace detail

namespace sim {

const char* to_text(failure_kind k) noexcept {
  switch (k) {
    case failure_kind::deadlock: return "deadlock";
    case failure_kind::leak: return "leak";
    case failure_kind::check: return "check";
    case failure_kind::exception: return "exception";
    case failure_kind::endless: return "endless";
    case failure_kind::always: return "always";
    case failure_kind::eventually: return "eventually";
    case failure_kind::foreign: return "foreign";
    case failure_kind::nondeterminism: return "nondeterminism";
  }
  return "unknown";
}

failure::failure(failure_kind kind, int runs, sim::strategy found_by, std::uint64_t seed, std::string replay,
                 std::string choices, std::string schedule, const std::string& report)
    : std::runtime_error(report),
      kind_(kind),
      runs_(runs),
      strategy_(found_by),
      seed_(seed),
      replay_(std::move(replay)),
      choices_(std::move(choices)),
      schedule_(std::move(schedule)) {}

void check(bool holds, detail::text what) {
  if (holds) [[likely]]
    return;
  std::string text(what.data, what.size);
  if (auto* e = detail::my_engine()) e->fail(rt::getg(), failure_kind::check, std::move(text));
  throw error("weft::sim::check failed: " + text);
}

bool active() noexcept { return detail::my_engine() != nullptr; }

void settle() { detail::engine_for("settle").settle(rt::getg()); }

std::chrono::nanoseconds now() { return std::chrono::nanoseconds(detail::engine_for("now").since_start()); }

bool buggify(detail::text name, double p) {
  const std::string text(name.data, name.size);
  if (text.empty() || text.find_first_of(",= \t\n") != std::string::npos) {
    throw error("weft::sim::buggify: bad name \"" + text +
                "\": must not be empty, nor contain a comma, an equals sign or white space");
  }
  if (!(p >= 0 && p <= 1)) throw error("weft::sim::buggify: bad probability " + std::to_string(p) + ": must be 0 to 1");
  auto* e = detail::my_engine();
  return e != nullptr && e->buggify(text, p);
}

}  // namespace sim
}  // namespace v0
}  // namespace weft
