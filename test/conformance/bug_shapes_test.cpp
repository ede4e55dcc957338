// Shapes of the concurrency bugs that Go programs are known for, as small programs of our own: locks, conditions, wait groups,
// contexts, timers, and above all channels. Each is wrong in one way, and has a twin in which that is put right.
//
// explored   the wrong one is found, for what it is, in a thousand runs; the right one passes a thousand
// for real   those that end in a deadlock do so in a process of their own, on one P, and the report names what each goroutine
//            waits for; the right ones run on 1, 2, 4 and 16 Ps
//
// Where the outcome hangs on who comes first, linger() settles it on one P: it gives way so many times, and in an exploration
// it is nothing. (test/sim has bugs that are rare, and says how rare; here it is what kinds there are.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/build.hpp"
#include "support/leaks.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace weft::test {
namespace {

using sim::failure_kind;
using namespace std::chrono_literals;

void linger(int turns) {
  if (sim::active()) return;
  for (int i = 0; i < turns; ++i) yield();
}

void must(bool holds, const char* what) {
  if (sim::active()) return sim::check(holds, what);
  EXPECT_TRUE(holds) << what;
}

// ---- locks

// A method that locks calls another that does.
template <bool right>
void double_lock() {
  struct account {
    mutex m;
    int balance = 3;
    void log_unlocked() { ++balance; }
    void log() {
      const std::lock_guard hold(m);
      log_unlocked();
    }
    void withdraw() {
      const std::lock_guard hold(m);
      --balance;
      right ? log_unlocked() : log();
    }
  } a;
  a.withdraw();
}

template <bool right>
void lock_order_of_two_kinds() {
  shared_mutex index;
  mutex log;
  wait_group both;
  both.go([&] {
    const std::shared_lock reading(index);
    linger(5);
    const std::lock_guard line(log);
  });
  both.go([&] {
    if (right) {
      const std::unique_lock writing(index);
      const std::lock_guard line(log);
      return;
    }
    const std::lock_guard line(log);
    linger(5);
    const std::unique_lock writing(index);
  });
  both.wait();
}

// Reads, and calls what reads; between the two a writer has come, which waits for the first and keeps out the second.
template <bool right>
void read_in_a_read() {
  shared_mutex m;
  wait_group both;
  both.go([&] {
    const std::shared_lock outer(m);
    linger(10);
    if (right) return;
    const std::shared_lock inner(m);
  });
  both.go([&] {
    linger(3);
    const std::unique_lock writing(m);
  });
  both.wait();
}

// A reader that wants to write waits for all readers to leave, itself among them.
template <bool right>
void reader_becomes_writer() {
  shared_mutex m;
  m.lock_shared();
  if (right) m.unlock_shared();
  m.lock();
  m.unlock();
  if (!right) m.unlock_shared();
}

template <bool right>
void read_lock_for_a_write() {
  shared_mutex m;
  std::atomic<int> n = 0;
  const auto count = [&] {
    const int seen = n;
    sim::point();
    n = seen + 1;
  };
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      if (right) {
        const std::unique_lock writing(m);
        count();
      } else {
        const std::shared_lock reading(m);
        count();
      }
    });
  }
  both.wait();
  must(n == 2, "both have counted");
}

template <bool right>
void unlock_of_a_reader() {
  shared_mutex m;
  m.lock_shared();
  right ? m.unlock_shared() : m.unlock();
}

// The error path unlocks, and the guard does at the end.
template <bool right>
void unlock_on_the_error_path_too() {
  mutex m;
  m.lock();
  const bool failed = true;
  if (failed && !right) m.unlock();
  m.unlock();
}

// ---- a lock and a channel

template <bool right>
void lock_held_over_a_send() {
  mutex m;
  const chan<int> c;
  wait_group both;
  both.go([&] {
    std::unique_lock hold(m);
    if (right) hold.unlock();
    c.send(1);
  });
  both.go([&] {
    linger(3);
    { const std::lock_guard hold(m); }
    c.recv();
  });
  both.wait();
}

template <bool right>
void lock_held_over_a_receive() {
  mutex m;
  const chan<int> c;
  wait_group both;
  both.go([&] {
    std::unique_lock hold(m);
    if (right) hold.unlock();
    c.recv();
  });
  both.go([&] {
    linger(3);
    { const std::lock_guard hold(m); }
    c.send(1);
  });
  both.wait();
}

