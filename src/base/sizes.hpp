// sizes: every constant of the scheduler's algorithms, in one place, as compile-time parameters
// (RELIABILITY 3.1, rule 6): a search builds the same code with a ring of 4, "every 3rd" for "every 61st"
// and no spinning, so that overflow and wrap-around lie inside what it can cover. Numbers are Go's (A1).
#pragma once
#include <cstdint>

namespace weft::rt::sizes {

#ifdef WEFT_TINY_SIZES
inline constexpr std::uint32_t runq = 4;
inline constexpr std::uint32_t global_tick = 3;
inline constexpr std::uint32_t runnext_hops = 2;
inline constexpr std::uint32_t goid_batch = 2;
inline constexpr std::uint32_t gfree_high = 4;
inline constexpr std::uint32_t spin_us = 0;
inline constexpr std::uint32_t mutex_spins = 0;
#else
inline constexpr std::uint32_t runq = 256;         // slots of a P's ring; half of it moves at an overflow
inline constexpr std::uint32_t global_tick = 61;   // every so many ticks the global queue comes first
inline constexpr std::uint32_t runnext_hops = 16;  // runnext inherits the slice so often at most (Go 52934)
inline constexpr std::uint32_t goid_batch = 16;    // goroutine ids taken by a P at a time
inline constexpr std::uint32_t gfree_high = 64;    // dead gs a P keeps; beyond that it gives half away
inline constexpr std::uint32_t spin_us = 20;       // an M without work looks around so long before it sleeps
inline constexpr std::uint32_t mutex_spins = 4;    // rounds of 30 pauses before a lock yields or sleeps
#endif
inline constexpr std::uint32_t gfree_low = gfree_high / 2;
inline constexpr std::uint32_t steal_passes = 4;           // the last one may take runnext
inline constexpr std::uint32_t runnext_backoff_ns = 3000;  // a running victim is about to run its runnext itself
inline constexpr std::uint32_t mutex_pauses = 30;
inline constexpr std::int64_t starvation_ns = 1'000'000;  // a mutex waiter older than this gets it handed over
inline constexpr std::uint32_t max_procs = 4096;
inline constexpr std::uint32_t sema_buckets = 251;

}  // namespace weft::rt::sizes
