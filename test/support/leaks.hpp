// leaks: what a runtime must have given back when run() returns. Two snapshots and their difference.
#pragma once
#include <cstdint>
#include <string>

namespace weft::test {

struct snapshot {
  std::uint64_t stacks = 0;    // slots out of the arenas
  std::uint64_t proxies = 0;   // gs lent to plain threads that wait
  std::uint64_t runtimes = 0;  // that have not ended
  std::uint64_t threads = 0;   // of the process
  std::uint64_t fds = 0;
  std::uint64_t mappings = 0;
  std::uint64_t heap = 0;  // bytes in use in malloc; 0 under sanitizers, which have their own malloc
};

snapshot take_snapshot();

// What is there after and was not there before, one phrase for each kind; empty: nothing leaked. A joined thread
// is still in /proc for a moment, so threads and descriptors are looked at again, for a while, before they count.
std::string leaked_since(const snapshot& before);

// The same for what grows with use and never shrinks by itself: the heap (caches of malloc's and stdio's) and
// mappings. `runs`: how many runs lie between the snapshots; a leak is one that each of them has paid for.
std::string grown_since(const snapshot& before, unsigned runs);

std::uint64_t count_threads();
std::uint64_t count_fds();
std::uint64_t count_mappings();

}  // namespace weft::test
