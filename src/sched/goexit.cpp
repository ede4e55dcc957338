// goexit: what happens on a goroutine's stack from its first frame on, and how a goroutine ends.
//
// The stack is not given back when a goroutine ends: if the next runnable one is new, it starts right here, on
// the warm stack, without a switch (DESIGN 3: 7 ns instead of 50 to 300). Only a goroutine that parks
// keeps the stack it is on; whoever runs next then needs another.
//
// A stack without a guard has a canary instead, which is looked at when its goroutine ends: g_canary, in the byte of
// what is rare, costs nobody else an instruction. Such stacks are stack_apart: nobody begins in place on one, and no P
// keeps one, so each use of it begins in first_stack, which sets the flag, and ends in bury.
//
// On whose stack the stack is freed: on the next one's. The goroutine is dead and its g may live again
// elsewhere, but these frames still run; so the stack is handed over to the other side of the switch.
#include <climits>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/extras.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"
#include "sched/timers.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

static_assert(sizeof sizes::stack_cache / sizeof sizes::stack_cache[0] == stack_classes + 1);
static_assert(sizes::stack_cache[stack_apart] == 0);

[[noreturn, gnu::cold]] void no_stack(int size_class, int err) {
  line{}
      .text("fatal error: out of memory for goroutine stacks: mapping a stack of ")
      .bytes(stack_class_bytes[size_class])
      .text(" was refused (errno ")
      .number(static_cast<std::uint64_t>(err))
      .text(err == 12 ? ": Cannot allocate memory" : "")
      .text("); stacks in use: ")
      .number(the_process.stacks.slots_in_use())
      .text(", address space reserved: ")
      .number(the_process.stacks.bytes_reserved() >> 20)
      .text(" MiB; raise the limit on address space (ulimit -v) or lower WEFT_STACK_SIZE\n")
      .flush_sig();
  fatal("out of memory");
}

// The P has none of that class: half a cache full from the arena, one of which is returned. Null with *err when the
// system refuses. Out of line, as is `spill`, for what the usual way need not save then.
[[gnu::noinline]] stack* refill(p* pp, int size_class, int* err) {
  stack* st = the_process.stacks.get_list(size_class, static_cast<int>(sizes::stack_cache[size_class] / 2), err);
  if (st == nullptr) return nullptr;
  pp->stacks[size_class] = st->next;
  for (stack* at = st->next; at != nullptr; at = at->next) ++pp->nstacks[size_class];
  st->next = nullptr;
  return st;
}

[[gnu::always_inline]] inline stack* take_cached(p* pp, int size_class) {
  stack* st = pp->stacks[size_class];
  if (st == nullptr) [[unlikely]]
    return nullptr;
  pp->stacks[size_class] = st->next;
  --pp->nstacks[size_class];
  st->next = nullptr;
  return st;
}

// For a goroutine's first run.
[[gnu::noinline]] stack* first_stack(p* pp, g* gp) {
  int err = 0;
  stack* st = refill(pp, gp->stack_class, &err);
  if (st == nullptr) no_stack(gp->stack_class, err);
  if (st->canary) gp->flags |= g_canary;
  return st;
}

// The cache has one too many: half of it goes to the arena, and one that is apart goes at once.
[[gnu::noinline]] void spill(p* pp, int size_class) {
  stack* first = pp->stacks[size_class];
  const std::uint32_t n = size_class == stack_apart ? 1 : sizes::stack_cache[size_class] / 2;
  stack* last = first;
  for (std::uint32_t i = 1; i < n; ++i) last = last->next;
  pp->stacks[size_class] = last->next;
  pp->nstacks[size_class] -= n;
  last->next = nullptr;
  the_process.stacks.put_list(size_class, first);
}

void free_stack_after(m* mp, g*, void* st) { free_stack(mp->p, static_cast<stack*>(st)); }

[[gnu::always_inline]] inline void bind(g* gp, stack* st) {
  st->owner = gp;
  gp->stack = st;
  gp->eh = eh_globals{};
  gp->sched = first_frame(st->sp0);
#ifdef WEFT_ASAN
  __asan_unpoison_memory_region(reinterpret_cast<void*>(st->lo), reinterpret_cast<std::uintptr_t>(st) - st->lo);
  st->fake_stack = nullptr;
#endif
#ifdef WEFT_TSAN
  st->fiber = __tsan_create_fiber(0);
#endif
}

