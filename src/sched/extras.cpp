#include "sched/extras.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

#include "model/sched.hpp"
#include "sched/cancel.hpp"
#include "sched/enter.hpp"
#include "weft/this_goroutine.hpp"

namespace weft::rt {
namespace {

constexpr std::size_t max_name = 63;

// malloc, as free_extras is called inside the door, where operator delete may not be the program's.
g_extras* make() {
  void* memory = std::malloc(sizeof(g_extras));
  if (memory == nullptr) throw std::bad_alloc();
  auto* x = ::new (memory) g_extras;
  x->asks.store(1, relaxed);
  return x;
}

char* copy_name(v0::detail::text name) {
  const std::size_t n = name.size < max_name ? name.size : max_name;
  char* copy = static_cast<char*>(std::malloc(n + 1));
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, name.data, n);
  copy[n] = '\0';
  return copy;
}

// Null as long as the thread has not made its record: who only looks makes none.
constinit thread_local g_extras* of_thread = nullptr;

struct thread_record {
  g_extras extras;
  thread_record() { of_thread = &extras; }
  ~thread_record() { finish_extras(&extras); }
};

void destroy_locals(g_extras* x) {
  // One that is destroyed may make others.
  while (local_table* t = x->locals) {
    local_node* n = t->newest;
    if (n == nullptr) {
      x->locals = nullptr;
      std::free(t->by_id);
      std::free(t);
      return;
    }
    t->newest = n->older;
    --t->n;
    // Not found any more, so that a destructor that asks for it gets a new one.
    for (std::uint32_t i = static_cast<std::uint32_t>(n->id) & (t->slots - 1);; i = (i + 1) & (t->slots - 1)) {
      if (t->by_id[i] != n) continue;
      t->by_id[i] = nullptr;
      // Those behind it that were put here because it was taken.
      for (std::uint32_t k = (i + 1) & (t->slots - 1); t->by_id[k] != nullptr; k = (k + 1) & (t->slots - 1)) {
        local_node* moved = t->by_id[k];
        t->by_id[k] = nullptr;
        std::uint32_t to = static_cast<std::uint32_t>(moved->id) & (t->slots - 1);
        while (t->by_id[to] != nullptr) to = (to + 1) & (t->slots - 1);
        t->by_id[to] = moved;
      }
      break;
    }
    n->destroy(n);
  }
}

}  // namespace

[[gnu::noinline]] g_extras* extras_of_thread() { return of_thread; }

[[gnu::noinline]] g_extras* own_extras_of_thread() {
  static thread_local thread_record mine;
  return &mine.extras;
}

g_extras* extras_for(const g* creator, v0::detail::text name) {
  // The shared record has no context.
  const g_extras* from = creator != nullptr ? creator->extras : extras_of_thread();
  v0::detail::context_node* inherited = from == nullptr ? nullptr : from->current;
  if (name.size == 0 && inherited == nullptr) return nullptr;
  g_extras* x = make();
  if (name.size != 0) {
    x->name = copy_name(name);
    if (x->name == nullptr) {
      std::free(x);
      throw std::bad_alloc();
    }
  }
  if (inherited != nullptr) {
    x->current = v0::detail::context_hold(inherited);
    x->obeys = from->obeys;
  }
  return x;
}

void discard(g_extras* x) {
  if (x == nullptr) return;
  v0::detail::context_drop(x->current);
  std::free(x->name);
  std::free(x);
}

g_extras* own_extras(g* self) {
  if ((self->flags & g_has_extras) != 0) return self->extras;
  g_extras* x = make();
  enter inside(self);
  give_extras(self, x);
  return x;
}

void finish_extras(g_extras* x) {
  // A destructor that is called by nobody's unwinding must not be unwound.
  v0::no_cancel uninterrupted;
  if (v0::detail::context_node* left = x->current) {
    leave_scope(x);
    x->obeys = nullptr;
    x->current = nullptr;
    v0::detail::context_drop(left);
  }
  if (x->locals != nullptr) destroy_locals(x);
}

void free_extras(g* gp) {
  g_extras* x = gp->extras;
  gp->extras = &gp->rt->no_extras;
  gp->flags &= static_cast<std::uint8_t>(~g_has_extras);
  std::free(x->name);
  std::free(x);
}

void abandon_extras(g* gp) {
  leave_scope(gp->extras);
  free_extras(gp);
}

}  // namespace weft::rt
