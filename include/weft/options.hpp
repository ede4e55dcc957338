// The options of a runtime, each with its environment variable.
#pragma once
#include <cstddef>

#include "weft/detail/config.hpp"
#include "weft/detail/duration.hpp"

namespace weft {
inline namespace v0 {

/// What happens to the other goroutines when the main goroutine returns.
enum class main_return {
  cancel,  ///< they are cancelled, and run() returns when the last one has ended
  exit,    ///< the process ends at once with main's value, as in Go; if main threw, as with cancel
};

/// An option that is on or off.
class toggle {
 public:
  constexpr toggle(bool on) : on_(on) {}
  constexpr operator bool() const { return on_; }

 private:
  bool on_;
};

struct options {
  static constexpr toggle on{true};
  static constexpr toggle off{false};

  /// The number of Ps: goroutines that run at the same time. 0: as many as the CPUs this process may use
  /// (affinity and cgroup quota). WEFT_PROCS, 1 … 4096.
  int procs = 0;
  /// Stack of a goroutine that asks for nothing else, in bytes; rounded up to 16 KiB, 64 KiB, 256 KiB, 1 MiB
  /// or 8 MiB. WEFT_STACK_SIZE, in bytes or with K or M.
  std::size_t stack_size = std::size_t{256} << 10;
  /// More threads than this is a program error, and fatal. WEFT_MAX_THREADS.
  int max_threads = 10000;
  /// WEFT_ON_MAIN_RETURN, cancel or exit.
  main_return on_main_return = main_return::cancel;

  /// So long after main's end, goroutines that have not ended are reported with their stacks, and the process ends by
  /// _Exit with main's value (70 if it left none); runtime::shutdown aborts. After a second a line says who is awaited.
  /// WEFT_SHUTDOWN_TIMEOUT: seconds, or with a unit: 500ms, 10s, 5m.
  duration shutdown_timeout = duration::nanoseconds(10'000'000'000);
  /// When nobody can ever run again, run() says so ("all goroutines are asleep - deadlock!") with every goroutine and
  /// what it waits for, and ends the process with status 2. WEFT_DEADLOCK, on or off.
  toggle deadlock = on;

  /// The defaults, changed by the WEFT_… variables that are set.
  ///   Throws    weft::error that names an unknown WEFT_… variable or a bad value, and lists what there is.
  WEFT_EXPORT static options from_env();
};

}  // namespace v0
}  // namespace weft
