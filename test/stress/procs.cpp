// procs: the whole scheduler at once. The number of Ps changes at random while goroutines yield, wait, start others, block
// in calls, lock themselves to their threads and end there, borrow big stacks and throw; plain threads and runtimes that
// come and go share their semaphores; and in half of the rounds main returns in the middle of it, so that all of them are
// cancelled wherever they are.
//
// What must hold, whatever happens: tokens in are tokens out, the mutex is one man's, a goroutine that is begun ends once
// and its callable is destroyed once, nobody is moved off a thread that is his, a result comes or is cancelled, threads
// stay as many as somebody needs, and at the end nothing is left (and in checked builds the world is whole).
#include <ctime>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/leaks.hpp"
#include "support/stress.hpp"

using namespace weft;

namespace {

constexpr int most_procs = 8;
constexpr int steps = test::scaled(120, 4);

std::atomic<std::uint64_t> moves{0}, changes{0}, locked_ends{0}, runtimes{0}, cancellations{0};

// Counts those that keep a thread for themselves, and the most there have ever been at once in the round.
class holders {
 public:
  void come() {
    const int n = now_.fetch_add(1) + 1;
    for (int seen = most_.load(); n > seen && !most_.compare_exchange_weak(seen, n);) {
    }
  }
  void go() { now_.fetch_sub(1); }
  int most() const { return most_.load(); }

 private:
  std::atomic<int> now_{0}, most_{0};
};

// What everybody of a round shares.
struct field {
  explicit field(int n) : tokens(n), free(n) {}

  const int tokens;
  semaphore free;
  mutex lock;
  int held = 0;  // under lock
  std::atomic<std::int64_t> begun{0}, ended{0}, callables{0};
  std::atomic<bool> over{false};  // for plain threads: the runtime they are beside has ended
  holders threads, embedded;
};

// Everything that a goroutine has of the round is given back by a destructor, because it may be cancelled in any wait.
class token {
 public:
  explicit token(field& f) : f_(f) {
    f.free.acquire();
    count(+1);
  }
  ~token() {
    count(-1);
    f_.free.release();
  }
  token(const token&) = delete;
  token& operator=(const token&) = delete;

 private:
  void count(int by) {
    f_.lock.lock();
    f_.held += by;
    test::expect(f_.held >= 0 && f_.held <= f_.tokens, "more tokens in hand than there are, or fewer than none");
    f_.lock.unlock();
    moves.fetch_add(1, std::memory_order_relaxed);
  }
  field& f_;
};

// Keeps its thread for a while: in a blocking call, or locked.
class holds_a_thread {
 public:
  explicit holds_a_thread(field& f) : f_(f), thread_(test::thread_id()) { f.threads.come(); }
  ~holds_a_thread() {
    test::expect(test::thread_id() == thread_, "a goroutine was moved off its thread");
    f_.threads.go();
  }
  holds_a_thread(const holds_a_thread&) = delete;
  holds_a_thread& operator=(const holds_a_thread&) = delete;

 private:
  field& f_;
  std::uint64_t thread_;
};

// Counts a callable: it is destroyed once for each time it was made, whether its goroutine ran to its end or not.
class counted {
 public:
  explicit counted(field& f) : f_(&f) { f_->callables.fetch_add(1); }
  counted(counted&& from) noexcept : f_(from.f_) { f_->callables.fetch_add(1); }
  ~counted() { f_->callables.fetch_sub(1); }
  counted& operator=(counted&&) = delete;

 private:
  field* f_;
};

struct begin_and_end {
  explicit begin_and_end(field& of) : f(of) { f.begun.fetch_add(1); }
  ~begin_and_end() { f.ended.fetch_add(1); }
  begin_and_end(const begin_and_end&) = delete;
  begin_and_end& operator=(const begin_and_end&) = delete;
  field& f;
};

// A goroutine that is counted; `start` is weft::go or the go of a runtime.
template <class Start, class F>
void start_counted(field& f, Start&& start, F&& body) {
  start([&f, c = counted(f), body = std::forward<F>(body)]() mutable {
    const begin_and_end counts(f);
    body();
  });
}

// Waits for its goroutines also while it is unwound: they use what the waiter owns.
class group {
 public:
  ~group() {
    const no_cancel until_all_have_ended;
    all_.wait();
  }
  template <class F>
  void go(field& f, F&& body) {
    all_.add(1);
    start_counted(
        f, [](auto&& g) { weft::go(std::forward<decltype(g)>(g)); },
        [this, body = std::forward<F>(body)]() mutable {
          struct done {
            wait_group& all;
            ~done() { all.done(); }
          } at_end{all_};
          body();
        });
  }

