// newproc: the birth of a goroutine. It gets a g and its callable, and becomes runnext of its creator's P; a
// stack it gets when it first runs (DESIGN 3), so a million queued goroutines cost 256 bytes each.
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/check.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "sched/countdown.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/extras.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft::rt {
namespace {

std::uint64_t next_goid(p* pp) {
  if (pp->goid_next == pp->goid_end) {
    pp->goid_next = the_process.goidgen.fetch_add(sizes::goid_batch, relaxed) + 1;
    pp->goid_end = pp->goid_next + sizes::goid_batch;
  }
  return pp->goid_next++;
}

// Fills half of the P's cache of dead gs: from the other Ps' surplus, else from runtimes that have ended, else new.
[[gnu::noinline]] void refill_gs(p* pp) {
  sched_t* rt = pp->rt;
  if (rt->ngfree.load(relaxed) != 0) {
    mutex_guard guard(rt->gfree_lock);
    while (pp->ngfree < sizes::gfree_low && !rt->gfree.empty()) {
      pp->gfree[pp->ngfree++] = rt->gfree.pop();
      rt->ngfree.store(rt->ngfree.load(relaxed) - 1, relaxed);
    }
    if (pp->ngfree != 0) return;
  }
  {
    mutex_guard guard(the_process.lock);
    while (pp->ngfree < sizes::gfree_low && the_process.gfree != nullptr) {
      g* gp = the_process.gfree;
      the_process.gfree = gp->schedlink;
      gp->rt = rt;
      gp->extras = &rt->no_extras;
      pp->gfree[pp->ngfree++] = gp;
    }
    if (pp->ngfree != 0) return;
  }
  // All-zero memory is a legal dead g. They are taken in the order of their addresses.
  void* first = nullptr;
  const std::size_t n = the_process.gs.fresh(&first, sizes::gfree_low);
  g* gs = static_cast<g*>(first);
  for (std::size_t i = n; i-- > 0;) {
    gs[i].rt = rt;
    gs[i].extras = &rt->no_extras;
    pp->gfree[pp->ngfree++] = &gs[i];
  }
}

std::string bad_stack_size(std::size_t bytes) {
  line text;
  text.text("weft: stack_size ").number(bytes).text(": must be 1 KiB to ").bytes(stack_class_bytes[stack_classes - 1]);
  return text.c_str();
}

}  // namespace

std::uint8_t checked_stack_class(std::size_t bytes) {
  const int c = bytes < 1024 ? -1 : stack_class_for(bytes);
  if (c < 0) throw error(bad_stack_size(bytes));
  return static_cast<std::uint8_t>(c);
}

[[gnu::always_inline]] static inline g* gfget_inline(m* mp) {
  p* pp = mp->p;
  if (pp->ngfree == 0) [[unlikely]] {
    refill_gs(pp);
    if (pp->ngfree == 0) return nullptr;
  }
  g* gp = pp->gfree[--pp->ngfree];
  if (pp->ngfree >= 4) {
    const auto* soon = reinterpret_cast<const char*>(pp->gfree[pp->ngfree - 4]);
    __builtin_prefetch(soon, 1);
    __builtin_prefetch(soon + 64, 1);
  }
  return gp;
}

g* gfget(m* mp) { return gfget_inline(mp); }

void gfput_slow(p* pp) {
  sched_t* rt = pp->rt;
  mutex_guard guard(rt->gfree_lock);
  while (pp->ngfree > sizes::gfree_low) rt->gfree.push(pp->gfree[--pp->ngfree]);
  rt->ngfree.store(rt->ngfree.load(relaxed) + sizes::gfree_high - sizes::gfree_low, relaxed);
}

[[gnu::noinline]] void tell_of_new_work(m* mp) {
  sched_t* rt = mp->rt;
  if (rt->tell == new_work::threads) {
    noise(noise_at::submitted);
    wakep(rt);
  } else if (mp->curg != nullptr) {  // null: boot starts main
    rt->explore->point(rt->explore, mp->curg, op::after_go, nullptr);
  }
}

