// Bugs of semaphores and wait groups: a permit or a count too many, too few, or too late.
#include <atomic>
#include <mutex>
#include <stdexcept>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using sim::failure_kind;

template <bool right>
void permit_lost_on_an_early_return() {
  semaphore connections(1);
  std::atomic<bool> closed = false;
  const auto query = [&] {
    connections.acquire();
    if (closed) {
      if (right) connections.release();
      return;
    }
    connections.release();
  };
  wait_group both;
  both.go([&] { closed = true; });
  both.go([&] { query(); });
  both.wait();
  connections.acquire();
}

// The error path gives the permit back, and so does the end that every path takes.
template <bool right>
void permit_released_twice() {
  semaphore one_at_a_time(1);
  mutex log;
  std::atomic<bool> cancelled = false;
  std::atomic<int> inside = 0;
  const auto work = [&] {
    one_at_a_time.acquire();
    sim::check(++inside == 1, "one at a time");
    { const std::lock_guard line(log); }
    --inside;
    if (cancelled && !right) one_at_a_time.release();
    one_at_a_time.release();
  };
  wait_group all_done;
  all_done.go([&] { cancelled = true; });
  for (int i = 0; i < 3; ++i) all_done.go([&] { work(); });
  all_done.wait();
}

// Main waits for the settings and takes it that the worker has begun by then.
template <bool right>
void add_inside_the_goroutine() {
  wait_group workers, all_done;
  semaphore settings(0);
  std::atomic<bool> worked = false;
  all_done.go([&] { settings.release(); });
  if (right) workers.add(1);
  all_done.go([&] {
    if (!right) workers.add(1);
    worked = true;
    workers.done();
  });
  settings.acquire();
  workers.wait();
  const bool in_time = worked;
  all_done.wait();  // it uses main's variables
  sim::check(in_time, "wait has waited for the worker");
}

// A request that was let in is counted when the lock is gone; meanwhile shutdown has found nobody to wait for.
template <bool right>
void add_after_wait() {
  struct server {
    mutex m;
    wait_group requests;
    bool closing = false;
    std::atomic<bool> open = true;
    bool admit() {
      std::unique_lock hold(m);
      if (closing) return false;
      if (!right) hold.unlock();
      requests.add(1);
      return true;
    }
    void shut_down() {
      {
        const std::lock_guard hold(m);
        closing = true;
      }
      requests.wait();
      open = false;
    }
  } http;
  wait_group both;
  both.go([&] { http.shut_down(); });
  both.go([&] {
    if (!http.admit()) return;
    sim::check(http.open, "a request runs while the server is open");
    http.requests.done();
  });
  both.wait();
}

template <bool right>
void no_done_on_the_exception_path() {
  wait_group both;
  std::atomic<bool> closed = false;
  const auto read = [&] {
    if (closed) throw std::runtime_error("connection closed");
  };
  both.add(2);
  go({.name = "closer"}, [&] {
    closed = true;
    both.done();
  });
  go({.name = "reader"}, [&] {
    try {
      read();
      both.done();
    } catch (const std::runtime_error&) {
      if (right) both.done();
    }
  });
  both.wait();
}

constexpr bug all[] = {
    {"permit_lost_on_an_early_return", "closed: return, with the permit", permit_lost_on_an_early_return<false>,
     permit_lost_on_an_early_return<true>, failure_kind::deadlock, "goroutine 1 (main) [semacquire #"},
    {"permit_released_twice", "by the error path and at the end", permit_released_twice<false>,
     permit_released_twice<true>, failure_kind::check, "one at a time"},
    {"add_inside_the_goroutine", "wait comes before the goroutine has begun", add_inside_the_goroutine<false>,
     add_inside_the_goroutine<true>, failure_kind::check, "wait has waited for the worker"},
    {"add_after_wait", "admitted under the lock, counted after it", add_after_wait<false>, add_after_wait<true>,
     failure_kind::check, "a request runs while the server is open"},
    {"no_done_on_the_exception_path", "done is skipped by what is thrown", no_done_on_the_exception_path<false>,
     no_done_on_the_exception_path<true>, failure_kind::deadlock, "goroutine 1 (main) [sync.WaitGroup.Wait #"},
};

}  // namespace

std::span<const bug> bugs_of_counting() { return all; }

}  // namespace weft::test