// A channel of one place as a lock: the place is taken by lock and given back by unlock, twice on the error path.
template <bool right>
void channel_lock_released_twice() {
  struct channel_lock {
    chan<> place{1};
    void lock() const { place.send(); }
    void unlock() const { place.recv(); }
  } l;
  l.lock();
  if (!right) l.unlock();
  l.unlock();
}

// ---- close

// The producer leaves by its error path, and does not close.
template <bool right>
void close_missed_on_a_path() {
  const chan<int> c;
  wait_group both;
  both.go([&] {
    for (int i = 0; i < 3; ++i) {
      if (i == 2) {
        if (right) c.close();
        return;
      }
      c.send(i);
    }
    c.close();
  });
  both.go([&] {
    int sum = 0;
    for (const int v : c) sum += v;
    must(sum == 1, "all values have come");
  });
  both.wait();
}

template <bool right>
void range_over_what_nobody_closes() {
  const chan<int> results;
  wait_group workers, closer;
  for (int i = 0; i < 2; ++i) workers.go([results, i] { results.send(i); });
  if (right) {
    closer.go([&] {
      workers.wait();
      results.close();
    });
  }
  int sum = 0;
  for (const int v : results) sum += v;
  closer.wait();
  must(sum == 1, "all results have come");
}

// "Is it closed already?" and the close are two steps.
template <bool right>
void close_by_two() {
  const chan<> done;
  std::atomic<bool> closed = false;
  once first;
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      if (right) return first.call([&] { done.close(); });
      if (closed) return;
      sim::point();
      done.close();
      closed = true;
    });
  }
  both.wait();
}

template <bool right>
void close_in_the_cleanup_too() {
  const chan<int> c(1);
  struct at_end {
    const chan<int>& c;
    bool& closed;
    ~at_end() noexcept(false) {
      if (!right || !closed) c.close();
    }
  };
  bool closed = false;
  const at_end cleanup{c, closed};
  c.send(1);
  c.close();
  closed = true;
}

template <bool right>
void send_against_close() {
  const chan<int> c(1);
  wait_group sender, both;
  sender.go([&] { c.send(1); });
  both.go([&] {
    if (right) sender.wait();
    c.close();
  });
  both.wait();
  sender.wait();
}

// Who is counted only when it runs is not waited for, and finds the results closed.
template <bool right>
void counted_when_it_runs() {
  const chan<int> results(2);
  wait_group workers, all;
  for (int i = 0; i < 2; ++i) {
    if (right) workers.add(1);
    all.go([&] {
      if (!right) workers.add(1);
      results.send(1);
      workers.done();
    });
  }
  workers.wait();
  results.close();
  all.wait();
}

template <bool right>
void closed_before_it_is_made() {
  mutex m;
  chan<> stop(nullptr);
  latch made(1);
  wait_group both;
  both.go([&] {
    {
      const std::lock_guard hold(m);
      stop = chan<>();
    }
    made.count_down();
  });
  both.go([&] {
    if (right) made.wait();
    const std::lock_guard hold(m);
    stop.close();
  });
  both.wait();
}

// ---- receivers that have gone, senders that never come

// Two are asked, and the first answer is enough.
template <bool right>
void first_answer_is_taken() {
  const chan<int> answers(right ? 2 : 0);
  for (int i = 0; i < 2; ++i) go({.name = "asked"}, [answers, i] { answers.send(i); });
  answers.recv();
}

template <bool right>
void answer_after_the_timeout() {
  const chan<int> answer(right ? 1 : 0);
  const chan<> timeout;
  go({.name = "asked"}, [answer] { answer.send(1); });
  go([timeout] { timeout.close(); });
  std::optional<int> value;
  select(recv(answer, value), recv(timeout));
}

// Whoever reads from a generator stops in the middle.
template <bool right>
void reader_leaves_a_generator() {
  const chan<int> numbers;
  const chan<> stop;
  go({.name = "generator"}, [numbers, stop] {
    for (int i = 0; i < 4; ++i) {
      if (!right) {
        numbers.send(i);
      } else if (select(send(numbers, i), recv(stop)) == 1) {
        return;
      }
    }
  });
  numbers.recv();
  numbers.recv();
  if (right) stop.close();
}

