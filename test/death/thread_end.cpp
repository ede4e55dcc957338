// A thread ends under its goroutine, in the way that argv[1] names. Run by thread_end_test.cpp.
#include <pthread.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace plugin {

volatile int never = 0;

[[gnu::noinline]] void end_thread() {
  if (never == 0) pthread_exit(nullptr);
}

[[gnu::noinline]] void wait_to_be_cancelled() {
  for (;;) ::pause();  // a cancellation point of the system's
}

weft::semaphore nobody(0);

// The main goroutine stays on the process's first thread: it does not wait in weft, where it might change places with another,
// which nothing would ever bring away from there. (There are two Ps.)
void start_others() {
  static std::atomic<bool> there{false};
  weft::go(weft::attrs{.name = "patient"}, [] {
    there = true;
    nobody.acquire();
  });
  while (!there) ::usleep(100);
}

// On a thread of the runtime that is not the process's first, where the main goroutine is.
void on_worker(void (*f)()) {
  weft::go(weft::attrs{.name = "caller"}, [f] {
    if (::gettid() == ::getpid()) std::abort();
    f();
    never = 1;
  });
  weft::blocking([] {
    for (;;) ::usleep(1000);
  });
}

}  // namespace plugin

int main(int argc, char** argv) {
  using namespace plugin;
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "exit_on_worker") {
    return weft::run([] {
      start_others();
      on_worker(end_thread);
    });
  }
  if (name == "exit_on_main") {
    return weft::run([] {
      start_others();
      end_thread();
    });
  }
  if (name == "cancel") {
    static std::atomic<pthread_t> victim{0};
    std::thread([] {
      while (victim.load() == 0) ::usleep(1000);
      ::pthread_cancel(victim.load());
    }).detach();
    return weft::run([] {
      start_others();
      on_worker([] {
        victim = ::pthread_self();
        wait_to_be_cancelled();
      });
    });
  }
  if (name == "exit_beside_the_taken") {
    // Both have lost their Ps, and are asleep and busy when the report is made.
    return weft::run([] {
      start_others();
      static std::atomic<int> inside{0};
      weft::go(weft::attrs{.name = "sleeper"}, [] {
        ++inside;
        for (;;) ::pause();
      });
      weft::go(weft::attrs{.name = "spinner"}, [] {
        ++inside;
        while (never == 0) {
        }
      });
      while (inside < 2) weft::sleep(std::chrono::milliseconds(1));
      weft::gomaxprocs(1);  // else the second keeps the one that nobody needs
      weft::go(weft::attrs{.name = "caller"}, end_thread);
      weft::sleep(std::chrono::hours(1));
    });
  }
  if (name == "harmless") {
    // Threads of the program's own, one of which was a thread of the runtime for a while.
    std::thread([] { pthread_exit(nullptr); }).join();
    std::thread([] {
      weft::run([] { weft::yield(); });
      pthread_exit(nullptr);
    }).join();
    weft::run([] { weft::blocking([] { std::thread([] { pthread_exit(nullptr); }).join(); }); });
    std::puts("all is well");
    return 0;
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
