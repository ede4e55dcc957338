// wires: what the runtime calls on floors above its own, as data (HOUSE 1.2, trick b). The lookout
// (src/observe) fills the table; a search or a test may link another.
#pragma once
#include <cstdint>

namespace weft::rt {

struct g;

struct upward_wires {
  // Prints the goroutines, after a fatal error has been named. Best effort: the runtime is broken.
  void (*fatal_dump)();
  // An exception that nobody catches is about to end the process on goroutine gp: says what it is, which
  // goroutine, its stack, and where it was created. Called by the terminate handler, before abort.
  void (*uncaught)(const g* gp);
  // The stack of gp has met its guard at `address`. Runs on the alternate signal stack.
  void (*overflow_sig)(const g* gp, std::uintptr_t address);
};
extern const upward_wires wires;

}  // namespace weft::rt