 private:
  wait_group all_;
};

void short_sleep(test::random_source& r) {
  // What is blocked in, not a way to wait for somebody.
  const timespec t{0, static_cast<long>(r.below(100'000))};
  ::nanosleep(&t, nullptr);
}

void work(field& f, test::random_source& r, int n, int depth);
void another_runtime(field& f, test::random_source& r);

void in_a_blocking_call(field& f, test::random_source& r) {
  blocking([&] {
    const holds_a_thread here(f);
    short_sleep(r);
    // A runtime call in the middle: a P, from here to the next blocking call.
    if (r.one_in(4)) {
      start_counted(
          f, [](auto&& g) { go(std::forward<decltype(g)>(g)); }, [] {});
    }
  });
}

void locked_for_a_while(field& f, test::random_source& r, int depth) {
  const os_thread_lock here;
  const holds_a_thread holds(f);
  const std::uint64_t thread = test::thread_id();
  for (std::uint32_t i = 0; i < 1 + r.below(4); ++i) {
    if (r.one_in(2)) yield();
    work(f, r, 1, depth - 1);
    test::expect(test::thread_id() == thread, "a locked goroutine changed threads");
  }
}

// Each hands the P to the other's thread and back.
void locked_ping_pong(field& f, test::random_source& r) {
  semaphore ping(0), pong(0);
  const std::uint32_t n = 1 + r.below(10);
  const bool both = r.one_in(2);
  {
    group others;
    others.go(f, [&] {
      const os_thread_lock here;
      const holds_a_thread holds(f);
      const no_cancel to_the_end;  // the other counts on it
      for (std::uint32_t i = 0; i < n; ++i) {
        ping.acquire();
        pong.release();
      }
    });
    const no_cancel to_the_end;
    if (both) lock_os_thread();
    for (std::uint32_t i = 0; i < n; ++i) {
      ping.release();
      pong.acquire();
    }
    if (both) unlock_os_thread();
  }
}

// The thread goes with it.
void ends_locked(field& f, test::random_source& r) {
  f.threads.come();
  group others;
  others.go(f, [&f, exits = r.one_in(2), waits = r.one_in(2)] {
    struct at_end {
      field& f;
      ~at_end() { f.threads.go(); }
    } gone{f};
    lock_os_thread();
    locked_ends.fetch_add(1, std::memory_order_relaxed);
    if (waits) yield();
    if (exits) this_goroutine::exit();
  });
}

void throws_over_a_switch(test::random_source& r) {
  const std::uint32_t n = r.below(1000);
  try {
    try {
      throw std::runtime_error(std::to_string(n));
    } catch (const std::runtime_error&) {
      yield();
      throw;
    }
  } catch (const std::runtime_error& e) {
    yield();
    test::expect(std::to_string(n) == e.what(), "the exception of another was caught");
  }
}

void change_procs(test::random_source& r) {
  const int n = 1 + static_cast<int>(r.below(most_procs));
  const int before = gomaxprocs(n);
  test::expect(before >= 1 && before <= most_procs, "there were more Ps than anybody has asked for");
  changes.fetch_add(1, std::memory_order_relaxed);
}

// n steps of what a goroutine may do. `depth`: how deep these may still nest.
void work(field& f, test::random_source& r, int n, int depth) {
  for (int i = 0; i < n; ++i) {
    switch (r.below(depth > 0 ? 16 : 8)) {
      case 0:
      case 1: yield(); break;
      case 2:
      case 3: {
        const token mine(f);
        if (r.one_in(2)) yield();
        break;
      }
      case 4: in_a_blocking_call(f, r); break;
      case 5: throws_over_a_switch(r); break;
      case 6:
        start_counted(
            f, [](auto&& g) { go(std::forward<decltype(g)>(g)); }, [] {});
        break;
      case 7:
        if (r.one_in(4)) {
          change_procs(r);
        } else {
          // No call of the runtime: whoever stops the world takes its P.
          for (std::uint32_t d = r.below(10'000); d > 0; --d) rt::os::pause();
        }
        break;
      case 8: {
        const token mine(f);
        // Somebody else may need this token: nothing in here waits for another.
        in_a_blocking_call(f, r);
        break;
      }
      case 9: locked_for_a_while(f, r, depth); break;
      case 10: locked_ping_pong(f, r); break;
      case 11:
        if (r.one_in(4)) ends_locked(f, r);
        break;
      case 12: on_big_stack([&] { work(f, r, 1, depth - 1); }); break;
      case 13: {
        // Waits that others end, in some order.
        semaphore gate(0);
        const std::uint32_t k = 1 + r.below(4);
        group others;
        for (std::uint32_t j = 0; j < k; ++j) {
          others.go(f, [&f, &gate, seed = r.next_seed()] {
            test::random_source mine(seed);
            gate.acquire();
            if (mine.one_in(4)) work(f, mine, 1, 0);
          });
        }
        if (r.one_in(2)) yield();
        gate.release(k);
        break;
      }
      case 14: {
        group others;
        others.go(f, [&f, seed = r.next_seed(), depth] {
          test::random_source mine(seed);
          work(f, mine, 3, depth - 1);
        });
        break;
      }
      case 15:
        if (depth > 1 && r.one_in(8)) {
          another_runtime(f, r);
        } else {
          change_procs(r);
        }
        break;
    }
  }
}

// Like work, without end: until it is cancelled. A short sleep is a cancellation point.
void work_for_ever(field& f, test::random_source& r) {
  while (!this_goroutine::cancelled()) work(f, r, 1, 2);
  cancellations.fetch_add(1, std::memory_order_relaxed);
}

options any_options(test::random_source& r) {
  options o;
  o.procs = 1 + static_cast<int>(r.below(most_procs));
  // Patience is the watchdog's, which says where everybody is.
  o.shutdown_timeout = std::chrono::hours(1);
  return o;
}

// A runtime's whole life beside the round's: goroutines from outside, results, its end in the middle of the work or after.
void another_runtime(field& f, test::random_source& r) {
  runtimes.fetch_add(1, std::memory_order_relaxed);
  struct lives {
    field& f;
    explicit lives(field& of) : f(of) { f.embedded.come(); }
    ~lives() { f.embedded.go(); }
  } counts_as_one(f);
  runtime other(any_options(r));
  const std::uint32_t n = 1 + r.below(4);
  const bool for_ever = r.one_in(2);
  for (std::uint32_t i = 0; i < n; ++i) {
    start_counted(
        f, [&](auto&& g) { other.go(std::forward<decltype(g)>(g)); },
        [&f, for_ever, seed = r.next_seed()] {
          test::random_source mine(seed);
          if (for_ever) {
            work_for_ever(f, mine);
          } else {
            work(f, mine, steps / 8, 1);
          }
        });
  }
  const std::uint32_t value = r.below(1'000'000);
  std::future<std::uint32_t> result = other.submit([&f, value, seed = r.next_seed()] {
    const begin_and_end counts(f);
    test::random_source mine(seed);
    work(f, mine, 1 + static_cast<int>(mine.below(3)), 1);
    return value;
  });
  test::expect(other.run([&f, value] {
    const begin_and_end counts(f);
    yield();
    return value;
  }) == value,
               "run has returned another value");
  if (r.one_in(2)) short_sleep(r);
  other.shutdown();
  try {
    test::expect(blocking([&] { return result.get(); }) == value, "submit has returned another value");
  } catch (const future_cancelled&) {
  }
  try {
    other.go([] {});
    test::stress_failed("a runtime has taken a goroutine after its end");
  } catch (const error&) {
  }
}

// A plain thread, for as long as there is a round.
void foreign_thread(field& f, test::random_source r) {
  const bool with_runtimes = r.one_in(2);
  while (!f.over.load()) {
    if (with_runtimes) {
      another_runtime(f, r);
    } else {
      const token mine(f);
      for (std::uint32_t d = r.below(500); d > 0; --d) rt::os::pause();
    }
    if (r.one_in(4)) short_sleep(r);
  }
}

void check_threads(const field& f, std::uint64_t before) {
  // Each P may have an M that has just lost it, and one that is about to end.
  const std::uint64_t rts = 1 + static_cast<std::uint64_t>(f.embedded.most());
  const std::uint64_t allowed =
      before + rts * (3 * most_procs + 2) + 2 * static_cast<std::uint64_t>(f.threads.most()) + 8;
  const std::uint64_t now = test::count_threads();
  if (now > allowed) {
    test::stress_failed(std::to_string(now) + " threads, where at most " + std::to_string(f.threads.most()) +
                        " goroutines have kept one at the same time");
  }
}

void round(test::stress& s) {
  test::random_source r(s.random().next_seed());
  field f(1 + static_cast<int>(r.below(4)));
  const std::uint64_t threads_before = test::count_threads();
  const bool cancels = r.one_in(2);
  const std::uint32_t goroutines = 2 + r.below(8), strangers = r.below(3);
  const options o = any_options(r);
  std::vector<std::thread> threads;
  std::string knobs;
  if (r.one_in(2)) knobs = r.one_in(2) ? "rest=1" : "rest=50";
  if (r.one_in(4)) knobs += std::string(knobs.empty() ? "" : ",") + "spin=0";
  if (r.one_in(8)) knobs += std::string(knobs.empty() ? "" : ",") + "membarrier=off";

  const auto body = [&] {
    for (std::uint32_t i = 0; i < strangers; ++i) {
      threads.emplace_back(foreign_thread, std::ref(f), test::random_source(r.next_seed()));
    }
    if (cancels) {
      for (std::uint32_t i = 0; i < goroutines; ++i) {
        start_counted(
            f, [](auto&& g) { go(std::forward<decltype(g)>(g)); },
            [&f, seed = r.next_seed()] {
              test::random_source mine(seed);
              work_for_ever(f, mine);
            });
      }
      const bool locked = r.one_in(4);
      if (locked) lock_os_thread();
      work(f, r, static_cast<int>(1 + r.below(steps)), 2);
      check_threads(f, threads_before);
      return;  // locked or not, in the middle of everything
    }
    {
      group all;
      for (std::uint32_t i = 0; i < goroutines; ++i) {
        all.go(f, [&f, seed = r.next_seed()] {
          test::random_source mine(seed);
          work(f, mine, steps, 2);
        });
      }
      if (r.one_in(2)) work(f, r, steps, 1);
    }
    check_threads(f, threads_before);
  };
  const auto after = [&] {
    f.over = true;
    for (std::thread& t : threads) t.join();
  };
  s.run(o, body, after, knobs);

  test::expect(f.held == 0, "somebody still holds a token");
  for (int i = 0; i < f.tokens; ++i) test::expect(f.free.try_acquire(), "a token is lost");
  test::expect(!f.free.try_acquire(), "there is a token too many");
  test::expect(f.begun.load() == f.ended.load(), "a goroutine has begun and not ended");
  test::expect(f.callables.load() == 0, "a callable was not destroyed, or twice");
}

}  // namespace

int main() {
  test::stress s("procs");
  while (s.more()) round(s);
  std::printf("procs: %llu changes, %llu ends of locked goroutines, %llu other runtimes, %llu of work cancelled\n",
              static_cast<unsigned long long>(changes.load()), static_cast<unsigned long long>(locked_ends.load()),
              static_cast<unsigned long long>(runtimes.load()), static_cast<unsigned long long>(cancellations.load()));
  return s.finish("tokens moved", moves.load());
}
