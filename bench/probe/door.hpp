// The door of the runtime (src/sched/enter.hpp), which users cannot reach alone.
#pragma once
#include <cstdint>

namespace bench {

// n times `enter` and leave, on the calling goroutine.
void through_the_door(std::uint64_t n);
// The same loop without.
void past_the_door(std::uint64_t n);

}  // namespace bench
