#include "mem/stack.hpp"

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/check.hpp"
#include "base/macros.hpp"
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

// Below a chunk; closed once there is a slot without a guard in it.
constexpr std::size_t edge_bytes = std::size_t{32} << 10;

// Guards of so much address space are installed at once to begin with: a small program pays for few.
constexpr std::size_t first_guarded_bytes = std::size_t{4} << 20;
constexpr std::uint32_t first_guards = std::min(16u, sizes::stack_guard_batch);

stack* descriptor_of(std::uintptr_t slot, std::size_t slot_bytes) {
  return reinterpret_cast<stack*>(slot + slot_bytes - descriptor_bytes);
}

// ---- canaries: a page of words that no program has, each different from its neighbours, since an overflow may well
// fill memory with one value

constexpr std::size_t canary_bytes = 4096;
constexpr std::uintptr_t canary_pattern = 0x5afe'57ac'cafe'b1d5;

std::uintptr_t canary_word(std::uintptr_t at) { return canary_pattern ^ at; }

WEFT_UNINSTRUMENTED void plant_canary(const stack& s) {
  for (std::uintptr_t at = s.lo - canary_bytes; at < s.lo; at += sizeof(std::uintptr_t)) {
    *reinterpret_cast<std::uintptr_t*>(at) = canary_word(at);
  }
}

// First touch of the slot's only page, which is why it is done outside the lock.
stack* write_descriptor(std::uintptr_t slot, std::size_t slot_bytes, int slot_class, bool canary) {
  const std::uintptr_t top = slot + slot_bytes;
  stack* s = new (descriptor_of(slot, slot_bytes)) stack;
  s->lo = slot + stack_guard_bytes[slot_class];
  s->sp0 = top - descriptor_bytes - slot / slot_bytes % colours * colour_bytes;
  s->size_class = static_cast<std::uint8_t>(canary ? stack_apart : slot_class);
  s->slot_class = static_cast<std::uint8_t>(slot_class);
  s->canary = canary;
  if (canary) plant_canary(*s);
  os::leak_root_add(reinterpret_cast<void*>(s->lo), top - s->lo);
  return s;
}

}  // namespace

std::size_t stack_bytes(const stack& s) {
  const std::uintptr_t top = reinterpret_cast<std::uintptr_t>(&s) + descriptor_bytes;
  return top - (s.lo - stack_guard_bytes[s.slot_class]) - slot_extra;
}

// Not instrumented: what AddressSanitizer thinks of a page where an overflow has had its frames is of no interest.
WEFT_UNINSTRUMENTED std::uintptr_t broken_canary(const stack& s) {
  for (std::uintptr_t at = s.lo; at > s.lo - canary_bytes;) {
    at -= sizeof(std::uintptr_t);
    if (*reinterpret_cast<const std::uintptr_t*>(at) != canary_word(at)) return at;
  }
  return 0;
}

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
    const std::size_t guard = stack_guard_bytes[c.size_class];
    for (std::uint32_t k = 0; k < c.carved.load(relaxed); ++k) {
      const std::uintptr_t slot = c.base + k * c.slot_bytes;
      os::leak_root_remove(reinterpret_cast<void*>(slot + guard), c.slot_bytes - guard);
    }
    os::unmap(reinterpret_cast<void*>(c.base - edge_bytes), edge_bytes + c.bytes);
  }
  if (chunks_ != nullptr) os::unmap(chunks_, max_chunks * sizeof(chunk));
  chunks_ = nullptr;
  nchunks_.store(0, relaxed);
  for (int c = 0; c < stack_classes; ++c) {
    free_[c] = nullptr;
    nfree_[c] = 0;
    free_canaries_[c] = nullptr;
    open_[c] = nullptr;
  }
  free_large_ = nullptr;
  guarded_by_mapping_ = 0;
  warned_ = false;
  in_use_.store(0, relaxed);
  reserved_.store(0, relaxed);
}

stack* stack_arenas::get(int size_class, int* err) { return get_list(size_class, 1, err); }
stack* stack_arenas::get_list(int size_class, int n, int* err) { return take(size_class, n, err, in_use_); }
stack* stack_arenas::lend(int size_class, int* err) { return take(size_class, 1, err, lent_); }

