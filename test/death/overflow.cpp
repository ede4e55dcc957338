// Overflows a stack: argv[1] is how, argv[2] the stack size of the goroutine; "main" for the main goroutine (argv[3]:
// RLIMIT_STACK, if it is to change), "big" for a stack of argv[3] bytes that a small goroutine borrows, "thread" for one
// that a plain thread borrows.
// Run by overflow_test.cpp.
#include <netdb.h>
#include <sys/resource.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "arch/getg.hpp"
#include "base/check.hpp"
#include "mem/stack.hpp"
#include "model/g.hpp"

namespace {

std::uintptr_t end_of_stack() { return weft::rt::getg()->stack->lo; }

volatile int zero = 0;
volatile int sink = 0;

// Not tail calls, and no loops: something is done after the call. Not static: the report has them by name. They would
// end at a number that never comes, and the compiler must not know that.
struct filler {
  char bytes[100];
};

}  // namespace

[[gnu::noinline]] int dig(int n) {
  if (n < zero) return 0;
  volatile filler f;
  f.bytes[0] = static_cast<char>(n);
  const int r = dig(n + 1);
  sink = f.bytes[0];
  return r;
}

template <int bytes>
[[gnu::noinline]] int dig_big(int n) {
  if (n < zero) return 0;
  volatile char big[bytes];
  big[0] = static_cast<char>(n);
  const int r = dig_big<bytes>(n + 1);
  sink = big[0];
  return r;
}

[[gnu::noinline]] int dig_allocating(int n) {
  if (n < zero) return 0;
  const std::string s(200, static_cast<char>('a' + n % 26));
  const int r = dig_allocating(n + 1);
  sink = s[7];
  return r;
}

struct digs_at_end {
  ~digs_at_end() { dig(0); }
};

[[gnu::noinline]] int dig_in_destructor() {
  const digs_at_end d;
  return zero;
}

[[gnu::noinline]] int dig_printing(int n) {
  if (n < zero) return 0;
  char buf[64];
  std::snprintf(buf, sizeof buf, "%d %f", n, 1.5 * n);
  const int r = dig_printing(n + 1);
  sink = buf[0];
  return r;
}

// A little too far and back again, as far as that is possible.
[[gnu::noinline]] int dig_to(std::uintptr_t end) {
  if (reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < end) return 1;
  volatile filler f;
  f.bytes[0] = static_cast<char>(end);
  const int r = dig_to(end);
  sink = f.bytes[0];
  return r;
}

[[gnu::noinline]] int dig_and_return() { return dig_to(end_of_stack() - 1000); }

[[gnu::noinline]] int dig_resolving(int n) {
  if (n < zero) return 0;
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo("127.0.0.1", "80", &hints, &found) == 0) freeaddrinfo(found);
  const int r = dig_resolving(n + 1);
  sink = found != nullptr;
  return r;
}

// For stacks that are too large to be filled here.
[[gnu::noinline]] int touch_guard() {
  *reinterpret_cast<volatile char*>(end_of_stack()) = 1;
  *reinterpret_cast<volatile char*>(end_of_stack() - 100) = 1;
  return 0;
}

// What there is can be used, but for a little that is the signal's and the library's.
[[gnu::noinline]] int dig_almost() { return dig_to(end_of_stack() + (8 << 10)) - 1; }

[[gnu::noinline]] int wait_in_vain(weft::semaphore& s) {
  s.acquire();
  return sink;
}

// On the borrowed stack; what waits there is shown down to the goroutine's own.
int wait_and_die() {
  static weft::semaphore never(0);
  weft::go(weft::attrs{.name = "waiter", .stack_size = 16 << 10},
           [] { sink = weft::on_big_stack([] { return wait_in_vain(never) + 1; }, 64 << 10) + 1; });
  for (int i = 0; i < 10; ++i) weft::yield();
  weft::rt::fatal("test: the end");
}

// ---- neighbours: goroutines on the slots around that of the digger, with something on their stacks

constexpr int neighbours = 8;
constexpr unsigned pattern = 0x77665544;
struct held {
  unsigned words[256];
};
const volatile held* theirs[neighbours];

