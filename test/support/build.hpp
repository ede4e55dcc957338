// build: what kind of build a test is in. Tests ask here instead of looking at macros.
#pragma once
#include "base/macros.hpp"

namespace weft::test {

#ifdef WEFT_ASAN
inline constexpr bool built_with_asan = true;
#else
inline constexpr bool built_with_asan = false;
#endif
#ifdef WEFT_TSAN
inline constexpr bool built_with_tsan = true;
#else
inline constexpr bool built_with_tsan = false;
#endif
inline constexpr bool built_with_sanitizer = built_with_asan || built_with_tsan;

// Counts of goroutines and rounds, smaller where every step costs 10 to 50 times more. TSan wants a fibre for each
// goroutine and has room for some thousands.
constexpr int scaled(int n, int divisor = 10) { return built_with_sanitizer ? (n + divisor - 1) / divisor : n; }

}  // namespace weft::test
