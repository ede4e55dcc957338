// sizes: every constant of the scheduler's algorithms, in one place, as compile-time parameters
// (RELIABILITY 3.1, rule 6): a search builds the same code with a ring of 4, "every 3rd" for "every 61st"
// and no spinning, so that overflow and wrap-around lie inside what it can cover. Numbers are Go's (A1).
#pragma once
#include <cstdint>

namespace weft::rt::sizes {

#ifdef WEFT_TINY_SIZES
inline constexpr std::uint32_t runq = 4;
inline constexpr std::uint32_t runq_start = 0xfffffffe;
inline constexpr std::uint32_t global_tick = 3;
inline constexpr std::uint32_t global_block = 3;
inline constexpr std::uint32_t runnext_hops = 2;
inline constexpr std::uint32_t goid_batch = 2;
inline constexpr std::uint32_t gfree_high = 4;
inline constexpr std::uint32_t steal_passes = 2;
inline constexpr std::uint32_t runnext_backoff_ns = 0;
inline constexpr std::uint32_t backoff_pauses = 1;
inline constexpr std::uint32_t doze_ns = 0;
inline constexpr std::uint32_t longest_doze_ns = 0;
inline constexpr std::uint32_t last_one_backoff_ns = 0;
inline constexpr std::uint32_t spin_us = 0;
inline constexpr std::uint32_t spin_rounds = 1;
inline constexpr std::uint32_t mutex_spins = 0;
inline constexpr std::uint32_t mutex_pauses = 1;
inline constexpr std::uint32_t mutex_turns = 2;
inline constexpr std::uint32_t passed_over = 1;
inline constexpr std::uint32_t stay_pauses = 0;
inline constexpr std::uint32_t meeting_ns = 0;
inline constexpr std::uint32_t scan_pauses = 1;
inline constexpr std::uint32_t handover_pauses = 1;
inline constexpr std::uint32_t max_procs = 8;
inline constexpr std::uint32_t rest_ms = 0;
inline constexpr bool watch = false;
inline constexpr std::uint32_t thread_tries = 1;
inline constexpr std::uint32_t sema_buckets = 2;
inline constexpr std::uint32_t timer_room = 2;
inline constexpr std::uint32_t revoke_generation_bits = 2;
inline constexpr std::uint32_t stack_cache[] = {2, 2, 2, 2, 2, 0};
inline constexpr std::uint32_t stack_chunk_slots = 8;
inline constexpr std::uint32_t stack_max_chunks = 1024;
inline constexpr std::uint32_t stack_guard_batch = 4;
inline constexpr std::uint32_t slab_chunk_bytes = 4096;
inline constexpr std::uint32_t slab_first_chunk_bytes = 4096;
#else
inline constexpr std::uint32_t runq = 256;                   // slots of a P's ring; half of it moves at an overflow
inline constexpr std::uint32_t runq_start = 0;               // both of its indices; near the end, they soon wrap
inline constexpr std::uint32_t global_tick = 61;             // every so many ticks the global queue comes first
inline constexpr std::uint32_t global_block = 127;           // goroutines in a block of the global queue
inline constexpr std::uint32_t runnext_hops = 16;            // runnext inherits the slice so often at most (Go 52934)
inline constexpr std::uint32_t goid_batch = 16;              // goroutine ids taken by a P at a time
inline constexpr std::uint32_t gfree_high = 64;              // dead gs a P keeps; beyond that it gives half away
inline constexpr std::uint32_t steal_passes = 4;             // the last one may take runnext
inline constexpr std::uint32_t runnext_backoff_ns = 10'000;  // a running victim is about to run its runnext itself
inline constexpr std::uint32_t backoff_pauses = 1000;        // the same in pauses, should the clock stand still
inline constexpr std::uint32_t last_one_backoff_ns = 3000;   // and the only one of its ring
inline constexpr std::uint32_t doze_ns = 50'000;             // a thief that sees only what moves sleeps so long
inline constexpr std::uint32_t longest_doze_ns = 200'000;    // and longer each time
inline constexpr std::uint32_t spin_us = 20;                 // an M without work looks around so long, then sleeps
inline constexpr std::uint32_t spin_rounds = 1000;           // the same in rounds
inline constexpr std::uint32_t mutex_spins = 4;              // rounds of pauses before a lock yields or sleeps
inline constexpr std::uint32_t mutex_pauses = 30;            // in each round
inline constexpr std::uint32_t mutex_turns = 16;             // a mutex waiter that was woken in vain yields so often
inline constexpr std::uint32_t passed_over = 7;              // and is passed over so often for each time
inline constexpr std::uint32_t stay_pauses = 100;  // a thread that finds a channel locked stays away so long: some 2 us
inline constexpr std::uint32_t meeting_ns =
    10'000;  // goroutines of a P that all find one locked within this time: it sleeps
inline constexpr std::uint32_t scan_pauses = 64;       // before whoever waits for a locked status yields
inline constexpr std::uint32_t max_procs = 4096;       // address space for so many Ps is reserved
inline constexpr std::uint32_t handover_pauses = 250;  // a locked M looks for its P so long: some 5 us
inline constexpr std::uint32_t rest_ms = 10'000;       // an idle M that nobody needs ends after so long
inline constexpr bool watch = true;                    // there is a sysmon
inline constexpr std::uint32_t thread_tries = 3;       // a refused thread is asked for so often
inline constexpr std::uint32_t sema_buckets = 251;
inline constexpr std::uint32_t timer_room = 256;             // of a P's heap, before it grows: a page
inline constexpr std::uint32_t revoke_generation_bits = 29;  // of the revoke word, above its state
inline constexpr std::uint32_t stack_cache[] = {64, 64, 64,
                                                8,  2,  0};  // free stacks that a P keeps, by class, and apart
inline constexpr std::uint32_t stack_chunk_slots = 1024;     // stacks mapped at a time
inline constexpr std::uint32_t stack_max_chunks = 65536;
inline constexpr std::uint32_t stack_guard_batch = 128;  // guards installed at a time; the arena's lock is held: 60 us
inline constexpr std::uint32_t slab_chunk_bytes = 2u << 20;
inline constexpr std::uint32_t slab_first_chunk_bytes = 64u << 10;  // a small program touches no huge page
#endif
inline constexpr std::uint32_t many = 10'000;  // goroutines in the global queue: more than caches hold
inline constexpr std::uint32_t gfree_low = gfree_high / 2;
inline constexpr std::int64_t starvation_ns = 1'000'000;  // a mutex waiter older than this gets it handed over

}  // namespace weft::rt::sizes
