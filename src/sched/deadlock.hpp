// deadlock: nobody runs and nobody ever will (GO-BEHAVIOUR A17; promise 5 of the API).
//
// Who    sysmon, when all Ps of its runtime have been idle for a moment. It holds the runtimes' list and each sched.lock
//        for the look.
// What   every runtime of the process is at rest: each M sleeps, listed as idle or waiting for its locked goroutine, so none
//        is in a blocking call, on its way to sleep, or being started; no goroutine is queued; nobody outside is waking one.
//        No timer is pending. And the process has no thread but ours: any other could release a semaphore. Then nothing can change any more.
// Why    two looks with the count of threads in between: a thread that is not ours may have ended after the first look, and
//        have woken a goroutine before. At the second look that one would be seen running.
// Not    after main's end: then those that are left are awaited, and told of in another way (options::shutdown_timeout).
// Not    under ThreadSanitizer, which has a thread of its own: there is no report then.
// Checked by test/death/deadlock_test.cpp, each exception to the rule by name.
#pragma once
#include "model/sched.hpp"

namespace weft::rt {

enum class outlook : std::uint8_t {
  runs,     // somebody does, or is about to, or the runtime is about to end
  sleeps,   // until a timer; it will run again
  outside,  // all is at rest, but somebody outside may come
  never,    // a deadlock
};
// timer: the time of the first one, with outlook::sleeps.
outlook look_for_deadlock(std::int64_t* timer);

// Says so and ends the process, status 2.
[[noreturn]] void report_deadlock();

// The list of runtimes.
void list_runtime(sched_t* rt);
void unlist_runtime(sched_t* rt);

}  // namespace weft::rt
