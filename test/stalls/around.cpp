// around: programs about goroutines that have lost their P, and what else goes on around them. Run by around_test.cpp.
//
//   around <case> [number…]
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "arch/getg.hpp"
#include "model/g.hpp"
#include "model/m.hpp"
#include "support/goroutines.hpp"
#include "support/leaks.hpp"
#include "support/replay.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weft;
using steady = std::chrono::steady_clock;

void expect(bool holds, int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "%s: what line %d of around.cpp expects is not so\n", test::replay_line(), line);
  std::_Exit(1);
}

// Goroutines that block in read(2), or spin, until they are let go. Whoever lets them go may be outside.
class stuck {
 public:
  stuck() { expect(::pipe(fds_) == 0); }
  ~stuck() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  stuck(const stuck&) = delete;
  stuck& operator=(const stuck&) = delete;

  void read() {
    char c = 0;
    inside_.fetch_add(1);
    expect(::read(fds_[0], &c, 1) == 1);
    back_.fetch_add(1);
  }
  void spin() {
    inside_.fetch_add(1);
    test::spin_until([this] { return over_.load(std::memory_order_relaxed); });
    back_.fetch_add(1);
  }
  void let_go(int readers) {
    over_.store(true);
    const std::string bytes(static_cast<std::size_t>(readers), 'x');
    expect(::write(fds_[1], bytes.data(), bytes.size()) == readers);
  }
  int inside() const { return inside_.load(); }
  int back() const { return back_.load(); }

 private:
  int fds_[2];
  std::atomic<int> inside_{0}, back_{0};
  std::atomic<bool> over_{false};
};

// On a goroutine: others run too, and timers fire.
template <class F>
void tick_until(F done) {
  while (!done()) weft::sleep(1ms);
}

std::uint64_t threads_beside(std::uint64_t before) {
  const std::uint64_t now = test::count_threads();
  return now > before ? now - before : 0;
}

// ---- one thread id

// A goroutine that never blocks loses its P over and over: to sysmon, because others wait, and to whoever changes the number of
// Ps, because 10,000 slices would take minutes. It is asked on its own M whether the P is gone.
int keeps_its_thread(int times) {
  return run({.procs = 2}, [times] {
    std::atomic<bool> stop{false};
    wait_group others;
    for (int i = 0; i < 2; ++i) {
      others.go([&] {
        while (!stop.load(std::memory_order_relaxed)) weft::sleep(1ms);
      });
    }
    int changes = 0;
    others.go([&] {
      for (; !stop.load(std::memory_order_relaxed); ++changes) gomaxprocs(2 + changes % 2);
    });
    others.go([&] {
      const chan<int> full(1);
      full.send(0);
      const std::uint64_t thread = test::thread_id();
      const rt::m* const mine = rt::getg()->m;
      const auto gone = [&] { return (mine->revoke.load(rt::relaxed) & rt::revoke_state) == rt::revoke_done; };
      for (int taken = 0; taken < times;) {
        for (int i = 0; i < 10'000 && !gone(); ++i) rt::os::pause();
        taken += gone() ? 1 : 0;
        switch (taken % 3) {
          case 0: static_cast<void>(num_goroutine()); break;
          case 1: expect(full.try_send(1) == chan_status::would_block); break;
          case 2: go([] {}); break;
        }
        expect(test::thread_id() == thread);
        expect(rt::getg()->m == mine);
      }
      stop = true;
    });
    others.wait();
    std::printf("its P was taken %d times, and the number of Ps changed %d times; one thread id\n", times, changes);
  });
}

// ---- how many threads

// The CPU time of the thread: others that run meanwhile are not counted.
std::int64_t thread_time_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

double process_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void use_cpu(std::int64_t ns) {
  const std::int64_t end = thread_time_ns() + ns;
  volatile unsigned x = 0;
  while (thread_time_ns() < end) {
    for (unsigned i = 0; i < 1000; ++i) x = x + i;
  }
}

// For the figure: `WEFT_DEBUG=takeback=off around tasks 10000 50`, and without it.
int tasks(int n, int ms) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> most{0};
  std::atomic<std::uint64_t> before{~std::uint64_t{0}};
  std::thread counter([&] {
    before = test::count_threads();
    while (!stop.load()) {
      most = std::max(most.load(), threads_beside(before));
      std::this_thread::sleep_for(2ms);
    }
  });
  while (before.load() == ~std::uint64_t{0}) std::this_thread::yield();
  const auto begin = steady::now();
  const double cpu = process_seconds();
  std::atomic<int> done{0};
  run({.procs = 2}, [&] {
    wait_group all;
    for (int i = 0; i < n; ++i) {
      all.go([&] {
        use_cpu(std::int64_t{ms} * 1'000'000);
        ++done;
      });
    }
    all.wait();
  });
  const double used = process_seconds() - cpu;
  stop = true;
  counter.join();
  expect(done.load() == n);
  // run()'s own thread is one of them.
  std::printf("%d tasks of %d ms: %llu threads at most, %.3f s of CPU (%.4f of what the tasks are), %.3f s\n", n, ms,
              static_cast<unsigned long long>(most.load() + 1), used, used * 1000 / n / ms,
              std::chrono::duration<double>(steady::now() - begin).count());
  return most.load() + 1 < 32 ? 0 : 1;
}

