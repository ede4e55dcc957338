// One goroutine stack; addresses fall down the page. A slot is a page larger than its class (stack.cpp says why).
//
//   slot + size ─▶ ┌──────────────────────────┐
//                  │ struct stack             │  the descriptor; shares its page with the first frames
//   sp0         ─▶ ├──────────────────────────┤  16-aligned; lowered by a colour under 1 KiB that differs
//                  │ frames, growing down     │  from slot to slot: no cache set is hot for all of them
//                  │            ▼             │
//   lo          ─▶ ├──────────────────────────┤
//                  │ guard, no access         │  a fault here is reported as overflow of goroutine N
//   slot        ─▶ └──────────────────────────┘
//
// Invariant  lo < sp <= sp0 at every switch.
// Who        the arenas own all slots, per process; a P caches free ones; a g owns one from its first run
//            until it ends; between two goroutines that run in place it belongs to the M. While a g is in
//            on_big_stack it has two or more: the one it is on, and under it, by `outer`, those it will return to.
// Apart      slots that somebody must look at one by one have the class stack_apart: no P keeps them, and no goroutine
//            starts on one where another has ended. Those are the slots without a guard, and main's large stack.
// Canary     a slot without a guard has a pattern in the page below lo, where a guard ends. It is looked at when its
//            goroutine ends, in checked builds also when it parks. Below that page the guard's place is left free, so
//            that an overflow that is found there has as a rule hurt nobody yet. A page more per stack is the price.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "lock/mutex.hpp"
#include "os/sys.hpp"

namespace weft::rt {

struct stack {
  std::uintptr_t lo = 0;
  std::uintptr_t sp0 = 0;
  stack* next = nullptr;        // in a cache, or in the arena's free list
  const void* owner = nullptr;  // token: the g that has it, null while it is free
  void* fake_stack = nullptr;   // AddressSanitizer's, in its builds, while its goroutine does not run
  void* fiber = nullptr;        // ThreadSanitizer's fibre, in its builds
  stack* outer = nullptr;       // the one that its goroutine goes back to at the end of on_big_stack
  std::uint8_t size_class = 0;  // where it is kept while it is free: a class, or stack_apart
  std::uint8_t slot_class = 0;  // how large it is: a class, or stack_apart for main's
  bool canary = false;          // it has no guard
};

inline constexpr int stack_classes = 5;
inline constexpr int stack_apart = stack_classes;
inline constexpr std::size_t stack_class_bytes[stack_classes] = {16u << 10, 64u << 10, 256u << 10, 1u << 20, 8u << 20};
// Inside the slot. Wide enough that one big frame does not step over it (FAULTS 19). The last is main's large stack's.
inline constexpr std::size_t stack_guard_bytes[stack_classes + 1] = {4u << 10,  16u << 10, 32u << 10,
                                                                     32u << 10, 32u << 10, 32u << 10};

// From slot to slot it is a page more than the class, which is a power of two: at that distance all stacks would compete
// for a few sets of the TLB, which picks them by low bits of the page number (1000 goroutines that yield in turn took
// a third longer). It costs a page of addresses each, no memory.
inline constexpr std::size_t slot_extra = 4096;
constexpr std::size_t stack_slot_bytes(int size_class) { return stack_class_bytes[size_class] + slot_extra; }

// What was asked for, as reports name it: the class, or the limit that main's stack obeys.
std::size_t stack_bytes(const stack& s);

// Where the memory below a stack without a guard has been written to: the highest such address, or 0.
std::uintptr_t broken_canary(const stack& s);

// The smallest class that holds `bytes`, or -1 when none does (0 has none either).
int stack_class_for(std::size_t bytes);

class stack_arenas {
 public:
  // Slots are mapped in chunks of this many, or of 256 MiB for the large classes; halved while refused.
  static constexpr std::size_t chunk_slots = sizes::stack_chunk_slots;
  static constexpr std::size_t max_chunk_bytes = std::size_t{256} << 20;

