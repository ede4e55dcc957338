// switch: the only place where one context leaves and another goes on. Assembly is invisible to every tool,
// so each tool is told here, and nowhere else.
//
//   from's side                              to's side (it called switch_to long ago, or is fresh)
//   mp->after says what is to be done        returns from switch_to
//   once `from` has left its stack           finish_switch: does it
//
// Never  make `from` runnable, free its stack or unlock what guards its wait before the switch: the other
//        side does that. Otherwise a second thread may run it on a stack that is still in use (FAULTS 1, 7, 22).
// Never  use an m or p from before switch_to after it: the goroutine may be on another thread.
// Checked by test/conformance/getg_thread_switch_test.cpp, and by the TSan and ASan builds.
#pragma once
#include <cstdint>

#include "arch/getg.hpp"
#include "arch/gobuf.hpp"
#include "base/check.hpp"
#include "base/macros.hpp"
#include "mem/stack.hpp"
#include "model/g.hpp"
#include "model/m.hpp"

#ifdef WEFT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WEFT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace weft::rt {

// Runs goroutines back to back on one stack (goexit.cpp). ThreadSanitizer wants a fibre each.
#ifdef WEFT_TSAN
inline constexpr bool run_in_place = false;
#else
inline constexpr bool run_in_place = true;
#endif

// Tells race detectors that a context is saved here, which only assembly does.
inline void annotate_save(gobuf& buf) {
#ifdef WEFT_RACE_DETECTOR
  buf.sp = 0;
#else
  static_cast<void>(buf);
#endif
}

// And that it is read where a goroutine is continued.
inline void annotate_resume(const gobuf& buf) {
#ifdef WEFT_RACE_DETECTOR
  static_cast<void>(*const_cast<const volatile std::uintptr_t*>(&buf.sp));
#else
  static_cast<void>(buf);
#endif
}

// And that a dead goroutine was still on its stack here: whoever has it already is caught.
inline void annotate_on_stack(const stack& st) {
#ifdef WEFT_RACE_DETECTOR
  static_cast<void>(*const_cast<const void* const volatile*>(&st.owner));
#else
  static_cast<void>(st);
#endif
}

// A stack without a guard must be whole: fatal otherwise (goexit.cpp).
void check_canary(const g* gp);

inline void finish_switch_fiber(void* fake_stack) {
#ifdef WEFT_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
  static_cast<void>(fake_stack);
#endif
}

// The context of `left` (a goroutine, a g0, or mp->scrap for one that has ended) is saved in *from and `to`
// goes on. Returns when somebody continues *from, with the m that it is on then.
// Not instrumented: the two halves of this function run on different stacks (RELIABILITY K1).
WEFT_UNINSTRUMENTED inline m* switch_to(m* mp, gobuf* from, [[maybe_unused]] g* left, g* to) {
  if ((to->flags & g_is_g0) == 0) *mp->eh = to->eh;
  setg(to);
#ifdef WEFT_ASAN
  const stack* st = (to->flags & g_is_g0) != 0 ? nullptr : to->stack;
  const std::uintptr_t lo = st != nullptr ? st->lo : mp->g0_stack.lo;
  const std::uintptr_t hi = st != nullptr ? reinterpret_cast<std::uintptr_t>(st) : mp->g0_stack.hi;
  // A context that nobody will continue gives its fake stack back.
  __sanitizer_start_switch_fiber(left == nullptr                ? nullptr
                                 : (left->flags & g_is_g0) != 0 ? &mp->g0_fake_stack
                                                                : &left->stack->fake_stack,
                                 reinterpret_cast<void*>(lo), hi - lo);
#endif
#ifdef WEFT_TSAN
  __tsan_switch_to_fiber((to->flags & g_is_g0) != 0 ? mp->g0_fiber : to->stack->fiber, 0);
#endif
  m* now = static_cast<m*>(weft_switch(from, &to->sched, mp));
#ifdef WEFT_ASAN
  finish_switch_fiber((left->flags & g_is_g0) != 0 ? now->g0_fake_stack : left->stack->fake_stack);
#endif
  return now;
}

// On the side that goes on, first thing: does what the side that left could not do itself.
inline void finish_switch(m* mp) {
  if (auto* after = mp->after) {
    mp->after = nullptr;
    after(mp, mp->after_g, mp->after_arg);
  }
}

// A goroutine leaves: its exceptions are its own and go with it.
inline void leave_goroutine(m* mp, g* gp, g* to) {
  if constexpr (checked) {
    if (gp->stack->canary) check_canary(gp);
  }
  gp->eh = *mp->eh;
  annotate_save(gp->sched);
  finish_switch(switch_to(mp, &gp->sched, gp, to));
}

}  // namespace weft::rt
