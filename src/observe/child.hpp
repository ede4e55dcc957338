// child: runs the part of a report that may go wrong in a copy of the process.
//
// A report is made when things are bad already: inside malloc with its lock held, without memory, on the last
// bytes of a stack. libdw allocates, ends the process when memory is refused, needs more stack than a small
// goroutine or a signal handler has, and meets damaged data. In a copy (clone without shared memory, on a stack
// and with a malloc of its own) it may crash, hang or exit: the process itself dies as it was to die.
//
// Rejected: a thread (shares malloc's locks and its crash), an external tool (need not be installed).
#pragma once

namespace weft::rt {

// Runs fn(arg) in a copy and waits until it ends; `arg` and what it points to are a copy too. False: there was
// no copy (refused), or it crashed, exited with another status than fn's `true`, or hung and was killed.
// Safe in a signal handler.
bool run_in_child_sig(bool (*fn)(void* arg), void* arg);

// Memory that both sides see, for saying how far the child got: zeroed, page-sized; null if refused.
void* shared_page_sig();

}  // namespace weft::rt