  // `guards`: automatic picks the best that this kernel has, mprotect where that is refused (locked memory), and a
  // canary, with one warning, where that is refused too. The others are forced: where the kernel refuses, get()
  // fails. `none` is for tests.
  void init(os::guard_method guards);
  // Unmaps everything; only when no slot is in use (tests).
  void drop();

  // A free slot, or null with *err when the address space is refused. Takes the arena's lock.
  stack* get(int size_class, int* err);
  // Up to n slots as a list, at least one; fewer when that is cheaper. Null with *err as above.
  stack* get_list(int size_class, int n, int* err);
  // Gives a list of one class back; of stack_apart, one at a time.
  void put_list(int size_class, stack* first);

  // A slot for a plain thread; not among slots_in_use, which are the runtimes' to account for.
  stack* lend(int size_class, int* err);
  void take_back(stack* s);

  // A slot of its own mapping, for main, of any size. Back by put_list: its pages then go to the system, and its
  // addresses wait for the next main of the same size, so that find_sig never meets a mapping that goes.
  stack* get_large(std::size_t bytes, int* err);

  // The slot that holds an address, and whether the address lies in its guard. Null: not ours.
  // Safe in a signal handler: reads published chunks only, takes no lock.
  stack* find_sig(std::uintptr_t address, bool* in_guard) const;

  // Calls f(slot, arg) for every slot that was ever handed out, free ones too. As find_sig.
  void for_each_sig(void (*f)(const stack& s, void* arg), void* arg) const;

  std::uint64_t slots_in_use() const;  // out of the arena, P caches included
  std::uint64_t bytes_reserved() const;
  os::guard_method method() const { return method_; }

 private:
  // A chunk's slots are carved in order; guards are installed a batch ahead of the carving.
  struct chunk {
    std::uintptr_t base = 0;
    std::size_t bytes = 0;
    std::size_t slot_bytes = 0;
    std::uint32_t slots = 0;
    atomic<std::uint32_t> carved{0};
    std::uint32_t guarded = 0;
    std::uint8_t size_class = 0;
    bool edge_closed = false;
  };
  static constexpr std::size_t max_chunks = sizes::stack_max_chunks;
  static constexpr std::uint32_t max_guard_batch = sizes::stack_guard_batch;

  // A slot that has just been carved, not yet touched.
  struct fresh {
    std::uintptr_t at = 0;
    bool canary = false;
  };

  stack* take(int size_class, int n, int* err, atomic<std::uint64_t>& counter);
  void put(int size_class, stack* first, atomic<std::uint64_t>& counter);
  fresh carve(int size_class, int* err);
  chunk* new_chunk(int size_class, std::size_t slot_bytes, std::size_t slots, int* err);
  void publish(chunk* c);
  bool add_chunk(int size_class, int* err);
  bool guard_next(chunk& c, bool* canary, int* err);
  int guard_ahead(chunk& c);
  int guard_slots(chunk& c, std::uint32_t n, os::guard_method how);
  void warn_of_canaries(int err);

  mutex lock_;
  stack* free_[stack_classes] = {};
  std::uint64_t nfree_[stack_classes] = {};   // how many
  stack* free_canaries_[stack_classes] = {};  // of slots without a guard
  stack* free_large_ = nullptr;               // main's, of whatever size
  chunk* open_[stack_classes] = {};           // the chunk that still has slots to carve
  chunk* chunks_ = nullptr;                   // table of max_chunks, reserved lazily
  atomic<std::uint32_t> nchunks_{0};
  os::guard_method method_ = os::guard_method::none;
  bool may_fall_back_ = false;  // the method was chosen by us, not forced
  bool warned_ = false;
  std::uint64_t guarded_by_mapping_ = 0;  // guards that cost mappings
  std::uint64_t mapping_budget_ = 0;      // so many mappings may they cost; 0: not asked yet
  atomic<std::uint64_t> in_use_{0};
  atomic<std::uint64_t> lent_{0};
  atomic<std::uint64_t> reserved_{0};
};

}  // namespace weft::rt
