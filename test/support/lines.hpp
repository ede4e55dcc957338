// Whether this build has debug information: without it reports have neither files and lines nor the names of functions that
// were inlined.
#pragma once
#include <cstdint>

#include "observe/symbolize.hpp"

namespace weft::test {

[[gnu::noinline]] inline void somewhere() { asm volatile(""); }

inline bool has_lines() {
  const rt::symbolizer names;
  return names.look_up(reinterpret_cast<std::uintptr_t>(&somewhere)).calls.back().line > 0;
}

}  // namespace weft::test
