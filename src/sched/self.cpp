// What a goroutine can ask about itself and its runtime.
#include <string>

#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/sched.hpp"
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

// `ended` first: the difference is never too small by a goroutine that is created and ends in between.
int num_goroutine() {
  const rt::sched_t* rt = runtime_of_caller("weft::num_goroutine");
  // Who asks sees what others do: they may come in between.
  if (rt->explore != nullptr) rt::enter inside(rt::getg(), rt::op::point);
  std::uint64_t ended = 0;
  std::uint64_t created = 0;
  for (std::uint32_t i = 0; i < rt->nprocs; ++i) ended += rt->allp[i].ended.load(rt::acquire);
  for (std::uint32_t i = 0; i < rt->nprocs; ++i) created += rt->allp[i].created.load(rt::acquire);
  return static_cast<int>(created - ended);
}

int num_cpu() { return rt::os::cpu_count(); }

namespace this_goroutine {

std::uint64_t id() noexcept {
  const rt::g* gp = rt::getg();
  return gp == nullptr ? 0 : gp->goid;
}

std::string_view name() noexcept {
  const rt::g* gp = rt::getg();
  return gp == nullptr || gp->name == nullptr ? std::string_view{} : std::string_view{gp->name};
}

}  // namespace this_goroutine

namespace debug {

runtime_stats stats() {
  rt::sched_t* rt = runtime_of_caller("weft::debug::stats");
  runtime_stats s{};
  for (std::uint32_t i = 0; i < rt->nprocs; ++i) {
    s.goroutines_created += rt->allp[i].created.load(rt::relaxed);
    s.steals += rt->allp[i].steals.load(rt::relaxed);
  }
  rt::enter inside(rt::getg(), rt::op::point);
  rt::mutex_guard guard(rt->lock);
  s.threads = rt->nm;
  return s;
}

}  // namespace debug
}  // namespace v0
}  // namespace weft
