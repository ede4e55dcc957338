// A length of time that is made from any std::chrono duration, and costs no <chrono>.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {

namespace detail {

[[noreturn]] WEFT_EXPORT void duration_throw_no_number();

__extension__ typedef __int128 int128;

template <class Rep>
concept a_whole_rep = requires(const Rep& n) {
  requires !(static_cast<Rep>(1) / 2 > 0);
  static_cast<int128>(n);
};

template <class Rep>
concept a_floating_rep = __is_same(Rep, float) || __is_same(Rep, double) || __is_same(Rep, long double);

}  // namespace detail

/// Nanoseconds; converts from std::chrono durations, rounding up what is a fraction of one, and to them, toward zero as
/// std::chrono does. Exact for whole numbers; numbers with a fraction are multiplied as the type itself does it, so
/// that 0.1 s are 100 ms. Never longer than 292 years: what is more is for ever.      Throws  weft::error for a NaN.
class duration {
 public:
  constexpr duration() = default;
  template <class D>
    requires requires(const D& d) {
      d.count();
      typename D::period;
    }
  constexpr duration(const D& d) : ns_(to_ns(d.count(), ratio<typename D::period>)) {}
  static constexpr duration nanoseconds(std::int64_t ns) {
    duration d;
    d.ns_ = ns;
    return d;
  }
  constexpr std::int64_t count() const { return ns_; }
  template <class D>
    requires requires { typename D::period; }
  constexpr operator D() const {
    constexpr fraction in_ns = ratio<typename D::period>;
    using rep = typename D::rep;
    if constexpr (detail::a_whole_rep<rep>) {
      return D(static_cast<rep>(static_cast<detail::int128>(ns_) * in_ns.den / in_ns.num));
    } else {
      return D(static_cast<rep>(static_cast<long double>(ns_) * static_cast<long double>(in_ns.den) /
                                static_cast<long double>(in_ns.num)));
    }
  }
  friend constexpr bool operator==(const duration&, const duration&) = default;

 private:
  // Nanoseconds in one of a period: num / den, reduced.
  struct fraction {
    detail::int128 num;
    detail::int128 den;
  };
  static constexpr fraction reduced(detail::int128 num, detail::int128 den) {
    detail::int128 a = num, b = den;
    while (b != 0) {
      const detail::int128 rest = a % b;
      a = b;
      b = rest;
    }
    return {num / a, den / a};
  }
  template <class Period>
  static constexpr fraction ratio = reduced(static_cast<detail::int128>(Period::num) * 1'000'000'000, Period::den);

  template <class Rep>
  static constexpr std::int64_t to_ns(const Rep& count, const fraction& in_ns) {
    if constexpr (detail::a_whole_rep<Rep>) {
      detail::int128 n = static_cast<detail::int128>(count);
      // More than the 127 bits, divided by 63 at most, is too long as well.
      if (__builtin_mul_overflow(n, in_ns.num, &n)) return count > 0 ? INT64_MAX : INT64_MIN;
      const bool more = n % in_ns.den > 0;
      n = n / in_ns.den + (more ? 1 : 0);
      if (n >= INT64_MAX) return INT64_MAX;
      return n <= INT64_MIN ? INT64_MIN : static_cast<std::int64_t>(n);
    } else if constexpr (detail::a_floating_rep<Rep>) {
      if (__builtin_isnan(count)) detail::duration_throw_no_number();
      const Rep ns = count * static_cast<Rep>(in_ns.num) / static_cast<Rep>(in_ns.den);
      if (ns >= static_cast<Rep>(INT64_MAX)) return INT64_MAX;
      if (ns <= static_cast<Rep>(INT64_MIN)) return INT64_MIN;
      const auto whole = static_cast<std::int64_t>(ns);
      return static_cast<Rep>(whole) < ns ? whole + 1 : whole;
    } else {
      return to_ns(static_cast<long double>(count), in_ns);
    }
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
