// goroutines: the part of a report that shows many of them: a title each, what it waits for, its stack, and where it
// was created.
#pragma once
#include <cstdint>

#include "model/g.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"

namespace weft::rt {

class wait_graph;

struct goroutine_list {
  const g* but = nullptr;       // who has been shown already
  const sched_t* rt = nullptr;  // of that runtime only; null: of the process, and plain threads that wait too
  std::int64_t now = 0;         // when the report began
};

bool is_listed(const goroutine_list& list, const g& gp);

// In the copy of the process.
void print_goroutines(const goroutine_list& list, const wait_graph& waits, const symbolizer& names,
                      report_progress* progress);
// What the copy did not get done, in the process itself, without names and objects.
void print_goroutines_sig(const goroutine_list& list, const report_progress& progress);

}  // namespace weft::rt
