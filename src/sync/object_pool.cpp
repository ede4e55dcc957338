#include "weft/object_pool.hpp"

#include <pthread.h>

#include "arch/getg.hpp"
#include "base/random.hpp"
#include "model/g.hpp"
#include "model/m.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

// The M's, not its P's, which may be taken away at any time outside the runtime.
std::uint32_t pool_shard() noexcept {
  if (const rt::g* gp = rt::getg(); gp != nullptr) return static_cast<std::uint32_t>(gp->m->id);
  return static_cast<std::uint32_t>(rt::mix64(static_cast<std::uint64_t>(::pthread_self())) >> 32);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
