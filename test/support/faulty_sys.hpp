// faulty_sys: the system floor with faults on order (RELIABILITY 3.1, rule 2). For programs that are linked with
// the options of test/fault/CMakeLists.txt: there the runtime's calls of some functions of os/sys.hpp arrive here and,
// as long as no fault is ordered, go on to Linux.
//
// Orders are process-wide; a test gives them while nothing else runs, and takes them back with reset().
#pragma once
#include <cstdint>

namespace weft::test::faulty {

enum class call { thread_start, reserve, install_guards, futex_wait, membarrier };

// The k-th call from now on (1 is the next one) and the `times - 1` after it fail with that errno value. k == 0: none.
inline constexpr unsigned for_ever = ~0u;
void fail(call which, unsigned k, int err, unsigned times = 1);
// Whether a call has failed since.
bool has_failed(call which);
// Calls since the last fail() or reset().
unsigned calls(call which);

// Of `n + 1` futex waits n return at once, as after a signal, a stray wake-up or a changed word. 0: none.
void spurious_futex_waits(unsigned n);

// Called in the thread whose call is about to fail, before it returns; null: nothing.
void at_failure(void (*hook)(void* arg), void* arg);

void reset();

}  // namespace weft::test::faulty
