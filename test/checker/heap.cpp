// The model's heap: operator new and delete of the whole program. The checker's own go to malloc.
#include <cstdlib>
#include <new>

#include "checker/machine.hpp"

namespace {

void* allocate(std::size_t bytes, std::size_t align) {
  if (weft::check::active()) return weft::check::model_alloc(bytes, align);
  void* p = align > 16 ? std::aligned_alloc(align, (bytes + align - 1) / align * align) : std::malloc(bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void deallocate(void* p, void* caller) {
  if (p == nullptr) return;
  if (weft::check::is_model_memory(p)) {
    weft::check::model_free(p, static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(caller)) - 1);
  } else {
    std::free(p);
  }
}

}  // namespace

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
