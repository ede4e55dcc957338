// extras: what few goroutines have: a name, a context, goroutine-local variables. A g has no room for them; it points to a
// record of its own if it has one of these (g_has_extras), else to the one that all such goroutines of its runtime share.
//
// The word in front, `asks`, is the one question of a cancellation point: 0 says that nothing can have cancelled this
// goroutine. In the shared record it is set when the runtime is cancelled; in a goroutine's own it is set always, and
// the answer is looked up (sched/cancel.hpp).
//
// Who    an own record belongs to its goroutine; others read `obeys` while they have its status locked. The links, and
//        `queued`, are under the lock of the scope in whose list they are.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "lock/mutex.hpp"
#include "weft/detail/context_node.hpp"
#include "weft/detail/local_node.hpp"

namespace weft::rt {

struct g;
struct g_extras;

// open: as it was made. closing: cancelled, and its done channel may still be open. done: all can see it.
enum class scope_state : std::uint32_t { open, closing, done };

// scope: what goroutines obey that wait under a context (src/context). It is a part of the context's node, which a goroutine
// has a share of as long as it obeys it.
struct scope {
  mutex lock;  // the members; for the context, also what it has beside this
  atomic<scope_state> state{scope_state::open};
  g_extras* members = nullptr;  // goroutines that have waited under it

  bool is_open() const { return state.load(acquire) == scope_state::open; }
};

// Goroutine-local variables (src/context/local.cpp): in the order in which they were made, and by their number.
using v0::detail::local_node;
struct local_table {
  local_node* newest;
  std::uint32_t n;
  std::uint32_t slots;  // a power of two, more than n
  local_node** by_id;
};

struct g_extras {
  atomic<std::uint32_t> asks{0};
  bool queued = false;                          // token: in the list of `joined`
  char* name = nullptr;                         // malloc'ed
  g* gp = nullptr;                              // whose
  v0::detail::context_node* current = nullptr;  // a share; null: the background
  scope* obeys = nullptr;                       // of `current`
  scope* joined = nullptr;                      // in whose list it is, or was until that scope was cancelled
  g_extras* next = nullptr;
  g_extras* prev = nullptr;
  local_table* locals = nullptr;
};

}  // namespace weft::rt
