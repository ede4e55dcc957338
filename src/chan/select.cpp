// select: one of several channel operations, whichever can happen first (GO-BEHAVIOUR C2).
//
//   1  a look at all cases without locks; of those that seem ready one is drawn, and tried under its channel's lock alone
//   2  none: all channels are locked, in the order of their addresses, and looked at together. Go knows only this way; it
//      is what makes "nothing was ready" true at one moment for all cases at once
//   3  still none: a sudog in each channel, in an order that is drawn where one channel has several; the locks are given
//      back on the other side of the switch
//   4  whoever sets the token (model/hchan.hpp) has decided. Awake, the select takes its other sudogs off
//
//   A semaphore is a case like a channel, its bucket's lock like a channel's, taken after all of those; a select with one
//   begins with step 2. It queues for permits before it queues in channels: where one is free by then, it is the choice.
//   A time that has come is a case that is ready: with one, a select begins with step 2, too, and asks what time it is.
//
// Who    the locks of step 2 belong to the M until the park's commit gives them back, each once.
// State  select_wait.done: 0 while the select waits; 1 once somebody has decided, until it waits again.
// Order  select.locks   by address, channels before buckets, so that two selects over the same channels cannot hold one each.
//        select.gone    the commit's last unlock (release) / step 4's lock of that channel (acquire): the commit reads the
//                       list of channels in the select's frame until then, and the frame stays as long. The winner's channel
//                       needs no such look: its lock was free already when the winner took it.
// Never  read the frame after the commit's last unlock.
// Why    a draw among those that are ready, not a random order of all: one random number instead of n, and an exploration
//        has one decision to make where Go has a permutation.
// Checked by test/model/select_model.cpp, test/conformance/select_test.cpp, test/stress.
#include "weft/select.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/noise.hpp"
#include "chan/timer_chan.hpp"
#include "chan/transfer.hpp"
#include "model/process.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sync/semaphore.hpp"
#include "weft/error.hpp"

namespace weft::rt {
namespace {

using v0::select_case;
using v0::detail::case_kind;
using v0::detail::chosen;
using v0::detail::is_of_timer;
using v0::detail::npos;
using v0::detail::scase;

const scase& of(const select_case& c) { return v0::detail::access::of(c); }

place where(const scase& s, void* landing) {
  const v0::detail::case_ops& o = *s.ops;
  if (o.kind == case_kind::send || o.put != nullptr) return {s.elem, o.put, o.copy};
  return {o.finish != nullptr ? landing : nullptr, o.land, nullptr};
}

bool is_time(const scase& s) { return s.ops->kind >= case_kind::after; }
std::int64_t ns_of(const scase& s) { return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(s.elem)); }

// A case without a channel, as the select begins: whether its time has come.
bool is_due(const scase& s, const g* self) {
  return is_time(s) && ns_of(s) <= (s.ops->kind == case_kind::at ? now_for(self) : 0);
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

// The one of k ready ones that is drawn.
[[gnu::always_inline]] inline std::size_t draw_of(std::uint64_t ready_cases, std::uint32_t k, std::size_t n,
                                                  const g* self) {
  if (k > 1) {
    std::uint32_t skip = self != nullptr ? self->m->choose(site::select_case, k) : the_process.thread_choice(k);
    // All of them, which is common: no loop of a length that nobody can predict.
    if (k == n) return skip;
    for (; skip != 0; --skip) ready_cases &= ready_cases - 1;
  }
  return static_cast<std::size_t>(__builtin_ctzll(ready_cases));
}

// The same as draw, where some have no channel: times, which come by themselves, and nil.
[[gnu::noinline]] std::size_t draw_beside_times(const select_case* cases, std::size_t n, const g* self) {
  std::uint64_t ready_cases = 0;
  std::uint32_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (of(cases[i]).c == nullptr && is_due(of(cases[i]), self)) return npos;
    if (!looks_ready(of(cases[i]))) continue;
    ready_cases |= std::uint64_t{1} << i;
    ++k;
  }
  return k == 0 ? npos : draw_of(ready_cases, k, n, self);
}

// One of the cases that seem ready; npos: none does. More than there are bits for are looked at together, in step 2, and so are
// all when one of them is a time that has come.
std::size_t draw(const select_case* cases, std::size_t n, const g* self) {
  if (n > 64) return npos;
  std::uint64_t ready_cases = 0;
  std::uint32_t k = 0;
  for (std::size_t i = 0; i < n; ++i, ++cases) {
    // All over again, and from where the loop stands: so those that have only channels pay not one instruction for it.
    if (of(*cases).c == nullptr) [[unlikely]]
      return draw_beside_times(cases - i, n, self);
    const bool is_ready = looks_ready(of(*cases));
    ready_cases |= std::uint64_t{is_ready} << i;
    k += is_ready ? 1 : 0;
  }
  if (k == 0) return npos;
  return draw_of(ready_cases, k, n, self);
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
  sema_case* semas = nullptr;  // with semaphores only
  sema_bucket** buckets = nullptr;
};

bool acquires(const scase& s) { return s.ops->kind == case_kind::acquire; }
word64 word_of(const scase& s) { return word64(static_cast<std::uint64_t*>(s.elem)); }

// Semas: with semaphores among the cases. The others have nothing of them.
template <bool Semas>
class selecting {
 public:
  selecting(const select_case* cases, std::size_t n, void* landing, storage room)
      : cases_(cases), n_(n), landing_(landing), room_(room) {}

