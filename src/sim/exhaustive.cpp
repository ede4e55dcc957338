#include "sim/exhaustive.hpp"

#include <algorithm>

namespace weft::rt::lab {

void exhaustive::begin(std::uint64_t) {
  at_ = 0;
  diverged_ = false;
}

std::uint32_t exhaustive::pick(std::span<const explore::candidate> enabled, std::uint32_t current) {
  const auto n = static_cast<std::uint32_t>(enabled.size());
  // Who has yielded is among several candidates only in front of all others: none of them is preferred to it.
  return current == explore::nobody ? decide(n, 0, false) : decide(n, current, true);
}

std::uint32_t exhaustive::decide(std::uint32_t n, std::uint32_t first, bool costs) {
  if (n == 1) return 0;
  if (at_ == path_.size()) path_.push_back({n, first, 0, costs});
  const decision& d = path_[at_++];
  if (d.n == n && d.first == first && d.costs == costs) return d.answer();
  diverged_ = true;
  return std::min(d.answer(), n - 1);
}

bool exhaustive::next() {
  std::uint32_t spent = 0;
  for (const decision& d : path_) spent += d.costs && d.tried != 0 ? 1 : 0;
  while (!path_.empty()) {
    decision& d = path_.back();
    if (d.costs && d.tried != 0) --spent;
    if (d.tried + 1 < d.n && (!d.costs || spent < bound_)) {
      ++d.tried;
      return true;
    }
    path_.pop_back();
  }
  return false;
}

}  // namespace weft::rt::lab
