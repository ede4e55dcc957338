// The functions that -fsanitize=thread calls, ours instead of libtsan's. g++ 12 and clang 14 pass the memory order of
// each operation as a constant when the code is optimised (-O1); test/checker/self_test.cpp looks that they still do.
#include <cstddef>
#include <cstdint>

#include "checker/machine.hpp"

namespace {

using namespace weft::check;

std::uint32_t pc_of(const void* p) { return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p)) - 1; }
order order_of(int mo) { return static_cast<order>(mo & 7); }

}  // namespace

#define PC pc_of(__builtin_return_address(0))

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** at, void*) { plain_access(at, sizeof *at, true, PC); }
void __tsan_vptr_read(void** at) { plain_access(at, sizeof *at, false, PC); }
void __tsan_read_range(void* at, std::size_t n) { plain_access(at, n, false, PC); }
void __tsan_write_range(void* at, std::size_t n) { plain_access(at, n, true, PC); }

#define PLAIN(n)                                                              \
  void __tsan_read##n(void* at) { plain_access(at, n, false, PC); }           \
  void __tsan_write##n(void* at) { plain_access(at, n, true, PC); }           \
  void __tsan_unaligned_read##n(void* at) { plain_access(at, n, false, PC); } \
  void __tsan_unaligned_write##n(void* at) { plain_access(at, n, true, PC); } \
  void __tsan_read_write##n(void* at) { plain_access(at, n, true, PC); }      \
  void __tsan_unaligned_read_write##n(void* at) { plain_access(at, n, true, PC); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
#undef PLAIN

// What a compiler leaves to libc is an access all the same: clang zeroes objects so, and an atomic in there begins anew.
// By instructions, not by calls: these are the calls.
void* memcpy(void* to, const void* from, std::size_t n) {
  plain_access(from, n, false, PC);
  plain_access(to, n, true, PC);
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
  return to;
}
void* memmove(void* to, const void* from, std::size_t n) {
  plain_access(from, n, false, PC);
  plain_access(to, n, true, PC);
  void* at = to;
  if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= n) {
    asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
  } else {
    at = static_cast<char*>(to) + n - 1;
    from = static_cast<const char*>(from) + n - 1;
    asm volatile("std\n\trep movsb\n\tcld" : "+D"(at), "+S"(from), "+c"(n) : : "memory", "cc");
  }
  return to;
}
void* memset(void* to, int v, std::size_t n) {
  plain_access(to, n, true, PC);
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(v) : "memory");
  return to;
}
void* __tsan_memcpy(void* to, const void* from, std::size_t n) { return memcpy(to, from, n); }
void* __tsan_memmove(void* to, const void* from, std::size_t n) { return memmove(to, from, n); }
void* __tsan_memset(void* to, int v, std::size_t n) { return memset(to, v, n); }

#define RMW(bits, T, name, op)                                                                        \
  T __tsan_atomic##bits##_##name(volatile T* at, T v, int mo) {                                       \
    return static_cast<T>(atomic_rmw(const_cast<T*>(at), bits / 8, rmw_op::op, v, order_of(mo), PC)); \
  }
#define ATOMIC(bits, T)                                                                                                \
  T __tsan_atomic##bits##_load(const volatile T* at, int mo) {                                                         \
    return static_cast<T>(atomic_load(const_cast<T*>(at), bits / 8, order_of(mo), PC));                                \
  }                                                                                                                    \
  void __tsan_atomic##bits##_store(volatile T* at, T v, int mo) {                                                      \
    atomic_store(const_cast<T*>(at), bits / 8, v, order_of(mo), PC);                                                   \
  }                                                                                                                    \
  RMW(bits, T, exchange, exchange)                                                                                     \
  RMW(bits, T, fetch_add, add)                                                                                         \
  RMW(bits, T, fetch_sub, sub)                                                                                         \
  RMW(bits, T, fetch_and, band)                                                                                        \
  RMW(bits, T, fetch_or, bor)                                                                                          \
  RMW(bits, T, fetch_xor, bxor)                                                                                        \
  RMW(bits, T, fetch_nand, nand)                                                                                       \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* at, T* expected, T v, int mo, int fail_mo) {           \
    const T found =                                                                                                    \
        static_cast<T>(atomic_cas(const_cast<T*>(at), bits / 8, *expected, v, order_of(mo), order_of(fail_mo), PC));   \
    if (found == *expected) return 1;                                                                                  \
    *expected = found;                                                                                                 \
    return 0;                                                                                                          \
  }                                                                                                                    \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* at, T* expected, T v, int mo, int fail_mo) {             \
    const T found =                                                                                                    \
        static_cast<T>(atomic_cas(const_cast<T*>(at), bits / 8, *expected, v, order_of(mo), order_of(fail_mo), PC));   \
    if (found == *expected) return 1;                                                                                  \
    *expected = found;                                                                                                 \
    return 0;                                                                                                          \
  }                                                                                                                    \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* at, T expected, T v, int mo, int fail_mo) {                 \
    return static_cast<T>(atomic_cas(const_cast<T*>(at), bits / 8, expected, v, order_of(mo), order_of(fail_mo), PC)); \
  }
ATOMIC(8, std::uint8_t)
ATOMIC(16, std::uint16_t)
ATOMIC(32, std::uint32_t)
ATOMIC(64, std::uint64_t)
#undef ATOMIC
#undef RMW

void __tsan_atomic_thread_fence(int mo) { atomic_fence(order_of(mo), PC); }
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
