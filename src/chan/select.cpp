// select: one of several channel operations, whichever can happen first (GO-BEHAVIOUR C2).
//
//   1  a look at all cases without locks; of those that seem ready one is drawn, and tried under its channel's lock alone
//   2  none: all channels are locked, in the order of their addresses, and looked at together. Go knows only this way; it
//      is what makes "nothing was ready" true at one moment for all cases at once
//   3  still none: a sudog in each channel, in an order that is drawn where one channel has several; the locks are given
//      back on the other side of the switch
//   4  whoever sets the token (model/hchan.hpp) has decided. Awake, the select takes its other sudogs off
//
// Who    the locks of step 2 belong to the M until the park's commit gives them back, each once.
// State  select_wait.done: 0 while the select waits; 1 once somebody has decided, until it waits again.
// Order  select.locks   by address, so that two selects over the same channels cannot hold one each.
//        select.gone    the commit's last unlock (release) / step 4's lock of that channel (acquire): the commit reads the
//                       list of channels in the select's frame until then, and the frame stays as long. The winner's channel
//                       needs no such look: its lock was free already when the winner took it.
// Never  read the frame after the commit's last unlock.
// Why    a draw among those that are ready, not a random order of all: one random number instead of n, and an exploration
//        has one decision to make where Go has a permutation.
// Checked by test/model/select_model.cpp, test/conformance/select_test.cpp, test/stress.
#include "weft/select.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/noise.hpp"
#include "chan/transfer.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

using v0::select_case;
using v0::detail::case_kind;
using v0::detail::chosen;
using v0::detail::npos;
using v0::detail::scase;

const scase& of(const select_case& c) { return v0::detail::access::of(c); }

place where(const scase& s, void* landing) {
  const v0::detail::case_ops& o = *s.ops;
  if (o.kind == case_kind::send || o.put != nullptr) return {s.elem, o.put, o.copy};
  return {o.finish != nullptr ? landing : nullptr, o.land, nullptr};
}

// Without a branch per question: which of them says yes is what a select cannot know.
[[gnu::always_inline]] inline bool looks_ready(const scase& s) {
  const hchan* c = s.c;
  if (c == nullptr) return false;
  const std::uint64_t closed = __atomic_load_n(&c->closed, __ATOMIC_RELAXED);
  const std::uint64_t n = __atomic_load_n(&c->qcount, __ATOMIC_RELAXED);
  if (s.ops->kind == case_kind::send) {
    return (closed | (c->dataqsiz - n) | reinterpret_cast<std::uintptr_t>(waitq::first_of(c->recvq_first))) != 0;
  }
  return (closed | n | reinterpret_cast<std::uintptr_t>(waitq::first_of(c->sendq_first))) != 0;
}

// One of the cases that seem ready; npos: none does. More than there are bits for are looked at together, in step 2.
std::size_t draw(const select_case* cases, std::size_t n, const g* self) {
  if (n > 64) return npos;
  std::uint64_t ready_cases = 0;
  std::uint32_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const bool is_ready = looks_ready(of(cases[i]));
    ready_cases |= std::uint64_t{is_ready} << i;
    k += is_ready ? 1 : 0;
  }
  if (k == 0) return npos;
  if (k > 1) {
    std::uint32_t skip = self != nullptr ? self->m->choose(site::select_case, k) : the_process.thread_choice(k);
    // All of them, which is common: no loop of a length that nobody can predict.
    if (k == n) return skip;
    for (; skip != 0; --skip) ready_cases &= ready_cases - 1;
  }
  return static_cast<std::size_t>(__builtin_ctzll(ready_cases));
}

// A case that needs no more than the buffer, of elements that are plain bytes: outside the door, as send and recv do it
// inline. False: nothing happened.
bool by_buffer(const scase& s, void* landing) {
  hchan* c = s.c;
  if (c->type->construct != nullptr || s.ops->put != nullptr) return false;
  if (s.ops->kind == case_kind::send) {
    if (!v0::detail::has_room(c) || !lock_of(c).try_lock()) return false;
    const bool happens = v0::detail::has_room(c);
    if (happens) put_last(c, {s.elem, nullptr, nullptr});
    lock_of(c).unlock();
    return happens;
  }
  if (!v0::detail::has_value(c) || !lock_of(c).try_lock()) return false;
  const bool happens = v0::detail::has_value(c);
  if (happens) {
    if (s.ops->finish != nullptr) copy_bytes(landing, slot(c, c->recvx), c->type->size);
    c->recvx = after(c, c->recvx);
    set_count(c, c->qcount - 1);
  }
  lock_of(c).unlock();
  return happens;
}

// What the select needs while it waits, for so many cases.
struct storage {
  chan_sudog* sudogs;
  hchan** locks;
};

class selecting {
 public:
  selecting(const select_case* cases, std::size_t n, void* landing, storage room)
      : cases_(cases), n_(n), landing_(landing), room_(room) {}

