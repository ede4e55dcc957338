// The table through which the runtime calls up (base/wires.hpp), as the library has it.
#include "base/wires.hpp"

#include "observe/reports.hpp"

namespace weft::rt {

constinit const upward_wires wires{
    .fatal_dump = report_goroutines,
    .uncaught = report_uncaught,
    .deadlock = report_deadlock,
    .awaited = report_awaited,
    .stalled = report_stalled,
    .thread_ended = report_thread_ended,
    .overflow_sig = report_overflow_sig,
    .overflow_found = report_overflow_found,
};

}  // namespace weft::rt