// Stop is told by a value, to a worker that has ended by itself.
template <bool right>
void stop_sent_to_one_that_has_ended() {
  const chan<> stop;
  const bool failed = true;
  wait_group workers;
  workers.go([&] {
    if (!failed) stop.recv();
  });
  workers.wait();
  right ? stop.close() : stop.send();
}

// All jobs are handed out before the first result is fetched, and the worker waits for that.
template <bool right>
void results_fetched_after_all_jobs() {
  const chan<int> jobs, results(right ? 3 : 0);
  wait_group worker;
  worker.go([&] {
    for (const int job : jobs) results.send(job * job);
  });
  for (int i = 0; i < 3; ++i) jobs.send(i);
  jobs.close();
  for (int i = 0; i < 3; ++i) results.recv();
  worker.wait();
}

// What is published waits for a subscriber, who has left.
template <bool right>
void publisher_waits_for_subscribers() {
  const chan<int> news;
  wait_group both;
  both.go([&] {
    for (int i = 0; i < 2; ++i) {
      if (right) {
        news.try_send(i);
      } else {
        news.send(i);
      }
    }
  });
  both.go([&] {
    if (right) {
      int value = 0;
      static_cast<void>(news.try_recv(value));
    } else {
      news.recv();
    }
  });
  both.wait();
}

// ---- nil channels, and ends that are taken for values

// A merged channel that has ended is set to nil, so that the select leaves it alone; and in the end all are.
template <bool right>
void merge_does_not_end() {
  chan<int> a(1), b(1);
  a.send(1);
  b.send(2);
  a.close();
  b.close();
  int sum = 0;
  while (!right || a || b) {
    std::optional<int> value;
    const std::size_t which = select(recv(a, value), recv(b, value));
    if (value) {
      sum += *value;
    } else {
      (which == 0 ? a : b) = nullptr;
    }
  }
  must(sum == 3, "all values have come");
}

template <bool right>
void listens_before_the_channel_is_made() {
  mutex m;
  chan<int> updates(nullptr);
  latch made(1);
  wait_group both;
  both.go([&] {
    if (right) made.wait();
    chan<int> mine(nullptr);
    {
      const std::lock_guard hold(m);
      mine = updates;
    }
    mine.recv();
  });
  both.go([&] {
    linger(3);
    {
      const std::lock_guard hold(m);
      updates = chan<int>(1);
      updates.send(1);
    }
    made.count_down();
  });
  both.wait();
}

// Of two inputs neither was configured.
template <bool right>
void select_among_nil_channels() {
  const chan<int> files(nullptr), sockets(nullptr);
  std::optional<int> value;
  if (right) {
    static_cast<void>(try_select(recv(files, value), recv(sockets, value)));
  } else {
    select(recv(files, value), recv(sockets, value));
  }
}

// Two values will come, and then a closed channel can be received from for ever.
template <bool right>
void end_counted_as_a_value() {
  const chan<int> values, ticks(1);
  wait_group all;
  all.go([&] {
    values.send(1);
    values.close();
  });
  all.go([&] { ticks.send(1); });
  int n = 0;
  for (int i = 0; i < 3; ++i) {
    std::optional<int> value;
    select(recv(values, value), recv(ticks, value));
    if (!right || value) ++n;
  }
  all.wait();
  must(n <= 2, "two values");
}

// ---- conditions

// A wait without a predicate: what was said before is not heard.
template <bool right>
void notified_before_the_wait() {
  mutex m;
  condition_variable c;
  bool happened = false;
  wait_group both;
  both.go([&] {
    linger(3);
    std::unique_lock hold(m);
    if (right) {
      c.wait(hold, [&] { return happened; });
    } else {
      c.wait(hold);
    }
  });
  both.go([&] {
    const std::lock_guard hold(m);
    happened = true;
    c.notify_one();
  });
  both.wait();
}

template <bool right>
void looks_once_after_notify_all() {
  mutex m;
  condition_variable c;
  int items = 0;
  wait_group all;
  for (int i = 0; i < 2; ++i) {
    all.go([&] {
      std::unique_lock hold(m);
      if (right) {
        while (items == 0) c.wait(hold);
      } else if (items == 0) {
        c.wait(hold);
      }
      if (items == 0) throw std::out_of_range("nothing to take");
      --items;
    });
  }
  for (int i = 0; i < 2; ++i) {
    all.go([&] {
      const std::lock_guard hold(m);
      ++items;
      c.notify_all();
    });
  }
  all.wait();
}

