// thread: the life of an M, from its thread's first instruction to its last.
//
//   startm ─▶ allocm (an id, counted under sched.lock) ─▶ newm (a thread) ─▶ mstart ─▶ mstart1 ─▶ schedule
//                                                                              ▲                     │
//                                                                              └── continues `leave` ┘
//
// An M ends with its runtime; or before, when its goroutine ended locked to it (nobody else may have a thread that a
// goroutine has made its own), or when nobody has needed it for long. Then it is on the list of those whose threads
// are to be joined, by sysmon, or at the end.
#include <new>

#include "base/check.hpp"
#include "base/macros.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "os/sys.hpp"
#include "sched/countdown.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"
#include "sched/weight.hpp"

namespace weft::rt {
namespace {

// The handle by itself, not by whoever started it: that one may be slow, and somebody else be about to join this thread.
void thread_main(void* arg) {
  auto* mp = static_cast<m*>(arg);
  mp->thread = os::this_thread();
  mstart(mp);
}

// Under sched.lock.
void unlink_m(sched_t* rt, m* mp) {
  m** link = &rt->allm;
  while (*link != mp) link = &(*link)->alllink;
  *link = mp->alllink;
  --rt->nm;
}

// m0 is the thread that called run: it cannot end, and must not run goroutines any more. It waits for the end.
void wedge(m* mp) {
  sched_t* rt = mp->rt;
  {
    mutex_guard guard(rt->lock);
    if ((rt->attention.load(relaxed) & attention_done) != 0) return;
    rt->wedged = mp;
    mp->idle_locked = true;
    ++rt->nmidlelocked;
  }
  mp->blocked = true;
  mp->park.sleep();
  mp->park.clear();
  mp->blocked = false;
}

// Foreign code has ended the thread under its goroutine, whose stack has been unwound, or just left: neither it nor
// what it held can go on.
[[noreturn, gnu::noinline]] void report_thread_end(const g* gp) {
  wires.thread_ended(gp);
  os::abort_process();
}

// Runs where the thread began, above frames that it has jumped out of, and in them may lie the runtime, which other
// threads go on using (boot.cpp). So the stack is left as it is down to where the scheduler began.
WEFT_UNINSTRUMENTED void on_thread_end() {
  const g* gp = getg();
  if (gp == nullptr) return;  // between two runs of an exploration
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const std::uintptr_t begun = gp->m->leave.sp;
  constexpr std::uintptr_t red_zone = 256;
  if (begun < here) asm volatile("" ::"r"(__builtin_alloca(here - begun + red_zone)) : "memory");
  report_thread_end(gp);
}

}  // namespace

// What a thread needs before it can run goroutines (Go's minit).
void minit(m* mp) {
  mp->tid = os::thread_id();
  mp->thread_seen.store(mp->tid, release);
  mp->eh = static_cast<eh_globals*>(os::exception_globals());
  mp->thread_eh = *mp->eh;
  mp->signal_stack = os::signal_stack_install();
  // The kernel's 50 us would be most of what a sleep of 100 is late. The thread that has called run gets its own back.
  mp->slack = os::timer_slack(1);
  // Refused (the program has used up its keys): such an end would be silent, as it is everywhere else.
  os::watch_thread_end(on_thread_end);
#ifdef WEFT_ASAN
  mp->g0_stack = stack_of_caller();
#endif
#ifdef WEFT_TSAN
  mp->g0_fiber = __tsan_get_current_fiber();
#endif
}

void unminit(m* mp) {
  os::timer_slack(mp->slack);
  os::watch_thread_end(nullptr);
  *mp->eh = mp->thread_eh;
  if (mp->signal_stack != nullptr) os::signal_stack_remove(mp->signal_stack);
  mp->signal_stack = nullptr;
}

static void mstart1(m* mp) {
  setg(&mp->g0);
  const int weight = mp->weight;  // before minit tells others that it can be changed
  minit(mp);
  if (mp->mstartfn != nullptr) mp->mstartfn(mp);
  if (p* pp = mp->nextp) {  // all but m0, which has its P since boot
    mp->nextp = nullptr;
    acquirep(mp, pp);
  }
  begins_with_weight(mp, weight);
  weft_call_saving(&mp->leave, schedule, mp);
  // Somebody continued mp->leave: no goroutine is left.
  unminit(mp);
  setg(nullptr);
}

void mstart(m* mp) {
  sched_t* rt = mp->rt;
  mstart1(mp);
  // Released to run(), which frees what this M was part of once the count is zero: nothing of it after this.
  // order: rt.home
  leave(rt->live_ms);
}

void give_m(m* mp) {
  mutex_guard guard(the_process.lock);
  mp->schedlink = the_process.mfree;
  the_process.mfree = mp;
}

void mexit(m* mp) {
  sched_t* rt = mp->rt;
  if (p* pp = mp->p) {
    releasep(mp);
    if ((rt->attention.load(relaxed) & attention_done) == 0) handoffp(pp);
  }
  // As find_runnable, where this M will not come again: its goroutine may have been the last but for one that has not seen
  // that, and has gone to sleep since.
  bool ends = false;
  {
    mutex_guard guard(rt->lock);
    ends = (rt->attention.load(relaxed) & (attention_main_returned | attention_main_exited)) != 0;
  }
  if (ends) end_if_last(rt);  // order: rt.last
  if (mp->callers) {
    wedge(mp);
    return;
  }
  {
    mutex_guard guard(rt->lock);
    if ((rt->attention.load(relaxed) & attention_done) != 0) return;  // joined with all others
    unlink_m(rt, mp);
    ++rt->nmfreed;
    mp->schedlink = rt->freem;
    rt->freem = mp;
    // Inside the lock: sysmon, which it belongs to, lives as long as an M is counted in live_ms.
    if (rt->has_sysmon) rt->sysmon_bell.ring();
  }
}

bool reap_ms(sched_t* rt) {
  m* ended = nullptr;
  {
    mutex_guard guard(rt->lock);
    ended = rt->freem;
    rt->freem = nullptr;
  }
  m* alive = nullptr;
  while (m* mp = ended) {
    ended = mp->schedlink;
    if (os::thread_try_join(mp->thread)) {
      give_m(mp);
    } else {
      mp->schedlink = alive;
      alive = mp;
    }
  }
  if (alive == nullptr) return true;
  mutex_guard guard(rt->lock);
  while (m* mp = alive) {
    alive = mp->schedlink;
    mp->schedlink = rt->freem;
    rt->freem = mp;
  }
  return false;
}

m* allocm(sched_t* rt) {
  void* memory = nullptr;
  {
    mutex_guard guard(the_process.lock);
    if (m* old = the_process.mfree) {
      the_process.mfree = old->schedlink;
      memory = old;
    }
  }
  // An m keeps its generation for ever: a revoker may still hold an old one against it.
  std::uint32_t generation = 0;
  if (memory != nullptr) {
    generation = static_cast<m*>(memory)->revoke.load(relaxed) & ~revoke_door;
  } else if (the_process.ms.fresh(&memory, 1) == 0) {
    return nullptr;
  }
  m* mp = ::new (memory) m;
  const bool slow = takes_slow_path(rt);
  mp->revoke.store(generation | (slow ? revoke_slow : 0), relaxed);
  mp->calls.store(slow ? 1 : 0, relaxed);
  mp->rt = rt;
  mp->id = rt->mnext++;
  mp->attention = &rt->attention;
  mp->g0.flags = g_is_g0;
  mp->g0.m = mp;
  mp->g0.rt = rt;
  mp->g0.status.born();
  mp->g0.status.set(status::runnable, status::running);
  mp->choose.seed(rt->seed + mp->id);
  // With one P the order of execution is a promise, whatever the noise.
  if (noisy() && procs(rt) > 1) mp->choose.set_strategy(noise_choices());
  mp->alllink = rt->allm;
  rt->allm = mp;
  rt->live_ms.fetch_add(1, relaxed);
  if (++rt->nm > rt->max_threads) {
    line{}.text("weft: program exceeds ").number(rt->max_threads).text("-thread limit\n").flush_sig();
    fatal("thread exhaustion");
  }
  return mp;
}

int newm(m* mp) {
  sched_t* rt = mp->rt;
  // clone fails for a moment when the process is at its limit for a moment (Go retries 20 times; we go on with
  // the threads there are instead, so a few short tries are enough).
  int err = 0;
  noise(noise_at::m_allocated);
  for (int attempt = 0; attempt < static_cast<int>(sizes::thread_tries); ++attempt) {
    os::thread started;
    const born_with_weight weight(mp);
    err = os::thread_start(&started, thread_main, mp);
    if (err != 11) break;
    os::sleep_ns(200'000);
  }
  if (err == 0) return 0;
  {
    mutex_guard guard(rt->lock);
    unlink_m(rt, mp);
  }
  give_m(mp);
  // The caller is a live M, or holds `foreign`: rt outlives this. All others may be home already.
  leave(rt->live_ms);  // order: rt.home
  return err;
}

}  // namespace weft::rt
