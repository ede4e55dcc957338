// wires: what the runtime calls on floors above its own, as data (HOUSE 1.2, trick b). The lookout
// (src/observe) fills the table; a search or a test may link another.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::rt {

struct g;
struct m;
struct sched_t;

// A goroutine that has made no call of the runtime for long, as it was found.
struct stall {
  const m* mp = nullptr;  // runs it, as long as it is outside and its `calls` are these
  std::uint32_t calls = 0;
  std::uint64_t thread = 0;  // of mp
  const g* gp = nullptr;     // the goroutine, as long as it is this one
  std::uint64_t goid = 0;
  std::int64_t ns = 0;  // for so long, at least
};

inline constexpr std::size_t most_stalls = 8;  // in one report

struct upward_wires {
  // Prints the goroutines, after a fatal error has been named. Best effort: the runtime is broken.
  void (*fatal_dump)();
  // An exception that nobody catches is about to end the process on goroutine gp: says what it is, which
  // goroutine, its stack, and where it was created. Called by the terminate handler, before abort.
  void (*uncaught)(const g* gp);
  // All goroutines of the process are asleep, and nobody else could wake one: prints "fatal error: <text>", and every
  // goroutine with what it waits for. Returns; the caller ends the process with status 2.
  void (*deadlock)(const char* text);
  // Goroutines of rt are still there `ns` after main has returned, or shutdown has begun: one line that names some; with
  // stacks, `ns` after they were cancelled: all of them. Returns, and the process goes on. Not while holding a lock that
  // a thread which reports its death may want: reports wait for each other.
  void (*awaited)(const sched_t* rt, std::int64_t ns, bool with_stacks);
  // Names goroutines, where each is, and its stack, without their noticing; n is most_stalls at most. Takes as long as it takes to find names: not from a
  // thread that others wait for, nor while holding a lock.
  void (*stalled)(const stall* stalls, std::size_t n);
  // The thread of gp ends by pthread_exit or cancellation, with gp on it. Returns; the caller aborts.
  void (*thread_ended)(const g* gp);
  // The stack of gp has met its guard at `address`. Runs on the alternate signal stack.
  void (*overflow_sig)(const g* gp, std::uintptr_t address);
  // The stack of gp has no guard, and the memory below it was written to at `address`. Called before a fatal error.
  void (*overflow_found)(const g* gp, std::uintptr_t address);
};
extern const upward_wires wires;

}  // namespace weft::rt
