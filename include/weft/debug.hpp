// Looking inside a runtime.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace debug {

/// Counters of the running runtime, since it was started. Each is exact at rest; together they are no snapshot.
struct runtime_stats {
  std::uint64_t goroutines_created;
  std::uint64_t threads;  ///< threads ever started, the one that called run included
  std::uint64_t steals;   ///< goroutines that a P took from another P's queue
};

/// O(procs). Throws weft::error outside a runtime.
WEFT_EXPORT runtime_stats stats();

}  // namespace debug
}  // namespace v0
}  // namespace weft
