// Bugs of who locks what, in which order, and who unlocks it.
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using sim::failure_kind;

template <bool right>
void lock_order() {
  struct account {
    mutex m;
    int balance = 100;
  } a, b;
  const auto transfer = [](account& from, account& to) {
    if (right) {
      const std::scoped_lock hold(from.m, to.m);
      --from.balance;
      ++to.balance;
      return;
    }
    const std::lock_guard first(from.m);
    const std::lock_guard second(to.m);
    --from.balance;
    ++to.balance;
  };
  wait_group both;
  both.go([&] { transfer(a, b); });
  both.go([&] { transfer(b, a); });
  both.wait();
  sim::check(a.balance + b.balance == 200, "nothing is lost");
}

// No two of them take the same two locks in another order; the three together make the circle.
template <bool right>
void lock_order_of_three() {
  mutex index, log, cache;
  const auto with = [](mutex& outer, mutex& inner) {
    const std::lock_guard first(outer);
    const std::lock_guard second(inner);
  };
  wait_group three;
  three.go([&] { with(index, log); });
  three.go([&] { with(log, cache); });
  three.go([&] {
    if (right) {
      with(index, cache);
    } else {
      with(cache, index);
    }
  });
  three.wait();
}

template <bool right>
void dining_philosophers() {
  constexpr std::size_t seats = 4;
  std::array<mutex, seats> forks;
  std::atomic<int> meals = 0;
  wait_group table;
  for (std::size_t seat = 0; seat < seats; ++seat) {
    table.go([&, seat] {
      std::size_t first = seat, second = (seat + 1) % seats;
      if (right && second < first) std::swap(first, second);
      const std::lock_guard one(forks[first]);
      const std::lock_guard two(forks[second]);
      ++meals;
    });
  }
  table.wait();
  sim::check(meals == seats, "everybody has eaten");
}

// Only a listener that has been cancelled comes back into the feed.
template <bool right>
void callback_under_the_lock() {
  struct feed {
    mutex m;
    bool listening = true;
    std::atomic<bool> cancelled = false;
    void unsubscribe() {
      const std::lock_guard hold(m);
      listening = false;
    }
    void on_event() {
      if (cancelled) unsubscribe();
    }
    void publish() {
      std::unique_lock hold(m);
      if (!listening) return;
      if (right) hold.unlock();
      on_event();
    }
  } news;
  wait_group both;
  both.go([&] { news.cancelled = true; });
  both.go([&] { news.publish(); });
  both.wait();
}

// unlock calls the number after its own; its own is the one that was drawn last, not the one that was served.
template <bool right>
void ticket_lock_serves_the_wrong_number() {
  struct ticket_lock {
    std::atomic<int> next = 0, serving = 0, mine = 0;
    void lock() {
      const int ticket = next++;
      if (!right) mine = ticket;
      while (serving != ticket) yield();
      if (right) mine = ticket;
    }
    void unlock() { serving = mine + 1; }
  } turn;
  mutex log;
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      const std::lock_guard hold(turn);
      const std::lock_guard line(log);
    });
  }
  both.wait();
}

// "I have locked it" is kept in the object, where all of its users read it.
template <bool right>
void unlocked_by_another() {
  struct gate {
    mutex m, log;
    std::atomic<bool> held = false;
    void with_try_lock() {
      const bool mine = m.try_lock();
      if (mine) held = true;
      { const std::lock_guard line(log); }
      if (right ? mine : held.load()) m.unlock();
    }
  } shared;
  wait_group both;
  for (int i = 0; i < 2; ++i) both.go([&] { shared.with_try_lock(); });
  both.wait();
}

constexpr bug all[] = {
    {"lock_order", "transfer from a to b against transfer from b to a", lock_order<false>, lock_order<true>,
     failure_kind::deadlock, "which goroutine 3 holds"},
    {"lock_order_of_three", "a circle of three locks, no two goroutines disagree", lock_order_of_three<false>,
     lock_order_of_three<true>, failure_kind::deadlock, "which goroutine 4 holds"},
    {"dining_philosophers", "four of them, each with the left fork", dining_philosophers<false>,
     dining_philosophers<true>, failure_kind::deadlock, "which goroutine 5 holds"},
    {"callback_under_the_lock", "the callback locks what is locked, if it was cancelled",
     callback_under_the_lock<false>, callback_under_the_lock<true>, failure_kind::deadlock,
     "goroutine 3 waits for a mutex that it holds itself"},
    {"ticket_lock_serves_the_wrong_number", "unlock goes by the ticket drawn last",
     ticket_lock_serves_the_wrong_number<false>, ticket_lock_serves_the_wrong_number<true>, failure_kind::endless,
     "still going on: goroutine "},
    {"unlocked_by_another", "whether it is locked is a member, not a local", unlocked_by_another<false>,
     unlocked_by_another<true>, failure_kind::exception, "unlock of unlocked mutex"},
};

}  // namespace

std::span<const bug> bugs_of_locks() { return all; }

}  // namespace weft::test
