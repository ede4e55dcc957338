// span_of_time: how long, as people write it in an environment variable.
#pragma once
#include <cstdint>

namespace weft::rt {

// A number of seconds, or one with a unit: 1.5, 500ms, 10s, 5m, 2h. False for anything else, and for more than 290 years.
// Not strtod: the program's locale may write the point otherwise.
bool parse_span_of_time(const char* text, std::int64_t* ns);

}  // namespace weft::rt