[[gnu::always_inline]] inline void keep(p* pp, stack* st) {
  const int c = st->size_class;
  st->next = pp->stacks[c];
  pp->stacks[c] = st;
  if (++pp->nstacks[c] > sizes::stack_cache[c]) [[unlikely]]
    spill(pp, c);
}

// The closure, as user code: outside the runtime. Cancellation and this_goroutine::exit unwind to here; by type and
// never `...`, so that the search for a handler of any other exception finds none, and terminates with its frames there.
m* run_closure(g* gp) {
  const v0::detail::entry_ops* ops = gp->entry;
  gp->entry = nullptr;
  door_out(gp->m);
  try {
    ops->run(gp->closure);
  } catch (const v0::cancelled&) {
  } catch (const v0::detail::goexit_unwind&) {
  }
  return door_in(gp, op::end);
}

// What is rare about a goroutine that ends, before it is dead: a report names it.
// Returns the M that it is on: its locals' destructors are the program's, and may wait.
[[gnu::noinline, gnu::cold]] m* bury_rest(m* mp, g* gp) {
  if ((gp->flags & g_has_extras) != 0 && !is_finished(gp->extras)) {
    door_out(mp);
    finish_extras(gp->extras);
    mp = door_in(gp);
  }
  if ((gp->flags & g_canary) != 0) check_canary(gp);
  if ((gp->flags & g_has_extras) != 0) free_extras(gp);
  // It leaves the thread as it was when it was locked, in a state that nobody knows: the thread ends with it.
  if ((gp->flags & g_locked) != 0) {
    mp->lockedg = nullptr;
    mp->exiting = true;
    gp->tied = nullptr;
  }
  return mp;
}

// gp is over. Its g can be reused from here on, by this P first.
stack* bury(m*& mp, g* gp) {
  stack* st = gp->stack;
  if (gp->flags != 0) [[unlikely]]
    mp = bury_rest(mp, gp);
  gp->status.set(status::running, status::dead);
  gp->m = nullptr;
  gp->stack = nullptr;
  mp->curg = nullptr;
  gp->flags = 0;
  p* pp = mp->p;
  pp->ended.store(pp->ended.load(relaxed) + 1, release);  // order: rt.last
  gfput(pp, gp);
  noise(noise_at::counted);
  if (mp->rt->attention.load(relaxed) != 0) [[unlikely]]
    end_if_last(mp->rt);
  return st;
}

}  // namespace

void check_canary(const g* gp) {
  if (const std::uintptr_t at = broken_canary(*gp->stack)) {
    wires.overflow_found(gp, at);
    fatal("stack overflow");
  }
}

void bind_stack(m* mp, g* gp) {
  stack* st = take_cached(mp->p, gp->stack_class);
  if (st == nullptr) [[unlikely]]
    st = first_stack(mp->p, gp);
  bind(gp, st);
}

void bind_stack(g* gp, stack* st) {
  if (st->canary) gp->flags |= g_canary;
  bind(gp, st);
}

// The goroutine's fibre goes with it, in ThreadSanitizer's builds: it is not the stack's.
void borrow_stack(g* gp, stack* st) {
  st->owner = gp;
  st->outer = gp->stack;
#ifdef WEFT_ASAN
  __asan_unpoison_memory_region(reinterpret_cast<void*>(st->lo), reinterpret_cast<std::uintptr_t>(st) - st->lo);
  st->fake_stack = nullptr;
#endif
#ifdef WEFT_TSAN
  st->fiber = gp->stack != nullptr ? gp->stack->fiber : nullptr;
#endif
  gp->stack = st;
}

stack* return_stack(g* gp) {
  stack* st = gp->stack;
  if (st->canary) check_canary(gp);
  gp->stack = st->outer;
  st->outer = nullptr;
  st->fiber = nullptr;
  st->owner = nullptr;
  return st;
}

stack* get_stack(p* pp, int size_class, int* err) {
  stack* st = take_cached(pp, size_class);
  return st != nullptr ? st : refill(pp, size_class, err);
}