// Makes gp a runnable goroutine of mp's P. Its callable is in place.
[[gnu::always_inline]] static inline void launch_inline(m* mp, g* gp, const v0::detail::entry_ops* ops,
                                                        const g* creator, const void* pc) {
  p* pp = mp->p;
  gp->entry = ops;
  gp->gopc = pc;
  gp->parent_goid = creator->goid;
  gp->goid = next_goid(pp);
  gp->status.born();
  bump(pp->created);
  runqput(pp, gp, goes_next(mp));
  if (pp->rt->tell != new_work::nobody) [[unlikely]]
    tell_of_new_work(mp);
}

void launch(m* mp, g* gp, const v0::detail::entry_ops* ops, const g* creator, const void* pc) {
  launch_inline(mp, gp, ops, creator, pc);
}

bool launch_by_timer(m* mp, const v0::detail::entry_ops* ops, void* from, std::uint64_t creator, const void* pc) {
  sched_t* rt = mp->rt;
  g* gp = gfget(mp);
  if (gp == nullptr) fatal("out of memory: no g for the function of a timer");
  {
    // Counted under the lock under which the end is decided: no goroutine that is alive stands for this one.
    mutex_guard guard(rt->lock);
    if ((rt->attention.load(relaxed) & attention_done) != 0) {
      gfput(mp->p, gp);
      return false;
    }
    bump(mp->p->created);
  }
  ops->construct(gp->closure, from);
  gp->stack_class = rt->default_stack_class;
  gp->entry = ops;
  gp->gopc = pc;
  gp->parent_goid = creator;
  gp->goid = next_goid(mp->p);
  gp->status.born();
  runqput(mp->p, gp, goes_next(mp));
  if (rt->tell == new_work::threads) {
    noise(noise_at::submitted);
    wakep(rt);
  }
  return true;
}

// A dead g for somebody without a P.
static g* gfget_outside(sched_t* rt) {
  g* gp = nullptr;
  {
    mutex_guard guard(the_process.lock);
    gp = the_process.gfree;
    if (gp != nullptr) the_process.gfree = gp->schedlink;
  }
  void* memory = nullptr;
  if (gp == nullptr && the_process.gs.fresh(&memory, 1) != 0) gp = static_cast<g*>(memory);
  if (gp != nullptr) {
    gp->rt = rt;
    gp->extras = &rt->no_extras;
  }
  return gp;
}

