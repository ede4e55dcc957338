// What every public header needs: the language floor and the export attribute.
#pragma once

#if !defined(__cpp_exceptions)
#error "weft needs exceptions: compile without -fno-exceptions"
#endif
#if __cplusplus < 202002L
#error "weft needs C++20: compile with -std=c++20"
#endif
#if !defined(__linux__)
#error "weft runs on Linux only"
#endif

// The only macro of the public headers: what the shared library exports.
#define WEFT_EXPORT [[gnu::visibility("default")]]

namespace weft {
inline namespace v0 {
namespace detail {

// One process-wide byte in front of every inline fast path. Exploration, tracing and profiles set it;
// the fast path then gives way to the compiled function, which sees the call (DESIGN 5).
WEFT_EXPORT extern unsigned char door;

inline bool door_open() noexcept { return __atomic_load_n(&door, __ATOMIC_RELAXED) != 0; }

}  // namespace detail
}  // namespace v0
}  // namespace weft
