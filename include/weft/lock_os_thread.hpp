// Tying a goroutine to its thread, for libraries that keep state in the thread (GUI toolkits, OpenGL, namespaces).
#pragma once
#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {

/// From here on the goroutine runs on this thread only, and nobody else does, until as many unlock_os_thread() calls.
/// A goroutine that ends while locked takes its thread with it; the thread that called weft::run stays, but runs no
/// goroutine any more. New threads never inherit what the goroutine has made of its own (namespaces, affinity, …).
///   Throws    weft::error outside a runtime, and when it nests deeper than 2^32 - 1.
///   Blocks    no. Not a cancellation point. Each wait of a locked goroutine costs a hand-over between two threads.
///   Go        runtime.LockOSThread.
WEFT_EXPORT void lock_os_thread();

/// Undoes one lock_os_thread(); nothing when the goroutine is not locked.
///   Throws    weft::error outside a runtime.      Go  runtime.UnlockOSThread.
WEFT_EXPORT void unlock_os_thread();

/// The two as a scope. It must end in the goroutine in which it began.
class os_thread_lock {
 public:
  os_thread_lock() { lock_os_thread(); }
  ~os_thread_lock() { unlock_os_thread(); }
  os_thread_lock(const os_thread_lock&) = delete;
  os_thread_lock& operator=(const os_thread_lock&) = delete;
};

}  // namespace v0
}  // namespace weft
