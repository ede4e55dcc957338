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

}  // namespace v0
}  // namespace weft
