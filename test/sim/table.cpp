// corpus_table: the corpus in figures, as the table in docs/guide/testing.md has them. Nothing asserts on what it prints.
//
// Use     build/release/test/corpus_table [real executions, 1000]
// Prints  for each bug: kind, runs until an exploration with the default seed has found it, the most of a hundred seeds,
//         those of an exhaustive one with one preemption, the switches that matter, and how many real executions with
//         two Ps have shown it
//
// Real executions go on in child processes, as many in one as it survives: a wrong program ends by an exception that
// nobody catches, or hangs. A child that makes no progress for two seconds hangs; none of the programs takes
// longer than some milliseconds.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "sim/corpus.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using namespace std::chrono_literals;

sim::options with_seed(std::uint64_t seed) { return {.runs = 10'000, .seed = seed, .max_steps = 2000}; }

constexpr sim::options one_preemption{
    .runs = 10'000, .strategy = sim::strategy::exhaustive, .depth = 1, .max_steps = 2000};

// Until it is found; 0: it is not.
int runs_until_found(const bug& b, const sim::options& o) {
  try {
    sim::explore(o, b.wrong);
  } catch (const sim::failure& f) {
    return f.runs();
  }
  return 0;
}

std::size_t switches_that_matter(const bug& b) {
  try {
    sim::explore({.runs = 10'000, .max_steps = 2000, .minimize = true}, b.wrong);
  } catch (const sim::failure& f) {
    const std::string& c = f.choices();
    return c == "sim:" ? 0 : static_cast<std::size_t>(std::count(c.begin(), c.end(), ',')) + 1;
  }
  return 0;
}

[[noreturn]] void execute(const bug& b, int from, int runs, std::atomic<int>* done) {
  std::freopen("/dev/null", "w", stderr);  // the reports of those that die
  for (int i = from; i < runs; ++i) {
    weft::run({.procs = 2}, b.wrong);
    done->store(i + 1);
  }
  _exit(0);
}

int shown_by_real_executions(const bug& b, int runs, std::atomic<int>* done) {
  int shown = 0;
  for (int from = 0; from < runs;) {
    done->store(from);
    const pid_t child = fork();
    if (child == 0) execute(b, from, runs, done);
    if (child < 0) {
      std::perror("fork");
      std::exit(2);
    }
    int status = 0, seen = from;
    for (auto since = std::chrono::steady_clock::now(); waitpid(child, &status, WNOHANG) == 0;) {
      const auto now = std::chrono::steady_clock::now();
      if (done->load() != seen) {
        seen = done->load();
        since = now;
      } else if (now - since > 2s) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        break;
      }
      std::this_thread::sleep_for(1ms);
    }
    from = done->load();
    if (from == runs) break;
    ++shown;
    ++from;
  }
  return shown;
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 1000;
  if (runs < 1 || argc > 2) {
    std::fprintf(stderr, "usage: %s [real executions, 1 or more]\n", argv[0]);
    return 2;
  }
  void* const page = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::perror("mmap");
    return 2;
  }
  auto* const done = new (page) std::atomic<int>(0);
  std::printf(
      "| Program | Bug | Kind | Found in run | Latest of 100 seeds | Exhaustive | Switches | Of %d real executions |\n"
      "|---|---|---|---|---|---|---|---|\n",
      runs);
  for (const bug& b : corpus()) {
    int latest = 0;
    bool always = true;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
      const int n = runs_until_found(b, with_seed(seed));
      always = always && n != 0;
      latest = std::max(latest, n);
    }
    std::printf("| %s | %s | %s | %d | %s | %d | %zu | %d |\n", b.name, b.what, sim::to_text(b.kind),
                runs_until_found(b, with_seed(1)), always ? std::to_string(latest).c_str() : "not by each",
                runs_until_found(b, one_preemption), switches_that_matter(b), shown_by_real_executions(b, runs, done));
    std::fflush(stdout);
  }
}
