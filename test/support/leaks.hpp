// leaks: what a runtime must have given back when run() returns. Two snapshots and their difference.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

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

// The same for what grows with use and does not shrink by itself, so that only growth in each run is a leak: heap, of which
// malloc keeps some in caches of its own, and mappings. `after` holds a snapshot after each run of the same thing, the
// first of which has filled the caches.
std::string grown_in_each_run(const std::vector<snapshot>& after);

// A run of an exploration that fails leaves what its goroutines had: they end without destructors. LeakSanitizer takes none
// of what the calling thread allocates in such a scope for a leak.
class expecting_a_failed_run {
 public:
  expecting_a_failed_run();
  ~expecting_a_failed_run();
  expecting_a_failed_run(const expecting_a_failed_run&) = delete;
  expecting_a_failed_run& operator=(const expecting_a_failed_run&) = delete;
};

std::uint64_t count_threads();
std::uint64_t count_fds();
std::uint64_t count_mappings();

}  // namespace weft::test
