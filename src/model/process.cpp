#include "model/process.hpp"

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
constinit unsigned char door = 0;
}  // namespace detail
}  // namespace v0
}  // namespace weft

namespace weft::rt {

constinit process the_process;

std::int64_t refresh_coarse_now() {
  const std::int64_t now = os::now();
  the_process.coarse_now.store(now >> coarse_shift, relaxed);
  return now;
}

}  // namespace weft::rt
