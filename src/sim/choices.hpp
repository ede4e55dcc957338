// choices: a schedule as the switches in which it differs from the plain one, by name, so that it can be written down,
// shortened, and replayed after the program has been edited.
//
// The plain schedule: the goroutine that runs goes on while it can, unless it yields; else the one that has been
// able to go on for longest. A choice says where another goroutine went on instead:
//
//   1.lock.2=3      goroutine 1 was about to lock for the 2nd time in its life; goroutine 3 went on
//   1.lock.2w=3     … had to wait in it; w2: for the second time in the same call
//   1.after_go.1=3  goroutine 1 had started its first goroutine, and not gone on from there
//   1.select.2c=3   goroutine 1's 2nd select took the third of the cases that were ready; the plain schedule takes the first
//   !drop.4         the 4th call of buggify("drop") fired
//
// A whole string is `sim:` and these, with commas. A choice that names a point which does not come, or a goroutine that
// cannot go on there, is left out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sched/exploration.hpp"

namespace weft::rt::lab {

// In place of how often it has waited: not who goes on, but which of a select's ready cases happens.
inline constexpr std::uint32_t which_case = 0xff;

struct place {
  std::uint32_t actor = 0;
  op what = op::none;
  std::uint32_t nth = 0;    // of this op in this goroutine
  std::uint32_t waits = 0;  // 0: before the operation
  std::uint64_t key() const {
    return std::uint64_t{actor} << 40 | std::uint64_t{waits & 0xff} << 32 | std::uint64_t{nth & 0xffffff} << 8 |
           static_cast<std::uint64_t>(what);
  }
};

struct choice {
  place at;
  std::uint32_t chosen = 0;  // a goroutine; a case, from 1; for buggify the number of the call
  std::string fired = {};    // buggify's name; empty: a switch
  std::uint32_t object = 0;  // of the operation, in the run that it was recorded in; for words only
};

using choice_list = std::vector<choice>;

std::string to_string(const choice& c);
std::string to_string(const choice_list& list);
// Throws weft::error that names what it cannot read.
choice_list parse_choices(std::string_view text);

}  // namespace weft::rt::lab
