// The clock and sleep. There are no timers yet: in production a sleep blocks its thread, outside of the runtime.
#include "os/sys.hpp"
#include "sched/cancel.hpp"
#include "sched/enter.hpp"
#include "sched/exploration.hpp"
#include "sched/sched.hpp"
#include "weft/error.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

namespace {

// Without a P. A sleep that cancellation may end waits on the runtime's word for that; it is 1 when all are cancelled.
void sleep_outside(rt::g* gp, std::int64_t ns, bool cancellable) {
  blocking_scope outside;
  if (!cancellable) {
    rt::os::sleep_ns(ns);
    return;
  }
  const std::int64_t now = rt::os::now();
  const std::int64_t end = ns < INT64_MAX - now ? now + ns : INT64_MAX;
  for (std::int64_t left = ns; left > 0 && gp->rt->sleepers.load(rt::acquire) == 0; left = end - rt::os::now()) {
    rt::os::futex_wait(&gp->rt->sleepers, 0, left);
  }
}

}  // namespace

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
  if (gp == nullptr) {
    rt::os::sleep_ns(ns);
    return;
  }
  const bool cancellable = rt::may_unwind(gp);
  const auto cancelled_now = [&] { return cancellable && rt::is_cancelled(gp); };
  if (cancelled_now()) throw cancelled();
  sleep_outside(gp, ns, cancellable);
  if (cancelled_now()) throw cancelled();
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
