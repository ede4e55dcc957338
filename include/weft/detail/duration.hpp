// A length of time that is made from any std::chrono duration, and costs no <chrono>.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {

/// Nanoseconds; converts from and to std::chrono durations, rounding up, and is never longer than 292 years.
class duration {
 public:
  constexpr duration() = default;
  template <class D>
    requires requires(const D& d) {
      d.count();
      typename D::period;
    }
  constexpr duration(const D& d) : ns_(to_ns(d.count(), D::period::num, D::period::den)) {}
  static constexpr duration nanoseconds(std::int64_t ns) {
    duration d;
    d.ns_ = ns;
    return d;
  }
  constexpr std::int64_t count() const { return ns_; }
  template <class D>
    requires requires { typename D::period; }
  constexpr operator D() const {
    return D(static_cast<typename D::rep>(static_cast<long double>(ns_) * D::period::den / D::period::num / 1e9L));
  }
  friend constexpr bool operator==(const duration&, const duration&) = default;

 private:
  template <class Rep>
  static constexpr std::int64_t to_ns(Rep count, long double num, long double den) {
    const long double ns = static_cast<long double>(count) * num / den * 1e9L;
    if (ns >= 9.2e18L) return INT64_MAX;
    if (ns <= -9.2e18L) return INT64_MIN;
    const auto whole = static_cast<std::int64_t>(ns);
    return static_cast<long double>(whole) < ns ? whole + 1 : whole;
  }

  std::int64_t ns_ = 0;
};

namespace detail {

WEFT_EXPORT std::int64_t clock_now() noexcept;

template <class T>
concept a_time_point = requires(const T& t) {
  typename T::clock;
  t.time_since_epoch();
  T::clock::now().time_since_epoch();
};

// What is left until then, by that clock at the call. Its own difference could overflow.
template <a_time_point T>
std::int64_t ns_until(const T& t) {
  const std::int64_t then = duration(t.time_since_epoch()).count();
  const std::int64_t now = duration(T::clock::now().time_since_epoch()).count();
  std::int64_t left = 0;
  if (then == INT64_MAX || __builtin_sub_overflow(then, now, &left)) return then > now ? INT64_MAX : INT64_MIN;
  return left;
}

// Now and so much more, by the runtime's clock: never in the past for a time that no clock will show.
inline std::int64_t deadline_in(std::int64_t ns) {
  const std::int64_t now = clock_now();
  if (ns <= 0) return now;
  return ns < INT64_MAX - 1 - now ? now + ns : INT64_MAX - 1;
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