// From a plain thread, or a goroutine of another runtime. `foreign` keeps the end away until the goroutine is counted:
// whoever ends the runtime refuses new ones first, then waits for zero (boot.cpp, shut_down).
static void newproc_outside(sched_t* rt, const v0::detail::entry_ops* ops, void* from, v0::detail::text name,
                            std::size_t stack_size, const void* pc) {
  const std::uint8_t stack_class =
      stack_size == v0::detail::default_stack ? rt->default_stack_class : checked_stack_class(stack_size);
  const g* self = getg();
  g_extras* extras = extras_for(self, name);
  struct announced {
    sched_t* rt;
    explicit announced(sched_t* of) : rt(of) { rt->foreign.fetch_add(1, seq_cst); }  // order: rt.foreign
    ~announced() { leave(rt->foreign); }                                             // order: rt.foreign
  } here(rt);
  store_load_barrier();  // order: rt.ending
  if (rt->ending.load(relaxed)) {
    discard(extras);
    throw v0::error("weft::runtime::go after shutdown: nobody would run the goroutine");
  }
  g* gp = gfget_outside(rt);
  if (gp == nullptr) {
    discard(extras);
    throw std::bad_alloc();
  }
  try {
    ops->construct(gp->closure, from);
  } catch (...) {
    discard(extras);
    mutex_guard guard(the_process.lock);
    gp->schedlink = the_process.gfree;
    the_process.gfree = gp;
    throw;
  }
  if (extras != nullptr) give_extras(gp, extras);
  gp->stack_class = stack_class;
  gp->entry = ops;
  gp->gopc = pc;
  gp->parent_goid = self != nullptr ? self->goid : 0;
  gp->goid = the_process.goidgen.fetch_add(1, relaxed) + 1;
  gp->status.born();
  rt->created_outside.fetch_add(1, relaxed);
  {
    mutex_guard guard(rt->lock);
    globrunqput(rt, gp);
  }
  noise(noise_at::submitted);
  wakep(rt);
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void throw_go_of_nil() { throw error("go of nil func value"); }

// `extras`: the new goroutine's own, or null; given back if there will be none.
[[gnu::always_inline]] static inline void start_goroutine(rt::g* me, const entry_ops* ops, void* from,
                                                          rt::g_extras* extras, std::uint8_t stack_class,
                                                          const void* pc) {
  using namespace weft::rt;
  g* gp;
  if (ops->trivial) [[likely]] {
    enter inside(me, op::go);
    m* mp = me->m;
    gp = gfget_inline(mp);
    if (gp != nullptr) [[likely]] {
      ops->construct(gp->closure, from);
      if (extras != nullptr) give_extras(gp, extras);
      gp->stack_class = stack_class;
      launch_inline(mp, gp, ops, me, pc);
      return;
    }
  } else {
    {
      enter inside(me, op::go);
      gp = gfget(me->m);
    }
    if (gp != nullptr) {
      // Outside: a move constructor is user code, and may even block.
      try {
        ops->construct(gp->closure, from);
      } catch (...) {
        {
          enter inside(me);
          gfput(me->m->p, gp);
        }
        discard(extras);
        throw;
      }
      enter inside(me);
      if (extras != nullptr) give_extras(gp, extras);
      gp->stack_class = stack_class;
      launch(me->m, gp, ops, me, pc);
      return;
    }
  }
  discard(extras);
  throw std::bad_alloc();
}

// With a name, or under a context. Apart from the others, which need not look at either.
[[gnu::noinline]] static void newproc_with_extras(rt::g* me, const entry_ops* ops, void* from, text name,
                                                  std::uint8_t stack_class, const void* pc) {
  start_goroutine(me, ops, from, rt::extras_for(me, name), stack_class, pc);
}

[[gnu::always_inline]] static inline void newproc_at(const entry_ops* ops, void* from, text name,
                                                     std::size_t stack_size, const void* pc) {
  using namespace weft::rt;
  g* me = getg();
  if (me == nullptr) throw error("weft::go called outside a runtime: start one with weft::run");
  const std::uint8_t stack_class =
      stack_size == default_stack ? me->rt->default_stack_class : checked_stack_class(stack_size);
  if ((name.size | (me->flags & g_has_extras)) != 0) [[unlikely]]
    return newproc_with_extras(me, ops, from, name, stack_class, pc);
  start_goroutine(me, ops, from, nullptr, stack_class, pc);
}

void newproc(const entry_ops* ops, void* from, text name, std::size_t stack_size) {
  newproc_at(ops, from, name, stack_size, __builtin_return_address(0));
}

}  // namespace detail
}  // namespace v0
}  // namespace weft

namespace weft::rt {

// For class runtime. One of its own starts another as weft::go does, and also while the runtime ends: that one is cancelled
// then.
void newproc_for(sched_t* rt, const v0::detail::entry_ops* ops, void* from, v0::detail::text name,
                 std::size_t stack_size, const void* pc) {
  if (const g* self = getg(); self != nullptr && self->rt == rt) {
    v0::detail::newproc_at(ops, from, name, stack_size, pc);
  } else {
    newproc_outside(rt, ops, from, name, stack_size, pc);
  }
}

}  // namespace weft::rt
