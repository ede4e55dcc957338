// memory: what a load may read, and who has seen what.
//
// Per atomic location a history of its stores, in modification order, which is the order of execution (so there is no
// load buffering and no weak 2+2W: RELIABILITY 3.4). A load may read the newest store or an older one, down to a floor:
//   - the newest store that happens before the load, and what was read by loads that happen before it (coherence);
//   - across seq_cst fences: what was stored or read before a fence that came earlier is known after a later one;
//   - a seq_cst load reads no further back than the newest seq_cst store.
// Read-modify-writes read the newest.
//
// Two clocks per thread. `vc` is happens-before: it decides data races. `cov` is what the thread must see: vc, and
// beyond it what seq_cst fences taught it without synchronising. Both travel with release stores.
//
// A thread's clock goes up after each visible step: what a release store publishes does not include plain accesses that
// come after it.
#pragma once
#include <cstdint>

#include "checker/machine.hpp"

namespace weft::check {

struct memory_view {
  vclock vc, cov;
  vclock rel_vc, rel_cov;  // as of the last release fence
  vclock acq_vc, acq_cov;  // what relaxed loads have read, for the next acquire fence
  bool has_rel = false;
  bool has_acq = false;
  std::uint32_t sc_fence_step = 0;  // when its last seq_cst fence was
};

struct store {
  std::uint64_t value;
  epoch when;
  std::uint32_t seq;      // place in the modification order
  std::uint32_t step;     // number of the step in the execution
  std::uint32_t prev;     // index of the next older one, 0: none
  std::uint32_t prev_sc;  // newest seq_cst store up to the one before this
  bool sc;
  bool has_clock;
  vclock vc, cov;
};

struct seen_read {
  epoch when;
  std::uint32_t seq;
  std::uint32_t next;
};

struct location {
  std::uint64_t addr;
  std::uint32_t generation;
  std::uint32_t size;
  std::uint32_t newest;  // store index
  std::uint32_t newest_sc;
  std::uint32_t reads;  // seen_read index
  epoch born;           // the plain write that made it
  epoch last_read[max_threads];
  epoch last_write[max_threads];
  std::uint8_t stale[max_threads];
};

void memory_reset(std::uint32_t generation);
location& location_at(const void* at, std::uint32_t size, std::uint32_t thread, memory_view& v, std::uint32_t pc);
store& store_at(std::uint32_t index);

// Indices of the stores that the load may read, newest first; at most `limit`.
std::uint32_t candidates(location& l, const memory_view& v, order o, std::uint32_t* out, std::uint32_t limit);
void do_read(location& l, std::uint32_t index, std::uint32_t thread, memory_view& v, order o);
// Appends to the modification order. `rmw`: the release sequence of the store before goes on.
void do_write(location& l, std::uint64_t value, std::uint32_t thread, memory_view& v, order o, bool rmw,
              std::uint32_t step_number);
void do_fence(std::uint32_t thread, memory_view& v, order o, std::uint32_t step_number);
// A full fence in every thread, somewhere within the call: here.
void do_membarrier(memory_view* const* views, std::uint32_t n, std::uint32_t step_number);
// Time has passed: from now on the thread sees the newest of everything.
void see_newest(memory_view& v, memory_view* const* all, std::uint32_t n);

// Happens-before for plain memory. Fails the execution on a race or on freed memory.
void check_plain(std::uint64_t at, std::size_t size, bool write, std::uint32_t thread, memory_view& v,
                 std::uint32_t pc);
void mark_fresh(const void* at, std::size_t bytes);
void mark_freed(const void* at, std::size_t bytes, std::uint32_t thread, memory_view& v, std::uint32_t pc);
void check_not_freed(const void* at, std::uint32_t pc);

std::uint64_t raw_load(const void* at, std::uint32_t size);
void raw_store(void* at, std::uint32_t size, std::uint64_t v);

}  // namespace weft::check
