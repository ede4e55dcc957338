// Operations of the probe: contexts, futures, task groups, goroutine-local variables.
#include <weft/weft.hpp>

#include <atomic>
#include <cstdint>
#include <vector>

#include "probe/rounds.hpp"

namespace bench {
namespace {

// The goroutine is started, runs, and its result is taken over.
void async_get(int rounds, std::uint64_t n) {
  std::uint64_t sum = 0;
  loop(rounds, n, [&sum] { sum += weft::async([] { return std::uint64_t{1}; }).get(); });
  if (sum != static_cast<std::uint64_t>(rounds) * n) std::abort();
}

// n children of one context, each with a handle; the context is cancelled.
void context_cancel(int rounds, std::uint64_t n) {
  std::vector<weft::context> children;
  children.reserve(n);
  for (int i = 0; i < rounds; ++i) {
    const weft::context parent = weft::context::background().with_cancel();
    children.clear();
    for (std::uint64_t k = 0; k < n; ++k) children.push_back(parent.with_cancel());
    round_of(n, [&] { parent.cancel(); });
    if (!children.back().err()) std::abort();
  }
}

// The same where somebody has asked for each one's done channel.
void context_cancel_done(int rounds, std::uint64_t n) {
  std::vector<weft::context> children;
  std::vector<weft::recv_chan<>> done;
  for (int i = 0; i < rounds; ++i) {
    const weft::context parent = weft::context::background().with_cancel();
    children.clear();
    done.clear();
    for (std::uint64_t k = 0; k < n; ++k) {
      children.push_back(parent.with_cancel());
      done.push_back(children.back().done());
    }
    round_of(n, [&] { parent.cancel(); });
  }
}

// n goroutines that wait under one context; it is cancelled, and all have unwound.
void context_cancel_waiting(int rounds, std::uint64_t n) {
  for (int i = 0; i < rounds; ++i) {
    const weft::context c = weft::context::background().with_cancel();
    weft::chan<> never;
    weft::wait_group all;
    weft::with(c, [&] {
      for (std::uint64_t k = 0; k < n; ++k) all.go([&] { never.recv(); });
    });
    weft::yield();
    round_of(n, [&] {
      c.cancel();
      all.wait();
    });
  }
}

void context_child(int rounds, std::uint64_t n) {
  const weft::context parent = weft::context::background().with_cancel();
  loop(rounds, n, [&parent] { const weft::context child = parent.with_cancel(); });
}

void with_context(int rounds, std::uint64_t n) {
  const weft::context c = weft::context::background().with_cancel();
  loop(rounds, n, [&c] { weft::with(c, [] {}); });
}

// As semaphore_round_trip, but both goroutines are under a context.
void semaphore_round_trip_with(int rounds, std::uint64_t n) {
  const weft::context c = weft::context::background().with_cancel();
  weft::semaphore there(0), back(0);
  weft::wait_group other;
  bool stop = false;
  weft::with(c, [&] {
    other.go([&] {
      for (;;) {
        there.acquire();
        if (stop) return;
        back.release();
      }
    });
    loop(rounds, n, [&] {
      there.release();
      back.acquire();
    });
    stop = true;
    there.release();
    other.wait();
  });
}

weft::local<std::uint64_t> counted;

void local_get(int rounds, std::uint64_t n) {
  loop(rounds, n, [] { ++*counted; });
}

}  // namespace

const std::vector<operation> context_operations = {
    {"async_get", async_get, "operations in a round"},
    {"context_cancel", context_cancel, "children"},
    {"context_cancel_done", context_cancel_done, "children"},
    {"context_cancel_waiting", context_cancel_waiting, "goroutines that wait"},
    {"context_child", context_child, "operations in a round"},
    {"with_context", with_context, "operations in a round"},
    {"semaphore_round_trip_with", semaphore_round_trip_with, "operations in a round"},
    {"local_get", local_get, "operations in a round"},
};

}  // namespace bench
