// timers: everything that waits with a time limit, at once, while the number of Ps changes under it: sleeps, timed semaphores,
// mutexes and conditions against those who release and notify, selects against timers that others set anew, functions at a
// time against stop and reset, and plain threads in the same queues.
//
// What must hold: nobody is early; tokens in are tokens out, whoever timed out; the mutex is one man's; a function has run,
// or stop said that it will not, exactly once for each time it was set; all come back, and nothing is left.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support/stress.hpp"

using namespace weft;
using namespace std::chrono_literals;

namespace {

std::atomic<std::uint64_t> waits{0}, timeouts{0}, fired{0}, stopped{0}, changes{0};

constexpr int tokens = 3;
constexpr int steps = test::scaled(60, 6);

struct field {
  semaphore free{tokens};
  mutex lock;
  int held = 0;
  shared_mutex shared;
  std::atomic<int> readers{0}, writers{0};
  mutex cond_lock;
  condition_variable cond;
  int generation = 0;
  timer common{1h};
  chan<int> slot{1};
};

std::chrono::microseconds some(test::random_source& r) {
  return std::chrono::microseconds(r.below(r.one_in(4) ? 800 : 60));
}

// A wait that may time out was not shorter than its limit, if it did.
template <class F>
bool limited(std::chrono::nanoseconds limit, F wait) {
  const auto begin = clock::now();
  const bool done = wait();
  ++waits;
  if (!done) {
    ++timeouts;
    test::expect(clock::now() - begin >= limit, "a wait has timed out early");
  }
  return done;
}

void with_token(field& f, test::random_source& r) {
  const auto limit = some(r);
  if (!limited(limit, [&] { return f.free.try_acquire_for(limit); })) return;
  if (r.one_in(3)) sleep(some(r));
  f.free.release();
}

void with_lock(field& f, test::random_source& r) {
  const auto limit = some(r);
  if (!limited(limit, [&] { return f.lock.try_lock_until(clock::now() + limit); })) return;
  test::expect(++f.held == 1, "two hold the mutex");
  if (r.one_in(3)) sleep(some(r));
  --f.held;
  f.lock.unlock();
}

void with_shared(field& f, test::random_source& r) {
  const auto limit = some(r);
  if (r.one_in(3)) {
    if (!limited(limit, [&] { return f.shared.try_lock_for(limit); })) return;
    test::expect(f.writers.fetch_add(1) == 0 && f.readers == 0, "a writer is not alone");
    if (r.one_in(4)) sleep(some(r));
    --f.writers;
    f.shared.unlock();
  } else {
    if (!limited(limit, [&] { return f.shared.try_lock_shared_for(limit); })) return;
    ++f.readers;
    test::expect(f.writers == 0, "a reader beside a writer");
    if (r.one_in(4)) sleep(some(r));
    --f.readers;
    f.shared.unlock_shared();
  }
}

void with_condition(field& f, test::random_source& r) {
  std::unique_lock guard(f.cond_lock);
  if (r.one_in(2)) {
    ++f.generation;
    r.one_in(2) ? f.cond.notify_all() : f.cond.notify_one();
    return;
  }
  const auto limit = some(r);
  const int seen = f.generation;
  limited(limit, [&] { return f.cond.wait_for(guard, limit, [&] { return f.generation != seen; }); });
  test::expect(guard.owns_lock(), "the lock is not held after a wait");
}

void with_select(field& f, test::random_source& r) {
  if (r.one_in(4)) {
    f.common.reset(some(r));
    return;
  }
  const auto limit = some(r);
  const auto begin = clock::now();
  std::optional<int> v;
  std::optional<clock::time_point> t;
  switch (select(recv(f.slot, v), send(f.slot, 1), recv(f.common.channel(), t), after(limit))) {
    case 2: test::expect(*t <= clock::now(), "a timer was early"); break;
    case 3: test::expect(clock::now() - begin >= limit, "a select was early"); break;
    default: break;
  }
  ++waits;
}

// Each time it is set, the function is called or stopped: once.
void with_function(test::random_source& r) {
  const auto ran = std::make_shared<std::atomic<int>>(0);
  const auto d = some(r);
  const auto begin = clock::now();
  int sets = 1;
  const timer t = after_func(d, [ran, begin, d] {
    test::expect(clock::now() - begin >= d, "a function was called early");
    ++fired;
    ++*ran;
  });
  for (std::uint32_t i = r.below(4); i > 0; --i) {
    if (r.one_in(2)) sleep(some(r));
    if (!t.reset(d)) ++sets;
  }
  if (r.one_in(2)) sleep(some(r));
  if (t.stop()) {
    --sets;
    ++stopped;
  }
  while (*ran < sets) sleep(20us);
  test::expect(*ran == sets, "a function was called more often than it was set");
}

void one_step(field& f, test::random_source& r) {
  switch (r.below(9)) {
    case 0: sleep(some(r)); break;
    case 1: with_token(f, r); break;
    case 2: with_lock(f, r); break;
    case 3: with_shared(f, r); break;
    case 4: with_condition(f, r); break;
    case 5: with_select(f, r); break;
    case 6:
      gomaxprocs(1 + static_cast<int>(r.below(6)));
      ++changes;
      break;
    case 7: with_function(r); break;
    default: yield(); break;
  }
}

}  // namespace

int main() {
  test::stress s("stress_timers");
  while (s.more()) {
    field f;
    const std::uint64_t seed = s.random().next_seed();
    const std::uint32_t people = 4 + s.random().below(40);
    s.run(s.any_options(), [&] {
      // Threads that are in no runtime stand in the same lines.
      std::thread outside([&f, seed] {
        test::random_source r(seed ^ 99);
        for (int i = 0; i < steps; ++i) {
          switch (r.below(4)) {
            case 0: with_token(f, r); break;
            case 1: with_lock(f, r); break;
            case 2: with_condition(f, r); break;
            default: with_select(f, r); break;
          }
        }
      });
      wait_group all;
      for (std::uint32_t i = 0; i < people; ++i) {
        all.go([&f, seed, i] {
          test::random_source r(seed + i);
          for (int k = 0; k < steps; ++k) one_step(f, r);
        });
      }
      all.wait();
      blocking([&] { outside.join(); });
      for (int i = 0; i < tokens; ++i) test::expect(f.free.try_acquire(), "a token is lost");
      test::expect(!f.free.try_acquire(), "a token too many");
      test::expect(f.held == 0 && f.lock.try_lock(), "the mutex is not free");
      f.lock.unlock();
      test::expect(f.shared.try_lock(), "the shared mutex is not free");
      f.shared.unlock();
    });
  }
  std::printf("%llu timed out; %llu functions called, %llu stopped; %llu changes of the number of Ps\n",
              static_cast<unsigned long long>(timeouts), static_cast<unsigned long long>(fired),
              static_cast<unsigned long long>(stopped), static_cast<unsigned long long>(changes));
  return s.finish("waits with a time limit", waits.load());
}
