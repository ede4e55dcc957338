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

/// Whether the goroutine is cancelled: its next cancellation point throws weft::cancelled. On a plain thread false.
WEFT_EXPORT bool cancelled() noexcept;

/// Ends the calling goroutine by unwinding it, destructors and all. From main: the others go on, and when none is left
/// the process ends with Go's text, "no goroutines (main called runtime.Goexit) - deadlock!", status 2.
///   Throws    a type of its own, which catch (...) must rethrow; weft::error on a plain thread.
///   Go        runtime.Goexit.
[[noreturn]] WEFT_EXPORT void exit();

}  // namespace this_goroutine

/// No call in this scope is a cancellation point: for cleaning up that must wait. Nests. On a plain thread nothing.
class no_cancel {
 public:
  WEFT_EXPORT no_cancel() noexcept;
  WEFT_EXPORT ~no_cancel();
  no_cancel(const no_cancel&) = delete;
  no_cancel& operator=(const no_cancel&) = delete;

 private:
  bool outermost_;
};

}  // namespace v0
}  // namespace weft
