// carried: the record of whoever calls (model/extras.hpp): a goroutine's, or a plain thread's.
#pragma once
#include "model/extras.hpp"

namespace weft::rt {

// Null: it has none, and so neither a context nor locals.
g_extras* carried() noexcept;
// Made if there is none. Throws std::bad_alloc.
g_extras* carry();

}  // namespace weft::rt