// Producers and consumers wait on one condition, and one of them is woken: it may be of the wrong kind.
template <bool right>
void one_condition_for_two_kinds() {
  mutex m;
  condition_variable c;
  int items = 0;
  const auto tell = [&] { right ? c.notify_all() : c.notify_one(); };
  wait_group all;
  for (int i = 0; i < 2; ++i) {
    all.go([&] {
      std::unique_lock hold(m);
      c.wait(hold, [&] { return items == 1; });
      items = 0;
      tell();
    });
  }
  all.go([&] {
    linger(5);
    for (int i = 0; i < 2; ++i) {
      std::unique_lock hold(m);
      c.wait(hold, [&] { return items == 0; });
      items = 1;
      tell();
    }
  });
  all.wait();
}

// The one who changes it has another lock than the one who waits for it.
template <bool right>
void condition_under_the_wrong_lock() {
  mutex of_waiter, of_changer;
  condition_variable c;
  std::atomic<bool> ready = false;
  wait_group both;
  both.go([&] {
    std::unique_lock hold(of_waiter);
    while (!ready) {
      sim::point();
      linger(10);
      c.wait(hold);
    }
  });
  both.go([&] {
    linger(3);
    const std::lock_guard hold(right ? of_waiter : of_changer);
    ready = true;
    c.notify_all();
  });
  both.wait();
}

// ---- counts

template <bool right>
void done_missing_on_a_path() {
  wait_group jobs;
  for (const int job : {1, -1}) {
    jobs.add(1);
    go([&jobs, job] {
      if (job < 0) {
        if (right) jobs.done();
        return;
      }
      jobs.done();
    });
  }
  jobs.wait();
}

// Whoever has waited starts the next round, on the same group, while another has not come back from the last one.
template <bool right>
void group_used_again_too_early() {
  wait_group round, next, all;
  round.add(1);
  for (int i = 0; i < 2; ++i) {
    all.go([&, i] {
      round.wait();
      if (i == 0) {
        wait_group& second = right ? next : round;
        second.add(1);
        yield();
        second.done();
      }
    });
  }
  all.go([&] { round.done(); });
  all.wait();
}

template <bool right>
void waits_for_itself() {
  wait_group all;
  const auto last = [&] { all.wait(); };
  all.go([] {});
  if (!right) all.go(last);
  all.wait();
}

// The wait stands in the loop that starts them, and the first needs the second.
template <bool right>
void wait_in_the_loop() {
  const chan<int> c;
  wait_group all;
  for (int i = 0; i < 2; ++i) {
    all.go([&, i] {
      if (i == 0) {
        c.recv();
      } else {
        c.send(1);
      }
    });
    if (!right) all.wait();
  }
  all.wait();
}

template <bool right>
void permit_lost_by_an_exception() {
  semaphore slots(1);
  wait_group all;
  for (int i = 0; i < 2; ++i) {
    all.go([&, i] {
      slots.acquire();
      try {
        if (i == 0) throw std::runtime_error("failed");
        slots.release();
      } catch (const std::runtime_error&) {
        if (right) slots.release();
      }
    });
  }
  all.wait();
  slots.acquire();
}

template <bool right>
void barrier_of_one_more() {
  barrier b(right ? 2 : 3);
  wait_group all;
  for (int i = 0; i < 2; ++i) all.go([&] { b.arrive_and_wait(); });
  all.wait();
}

// Who has nothing to do returns, and is missing in the next round.
template <bool right>
void barrier_left_without_a_word() {
  barrier b(2);
  wait_group all;
  for (int i = 0; i < 2; ++i) {
    all.go([&, i] {
      b.arrive_and_wait();
      if (i == 1) {
        if (right) b.arrive_and_drop();
        return;
      }
      b.arrive_and_wait();
    });
  }
  all.wait();
}

template <bool right>
void latch_of_one_more() {
  latch ready(right ? 2 : 3);
  for (int i = 0; i < 2; ++i) go([&ready] { ready.count_down(); });
  ready.wait();
}

// ---- contexts

// The one who asked has its answer and returns; who watches for the end of the request waits for ever.
template <bool right>
void returns_without_cancelling() {
  const context request = context::background().with_cancel();
  go({.name = "watcher"}, [request] { request.done().recv(); });
  if (right) request.cancel();
}