// A fresh slot costs a page fault, far more than this lock: those come one at a time, so that no page is
// touched for a slot that nobody runs on. Used ones come as a list, of an eighth of those that are free at most: what one P
// has taken ahead of its need, another would have to carve anew.
stack* stack_arenas::take(int size_class, int n, int* err, atomic<std::uint64_t>& counter) {
  fresh slot;
  {
    mutex_guard hold(lock_);
    if (stack* first = free_[size_class]) {
      stack* last = first;
      const std::uint64_t most = std::min<std::uint64_t>(static_cast<std::uint64_t>(n), (nfree_[size_class] + 7) / 8);
      std::uint64_t taken = 1;
      for (; taken < most; ++taken) last = last->next;
      nfree_[size_class] -= taken;
      free_[size_class] = last->next;
      last->next = nullptr;
      counter.store(counter.load(relaxed) + taken, relaxed);
      return first;
    }
    if (stack* s = free_canaries_[size_class]) {
      free_canaries_[size_class] = s->next;
      s->next = nullptr;
      counter.store(counter.load(relaxed) + 1, relaxed);
      return s;
    }
    slot = carve(size_class, err);
    if (slot.at == 0) return nullptr;
    counter.store(counter.load(relaxed) + 1, relaxed);
  }
  return write_descriptor(slot.at, stack_slot_bytes(size_class), size_class, slot.canary);
}

void stack_arenas::put_list(int size_class, stack* first) {
  if (first != nullptr) put(size_class, first, in_use_);
}
void stack_arenas::take_back(stack* s) { put(s->size_class, s, lent_); }

void stack_arenas::put(int size_class, stack* first, atomic<std::uint64_t>& counter) {
  stack* last = first;
  std::uint64_t n = 1;
  invariant(first->size_class == size_class, "mem: stack of another class");
  for (; last->next != nullptr; ++n) {
    last = last->next;
    invariant(last->size_class == size_class, "mem: stack of another class");
  }
  stack** list = &free_[size_class];
  if (size_class == stack_apart) {
    invariant(n == 1, "mem: a list of stacks that are apart");
    list = first->slot_class == stack_apart ? &free_large_ : &free_canaries_[first->slot_class];
    // All but the descriptor's page; outside the lock, since it may be many.
    if (first->slot_class == stack_apart) {
      const std::uintptr_t kept = reinterpret_cast<std::uintptr_t>(first) & ~(std::uintptr_t{os::page_size()} - 1);
      os::discard(reinterpret_cast<void*>(first->lo), kept - first->lo);
    }
  }
  mutex_guard hold(lock_);
  invariant(counter.load(relaxed) >= n, "mem: more stacks given back than taken");
  if (size_class != stack_apart) nfree_[size_class] += n;
  last->next = *list;
  *list = first;
  counter.store(counter.load(relaxed) - n, relaxed);
}

stack* stack_arenas::get_large(std::size_t bytes, int* err) {
  const std::size_t page = os::page_size();
  if (bytes > SIZE_MAX / 2) {
    *err = ENOMEM;
    return nullptr;
  }
  const std::size_t slot_bytes = (bytes + page - 1) / page * page + slot_extra;
  fresh slot;
  {
    mutex_guard hold(lock_);
    for (stack** at = &free_large_; *at != nullptr; at = &(*at)->next) {
      stack* s = *at;
      if (stack_bytes(*s) + slot_extra != slot_bytes) continue;
      *at = s->next;
      s->next = nullptr;
      in_use_.store(in_use_.load(relaxed) + 1, relaxed);
      return s;
    }
    chunk* c = new_chunk(stack_apart, slot_bytes, 1, err);
    if (c == nullptr) return nullptr;
    slot.at = c->base;
    if (!guard_next(*c, &slot.canary, err)) {
      os::unmap(reinterpret_cast<void*>(c->base - edge_bytes), edge_bytes + c->bytes);
      return nullptr;
    }
    c->carved.store(1, relaxed);
    publish(c);
    in_use_.store(in_use_.load(relaxed) + 1, relaxed);
  }
  return write_descriptor(slot.at, slot_bytes, stack_apart, slot.canary);
}

stack* stack_arenas::find_sig(std::uintptr_t address, bool* in_guard) const {
  // order: arena.chunk
  const std::uint32_t n = nchunks_.load(acquire);
  for (std::uint32_t i = 0; i < n; ++i) {
    const chunk& c = chunks_[i];
    if (address - c.base >= c.bytes) continue;
    const std::size_t index = (address - c.base) / c.slot_bytes;
    if (index >= c.carved.load(relaxed)) return nullptr;
    stack* s = descriptor_of(c.base + index * c.slot_bytes, c.slot_bytes);
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
      const stack* s = descriptor_of(c.base + k * c.slot_bytes, c.slot_bytes);
      if (s->lo != 0) f(*s, arg);
    }
  }
}

std::uint64_t stack_arenas::slots_in_use() const { return in_use_.load(relaxed); }
std::uint64_t stack_arenas::bytes_reserved() const { return reserved_.load(relaxed); }

// A new slot with its guard, or none with *err.
stack_arenas::fresh stack_arenas::carve(int size_class, int* err) {
  chunk* c = open_[size_class];
  if (c == nullptr || c->carved.load(relaxed) == c->slots) {
    if (!add_chunk(size_class, err)) return {};
    c = open_[size_class];
  }
  fresh slot;
  if (!guard_next(*c, &slot.canary, err)) return {};
  const std::uint32_t index = c->carved.load(relaxed);
  c->carved.store(index + 1, relaxed);
  slot.at = c->base + index * c->slot_bytes;
  return slot;
}