  chosen run(bool block, std::size_t drawn) {
    caller me;
    if (drawn != npos && try_drawn(me, drawn, block)) return chosen_;
    for (;;) {
      lock_all();
      if (try_all(me)) return chosen_;
      if (!block || me.cancelled()) {
        unlock_all(this);
        cancelled_ = block;
        return {npos, false};
      }
      switch (wait(me)) {
        case wait_result::handed:
        case wait_result::closed: return chosen_;
        case wait_result::cancelled: cancelled_ = true; return {npos, false};
        default: break;
      }
    }
  }

  bool cancelled() const { return cancelled_; }
  bool sent_to_closed() const { return sent_to_closed_; }

 private:
  const scase& at(std::size_t i) const { return of(cases_[i]); }

  // Case i, whose channel's lock is held. False: somebody was quicker.
  bool attempt_case(std::size_t i, g*& next) {
    const scase& s = at(i);
    const attempt a = s.ops->kind == case_kind::send ? send_now(s.c, where(s, landing_), next)
                                                     : recv_now(s.c, where(s, landing_), next);
    if (a == attempt::nobody) return false;
    chosen_ = {i, a == attempt::done};
    sent_to_closed_ = s.ops->kind == case_kind::send && a == attempt::closed;
    return true;
  }

  // Step 1, what is left of it: the case that was drawn. False: nothing happened.
  bool try_drawn(caller& me, std::size_t i, bool block) {
    const scase& s = at(i);
    if (s.ops->kind == case_kind::recv && is_drained(s.c)) {  // order: chan.closed
      chosen_ = {i, false};
      return true;
    }
    g* next = nullptr;
    bool happened;
    lock_chan(me.self(), s.c, block);
    try {
      happened = attempt_case(i, next);
    } catch (...) {
      lock_of(s.c).unlock();
      if (next != nullptr) ready(me.self(), next);
      throw;
    }
    lock_of(s.c).unlock();
    if (next != nullptr) ready(me.self(), next);
    return happened;
  }

  // Step 2, with all locks, which it gives back if a case has happened.
  bool try_all(caller& me) {
    for (;;) {
      std::uint32_t ready_cases = 0;
      for (std::size_t i = 0; i < n_; ++i) ready_cases += looks_ready(at(i)) ? 1 : 0;
      if (ready_cases == 0) return false;
      std::uint32_t skip = ready_cases == 1 ? 0 : me.choose(site::select_case, ready_cases);
      for (std::size_t i = 0; i < n_; ++i) {
        if (!looks_ready(at(i)) || skip-- != 0) continue;
        g* next = nullptr;
        bool happened;
        try {
          happened = attempt_case(i, next);
        } catch (...) {
          unlock_all(this);
          if (next != nullptr) ready(me.self(), next);
          throw;
        }
        if (!happened) break;  // only selects that had gone elsewhere waited there; they are off the queue now
        unlock_all(this);
        if (next != nullptr) ready(me.self(), next);
        return true;
      }
    }
  }

  void lock_all() {
    nlocks_ = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (at(i).c != nullptr) room_.locks[nlocks_++] = at(i).c;
    }
    std::sort(room_.locks, room_.locks + nlocks_);  // order: select.locks
    nlocks_ = static_cast<std::size_t>(std::unique(room_.locks, room_.locks + nlocks_) - room_.locks);
    for (std::size_t i = 0; i < nlocks_; ++i) lock_of(room_.locks[i]).lock();  // order: select.locks
  }

  // The park's commit, too: after the last unlock the select may be over, and this frame gone.
  static void unlock_all(void* self) {
    auto* s = static_cast<selecting*>(self);
    hchan** locks = s->room_.locks;
    for (std::size_t i = 0, n = s->nlocks_; i < n; ++i) lock_of(locks[i]).unlock();  // order: select.gone
  }

  // A partner that comes takes the first in its channel's queue: of several cases on one channel each must be as likely to
  // be that one.
  [[gnu::noinline, gnu::cold]] static void shuffle(caller& me, const select_wait& sel) {
    for (std::uint32_t i = sel.n - 1; i > 0; --i) {
      std::swap(sel.cases[i].index, sel.cases[me.choose(site::select_case, i + 1)].index);
    }
  }

  // Steps 3 and 4.
  wait_result wait(caller& me) {
    select_wait sel;
    sel.gp = me.waiter();
    sel.addr = nullptr;
    sel.kind = wait_kind::select;
    sel.cases = room_.sudogs;
    for (std::size_t i = 0; i < n_; ++i) {
      if (at(i).c != nullptr) (::new (&room_.sudogs[sel.n++]) chan_sudog)->index = static_cast<std::uint32_t>(i);
    }
    if (nlocks_ < sel.n) [[unlikely]]
      shuffle(me, sel);
    for (std::uint32_t i = 0; i < sel.n; ++i) {
      chan_sudog* sg = &sel.cases[i];
      const scase& s = at(sg->index);
      const place p = where(s, landing_);
      sg->gp = sel.gp;
      sg->addr = s.c;
      sg->kind = wait_kind::select;
      sg->elem = p.elem;
      sg->put = p.put;
      sg->copy = p.copy;
      sg->sends = s.ops->kind == case_kind::send;
      sg->select = &sel;
      (sg->sends ? waitq::send(s.c) : waitq::recv(s.c)).push_back(sg);
    }
    me.wait<unlock_all>(sel, this, sel.n == 0 ? wait_reason::select_no_cases : wait_reason::select, true);
    for (std::uint32_t i = 0; i < sel.n; ++i) {
      chan_sudog* sg = &sel.cases[i];
      if (sg != sel.won) leave_queue(sg);  // order: select.gone
      if (sg->orphaned) [[unlikely]]
        v0::detail::chan_drop(sg->chan());
    }
    if (sel.won != nullptr) {
      chosen_ = {sel.won->index, sel.result == wait_result::handed};
      sent_to_closed_ = sel.won->sends && sel.result == wait_result::closed;
    }
    return sel.result;
  }

  const select_case* cases_;
  std::size_t n_;
  void* landing_;
  storage room_;
  std::size_t nlocks_ = 0;
  chosen chosen_{npos, false};
  bool cancelled_ = false;
  bool sent_to_closed_ = false;
};

