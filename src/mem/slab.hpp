// slab: type-stable memory for objects that others may still look at after their death (g).
//
// Who    any M takes and gives lists under the lock; each P keeps a cache in front of it.
// Order  slab.chunk  grow: the chunk's record, then chunks_ (release) / for_each: chunks_ (acquire)
//        for_each takes no lock: a process that dies while it holds the lock still prints its goroutines.
// State  an object is all-zero when it comes fresh from the system. It is never unmapped and never
//        becomes another type, so a stale pointer reads a dead object and compares its id (DESIGN 3).
// Why    not malloc: the objects must survive their last owner, be walked from the outside (dumps), and
//        lie densely on huge pages, because a million of them are touched in a row.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "lock/mutex.hpp"

namespace weft::rt {

class raw_slab {
 public:
  explicit constexpr raw_slab(std::size_t object_bytes) : object_bytes_(object_bytes) {}

  // Up to n fresh objects, contiguous, as [*out, *out + k * object_bytes); returns k, 0 when refused.
  std::size_t fresh(void** out, std::size_t n);
  // Unmaps everything (tests).
  void drop();
  // Calls f(object) for every object ever handed out; the caller decides which are alive.
  void for_each(void (*f)(void* object, void* arg), void* arg);
  std::uint64_t bytes_reserved() const { return reserved_.load(relaxed); }

 private:
  static constexpr std::size_t chunk_bytes = sizes::slab_chunk_bytes;
  static constexpr std::size_t first_chunk_bytes = sizes::slab_first_chunk_bytes;
  // Lies at the end of its own chunk, so that the objects start on the page boundary.
  struct chunk {
    char* base;
    std::size_t bytes;
    atomic<std::size_t> used;  // bytes handed out
    chunk* next;
  };
  chunk* grow();

  mutex lock_;
  std::size_t object_bytes_;
  atomic<chunk*> chunks_{nullptr};
  atomic<std::uint64_t> reserved_{0};
};

}  // namespace weft::rt
