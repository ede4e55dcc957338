// dining: the philosophers, who share a fork with each neighbour and need both to eat.
//
// If all take the left fork first, all may end with one fork in the hand, waiting for ever. That needs each of them to be
// interrupted at the one moment that matters, so a program that has this mistake runs for years; an exploration of it takes
// some milliseconds, and says who waits for whom. Three remedies are explored as well, and then feed the table for real:
//   order    all take the fork with the smaller number first, so they cannot wait in a circle
//   host     lets one fewer sit down than there are places, so one of them always gets both forks
//   at once  std::scoped_lock gives back the fork that it has before it waits for the other
//
// Run     build/release/examples/dining
// Prints  left first: weft::sim: all goroutines are asleep - deadlock! goroutine 2 (ada), goroutine 3 (barbara), goroutine 4
//                     (edsger), goroutine 5 (grace) and goroutine 6 (tony) wait for mutexes of each other
//         order: no failure in 5000 schedules; 5 philosophers have eaten 1000 times each
//         host: … the same
//         at once: … the same
// Go      a sync.Mutex for each fork; nothing there looks for the schedule that ends badly
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string_view>

namespace {

constexpr std::size_t seats = 5;
constexpr std::array<const char*, seats> names{"ada", "barbara", "edsger", "grace", "tony"};

struct table {
  std::array<weft::mutex, seats> forks;
  weft::semaphore chairs{seats - 1};
  std::array<int, seats> meals{};
  std::array<bool, seats> eating{};

  weft::mutex& left_of(std::size_t seat) { return forks[seat]; }
  weft::mutex& right_of(std::size_t seat) { return forks[(seat + 1) % seats]; }

  // With both forks in the hand: so no neighbour eats, and nobody else writes these.
  void eat(std::size_t seat) {
    eating[seat] = true;
    weft::sim::point();
    if (eating[(seat + 1) % seats] || eating[(seat + seats - 1) % seats])
      throw std::logic_error("two neighbours eat at the same time");
    eating[seat] = false;
    ++meals[seat];
  }
};

// snippet: ways
void left_first(table& t, std::size_t seat) {
  const std::lock_guard left(t.left_of(seat));
  const std::lock_guard right(t.right_of(seat));
  t.eat(seat);
}

void in_order(table& t, std::size_t seat) {
  // The forks have numbers, and only at the last seat is the right one's the smaller.
  const auto [first, second] = std::minmax({seat, (seat + 1) % seats});
  const std::lock_guard one(t.forks[first]);
  const std::lock_guard two(t.forks[second]);
  t.eat(seat);
}

void with_a_host(table& t, std::size_t seat) {
  t.chairs.acquire();
  left_first(t, seat);
  t.chairs.release();
}

void at_once(table& t, std::size_t seat) {
  const std::scoped_lock both(t.left_of(seat), t.right_of(seat));
  t.eat(seat);
}
// snippet: end

using way = void (*)(table&, std::size_t);

void dine(table& t, way eat, int meals) {
  weft::wait_group guests;
  guests.add(seats);
  for (std::size_t seat = 0; seat < seats; ++seat)
    weft::go({.name = names[seat]}, [&t, &guests, eat, meals, seat] {
      for (int i = 0; i < meals; ++i) eat(t, seat);
      guests.done();
    });
  guests.wait();
}

// Whether no schedule goes wrong; says which one does.
bool explore(const char* name, way eat) {
  // snippet: explore
  try {
    const weft::sim::summary s = weft::sim::explore({.runs = 5'000}, [eat] {
      table t;
      dine(t, eat, 1);
    });
    std::printf("%s: no failure in %d schedules; ", name, s.runs);
    return true;
  } catch (const weft::sim::failure& f) {
    const std::string_view report = f.what();  // its first line says what; the others, how it comes to it
    std::printf("%s: %.*s\n", name, static_cast<int>(report.find('\n')), report.data());
    return false;
  }
  // snippet: end
}

}  // namespace

int main() {
  static constexpr int meals = 1000;
  struct remedy {
    const char* name;
    way eat;
  };
  bool all_well = !explore("left first", left_first);
  for (const auto& [name, eat] : {remedy{"order", in_order}, remedy{"host", with_a_host}, remedy{"at once", at_once}}) {
    all_well = explore(name, eat) && all_well;
    table t;
    weft::run([&t, eat = eat] { dine(t, eat, meals); });
    for (const int eaten : t.meals) all_well = all_well && eaten == meals;
    std::printf("%zu philosophers have eaten %d times each\n", seats, t.meals.front());
  }
  return all_well ? 0 : 1;
}
