// What the calling goroutine, or thread, carries with it: its context here, its locals in local.cpp.
#include "arch/getg.hpp"
#include "context/canceler.hpp"
#include "context/carried.hpp"
#include "sched/cancel.hpp"
#include "sched/extras.hpp"
#include "weft/context.hpp"

namespace weft::rt {

g_extras* carried() noexcept {
  const g* self = getg();
  if (self == nullptr) return extras_of_thread();
  return (self->flags & g_has_extras) != 0 ? self->extras : nullptr;
}

g_extras* carry() {
  g* self = getg();
  return self == nullptr ? own_extras_of_thread() : own_extras(self);
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

context_node* context_current() noexcept {
  const rt::g_extras* x = rt::carried();
  return x == nullptr ? nullptr : context_hold(x->current);
}

with_scope::with_scope(context_node* n) : carried_(nullptr), outer_(nullptr), outer_obeys_(nullptr) {
  rt::g_extras* x = n == nullptr ? rt::carried() : rt::carry();
  if (x == nullptr) return;
  rt::leave_scope(x);
  carried_ = x;
  outer_ = x->current;
  outer_obeys_ = x->obeys;
  // Others read it with this goroutine's status locked, when it waits.
  x->current = context_hold(n);
  x->obeys = rt::scope_of(n);
}

with_scope::~with_scope() {
  auto* x = static_cast<rt::g_extras*>(carried_);
  if (x == nullptr) return;
  rt::leave_scope(x);
  context_node* inner = x->current;
  x->current = outer_;
  x->obeys = static_cast<rt::scope*>(outer_obeys_);
  context_drop(inner);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
