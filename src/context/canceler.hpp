// What goroutines obey that run under a context (context.cpp).
#pragma once
#include "model/extras.hpp"

namespace weft::rt {

// Of the nearest context that can be cancelled; null: none. It lives as long as n.
scope* scope_of(v0::detail::context_node* n);

}  // namespace weft::rt
