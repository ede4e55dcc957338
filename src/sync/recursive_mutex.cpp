#include "weft/recursive_mutex.hpp"

#include <pthread.h>

#include "arch/getg.hpp"
#include "model/g.hpp"
#include "weft/error.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

// Goroutines are odd, threads even: pthread_self is an address.
std::uint64_t caller_id() noexcept {
  if (const rt::g* gp = rt::getg(); gp != nullptr) return gp->goid << 1 | 1;
  return static_cast<std::uint64_t>(::pthread_self());
}

void throw_unlock_by_another() {
  throw unlock_of_unlocked_mutex("sync: unlock of unlocked mutex: the caller does not hold the recursive_mutex");
}

void throw_locked_too_often() { throw error("weft: recursive_mutex locked 4294967295 times by its holder"); }

}  // namespace detail
}  // namespace v0
}  // namespace weft
