// blocking: goroutines in calls that block the thread, more of them than Ps, beside runnable ones. Everybody gets on:
// the runnable ones while all the others block (one of those waits for them, so a P that went missing is a hang), and each
// goroutine keeps its thread across the call.
#include <unistd.h>

#include <ctime>
#include <vector>

#include "support/stress.hpp"

using namespace weft;

namespace {

std::uint64_t calls = 0;

void short_sleep(test::random_source& r) {
  // What is blocked in, not a way to wait for somebody.
  const timespec t{0, static_cast<long>(r.below(200'000))};
  ::nanosleep(&t, nullptr);
}

template <class F>
void on_its_thread(F f) {
  const std::uint64_t before = test::thread_id();
  blocking([&] {
    test::expect(test::thread_id() == before, "a blocking call began on another thread");
    f();
  });
  test::expect(test::thread_id() == before, "a blocking call ended on another thread");
}

// Nested: the inner call takes a P back for its own beginning and gives it away again; a runtime call in between does the
// same. At the end there is a P.
void nested(test::random_source& r, int depth) {
  on_its_thread([&] {
    if (r.one_in(4)) short_sleep(r);
    if (depth > 0) nested(r, depth - 1);
    if (r.one_in(4)) {
      static_cast<void>(num_goroutine());
      go([] {});
    }
  });
}

// A pipe between two goroutines: both sides block in the kernel.
void through_a_pipe(wait_group& all, int n, std::uint64_t seed) {
  int fds[2];
  test::expect(::pipe(fds) == 0, "pipe");
  all.go([fd = fds[1], n, seed] {
    test::random_source r(seed);
    for (int i = 0; i < n; ++i) {
      on_its_thread([&] {
        const char c = static_cast<char>(i);
        test::expect(::write(fd, &c, 1) == 1, "write");
      });
      if (r.one_in(4)) yield();
    }
    ::close(fd);
  });
  all.go([fd = fds[0], n] {
    int got = 0;
    for (;;) {
      char c = 0;
      const long k = blocking([&] { return ::read(fd, &c, 1); });
      if (k == 0) break;
      test::expect(k == 1 && c == static_cast<char>(got), "a byte of a pipe is wrong");
      ++got;
    }
    test::expect(got == n, "bytes of a pipe are missing");
    ::close(fd);
  });
}

// Every P is given away at once; each call returns only after the runnable goroutines have run to their end.
void all_blocked_until_others_ran(int procs, test::random_source& r) {
  std::atomic<int> inside{0}, ran{0};
  const int blockers = procs + 1 + static_cast<int>(r.below(3)), runnable = 1 + static_cast<int>(r.below(20));
  wait_group all;
  for (int i = 0; i < blockers; ++i) {
    all.go([&] {
      blocking([&] {
        ++inside;
        test::spin_until([&] {
          rt::os::yield_thread();
          return ran.load(std::memory_order_relaxed) == runnable;
        });
      });
    });
  }
  for (int i = 0; i < runnable; ++i) {
    all.go([&] {
      test::yield_until([&] { return inside.load(std::memory_order_relaxed) == blockers; });
      ++ran;
    });
  }
  all.wait();
}

}  // namespace

int main() {
  test::stress s("blocking");
  while (s.more()) {
    const options o = s.any_options();
    test::random_source& r = s.random();
    s.run(o, [&] {
      wait_group all;
      const int n = 2 + static_cast<int>(r.below(12));
      for (int i = 0; i < n; ++i) {
        const std::uint64_t seed = r.next_seed();
        all.go([seed] {
          test::random_source mine(seed);
          for (int k = 0; k < 20; ++k) {
            nested(mine, static_cast<int>(mine.below(3)));
            if (mine.one_in(2)) yield();
          }
        });
        calls += 20;
      }
      through_a_pipe(all, 50, r.next_seed());
      std::atomic<bool> stop{false};
      wait_group others;
      for (int i = 0; i < 4; ++i) {
        others.go([&] {
          while (!stop.load(std::memory_order_relaxed)) yield();
        });
      }
      all.wait();
      stop = true;
      others.wait();
      all_blocked_until_others_ran(o.procs, r);
    });
  }
  return s.finish("goroutines' blocking calls, at least", calls);
}
