// The runtime's free choices in a search: branches of it (RELIABILITY 3.1, rule 8). In place of src/base/noise.cpp,
// whose delays would be steps for nothing here.
#include "base/noise.hpp"

#include <algorithm>

#include "checker/machine.hpp"

namespace weft::rt {
namespace {

// Go's policy mostly, where it has one: a search that asks at every turn what nobody does seldom comes to the point.
constexpr std::uint32_t policy = 8;

std::uint32_t pick(strategy*, site where, std::uint32_t n) {
  if (n <= 1) return 0;
  if (static_cast<std::uint32_t>(where) >= first_settled_site && check::choose(policy) != policy - 1) return 0;
  // The ticket of a treap, of which it matters only which is larger, has too many values to try.
  if (where == site::treap_ticket) return check::choose(4) * (n / 4);
  return check::choose(n);
}

constinit strategy choices{pick};

}  // namespace

void set_noise(std::uint64_t, std::uint64_t) {}
std::uint64_t noise_made() { return 0; }
strategy* noise_choices() { return &choices; }

}  // namespace weft::rt
