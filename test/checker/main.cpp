// The runner: every model of this program, searched as it wants or as the command line says.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <tuple>

#include "checker/machine.hpp"
#include "checker/model.hpp"
#include "checker/places.hpp"
#include "checker/report.hpp"
#include "checker/search.hpp"

namespace weft::check {
namespace {

model* first_model = nullptr;
model** models_end = &first_model;

struct wish {
  std::string only = ".*";
  std::string search;  // empty: what each model wants
  int preemptions = -1;
  std::uint32_t depth = 3;
  double seconds = 0;
  std::uint64_t runs = 0;
  std::uint64_t seed = 1;
  std::string path;
  bool sc = false;
  bool list = false;
  bool sites = false;
  bool outcomes = false;
  bool expect_failure = false;
  bool quiet = false;
  std::size_t timeline = 80;
  int spurious = -1;
  int timeouts = -1;
  std::vector<std::string> weaken;  // pc=order
};

// A model that is sampled has no end of its own. Steps, not seconds: they are the same on every machine, and so is what is
// searched; about two seconds on a free core.
constexpr std::uint64_t sampled_steps = 12'000'000;

// TEST_STEPS, or `sampled_steps` without it.
std::uint64_t steps_of_a_sample() {
  const char* text = std::getenv("TEST_STEPS");
  if (text == nullptr || *text == '\0') return sampled_steps;
  char* end = nullptr;
  errno = 0;
  const unsigned long long n = std::strtoull(text, &end, 10);
  if (errno != 0 || *end != '\0' || *text == '-' || n == 0) {
    std::fprintf(stderr, "TEST_STEPS=%s is not a number from 1\n", text);
    std::exit(2);
  }
  return n;
}

double now_s() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

std::string grouped(std::uint64_t n) {
  std::string s = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(s.size()) - 3; at > 0; at -= 3)
    s.insert(static_cast<std::size_t>(at), ",");
  return s;
}

std::unique_ptr<search> make_search(const model& m, const wish& w, bool& walks) {
  walks = false;
  std::string how = w.search;
  if (how.empty()) how = m.want.sample ? "portfolio" : m.want.preemptions != unbounded ? "bounded" : "exhaustive";
  using rt::explore::kind;
  if (how == "random") return sampled(kind::random, 1, w.seed);
  if (how == "pct") return sampled(kind::pct, w.depth, w.seed);
  if (how == "pos") return sampled(kind::pos, 1, w.seed);
  if (how == "portfolio") return portfolio(w.seed);
  walks = true;
  if (how == "exhaustive") return exhaustive();
  if (how == "full") return full(unbounded);
  return full(w.preemptions >= 0                ? static_cast<std::uint32_t>(w.preemptions)
              : m.want.preemptions != unbounded ? m.want.preemptions
                                                : 3);
}

// One model under search; can be left and gone on with.
class session {
 public:
  session(const model& m, const wish& w) : m_(m), w_(w) {
    how_.weak = !w.sc;
    how_.max_steps = m.want.max_steps;
    how_.spurious_wakeups = w.spurious >= 0 ? static_cast<std::uint32_t>(w.spurious) : m.want.spurious;
    how_.timeouts = w.timeouts >= 0 ? static_cast<std::uint32_t>(w.timeouts) : m.want.timeouts;
    if (w.path.empty()) {
      search_ = make_search(m, w, walks_);
      return;
    }
    std::vector<std::uint8_t> path;
    bool reduced = false;
    if (!parse_path(w.path, path, reduced)) {
      std::fprintf(stderr, "not a path: '%s'\n", w.path.c_str());
      std::exit(2);
    }
    search_ = replay(path, reduced);
  }

  // Searches for so many seconds more, or until so many steps are done in all (0: to the end). False: there is nothing more
  // to do.
  bool go_on(double seconds, std::uint64_t steps = 0) {
    const double began = now_s();
    bool more = true;
    while (more) {
      if (!search_->begin()) {
        complete_ = walks_;
        more = false;
        break;
      }
      const verdict v = run_once(m_.body, *search_, how_, false);
      steps_ += steps_done();
      if (v == verdict::pruned) {
        ++pruned_;
      } else {
        ++executions_;
        if (w_.outcomes) ++outcomes_[outcome()];
      }
      if (v == verdict::failed) failed_ = true;
      more = !failed_ && w_.path.empty() && (w_.runs == 0 || executions_ < w_.runs) && (steps == 0 || steps_ < steps);
      if (seconds != 0 && (executions_ & 31) == 0 && now_s() - began > seconds) break;
    }
    took_ += now_s() - began;
    return more;
  }

