// Locking a goroutine to its thread (GO-BEHAVIOUR A12).
//
// Who    the goroutine itself, on its M: it alone counts, sets and clears.
// State  m.lockedg and g.tied name each other while the count is above zero; g_locked makes whoever dequeues the goroutine
//        hand its P over to that M (startlockedm); m.attention points to a word that is never zero, so that the M's short
//        paths run nobody else's goroutine: when its own parks, schedule() finds m.lockedg (stoplockedm).
// Never  give the thread to anybody after its goroutine has ended locked (goexit.cpp, mexit).
// Checked by test/conformance/lock_os_thread_test.cpp; test/model/locked_model.cpp.
#include <string>

#include "sched/enter.hpp"
#include "sched/sched.hpp"
#include "weft/error.hpp"
#include "weft/lock_os_thread.hpp"

namespace weft::rt {
namespace {

constinit const atomic<std::uint32_t> always{~0u};

g* locker(const char* call) {
  g* gp = getg();
  if (gp == nullptr) throw v0::error(std::string(call) + " called outside a runtime: start one with weft::run");
  return gp;
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {

void lock_os_thread() {
  using namespace weft::rt;
  g* gp = locker("weft::lock_os_thread");
  bool overflow = false;
  {
    enter inside(gp);
    m* mp = gp->m;
    if (mp->lockedext == ~0u) {
      overflow = true;
    } else if (++mp->lockedext == 1 && gp->rt->explore == nullptr) {
      gp->flags |= g_locked;
      gp->tied = mp;
      mp->attention = &always;
      mp->lockedg = gp;
    }
  }
  if (overflow) throw error("LockOSThread nesting overflow");
}

void unlock_os_thread() {
  using namespace weft::rt;
  g* gp = locker("weft::unlock_os_thread");
  enter inside(gp);
  m* mp = gp->m;
  // An exploration has one thread, which is everybody's: it counts for nobody.
  if (mp->lockedext == 0 || --mp->lockedext != 0 || gp->rt->explore != nullptr) return;
  gp->flags &= static_cast<std::uint8_t>(~g_locked);
  gp->tied = nullptr;
  mp->attention = &gp->rt->attention;
  mp->lockedg = nullptr;
}

}  // namespace v0
}  // namespace weft
