// The examples of docs/guide/testing.md that are tests themselves.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>

#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace std::chrono_literals;

// snippet: time
// Doubles the pause after each failure; gives up after a minute.
template <class F>
bool retry(F&& attempt) {
  const auto end = weft::clock::now() + 1min;
  for (auto pause = 100ms; weft::clock::now() < end; pause *= 2) {
    if (attempt()) return true;
    weft::sleep(pause);
  }
  return false;
}

TEST(retry, gives_up_after_a_minute) {
  weft::sim::explore({.runs = 10}, [] {
    int attempts = 0;
    weft::sim::check(!retry([&] { return ++attempts, false; }), "it never works");
    weft::sim::check(attempts == 10, "ten attempts fit into a minute");
    weft::sim::check(weft::sim::now() == 102300ms, "the last pause is slept to its end");
  });
}
// snippet: end

// snippet: always
struct limiter {
  weft::semaphore slots{2};
  std::atomic<int> inside = 0;
  void call() {
    slots.acquire();
    ++inside;
    weft::sleep(1ms);
    --inside;
    slots.release();
  }
};

TEST(limiter, lets_two_in_at_a_time) {
  weft::sim::explore([] {
    limiter backend;
    weft::sim::always([&] { return backend.inside <= 2; }, "at most two are inside");
    weft::wait_group callers;
    for (int i = 0; i < 4; ++i) callers.go([&] { backend.call(); });
    callers.wait();
  });
}
// snippet: end

// snippet: settle
TEST(limiter, keeps_the_third_one_waiting) {
  weft::sim::explore([] {
    weft::semaphore slots(2);
    std::atomic<int> inside = 0;
    weft::wait_group callers;
    for (int i = 0; i < 3; ++i) {
      callers.go([&] {
        slots.acquire();
        ++inside;
      });
    }
    weft::sim::settle();
    weft::sim::check(inside == 2, "the third waits");
    slots.release();
    callers.wait();
    weft::sim::check(inside == 3, "and comes in");
  });
}
// snippet: end

// snippet: eventually
TEST(flusher, writes_a_change_within_a_second) {
  weft::sim::explore([] {
    weft::mutex m;
    bool dirty = false, stop = false;
    std::atomic<int> flushed = 0;
    weft::wait_group flusher;
    flusher.go([&] {
      for (;; weft::sleep(500ms)) {
        const std::lock_guard hold(m);
        if (dirty) ++flushed;
        dirty = false;
        if (stop) return;
      }
    });
    {
      const std::lock_guard hold(m);
      dirty = true;
    }
    weft::sim::eventually([&] { return flushed == 1; }, 1s, "the change is written");
    {
      const std::lock_guard hold(m);
      stop = true;
    }
    flusher.wait();
  });
}
// snippet: end

// snippet: buggify
// Sends half of it when the kernel has no room: rare in tests, daily in production.
std::size_t send_some(std::size_t bytes) {
  if (weft::sim::buggify("short-send")) return (bytes + 1) / 2;
  return bytes;
}

TEST(sending, goes_on_after_a_short_send) {
  weft::sim::explore([] {
    std::size_t sent = 0;
    while (sent < 1000) sent += send_some(1000 - sent);
    weft::sim::check(sent == 1000, "all is sent");
  });
}
// snippet: end

}  // namespace