  bool failed() const { return failed_; }
  bool complete() const { return complete_; }
  bool walks() const { return walks_; }

  void print() const {
    const char* end = failed_ ? "FAILED" : complete_ ? "complete" : "not to the end";
    std::printf("%-40s %12s executions%s, %s steps, %.2f s, %s\n", m_.name, grouped(executions_).c_str(),
                pruned_ != 0 ? (" (and " + grouped(pruned_) + " cut)").c_str() : "", grouped(steps_).c_str(), took_,
                end);
    for (const auto& [value, n] : outcomes_) {
      std::printf("    outcome %llx: %llu\n", static_cast<unsigned long long>(value),
                  static_cast<unsigned long long>(n));
    }
    std::fflush(stdout);
  }

  // The failed execution once more, looking.
  void explain() const {
    const std::string path = path_text(search_->path(), search_->reduces());
    const auto r = replay(search_->path(), search_->reduces());
    r->begin();
    run_once(m_.body, *r, how_, true);
    std::printf("  %s: %s\n  %s\n", m_.name, m_.claim, failure_with_places().c_str());
    print_timeline(w_.timeline);
    std::printf("  replay: %s --only '^%s$' --replay %s\n", program_invocation_name, m_.name, path.c_str());
    std::fflush(stdout);
  }

