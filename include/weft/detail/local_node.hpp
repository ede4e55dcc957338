// local_node: one goroutine-local variable of one goroutine. Not for users.
#pragma once
#include <cstdint>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

struct local_node {
  std::uint64_t id = 0;         // of the weft::local
  local_node* older = nullptr;  // made before it
  void (*destroy)(local_node* n) = nullptr;
};

// Of the caller, a goroutine or a thread; null: it has none yet. *id is given a number the first time.
WEFT_EXPORT local_node* local_find(std::uint64_t* id) noexcept;
// Room for one more, so that local_add cannot fail. Throws std::bad_alloc.
WEFT_EXPORT void local_reserve();
WEFT_EXPORT void local_add(const std::uint64_t* id, local_node* n) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace weft