// The worker is given the context that everything else was made of, and not the one that will be cancelled.
template <bool right>
void listens_to_the_wrong_context() {
  const context all = context::background();
  const context job = all.with_cancel();
  const chan<int> work;
  wait_group worker;
  worker.go([&, mine = right ? job : all] {
    while (select(recv(work), on(mine.done())) == 0) {
    }
  });
  work.send(1);
  job.cancel();
  worker.wait();
}

// Each request's context is made of the last one's, which has been cancelled.
template <bool right>
void context_of_the_last_round() {
  const context parent = context::background().with_cancel();
  context ctx = parent;
  int asked = 0;
  for (int i = 0; i < 3; ++i) {
    ctx = (right ? parent : ctx).with_timeout(1h);
    if (!ctx.err()) ++asked;
    ctx.cancel();
  }
  must(asked == 3, "all have been asked");
}

// Who reads leaves when the time is over; who writes knows nothing of it.
template <bool right>
void sends_to_one_who_was_cancelled() {
  const context ctx = context::background().with_cancel();
  const chan<int> values;
  go({.name = "producer"}, [=] {
    for (int i = 0; i < 3; ++i) {
      if (!right) {
        values.send(i);
      } else if (select(send(values, i), on(ctx.done())) == 1) {
        return;
      }
    }
  });
  values.recv();
  ctx.cancel();
}

// What is given back at the end is not, when the end comes by unwinding.
template <bool right>
void permit_lost_by_a_cancellation() {
  const context ctx = context::background().with_cancel();
  semaphore slots(1);
  const chan<> waiting;
  wait_group one;
  one.go([&] {
    with(ctx, [&] {
      slots.acquire();
      struct permit {
        semaphore& of;
        ~permit() {
          if (right) of.release();
        }
      } mine{slots};
      waiting.close();
      chan<>().recv();
      if (!right) slots.release();
    });
  });
  waiting.recv();
  ctx.cancel();
  one.wait();
  slots.acquire();
}

// A loop that survives every error survives its cancellation, too.
template <bool right>
void cancellation_is_caught_as_an_error() {
  const context ctx = context::background().with_cancel();
  wait_group worker;
  worker.go([&] {
    with(ctx, [&] {
      for (;;) {
        try {
          chan<>().recv();
        } catch (const cancelled&) {
          if (right) throw;
        }
      }
    });
  });
  ctx.cancel();
  worker.wait();
}

// The lock is held until the function of the context has run, which wants it.
template <bool right>
void lock_held_over_a_cancel() {
  const context ctx = context::background().with_cancel();
  mutex m;
  const chan<> cleaned;
  const auto cleanup = context::after_func(ctx, [&m, cleaned] {
    { const std::lock_guard hold(m); }
    cleaned.close();
  });
  std::unique_lock hold(m);
  ctx.cancel();
  if (right) hold.unlock();
  cleaned.recv();
}

// The group ends with the scope, and its goroutines with it: nobody has waited for what they do.
template <bool right>
void group_without_a_wait() {
  std::atomic<int> written = 0;
  {
    task_group writers;
    for (int i = 0; i < 2; ++i) {
      writers.go([&] {
        sleep(1ms);
        ++written;
      });
    }
    if (right) writers.wait();
  }
  must(written == 2, "both have written");
}

// The result of a goroutine that was cancelled is asked for by one that was not.
template <bool right>
void result_of_one_that_was_cancelled() {
  const context ctx = context::background().with_cancel();
  const future<int> f = with(ctx, [] {
    return async([] {
      chan<>().recv();
      return 1;
    });
  });
  ctx.cancel();
  try {
    f.get();
  } catch (const future_cancelled&) {
    if (!right) throw;
  }
}

// ---- timers

// What had to be done before Go 1.23: a timer that could not be stopped has a value, which must be taken away. But it was.
template <bool right>
void value_of_a_stopped_timer_is_awaited() {
  const timer t(1ms);
  t.channel().recv();
  if (!t.stop() && !right) t.channel().recv();
}

// Stop ends the ticks, and not the channel.
template <bool right>
void loop_over_a_stopped_ticker() {
  const ticker every(1ms);
  const chan<> first, stop;
  wait_group worker;
  worker.go([&] {
    for (bool ticked = false;; ticked = true) {
      if (right) {
        if (select(recv(every.channel()), recv(stop)) == 1) return;
      } else {
        every.channel().recv();
      }
      if (!ticked) first.close();
    }
  });
  first.recv();
  every.stop();
  stop.close();
  worker.wait();
}

