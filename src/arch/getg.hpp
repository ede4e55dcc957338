// getg: who runs on this thread. The one read of thread-local storage in the runtime (RELIABILITY 3.1, rule 4).
//
// Each compiler caches the address of a thread_local across a switch, and the goroutine wakes on another
// thread with the old one's (FAULTS 3, 4; LIMITS 6 has the table). An asm volatile load is never merged
// with another and never moved over the switch; the initial-exec model keeps it at two instructions in
// executables and in shared libraries alike.
//
// weft_g is null on a thread that is no M, the g0 while the scheduler runs, else the goroutine.
#pragma once
#include <cstdint>

namespace weft::rt {

struct g;

inline g* getg() {
  g* gp;
#if defined(__x86_64__)
  asm volatile(
      "movq weft_g@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(gp)
      :
      : "memory");
#elif defined(__aarch64__)
  std::uintptr_t offset;
  asm volatile(
      "adrp %1, :gottprel:weft_g\n\t"
      "ldr %1, [%1, #:gottprel_lo12:weft_g]\n\t"
      "mrs %0, tpidr_el0\n\t"
      "ldr %0, [%0, %1]"
      : "=&r"(gp), "=&r"(offset)
      :
      : "memory");
#endif
  return gp;
}

inline void setg(g* gp) {
#if defined(__x86_64__)
  std::uintptr_t offset;
  asm volatile(
      "movq weft_g@gottpoff(%%rip), %0\n\t"
      "movq %1, %%fs:(%0)"
      : "=&r"(offset)
      : "r"(gp)
      : "memory");
#elif defined(__aarch64__)
  std::uintptr_t offset, base;
  asm volatile(
      "adrp %0, :gottprel:weft_g\n\t"
      "ldr %0, [%0, #:gottprel_lo12:weft_g]\n\t"
      "mrs %1, tpidr_el0\n\t"
      "str %2, [%1, %0]"
      : "=&r"(offset), "=&r"(base)
      : "r"(gp)
      : "memory");
#endif
}

}  // namespace weft::rt
