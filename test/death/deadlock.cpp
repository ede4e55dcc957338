// Programs in which nobody can go on, and such as only look like it. argv[1] names one. Run by deadlock_test.cpp.
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

// Not inlined: reports have them by name.
[[gnu::noinline]] void wait_for_ever(weft::semaphore& s) {
  s.acquire();
  asm volatile("");
}
[[gnu::noinline]] void lock_both(weft::mutex& first, weft::mutex& second, weft::wait_group& gate) {
  const std::lock_guard<weft::mutex> one(first);
  gate.done();
  gate.wait();
  const std::lock_guard<weft::mutex> two(second);
  asm volatile("");
}

namespace {

int main_alone() {
  weft::semaphore s(0);
  wait_for_ever(s);
  return 0;
}

// Whatever was stopped is not waited for: neither the time of a context that was cancelled, nor a timer's. All still have a handle.
int beside_what_was_stopped() {
  const weft::context ctx = weft::context::background().with_timeout(1h);
  const weft::context below = ctx.with_timeout(30min);
  ctx.cancel();
  const weft::timer later = weft::after_func(1h, [] {});
  later.stop();
  const weft::ticker every(1h);  // that nobody waits for
  return main_alone();
}

int several() {
  weft::semaphore s(0);
  weft::wait_group nobody;
  nobody.add(1);
  weft::go(weft::attrs{.name = "reader"}, [&] { wait_for_ever(s); });
  weft::go(weft::attrs{.name = "joiner"}, [&] { nobody.wait(); });
  wait_for_ever(s);
  return 0;
}

int mutexes() {
  weft::mutex a, b;
  weft::wait_group gate;
  gate.add(2);
  weft::go(weft::attrs{.name = "ab"}, [&] { lock_both(a, b, gate); });
  weft::go(weft::attrs{.name = "ba"}, [&] { lock_both(b, a, gate); });
  weft::semaphore s(0);
  wait_for_ever(s);
  return 0;
}

int locked() {
  weft::lock_os_thread();
  return main_alone();
}

int locked_both() {
  weft::semaphore s(0);
  weft::wait_group started;
  for (int i = 0; i < 2; ++i) {
    started.add(1);
    weft::go([&] {
      weft::lock_os_thread();
      started.done();
      wait_for_ever(s);
    });
  }
  started.wait();
  weft::lock_os_thread();
  wait_for_ever(s);
  return 0;
}

// Its thread has ended locked, or is wedged.
int after_locked_end() {
  weft::wait_group all;
  for (int i = 0; i < 3; ++i) {
    all.go([] { weft::lock_os_thread(); });
    all.wait();
  }
  return main_alone();
}

int main_exits_alone() { weft::this_goroutine::exit(); }

int main_exits_and_others_end() {
  for (int i = 0; i < 3; ++i) {
    weft::go([] {
      for (int k = 0; k < 10; ++k) weft::yield();
      std::puts("an other has ended");
      std::fflush(stdout);
    });
  }
  weft::this_goroutine::exit();
}

int main_exits_and_others_wait() {
  static weft::semaphore s(0);
  weft::go(weft::attrs{.name = "left"}, [] { wait_for_ever(s); });
  weft::this_goroutine::exit();
}

// After it all are asleep, but what is said is the panic.
int panic_beside_waiters() {
  weft::semaphore s(0);
  weft::go([&] { wait_for_ever(s); });
  weft::yield();
  weft::go([] { throw std::runtime_error("the last that ran"); });
  wait_for_ever(s);
  return 0;
}

// The destructor of main's frame throws while exit unwinds it.
int panic_in_exit() {
  struct throws {
    ~throws() noexcept(false) { throw std::runtime_error("while it unwinds"); }
  } end;
  weft::this_goroutine::exit();
}

// ---- no deadlocks: each prints "woken" in the end

int woken(const char* what = "woken") {
  std::puts(what);
  return 0;
}

int by_blocking() {
  weft::semaphore s(0);
  weft::go([&] {
    weft::blocking([] { std::this_thread::sleep_for(300ms); });
    s.release();
  });
  s.acquire();
  return woken();
}

int by_sleep() {
  weft::semaphore s(0);
  weft::go([&] {
    weft::sleep(300ms);
    s.release();
  });
  s.acquire();
  return woken();
}

int by_own_sleep() {
  weft::sleep(300ms);
  return woken();
}

int by_thread() {
  weft::semaphore s(0);
  std::thread outside([&] {
    std::this_thread::sleep_for(300ms);
    s.release();
  });
  s.acquire();
  weft::blocking([&] { outside.join(); });
  return woken();
}

// The thread ends, and had nothing for us.
int thread_ends() {
  weft::semaphore s(0);
  std::thread([] { std::this_thread::sleep_for(300ms); }).detach();
  s.acquire();
  return 0;
}

// The other runtime's goroutine is busy, and wakes ours.
int by_runtime() {
  weft::semaphore s(0);
  weft::options o;
  o.procs = 1;
  weft::runtime other(o);
  other.go([&] {
    const auto end = std::chrono::steady_clock::now() + 300ms;
    while (std::chrono::steady_clock::now() < end) weft::yield();
    s.release();
  });
  s.acquire();
  return woken();
}

// All goroutines of both wait. Its threads are ours, not foreign.
int with_runtime() {
  weft::semaphore s(0);
  weft::options o;
  o.procs = 1;
  weft::runtime other(o);
  other.go([&] { wait_for_ever(s); });
  wait_for_ever(s);
  return 0;
}

// Nobody can look at /proc: the others of the process are unknown.
int without_proc() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    std::puts("not permitted");
    std::fflush(stdout);
    ::_exit(77);
  }
  ::umount2("/proc", MNT_DETACH);
  if (::access("/proc/self/task", F_OK) == 0 && ::mount("none", "/proc", "tmpfs", 0, nullptr) != 0) {
    std::puts("not permitted");
    std::fflush(stdout);
    ::_exit(77);
  }
  return weft::run([] { return main_alone(); });
}

