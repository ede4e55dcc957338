// cancel: goroutines unwind from their next cancellation point (API.md): all of a runtime, when main has returned or shutdown
// was asked for; and those under a context (src/context), when that is cancelled.
//
// One question for both: g.extras->asks (model/extras.hpp). Who has neither a context nor a cancelled runtime reads a zero
// there, in front of a wait, and has paid for nothing else. The others look closer (caller::look).
//
// A runtime
//   Who    cancel_all: main's end, shutdown; outside the runtime, on any thread.
//   State  attention_cancelled, for ever: each goroutine of the runtime is cancelled, those that start later too.
//   Order  cancel.stop   a waiter: the question, then waiting, with its P / cancel_all: the world stopped, the flag, waiting
//          The world is stopped in between: no goroutine is between its look at the flag and its wait, so each has either
//          seen the flag or is found waiting. The look costs the slow paths one load, the fast paths nothing.
//
// A scope: what a context has for those who obey it
//   Who    members: goroutines that have waited under it. Each joins before its first wait, and not again; it leaves when it
//          leaves `with`, or ends. cancel_members: whoever has cancelled the context, any goroutine or thread.
//   State  scope.state leaves `open` once. From then on nobody joins; cancel_members empties the list.
//   Order  cancel.scope   a waiter: waiting, a full barrier, then the state once more / cancel: the state, a full barrier,
//          then the status of each member. One of the two sees the other, or both do: then the status lock decides. The
//          waiter's second look is made on the other side of its switch, by whoever goes on there, who takes the wait away
//          as any other taker would. Stopping the world here, as for a runtime, would make each cancel() wait for every P.
//   Why    a wait registers nothing: a goroutine that waits a million times under a context has joined once.
//   Never  take a wait with the scope locked: those who join have the lock of what they wait on already.
//
// Never  take a wait whose sudog does not say `cancellable` (a mutex's), or whose goroutine may not unwind: it is in a
//        no_cancel scope, or an exception is on its way through its frames. That is looked at here, not by each waiter: its
//        flags and its exceptions, saved when it left its stack, stay as they are while it waits.
// Checked by test/conformance/cancel_test.cpp, test/conformance/context_test.cpp, test/model/runtime_model.cpp,
//        test/model/scope_model.cpp.
#pragma once
#include "model/extras.hpp"
#include "model/g.hpp"
#include "model/m.hpp"
#include "model/sched.hpp"

namespace weft::rt {

// The answer, once `asks` is set. For the goroutine itself, or with its status locked.
inline bool must_unwind(const g* gp) {
  if ((gp->rt->attention.load(relaxed) & attention_cancelled) != 0) return true;
  const scope* s = gp->extras->obeys;
  return s != nullptr && !s->is_open();  // order: cancel.scope
}

inline bool is_cancelled(const g* gp) {
  return gp->extras->asks.load(relaxed) != 0 && must_unwind(gp);  // order: cancel.stop
}

// Whether the calling goroutine may unwind now; while it runs, as `uncaught` is its thread's.
inline bool may_unwind(const g* gp) { return (gp->flags & g_no_cancel) == 0 && gp->m->eh->uncaught == 0; }
// The same of a waiting one, its status locked.
inline bool may_be_unwound(const g* gp) { return (gp->flags & g_no_cancel) == 0 && gp->eh.uncaught == 0; }

// Every goroutine of rt. `self`: getg() of the caller. False: nothing was done, because the runtime has ended, or, for
// sysmon (`watching`), because somebody else stops the world just now.
bool cancel_all(sched_t* rt, g* self, bool watching = false);

// The calling goroutine is about to wait under x->obeys. False: that is cancelled. Inside the door.
bool join_scope(g_extras* x);
// From the list of the scope that it has joined, if any. Outside the door.
void leave_scope(g_extras* x);
// s is not open any more: whoever waits under it is taken off, if it may unwind. Outside the door; no lock held.
void cancel_members(scope* s);
// Takes the wait of gp, if it is waiting and is to unwind. Any thread, inside the door; no lock held.
void take_if_cancelled(g* self, g* gp);

}  // namespace weft::rt
