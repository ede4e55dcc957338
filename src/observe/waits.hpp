// waits: what a goroutine waits for, for how long, who holds it, and whether those who wait wait for each other.
//
// Who holds a mutex its word tells in 32 bits: the 64 KiB that the locker's stack was in (include/weft/mutex.hpp).
// That names a goroutine as long as it has that stack. Several goroutines share 64 KiB when their stacks are small;
// then those whose frames reach into it are meant, and if there are still several, the report says "one of". A
// goroutine that ended while it held the mutex has left its stack, and whoever has got it since is named in its place:
// the word has no room for more.
//
// Reads waiters' frames and users' objects, and allocates: in the copy of the process only (child.hpp). Every walk
// over all goroutines is O(n log n), for a million may wait.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/g.hpp"

namespace weft::rt {

bool is_alive(const g& gp);

// For how long gp has waited at `now`; negative: it does not wait, or nobody knows.
std::int64_t waited_ns(const g& gp, std::int64_t now);

// What is known about the holder of a mutex.
struct holder {
  enum class kind : std::uint8_t {
    nobody,     // free, or given to a waiter that has not run yet
    goroutine,  // who[0]
    one_of,     // who[0..n), and more of them if n == max; with or_ended, one that has ended as well
    ended,      // a goroutine whose stack nobody has now
    thread,     // no stack of ours
  };
  static constexpr std::size_t max = 4;
  kind how = kind::nobody;
  const g* who[max] = {};
  std::size_t n = 0;
  bool or_ended = false;
};

class wait_graph {
 public:
  // "waits for mutex 0x…, held by goroutine 7 "worker", for 1.23 s"; empty if gp does not wait for an object.
  std::string what(const g& gp, std::int64_t now) const;
  // Of the mutex whose word is there.
  holder holder_of(const void* mutex) const;
  // "cycle: goroutine 1 -> mutex 0x… -> goroutine 2 -> mutex 0x… -> goroutine 1\n", a line for each of the first cycles.
  std::string cycles() const;

 private:
  struct range {
    std::uintptr_t lo, hi;  // frames can be between
    const g* gp;            // null: free
  };
  void index() const;
  const g* next(const g& gp) const;

  mutable bool indexed_ = false;
  mutable std::vector<range> stacks_;  // all that there are, by address
};

}  // namespace weft::rt
