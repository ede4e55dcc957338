// extras: how a goroutine comes by a record of its own (model/extras.hpp), and how it goes.
//
// Never  change g.extras but inside the door, or before the goroutine is born: cancel_all, with the world stopped, relies on
//        each goroutine having either a record that asks, or the shared one.
#pragma once
#include "model/extras.hpp"
#include "model/g.hpp"
#include "weft/detail/text.hpp"

namespace weft::rt {

// What a plain thread carries, null if that is nothing yet. It is in thread-local storage, the only such variable beside
// getg's: code that finds no goroutine cannot be moved to another thread, so what the compiler keeps of its address across
// a call stays true.
g_extras* extras_of_thread();
// The same, made if there is none.
g_extras* own_extras_of_thread();
// What a goroutine inherits from its creator, null for a plain thread that calls, and its name; null if that is nothing.
// Outside the door. Throws std::bad_alloc.
g_extras* extras_for(const g* creator, v0::detail::text name);
// One that no goroutine has got.
void discard(g_extras* x);
// Before gp is born.
inline void give_extras(g* gp, g_extras* x) {
  x->gp = gp;
  gp->extras = x;
  gp->flags |= g_has_extras;
}
// The record of the goroutine that calls, made if it has none; outside the door. Throws std::bad_alloc.
g_extras* own_extras(g* self);

inline const char* name_of(const g* gp) { return (gp->flags & g_has_extras) != 0 ? gp->extras->name : nullptr; }

inline bool is_finished(const g_extras* x) { return x->locals == nullptr && x->current == nullptr; }
// Leaves the context, and destroys the locals, the newest first: under no context, since it may have ended, and goroutines
// that a destructor starts would inherit it. The program's code, so outside the door; on the stack of the
// goroutine, or the thread, whose they are.
void finish_extras(g_extras* x);
// The record itself, finished. gp has the shared one from then on.
void free_extras(g* gp);
// Of a goroutine that an exploration gives up: no code of the program's runs, as it does not for its frames either.
void abandon_extras(g* gp);

}  // namespace weft::rt
