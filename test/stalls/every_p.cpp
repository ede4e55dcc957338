// every_p: goroutines that stop every P at once in one way, while 100 others tick each millisecond. Run by stalls_test.cpp.
//
//   every_p <kind> <procs> <goroutines> <most ms between two ticks> [load] [revoker]
//
// They stay until each of the tickers has gone on for a while, so a ticker that does not is a hang: the watchdog says what all
// are doing. Main ticks as they do. Prints what it saw; status 0 when no gap was longer than that and no call was interrupted.
//   load     beside busy processes, two for each CPU
//   revoker  a goroutine changes the number of Ps all the time, which takes Ps as sysmon does
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "stalls/kinds.hpp"
#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr int tickers = 100;
constexpr std::uint32_t enough_ticks = 10;

struct request {
  const stalls::row* row;
  int procs, n;
  double most_ms;
  bool load, revoker;
};

// Ends with its creator, however that ends.
class busy_processes {
 public:
  explicit busy_processes(unsigned n) {
    const pid_t creator = ::getpid();
    for (unsigned i = 0; i < n; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != creator) ::_exit(0);
        for (volatile unsigned x = 0;;) x = x + 1;
      }
      if (pid > 0) pids_.push_back(pid);
    }
  }
  ~busy_processes() {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
  busy_processes(const busy_processes&) = delete;
  busy_processes& operator=(const busy_processes&) = delete;

 private:
  std::vector<pid_t> pids_;
};

double ms_between(steady::time_point from, steady::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// One of those that must go on.
struct alignas(64) ticker {
  std::atomic<std::uint32_t> ticks{0};
  double worst_ms = 0;

  void tick(const std::atomic<bool>& measured) {
    const bool counts = measured.load(std::memory_order_relaxed);
    const auto before = steady::now();
    weft::sleep(1ms);
    if (counts) worst_ms = std::max(worst_ms, ms_between(before, steady::now()));
    ticks.fetch_add(1, std::memory_order_relaxed);
  }
};

int stall(const request& r) {
  std::vector<ticker> others(tickers);
  ticker me;
  std::atomic<bool> measured{false}, stop{false};
  std::atomic<int> inside{0};
  weft::wait_group ticking, stuck, revoking;
  // Until every ticker has had so many ticks from now on.
  const auto tick_until_all_had = [&](std::uint32_t n) {
    std::vector<std::uint32_t> before;
    for (const ticker& t : others) before.push_back(t.ticks.load(std::memory_order_relaxed));
    std::uint32_t least = 0, most = 0;
    const auto look = [&] {
      least = ~std::uint32_t{0}, most = 0;
      for (std::size_t i = 0; i < others.size(); ++i) {
        const std::uint32_t had = others[i].ticks.load(std::memory_order_relaxed) - before[i];
        least = std::min(least, had), most = std::max(most, had);
      }
      return least >= n;
    };
    const auto end = steady::now() + std::chrono::milliseconds(n > 1 ? r.row->least_ms : 0);
    while (!look() || steady::now() < end) me.tick(measured);
    return std::pair(least, most);
  };

  for (ticker& t : others) {
    ticking.go([&] {
      while (!stop.load(std::memory_order_relaxed)) t.tick(measured);
    });
  }
  const std::unique_ptr<stalls::kind> kind = r.row->make();
  kind->prepare(r.n);
  if (r.revoker) {
    revoking.go([&] {
      for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        weft::gomaxprocs(r.procs + i % 2);
        weft::sleep(20ms);
      }
    });
  }
  tick_until_all_had(1);
  measured = true;
  const auto begin = steady::now();
  for (int i = 0; i < r.n; ++i) {
    weft::wait_group* const all = &stuck;
    all->add(1);
    weft::go(weft::attrs{.name = r.row->name, .stack_size = r.row->stack}, [&, all] {
      inside.fetch_add(1, std::memory_order_relaxed);
      kind->stall();
      all->done();
    });
  }
  while (inside.load(std::memory_order_relaxed) < r.n) me.tick(measured);
  const auto all_in = steady::now();
  const auto [least, most] = tick_until_all_had(enough_ticks);
  const auto end = steady::now();
  const auto threads = static_cast<unsigned>(weft::test::count_threads());
  kind->finish(r.n);
  stuck.wait();
  measured = false;
  stop = true;
  revoking.wait();
  ticking.wait();

  double worst = me.worst_ms;
  for (const ticker& t : others) worst = std::max(worst, t.worst_ms);
  std::printf(
      "%s: %d goroutines on %d Ps%s%s: all in it after %.0f ms, then for %.0f ms; meanwhile %u to %u ticks of each "
      "other; "
      "longest gap %.1f ms; %d calls interrupted; %u threads\n",
      r.row->name, r.n, r.procs, r.load ? ", load" : "", r.revoker ? ", second revoker" : "", ms_between(begin, all_in),
      ms_between(all_in, end), least, most, worst, kind->interrupted(), threads);
  return worst <= r.most_ms && kind->interrupted() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  request r{};
  r.row = argc > 4 ? stalls::find(argv[1]) : nullptr;
  if (r.row == nullptr) {
    std::fprintf(stderr,
                 "usage: every_p <kind> <procs> <goroutines> <most ms between two ticks> [load] [revoker]\nkinds:");
    for (const stalls::row& k : stalls::table()) std::fprintf(stderr, " %s", k.name);
    std::fprintf(stderr, "\n");
    return 99;
  }
  r.procs = std::atoi(argv[2]);
  r.n = std::atoi(argv[3]);
  r.most_ms = std::atof(argv[4]);
  for (int i = 5; i < argc; ++i) {
    r.load = r.load || std::strcmp(argv[i], "load") == 0;
    r.revoker = r.revoker || std::strcmp(argv[i], "revoker") == 0;
  }
  std::string line = weft::test::executable();
  for (int i = 1; i < argc; ++i) line += std::string(" ") + argv[i];
  weft::test::set_replay_line(line);
  weft::test::set_watchdog(40);
  const busy_processes load(r.load ? 2 * std::max(1u, std::thread::hardware_concurrency()) : 0);
  return weft::run({.procs = r.procs}, [&] { return stall(r); });
}
