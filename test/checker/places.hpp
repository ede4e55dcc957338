// places: which line of the sources an instruction belongs to. Through addr2line, a batch at a time: only failures and
// the order weakening ask.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace weft::check {

struct place {
  std::string file;  // as the compiler knew it
  std::uint32_t line = 0;
  std::string function;       // innermost that is not the standard library's
  std::string brief() const;  // "runq.hpp:58"
};

// The innermost place outside of the system's headers, through inlined calls.
std::map<std::uint32_t, place> places_of(std::vector<std::uint32_t> pcs);
// That line of its file, without indentation; empty when it cannot be read.
std::string source_line(const place& p);

}  // namespace weft::check
