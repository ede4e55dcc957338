#include "sched/weight.hpp"

#include <cstdlib>

#include "os/sys.hpp"

namespace weft::rt {
namespace {

constexpr double step = 1.25;
constexpr int greatest = -20;
constexpr std::uint64_t usual_turn = 0;

void change(m* mp, int to) {
  if (mp->weight == to) return;
  const std::uint64_t thread = mp->thread_seen.load(relaxed);
  if (thread == 0) return;  // it has not begun, and will ask itself
  // Refused, or it is not what we have given it: the program's matter from now on.
  mp->weight = os::thread_nice(thread, mp->weight, to, usual_turn) == 0 ? to : 0;
}

}  // namespace

int weight_beside(std::uint32_t on_cpu, std::uint32_t procs, int before) {
  const double threads = 1.0 + static_cast<double>(on_cpu) / procs;
  if (threads < (before == 0 ? crowd : crowd / 2)) return 0;
  int nice = 0;
  for (double weight = step; weight <= threads && nice > greatest; weight *= step) --nice;
  return std::abs(nice - before) > 1 ? nice : before;
}

void weigh(m* mp) { change(mp, mp->rt->weight.load(relaxed)); }
void unweigh(m* mp) { change(mp, 0); }

born_with_weight::born_with_weight(m* mp) {
  sched_t* rt = mp->rt;
  if (rt->weight.load(relaxed) == 0) return;
  bequeaths_ = os::thread_bequeaths(true) == 0;
  if (!bequeaths_) return;  // the thread has to ask for itself
  mutex_guard guard(rt->lock);
  mp->weight = rt->weight.load(relaxed);  // sysmon's own: nobody else changes it
}

born_with_weight::~born_with_weight() {
  if (bequeaths_) os::thread_bequeaths(false);
}

void was_born_with_weight(m* mp) {
  mutex_guard guard(mp->rt->lock);
  os::thread_nice(mp->tid, mp->weight, mp->weight, usual_turn);
  weigh(mp);
}

}  // namespace weft::rt
