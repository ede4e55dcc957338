// The table through which the runtime calls up (base/wires.hpp), as the library has it.
#include "base/wires.hpp"

#include "observe/reports.hpp"

namespace weft::rt {

constinit const upward_wires wires{
    .fatal_dump = report_goroutines,
    .uncaught = report_uncaught,
    .overflow_sig = report_overflow_sig,
};

}  // namespace weft::rt
