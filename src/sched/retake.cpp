#include "sched/retake.hpp"

#include "base/check.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

bool fences(const m* mp) { return mp->calls.load(acquire) != 0; }  // order: enter.fence

}  // namespace

void do_without_membarrier(int err) {
  std::uint32_t works = 1;
  if (!the_process.membarrier.compare_exchange_strong(works, 2, relaxed, relaxed)) return;
  line{}
      .text("weft: membarrier is refused (errno ")
      .number(static_cast<std::uint64_t>(err))
      .text("): each call of the runtime takes a full fence from here on\n")
      .flush_sig();
  mutex_guard all(the_process.runtimes_lock);
  for (sched_t* rt = the_process.all_runtimes; rt != nullptr; rt = rt->all_next) {
    mutex_guard guard(rt->lock);
    for (m* mp = rt->allm; mp != nullptr; mp = mp->alllink) mp->revoke.fetch_or(revoke_slow, relaxed);
  }
  // Who makes no call for long would not be asked for as long. Once over all CPUs: whoever is outside sees the flag from here on.
  if (!os::visit_cpus()) return;
  for (sched_t* rt = the_process.all_runtimes; rt != nullptr; rt = rt->all_next) {
    mutex_guard guard(rt->lock);
    for (m* mp = rt->allm; mp != nullptr; mp = mp->alllink) {
      std::uint32_t none = 0;
      mp->calls.compare_exchange_strong(none, 1, release, relaxed);  // order: enter.fence
    }
  }
}

void revoker_delays(const sched_t* rt) {
  if (rt->knobs.revokedelay != 0) os::sleep_ns(static_cast<std::int64_t>(rt->knobs.revokedelay) * 1'000'000);
}

retake::retake(sched_t* rt) : rt_(rt), by_kernel_(the_process.membarrier_ready()) {}

bool retake::ask(m* mp) {
  if (!by_kernel_ && !fences(mp)) return false;
  suspects_[n_] = suspect(mp->in_runtime, mp->revoke);
  if (!suspects_[n_].ask()) return false;
  of_[n_++] = mp;
  return true;
}

void retake::barrier() {
  revoker_delays(rt_);
  noise(noise_at::asked);
  if (by_kernel_) {
    if (const int err = os::membarrier()) {
      refused_ = true;
      do_without_membarrier(err);
    }
  } else {
    store_load_barrier();  // order: enter.door
  }
  revoker_delays(rt_);
}

p* retake::decide(m** from) {
  while (at_ < n_) {
    suspect& s = suspects_[at_];
    m* mp = of_[at_++];
    if (refused_) {
      s.give_up();
      continue;
    }
    if (!s.decide()) continue;
    p* pp = mp->p;
    g* gp = mp->curg;
    if (pp == nullptr || gp == nullptr) fatal("sched: an M that was revoked had no P to lose", mp->id);
    releasep(mp);
    mp->oldp = pp;
    mp->away = true;
    gp->status.set(status::running, status::detached);
    if (from != nullptr) *from = mp;
    return pp;
  }
  n_ = at_ = 0;
  return nullptr;
}

}  // namespace weft::rt
