// The exceptions of weft. Misuse that Go turns into a panic throws a type derived from weft::error, with
// Go's wording in what().
#pragma once
#include <stdexcept>

#include "weft/detail/config.hpp"
#include "weft/detail/unwind.hpp"

namespace weft {
inline namespace v0 {

/// Misuse of the library. The message names the value or the call.
class WEFT_EXPORT error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// wait_group: the counter would go below zero.
class WEFT_EXPORT negative_counter : public error {
 public:
  negative_counter() : error("sync: negative WaitGroup counter") {}
};

/// wait_group: add() from zero while a wait() is in progress, or reuse before every wait() has returned.
class WEFT_EXPORT wait_group_misuse : public error {
 public:
  using error::error;
};

/// send() to a closed channel, also when it was closed while the sender waited.
class WEFT_EXPORT send_on_closed_channel : public error {
 public:
  send_on_closed_channel() : error("send on closed channel") {}
};

/// close() of a channel that is closed.
class WEFT_EXPORT close_of_closed_channel : public error {
 public:
  close_of_closed_channel() : error("close of closed channel") {}
};

/// close() of a nil channel.
class WEFT_EXPORT close_of_nil_channel : public error {
 public:
  close_of_nil_channel() : error("close of nil channel") {}
};

/// unlock() of a mutex that nobody holds. From ~lock_guard it terminates the program.
class WEFT_EXPORT unlock_of_unlocked_mutex : public error {
 public:
  unlock_of_unlocked_mutex() : error("sync: unlock of unlocked mutex") {}
  using error::error;
};

/// What a result is when its goroutine was cancelled, or called this_goroutine::exit, before there was one.
class WEFT_EXPORT future_cancelled : public error {
 public:
  future_cancelled() : error("weft: the goroutine has ended without a result: it was cancelled, or has called exit") {}
};

}  // namespace v0
}  // namespace weft
