// atomic: the only spelling of atomics in src/ (RELIABILITY 3.1, rule 1). Every operation names its order.
//
// An alias rather than a type of ours: a search compiles this code with -fsanitize=thread and sees
// std::atomic as it is. The alias stays so that a compiler that stops passing orders to the
// instrumentation can be served by one other definition here.
#pragma once
#include <atomic>

#include "base/macros.hpp"

namespace weft::rt {

template <class T>
using atomic = std::atomic<T>;

inline constexpr std::memory_order relaxed = std::memory_order_relaxed;
inline constexpr std::memory_order acquire = std::memory_order_acquire;
inline constexpr std::memory_order release = std::memory_order_release;
inline constexpr std::memory_order acq_rel = std::memory_order_acq_rel;
inline constexpr std::memory_order seq_cst = std::memory_order_seq_cst;

// The one StoreLoad barrier: no load after it is performed before a store in front of it.
// Go gets it for free, because its StoreRel is an XCHG on x86; a C++ release store is a plain MOV
// (GO-BEHAVIOUR A19). TSan does not follow fences, so its form is an RMW: the same barrier on the CPU.
inline void store_load_barrier() {
#ifdef WEFT_TSAN
  atomic<int> word{0};
  word.fetch_add(0, seq_cst);
#else
  std::atomic_thread_fence(seq_cst);
#endif
}

// Orders this thread's own accesses for whoever stops it with membarrier; costs no instruction.
inline void compiler_barrier() { std::atomic_signal_fence(seq_cst); }

}  // namespace weft::rt
