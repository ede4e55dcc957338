// world: what must hold of a whole runtime when it is at rest (RELIABILITY 3.1, rule 13): every counter is what its
// list says, every P is idle and on the list or held, every goroutine is in one place and one only, nobody spins, no
// token is held. A broken rule is found here before it has become a lost goroutine.
//
// At rest  no M of the runtime is doing anything: each sleeps, is inside a blocking call, or has gone home. Called
//          under sched.lock, or when no thread of the runtime is left.
// Others   plain threads and other runtimes may be at work: they take waiters of ours off the semaphore table before
//          they have put them into a queue, and stacks out of the arenas. So the sums that these belong to are
//          checked as equations only when the caller knows that there is nobody else.
#pragma once
#include "model/sched.hpp"

namespace weft::rt::world {

enum class others : bool { none, maybe };

// Null, or a text that names the first invariant that does not hold, with its numbers. It stands in rt->broken.
const char* check(sched_t* rt, others who = others::maybe);

// Checked builds, under sched.lock: if this runtime has just come to rest, checks it; a broken one is fatal.
void check_at_rest(sched_t* rt);
// Checked builds, when the last M has gone home: the same.
void check_at_end(sched_t* rt);

}  // namespace weft::rt::world
