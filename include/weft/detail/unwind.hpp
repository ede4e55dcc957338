// What a goroutine is unwound by: types of their own, in a header that costs nothing.
#pragma once
#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {

/// Thrown into a goroutine that has been cancelled, out of the call that waited. Not an std::exception, so that
/// catch (const std::exception&) lets it pass; catch (...) must rethrow it. Met by a noexcept function it
/// terminates the program, with a report that names the function.
class WEFT_EXPORT cancelled {
 public:
  const char* what() const noexcept { return "the goroutine has been cancelled"; }
};

namespace detail {
// Thrown by this_goroutine::exit, caught by the goroutine's first frame. Not for users.
struct WEFT_EXPORT goexit_unwind {};
}  // namespace detail

}  // namespace v0
}  // namespace weft
