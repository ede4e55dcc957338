// timer_chan: the channel of a timer or ticker (GO-BEHAVIOUR C7, Go 1.23), from which values are received and which looks
// unbuffered.
//
// Who    when, period, pending: whoever holds the channel's lock, which is the timer's.
// State  there is no value anywhere. pending: one is to come at `when`, or would be received now, if that is past. So a stop
//        or reset has nothing to drain, and after it nobody can receive an older one.
//        Who waits in it has a deadline, `when`, and a timer of its own in its own frame; when that is fired, it comes and
//        takes the value. So a timer that nobody waits for is in no heap and costs nothing, goroutines of several runtimes
//        and plain threads can wait for the same one, and a thread needs no scheduler for it. A reset sends all who wait
//        around once more.
// Order  several who wait for one timer all come at its time, and one of them gets it: the first to have the lock.
// Why    not one timer in a heap per channel, as in Go: it would belong to one runtime, which may end while others wait.
// Never  qcount, closed or dataqsiz change: is_of_timer keeps the channel off every fast path.
// Checked by test/conformance/timer_test.cpp, test/conformance/timer_explored_test.cpp.
#pragma once
#include <cstdint>

#include "model/hchan.hpp"

namespace weft::rt {

enum class attempt : std::uint8_t;

struct timer_chan : hchan {
  std::int64_t when;
  std::int64_t period;  // 0: once
  bool pending;
};

// `ns` from now on, and then each `period`, if that is not 0. Throws std::bad_alloc.
timer_chan* make_timer_chan(std::int64_t ns, std::int64_t period);

// The timer that c is the channel of. Returns whether it was pending.
bool timer_set(hchan* c, std::int64_t ns, std::int64_t period);
bool timer_clear(hchan* c);

// ---- for receives and selects

// With the lock: when a receive can happen; no_timer: not while nobody resets it.
std::int64_t timer_when(const hchan* c);
// False: the goroutine is to unwind.
[[gnu::cold]] bool timer_recv(hchan* c, void* to, v0::detail::elem_fn put);
[[gnu::cold]] bool timer_try_recv(hchan* c, void* to, v0::detail::elem_fn put);
// With the lock, as recv_now. (Not by `place`: three words go through memory, and the caller's fast path keeps a frame for it.)
[[gnu::cold]] attempt timer_now(hchan* c, void* to, v0::detail::elem_fn put);

}  // namespace weft::rt
