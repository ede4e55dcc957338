// cancel: goroutines unwind from their next cancellation point (API.md). Today whole runtimes are cancelled, when main has
// returned or shutdown was asked for.
//
// Who    cancel_all: main's end, shutdown; outside the runtime, on any thread.
// State  attention_cancelled, for ever: each goroutine of the runtime is cancelled, those that start later too.
// Order  cancel.stop   a waiter: is_cancelled, then waiting, with its P / cancel_all: the world stopped, the flag, waiting
//        The world is stopped in between: no goroutine is between its look at the flag and its wait, so each has either
//        seen the flag or is found waiting. The look costs the slow paths one load, the fast paths nothing.
// Never  take a wait whose sudog does not say `cancellable` (a mutex's), or whose goroutine may not unwind: it is in a
//        no_cancel scope, or an exception is on its way through its frames. That is looked at here, not by each waiter: its
//        flags and its exceptions, saved when it left its stack, stay as they are while it waits.
// Checked by test/conformance/cancel_test.cpp, test/model/runtime_model.cpp.
#pragma once
#include "model/g.hpp"
#include "model/m.hpp"
#include "model/sched.hpp"

namespace weft::rt {

inline bool is_cancelled(const g* gp) { return (gp->rt->attention.load(relaxed) & attention_cancelled) != 0; }

// Whether the calling goroutine may unwind now; while it runs, as `uncaught` is its thread's.
inline bool may_unwind(const g* gp) { return (gp->flags & g_no_cancel) == 0 && gp->m->eh->uncaught == 0; }
// The same of a waiting one, its status locked.
inline bool may_be_unwound(const g* gp) { return (gp->flags & g_no_cancel) == 0 && gp->eh.uncaught == 0; }

// Every goroutine of rt. `self`: getg() of the caller. False: nothing was done, because the runtime has ended, or, for
// sysmon (`watching`), because somebody else stops the world just now.
bool cancel_all(sched_t* rt, g* self, bool watching = false);

}  // namespace weft::rt
