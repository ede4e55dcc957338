// check: how the runtime stops when it must. `fatal` exists in every build; `invariant` in checked ones only.
#pragma once

namespace weft::rt {

#ifdef WEFT_CHECKED
inline constexpr bool checked = true;
#else
inline constexpr bool checked = false;
#endif

// Prints "fatal error: <text>" with the numbers given, lets the dump wire print the goroutines, ends the
// process with status 2 as Go does. The text is "room: what", so that a reader knows where to look.
[[noreturn]] void fatal(const char* text);
[[noreturn]] void fatal(const char* text, unsigned long long a, unsigned long long b = 0);

// The wire from fatal to the dump of the goroutines (base/wires.hpp). Set once by boot.
using dump_fn = void (*)();
void set_fatal_dump(dump_fn fn);

inline void invariant(bool holds, const char* text) {
  if constexpr (checked) {
    if (!holds) fatal(text);
  }
}

}  // namespace weft::rt