// A limit for each value, where one for all was meant: it begins anew as long as they come.
template <bool right>
void timeout_begins_anew_in_the_loop() {
  const chan<int> values;
  go([values] {
    for (int i = 0; i < 5; ++i) {
      sleep(6ms);
      if (select(send(values, i), after(20ms)) == 1) return;
    }
    values.close();
  });
  const timer all(10ms);
  int n = 0;
  for (;;) {
    std::optional<int> v;
    const std::size_t which =
        right ? select(recv(values, v), recv(all.channel())) : select(recv(values, v), after(10ms));
    if (which == 1 || !v) break;
    ++n;
  }
  if (sim::active()) sim::check(n <= 2, "it is over after its time");
}

// The answer has come; what was to happen without it happens all the same.
template <bool right>
void timeout_is_not_stopped() {
  const auto timed_out = std::make_shared<std::atomic<bool>>(false);
  const timer t = after_func(10ms, [timed_out] { *timed_out = true; });
  sleep(5ms);  // the answer
  if (right) t.stop();
  sleep(20ms);
  if (sim::active()) sim::check(!*timed_out, "an answered call does not time out");
}

// Set anew at the very time: its function has begun already, and does what was to be put off.
template <bool right>
void timer_fires_as_it_is_set_anew() {
  struct session {
    mutex m;
    bool open = true;
    clock::time_point used = clock::now();
    timer end;
    bool use() {
      const std::lock_guard hold(m);
      if (open) {
        used = clock::now();
        end.reset(10ms);
      }
      return open;
    }
    void expire() {
      const std::lock_guard hold(m);
      if (!right || clock::now() - used >= 10ms) open = false;
    }
  };
  const auto s = std::make_shared<session>();
  s->end = after_func(10ms, [s] { s->expire(); });
  sleep(10ms);
  if (s->use()) {
    sleep(1ms);
    if (sim::active()) sim::check(s->use(), "what is used stays open");
  }
  const std::lock_guard hold(s->m);
  std::exchange(s->end, timer()).stop();  // which holds s
}

// The time is looked at, and then the wait begins without it.
template <bool right>
void time_is_up_before_the_wait() {
  mutex m;
  condition_variable c;
  std::atomic<bool> over = false;
  wait_group waiter;
  const timer t = after_func(50ms, [&] {
    std::unique_lock hold(m, std::defer_lock);
    if (right) hold.lock();
    over = true;
    c.notify_all();
  });
  waiter.go([&] {
    std::unique_lock hold(m);
    while (!over) {
      if (!right) sleep(100ms);  // between the look and the wait
      c.wait(hold);
    }
  });
  waiter.wait();
}

// ---- once

template <bool right>
void once_in_itself() {
  once first;
  const auto init = [&] {
    if (!right) first.call([] {});
  };
  first.call(init);
}

// Two that initialise each other.
template <bool right>
void two_onces_in_a_circle() {
  once a, b;
  wait_group both;
  both.go([&] {
    a.call([&] {
      linger(5);
      b.call([] {});
    });
  });
  both.go([&] {
    b.call([&] {
      linger(5);
      if (!right) a.call([] {});
    });
  });
  both.wait();
}

// ---- the table

struct shape {
  const char* name;
  void (*wrong)();
  void (*right)();
  failure_kind kind;
  std::initializer_list<const char*> said;   // each stands in the report of the exploration
  std::initializer_list<const char*> waits;  // of a deadlock: in that of a process, one for each goroutine
};

void PrintTo(const shape& s, std::ostream* out) { *out << s.name; }

#define SHAPE(name) #name, name < false>, name < true>

constexpr const char* in_group = "[sync.WaitGroup.Wait";
constexpr const char* in_mutex = "[sync.Mutex.Lock";
constexpr const char* in_read = "[sync.RWMutex.RLock";
constexpr const char* in_write = "[sync.RWMutex.Lock";
constexpr const char* in_recv = "[chan receive";
constexpr const char* in_send = "[chan send";
constexpr const char* in_cond = "[sync.Cond.Wait";
constexpr const char* in_sema = "[semacquire";

