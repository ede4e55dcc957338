// take_back: goroutines that compute, sleep in the kernel, block in locks of others, end their threads or are cancelled, all at
// once, while the number of Ps changes and tickers tick. `./x test soak` runs it for long.
//
// What must hold: tokens in are tokens out, each once, wherever its holder loses its P; nothing moves a goroutine but a wait
// of its own; the foreign lock is one man's; no foreign call is interrupted; all come back, and nothing is left.
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "support/stress.hpp"

using namespace weft;
using namespace std::chrono_literals;

namespace {

std::atomic<std::uint64_t> deeds{0}, changes{0}, cancelled_ones{0}, threads_ended{0}, ticks{0};

constexpr int tokens = 40;
constexpr int turns = test::scaled(12, 4);

struct token {
  int id = -1;
  int deeds = 0;
};

struct field {
  chan<token> todo{tokens};
  chan<token> done{tokens};
  chan<> never;
  std::mutex foreign;
  int inside_foreign = 0;
  wait_group others;  // those that a deed has left behind
};

std::chrono::microseconds some(test::random_source& r, std::uint32_t most) {
  return std::chrono::microseconds(r.below(most) + 1);
}

void compute(std::chrono::microseconds d) {
  const auto end = std::chrono::steady_clock::now() + d;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void in_the_kernel(test::random_source& r) {
  const auto thread = test::thread_id();
  const auto d = some(r, 15'000);
  if (r.one_in(2)) {
    test::expect(::usleep(static_cast<unsigned>(d.count())) == 0, "usleep was interrupted");
  } else {
    test::expect(::poll(nullptr, 0, static_cast<int>(d.count() / 1000)) == 0, "poll was interrupted");
  }
  test::expect(test::thread_id() == thread, "moved by a foreign call");
}

void with_foreign_lock(field& f, test::random_source& r) {
  const auto thread = test::thread_id();
  const std::lock_guard lock(f.foreign);
  test::expect(f.inside_foreign++ == 0, "two in a std::mutex");
  if (r.one_in(2)) {
    ::usleep(static_cast<unsigned>(some(r, 2000).count()));
  } else {
    compute(some(r, 2000));
  }
  test::expect(--f.inside_foreign == 0, "two in a std::mutex");
  test::expect(test::thread_id() == thread, "moved while it held a foreign lock");
}

void until_cancelled(field& f, test::random_source& r) {
  const context ctx = context::background().with_timeout(some(r, 5000));
  try {
    with(ctx, [&] {
      if (r.one_in(2)) compute(some(r, 8000));
      f.never.recv();
    });
    test::expect(false, "nobody sends there");
  } catch (const cancelled&) {
    ++cancelled_ones;
  }
}

// It ends locked, and its thread with it.
void by_a_thread_of_its_own(field& f, test::random_source& r, token t) {
  const auto d = some(r, 5000);
  f.others.go([&f, d, t] {
    lock_os_thread();
    ++threads_ended;
    compute(d);
    ::usleep(static_cast<unsigned>(d.count()));
    f.done.send(t);
  });
}

void calls_back_to_back(test::random_source& r) {
  const auto end = std::chrono::steady_clock::now() + some(r, 12'000);
  chan<int> full(1);
  full.send(1);
  mutex free;
  while (std::chrono::steady_clock::now() < end) {
    test::expect(full.try_send(2) == chan_status::would_block, "sent into a full channel");
    free.lock();
    free.unlock();
  }
}

// One deed; then the token goes on, mostly by the hands of the same goroutine.
void one_deed(field& f, test::random_source& r, token t) {
  ++deeds;
  ++t.deeds;
  switch (r.below(11)) {
    case 0: compute(some(r, 25'000)); break;
    case 1:
    case 2: in_the_kernel(r); break;
    case 3: sleep(some(r, 5000)); break;
    case 4: select(recv(f.never), after(some(r, 5000))); break;
    case 5: with_foreign_lock(f, r); break;
    case 6: until_cancelled(f, r); break;
    case 7: by_a_thread_of_its_own(f, r, t); return;
    case 8: calls_back_to_back(r); break;
    case 9: blocking([&] { in_the_kernel(r); }); break;
    default: {
      const auto d = some(r, 3000);
      f.others.go([&f, d, t] {
        // A thread that is in no runtime.
        std::thread outside([&f, d, t] {
          ::usleep(static_cast<unsigned>(d.count()));
          f.done.send(t);
        });
        outside.join();  // of pthread: blocks
      });
      return;
    }
  }
  f.done.send(t);
}

}  // namespace

int main() {
  test::stress s("stress_take_back");
  while (s.more()) {
    field f;
    const std::uint64_t seed = s.random().next_seed();
    const std::uint32_t people = 2 + s.random().below(20);
    std::string knobs;
    if (s.random().one_in(6)) knobs = "membarrier=off";
    if (s.random().one_in(6)) knobs += std::string(knobs.empty() ? "" : ",") + "revokedelay=1";
    s.run(
        s.any_options(),
        [&] {
          std::atomic<bool> over = false;
          wait_group all, around;
          for (int i = 0; i < 10; ++i) {
            around.go([&] {
              while (!over.load()) {
                sleep(1ms);
                ++ticks;
              }
            });
          }
          around.go([&] {
            test::random_source r(seed ^ 7);
            while (!over.load()) {
              sleep(some(r, 20'000));
              gomaxprocs(1 + static_cast<int>(r.below(4)));
              ++changes;
            }
          });
          for (std::uint32_t i = 0; i < people; ++i) {
            all.go([&f, seed, i] {
              test::random_source r(seed + i);
              while (const auto t = f.todo.recv()) one_deed(f, r, *t);
            });
          }
          for (int i = 0; i < tokens; ++i) f.todo.send({i, 0});
          std::vector<int> seen(tokens, 0);
          for (int out = 0; out < tokens;) {
            const token t = *f.done.recv();
            if (t.deeds < turns) {
              f.todo.send(t);
            } else {
              ++seen[static_cast<std::size_t>(t.id)];
              ++out;
            }
          }
          for (const int n : seen) test::expect(n == 1, "a token is lost, or there twice");
          f.todo.close();
          all.wait();
          f.others.wait();
          over = true;
          around.wait();
          test::expect(f.done.size() == 0, "a token too many");
        },
        [] {}, knobs);
  }
  std::printf("%llu cancelled, %llu threads ended, %llu changes of the number of Ps, %llu ticks\n",
              static_cast<unsigned long long>(cancelled_ones), static_cast<unsigned long long>(threads_ended),
              static_cast<unsigned long long>(changes), static_cast<unsigned long long>(ticks));
  return s.finish("deeds", deeds.load());
}
