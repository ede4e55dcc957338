// reports: what the lookout says when a process is about to die. Called through the wires only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "model/g.hpp"

namespace weft::rt {

// ---- panic.cpp: an exception that nobody catches, or std::terminate for another reason. gp may be null: a plain thread.
void report_uncaught(const g* gp);
// ---- overflow.cpp
void report_overflow_sig(const g* gp, std::uintptr_t address);
// ---- dump.cpp: every goroutine there is, one line each and where it was created.
void report_goroutines();

// What the copy of the process has printed already (child.hpp), in memory that both see.
struct report_progress {
  bool title = false;
  std::size_t frames = 0;
  bool creator = false;
  std::size_t goroutines = 0;
};
report_progress* new_progress_sig();

// One report at a time: the first prints, the others wait for the end of the process (GO-BEHAVIOUR C8).
// False: this thread has one in progress already, and failed in it.
bool begin_report_sig();

}  // namespace weft::rt
