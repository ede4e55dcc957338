// How many Ps there are, in a process whose CPUs change. argv[1] says what to do. Run by procs_test.cpp.
#include <dirent.h>
#include <sched.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

std::vector<int> allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) cpus.push_back(i);
  }
  return cpus;
}

// Every thread of the process may use these CPUs, as when an administrator changes it from outside.
void restrict_to(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  DIR* tasks = ::opendir("/proc/self/task");
  if (tasks == nullptr) std::_Exit(98);
  while (const dirent* task = ::readdir(tasks)) {
    const int tid = std::atoi(task->d_name);
    if (tid > 0) ::sched_setaffinity(tid, sizeof set, &set);
  }
  ::closedir(tasks);
}

// Busy, as an idle runtime does not look.
bool becomes(int n, std::chrono::seconds within = 40s) {
  for (const auto end = steady_clock::now() + within; steady_clock::now() < end;) {
    if (weft::gomaxprocs(0) == n) return true;
    weft::yield();
  }
  std::printf("gomaxprocs is %d and not %d\n", weft::gomaxprocs(0), n);
  return false;
}

std::vector<int> two;  // of the CPUs that this process had at its start

int begin_with_one() {
  restrict_to({two[0]});
  return weft::run([] { return weft::gomaxprocs(0) == 1 && weft::num_cpu() == 1 ? 0 : 1; });
}

int environment_wins() {
  return weft::run([] { return weft::gomaxprocs(0) == 7 ? 0 : 1; });
}

int follow() {
  restrict_to({two[0]});
  return weft::run([] {
    if (!becomes(1)) return 1;
    restrict_to(two);
    if (!becomes(2)) return 2;
    // And these two do run at the same time.
    std::atomic<int> running{0};
    weft::wait_group both;
    for (int i = 0; i < 2; ++i) {
      both.go([&] {
        ++running;
        while (running.load() != 2) std::this_thread::yield();
      });
    }
    both.wait();
    restrict_to({two[1]});
    if (!becomes(1)) return 3;
    return 0;
  });
}

// The CPUs change all the time. How often the number of Ps does is counted.
int follow_seldom() {
  return weft::run([] {
    std::atomic<bool> stop{false};
    std::thread administrator([&] {
      for (int i = 0; !stop.load(); ++i) {
        restrict_to(i % 2 == 0 ? std::vector<int>{two[0]} : two);
        std::this_thread::sleep_for(7ms);
      }
    });
    int changes = 0;
    int before = weft::gomaxprocs(0);
    const auto start = steady_clock::now();
    while (steady_clock::now() - start < 3500ms) {
      const int now = weft::gomaxprocs(0);
      changes += now != before ? 1 : 0;
      before = now;
      weft::yield();
    }
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - start).count();
    stop = true;
    weft::blocking([&] { administrator.join(); });
    if (changes <= seconds + 1) return 0;
    std::printf("%d changes in %lld s\n", changes, static_cast<long long>(seconds));
    return 1;
  });
}

int stays(int n) {
  for (const auto end = steady_clock::now() + 2500ms; steady_clock::now() < end;) {
    if (weft::gomaxprocs(0) != n) {
      std::printf("gomaxprocs has become %d\n", weft::gomaxprocs(0));
      return 1;
    }
    weft::yield();
  }
  return 0;
}

int by_hand() {
  return weft::run([] {
    weft::gomaxprocs(2);
    restrict_to({two[0]});
    return stays(2);
  });
}

int by_environment() {
  return weft::run([] {
    restrict_to({two[0]});
    return stays(2);
  });
}

int by_option() {
  weft::options o;
  o.procs = 2;
  return weft::run(o, [] {
    restrict_to({two[0]});
    return stays(2);
  });
}

// Everybody spins, calls now and then, and is stopped a hundred times.
int stop_without_membarrier() {
  weft::options o;
  o.procs = 4;
  return weft::run(o, [] {
    std::atomic<bool> stop{false};
    weft::wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        while (!stop.load()) {
          for (int k = 0; k < 1000; ++k) asm volatile("");
          weft::yield();
        }
      });
    }
    for (int i = 0; i < 100; ++i) weft::gomaxprocs(1 + i % 5);
    stop = true;
    all.wait();
    return 0;
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "environment_wins") return environment_wins();
  if (name == "stop_without_membarrier") return stop_without_membarrier();
  two = allowed();
  if (two.size() < 2) return 77;
  two.resize(2);
  if (name == "begin_with_one") return begin_with_one();
  if (name == "follow") return follow();
  if (name == "follow_seldom") return follow_seldom();
  if (name == "by_hand") return by_hand();
  if (name == "by_option") return by_option();
  if (name == "by_environment") return by_environment();
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
