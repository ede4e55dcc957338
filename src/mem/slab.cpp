#include "mem/slab.hpp"

#include <algorithm>
#include <new>

#include "base/check.hpp"
#include "os/sanitizers.hpp"

namespace weft::rt {
namespace {

// `bytes` on a boundary of that size, or null.
char* reserve_aligned(std::size_t bytes) {
  int err = 0;
  const std::size_t slack = bytes - os::page_size();
  char* at = static_cast<char*>(os::reserve(bytes + slack, &err));
  if (at == nullptr) return nullptr;
  const std::size_t head = (bytes - reinterpret_cast<std::uintptr_t>(at) % bytes) % bytes;
  if (head != 0) os::unmap(at, head);
  if (head != slack) os::unmap(at + head + bytes, slack - head);
  return at + head;
}

}  // namespace

std::size_t raw_slab::fresh(void** out, std::size_t n) {
  mutex_guard hold(lock_);
  chunk* c = chunks_.load(relaxed);
  const auto room = [this](const chunk* k) {
    return (k->bytes - sizeof(chunk) - k->used.load(relaxed)) / object_bytes_;
  };
  if (c == nullptr || room(c) == 0) c = grow();
  if (c == nullptr) return 0;
  const std::size_t k = std::min(n, room(c));
  const std::size_t used = c->used.load(relaxed);
  *out = c->base + used;
  // All-zero objects are legal: a walker may see them before their owner has written a word.
  c->used.store(used + k * object_bytes_, relaxed);
  return k;
}

raw_slab::chunk* raw_slab::grow() {
  invariant(object_bytes_ != 0 && object_bytes_ <= first_chunk_bytes - sizeof(chunk), "mem: slab object size");
  chunk* const last = chunks_.load(relaxed);
  std::size_t bytes = chunk_bytes;
  char* base = nullptr;
  if (last != nullptr) {
    base = reserve_aligned(bytes);
    if (base != nullptr) os::huge_pages(base, bytes);
  }
  if (base == nullptr) {  // the first one, or address space is short
    bytes = first_chunk_bytes;
    int err = 0;
    base = static_cast<char*>(os::reserve(bytes, &err));
    if (base == nullptr) return nullptr;
  }
  chunk* c = new (base + bytes - sizeof(chunk)) chunk{base, bytes, 0, last};
  os::leak_root_add(base, bytes);
  reserved_.store(reserved_.load(relaxed) + bytes, relaxed);
  // order: slab.chunk
  chunks_.store(c, release);
  return c;
}

void raw_slab::drop() {
  mutex_guard hold(lock_);
  for (chunk* c = chunks_.load(relaxed); c != nullptr;) {
    chunk* const next = c->next;
    os::leak_root_remove(c->base, c->bytes);
    os::unmap(c->base, c->bytes);
    c = next;
  }
  chunks_.store(nullptr, relaxed);
  reserved_.store(0, relaxed);
}

void raw_slab::for_each(void (*f)(void* object, void* arg), void* arg) {
  // order: slab.chunk
  for (chunk* c = chunks_.load(acquire); c != nullptr; c = c->next) {
    const std::size_t used = c->used.load(relaxed);
    for (std::size_t at = 0; at < used; at += object_bytes_) f(c->base + at, arg);
  }
}

}  // namespace weft::rt
