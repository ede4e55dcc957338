// glance: what its owner changes without a lock, read as one word while that goes on: one value or the other. An m, a p and a g
// are never anything else, so what a pointer that is out of date names can be read too. Race detectors are not told of it. For
// reports, never for a decision.
#pragma once
#include "base/macros.hpp"

namespace weft::rt {

template <class T>
WEFT_UNINSTRUMENTED T glance(const T& at) {
  return *const_cast<const volatile T*>(&at);
}

}  // namespace weft::rt
