// future_state: what a goroutine and the handles of its result share (src/context/future.cpp). Not for users.
#pragma once
#include <cstdint>
#include <exception>
#include <new>

#include "weft/detail/hchan.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

enum class outcome : std::uint8_t { none, value, thrown, cancelled };

struct future_state {
  std::uint64_t word = 0;  // whether it is ready, and who waits: src/context/future.cpp
  std::uint32_t refs = 2;  // the goroutine's and the first handle's
  outcome what = outcome::none;
  bool taken = false;
  hchan* done = nullptr;  // closed when it is ready; made when a select asks for it
  std::exception_ptr thrown;

  future_state() = default;
  future_state(const future_state&) = delete;
  future_state& operator=(const future_state&) = delete;
  ~future_state() { chan_drop(done); }
};

inline constexpr std::uint64_t future_ready = 1;

WEFT_EXPORT void future_wait(future_state* s);
// For so many nanoseconds at most. Whether it is ready.
WEFT_EXPORT bool future_wait_for(future_state* s, std::int64_t ns);
WEFT_EXPORT void future_settle(future_state* s) noexcept;
WEFT_EXPORT hchan* future_done(future_state* s);
// Rethrows, or throws future_cancelled.
[[noreturn]] WEFT_EXPORT void future_throw(const future_state* s);
[[noreturn]] WEFT_EXPORT void future_throw_no_state();
[[noreturn]] WEFT_EXPORT void future_throw_taken();

inline bool future_is_ready(const future_state* s) noexcept {
  return (__atomic_load_n(&s->word, __ATOMIC_ACQUIRE) & future_ready) != 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
