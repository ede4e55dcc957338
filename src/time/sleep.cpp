// The clock and sleep.
#include "os/sys.hpp"
#include "sched/cancel.hpp"
#include "sched/enter.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "weft/error.hpp"
#include "weft/time.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

namespace {

void nothing_to_unlock(void*) {}

// Nobody knows of the wait but the timer, and whoever cancels. False: the goroutine is to unwind.
bool sleep_until(rt::g* gp, std::int64_t ns) {
  rt::caller me(rt::op::sleep);
  if (ns <= 0) return true;
  if (me.cancelled()) return false;
  rt::waiter w;
  w.gp = gp;
  w.addr = nullptr;
  w.kind = rt::wait_kind::nowhere;
  w.queued = true;
  if (rt::exploration* by = gp->rt->explore; by != nullptr) by->sleeps(by, gp, ns);
  me.wait_until<nothing_to_unlock>(w, nullptr, rt::wait_reason::sleep, true, rt::later(me.now(), ns));
  return w.result != rt::wait_result::cancelled;
}

}  // namespace

void duration_throw_no_number() { throw error("weft: a duration of NaN: not a number of seconds, or of anything"); }

std::int64_t clock_now() noexcept { return rt::now_for(rt::getg()); }

void sleep_ns(std::int64_t ns) {
  rt::g* gp = rt::getg();
  if (gp == nullptr) {
    rt::os::sleep_ns(ns);
    return;
  }
  if (ns <= 0 && gp->rt->explore == nullptr) return;
  if (!sleep_until(gp, ns)) throw cancelled();
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
