#include "sched/exploration.hpp"

#include <string>

#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/sched.hpp"
#include "weft/error.hpp"

namespace weft::rt {

void step(op what, const void* object) {
  g* gp = getg();
  if (gp != nullptr && gp->rt->explore != nullptr) {
    door_in(gp, what, object);
    door_out(gp->m);
    return;
  }
  bool explored = false;
  {
    mutex_guard guard(the_process.explore_lock);
    exploration* by = the_process.explorer;
    explored = by != nullptr && by->touched(by, object);
  }
  if (explored) {
    throw error(std::string("weft::sim: a ") + (gp == nullptr ? "plain thread" : "goroutine of another runtime") +
                " has called " + to_text(what) + " of an object that an exploration uses");
  }
}

void stepped(op what, const void* object, bool success) {
  g* gp = getg();
  if (gp == nullptr || gp->rt->explore == nullptr) return;
  gp->rt->explore->done(gp->rt->explore, gp, what, object, success);
  if (after(what) == op::none) return;
  door_in(gp, after(what));
  door_out(gp->m);
}

std::int64_t now_for(const g* self) {
  return self != nullptr && self->rt->explore != nullptr ? self->rt->explore->now : os::now();
}

}  // namespace weft::rt
