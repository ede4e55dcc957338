#include "observe/private_malloc.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/macros.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

// Nothing is given back: there is no time to need it again. Each block has its size in front.
constexpr std::size_t chunk_bytes = std::size_t{16} << 20;
constexpr std::size_t header = 16;
char* at = nullptr;
char* end = nullptr;
char* chunks[1024];  // where ours are: 16 GiB of them, and what is larger than a chunk in one piece
std::size_t sizes[1024];
std::size_t chunks_n = 0;

bool grow(std::size_t bytes) {
  bytes = std::max(bytes, chunk_bytes);
  if (chunks_n == std::size(chunks)) return false;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  at = static_cast<char*>(memory);
  end = at + bytes;
  chunks[chunks_n] = at;
  sizes[chunks_n++] = bytes;
  return true;
}

void* allocate(std::size_t align, std::size_t bytes) {
  align = std::max(align, header);
  if (bytes > SIZE_MAX / 2 || align > SIZE_MAX / 4) return nullptr;
  auto place = [&] { return (reinterpret_cast<std::uintptr_t>(at) + header + align - 1) & ~(align - 1); };
  if (at == nullptr || place() + bytes > reinterpret_cast<std::uintptr_t>(end)) {
    if (!grow(bytes + align + header)) {
      errno = ENOMEM;
      return nullptr;
    }
  }
  char* block = reinterpret_cast<char*>(place());
  std::memcpy(block - sizeof bytes, &bytes, sizeof bytes);
  at = block + bytes;
  return block;
}

bool is_ours(const void* p) {
  for (std::size_t i = 0; i < chunks_n; ++i) {
    if (static_cast<const char*>(p) >= chunks[i] && static_cast<const char*>(p) < chunks[i] + sizes[i]) return true;
  }
  return false;
}

void* our_malloc(std::size_t bytes) { return allocate(header, bytes); }
void our_free(void*) {}
void* our_memalign(std::size_t align, std::size_t bytes) { return allocate(align, bytes); }

// No exception: the rest of the report could not be made either.
void* our_new(std::size_t bytes) {
  void* block = our_malloc(bytes);
  if (block == nullptr) std::abort();
  return block;
}

void* our_calloc(std::size_t n, std::size_t bytes) {
  if (bytes != 0 && n > SIZE_MAX / bytes) return nullptr;
  return allocate(header, n * bytes);  // fresh from the system, hence zero
}

void* our_realloc(void* old, std::size_t bytes) {
  void* block = allocate(header, bytes);
  if (old == nullptr || block == nullptr) return block;
  std::size_t had = 0;
  if (is_ours(old)) {
    std::memcpy(&had, static_cast<char*>(old) - sizeof had, sizeof had);
  } else {
    had = ::malloc_usable_size(old);  // reads the block's own header, takes no lock
  }
  std::memcpy(block, old, std::min(had, bytes));
  return block;
}

int our_posix_memalign(void** out, std::size_t align, std::size_t bytes) {
  *out = allocate(align, bytes);
  return *out != nullptr ? 0 : ENOMEM;
}

#if defined(__x86_64__)
// endbr64; movabs $to, %rax; jmp *%rax
constexpr unsigned char jump[] = {0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
constexpr std::size_t jump_to = 6;  // where the address stands in it
#elif defined(__aarch64__)
// bti c; ldr x16, . + 8; br x16; the address
constexpr unsigned char jump[] = {0x5f, 0x24, 0x03, 0xd5, 0x50, 0x00, 0x00, 0x58, 0x00, 0x02,
                                  0x1f, 0xd6, 0,    0,    0,    0,    0,    0,    0,    0};
constexpr std::size_t jump_to = 12;
#endif

// Byte by byte: ThreadSanitizer keeps no shadow of code, and so must see neither this nor memcpy.
WEFT_UNINSTRUMENTED void write_code(volatile unsigned char* code, const unsigned char* bytes, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) code[i] = bytes[i];
}

bool redirect(const char* name, void* itself, void* to) {
  // By name first: the address of a function in a program that is not position-independent may be its stub's.
  void* from = ::dlsym(RTLD_DEFAULT, name);
  if (from == nullptr) from = itself;
  if (from == nullptr) return true;  // nobody has it, nobody calls it
  const std::uintptr_t page = os::page_size(), first = reinterpret_cast<std::uintptr_t>(from) & ~(page - 1);
  const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(from) + sizeof jump - 1) & ~(page - 1);
  if (::mprotect(reinterpret_cast<void*>(first), last - first + page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
    return false;
  }
  unsigned char bytes[sizeof jump];
  std::memcpy(bytes, jump, sizeof jump);
  std::memcpy(bytes + jump_to, &to, sizeof to);
  auto* code = static_cast<unsigned char*>(from);
  write_code(code, bytes, sizeof jump);
  __builtin___clear_cache(reinterpret_cast<char*>(code), reinterpret_cast<char*>(code) + sizeof jump);
  return true;
}

template <class F>
void* pointer(F* f) {
  return reinterpret_cast<void*>(f);
}

}  // namespace

bool use_private_malloc() {
  struct {
    const char* name;
    void* itself;  // where dlsym does not see it: a static program
    void* ours;
  } const table[] = {
      // Those first that take blocks: one of ours must never meet the old ones.
      {"free", pointer(&std::free), pointer(&our_free)},
      {"realloc", pointer(&std::realloc), pointer(&our_realloc)},
      {"_ZdlPv", nullptr, pointer(&our_free)},
      {"_ZdaPv", nullptr, pointer(&our_free)},
      {"_ZdlPvm", nullptr, pointer(&our_free)},
      {"_ZdaPvm", nullptr, pointer(&our_free)},
      {"malloc", pointer(&std::malloc), pointer(&our_malloc)},
      {"calloc", pointer(&std::calloc), pointer(&our_calloc)},
      {"memalign", pointer(&::memalign), pointer(&our_memalign)},
      {"aligned_alloc", pointer(&::aligned_alloc), pointer(&our_memalign)},
      {"posix_memalign", pointer(&::posix_memalign), pointer(&our_posix_memalign)},
      // The program or a sanitizer may have its own, which do not come to malloc.
      {"_Znwm", nullptr, pointer(&our_new)},
      {"_Znam", nullptr, pointer(&our_new)},
  };
  for (const auto& row : table) {
    if (!redirect(row.name, row.itself, row.ours)) return false;
  }
  return true;
}

}  // namespace weft::rt