void say_how_they_are() {
  bool intact = true;
  for (const volatile held* h : theirs) {
    for (const volatile unsigned& w : h->words) intact = intact && w == pattern;
  }
  const char* text = intact ? "neighbours intact\n" : "neighbours damaged\n";
  if (write(1, text, std::strlen(text)) < 0) std::abort();
}

// Before the runtime's own, which passes on to it what it has reported.
void on_fault(int sig, siginfo_t*, void*) {
  say_how_they_are();
  signal(sig, SIG_DFL);
}

int dig_among_neighbours(std::size_t size) {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  return weft::run([size] {
    weft::semaphore ready(0), said(0), over(0);
    weft::wait_group wg;
    const auto start = [&](const char* name, auto f) {
      wg.add(1);
      weft::go(weft::attrs{.name = name, .stack_size = size}, [&wg, f] {
        f();
        wg.done();
      });
    };
    const auto wait_with = [&](int i) {
      start("neighbour", [&, i] {
        volatile held mine;
        for (volatile unsigned& w : mine.words) w = pattern;
        theirs[i] = &mine;
        ready.release();
        over.acquire();
        sink = static_cast<int>(mine.words[0]);
      });
      ready.acquire();
    };
    for (int i = 0; i < neighbours / 2; ++i) wait_with(i);
    // The digger has its stack before the others have theirs, and digs when they are there.
    weft::semaphore dig(0);
    start("digger", [&] {
      ready.release();
      dig.acquire();
      dig_and_return();
      say_how_they_are();
      said.release();
    });
    ready.acquire();
    for (int i = neighbours / 2; i < neighbours; ++i) wait_with(i);
    dig.release();
    said.acquire();
    for (int i = 0; i < neighbours; ++i) over.release();
    wg.wait();
    return 0;
  });
}

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "neighbours") == 0) {
    return dig_among_neighbours(std::strtoull(argv[2], nullptr, 10));
  }
  if (argc != 3 && argc != 4) return 99;
  const std::size_t borrowed = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 0;
  const std::string how = argv[1], where = argv[2];
  int (*f)() = nullptr;
  if (how == "recursion") f = [] { return dig(0); };
  if (how == "3k_frame") f = [] { return dig_big<3 << 10>(0); };
  if (how == "12k_frame") f = [] { return dig_big<12 << 10>(0); };
  if (how == "24k_frame") f = [] { return dig_big<24 << 10>(0); };
  if (how == "resolving") f = [] { return dig_resolving(0); };
  if (how == "touch") f = touch_guard;
  if (how == "almost") f = dig_almost;
  if (how == "wait_and_die") f = wait_and_die;
  if (how == "allocating") f = [] { return dig_allocating(0); };
  if (how == "destructor") f = dig_in_destructor;
  if (how == "printing") f = [] { return dig_printing(0); };
  if (how == "and_return") f = dig_and_return;
  if (how == "and_park") {
    f = [] {
      dig_and_return();
      weft::yield();
      std::puts("went on");
      std::fflush(stdout);
      return 0;
    };
  }
  if (f == nullptr) return 99;
  if (where == "thread") {
    std::thread([&] { weft::on_big_stack(f, borrowed); }).join();
    return 0;
  }
  if (where == "main" && argc == 4) {
    rlimit limit{};
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = std::strcmp(argv[3], "unlimited") == 0 ? RLIM_INFINITY : borrowed;
    if (setrlimit(RLIMIT_STACK, &limit) != 0) return 77;
  }
  return weft::run([&] {
    if (where == "main") return f();
    if (where == "big") {
      weft::go(weft::attrs{.name = "digger", .stack_size = 16 << 10},
               [f, borrowed] { std::printf("%d\n", weft::on_big_stack(f, borrowed)); });
      return 0;
    }
    const std::size_t size = std::strtoull(where.c_str(), nullptr, 10);
    weft::go(weft::attrs{.name = "digger", .stack_size = size}, [f] { std::printf("%d\n", f()); });
    return 0;
  });
}