const shape shapes[] = {
    {SHAPE(double_lock), failure_kind::deadlock, {"holds itself"}, {in_mutex}},
    {SHAPE(lock_order_of_two_kinds), failure_kind::deadlock, {in_mutex, in_write}, {in_mutex, in_write, in_group}},
    {SHAPE(read_in_a_read), failure_kind::deadlock, {in_read, in_write}, {in_read, in_write, in_group}},
    {SHAPE(reader_becomes_writer), failure_kind::deadlock, {in_write}, {in_write}},
    {SHAPE(read_lock_for_a_write), failure_kind::check, {"both have counted"}, {}},
    {SHAPE(unlock_of_a_reader), failure_kind::exception, {"sync: Unlock of unlocked RWMutex"}, {}},
    {SHAPE(unlock_on_the_error_path_too), failure_kind::exception, {"sync: unlock of unlocked mutex"}, {}},
    {SHAPE(lock_held_over_a_send), failure_kind::deadlock, {in_send, in_mutex}, {in_send, in_mutex, in_group}},
    {SHAPE(lock_held_over_a_receive), failure_kind::deadlock, {in_recv, in_mutex}, {in_recv, in_mutex, in_group}},
    {SHAPE(channel_lock_released_twice), failure_kind::deadlock, {in_recv}, {in_recv}},
    {SHAPE(close_missed_on_a_path), failure_kind::deadlock, {in_recv, in_group}, {in_recv, in_group}},
    {SHAPE(range_over_what_nobody_closes), failure_kind::deadlock, {in_recv}, {in_recv}},
    {SHAPE(close_by_two), failure_kind::exception, {"close of closed channel"}, {}},
    {SHAPE(close_in_the_cleanup_too), failure_kind::exception, {"close of closed channel"}, {}},
    {SHAPE(send_against_close), failure_kind::exception, {"send on closed channel"}, {}},
    {SHAPE(counted_when_it_runs), failure_kind::exception, {"send on closed channel"}, {}},
    {SHAPE(closed_before_it_is_made), failure_kind::exception, {"close of nil channel"}, {}},
    {SHAPE(first_answer_is_taken), failure_kind::leak, {"(asked) [chan send"}, {}},
    {SHAPE(answer_after_the_timeout), failure_kind::leak, {"(asked) [chan send"}, {}},
    {SHAPE(reader_leaves_a_generator), failure_kind::leak, {"(generator) [chan send"}, {}},
    {SHAPE(stop_sent_to_one_that_has_ended), failure_kind::deadlock, {in_send}, {in_send}},
    {SHAPE(results_fetched_after_all_jobs), failure_kind::deadlock, {in_send}, {in_send}},
    {SHAPE(publisher_waits_for_subscribers), failure_kind::deadlock, {in_send, in_group}, {in_send, in_group}},
    {SHAPE(merge_does_not_end), failure_kind::deadlock, {"[select"}, {"[select"}},
    {SHAPE(listens_before_the_channel_is_made),
     failure_kind::deadlock,
     {"[chan receive (nil chan)"},
     {"[chan receive (nil chan)", in_group}},
    {SHAPE(select_among_nil_channels), failure_kind::deadlock, {"[select"}, {"[select"}},
    {SHAPE(end_counted_as_a_value), failure_kind::check, {"two values"}, {}},
    {SHAPE(notified_before_the_wait), failure_kind::deadlock, {in_cond, in_group}, {in_cond, in_group}},
    {SHAPE(looks_once_after_notify_all), failure_kind::exception, {"nothing to take"}, {}},
    {SHAPE(one_condition_for_two_kinds), failure_kind::deadlock, {in_cond, in_group}, {in_cond, in_group}},
    {SHAPE(condition_under_the_wrong_lock), failure_kind::deadlock, {in_cond, in_group}, {in_cond, in_group}},
    {SHAPE(done_missing_on_a_path), failure_kind::deadlock, {in_group}, {in_group}},
    {SHAPE(group_used_again_too_early),
     failure_kind::exception,
     {"WaitGroup is reused before previous Wait has returned"},
     {}},
    {SHAPE(waits_for_itself), failure_kind::deadlock, {in_group}, {in_group}},
    {SHAPE(wait_in_the_loop), failure_kind::deadlock, {in_recv, in_group}, {in_recv, in_group}},
    {SHAPE(permit_lost_by_an_exception), failure_kind::deadlock, {in_sema}, {in_sema}},
    {SHAPE(barrier_of_one_more), failure_kind::deadlock, {"[barrier wait", in_group}, {"[barrier wait", in_group}},
    {SHAPE(barrier_left_without_a_word),
     failure_kind::deadlock,
     {"[barrier wait", in_group},
     {"[barrier wait", in_group}},
    {SHAPE(latch_of_one_more), failure_kind::deadlock, {"[latch wait"}, {"[latch wait"}},
    {SHAPE(returns_without_cancelling), failure_kind::leak, {"(watcher) [chan receive"}, {}},
    {SHAPE(listens_to_the_wrong_context), failure_kind::deadlock, {"[select", in_group}, {"[select", in_group}},
    {SHAPE(context_of_the_last_round), failure_kind::check, {"all have been asked"}, {}},
    {SHAPE(sends_to_one_who_was_cancelled), failure_kind::leak, {"(producer) [chan send"}, {}},
    {SHAPE(permit_lost_by_a_cancellation), failure_kind::deadlock, {in_sema}, {in_sema}},
    {SHAPE(cancellation_is_caught_as_an_error), failure_kind::endless, {"endless run"}, {}},
    {SHAPE(lock_held_over_a_cancel), failure_kind::deadlock, {in_mutex, in_recv}, {in_mutex, in_recv}},
    {SHAPE(group_without_a_wait), failure_kind::check, {"both have written"}, {}},
    {SHAPE(result_of_one_that_was_cancelled), failure_kind::exception, {"future_cancelled"}, {}},
    {SHAPE(value_of_a_stopped_timer_is_awaited), failure_kind::deadlock, {in_recv}, {in_recv}},
    {SHAPE(loop_over_a_stopped_ticker), failure_kind::deadlock, {in_recv, in_group}, {in_recv, in_group}},
    {SHAPE(timeout_begins_anew_in_the_loop), failure_kind::check, {"it is over after its time"}, {}},
    {SHAPE(timeout_is_not_stopped), failure_kind::check, {"an answered call does not time out"}, {}},
    {SHAPE(timer_fires_as_it_is_set_anew), failure_kind::check, {"what is used stays open"}, {}},
    {SHAPE(time_is_up_before_the_wait), failure_kind::deadlock, {in_cond, in_group}, {in_cond, in_group}},
    {SHAPE(once_in_itself), failure_kind::deadlock, {"holds itself"}, {in_mutex}},
    {SHAPE(two_onces_in_a_circle), failure_kind::deadlock, {in_mutex, in_group}, {in_mutex, in_group}},
};