  chosen run(bool block, std::size_t drawn) {
    caller me;
    // A timer's channel always looks ready without its lock; so if all were looked at and none did, there is none.
    has_timers_ = Semas || drawn != npos || n_ > 64 || v0::detail::door_open();
    if (drawn != npos && try_drawn(me, drawn, block)) return chosen_;
    for (;;) {
      lock_all();
      if (has_times_ ? try_all_at(me, me.now()) : try_all(me)) return chosen_;
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
  bool seems_ready(std::size_t i) const {
    if constexpr (Semas) {
      if (acquires(at(i))) return sema_looks_free(word_of(at(i)));
    }
    return looks_ready(at(i));
  }

  // Case i, whose channel's lock is held. False: somebody was quicker.
  bool attempt_case(std::size_t i, g*& next) {
    const scase& s = at(i);
    if constexpr (Semas) {
      if (acquires(s)) {
        if (!sema_take(word_of(s))) return false;
        chosen_ = {i, true};
        return true;
      }
    }
    attempt a = s.ops->kind == case_kind::send ? send_now(s.c, where(s, landing_), next)
                                               : recv_now(s.c, where(s, landing_), next);
    if (a == attempt::closed && s.c->closed == is_of_timer) {
      const place to = where(s, landing_);
      a = timer_now(s.c, to.elem, to.put);
    }
    if (a == attempt::nobody) return false;
    chosen_ = {i, a == attempt::done};
    sent_to_closed_ = s.ops->kind == case_kind::send && a == attempt::closed;
    return true;
  }

  // Step 1, what is left of it: the case that was drawn. False: nothing happened.
  bool try_drawn(caller& me, std::size_t i, bool block) {
    const scase& s = at(i);
    if (s.ops->kind == case_kind::recv && is_drained(s.c) && s.c->closed != is_of_timer) {  // order: chan.closed
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
      for (std::size_t i = 0; i < n_; ++i) ready_cases += seems_ready(i) ? 1 : 0;
      if (ready_cases == 0) return false;
      std::uint32_t skip = ready_cases == 1 ? 0 : me.choose(site::select_case, ready_cases);
      for (std::size_t i = 0; i < n_; ++i) {
        if (!seems_ready(i) || skip-- != 0) continue;
        g* next = nullptr;
        bool happened;
        try {
          happened = attempt_case(i, next);
        } catch (...) {
          unlock_all(this);
          if (next != nullptr) ready(me.self(), next);
          throw;
        }
        // Only selects that had gone elsewhere waited there, and they are off the queue now; or a permit is gone, for which
        // nobody needs a lock; or it is a timer's.
        if (!happened && at(i).c != nullptr && at(i).c->closed == is_of_timer) return try_all_at(me, me.now());
        if (!happened) break;
        unlock_all(this);
        if (next != nullptr) ready(me.self(), next);
        return true;
      }
    }
  }

  // ---- time

  // When a case happens by itself; no_timer: it does not.
  std::int64_t when(const scase& s) const {
    if (s.c != nullptr) return s.c->closed == is_of_timer ? timer_when(s.c) : no_timer;
    if (!is_time(s)) return no_timer;
    return s.ops->kind == case_kind::at ? ns_of(s) : later(begun_, ns_of(s));
  }

  // Step 2 again, for cases that may be a matter of time: exact. With all locks, which it gives back if a case has happened.
  [[gnu::noinline]] bool try_all_at(caller& me, std::int64_t now) {
    if (begun_ == 0) begun_ = now;
    const auto is_ready = [&](const scase& s) {
      if constexpr (Semas) {
        if (acquires(s)) return sema_looks_free(word_of(s));
      }
      return s.c != nullptr && s.c->closed != is_of_timer ? looks_ready(s) : when(s) <= now;
    };
    for (;;) {
      std::uint32_t ready_cases = 0;
      for (std::size_t i = 0; i < n_; ++i) ready_cases += is_ready(at(i)) ? 1 : 0;
      if (ready_cases == 0) return false;
      std::uint32_t skip = ready_cases == 1 ? 0 : me.choose(site::select_case, ready_cases);
      // A permit that was free when they were counted may be gone by now: that word is not under any of our locks.
      std::size_t i = 0;
      while (i < n_ && (!is_ready(at(i)) || skip-- != 0)) ++i;
      if (i == n_) continue;
      if (at(i).c == nullptr && is_time(at(i))) {
        chosen_ = {i, true};
        unlock_all(this);
        return true;
      }
      g* next = nullptr;
      bool happened;
      try {
        happened = attempt_case(i, next);
      } catch (...) {
        unlock_all(this);
        if (next != nullptr) ready(me.self(), next);
        throw;
      }
      if (!happened) continue;  // as in try_all
      unlock_all(this);
      if (next != nullptr) ready(me.self(), next);
      return true;
    }
  }

  // The first time at which a case happens by itself.
  [[gnu::noinline, gnu::cold]] std::int64_t deadline() const {
    std::int64_t first = no_timer;
    for (std::size_t i = 0; i < n_; ++i) first = std::min(first, when(at(i)));
    return first;
  }

  void lock_all() {
    nlocks_ = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (at(i).c != nullptr) {
        room_.locks[nlocks_++] = at(i).c;
      } else {
        has_times_ = has_times_ || is_time(at(i));
      }
    }
    // The rare kind by another instance, so that the compiler goes on to inline this one, which has one use then.
    if constexpr (Semas) {
      std::sort(room_.locks, room_.locks + nlocks_, std::less<>());  // order: select.locks
    } else {
      std::sort(room_.locks, room_.locks + nlocks_);  // order: select.locks
    }
    nlocks_ = static_cast<std::size_t>(std::unique(room_.locks, room_.locks + nlocks_) - room_.locks);
    for (std::size_t i = 0; i < nlocks_; ++i) lock_of(room_.locks[i]).lock();  // order: select.locks
    if constexpr (Semas) lock_buckets();
  }

  void lock_buckets() {
    nbuckets_ = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (acquires(at(i))) room_.buckets[nbuckets_++] = &the_process.semas.bucket(at(i).elem);
    }
    std::sort(room_.buckets, room_.buckets + nbuckets_);  // order: select.locks
    nbuckets_ = static_cast<std::size_t>(std::unique(room_.buckets, room_.buckets + nbuckets_) - room_.buckets);
    for (std::size_t i = 0; i < nbuckets_; ++i) room_.buckets[i]->lock.lock();  // order: select.locks
  }

