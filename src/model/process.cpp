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

}  // namespace weft::rt