// ---- no thread to be had

// Twenty goroutines want to block, and there are six threads. Those that are blocked keep their Ps until somebody outside lets
// them go, because nobody of the runtime can; then the others have their turn. Twice, for one warning.
int few_threads() {
  return run({.procs = 2, .max_threads = 6}, [] {
    for (int round = 0; round < 2; ++round) {
      stuck them;
      std::thread outside([&] {
        // They have come to a stop when no more of them go in.
        for (int seen = 0, before = -1; seen == 0 || seen != before; seen = them.inside()) {
          before = seen;
          std::this_thread::sleep_for(500ms);
        }
        expect(them.inside() < 20);
        them.let_go(20);
      });
      wait_group all;
      for (int i = 0; i < 20; ++i) all.go([&] { them.read(); });
      all.wait();
      outside.join();
      expect(them.back() == 20);
      for (int i = 0; i < 20; ++i) weft::sleep(1ms);
    }
    std::printf("all are back\n");
  });
}

// ---- around detached goroutines

int change_of_procs() {
  return run({.procs = 2}, [] {
    stuck them;
    wait_group all;
    for (int i = 0; i < 4; ++i) all.go([&] { them.read(); });
    for (int i = 0; i < 2; ++i) all.go([&] { them.spin(); });
    tick_until([&] { return them.inside() == 6; });
    for (int i = 0; i < 40; ++i) {
      const int n = 1 + i % 4;
      gomaxprocs(n);
      expect(gomaxprocs(0) == n);
      int ran = 0;
      wait_group more;
      more.go([&] {
        weft::sleep(1ms);
        ran = 1;
      });
      more.wait();
      expect(ran == 1);
      if (i == 20) {
        for (int k = 0; k < 2; ++k) all.go([&] { them.read(); });
        tick_until([&] { return them.inside() == 8; });
      }
    }
    gomaxprocs(1);
    expect(them.back() == 0);
    them.let_go(6);
    all.wait();
    expect(them.back() == 8);
  });
}

// shutdown() waits for those that are outside, however long, and they end when they come back: at the next cancellation point.
int shutdown() {
  stuck them;
  std::atomic<int> unwound{0};
  runtime r({.procs = 2});
  for (int i = 0; i < 6; ++i) {
    r.go([&, i] {
      i < 4 ? them.read() : them.spin();
      try {
        weft::sleep(1h);
      } catch (const cancelled&) {
        ++unwound;
        throw;
      }
    });
  }
  while (them.inside() < 6) std::this_thread::yield();
  std::atomic<bool> begun{false};
  std::thread helper([&] {
    while (!begun.load()) std::this_thread::yield();
    std::this_thread::sleep_for(200ms);  // that long it waits
    them.let_go(4);
  });
  const auto begin = steady::now();
  begun = true;
  r.shutdown();
  expect(steady::now() - begin >= 200ms);
  expect(unwound.load() == 6);
  helper.join();
  return 0;
}

