#include "base/span_of_time.hpp"

#include <cstring>

namespace weft::rt {
namespace {

// Seconds in a unit; 0 for what is none.
long double seconds_in(const char* unit) {
  struct row {
    const char* name;
    long double seconds;
  };
  constexpr row units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3L}, {"m", 60}, {"h", 3600}};
  for (const row& u : units) {
    if (std::strcmp(unit, u.name) == 0) return u.seconds;
  }
  return 0;
}

}  // namespace

bool parse_span_of_time(const char* text, std::int64_t* ns) {
  long double value = 0;
  long double place = 0;  // of the next digit behind the point; 0: still before it
  bool digits = false;
  for (; (*text >= '0' && *text <= '9') || (*text == '.' && place == 0); ++text) {
    if (*text == '.') {
      place = 1;
      continue;
    }
    digits = true;
    place /= 10;
    value = place == 0 ? value * 10 + (*text - '0') : value + place * (*text - '0');
  }
  const long double seconds = value * seconds_in(text);
  if (!digits || seconds_in(text) == 0 || seconds > 9e9L) return false;
  *ns = static_cast<std::int64_t>(seconds * 1e9L + 0.5L);
  return true;
}

}  // namespace weft::rt
