// g: a goroutine. 192 bytes, type-stable: its memory is never anything else (mem/slab.hpp), all-zero is a
// legal dead g, and an id is never reused. Plain threads that wait get one too, for the wait (park.hpp).
#pragma once
#include <cstdint>

#include "arch/gobuf.hpp"
#include "model/status.hpp"
#include "model/wait_reason.hpp"
#include "weft/detail/entry.hpp"

namespace weft::rt {

struct g_extras;
struct m;
struct sched_t;
struct stack;
struct waiter;

// The 16 bytes of __cxa_get_globals(), the same in libstdc++ and libc++abi: caught and uncaught exceptions of
// whoever runs. Per thread by the ABI, per goroutine by us (FAULTS 6).
struct eh_globals {
  void* caught = nullptr;
  std::uint32_t uncaught = 0;
};

inline constexpr std::uint8_t g_is_g0 = 1;                  // an M's scheduler context
inline constexpr std::uint8_t g_tied = 2;                   // came back without a P, and waits for one on its thread
inline constexpr std::uint8_t g_has_extras = 4;             // `extras` is its own
inline constexpr std::uint8_t g_locked = 8;                 // to its thread
inline constexpr std::uint8_t g_is_thread = 16;             // a plain thread's proxy: readied by a futex wake
inline constexpr std::uint8_t g_no_cancel = 32;             // in a no_cancel scope
inline constexpr std::uint8_t g_bound = g_tied | g_locked;  // runs on the M that `tied` names only
inline constexpr std::uint8_t g_canary = 64;                // its stack has no guard: looked at when it ends
inline constexpr std::uint8_t g_gives_way = 128;            // in a yield, for a mutex that `waiting` names

// A goroutine's birth touches the first two lines, its first run and its waits the third.
struct alignas(64) g {
  // ---- who it is and where it is
  gobuf sched;         // while it does not run
  rt::m* m = nullptr;  // token: the M that runs it; null otherwise
  status_word status;
  wait_reason reason = wait_reason::none;  // why it waits; written before the park
  std::uint8_t stack_class = 0;
  std::uint8_t flags = 0;                        // what is rare, in one byte that every path sees
  bool on_list = false;                          // token: in a glist
  const v0::detail::entry_ops* entry = nullptr;  // null once it has run
  std::uint64_t goid = 0;
  rt::stack* stack = nullptr;  // bound at the first run; the one it is on (on_big_stack)
  const void* gopc = nullptr;  // where it was created
  std::uint64_t parent_goid = 0;
  // ---- its callable
  alignas(16) unsigned char closure[v0::detail::entry_bytes] = {};
  // ---- its life
  eh_globals eh;
  sched_t* rt = nullptr;       // its runtime; kept while it is dead and in that runtime's caches
  rt::m* tied = nullptr;       // with g_tied or g_locked: must be resumed on this M
  g_extras* extras = nullptr;  // a name, a context, locals (model/extras.hpp); never null while it lives
  g* schedlink = nullptr;      // list link; owner: the list's lock or owner
  waiter* waiting = nullptr;   // the wait it is parked in, stable while waiting; with g_gives_way, that of the mutex
  std::uint32_t wait_seq = 0;  // counts waits, so that a late taker knows its own from the next
  std::uint32_t since = 0;     // when its wait began, in ticks of the coarse clock (model/process.hpp); 0: unknown

  bool is_thread() const { return (flags & g_is_thread) != 0; }
};
static_assert(sizeof(g) + 8 <= 256, "a queued goroutine and its place in the queue cost 256 bytes at most");
static_assert(sizeof(g) == 192, "a g fills three lines");

}  // namespace weft::rt
