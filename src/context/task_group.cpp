#include "weft/task_group.hpp"

#include <string>

namespace weft {
inline namespace v0 {
namespace detail {

void task_group_bad_limit(std::ptrdiff_t n) {
  throw error("weft: task_group limit " + std::to_string(n) + ": must be 1 to 2147483647, or negative for none");
}
void task_group_busy(std::ptrdiff_t n, std::uint64_t running) {
  throw error("weft: task_group limit " + std::to_string(n) + " set while " + std::to_string(running) +
              (running == 1 ? " goroutine is running" : " goroutines are running"));
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