class bug_shapes : public testing::TestWithParam<shape> {};

TEST_P(bug_shapes, is_found_and_named) {
  const shape& s = GetParam();
  const expecting_a_failed_run leaves_what_it_had;
  for (const std::uint64_t seed : {1u, 2u}) {
    try {
      sim::explore({.name = s.name, .runs = 1000, .seed = seed, .max_steps = 2000}, s.wrong);
      ADD_FAILURE() << "not found";
    } catch (const sim::failure& f) {
      EXPECT_EQ(f.kind(), s.kind) << f.what();
      RecordProperty("runs_with_seed_" + std::to_string(seed), f.runs());
      for (const char* each : s.said) EXPECT_THAT(f.report(), testing::HasSubstr(each));
    }
  }
}

TEST_P(bug_shapes, is_gone_when_put_right) {
  const shape& s = GetParam();
  const sim::summary done = sim::explore({.name = s.name, .runs = 1000, .max_steps = 2000}, s.right);
  EXPECT_EQ(done.runs, 1000);
  for_each_case([&](const run_case&) { s.right(); }, {{1, 2, 4, 16}, 1});
}

TEST_P(bug_shapes, is_reported_where_it_hangs) {
  const shape& s = GetParam();
  if (s.kind != failure_kind::deadlock) return;
  if (built_with_tsan) GTEST_SKIP() << "under ThreadSanitizer there is always a thread that is not ours";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  testing::Matcher<const std::string&> report = testing::HasSubstr("all goroutines are asleep - deadlock!");
  for (const char* each : s.waits) report = testing::AllOf(report, testing::HasSubstr(each));
  EXPECT_EXIT(weft::run({.procs = 1}, [&] { s.wrong(); }), testing::ExitedWithCode(2), report);
}

INSTANTIATE_TEST_SUITE_P(conformance, bug_shapes, testing::ValuesIn(shapes),
                         [](const testing::TestParamInfo<shape>& s) { return std::string(s.param.name); });

}  // namespace
}  // namespace weft::test