 private:
  const model& m_;
  const wish& w_;
  settings how_;
  std::unique_ptr<search> search_;
  bool walks_ = false;
  std::map<std::uint64_t, std::uint64_t> outcomes_;
  std::uint64_t executions_ = 0;
  std::uint64_t pruned_ = 0;
  std::uint64_t steps_ = 0;
  double took_ = 0;
  bool failed_ = false;
  bool complete_ = false;
};

// True: as it should be.
bool run_model(const model& m, const wish& w) {
  session s(m, w);
  const bool unlimited = w.seconds == 0 && w.runs == 0;
  s.go_on(w.seconds, unlimited && !s.walks() ? steps_of_a_sample() : 0);
  s.print();
  if (s.failed()) s.explain();
  // A walk that was not asked to stop must come to its end.
  return !s.failed() && !(s.walks() && !s.complete() && unlimited && w.path.empty());
}

// In turn, in slices that grow, until one of them fails: a mistake shows in some models at once and in others never.
bool some_model_fails(const std::vector<const model*>& models, const wish& w) {
  std::vector<std::unique_ptr<session>> live;
  for (const model* m : models) live.push_back(std::make_unique<session>(*m, w));
  const double budget = w.seconds != 0 ? w.seconds : 60;
  const double began = now_s();
  for (double slice = 0.02; !live.empty() && now_s() - began < budget; slice *= 2) {
    for (std::size_t i = 0; i < live.size() && now_s() - began < budget;) {
      session& s = *live[i];
      const bool more = s.go_on(slice);
      if (s.failed()) {
        s.print();
        if (!w.quiet) s.explain();
        std::printf("found after %.2f s\n", now_s() - began);
        return true;
      }
      if (more) {
        ++i;
      } else {
        s.print();
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
  for (const auto& s : live) s->print();
  std::printf("no model has failed\n");
  return false;
}

// Which models did what at which instruction.
std::map<std::string, std::vector<site_use>> used;

// One line per place and order: file, line, what, order, the instructions that belong to it, the models that came by,
// the text of the line.
void print_sites() {
  struct group {
    std::string function;
    std::set<std::uint32_t> pcs;
    std::set<std::string> models;
  };
  std::vector<std::uint32_t> pcs;
  for (const auto& [name, uses] : used) {
    for (const site_use& u : uses) pcs.push_back(u.pc);
  }
  const auto where = places_of(pcs);
  std::map<std::tuple<std::string, std::uint32_t, act, order>, group> groups;
  for (const auto& [name, uses] : used) {
    for (const site_use& u : uses) {
      const auto it = where.find(u.pc);
      if (it == where.end()) continue;
      group& g = groups[{it->second.file, it->second.line, u.what, u.ord}];
      g.function = it->second.function;
      g.pcs.insert(u.pc);
      g.models.insert(name);
    }
  }
  for (const auto& [key, g] : groups) {
    const auto& [file, line, what, ord] = key;
    std::printf("site\t%s\t%u\t%s\t%s\t", file.c_str(), line, act_name(what), order_name(ord));
    for (const std::uint32_t pc : g.pcs) std::printf("%#x ", pc);
    std::printf("\t");
    for (const std::string& name : g.models) std::printf("%s ", name.c_str());
    std::printf("\t%s\n", source_line({file, line, g.function}).c_str());
  }
}

bool apply_weakening(const wish& w) {
  static const std::map<std::string, order> orders = {
      {"relaxed", relaxed}, {"acquire", acquire}, {"release", release}, {"acq_rel", acq_rel}};
  for (const std::string& text : w.weaken) {
    const std::size_t eq = text.find('=');
    const auto it = eq == std::string::npos ? orders.end() : orders.find(text.substr(eq + 1));
    char* end = nullptr;
    const unsigned long pc = std::strtoul(text.c_str(), &end, 16);
    if (it == orders.end() || end != text.c_str() + eq || pc == 0) {
      std::fprintf(stderr, "not PC=ORDER: '%s'\n", text.c_str());
      return false;
    }
    weaken_site(static_cast<std::uint32_t>(pc), it->second);
  }
  return true;
}

}  // namespace

model::model(const char* n, const char* c, void (*b)(), limits l) : name(n), claim(c), body(b), want(l) {
  *models_end = this;
  models_end = &next;
}

int run_models(int argc, char** argv) {
  wish w;
  CLI::App app{"Searches the executions of small programs for one that goes wrong."};
  app.add_option("--only", w.only, "models whose name matches this regular expression");
  app.add_option("--search", w.search, "exhaustive, full, bounded, random, pct, pos or portfolio")
      ->check(CLI::IsMember({"exhaustive", "full", "bounded", "random", "pct", "pos", "portfolio"}));
  app.add_option("--preemptions", w.preemptions, "bounded: so many at most")->check(CLI::Range(0, 100));
  app.add_option("--depth", w.depth, "pct: the depth of the bugs it looks for")->check(CLI::Range(1, 20));
  app.add_option("--seconds", w.seconds, "no model longer than this; with --expect-failure: all of them together")
      ->check(CLI::PositiveNumber);
  app.add_option("--runs", w.runs, "no more executions of a model than this");
  app.add_option("--seed", w.seed, "of the sampling searches");
  app.add_option("--replay", w.path, "the path that a failure printed");
  app.add_option("--spurious", w.spurious, "futex waits that return for no reason, in each execution")
      ->check(CLI::Range(0, 100));
  app.add_option("--timeouts", w.timeouts, "timeouts that come while others can go on, in each execution")
      ->check(CLI::Range(0, 100));
  app.add_option("--timeline", w.timeline, "so many of the last steps are printed");
  app.add_option("--weaken", w.weaken, "PC=ORDER: atomics at this place are done with a weaker order");
  app.add_flag("--sc", w.sc, "sequential consistency instead of C++'s memory model");
  app.add_flag("--list", w.list, "name the models and their claims");
  app.add_flag("--sites", w.sites, "print every place that does an atomic, after the run");
  app.add_flag("--outcomes", w.outcomes, "count what the models report");
  app.add_flag("--expect-failure", w.expect_failure, "succeed if, and only if, some model fails; stop there");
  app.add_flag("--quiet", w.quiet, "with --expect-failure: no picture of the failures");
  CLI11_PARSE(app, argc, argv);
  const std::regex only(w.only);
  if (!apply_weakening(w)) return 2;
  std::vector<const model*> chosen;
  for (const model* m = first_model; m != nullptr; m = m->next) {
    if (std::regex_search(m->name, only)) chosen.push_back(m);
  }
  if (chosen.empty()) {
    std::fprintf(stderr, "no model matches '%s'\n", w.only.c_str());
    return 2;
  }
  if (w.expect_failure) return some_model_fails(chosen, w) ? 0 : 1;
  int bad = 0;
  for (const model* m : chosen) {
    if (w.list) {
      std::printf("%-40s %s\n", m->name, m->claim);
      continue;
    }
    collect_sites(w.sites);
    if (!run_model(*m, w)) ++bad;
    if (w.sites) used[m->name] = collected_sites();
  }
  if (w.sites) print_sites();
  return bad == 0 ? 0 : 1;
}

}  // namespace weft::check

// A program with tests of its own around the models has its own main.
[[gnu::weak]] int main(int argc, char** argv) { return weft::check::run_models(argc, argv); }
