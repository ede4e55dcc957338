// report: a recorded run as text for people.
#pragma once
#include <string>

#include "sim/engine.hpp"

namespace weft::rt::lab {

// What the failure is, in a line or two.
std::string headline(const result& r);
// Who did what: a column for each goroutine, a row for each step; the last ones.
std::string lanes(const result& r, std::size_t last);
// All of it, in words.
std::string steps_in_words(const result& r, std::size_t last);
// Each goroutine: where it is, and where it was created.
std::string goroutines(const result& r);
// The choices that are left after minimizing, in words.
std::string choices_in_words(const result& r);
// The command line of this process.
std::string command_line();

}  // namespace weft::rt::lab
