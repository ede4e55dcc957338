// local: goroutine-local variables. Each goroutine has a table of its own, by the number of the weft::local, and a list in the
// order in which they were made. Nobody else touches either; finish_extras (sched/extras.cpp) destroys them.
//
// Why    a number that is given out once, not the address of the weft::local: another object may have that later, of another
//        type, while the goroutine still has the value.
#include "weft/local.hpp"

#include <cstdlib>
#include <new>

#include "context/carried.hpp"
#include "model/process.hpp"

namespace weft::rt {
namespace {

using v0::detail::local_node;

constexpr std::uint32_t first_slots = 8;

// Where the node of that number is, or would be put. The table is never full.
std::uint32_t place_of(const local_table& t, std::uint64_t id) {
  const std::uint32_t mask = t.slots - 1;
  std::uint32_t i = static_cast<std::uint32_t>(id) & mask;
  while (t.by_id[i] != nullptr && t.by_id[i]->id != id) i = (i + 1) & mask;
  return i;
}

local_node** make_slots(std::uint32_t n) {
  void* memory = std::calloc(n, sizeof(local_node*));
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<local_node**>(memory);
}

// The table of x with room for one more.
void grow(g_extras* x) {
  if (x->locals == nullptr) {
    auto* t = static_cast<local_table*>(std::calloc(1, sizeof(local_table)));
    if (t == nullptr) throw std::bad_alloc();
    try {
      t->by_id = make_slots(first_slots);
    } catch (...) {
      std::free(t);
      throw;
    }
    t->slots = first_slots;
    x->locals = t;
    return;
  }
  local_table& t = *x->locals;
  if (4 * (t.n + 1) <= 3 * t.slots) return;
  local_table larger{t.newest, t.n, 2 * t.slots, make_slots(2 * t.slots)};
  for (local_node* n = t.newest; n != nullptr; n = n->older) larger.by_id[place_of(larger, n->id)] = n;
  std::free(t.by_id);
  t = larger;
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

local_node* local_find(std::uint64_t* id) noexcept {
  std::uint64_t mine = __atomic_load_n(id, __ATOMIC_RELAXED);
  if (mine == 0) {
    const std::uint64_t fresh = rt::the_process.local_ids.fetch_add(1, rt::relaxed) + 1;
    if (__atomic_compare_exchange_n(id, &mine, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return nullptr;
  }
  const rt::g_extras* x = rt::carried();
  if (x == nullptr || x->locals == nullptr) return nullptr;
  return x->locals->by_id[rt::place_of(*x->locals, mine)];
}

void local_reserve() { rt::grow(rt::carry()); }

void local_add(const std::uint64_t* id, local_node* n) noexcept {
  rt::local_table& t = *rt::carry()->locals;
  n->id = __atomic_load_n(id, __ATOMIC_RELAXED);
  n->older = t.newest;
  t.newest = n;
  ++t.n;
  t.by_id[rt::place_of(t, n->id)] = n;
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