// Only run() reports: whoever embeds a runtime has other threads to come.
int embedded_alone() {
  weft::semaphore s(0);
  weft::runtime embedded;
  embedded.go([&] { wait_for_ever(s); });
  std::this_thread::sleep_for(300ms);
  s.release();
  embedded.shutdown();
  return woken();
}

// After main's end those that wait are cancelled; one that forbids it is awaited, whoever may come.
int after_main() {
  static weft::semaphore s(0);
  weft::go(weft::attrs{.name = "left"}, [] {
    const weft::no_cancel to_the_end;
    wait_for_ever(s);
  });
  weft::yield();
  return 5;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const struct {
    const char* name;
    int (*f)();
  } on_goroutine[] = {
      {"main_alone", main_alone},
      {"beside_what_was_stopped", beside_what_was_stopped},
      {"several", several},
      {"mutexes", mutexes},
      {"locked", locked},
      {"locked_both", locked_both},
      {"after_locked_end", after_locked_end},
      {"main_exits_alone", main_exits_alone},
      {"main_exits_and_others_end", main_exits_and_others_end},
      {"main_exits_and_others_wait", main_exits_and_others_wait},
      {"panic_beside_waiters", panic_beside_waiters},
      {"panic_in_exit", panic_in_exit},
      {"by_blocking", by_blocking},
      {"by_sleep", by_sleep},
      {"by_own_sleep", by_own_sleep},
      {"by_thread", by_thread},
      {"thread_ends", thread_ends},
      {"by_runtime", by_runtime},
      {"with_runtime", with_runtime},
      {"after_main", after_main},
  };
  if (name == "without_proc") return without_proc();
  if (name == "embedded_alone") return embedded_alone();
  if (name == "off") {
    weft::options o;
    o.deadlock = weft::options::off;
    return weft::run(o, main_alone);
  }
  if (name == "embedded_beside_off") {
    weft::options o;
    o.deadlock = weft::options::off;
    return weft::run(o, with_runtime);
  }
  for (const auto& each : on_goroutine) {
    if (name == each.name) return weft::run(each.f);
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
