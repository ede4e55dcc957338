// fabric: the nouns of a runtime without its verbs, for models that let a few of the verbs loose on them. Each execution
// makes its own, on the model's heap, and gives it back; the process, which is one global object, begins each time as it
// was before the first (process.cpp).
//
// A model thread that stands for an M plays its part of find_runnable itself: goroutines are names here, nobody switches
// to them. Whole runtimes, switches included, are searched by runtime_model.
#pragma once
#include <cstdint>
#include <vector>

#include "checker/model.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "sched/sched.hpp"

namespace weft::check {

class fabric {
 public:
  // All Ps are idle, but on nobody's list: the model says where they are.
  explicit fabric(std::uint32_t procs) {
    rt::the_process.membarrier.store(1, rt::relaxed);
    rt_ = new rt::sched_t;
    rt_->nprocs.store(procs, rt::relaxed);
    rt_->nallp.store(procs, rt::relaxed);
    rt_->procs_room = procs;
    rt_->max_threads = 100;
    rt_->allp = new rt::p[procs];
    for (std::uint32_t i = 0; i < procs; ++i) {
      rt_->allp[i].id = i;
      rt_->allp[i].rt = rt_;
      rt_->allp[i].timers = new rt::p_timers;
      rt_->allp[i].q.set_solo(procs == 1);
    }
    // The global queue has a block to spare, as it has in a runtime that is not new: fewer steps that matter to nobody.
    rt::g* none = nullptr;
    rt_->runq.push_back(none);
    rt_->runq.pop_front();
  }
  ~fabric() {
    if (rt_ != nullptr) take_apart(rt_);
    for (rt::m* mp : ms_) delete mp;
  }
  fabric(const fabric&) = delete;
  fabric& operator=(const fabric&) = delete;

  rt::sched_t* sched() { return rt_; }
  rt::p* p(std::uint32_t i) { return &rt_->allp[i]; }

  // Without a P, inside the runtime; counted among those that are not home.
  rt::m* new_m() {
    auto* mp = new rt::m;
    mp->rt = rt_;
    mp->id = rt_->mnext++;
    mp->choose.seed(mp->id);
    mp->attention = &rt_->attention;
    if (rt::takes_slow_path(rt_)) {
      mp->revoke.store(rt::revoke_slow, rt::relaxed);
      mp->calls.store(1, rt::relaxed);
    }
    mp->alllink = rt_->allm;
    rt_->allm = mp;
    ms_.push_back(mp);
    rt_->live_ms.fetch_add(1, rt::relaxed);
    return mp;
  }

  // A goroutine of this runtime that waits: named, with nothing to run.
  rt::g* new_g(std::uint64_t goid) {
    void* memory = nullptr;
    if (rt::the_process.gs.fresh(&memory, 1) == 0) fail("no memory for a g");
    auto* gp = static_cast<rt::g*>(memory);
    gp->rt = rt_;
    gp->extras = &rt_->no_extras;
    gp->goid = goid;
    gp->status.born();
    return gp;
  }

  // As the end of a runtime: whatever of it is used after this is used too late.
  static void take_apart(rt::sched_t* rt) {
    rt->runq.drop();
    for (std::uint32_t i = 0; i < rt->procs_room; ++i) {
      rt->allp[i].timers->give_back_memory();
      delete rt->allp[i].timers;
    }
    delete[] rt->allp;
    delete rt;
  }
  // The model has taken it apart itself.
  void taken_apart() { rt_ = nullptr; }

 private:
  rt::sched_t* rt_;
  std::vector<rt::m*> ms_;
};

}  // namespace weft::check
