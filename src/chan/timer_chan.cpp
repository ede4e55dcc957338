#include "chan/timer_chan.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "chan/transfer.hpp"
#include "model/timer.hpp"
#include "sched/park.hpp"

namespace weft::rt {
namespace {

timer_chan* of(hchan* c) { return static_cast<timer_chan*>(c); }

void unlock_chan(void* c) { lock_of(static_cast<hchan*>(c)).unlock(); }

// With the lock.
bool take(timer_chan* t, place to, std::int64_t now) {
  if (!t->pending || t->when > now) return false;
  std::int64_t value = t->when;  // when it was due, not when somebody looked
  if (t->period != 0) {
    t->when = next_on_grid(t->when, t->period, now);
  } else {
    t->pending = false;
  }
  if (to.put != nullptr) {
    move_elem(t->type, to, {&value, nullptr, nullptr});
  } else if (to.elem != nullptr) {
    std::memcpy(to.elem, &value, sizeof value);
  }
  return true;
}

// With the lock: all who wait look again.
void send_around(hchan* c, glist& all) {
  while (chan_sudog* sg = waitq::recv(c).claim()) all.push_back(finish(waitq::recv(c), sg, wait_result::woken));
}

}  // namespace

timer_chan* make_timer_chan(std::int64_t ns, std::int64_t period) {
  static_assert(alignof(timer_chan) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__, "free_chan gives it back to plain new");
  void* memory = ::operator new(sizeof(timer_chan));
  auto* t = ::new (memory) timer_chan{};
  t->closed = v0::detail::is_of_timer;
  t->buf = static_cast<unsigned char*>(memory) + sizeof(timer_chan);
  t->type = &v0::detail::type_of<std::int64_t>;
  t->refs = 1;
  t->when = later(now_for(getg()), ns);
  t->period = period;
  t->pending = true;
  return t;
}

bool timer_set(hchan* c, std::int64_t ns, std::int64_t period) {
  caller me(op::timer_reset, c);
  timer_chan* t = of(c);
  glist all;
  bool was;
  {
    mutex_guard guard(lock_of(c));
    was = t->pending;
    t->when = later(me.now(), ns);
    t->period = period;
    t->pending = true;
    send_around(c, all);
  }
  ready_all(me.self(), all);
  return was;
}

bool timer_clear(hchan* c) {
  // Nobody waits, which is the end of most timers: the channel is all that is touched, as on the fast paths of send and recv.
  if (!v0::detail::door_open() && waitq::recv(c).first() == nullptr && lock_of(c).try_lock()) {
    const bool alone = waitq::recv(c).first() == nullptr;
    bool was_pending = false;
    if (alone) was_pending = std::exchange(of(c)->pending, false);
    lock_of(c).unlock();
    if (alone) return was_pending;
  }
  caller me(op::timer_stop, c);
  timer_chan* t = of(c);
  glist all;
  bool was;
  {
    mutex_guard guard(lock_of(c));
    was = t->pending;
    t->pending = false;
    send_around(c, all);
  }
  ready_all(me.self(), all);
  return was;
}

std::int64_t timer_when(const hchan* c) {
  const auto* t = static_cast<const timer_chan*>(c);
  return t->pending ? t->when : no_timer;
}

attempt timer_now(hchan* c, void* to, v0::detail::elem_fn put) {
  return take(of(c), {to, put, nullptr}, now_for(getg())) ? attempt::done : attempt::nobody;
}

bool timer_try_recv(hchan* c, void* to, v0::detail::elem_fn put) {
  caller me;
  mutex_guard guard(lock_of(c));
  return take(of(c), {to, put, nullptr}, me.now());
}

bool timer_recv(hchan* c, void* to, v0::detail::elem_fn put) {
  caller me;
  for (;;) {
    lock_of(c).lock();
    const bool taken = take(of(c), {to, put, nullptr}, me.now());
    if (taken || me.cancelled()) {
      lock_of(c).unlock();
      return taken;
    }
    chan_sudog sg;
    sg.gp = me.waiter();
    sg.addr = c;
    sg.kind = wait_kind::chan;
    sg.elem = to;
    sg.put = put;
    sg.sends = false;
    waitq::recv(c).push_back(&sg);
    me.wait_until<unlock_chan>(sg, c, wait_reason::chan_receive, true, timer_when(c));
    if (sg.orphaned) [[unlikely]]
      v0::detail::chan_drop(c);
    if (sg.result == wait_result::cancelled) return false;
  }
}

}  // namespace weft::rt
