// The lookout's wires in a search: a dying process is the checker's business.
#include "base/wires.hpp"

#include "checker/machine.hpp"
#include "checker/sys_model.hpp"

namespace weft::rt {
namespace {

void fatal_dump() {}
void uncaught(const g*) { check::fail("an exception that nobody catches"); }
void deadlock(const char* text) {
  if (check::system_now().deadlock != nullptr) check::system_now().deadlock();
  check::fail("deadlock: %s", text);
}
void awaited(const sched_t*, std::int64_t, bool) {}
void stalled(const stall*, std::size_t) {}
void thread_ended(const g*) { check::fail("a thread has ended under its goroutine"); }
void overflow_sig(const g*, std::uintptr_t) {}
void overflow_found(const g*, std::uintptr_t) {}

}  // namespace

const upward_wires wires{fatal_dump, uncaught, deadlock, awaited, stalled, thread_ended, overflow_sig, overflow_found};

}  // namespace weft::rt
