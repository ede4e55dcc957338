#include "sched/weight.hpp"

#include <cstdlib>

#include "arch/getg.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

constexpr double step = 1.25;
constexpr int greatest = -20;

}  // namespace

int weight_beside(std::uint32_t on_cpu, std::uint32_t procs, int before) {
  const double threads = 1.0 + static_cast<double>(on_cpu) / procs;
  if (threads < (before == 0 ? crowd : crowd / 2)) return 0;
  int nice = 0;
  for (double weight = step; weight <= threads && nice > greatest; weight *= step) --nice;
  return std::abs(nice - before) > 1 ? nice : before;
}

void weigh(m* mp) {
  const int to = mp->rt->weight.load(relaxed);
  const std::uint64_t thread = mp->thread_seen.load(acquire);
  // It has not begun, and will ask itself.
  if (mp->weight == to || thread == 0) return;
  if (to == 0) return unweigh(mp);
  if (mp->callers && !mp->rt->weighs_callers) return;
  if (os::thread_nice(thread, mp->weight, to, mp->callers && mp->weight == 0) == 0) {
    mp->weight = to;
  } else {
    unweigh(mp);  // refused, or the program has changed it: that is its matter from now on
  }
}

void unweigh(m* mp) {
  if (mp->weight == 0) return;
  const std::uint64_t thread = mp->thread_seen.load(acquire);
  if (thread == 0) return;
  if (os::thread_nice_back(thread, mp->weight, mp->callers)) mp->weight = 0;
}

born_with_weight::born_with_weight(m* mp) {
  sched_t* rt = mp->rt;
  if (rt->weight.load(relaxed) == 0 || getg() != nullptr) return;
  bequeaths_ = os::thread_bequeaths(true) == 0;
  if (!bequeaths_) return;
  mutex_guard guard(rt->lock);
  mp->weight = rt->weight.load(relaxed);  // sysmon's own, which nobody else changes
}

born_with_weight::~born_with_weight() {
  if (bequeaths_) os::thread_bequeaths(false);
}

void begins_with_weight(m* mp, int weight) {
  if (weight == 0 && mp->rt->weight.load(relaxed) == 0) return;
  mutex_guard guard(mp->rt->lock);
  if (weight != 0) os::thread_is_heir();
  weigh(mp);
}

}  // namespace weft::rt
