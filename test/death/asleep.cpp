// Goroutines and a plain thread that wait for ever, in the way that argv[1] names; then a thread that stands for the
// scheduler asks for the report. Run by asleep_test.cpp.
#include <unistd.h>
#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/wires.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "os/sys.hpp"
#include "sched/extras.hpp"

namespace bank {

using weft::rt::g;

weft::mutex accounts[20];
weft::semaphore never(0);
weft::wait_group open;

// All that the process has, in the order of the slab.
std::vector<g*> all() {
  std::vector<g*> found;
  weft::rt::the_process.gs.for_each(
      [](void* object, void* arg) { static_cast<std::vector<g*>*>(arg)->push_back(static_cast<g*>(object)); }, &found);
  return found;
}

g* of(std::string_view name) {
  for (g* gp : all()) {
    if (const char* its = weft::rt::name_of(gp); its != nullptr && its == name) return gp;
  }
  std::_Exit(98);
}

// Until n goroutines and threads wait: then nobody runs but the caller.
void await_sleepers(std::size_t n) {
  for (;;) {
    std::size_t waiting = 0;
    for (const g* gp : all()) {
      if (gp->status.get() == weft::rt::status::waiting) ++waiting;
    }
    if (waiting == n) return;
    weft::rt::os::sleep_ns(1'000'000);
  }
}

std::atomic<int> ready{0};

// Each has its first when any asks for its second.
[[gnu::noinline]] void transfer(int from, int to, int partners) {
  const std::lock_guard first(accounts[from]);
  ++ready;
  while (ready.load() < partners) weft::yield();
  const std::lock_guard second(accounts[to]);
}

[[gnu::noinline]] void wait_for_customers() {
  never.acquire();
  open.add(1);  // no tail call
}

// Runs `start` and waits for ever as main, until `sleepers` wait beside it; then calls report().
int asleep(std::size_t sleepers, const std::function<void()>& start, const std::function<void()>& report) {
  weft::rt::refresh_coarse_now();
  open.add(1);
  std::thread([=] {
    await_sleepers(sleepers + 1);
    weft::rt::refresh_coarse_now();
    report();
    ::_exit(2);
  }).detach();
  return weft::run(weft::options::from_env(), [&] {
    start();
    open.wait();
  });
}

void deadlock() { weft::rt::wires.deadlock("all goroutines are asleep - deadlock!"); }

}  // namespace bank

int main(int argc, char** argv) {
  using namespace bank;
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "goexit") {
    weft::rt::wires.deadlock("no goroutines (main called runtime.Goexit) - deadlock!");
    return 2;
  }
  if (name == "cycle") {
    return asleep(
        2,
        [] {
          weft::go(weft::attrs{.name = "ada"}, [] { transfer(0, 1, 2); });
          weft::go(weft::attrs{.name = "grace"}, [] { transfer(1, 0, 2); });
        },
        deadlock);
  }
  if (name == "self") {
    return asleep(
        1, [] { weft::go(weft::attrs{.name = "ada"}, [] { transfer(3, 3, 1); }); }, deadlock);
  }
  if (name == "ring") {
    return asleep(
        20,
        [] {
          for (int i = 0; i < 20; ++i) weft::go([i] { transfer(i, (i + 1) % 20, 20); });
        },
        deadlock);
  }
  if (name == "reasons") {
    return asleep(
        4,
        [] {
          std::thread([] { accounts[0].lock(), never.acquire(); }).detach();
          weft::blocking([] { await_sleepers(1); });
          weft::go(weft::attrs{.name = "clerk"}, wait_for_customers);
          weft::go(weft::attrs{.name = "visitor"}, [] { transfer(1, 0, 1); });
          weft::blocking([] { await_sleepers(3); });
          weft::go(weft::attrs{.name = "heir"}, [] {
            while (accounts[2].try_lock()) {
              accounts[2].unlock();
              weft::yield();
            }
            transfer(3, 2, 1);
          });
          weft::yield();
          // Ends with the mutex held, on a stack of its own that nobody gets after it.
          weft::go([] {
            while (!accounts[2].try_lock()) weft::yield();
          });
        },
        [] {
          {
            // As whoever looks at those that wait when all is at rest.
            const weft::rt::mutex_guard guard(of("clerk")->rt->lock);
            of("clerk")->since -= weft::rt::coarse_ticks(125'000'000'000);
            of("clerk")->flags |= weft::rt::g_locked;
          }
          deadlock();
        });
  }
  if (name == "small_stacks") {
    // Several goroutines in the 64 KiB that the mutex remembers.
    return asleep(
        9,
        [] {
          for (int i = 0; i < 8; ++i) {
            weft::go(weft::attrs{.stack_size = 16 << 10}, [i] {
              if (i == 4) accounts[0].lock();
              wait_for_customers();
            });
          }
          weft::yield();
          weft::go(weft::attrs{.name = "late"}, [] { transfer(1, 0, 1); });
        },
        deadlock);
  }
  if (name == "many") {
    const std::size_t n = argc > 2 ? std::stoul(argv[2]) : 20'000;
    return asleep(
        n,
        [n] {
          weft::go([] { transfer(0, 1, 2); });
          weft::go([] { transfer(1, 0, 2); });
          while (ready.load() < 2) weft::yield();
          // All others behind the cycle.
          for (std::size_t i = 2; i < n; ++i) weft::go(weft::attrs{.stack_size = 16 << 10}, [] { accounts[0].lock(); });
        },
        deadlock);
  }
  if (name == "awaited" || name == "awaited_stacks" || name == "awaited_twice") {
    const std::size_t n = argc > 2 ? std::stoul(argv[2]) : 3;
    const bool stacks = name != "awaited";
    return asleep(
        n - 1,
        [n] {
          weft::go(weft::attrs{.name = "worker"}, wait_for_customers);
          for (std::size_t i = 2; i < n; ++i) weft::go([] { never.acquire(); });
        },
        [name, stacks] {
          const weft::rt::sched_t* rt = of("worker")->rt;
          if (name == "awaited_twice") weft::rt::wires.awaited(rt, 1'003'000'000, false);
          weft::rt::wires.awaited(rt, stacks ? 1'500'000'000 : 1'003'000'000, stacks);
          std::fputs("goes on\n", stderr);
          // Others can still report.
          if (name == "awaited_twice") deadlock();
        });
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
