#include "mem/stack.hpp"

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/check.hpp"
#include "base/print.hpp"
#include "os/sanitizers.hpp"

namespace weft::rt {
namespace {

// One cache line, so that reading a descriptor costs one miss.
constexpr std::size_t descriptor_bytes = 64;
static_assert(sizeof(stack) <= descriptor_bytes);
// From slot to slot the frames begin at another cache line of their page, or the first frames of all stacks would
// compete for the same sets of the caches.
constexpr std::size_t colours = 16;
constexpr std::size_t colour_bytes = 64;

// Guards of so much address space are installed at once to begin with: a small program pays for few.
constexpr std::size_t first_guarded_bytes = std::size_t{4} << 20;
constexpr std::uint32_t first_guards = std::min(16u, sizes::stack_guard_batch);

std::uintptr_t top_of(std::uintptr_t slot, int size_class) { return slot + stack_slot_bytes(size_class); }

stack* descriptor_of(std::uintptr_t slot, int size_class) {
  return reinterpret_cast<stack*>(top_of(slot, size_class) - descriptor_bytes);
}

// First touch of the slot's only page, which is why it is done outside the lock.
stack* write_descriptor(std::uintptr_t slot, int size_class) {
  const std::uintptr_t top = top_of(slot, size_class);
  stack* s = new (descriptor_of(slot, size_class)) stack;
  s->lo = slot + stack_guard_bytes[size_class];
  s->sp0 = top - descriptor_bytes - slot / stack_slot_bytes(size_class) % colours * colour_bytes;
  s->size_class = static_cast<std::uint8_t>(size_class);
  os::leak_root_add(reinterpret_cast<void*>(s->lo), top - s->lo);
  return s;
}

}  // namespace

int stack_class_for(std::size_t bytes) {
  if (bytes == 0) return -1;
  for (int c = 0; c < stack_classes; ++c) {
    if (bytes <= stack_class_bytes[c]) return c;
  }
  return -1;
}

void stack_arenas::init(os::guard_method guards) {
  mutex_guard hold(lock_);
  may_fall_back_ = guards == os::guard_method::automatic;
  method_ = guards;
  if (!may_fall_back_) return;

  method_ = os::guard_method::protect;
  const std::size_t page = os::page_size();
  int err = 0;
  void* probe = os::reserve(page, &err);
  if (probe == nullptr) return;
  const os::range range{probe, page};
  for (const os::guard_method m : {os::guard_method::batch, os::guard_method::single}) {
    if (os::install_guards(m, {&range, 1}) == 0) {
      method_ = m;
      break;
    }
  }
  os::unmap(probe, page);
}

void stack_arenas::drop() {
  mutex_guard hold(lock_);
  invariant(in_use_.load(relaxed) == 0, "mem: stacks dropped while in use");
  const std::uint32_t n = nchunks_.load(relaxed);
  for (std::uint32_t i = 0; i < n; ++i) {
    chunk& c = chunks_[i];
    const std::size_t slot_bytes = stack_slot_bytes(c.size_class);
    const std::size_t guard = stack_guard_bytes[c.size_class];
    for (std::uint32_t k = 0; k < c.carved.load(relaxed); ++k) {
      const std::uintptr_t slot = c.base + k * slot_bytes;
      os::leak_root_remove(reinterpret_cast<void*>(slot + guard), top_of(slot, c.size_class) - slot - guard);
    }
    os::unmap(reinterpret_cast<void*>(c.base), c.bytes);
  }
  if (chunks_ != nullptr) os::unmap(chunks_, max_chunks * sizeof(chunk));
  chunks_ = nullptr;
  nchunks_.store(0, relaxed);
  for (int c = 0; c < stack_classes; ++c) {
    free_[c] = nullptr;
    open_[c] = nullptr;
  }
  guarded_by_mapping_ = 0;
  in_use_.store(0, relaxed);
  reserved_.store(0, relaxed);
}

stack* stack_arenas::get(int size_class, int* err) { return get_list(size_class, 1, err); }

// A fresh slot costs a page fault, far more than this lock: those come one at a time, so that no page is
// touched for a slot that nobody runs on. Used ones come as a list.
stack* stack_arenas::get_list(int size_class, int n, int* err) {
  std::uintptr_t fresh = 0;
  {
    mutex_guard hold(lock_);
    if (stack* first = free_[size_class]) {
      stack* last = first;
      std::uint64_t taken = 1;
      for (; taken < static_cast<std::uint64_t>(n) && last->next != nullptr; ++taken) last = last->next;
      free_[size_class] = last->next;
      last->next = nullptr;
      in_use_.store(in_use_.load(relaxed) + taken, relaxed);
      return first;
    }
    fresh = carve(size_class, err);
    if (fresh == 0) return nullptr;
    in_use_.store(in_use_.load(relaxed) + 1, relaxed);
  }
  return write_descriptor(fresh, size_class);
}

void stack_arenas::put_list(int size_class, stack* first) {
  if (first == nullptr) return;
  stack* last = first;
  std::uint64_t n = 1;
  invariant(first->size_class == size_class, "mem: stack of another class");
  for (; last->next != nullptr; ++n) {
    last = last->next;
    invariant(last->size_class == size_class, "mem: stack of another class");
  }
  mutex_guard hold(lock_);
  invariant(in_use_.load(relaxed) >= n, "mem: more stacks given back than taken");
  last->next = free_[size_class];
  free_[size_class] = first;
  in_use_.store(in_use_.load(relaxed) - n, relaxed);
}

stack* stack_arenas::find_sig(std::uintptr_t address, bool* in_guard) const {
  // order: arena.chunk
  const std::uint32_t n = nchunks_.load(acquire);
  for (std::uint32_t i = 0; i < n; ++i) {
    const chunk& c = chunks_[i];
    if (address - c.base >= c.bytes) continue;
    const std::size_t index = (address - c.base) / stack_slot_bytes(c.size_class);
    if (index >= c.carved.load(relaxed)) return nullptr;
    const std::uintptr_t slot = c.base + index * stack_slot_bytes(c.size_class);
    stack* s = descriptor_of(slot, c.size_class);
    if (s->lo == 0) return nullptr;  // being carved on another thread: nobody runs on it yet
    *in_guard = address < s->lo;
    return s;
  }
  return nullptr;
}

void stack_arenas::for_each_sig(void (*f)(const stack& s, void* arg), void* arg) const {
  // order: arena.chunk
  const std::uint32_t n = nchunks_.load(acquire);
  for (std::uint32_t i = 0; i < n; ++i) {
    const chunk& c = chunks_[i];
    const std::uint32_t carved = c.carved.load(relaxed);
    for (std::uint32_t k = 0; k < carved; ++k) {
      const stack* s = descriptor_of(c.base + k * stack_slot_bytes(c.size_class), c.size_class);
      if (s->lo != 0) f(*s, arg);
    }
  }
}

std::uint64_t stack_arenas::slots_in_use() const { return in_use_.load(relaxed); }
std::uint64_t stack_arenas::bytes_reserved() const { return reserved_.load(relaxed); }

// The address of a new, guarded slot, or 0 with *err.
std::uintptr_t stack_arenas::carve(int size_class, int* err) {
  chunk* c = open_[size_class];
  if (c == nullptr || c->carved.load(relaxed) == c->slots) {
    if (!add_chunk(size_class, err)) return 0;
    c = open_[size_class];
  }
  const std::uint32_t index = c->carved.load(relaxed);
  if (index == c->guarded) {
    if (const int e = guard_ahead(*c)) {
      *err = e;
      return 0;
    }
  }
  c->carved.store(index + 1, relaxed);
  return c->base + index * stack_slot_bytes(size_class);
}

bool stack_arenas::add_chunk(int size_class, int* err) {
  if (chunks_ == nullptr) {
    chunks_ = static_cast<chunk*>(os::reserve(max_chunks * sizeof(chunk), err));
    if (chunks_ == nullptr) return false;
  }
  const std::uint32_t n = nchunks_.load(relaxed);
  if (n == max_chunks) {
    *err = ENOMEM;
    return false;
  }

  const std::size_t slot_bytes = stack_slot_bytes(size_class);
  for (std::size_t slots = std::min(chunk_slots, max_chunk_bytes / slot_bytes); slots > 0; slots /= 2) {
    const std::size_t bytes = slots * slot_bytes;
    void* at = os::reserve(bytes, err);
    if (at == nullptr) continue;
    os::no_huge_pages(at, bytes);

    chunk* c = new (&chunks_[n]) chunk;
    c->base = reinterpret_cast<std::uintptr_t>(at);
    c->bytes = bytes;
    c->slots = static_cast<std::uint32_t>(slots);
    c->size_class = static_cast<std::uint8_t>(size_class);
    open_[size_class] = c;
    reserved_.store(reserved_.load(relaxed) + bytes, relaxed);
    // order: arena.chunk
    nchunks_.store(n + 1, release);
    return true;
  }
  return false;
}

// As many guards again as the chunk has: never many more than it needs, and few calls for a large one.
int stack_arenas::guard_ahead(chunk& c) {
  const std::uint32_t start = static_cast<std::uint32_t>(
      std::clamp<std::size_t>(first_guarded_bytes / stack_class_bytes[c.size_class], 1, first_guards));
  std::uint32_t n = std::min({std::max(start, c.guarded), max_guard_batch, c.slots - c.guarded});
  for (;; n /= 2) {
    int e = guard_slots(c, n, method_);
    // Memory locked by mlockall cannot have guards of the light kind.
    if (e == EINVAL && may_fall_back_) e = guard_slots(c, n, os::guard_method::protect);
    if (e == 0) {
      c.guarded += n;
      return 0;
    }
    if (n == 1) return e;
  }
}

int stack_arenas::guard_slots(chunk& c, std::uint32_t n, os::guard_method how) {
  if (how == os::guard_method::none) return 0;
  if (how == os::guard_method::protect) {
    // Half of the process's mappings are left to the program: what it maps fails once there are no more.
    if (mapping_budget_ == 0) mapping_budget_ = os::mapping_limit() / 2;
    if ((guarded_by_mapping_ + n) * 2 > mapping_budget_) {
      if (n == 1 && !warned_) {
        warned_ = true;
        line{}
            .text("weft: no more stacks: each guard takes two mappings, and ")
            .number(guarded_by_mapping_)
            .text(" guards use half of vm.max_map_count\n")
            .flush_sig();
      }
      return ENOMEM;
    }
  }
  os::range ranges[max_guard_batch];
  const std::size_t slot_bytes = stack_slot_bytes(c.size_class);
  for (std::uint32_t i = 0; i < n; ++i) {
    ranges[i] = {reinterpret_cast<void*>(c.base + (c.guarded + i) * slot_bytes), stack_guard_bytes[c.size_class]};
  }
  const int e = os::install_guards(how, {ranges, n});
  if (e == 0 && how == os::guard_method::protect) guarded_by_mapping_ += n;
  return e;
}

}  // namespace weft::rt
