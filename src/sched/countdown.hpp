// countdown: the last one out wakes whoever waits to take the place down.
//
// Who    leave: those that are counted (Ms that have not gone home; threads outside that wake a goroutine of ours).
//        wait_until_none: the thread that called run, which frees the runtime then, the word included.
// Order  rt.home, rt.foreign   leave: all it did, then the count (release) / wait_until_none: the count (acquire)
// Never  touch anything of the runtime after leave. The wake itself names the word's address and reads nothing there:
//        at worst it wakes somebody who sleeps on another word at that place, and all of ours look again.
// Never  count from zero again while somebody waits: whoever raises it must keep the runtime alive by another reason,
//        until it has (an M that is alive; a goroutine that still waits).
// Checked by test/model/shutdown_model.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "os/sys.hpp"

namespace weft::rt {

inline void leave(atomic<std::uint32_t>& count) {
  if (count.fetch_sub(1, release) == 1) os::futex_wake(&count);  // order: rt.home, rt.foreign
}

inline void wait_until_none(atomic<std::uint32_t>& count) {
  for (std::uint32_t n; (n = count.load(acquire)) != 0;) os::futex_wait(&count, n);
}

}  // namespace weft::rt
