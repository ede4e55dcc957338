// Runs while the system refuses something. Run by resources_test.cpp.
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <string>
#include <system_error>

namespace {

bool limit(int what, rlim_t value) {
  const rlimit r{value, value};
  return setrlimit(static_cast<__rlimit_resource>(what), &r) == 0;
}

// The address space that the process has, in bytes.
std::size_t address_space() {
  std::size_t pages = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%zu", &pages) != 1) pages = 0;
    std::fclose(f);
  }
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// As many goroutines as argv says, each waits for all others to have begun: without threads for them nobody
// would come that far if they blocked.
int work(int n) {
  std::atomic<int> done{0};
  weft::wait_group wg;
  for (int i = 0; i < n; ++i) {
    wg.go([&] {
      for (int k = 0; k < 10; ++k) weft::yield();
      weft::blocking([] { usleep(100); });
      ++done;
    });
  }
  wg.wait();
  std::printf("done: %d of %d\n", done.load(), n);
  return done == n ? 0 : 1;
}

}  // namespace

// Not static, not inlined: the dump is to have them by name.
[[gnu::noinline]] void wait_on_semaphore(weft::semaphore& s, int depth) {
  if (depth > 0) {
    wait_on_semaphore(s, depth - 1);
  } else {
    s.acquire();
  }
  asm volatile("");  // no tail call
}
[[gnu::noinline]] void wait_on_mutex(weft::mutex& m) {
  const std::lock_guard<weft::mutex> hold(m);
  asm volatile("");
}

namespace {

int dump() {
  weft::semaphore never(0);
  weft::mutex held;
  held.lock();
  weft::go(weft::attrs{.name = "patient"}, [&] { wait_on_semaphore(never, 3); });
  weft::go([&] { wait_on_mutex(held); });
  for (int i = 0; i < 5; ++i) weft::yield();
  for (int i = 0; i < 50; ++i) {
    weft::go([] { weft::blocking([] { usleep(200000); }); });
  }
  wait_on_semaphore(never, 0);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  try {
    if (name == "threads") {
      // A user of its own with no right to any further thread. Root has no such limit.
      if (setresuid(65534, 65534, 65534) != 0) return 77;
      if (!limit(RLIMIT_NPROC, 1)) return 77;
      weft::options o;
      o.procs = 4;
      return weft::run(o, [] { return work(200); });
    }
    if (name == "start") {
      // What is mapped already, and a little.
      const std::size_t more = static_cast<std::size_t>(argc > 2 ? std::atoi(argv[2]) : 0) << 10;
      if (!limit(RLIMIT_AS, address_space() + more)) return 77;
      return weft::run([] { return work(10); });
    }
    if (name == "parked") {
      ::mallopt(M_ARENA_MAX, 1);  // those of threads reserve 64 MiB each: how many there are is not the question
      if (!limit(RLIMIT_AS, address_space() + (std::size_t{400} << 20))) return 77;
      weft::options o;
      o.procs = 2;
      o.stack_size = 16 << 10;
      return weft::run(o, [] {
        weft::semaphore never(0);
        for (int i = 0; i < 1'000'000; ++i) {
          weft::go([&never] { never.acquire(); });
          if (i % 64 == 0) weft::yield();
        }
        return 0;
      });
    }
    if (name == "too_many_threads") {
      weft::options o;
      o.procs = 2;
      o.max_threads = 4;
      return weft::run(o, dump);
    }
  } catch (const std::system_error& e) {
    std::printf("std::system_error %d: %s\n", e.code().value(), e.what());
    return 3;
  } catch (const std::bad_alloc& e) {
    std::printf("std::bad_alloc: %s\n", e.what());
    return 4;
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