// The same at the end of main.
int end_of_main() {
  stuck them;
  std::thread helper([&] {
    while (them.inside() < 6) std::this_thread::yield();
    std::this_thread::sleep_for(200ms);
    them.let_go(4);
  });
  const int status = run({.procs = 2}, [&] {
    for (int i = 0; i < 6; ++i) {
      go([&, i] { i < 4 ? them.read() : them.spin(); });
    }
    tick_until([&] { return them.inside() == 6; });
    return 7;
  });
  helper.join();
  expect(them.back() == 6);
  return status;
}

// Locked goroutines lose their Ps as others do, and neither they nor those that wait for a P change threads.
int locked() {
  return run({.procs = 2}, [] {
    stuck them;
    wait_group all;
    std::atomic<bool> stop{false};
    for (int i = 0; i < 6; ++i) {
      all.go([&, i] {
        const os_thread_lock lock;
        const std::uint64_t thread = test::thread_id();
        i < 4 ? them.read() : them.spin();
        expect(test::thread_id() == thread);
        yield();
        weft::sleep(1ms);
        expect(test::thread_id() == thread);
      });
    }
    std::atomic<int> ticks{0};
    all.go([&] {
      const os_thread_lock lock;
      const std::uint64_t thread = test::thread_id();
      for (; !stop.load(); ++ticks) {
        weft::sleep(1ms);
        expect(test::thread_id() == thread);
      }
    });
    tick_until([&] { return them.inside() == 6; });
    const int before = ticks.load();
    tick_until([&] { return ticks.load() >= before + 50; });
    them.let_go(4);
    stop = true;
    all.wait();
    expect(them.back() == 6);
  });
}

// An exploration on another thread, while this runtime's goroutines are outside. What is explored is not disturbed: each run
// is repeated by its seed, or explore() says so.
int exploration() {
  return run({.procs = 2}, [] {
    stuck them;
    wait_group all;
    for (int i = 0; i < 4; ++i) all.go([&] { them.read(); });
    for (int i = 0; i < 2; ++i) all.go([&] { them.spin(); });
    tick_until([&] { return them.inside() == 6; });
    std::atomic<int> explored{0};
    std::atomic<bool> stop{false};
    std::thread explorer([&] {
      for (; !stop.load() || explored.load() == 0; ++explored) {
        const sim::summary s = sim::explore({.runs = 100}, [] {
          mutex m;
          int sum = 0;
          wait_group two;
          for (int i = 0; i < 2; ++i) {
            two.go([&] {
              for (int k = 0; k < 3; ++k) {
                const std::lock_guard<mutex> hold(m);
                const int had = sum;
                weft::sleep(1ms);
                sum = had + 1;
              }
            });
          }
          two.wait();
          sim::check(sum == 6, "all were counted");
        });
        expect(s.runs == 100);
      }
    });
    for (int i = 0; i < 100; ++i) weft::sleep(1ms);
    stop = true;
    explorer.join();
    expect(explored.load() > 0);
    expect(them.back() == 0);
    them.let_go(4);
    all.wait();
  });
}

// ---- weight

int nice_of(std::uint64_t thread) { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(thread)); }

// As the process began.
bool all_have_the_usual(int nice) {
  std::error_code ended;  // a thread may end meanwhile
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ended)) {
    errno = 0;
    if (nice_of(std::stoull(task.path().filename())) != nice && errno == 0) return false;
  }
  return true;
}

