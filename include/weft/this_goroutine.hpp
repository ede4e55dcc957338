// The calling goroutine, in the manner of std::this_thread.
#pragma once
#include <cstdint>
#include <string_view>

#include "weft/detail/config.hpp"
#include "weft/go.hpp"

namespace weft {
inline namespace v0 {
namespace this_goroutine {

using weft::v0::yield;

/// A number that no other goroutine of this process ever has. On a plain thread 0; main's is 1 in a
/// fresh process.
WEFT_EXPORT std::uint64_t id() noexcept;

/// The name given in attrs, empty if none. Valid while the goroutine lives.
WEFT_EXPORT std::string_view name() noexcept;

}  // namespace this_goroutine
}  // namespace v0
}  // namespace weft
