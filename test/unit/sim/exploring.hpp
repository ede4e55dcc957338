// exploring: what the tests of weft::sim share.
#pragma once
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace weft::test {

// The failure that an exploration ends with; empty, and a failed expectation, if it passes.
template <class F>
std::optional<sim::failure> failure_of(const sim::options& o, F&& body) {
  try {
    sim::explore(o, body);
  } catch (const sim::failure& f) {
    return f;
  }
  ADD_FAILURE() << "the exploration has passed";
  return std::nullopt;
}
template <class F>
std::optional<sim::failure> failure_of(F&& body) {
  return failure_of(sim::options{}, body);
}

// The text of the weft::error that f throws; "" if none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Two goroutines add to a counter as if reading and writing were one.
inline void lost_update() {
  int counter = 0;
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      const int seen = counter;
      yield();
      counter = seen + 1;
    });
  }
  both.wait();
  sim::check(counter == 2, "no update is lost");
}

// Two locks in two orders.
inline void lock_order() {
  mutex a, b;
  wait_group both;
  both.go([&] {
    a.lock();
    b.lock();
    b.unlock();
    a.unlock();
  });
  both.go([&] {
    b.lock();
    a.lock();
    a.unlock();
    b.unlock();
  });
  both.wait();
}

// The same among others, which only make the schedule longer.
inline void lock_order_in_a_crowd() {
  wait_group crowd;
  for (int i = 0; i < 4; ++i) {
    crowd.go([] {
      for (int k = 0; k < 6; ++k) yield();
    });
  }
  lock_order();
  crowd.wait();
}

}  // namespace weft::test
