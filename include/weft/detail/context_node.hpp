// context_node: one place in a tree of contexts, as handles and whoever carries one see it (src/context). Not for users.
//
// State  refs: shares, held by handles, by derived contexts and by goroutines that run under it. At zero `release` says what
//        becomes of it.
#pragma once
#include <cstdint>
#include <typeinfo>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

struct context_node;

struct context_ops {
  // The last share has gone. Returns the node whose share goes with it; null: none.
  context_node* (*release)(context_node* n) noexcept;
  // The std::any that n has for this key of that type; null: not here.
  const void* (*find)(const context_node* n, const std::type_info& type, const void* key);
};

struct context_node {
  std::uint64_t refs = 1;
  context_node* parent = nullptr;   // a share; null: the background, or not needed any more
  context_node* nearest = nullptr;  // the nearest one that can be cancelled, itself included; null: none
  const context_ops* ops = nullptr;
};

inline context_node* context_hold(context_node* n) noexcept {
  if (n != nullptr) __atomic_fetch_add(&n->refs, 1, __ATOMIC_RELAXED);
  return n;
}
// In a loop: a chain of contexts may be longer than a stack is deep.
inline void context_drop(context_node* n) noexcept {
  while (n != nullptr && __atomic_fetch_sub(&n->refs, 1, __ATOMIC_ACQ_REL) == 1) n = n->ops->release(n);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
