// big_stack: running a function on another stack, for a while.
//
//   caller's stack                        borrowed stack
//   call_on_big_stack ─ visit             other_side ─ fn ─ …          what fn calls may block and migrate
//   weft_call_on_stack ───────────────▶   returns, or an exception walks over the seam by CFI
//   ~visit: whose stack is whose again
//
// Who    the goroutine owns both: g.stack is the one it is on, `outer` in its descriptor the one it will be on again.
//        All that asks where a goroutine is (switches, overflow reports, tracebacks of parked ones) reads g.stack.
// Never  a catch between the two: an exception that nobody catches must find no handler here, so that it terminates
//        with the frames of both stacks in place. Hence a destructor.
// Never  g.stack changed outside the door: whoever counts stacks at rest sees a borrowed one with its goroutine or in a
//        cache.
//
// A plain thread borrows from the arenas, with a proxy g as the owner whom an overflow report can name, and with an
// alternate signal stack, without which there would be no report.
// Checked by test/unit/sched/big_stack_test.cpp, test/death/overflow_test.cpp, test/death/uncaught_test.cpp.
#include <new>
#include <string>

#include "base/print.hpp"
#include "os/sys.hpp"
#include "sched/enter.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/switch.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft::rt {

void boot_for_thread();  // boot.cpp

namespace {

std::string bad_size(std::size_t bytes) {
  line text;
  text.text("weft: on_big_stack: size ").number(bytes).text(": must be 1 KiB to ");
  text.bytes(stack_class_bytes[stack_classes - 1]);
  return text.c_str();
}

class visit {
 public:
  visit(void (*fn)(void*), void* arg, int size_class) : fn_(fn), arg_(arg), gp_(getg()) {
    if (gp_ != nullptr) {
      borrow(size_class);
    } else {
      borrow_as_thread(size_class);
    }
  }

  WEFT_UNINSTRUMENTED ~visit() {
    came_back();
    give_back();
  }
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;

  WEFT_UNINSTRUMENTED void go() {
#ifdef WEFT_ASAN
    const stack* st = gp_->stack;
    __sanitizer_start_switch_fiber(&fake_stack_, reinterpret_cast<void*>(st->lo),
                                   reinterpret_cast<std::uintptr_t>(st) - st->lo);
#endif
    weft_call_on_stack(other_side, this, gp_->stack->sp0);
  }

 private:
  void borrow(int size_class) {
    int err = 0;
    stack* st = nullptr;
    {
      enter inside(gp_);
      st = get_stack(gp_->m->p, size_class, &err);
      if (st != nullptr) borrow_stack(gp_, st);
    }
    if (st == nullptr) throw std::bad_alloc();
  }

  void borrow_as_thread(int size_class) {
    boot_for_thread();
    int err = 0;
    stack* st = the_process.stacks.lend(size_class, &err);
    if (st == nullptr) throw std::bad_alloc();
    thread_ = true;
    gp_ = proxy_get();
    signal_stack_ = os::signal_stack_install();
    borrow_stack(gp_, st);
  }

  void give_back() {
    if (thread_) {
      stack* st = return_stack(gp_);
      proxy_put(gp_);
      the_process.stacks.take_back(st);
      os::signal_stack_remove(signal_stack_);
    } else {
      enter inside(gp_);
      keep_stack(gp_->m->p, return_stack(gp_));
    }
  }

  // On the borrowed stack.
  WEFT_UNINSTRUMENTED static void other_side(void* arg) {
    visit& self = *static_cast<visit*>(arg);
#ifdef WEFT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &self.from_lo_, &self.from_bytes_);
#endif
    self.fn_(self.arg_);
#ifdef WEFT_ASAN
    self.leave_borrowed();
    self.left_ = true;
#endif
  }

  // On the caller's stack again, by return or with an exception on its way.
  WEFT_UNINSTRUMENTED void came_back() {
#ifdef WEFT_ASAN
    if (!left_) leave_borrowed();
    finish_switch_fiber(fake_stack_);
#endif
  }

#ifdef WEFT_ASAN
  // Nobody will come back to what is on it.
  WEFT_UNINSTRUMENTED void leave_borrowed() { __sanitizer_start_switch_fiber(nullptr, from_lo_, from_bytes_); }

  void* fake_stack_ = nullptr;
  const void* from_lo_ = nullptr;
  std::size_t from_bytes_ = 0;
  bool left_ = false;
#endif
  void (*fn_)(void*);
  void* arg_;
  g* gp_;
  bool thread_ = false;
  void* signal_stack_ = nullptr;
};

}  // namespace

os::stack_bounds stack_of_caller() {
  bool in_guard = false;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (const stack* st = the_process.stacks.find_sig(here, &in_guard)) {
    return {st->lo, reinterpret_cast<std::uintptr_t>(st)};
  }
  return os::thread_stack();
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void call_on_big_stack(void (*fn)(void*), void* arg, std::size_t size) {
  using namespace weft::rt;
  const int size_class = size < 1024 ? -1 : stack_class_for(size);
  if (size_class < 0) throw error(bad_size(size));
  visit there(fn, arg, size_class);
  there.go();
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