// Forty loops on two Ps. `weighs`: the threads that serve the others are to weigh more; else never. In either case nobody
// has more in the end, nor has what they start, nor do those who have lost their Ps.
int crowd(bool weighs) {
  constexpr int loops = 40;
  const std::uint64_t caller = test::thread_id();
  const int usual = nice_of(caller);
  const auto all_have_nice_0 = [usual] { return all_have_the_usual(usual); };
  const int status = run({.procs = 2}, [&] {
    stuck them;
    std::atomic<std::uint64_t> threads[loops]{};
    wait_group all;
    for (auto& thread : threads) {
      all.go([&] {
        thread = test::thread_id();
        them.spin();
      });
    }
    const auto served_well = [] { return nice_of(test::thread_id()) < 0; };
    if (weighs) {
      const auto none_of_them = [&] {
        return std::none_of(std::begin(threads), std::end(threads), [](const auto& t) { return nice_of(t) != 0; });
      };
      tick_until([&] { return them.inside() == loops && served_well() && none_of_them(); });
      int childs = -1;
      // Whichever thread this is, it starts others now and then.
      for (int i = 0; i < 10; ++i) {
        weft::sleep(1ms);
        std::thread([&] { childs = nice_of(test::thread_id()); }).join();
        expect(childs == 0);
      }
      // One that says that it blocks is outside too.
      blocking([&] {
        while (served_well()) std::this_thread::sleep_for(1ms);
      });
      tick_until(served_well);
      // While nobody needs a P nobody needs weight. (The last loop may have kept one of two, for which nobody waited.)
      gomaxprocs(1);
      chan<> rested;
      std::thread watcher([&] {
        while (!all_have_nice_0()) std::this_thread::sleep_for(1ms);
        rested.close();
      });
      rested.recv();
      watcher.join();
      tick_until(served_well);
      // Whoever has lost its P to a stopper belongs to them too.
      for (int i = 0; i < 50; ++i) {
        weft::sleep(1ms);
        expect(none_of_them());
      }
    } else {
      for (int i = 0; i < 500; ++i) {
        expect(all_have_nice_0());
        weft::sleep(1ms);
      }
    }
    them.let_go(0);
    all.wait();
    tick_until(all_have_nice_0);
  });
  expect(nice_of(caller) == usual);
  return status;
}

// The caller's thread had weight, and is its owner's again when the runtime ends, soon after the crowd: with nothing added. (That the last
// count has not been by then is chance: what sysmon does at its own end is seen here now and then only.)
int crowd_at_the_end() {
  const std::uint64_t caller = test::thread_id();
  stuck them;
  std::atomic<bool> over{false};
  std::thread helper([&] {
    while (them.inside() < 40 || (nice_of(caller) == 0 && !over.load())) std::this_thread::sleep_for(1ms);
    them.let_go(0);
  });
  // Where the flag that keeps children from a nice value could not be taken off again a caller of run has none.
  const auto giving_up = steady::now() + 3s;
  const int status = run({.procs = 2}, [&] {
    go([&] {
      while (!over.load() && steady::now() < giving_up) weft::sleep(1ms);
      over = true;
    });
    const os_thread_lock here;
    for (int i = 0; i < 40; ++i) go([&] { them.spin(); });
    tick_until([&] { return them.back() == 40; });
  });
  over = true;
  helper.join();
  expect(nice_of(caller) == 0);
  expect(::sched_getscheduler(0) == SCHED_OTHER);
  return status;
}

// ---- idle

// Ps were taken, from sleepers and from a spinner; some goroutines stay outside, and all Ps are idle.
int idle() {
  return run({.procs = 2}, [] {
    static stuck them;
    stuck spinner;
    wait_group all;
    for (int i = 0; i < 5; ++i) go([] { them.read(); });
    for (int i = 0; i < 3; ++i) all.go([&] { spinner.spin(); });
    tick_until([&] { return them.inside() == 5 && spinner.inside() == 3; });
    spinner.let_go(0);
    all.wait();
    std::printf("ready %d\n", ::getpid());
    std::fflush(stdout);
    chan<>().recv();  // whoever looks at us ends the process
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) { return argc > i ? std::atoi(argv[i]) : 0; };
  std::string line = test::executable();
  for (int i = 1; i < argc; ++i) line += std::string(" ") + argv[i];
  test::set_replay_line(line);
  // Ten thousand tasks take their time.
  if (name != "tasks") test::set_watchdog(45);
  if (name == "keeps_its_thread") return keeps_its_thread(number(2));
  if (name == "tasks") return tasks(number(2), number(3));
  if (name == "few_threads") return few_threads();
  if (name == "change_of_procs") return change_of_procs();
  if (name == "shutdown") return shutdown();
  if (name == "end_of_main") return end_of_main();
  if (name == "locked") return locked();
  if (name == "exploration") return exploration();
  if (name == "crowd") return crowd(number(2) != 0);
  if (name == "crowd_at_the_end") return crowd_at_the_end();
  if (name == "idle") return idle();
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
