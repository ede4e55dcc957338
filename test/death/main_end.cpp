// Programs whose main goroutine has returned while others are left. argv[1] names one. Run by main_end_test.cpp.
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

[[gnu::noinline]] void wait_for_ever(weft::semaphore& s) {
  s.acquire();
  asm volatile("");
}
[[gnu::noinline]] void promise_not_to_be_cancelled(weft::semaphore& s) noexcept {
  wait_for_ever(s);
  asm volatile("");
}

namespace {

weft::semaphore never(0);

// Ends by itself after a while.
void go_late(std::chrono::milliseconds after) {
  weft::go(weft::attrs{.name = "late"}, [after] {
    weft::blocking([after] { std::this_thread::sleep_for(after); });
    std::puts("late has ended");
  });
  weft::yield();
}

void go_stubborn() {
  weft::go(weft::attrs{.name = "stubborn"}, [] {
    const weft::no_cancel to_the_end;
    wait_for_ever(never);
  });
  weft::yield();
}

int run_case(const std::string& name) {
  if (name == "late") {
    return weft::run([] {
      go_late(1500ms);
      return 3;
    });
  }
  if (name == "soon") {
    return weft::run([] {
      go_late(100ms);
      return 3;
    });
  }
  if (name == "stubborn") {
    return weft::run([] {
      go_stubborn();
      return 7;
    });
  }
  if (name == "stubborn_void") return weft::run([] { go_stubborn(); });
  if (name == "stubborn_after_throw") {
    return weft::run([]() -> int {
      go_stubborn();
      throw std::runtime_error("main failed");
    });
  }
  if (name == "many_stubborn") {
    return weft::run([] {
      for (int i = 0; i < 12; ++i) go_stubborn();
      return 0;
    });
  }
  if (name == "spinning") {
    return weft::run([] {
      weft::go(weft::attrs{.name = "spinning"}, [] {
        for (;;) weft::yield();
      });
      return 9;
    });
  }
  if (name == "exit_with_main") {
    return weft::run([] {
      go_stubborn();
      return 5;
    });
  }
  if (name == "exit_with_main_that_throws") {
    try {
      return weft::run([]() -> int { throw std::runtime_error("main failed"); });
    } catch (const std::runtime_error& e) {
      std::puts(e.what());
      return 4;
    }
  }
  if (name == "noexcept") {
    return weft::run([] {
      weft::go(weft::attrs{.name = "careless"}, [] { promise_not_to_be_cancelled(never); });
      for (int i = 0; i < 5; ++i) weft::yield();
      return 0;
    });
  }
  if (name == "exit_into_noexcept") {
    return weft::run([] {
      struct exits {
        [[gnu::noinline]] void operator()() const noexcept { weft::this_goroutine::exit(); }
      };
      weft::wait_group all;
      all.go([] { exits{}(); });
      all.wait();
      return 0;
    });
  }
  if (name == "shutdown") {
    weft::options o = weft::options::from_env();
    weft::runtime embedded(o);
    weft::semaphore begun(0);
    embedded.go(weft::attrs{.name = "stubborn"}, [&] {
      begun.release();
      const weft::no_cancel to_the_end;
      wait_for_ever(never);
    });
    begun.acquire();
    embedded.shutdown();
    return 0;
  }
  return 99;
}

}  // namespace

int main(int argc, char** argv) {
  std::atexit([] { std::puts("atexit"); });
  return run_case(argc > 1 ? argv[1] : "");
}
