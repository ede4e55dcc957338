// The model's heap: malloc and operator new of the whole program. The checker's own calls go on to libc. (malloc too,
// because that is where exceptions live.)
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "checker/machine.hpp"

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

using namespace weft::check;

void* allocate(std::size_t bytes, std::size_t align) {
  if (active()) return model_alloc(bytes, align);
  void* p = align > 16 ? __libc_memalign(align, bytes) : __libc_malloc(bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void deallocate(void* p, void* caller) {
  if (p == nullptr) return;
  if (is_model_memory(p)) {
    model_free(p, static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(caller)) - 1);
  } else {
    __libc_free(p);
  }
}

}  // namespace

extern "C" {
void* malloc(std::size_t n) { return active() ? model_alloc(n, 16) : __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t size) {
  if (!active()) return __libc_calloc(n, size);
  void* p = model_alloc(n * size, 16);
  std::memset(p, 0, n * size);
  return p;
}
void* realloc(void* p, std::size_t n) {
  if (!is_model_memory(p) && !active()) return __libc_realloc(p, n);
  fail("realloc in code under test: the model's heap has none");
}
void free(void* p) { deallocate(p, __builtin_return_address(0)); }
}

void* operator new(std::size_t n) { return allocate(n, 16); }
void* operator new[](std::size_t n) { return allocate(n, 16); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 16); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 16); }
void operator delete(void* p) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete[](void* p) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete(void* p, std::size_t) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete[](void* p, std::size_t) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete(void* p, std::align_val_t) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete[](void* p, std::align_val_t) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { deallocate(p, __builtin_return_address(0)); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { deallocate(p, __builtin_return_address(0)); }