[[noreturn, gnu::cold, gnu::noinline]] void unwind() { throw v0::cancelled(); }
[[noreturn, gnu::cold, gnu::noinline]] void send_on_closed() { throw v0::send_on_closed_channel(); }

chosen select_with(const select_case* cases, std::size_t n, bool block, void* landing, std::size_t drawn,
                   storage room) {
  selecting s(cases, n, landing, room);
  const chosen c = s.run(block, drawn);
  if (s.cancelled()) [[unlikely]]
    unwind();
  if (s.sent_to_closed()) [[unlikely]]
    send_on_closed();
  return c;
}

template <std::size_t N>
[[gnu::noinline]] chosen select_small(const select_case* cases, std::size_t n, bool block, void* landing,
                                      std::size_t drawn) {
  hchan* locks[N];
  alignas(chan_sudog) unsigned char sudogs[N * sizeof(chan_sudog)];  // made when it waits
  return select_with(cases, n, block, landing, drawn, {reinterpret_cast<chan_sudog*>(sudogs), locks});
}

[[gnu::noinline]] chosen select_slow(const select_case* cases, std::size_t n, bool block, void* landing,
                                     std::size_t drawn) {
  if (n <= 4) return select_small<4>(cases, n, block, landing, drawn);
  if (n <= 64) return select_small<64>(cases, n, block, landing, drawn);
  const std::unique_ptr<hchan*[]> locks(new hchan*[n]);
  const std::unique_ptr<unsigned char[]> sudogs(new unsigned char[n * sizeof(chan_sudog)]);
  return select_with(cases, n, block, landing, drawn, {reinterpret_cast<chan_sudog*>(sudogs.get()), locks.get()});
}

// An exploration's scheduling point names the first channel; the choice among those that are ready is the exploration's.
const void* first_channel(const select_case* cases, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (of(cases[i]).c != nullptr) return of(cases[i]).c;
  }
  return nullptr;
}

[[gnu::noinline, gnu::cold]] chosen explored_select(const select_case* cases, std::size_t n, bool block,
                                                    void* landing) {
  const op what = block ? op::select : op::try_select;
  step(what, first_channel(cases, n));
  const chosen c = select_slow(cases, n, block, landing, npos);
  stepped(what, c.index == npos ? nullptr : of(cases[c.index]).c, c.index != npos);
  return c;
}

[[gnu::always_inline]] inline chosen select_on(const select_case* cases, std::size_t n, bool block, void* landing) {
  if (v0::detail::door_open()) [[unlikely]]
    return explored_select(cases, n, block, landing);
  const std::size_t drawn = draw(cases, n, getg());
  if (drawn != npos && by_buffer(of(cases[drawn]), landing)) return {drawn, true};
  return select_slow(cases, n, block, landing, drawn);
}

// Values too large for the caller's landing.
[[gnu::noinline]] chosen select_and_finish(const select_case* cases, std::size_t n, bool block) {
  alignas(v0::detail::largest_landing_align) unsigned char landing[v0::detail::largest_landing];
  chosen c = select_on(cases, n, block, landing);
  if (c.index == npos) return c;
  const scase& s = of(cases[c.index]);
  if (s.ops->finish != nullptr) s.ops->finish(s.elem, landing, c.received);
  c.finished = true;
  return c;
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

chosen select_go(const select_case* cases, std::size_t n, bool block, void* landing) {
  if (landing == nullptr) [[unlikely]]
    return rt::select_and_finish(cases, n, block);
  return rt::select_on(cases, n, block, landing);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