  // The park's commit, too: after the last unlock the select may be over, and this frame gone.
  static void unlock_all(void* self) {
    auto* s = static_cast<selecting*>(self);
    hchan** locks = s->room_.locks;
    if constexpr (Semas) {
      sema_bucket** buckets = s->room_.buckets;
      const std::size_t nlocks = s->nlocks_;
      const std::size_t nbuckets = s->nbuckets_;
      for (std::size_t i = 0; i < nlocks; ++i) lock_of(locks[i]).unlock();   // order: select.gone
      for (std::size_t i = 0; i < nbuckets; ++i) buckets[i]->lock.unlock();  // order: select.gone
    } else {
      for (std::size_t i = 0, n = s->nlocks_; i < n; ++i) lock_of(locks[i]).unlock();  // order: select.gone
    }
  }

  static void nothing_to_unlock(void*) {}

  // A partner that comes takes the first in its channel's queue: of several cases on one channel each must be as likely to
  // be that one.
  [[gnu::noinline, gnu::cold]] static void shuffle(caller& me, const select_wait& sel) {
    for (std::uint32_t i = sel.n - 1; i > 0; --i) {
      std::swap(sel.cases[i].index, sel.cases[me.choose(site::select_case, i + 1)].index);
    }
  }

  // The same for cases on one semaphore: a permit goes to the first of them in the queue. Not where only buckets are
  // shared: that is a matter of addresses, and a seed would not repeat it.
  [[gnu::noinline, gnu::cold]] void shuffle_semas(caller& me, std::size_t n) {
    sema_case* const first = room_.semas;
    bool twice = false;
    for (std::size_t i = 1; i < n && !twice; ++i) {
      twice = std::any_of(first, first + i, [&](const sema_case& s) { return s.addr == first[i].addr; });
    }
    if (!twice) return;
    for (std::size_t i = n - 1; i > 0; --i) {
      sema_case& other = first[me.choose(site::select_case, static_cast<std::uint32_t>(i + 1))];
      std::swap(first[i].index, other.index);
      std::swap(first[i].addr, other.addr);
    }
  }

