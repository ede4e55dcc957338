// The public face of timers: those with a channel are the channel's business (chan/timer_chan.hpp); here are the panics, and
// after_func.
//
// after_func's object: who shares it holds a reference, in `refs`: each handle, the pending call, each goroutine that runs it.
// Its lock orders resets, and is never held when the function is called, or destroyed. The first start has the object to itself;
// a stop needs no lock but the heap's: whoever takes the timer out of it has stopped it.
#include "weft/timer.hpp"

#include <new>
#include <string>

#include "base/check.hpp"
#include "chan/timer_chan.hpp"
#include "sched/callback_timer.hpp"
#include "sched/enter.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "weft/error.hpp"
#include "weft/this_goroutine.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

struct func_timer {
  explicit func_timer(const func_ops* of) : ops(of) {}

  std::uint64_t refs = 1;
  rt::mutex lock;
  const func_ops* ops;
  std::uint64_t creator = 0;  // after_func's caller, and the place of the call: for reports
  const void* pc = nullptr;
  rt::callback_timer timer{&timer_ops, this};

  static void fire(rt::g* self, void* arg, std::uint64_t, std::int64_t);
  static void drop(void* arg, std::uint64_t) { func_drop(static_cast<func_timer*>(arg)); }
  static constexpr rt::timer_ops timer_ops{fire, drop};
};

namespace {

std::size_t place_of_f(const func_ops* ops) { return (sizeof(func_timer) + ops->align - 1) / ops->align * ops->align; }
std::size_t align_of(const func_ops* ops) {
  return ops->align > alignof(func_timer) ? ops->align : alignof(func_timer);
}

constexpr bool plain_new(std::size_t align) { return align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__; }

void free_memory(func_timer* t) noexcept {
  const std::size_t align = align_of(t->ops);
  t->~func_timer();
  if (plain_new(align)) {
    ::operator delete(static_cast<void*>(t));
  } else {
    ::operator delete (static_cast<void*>(t), std::align_val_t{align});
  }
}

// What a goroutine of after_func runs.
struct run_func {
  func_timer* t;
  void operator()() const {
    struct last {
      func_timer* t;
      ~last() {
        no_cancel uninterrupted;  // a destructor that is called by nobody's unwinding must not be unwound
        func_drop(t);
      }
    } share{t};
    t->ops->call(func_of(t));
  }
};

rt::g* starter(const char* call) {
  rt::g* self = rt::getg();
  if (self == nullptr)
    throw error(std::string(call) +
                " called outside a runtime: nobody would run its function; start one with weft::run");
  return self;
}

// With the share of `t` that the pending call has.
void arm_func(func_timer* t, rt::caller& me, std::int64_t ns) {
  static_cast<void>(t->timer.start(me.self(), rt::later(me.now(), ns)));  // cannot fail: the caller is in a runtime
}

}  // namespace

// On a scheduler's stack, by whoever fires.
void func_timer::fire(rt::g* self, void* arg, std::uint64_t, std::int64_t) {
  auto* t = static_cast<func_timer*>(arg);
  using entry = entry_of<run_func, const run_func&>;
  const run_func body{t};
  static_assert(entry::ops.trivial);
  if (rt::launch_by_timer(self->m, &entry::ops, const_cast<run_func*>(&body), t->creator, t->pc)) return;
  // The last goroutine has ended, and no other can begin. The function is the program's, and its destructor may do anything: not
  // here. A share that is not the last is given back; with the last one the object is this call's alone, and goes with the heap,
  // by way of `drop`: armed at a time that does not come, or it would be popped again at once.
  for (std::uint64_t refs = __atomic_load_n(&t->refs, __ATOMIC_ACQUIRE); refs != 1;) {
    if (__atomic_compare_exchange_n(&t->refs, &refs, refs - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return;
  }
  if (t->timer.start(self, rt::far_future) != 0) rt::fatal("after_func: a timer of a runtime was refused");
}

hchan* timer_make(std::int64_t ns, std::int64_t period) { return rt::make_timer_chan(ns, period); }

bool timer_stop(hchan* c) { return rt::timer_clear(c); }

bool timer_reset(hchan* c, std::int64_t ns) { return rt::timer_set(c, ns, 0); }

hchan* ticker_make(std::int64_t period) {
  if (period <= 0) throw error("non-positive interval for NewTicker");
  return rt::make_timer_chan(period, period);
}

void ticker_stop(hchan* c) { rt::timer_clear(c); }

void ticker_reset(hchan* c, std::int64_t period) {
  if (period <= 0) throw error("non-positive interval for Ticker.Reset");
  if (c == nullptr) throw error("time: Reset called on uninitialized Ticker");
  rt::timer_set(c, period, period);
}

void timer_throw_unset(const char* call) { throw error(call); }

func_timer* func_make(const func_ops* ops) {
  const std::size_t size = place_of_f(ops) + ops->size;
  const std::size_t align = align_of(ops);
  void* memory = plain_new(align) ? ::operator new(size) : ::operator new (size, std::align_val_t{align});
  return ::new (memory) func_timer(ops);
}

void* func_of(func_timer* t) noexcept { return reinterpret_cast<unsigned char*>(t) + place_of_f(t->ops); }

void func_discard(func_timer* t) noexcept { free_memory(t); }

void func_start(func_timer* t, std::int64_t ns) {
  t->creator = starter("weft::after_func")->goid;
  t->pc = __builtin_return_address(0);
  rt::caller me(rt::op::timer_start, t);
  ++t->refs;  // nobody else has seen it
  arm_func(t, me, ns);
}

bool func_stop(func_timer* t) {
  bool was;
  {
    const rt::caller me(rt::op::timer_stop, t);
    was = t->timer.stop();
  }
  if (was) func_drop(t);
  return was;
}

bool func_reset(func_timer* t, std::int64_t ns) {
  starter("weft::timer::reset of after_func");
  rt::caller me(rt::op::timer_reset, t);
  rt::mutex_guard guard(t->lock);
  const bool was = t->timer.stop();
  if (!was) func_hold(t);
  arm_func(t, me, ns);
  return was;
}

void func_hold(func_timer* t) noexcept {
  if (t != nullptr) __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
}

void func_drop(func_timer* t) noexcept {
  if (t == nullptr) return;
  // Who has the only share needs no locked instruction to know it: nobody else can make another.
  if (__atomic_load_n(&t->refs, __ATOMIC_ACQUIRE) != 1 && __atomic_fetch_sub(&t->refs, 1, __ATOMIC_ACQ_REL) != 1)
    return;
  t->ops->destroy(func_of(t));
  free_memory(t);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