void free_stack(p* pp, stack* st) {
#ifdef WEFT_TSAN
  __tsan_destroy_fiber(st->fiber);
  st->fiber = nullptr;
#endif
  st->owner = nullptr;
  keep(pp, st);
}

void keep_stack(p* pp, stack* st) { keep(pp, st); }

std::uint64_t goroutines_alive(const sched_t* rt) {
  std::uint64_t ended = 0;
  std::uint64_t created = 0;
  for (std::uint32_t i = 0; i < rt->nallp.load(acquire); ++i) ended += rt->allp[i].ended.load(acquire);
  created += rt->created_outside.load(acquire);
  // How many Ps there are is read again: one of those that have ended may have been created on a P that is new.
  for (std::uint32_t i = 0; i < rt->nallp.load(acquire); ++i) created += rt->allp[i].created.load(acquire);
  return created - ended;
}

// Main has called this_goroutine::exit, and now there is nobody who could ever return from run.
[[noreturn]] static void no_goroutines() {
  wires.deadlock("no goroutines (main called runtime.Goexit) - deadlock!");
  os::exit_process(2);
}

// Main has returned, or the end was asked for. The last goroutine to end ends the runtime.
//
// A goroutine that ends counts itself and looks at `attention`, without a barrier in between: it may miss that
// main has just returned, while main misses its count. So each M looks once more when it has nothing to run,
// under sched.lock, where whoever comes last sees both (FAULTS 1 in another coat).
// order: rt.last (bury, find_runnable)
bool end_if_last(sched_t* rt) {
  if (rt->explore != nullptr) return false;  // it knows by itself, and the runtime stays
  const std::uint32_t why = rt->attention.load(acquire);
  if ((why & (attention_main_returned | attention_main_exited)) == 0) return false;
  if (goroutines_alive(rt) != 0) return false;
  if ((why & attention_main_returned) == 0) {
    if (!nothing_to_come(rt)) return false;
    no_goroutines();
  }
  noise(noise_at::last_out);
  m* idle = nullptr;
  {
    mutex_guard guard(rt->lock);
    // A timer may have started one: launch_by_timer.
    if (goroutines_alive(rt) != 0) return false;
    rt->attention.fetch_or(attention_done, release);
    os::futex_wake(&rt->attention, INT_MAX);  // whoever has called shutdown
    idle = rt->midle;
    rt->midle = nullptr;
    rt->nmidle = 0;
    // Inside the lock: one whose rest is over may be about to take itself off the list.
    for (m* mp = idle; mp != nullptr; mp = mp->schedlink) mp->set_listed(false);
    rt->watch = nullptr;
    rt->watch_until.store(0, relaxed);
    if (rt->wedged != nullptr) {
      rt->wedged->idle_locked = false;
      --rt->nmidlelocked;
      rt->wedged->park.wakeup();
      rt->wedged = nullptr;
    }
  }
  while (idle != nullptr) {
    m* next = idle->schedlink;
    idle->park.wakeup();
    idle = next;
  }
  return true;
}

}  // namespace weft::rt

// Called by weft_goroutine_start, on a fresh stack. Not noexcept: an exception that nobody catches must find no
// handler, so that it terminates with its frames in place.
extern "C" [[noreturn, gnu::used, gnu::visibility("hidden")]] void weft_goroutine_base(void* passed) {
  using namespace weft::rt;
  finish_switch_fiber(nullptr);
  g* gp = getg();
  finish_switch(static_cast<m*>(passed));
  for (;;) {
    m* mp = run_closure(gp);
    stack* st = bury(mp, gp);
    bool inherit = false;
    g* next = pick_local(mp, inherit);
    if (next != nullptr) {
      begin_run(mp, next, inherit);
      if (next->stack == nullptr) {
        if (run_in_place && next->stack_class == st->size_class) {
          next->stack = st;
          st->owner = next;
          *mp->eh = eh_globals{};
          setg(next);
          gp = next;
          continue;
        }
        bind_stack(mp, next);
      }
    } else {
      next = &mp->g0;
    }
    noise(noise_at::buried);
    mp->after = free_stack_after;
    mp->after_arg = st;
    annotate_on_stack(*st);
    switch_to(mp, &mp->scrap, nullptr, next);
    fatal("sched: a dead goroutine was continued");
  }
}
