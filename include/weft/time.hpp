// Time: the clock, and waiting for it.
#pragma once
#include <chrono>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"
#include "weft/go.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
WEFT_EXPORT void sleep_ns(std::int64_t ns);

// Rounded up: never shorter than asked for. Longer than the clock can count is for ever, nearly (292 years).
template <class Rep, class Period>
constexpr std::int64_t to_ns(const std::chrono::duration<Rep, Period>& d) {
  return duration(d).count();
}
}  // namespace detail

/// The clock of the runtime. In production CLOCK_MONOTONIC, as std::chrono::steady_clock. In an exploration
/// (weft/sim.hpp) virtual: it stands still while a goroutine can run, and jumps to the next sleeper when none can.
/// Known: under `using namespace weft` it hides the C function clock().
struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept { return time_point(duration(detail::clock_now())); }
};

/// Waits at least that long; not at all for zero or less.
///   Throws    weft::cancelled, when it has to wait: a cancellation point, also of a sleep that has begun.
///             weft::error for a NaN, as whatever takes a duration.
///   Blocks    the goroutine, or the plain thread. In an exploration it costs no time at all.
///   Cost      O(log n) of the goroutines that sleep; no thread, no allocation. Go: time.Sleep.
template <class Rep, class Period>
void sleep(const std::chrono::duration<Rep, Period>& d) {
  detail::sleep_ns(detail::to_ns(d));
}

namespace this_goroutine {

template <class Rep, class Period>
void sleep_for(const std::chrono::duration<Rep, Period>& d) {
  detail::sleep_ns(detail::to_ns(d));
}

/// Sleeps for what is left until then, by that clock at the call.
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration>& t) {
  detail::sleep_ns(detail::ns_until(t));
}

}  // namespace this_goroutine
}  // namespace v0
}  // namespace weft
