// corpus: small programs with one known concurrency bug each, as users write them, and the same programs without it.
//
// What an exploration finds is measured against real execution of the same code, so the programs have no yield where
// nobody would write one: real goroutines would take turns there, and show the bug. What goroutines share without a lock
// is atomic: on threads, too, each of the programs is C++ without a data race. Nothing is on the heap: a run that fails frees nothing, and LeakSanitizer would complain.
#pragma once
#include <ostream>
#include <span>
#include <vector>

#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace weft::test {

struct bug {
  const char* name;
  const char* what;  // one line for the table
  void (*wrong)();
  void (*right)();
  sim::failure_kind kind;
  const char* phrase;  // stands in the report, and names what is broken or who waits for what
};

// For GoogleTest, which would print the bytes.
inline void PrintTo(const bug& b, std::ostream* out) { *out << b.what; }

std::span<const bug> bugs_of_state();
std::span<const bug> bugs_of_locks();
std::span<const bug> bugs_of_signals();
std::span<const bug> bugs_of_counting();
std::span<const bug> bugs_of_time();

inline std::vector<bug> corpus() {
  std::vector<bug> all;
  for (const auto part : {bugs_of_state(), bugs_of_locks(), bugs_of_signals(), bugs_of_counting(), bugs_of_time()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace weft::test