// The next chunk's record, with its address space; publish() makes it known. Null with *err.
stack_arenas::chunk* stack_arenas::new_chunk(int size_class, std::size_t slot_bytes, std::size_t slots, int* err) {
  if (chunks_ == nullptr) {
    chunks_ = static_cast<chunk*>(os::reserve(max_chunks * sizeof(chunk), err));
    if (chunks_ == nullptr) return nullptr;
  }
  const std::uint32_t n = nchunks_.load(relaxed);
  if (n == max_chunks) {
    *err = ENOMEM;
    return nullptr;
  }
  const std::size_t bytes = slots * slot_bytes;
  void* at = os::reserve(edge_bytes + bytes, err);
  if (at == nullptr) return nullptr;
  os::no_huge_pages(at, edge_bytes + bytes);
  chunk* c = new (&chunks_[n]) chunk;
  c->base = reinterpret_cast<std::uintptr_t>(at) + edge_bytes;
  c->bytes = bytes;
  c->slot_bytes = slot_bytes;
  c->slots = static_cast<std::uint32_t>(slots);
  c->size_class = static_cast<std::uint8_t>(size_class);
  return c;
}

void stack_arenas::publish(chunk* c) {
  reserved_.store(reserved_.load(relaxed) + c->bytes, relaxed);
  // order: arena.chunk
  nchunks_.store(nchunks_.load(relaxed) + 1, release);
}

bool stack_arenas::add_chunk(int size_class, int* err) {
  const std::size_t slot_bytes = stack_slot_bytes(size_class);
  for (std::size_t slots = std::min(chunk_slots, max_chunk_bytes / slot_bytes); slots > 0; slots /= 2) {
    chunk* c = new_chunk(size_class, slot_bytes, slots, err);
    if (c == nullptr) continue;
    open_[size_class] = c;
    publish(c);
    return true;
  }
  return false;
}

// Sees to it that the next slot to be carved has a guard, or is one with a canary.
bool stack_arenas::guard_next(chunk& c, bool* canary, int* err) {
  if (c.carved.load(relaxed) != c.guarded) return true;
  if (method_ == os::guard_method::canary) {
    *canary = true;
  } else if (const int e = guard_ahead(c)) {
    // Only this slot does without: what refused may have been short of memory for a moment.
    if (!may_fall_back_) {
      *err = e;
      return false;
    }
    warn_of_canaries(e);
    *canary = true;
  }
  if (*canary) {
    ++c.guarded;
    // An overflow without end then damages other stacks of the chunk, but nothing else. Two mappings per chunk, for
    // which there is as a rule room beyond the budget; if not, there is less to stop it, and that was said already.
    if (!c.edge_closed) {
      c.edge_closed = true;
      const os::range edge{reinterpret_cast<void*>(c.base - edge_bytes), edge_bytes};
      static_cast<void>(os::install_guards(os::guard_method::protect, {&edge, 1}));
    }
  }
  return true;
}

// As many guards again as the chunk has: never many more than it needs, and few calls for a large one.
int stack_arenas::guard_ahead(chunk& c) {
  const std::uint32_t start =
      static_cast<std::uint32_t>(std::clamp<std::size_t>(first_guarded_bytes / c.slot_bytes, 1, first_guards));
  std::uint32_t n = std::min({std::max(start, c.guarded), max_guard_batch, c.slots - c.guarded});
  for (;; n /= 2) {
    int e = guard_slots(c, n, method_);
    // Memory locked by mlockall cannot have guards of the light kind. Other refusals may be for want of memory.
    if (e != 0 && (e == EINVAL || n == 1) && may_fall_back_ && method_ != os::guard_method::protect) {
      e = guard_slots(c, n, os::guard_method::protect);
    }
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
      if (n == 1 && !may_fall_back_ && !warned_) {
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
  for (std::uint32_t i = 0; i < n; ++i) {
    ranges[i] = {reinterpret_cast<void*>(c.base + (c.guarded + i) * c.slot_bytes), stack_guard_bytes[c.size_class]};
  }
  const int e = os::install_guards(how, {ranges, n});
  if (e == 0 && how == os::guard_method::protect) guarded_by_mapping_ += n;
  return e;
}

void stack_arenas::warn_of_canaries(int err) {
  if (warned_) return;
  warned_ = true;
  line text;
  text.text("weft: no more guards for stacks (errno ").number(static_cast<std::uint64_t>(err));
  if (mapping_budget_ != 0 && guarded_by_mapping_ * 2 + 2 > mapping_budget_) {
    text.text("; ").number(guarded_by_mapping_).text(" by mprotect take half of vm.max_map_count");
  }
  text.text("): from now on a stack overflow may be noticed only when its goroutine ends\n").flush_sig();
}

}  // namespace weft::rt
