#include "weft/once.hpp"

#include "weft/error.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

void throw_once_unwound() {
  throw error("weft: once: the goroutine of the first call was cancelled in it, or has called exit");
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
