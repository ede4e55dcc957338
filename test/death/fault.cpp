// Faults that are no overflow are none of weft's business. Run by overflow_test.cpp.
#include <unistd.h>
#include <weft/weft.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

namespace {

volatile int* volatile nowhere = nullptr;

// A fault on purpose: not for the sanitizer to report, but for the kernel.
__attribute__((noinline, no_sanitize("undefined"))) void touch_nowhere() { *nowhere = 1; }

void handler(int, siginfo_t*, void*) {
  constexpr char text[] = "the program's own handler\n";
  static_cast<void>(!::write(2, text, sizeof text - 1));
  ::_exit(5);
}

void install(int flags) {
  struct sigaction sa {};
  sa.sa_sigaction = handler;
  sa.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&sa.sa_mask);
  sigaction(SIGSEGV, &sa, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "null") return weft::run([] { weft::go([] { touch_nowhere(); }); });
  if (name == "null_in_main") return weft::run([] { touch_nowhere(); });
  if (name == "null_on_thread") {
    weft::run([] {});
    touch_nowhere();
  }
  // Main stays: ThreadSanitizer takes a second to end a process, and by then somebody would be awaited.
  if (name == "handler_before") {
    install(SA_ONSTACK);
    return weft::run([] {
      weft::go([] { touch_nowhere(); });
      weft::sleep(std::chrono::minutes(1));
    });
  }
  if (name == "handler_after") {
    return weft::run([] {
      install(SA_ONSTACK);
      weft::go([] { touch_nowhere(); });
      weft::sleep(std::chrono::minutes(1));
    });
  }
  if (name == "sent") {
    // By kill, not by an instruction: the default is death all the same.
    return weft::run([] { weft::go([] { kill(getpid(), SIGSEGV); }); });
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