  // For each semaphore: a sudog in its queue, or a permit after all; then none is left behind. True: a permit.
  bool queue_for_permits(caller& me, acquiring_wait& sel) {
    sel.semas = room_.semas;
    std::size_t n = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      if (!acquires(at(i))) continue;
      sema_case* sg = ::new (&room_.semas[n++]) sema_case;
      sg->gp = sel.gp;
      sg->addr = at(i).elem;
      sg->kind = wait_kind::acquiring_select;
      sg->index = static_cast<std::uint32_t>(i);
      sg->select = &sel;
    }
    if (nbuckets_ < n) [[unlikely]]
      shuffle_semas(me, n);
    for (; sel.nsemas < n; ++sel.nsemas) {
      sema_case* sg = &sel.semas[sel.nsemas];
      sema_bucket& b = the_process.semas.bucket(sg->addr);
      if (sema_take_or_queue(b, word_of(at(sg->index)), sg, me.ticket())) {
        for (std::uint32_t k = 0; k < sel.nsemas; ++k)
          sema_leave(the_process.semas.bucket(sel.semas[k].addr), &sel.semas[k]);
        chosen_ = {sg->index, true};
        return true;
      }
    }
    return false;
  }

  void leave_semaphores(acquiring_wait& sel) {
    for (std::uint32_t k = 0; k < sel.nsemas; ++k) {
      sema_case* sg = &sel.semas[k];
      if (sg == sel.won_sema) continue;
      sema_bucket& b = the_process.semas.bucket(sg->addr);
      mutex_guard guard(b.lock);  // order: select.gone
      sema_leave(b, sg);
    }
    if (sel.won_sema != nullptr) chosen_ = {sel.won_sema->index, true};
  }

