// reports: what the lookout says when a process is about to die, or does not end. Called through the wires only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "model/g.hpp"

namespace weft::rt {

struct sched_t;
struct stall;

// ---- panic.cpp: an exception that nobody catches, or std::terminate for another reason. gp may be null: a plain thread.
void report_uncaught(const g* gp);
// ---- overflow.cpp
void report_overflow_sig(const g* gp, std::uintptr_t address);
void report_overflow_found(const g* gp, std::uintptr_t address);
// ---- dump.cpp: every goroutine there is: why it waits, where, and where it was created.
void report_goroutines();
// The thread that ran gp is about to be gone, and calls this from its own stack; gp's it has left.
void report_thread_ended(const g* gp);
// ---- asleep.cpp: nobody runs any more: `text`, which cycles there are, and every goroutine.
void report_deadlock(const char* text);
// `ns` ago main returned, or the goroutines were cancelled, and some of rt's are still there: a line with the first of
// them, or all with their stacks. The process goes on.
void report_awaited(const sched_t* rt, std::int64_t ns, bool with_stacks);
// ---- stalled.cpp: goroutines that have made no call of the runtime for long. The process goes on.
void report_stalled(const stall* stalls, std::size_t n);

// What the copy of the process has printed already (child.hpp), in memory that both see.
struct report_progress {
  bool title = false;
  std::size_t frames = 0;
  bool creator = false;
  std::size_t goroutines = 0;
};
report_progress* new_progress_sig();
void free_progress(report_progress* progress);

// One report at a time: the first prints, the others wait for the end of the process (GO-BEHAVIOUR C8).
// False: this thread has one in progress already, and failed in it.
bool begin_report_sig();
// The process does not die of what was reported: the next may print.
void end_report();

}  // namespace weft::rt
