// The runner: every model of this program, searched as it wants or as the command line says.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
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

model* models = nullptr;
model** models_end = &models;

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
  std::vector<std::string> weaken;  // pc=order
};

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

// True: as it should be.
bool run_model(const model& m, const wish& w) {
  settings how;
  how.weak = !w.sc;
  how.max_steps = m.want.max_steps;
  how.spurious_wakeups = w.spurious >= 0 ? static_cast<std::uint32_t>(w.spurious) : m.want.spurious;
  bool walks = false;
  std::unique_ptr<search> s;
  if (w.path.empty()) {
    s = make_search(m, w, walks);
  } else {
    std::vector<std::uint8_t> path;
    if (!parse_path(w.path, path)) {
      std::fprintf(stderr, "not a path: '%s'\n", w.path.c_str());
      std::exit(2);
    }
    s = replay(path);
  }
  double budget = w.seconds;
  if (budget == 0 && w.runs == 0 && !walks) budget = 2;
  std::map<std::uint64_t, std::uint64_t> outcomes;
  const double began = now_s();
  std::uint64_t executions = 0;
  std::uint64_t pruned = 0;
  std::uint64_t steps = 0;
  bool failed = false;
  bool complete = false;
  for (;;) {
    if (!s->begin()) {
      complete = walks;
      break;
    }
    const verdict v = run_once(m.body, *s, how, false);
    steps += steps_done();
    if (v == verdict::pruned) {
      ++pruned;
    } else {
      ++executions;
      if (w.outcomes) ++outcomes[outcome()];
    }
    if (v == verdict::failed) {
      failed = true;
      break;
    }
    if (!w.path.empty()) break;
    if (w.runs != 0 && executions >= w.runs) break;
    if (budget != 0 && (executions & 31) == 0 && now_s() - began > budget) break;
  }
  const double took = now_s() - began;
  const char* end = failed ? "FAILED" : complete ? "complete" : "not to the end";
  std::printf("%-40s %12s executions%s, %s steps, %.2f s, %s\n", m.name, grouped(executions).c_str(),
              pruned != 0 ? (" (and " + grouped(pruned) + " cut)").c_str() : "", grouped(steps).c_str(), took, end);
  for (const auto& [value, n] : outcomes) {
    std::printf("    outcome %llx: %llu\n", static_cast<unsigned long long>(value), static_cast<unsigned long long>(n));
  }
  if (failed && !(w.expect_failure && w.quiet)) {
    const std::string path = path_text(s->path());
    std::vector<std::uint8_t> again;
    parse_path(path, again);
    // Once more, looking.
    const auto r = replay(again);
    const std::string before = failure_text();
    if (path != "-" || before.rfind("leak", 0) != 0) {
      r->begin();
      run_once(m.body, *r, how, true);
    }
    std::printf("  %s: %s\n  %s\n", m.name, m.claim, failure_with_places().c_str());
    print_timeline(w.timeline);
    std::printf("  replay: %s --only '^%s$' --replay %s\n", program_invocation_name, m.name, path.c_str());
  }
  std::fflush(stdout);
  if (walks && !complete && !failed && w.seconds == 0 && w.runs == 0) return false;
  return !failed;
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
  app.add_option("--seconds", w.seconds, "no model longer than this")->check(CLI::PositiveNumber);
  app.add_option("--runs", w.runs, "no more executions of a model than this");
  app.add_option("--seed", w.seed, "of the sampling searches");
  app.add_option("--replay", w.path, "the path that a failure printed");
  app.add_option("--spurious", w.spurious, "futex waits that return for no reason, in each execution")
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
  int bad = 0;
  int n = 0;
  for (model* m = models; m != nullptr; m = m->next) {
    if (!std::regex_search(m->name, only)) continue;
    ++n;
    if (w.list) {
      std::printf("%-40s %s\n", m->name, m->claim);
      continue;
    }
    collect_sites(w.sites);
    if (!run_model(*m, w)) ++bad;
    if (w.sites) used[m->name] = collected_sites();
    if (w.expect_failure && bad != 0) return 0;
  }
  if (w.expect_failure && n != 0) {
    std::printf("no model has failed\n");
    return 1;
  }
  if (w.sites) print_sites();
  if (n == 0) {
    std::fprintf(stderr, "no model matches '%s'\n", w.only.c_str());
    return 2;
  }
  return bad == 0 ? 0 : 1;
}

}  // namespace weft::check

// A program with tests of its own around the models has its own main.
[[gnu::weak]] int main(int argc, char** argv) { return weft::check::run_models(argc, argv); }
