// The clock and sleep. There are no timers yet: in production a sleep blocks its thread, outside of the runtime.
#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/exploration.hpp"
#include "sched/sched.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

std::int64_t clock_now() noexcept { return rt::now_for(rt::getg()); }

void sleep_ns(std::int64_t ns) {
  rt::g* gp = rt::getg();
  if (gp != nullptr && gp->rt->explore != nullptr) {
    rt::exploration* by = gp->rt->explore;
    rt::enter_and_park inside(gp, rt::op::sleep);
    if (ns > 0) by->sleep(by, gp, ns < INT64_MAX - by->now ? by->now + ns : INT64_MAX);
    return;
  }
  if (ns <= 0) return;
  blocking_scope outside;
  rt::os::sleep_ns(ns);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