  // Steps 3 and 4.
  wait_result wait(caller& me) {
    std::conditional_t<Semas, acquiring_wait, select_wait> sel;
    sel.gp = me.waiter();
    sel.addr = nullptr;
    sel.kind = Semas ? wait_kind::acquiring_select : wait_kind::select;
    sel.cases = room_.sudogs;
    if constexpr (Semas) {
      if (queue_for_permits(me, sel)) {
        unlock_all(this);
        return wait_result::handed;
      }
    }
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
    if (has_times_ || has_timers_) [[unlikely]] {
      const std::int64_t until = deadline();
      const wait_reason why =
          !Semas && sel.n == 0 && until == no_timer ? wait_reason::select_no_cases : wait_reason::select;
      // Without a lock to give back the commit must not look at this frame once the timer is armed.
      if (nlocks_ + nbuckets_ == 0) {
        me.wait_until<nothing_to_unlock>(sel, nullptr, why, true, until);
      } else {
        me.wait_until<unlock_all>(sel, this, why, true, until);
      }
    } else {
      me.wait<unlock_all>(sel, this, !Semas && sel.n == 0 ? wait_reason::select_no_cases : wait_reason::select, true);
    }
    for (std::uint32_t i = 0; i < sel.n; ++i) {
      chan_sudog* sg = &sel.cases[i];
      if (sg != sel.won) leave_queue(sg);  // order: select.gone
      if (sg->orphaned) [[unlikely]]
        v0::detail::chan_drop(sg->chan());
    }
    if constexpr (Semas) leave_semaphores(sel);
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
  std::size_t nbuckets_ = 0;
  chosen chosen_{npos, false};
  std::int64_t begun_ = 0;   // when it was known that the select takes time; 0: not yet
  bool has_times_ = false;   // cases that are times
  bool has_timers_ = false;  // perhaps, channels of timers
  bool cancelled_ = false;
  bool sent_to_closed_ = false;
};

[[noreturn, gnu::cold, gnu::noinline]] void unwind() { throw v0::cancelled(); }
[[noreturn, gnu::cold, gnu::noinline]] void send_on_closed() { throw v0::send_on_closed_channel(); }

template <bool Semas>
chosen select_with(const select_case* cases, std::size_t n, bool block, void* landing, std::size_t drawn,
                   storage room) {
  selecting<Semas> s(cases, n, landing, room);
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
  return select_with<false>(cases, n, block, landing, drawn, {reinterpret_cast<chan_sudog*>(sudogs), locks});
}

[[gnu::noinline]] chosen select_slow(const select_case* cases, std::size_t n, bool block, void* landing,
                                     std::size_t drawn) {
  if (n <= 4) return select_small<4>(cases, n, block, landing, drawn);
  if (n <= 64) return select_small<64>(cases, n, block, landing, drawn);
  const std::unique_ptr<hchan*[]> locks(new hchan*[n]);
  const std::unique_ptr<unsigned char[]> sudogs(new unsigned char[n * sizeof(chan_sudog)]);
  return select_with<false>(cases, n, block, landing, drawn,
                            {reinterpret_cast<chan_sudog*>(sudogs.get()), locks.get()});
}

template <std::size_t N>
[[gnu::noinline]] chosen select_acquiring_small(const select_case* cases, std::size_t n, bool block, void* landing) {
  hchan* locks[N];
  sema_bucket* buckets[N];
  alignas(chan_sudog) unsigned char sudogs[N * sizeof(chan_sudog)];
  alignas(sema_case) unsigned char semas[N * sizeof(sema_case)];
  return select_with<true>(
      cases, n, block, landing, npos,
      {reinterpret_cast<chan_sudog*>(sudogs), locks, reinterpret_cast<sema_case*>(semas), buckets});
}

[[gnu::noinline]] chosen select_acquiring(const select_case* cases, std::size_t n, bool block, void* landing) {
  if (n <= 4) return select_acquiring_small<4>(cases, n, block, landing);
  if (n <= 16) return select_acquiring_small<16>(cases, n, block, landing);
  if (n <= 64) return select_acquiring_small<64>(cases, n, block, landing);
  const std::unique_ptr<hchan*[]> locks(new hchan*[n]);
  const std::unique_ptr<sema_bucket*[]> buckets(new sema_bucket*[n]);
  const std::unique_ptr<unsigned char[]> sudogs(new unsigned char[n * sizeof(chan_sudog)]);
  const std::unique_ptr<unsigned char[]> semas(new unsigned char[n * sizeof(sema_case)]);
  return select_with<true>(cases, n, block, landing, npos,
                           {reinterpret_cast<chan_sudog*>(sudogs.get()), locks.get(),
                            reinterpret_cast<sema_case*>(semas.get()), buckets.get()});
}

const void* object_of(const scase& s) { return s.c != nullptr ? s.c : s.elem; }

// An exploration's scheduling point names the first channel, or semaphore; the choice among those that are ready is the
// exploration's.
const void* first_channel(const select_case* cases, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (of(cases[i]).c != nullptr) return of(cases[i]).c;
    if (acquires(of(cases[i]))) return of(cases[i]).elem;
  }
  return nullptr;
}

[[gnu::noinline, gnu::cold]] chosen explored_select(const select_case* cases, std::size_t n, bool block, void* landing,
                                                    bool acquiring) {
  const op what = block ? op::select : op::try_select;
  step(what, first_channel(cases, n));
  const chosen c = acquiring ? select_acquiring(cases, n, block, landing) : select_slow(cases, n, block, landing, npos);
  stepped(what, c.index == npos ? nullptr : object_of(of(cases[c.index])), c.index != npos);
  return c;
}

[[gnu::always_inline]] inline chosen select_on(const select_case* cases, std::size_t n, bool block, void* landing) {
  if (v0::detail::door_open()) [[unlikely]]
    return explored_select(cases, n, block, landing, false);
  const std::size_t drawn = draw(cases, n, getg());
  if (drawn != npos && by_buffer(of(cases[drawn]), landing)) return {drawn, true};
  return select_slow(cases, n, block, landing, drawn);
}

// Values too large for the caller's landing, and semaphores.
[[gnu::noinline]] chosen select_and_finish(const select_case* cases, std::size_t n, bool block) {
  alignas(v0::detail::largest_landing_align) unsigned char landing[v0::detail::largest_landing];
  chosen c;
  if (std::any_of(cases, cases + n, [](const select_case& s) { return acquires(of(s)); })) {
    c = v0::detail::door_open() ? explored_select(cases, n, block, landing, true)
                                : select_acquiring(cases, n, block, landing);
  } else {
    c = select_on(cases, n, block, landing);
  }
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
