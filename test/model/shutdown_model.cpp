// The end of a runtime: threads outside wake its last goroutine, and the runtime is freed as soon as the counts say so.
// Whatever is used after that is used after free.
#include "model/fabric.hpp"
#include "sched/countdown.hpp"
#include "sched/park.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::status;

// The last M of a runtime, as far as it matters: it sleeps without work, gets a P, runs what is in the global queue, and
// goes home when so many goroutines have ended.
void last_m(rt::m* mp, std::uint32_t goroutines) {
  rt::sched_t* s = mp->rt;
  while (goroutines != 0) {
    if (mp->p == nullptr) rt::stopm(mp);
    if (mp->spinning) rt::resetspinning(mp);
    rt::g* gp = mp->p->q.take();
    if (gp == nullptr) {
      const rt::mutex_guard guard(s->lock);
      gp = rt::globrunqget_batch(mp);
      if (gp == nullptr) rt::pidleput(s, rt::releasep(mp));
    }
    if (gp == nullptr) continue;
    gp->status.set(status::runnable, status::running);
    gp->status.set(status::running, status::dead);
    --goroutines;
  }
  if (mp->p != nullptr) rt::releasep(mp);
  rt::leave(s->live_ms);
}

// A goroutine that waits for a thread outside.
rt::g* waiting(fabric& f, std::uint64_t goid) {
  rt::g* gp = f.new_g(goid);
  gp->status.set(status::runnable, status::running);
  gp->status.set(status::running, status::waiting);
  return gp;
}

// As run(): waits for the counts, and takes it all down.
void end_of_run(fabric& f) {
  rt::sched_t* s = f.sched();
  rt::wait_until_none(s->live_ms);
  rt::wait_until_none(s->foreign);
  fabric::take_apart(s);
  f.taken_apart();
}

MODEL(shutdown_against_a_foreign_waker, "the waker is still in the runtime when its goroutine has ended") {
  fabric f(2);
  rt::sched_t* s = f.sched();
  rt::pidleput(s, f.p(0));
  rt::g* gp = waiting(f, 1);
  rt::m* mp = f.new_m();
  s->no_thread_until = std::int64_t{1} << 60;
  auto waker = [&] { rt::ready(nullptr, gp); };
  auto t = start(waker);
  last_m(mp, 1);
  end_of_run(f);
  t.join();
}

MODEL(shutdown_last_m_home, "the thread that called run waits for the Ms to go home, and frees what they were part of",
      .spurious = 1) {
  fabric f(2);
  rt::sched_t* s = f.sched();
  f.new_m();
  f.new_m();
  auto goes_home = [&] {
    s->needspinning.store(1, rt::relaxed);
    rt::leave(s->live_ms);
  };
  auto a = start(goes_home);
  auto b = start(goes_home);
  end_of_run(f);
  a.join();
  b.join();
}

}  // namespace
