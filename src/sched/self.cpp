// What a goroutine can ask about itself and its runtime.
#include <string>

#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/extras.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "weft/debug.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/this_goroutine.hpp"

namespace weft {
inline namespace v0 {
namespace {

rt::sched_t* runtime_of_caller(const char* call) {
  rt::g* gp = rt::getg();
  if (gp == nullptr) throw error(std::string(call) + " called outside a runtime: start one with weft::run");
  return gp->rt;
}

}  // namespace

int num_goroutine() {
  const rt::sched_t* rt = runtime_of_caller("weft::num_goroutine");
  // Who asks sees what others do: they may come in between.
  if (rt->explore != nullptr) rt::enter inside(rt::getg(), rt::op::point);
  return static_cast<int>(rt::goroutines_alive(rt));
}

int num_cpu() { return rt::os::cpu_count(); }

int gomaxprocs(int n) {
  rt::sched_t* rt = runtime_of_caller("weft::gomaxprocs");
  if (n > static_cast<int>(rt::sizes::max_procs)) {
    throw error("weft::gomaxprocs " + std::to_string(n) + ": must be 1 to " + std::to_string(rt::sizes::max_procs) +
                ", or less than 1 to ask");
  }
  // One thread decides who runs in an exploration, whatever the number; the program sees what it has set.
  if (rt->explore != nullptr) {
    rt::enter inside(rt::getg(), rt::op::point);
    const std::uint32_t old = rt->procs_limit;
    if (n >= 1) rt->procs_limit = static_cast<std::uint32_t>(n);
    return static_cast<int>(old);
  }
  if (n < 1) return static_cast<int>(rt::procs(rt));
  if (static_cast<std::uint32_t>(n) > rt->procs_room) {
    throw error("weft::gomaxprocs " + std::to_string(n) + ": address space is short, there is room for " +
                std::to_string(rt->procs_room));
  }
  return static_cast<int>(rt::set_procs(rt, rt::getg(), static_cast<std::uint32_t>(n), true));
}

namespace this_goroutine {

std::uint64_t id() noexcept {
  const rt::g* gp = rt::getg();
  return gp == nullptr ? 0 : gp->goid;
}

std::string_view name() noexcept {
  const rt::g* gp = rt::getg();
  const char* name = gp == nullptr ? nullptr : rt::name_of(gp);
  return name == nullptr ? std::string_view{} : std::string_view{name};
}

}  // namespace this_goroutine

namespace debug {

runtime_stats stats() {
  rt::sched_t* rt = runtime_of_caller("weft::debug::stats");
  runtime_stats s{};
  s.goroutines_created = rt->created_outside.load(rt::relaxed);
  for (std::uint32_t i = 0; i < rt->nallp.load(rt::acquire); ++i) {
    s.goroutines_created += rt->allp[i].created.load(rt::relaxed);
    s.steals += rt->allp[i].steals.load(rt::relaxed);
  }
  rt::enter inside(rt::getg(), rt::op::point);
  rt::mutex_guard guard(rt->lock);
  s.threads = rt->nm + rt->nmfreed;
  return s;
}

}  // namespace debug
}  // namespace v0
}  // namespace weft
