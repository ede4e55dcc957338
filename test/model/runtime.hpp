// A whole runtime inside the checker: what its models share.
#pragma once
#include <atomic>
#include <cstdint>

#include "checker/machine.hpp"
#include "checker/model.hpp"
#include "checker/sys_model.hpp"
#include "model/process.hpp"
#include "weft/weft.hpp"

namespace weft::check {

#define WORKLOAD(name, claim) MODEL(name, claim, .sample = true, .timeouts = 3)

using flag = std::atomic<int>;

inline void set(flag& f, int value = 1) { f.store(value, std::memory_order_release); }

inline options embedded(int procs) {
  options o;
  o.procs = procs;
  o.stack_size = std::size_t{16} << 10;
  return o;
}

// Runs `main` as the main goroutine of a runtime with so many Ps, in a process that has not run one before.
template <class F>
void with_runtime(int procs, F main) {
  run(embedded(procs), main);
}

// Waits, as a goroutine that never blocks would: it looks, and gives way to other threads, but not to other goroutines.
// Whoever sets the flag must therefore run on another P: work conservation is what ends this.
inline void spin_until(const flag& f, int value = 1) {
  while (f.load(std::memory_order_acquire) != value) yield_step(0);
}

}  // namespace weft::check
