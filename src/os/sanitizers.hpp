// sanitizers: what the runtime's own memory owes to AddressSanitizer and LeakSanitizer; nothing in other builds.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/macros.hpp"

#ifdef WEFT_ASAN
extern "C" {
void __lsan_register_root_region(const void* at, std::size_t bytes);
void __lsan_unregister_root_region(const void* at, std::size_t bytes);
void __asan_unpoison_memory_region(const volatile void* at, std::size_t bytes);
}
#endif

namespace weft::rt::os {

// What only a parked goroutine's stack or a dead g points to is no leak. Every byte of the range is read at
// exit, through memory maps that do not show guards made by MADV_GUARD_INSTALL: a range must have no guard inside.
inline void leak_root_add([[maybe_unused]] const void* at, [[maybe_unused]] std::size_t bytes) {
#ifdef WEFT_ASAN
  __lsan_register_root_region(at, bytes);
#endif
}

inline void leak_root_remove([[maybe_unused]] const void* at, [[maybe_unused]] std::size_t bytes) {
#ifdef WEFT_ASAN
  __lsan_unregister_root_region(at, bytes);
#endif
}

// What only this memory points to is no leak from now on, whatever becomes of the memory: its words are kept for the life of
// the process.
#ifdef WEFT_ASAN
void leak_forgive(const void* at, std::size_t bytes);
#else
inline void leak_forgive(const void*, std::size_t) {}
#endif

// The red zones of frames that were left by a switch outlive the mapping otherwise, and hit its successor.
inline void unpoison([[maybe_unused]] void* at, [[maybe_unused]] std::size_t bytes) {
#ifdef WEFT_ASAN
  __asan_unpoison_memory_region(at, bytes);
#endif
}

}  // namespace weft::rt::os
