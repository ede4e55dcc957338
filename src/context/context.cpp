// context: Go's tree of contexts (GO-BEHAVIOUR C6).
//
//   value_node (weft/context.hpp), apart_node   say something about values only
//   canceler      can be cancelled; knows those below it that can be, and functions that wait for its end, in one list
//   extras.obeys  a goroutine under a context obeys the scope of its nearest canceler (sched/cancel.hpp)
//
// Who    a canceler's list, done channel, stop source, error and cause: under its lock, scope.lock. Its links in the list that
//        it is in: under the lock of `up`. Error and cause do not change once scope.state is not open, and are read then.
// State  scope.state  open ─▶ closing ─▶ done   by whoever cancels, which exactly one does. In between the done channel is
//        closed; there is no scheduling point there, and err() waits that moment out: nobody sees the one without the other.
//        settling     1 from then on until all below are done, 0 before and after: who comes second waits for that
//
//   cancel(root)   mark root: error, closing; close its channel; done
//                  take up to 64 from its list, marking each with both locks held; close their channels; unlock
//                  those that have something below them likewise, depth first, by their links: no recursion
//                  members of each, functions, stop callbacks: when no lock is held
//
// Order  context.done   error, cause, then state (release) / err(), cause(): state (acquire)
//        context.tree   a child: parent locked, its state looked at, then linked / cancel: state, with the lock, then the list.
//                       So a child that comes too late sees that, and is born cancelled.
//        context.share  refs: see `share_word`. Who takes one off a list, or lets it go, has the lock of that list.
// Never  call what is not the runtime's with a lock held, or before the root is settled: it may cancel the same context, and
//        would wait for itself. What a walk lets go of may be the last share of a value, so it goes in `finish`.
//        Lock a context's list while holding that of one below it; a deadline's lock comes before all lists.
// Why    a parent has no share of those below it, which have one of theirs: so who drops a context frees it, without waiting for
//        its parent. But a done channel that somebody still has, or a function that waits, must see the end all the same: then
//        the last share goes to the list that it is in, its timer, or its stop callback (`owned`), and its own share of the
//        parent is given up, so that none keeps the other. Who takes an owned one off its list must see to `up`, which
//        nothing keeps from then on: a walk, which has a share of it, gives one back. A timer leaves it in the list (`lent`),
//        where a walk of `up` must find it, to wait for its end; it takes it off, and makes it a root, when that has come. If
//        `up` goes before, it makes it a root.
//        Nobody hears that the last done channel of an owned one has gone: whoever leaves another to the same list looks at
//        some of those in it (`sweep`), so that a list is at most about twice as long as what is alive in it.
// Checked by test/model/context_model.cpp, test/conformance/context_test.cpp, test/unit/context.
#include "weft/context.hpp"

#include <climits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "chan/close.hpp"
#include "context/canceler.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/callback_timer.hpp"
#include "sched/cancel.hpp"
#include "sched/enter.hpp"
#include "sched/exploration.hpp"
#include "sched/extras.hpp"
#include "sched/park.hpp"
#include "weft/error.hpp"
#include "weft/lock_os_thread.hpp"
#include "weft/this_goroutine.hpp"
#include "weft/wait_group.hpp"

namespace weft::rt {
namespace {

using v0::detail::after_func_node;
using v0::detail::context_drop;
using v0::detail::context_hold;
using v0::detail::context_node;
using v0::detail::context_ops;

constexpr int no_error = 0;
constexpr int canceled = static_cast<int>(v0::context_errc::canceled);

constexpr int exceeded = static_cast<int>(v0::context_errc::deadline_exceeded);

constexpr std::int64_t retry_ns = 1'000'000;
constexpr std::uint32_t children_at_once = 64;
constexpr std::uint64_t one_settles = std::uint64_t{1}
                                      << 32;  // a wait_group's word (src/sync/wait_group.cpp): a count of one

// Somebody that is to hear of a canceler's end: a canceler, or a function.
struct child {
  child* next = nullptr;
  child* prev = nullptr;
  after_func_node* func = nullptr;  // null: a canceler
  bool linked = false;              // token: in the list
};
static_assert(sizeof(child) <= sizeof after_func_node::link);

child* link_of(after_func_node* f) { return std::launder(reinterpret_cast<child*>(f->link)); }

struct from_token;
struct deadline;

struct canceler : context_node, child {
  scope s;
  child* list = nullptr;
  child* swept = nullptr;  // where the next sweep of the list begins; null: in front
  // Lives as long as this is linked, or has a share of its parent; null: nobody above. Linked without one: it was owned, and
  // its timer may have lent it itself (`share_of`); then `up` is looked at under the deadline's lock.
  canceler* up = nullptr;
  hchan* done = nullptr;  // a share; written with the lock, read without
  std::stop_source* stop = nullptr;
  from_token* from = nullptr;
  deadline* timer = nullptr;  // a share, until this is destroyed; set with the lock, before it is not open
  bool has_deadline = false;
  std::int64_t at = 0;             // with has_deadline
  std::exception_ptr at_deadline;  // the cause then
  int err = no_error;
  bool cause_above = false;  // the cause is that of `up`
  bool theirs = false;       // of a walk: somebody else cancels it
  std::exception_ptr cause;
  std::uint64_t settling = 0;
  canceler* stop_next = nullptr;  // of a walk: those whose stop callbacks are to be called
};

canceler* canceler_of(const context_node* n) { return n == nullptr ? nullptr : static_cast<canceler*>(n->nearest); }
bool is_open(const canceler* n) { return n->s.state.load(relaxed) == scope_state::open; }

// The caller, inside the door if it is a goroutine. As `caller` (sched/park.hpp), but no place to give way: between closing
// and done there must be none.
class inside {
 public:
  inside() : self_(getg()) {
    if (self_ != nullptr) door_in(self_);
  }
  ~inside() {
    if (self_ != nullptr) door_out(self_->m);
  }
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;
  g* self() const { return self_; }

 private:
  g* self_;
};

// share_word: refs of a canceler, beyond the count of shares.
//
//   n ── the last share goes: whoever let it go will `leave` ──▶ 0 ─┬─ leave: nobody can see its end ──▶ gone, destroyed
//                                                                   ├─ leave: somebody can ──▶ owned ── take_share ──▶ 1
//                                                                   └─ take_share ──▶ over | 1: leave comes later
//   over | n ── leave ─┬─ n > 0 ──▶ n    somebody else lets go of it in the end
//                      └─ n == 0 ─▶ 0    and goes on as there
//
// Who    owned ─▶ 1, owned ─▶ gone: of one that is in a list with that list's lock held; else its timer or its callback, one of
//        which it has then, and nobody.
// Why    bits of the same word, so that a take that comes between the last share and whoever let it go needs no lock that
//        both know: a root has none. As long as `over` is there nobody else frees it, so `leave` finds it alive.
namespace share_word {
constexpr std::uint64_t over = std::uint64_t{1} << 63;
constexpr std::uint64_t owned = std::uint64_t{1} << 62;
constexpr std::uint64_t gone = std::uint64_t{1} << 61;
}  // namespace share_word

bool is_owned(const canceler* n) { return __atomic_load_n(&n->refs, __ATOMIC_RELAXED) == share_word::owned; }

bool swap_refs(canceler* n, std::uint64_t& seen, std::uint64_t to) {
  return __atomic_compare_exchange_n(&n->refs, &seen, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

// A share of one that a list, with its lock held, has led to; or a timer or a callback, which whoever destroys it waits for.
// False: it is gone.
bool take_share(canceler* n) {
  std::uint64_t refs = __atomic_load_n(&n->refs, __ATOMIC_ACQUIRE);
  for (;;) {
    if (refs == share_word::gone) return false;
    if (refs == share_word::owned) {
      if (swap_refs(n, refs, 1)) return true;
    } else if (swap_refs(n, refs, refs == 0 ? share_word::over | 1 : refs + 1)) {  // order: context.share
      return true;
    }
  }
}

// ---- the list of a canceler, its lock held

void link(canceler* up, child* c) {
  c->prev = nullptr;
  c->next = up->list;
  if (c->next != nullptr) c->next->prev = c;
  up->list = c;
  c->linked = true;
}

void unlink(canceler* up, child* c) {
  if (c->prev != nullptr) {
    c->prev->next = c->next;
  } else {
    up->list = c->next;
  }
  if (c->next != nullptr) c->next->prev = c->prev;
  if (up->swept == c) up->swept = c->next;
  c->linked = false;
}

// Of one that is being destroyed. A canceler in its list has no share of it any more, so it is owned; from here on its timer,
// which may wait for this lock, finds nothing to take. Or that has it already: `lent`, with a share.
child* take_first(canceler* up, bool& lent) {
  inside here;
  mutex_guard guard(up->s.lock);
  lent = false;
  child* c = up->list;
  if (c == nullptr) return nullptr;
  unlink(up, c);
  if (c->func != nullptr) return c;
  auto* n = static_cast<canceler*>(c);
  lent = !is_owned(n);
  if (lent) {
    take_share(n);
  } else {
    __atomic_store_n(&n->refs, share_word::gone, __ATOMIC_RELEASE);
  }
  return c;
}

// ---- how one goes

struct from_token {
  struct fire {
    canceler* n;
    void operator()() const;
  };
  canceler* n;
  std::stop_token token;
  std::stop_callback<fire> callback{token, fire{n}};

  from_token(const std::stop_token& of, canceler* whose) : n(whose), token(of) {}
};

// What a walk has met and may not do before it is over.
struct aftermath {
  canceler* stops = nullptr;
  child* funcs = nullptr;
  child* drops = nullptr;  // cancelers, a share of each

  bool empty() const { return stops == nullptr && funcs == nullptr && drops == nullptr; }
};
void finish_apart(aftermath& later);

// deadline: what joins a canceler and its timer, each of which may end first.
//
// Who    `n`: under `lock`, which comes before the lock of n's `up`. Null once n is cancelled or gone.
// State  two shares: the canceler's, until it is destroyed; the timer's, until it has called or was stopped.
// Why    a timer that had a share of the canceler would keep what everybody has forgotten until its time.
struct deadline {
  static void fire(g* self, void* arg, std::uint64_t, std::int64_t when);
  static void drop_timer(void* arg, std::uint64_t seq);
  static void come(deadline* d);
  static void come_outside(deadline* d);
  static constexpr timer_ops ops{fire, drop_timer};

  static void drop(deadline* d) {
    if (d->refs.fetch_sub(1, acq_rel) == 1) delete d;
  }

  // The timer's, and one of the canceler, or none: given back also when a function unwinds.
  struct shares {
    deadline* d;
    canceler* n;
    ~shares() {
      const v0::no_cancel uninterrupted;  // destructors of values
      context_drop(n);
      drop(d);
    }
  };

  explicit deadline(canceler* of) : n(of) {}

  static void go_on(void* arg);

  callback_timer timer{&ops, this};
  mutex lock;
  canceler* n;
  canceler* ended = nullptr;  // what the keeper leaves to a thread apart: a share
  aftermath later;            // and what is to be called there
  atomic<std::uint32_t> refs{2};
};

// The canceler's side: from here on its timer does nothing to it, and has left the list of `up` alone. Any number of times.
// Inside the door, or on a plain thread.
void cut(canceler* n) {
  deadline* d = n->timer;
  if (d == nullptr) return;
  {
    mutex_guard guard(d->lock);
    d->n = nullptr;
  }
  if (d->timer.stop()) deadline::drop(d);
}

// One that was lent, and is off the list of `up`, which goes: with a share that is given back.
void make_root(canceler* n) {
  {
    inside here;
    mutex_guard guard(n->timer->lock);
    n->up = nullptr;
  }
  context_drop(n);
}

// Those linked by `next` are gone: nobody has a share, and no list has them. All that is left in the list of each is that
// list's alone. What they were below is still there.
void destroy(child* todo) {
  for (child* c = todo; c != nullptr; c = c->next) {
    inside here;
    cut(static_cast<canceler*>(c));
  }
  while (todo != nullptr) {
    auto* n = static_cast<canceler*>(todo);
    todo = todo->next;
    delete n->from;  // waits for it, if it runs elsewhere
    // A timer of one below may be about to look at n for it; once it is cut, or a root, it will not.
    bool lent = false;
    while (child* c = take_first(n, lent)) {
      if (c->func != nullptr) {
        v0::detail::after_func_drop(c->func);
        continue;
      }
      if (lent) {
        make_root(static_cast<canceler*>(c));
        continue;
      }
      {
        inside here;
        cut(static_cast<canceler*>(c));
      }
      c->next = todo;
      todo = c;
    }
    v0::detail::chan_drop(n->done);
    delete n->stop;
    if (n->timer != nullptr) deadline::drop(n->timer);
    delete n;
  }
}

// Whether somebody can see what becomes of a context of which nobody has a handle. Of stop tokens nobody can tell whether
// there are any left. That the channel's other shares have gone is no more than a hint: whoever gives up the last one, perhaps
// the caller, sees all that was done with it (chan_drop).
bool is_observed(canceler* n) {
  mutex_guard guard(n->s.lock);
  return n->list != nullptr || n->stop != nullptr ||
         (n->done != nullptr && __atomic_load_n(&n->done->refs, __ATOMIC_RELAXED) > 1);
}

// Whether anything but itself can still cancel it.
bool may_be_cancelled(const canceler* n) {
  return is_open(n) && (n->linked || (n->up == nullptr &&
                                      (n->timer != nullptr || (n->from != nullptr && n->from->token.stop_possible()))));
}

enum class fate { overtaken, owned, gone };

// The last share of n has gone by the caller, who has the lock of the list that n is in. `parent`: the share that goes with
// it, unless it was overtaken.
fate leave(canceler* n, context_node*& parent) {
  std::uint64_t refs = __atomic_load_n(&n->refs, __ATOMIC_ACQUIRE);
  for (;;) {
    if (refs != 0) {  // order: context.share
      if (swap_refs(n, refs, refs - share_word::over)) {
        refs -= share_word::over;
        if (refs != 0) return fate::overtaken;
      }
      continue;
    }
    const bool keep = may_be_cancelled(n) && is_observed(n);
    parent = n->parent;
    // Before the word: from then on it is another's.
    if (keep) n->parent = nullptr;
    if (swap_refs(n, refs, keep ? share_word::owned : share_word::gone)) return keep ? fate::owned : fate::gone;
    n->parent = parent;
  }
}

constexpr std::uint32_t swept_at_once = 4;

// With the lock of up's list: some of those in it that are owned, and that nobody can see any more. By their `next`.
child* sweep(canceler* up) {
  child* forgotten = nullptr;
  for (std::uint32_t i = 0; i < swept_at_once; ++i) {
    child* c = up->swept != nullptr ? up->swept : up->list;
    if (c == nullptr) break;
    up->swept = c->next;
    if (c->func != nullptr) continue;
    auto* n = static_cast<canceler*>(c);
    if (!is_owned(n) || is_observed(n)) continue;
    unlink(up, c);
    __atomic_store_n(&n->refs, share_word::gone, __ATOMIC_RELEASE);
    c->next = forgotten;
    forgotten = c;
  }
  return forgotten;
}

context_node* last_share_gone(context_node* base) noexcept {
  auto* n = static_cast<canceler*>(base);
  context_node* parent = nullptr;
  child* forgotten = nullptr;
  fate f{};
  {
    inside here;
    if (canceler* up = n->up) {
      mutex_guard guard(up->s.lock);
      f = leave(n, parent);
      if (f == fate::owned) forgotten = sweep(up);
      if (f == fate::gone && n->linked) unlink(up, n);
    } else {
      f = leave(n, parent);
    }
  }
  if (f == fate::overtaken) return nullptr;
  if (f == fate::gone) {
    n->next = nullptr;
    forgotten = n;
  }
  destroy(forgotten);
  return parent;
}

constexpr context_ops canceler_ops{last_share_gone, [](const context_node*, const std::type_info&, const void*) {
                                     return static_cast<const void*>(nullptr);
                                   }};

struct apart_node : context_node {};
constexpr context_ops apart_ops{[](context_node* n) noexcept {
                                  context_node* parent = n->parent;
                                  delete static_cast<apart_node*>(n);
                                  return parent;
                                },
                                canceler_ops.find};

// ---- cancelling

// n's lock is held, and it is open. Whether there is more to it than the state.
bool mark(canceler* n, int err) {
  n->err = err;
  const bool more = n->done != nullptr || n->timer != nullptr || n->stop != nullptr || n->s.members != nullptr ||
                    n->list != nullptr || is_owned(n);
  if (more) n->settling = one_settles;
  n->s.state.store(more ? scope_state::closing : scope_state::done, release);  // order: context.done
  return more;
}

// Inside the door, where it stays until n is done.
void close_done(canceler* n, glist& waiters) {
  if (hchan* c = __atomic_load_n(&n->done, __ATOMIC_ACQUIRE)) close_quietly(c, waiters);
  n->s.state.store(scope_state::done, release);  // order: context.done
}

// With no lock, outside the door. n is done.
void tell(canceler* n, aftermath& later) {
  {
    inside here;
    cut(n);
  }
  cancel_members(&n->s);
  if (n->stop == nullptr) return;
  context_hold(n);
  n->stop_next = later.stops;
  later.stops = n;
}

// Some of those below p, which is done: marked, and closed. `chain` gets those that there is more to, or that somebody else
// cancels, by their `next`, with a share each. False: there was none left.
bool take_some(canceler* p, aftermath& later, child*& chain) {
  inside here;
  chain = nullptr;
  glist waiters;
  {
    mutex_guard guard(p->s.lock);
    if (p->list == nullptr) return false;
    for (std::uint32_t i = 0; i < children_at_once && p->list != nullptr; ++i) {
      child* c = p->list;
      unlink(p, c);
      if (c->func != nullptr) {
        c->next = later.funcs;
        later.funcs = c;
        continue;
      }
      auto* n = static_cast<canceler*>(c);
      mutex_guard nested(n->s.lock);
      n->theirs = !is_open(n);
      if (!n->theirs) {
        n->cause_above = true;
        if (!mark(n, p->err)) continue;
      }
      take_share(n);
      if (n->parent == nullptr) n->parent = context_hold(p);
      c->next = chain;
      chain = c;
    }
  }
  for (child* c = chain; c != nullptr; c = c->next) {
    auto* n = static_cast<canceler*>(c);
    if (!n->theirs) close_done(n, waiters);
  }
  ready_all(here.self(), waiters);
  return true;
}

// The next ones that there is more to; null: there are none left.
child* take_children(canceler* p, aftermath& later) {
  child* chain = nullptr;
  while (chain == nullptr && take_some(p, later, chain)) {
  }
  return chain;
}

// All below n are done.
void settle(canceler* n) { v0::detail::wait_group_add(&n->settling, -1); }

// Whoever cancels n does it for its children too, and the caller may rely on that.
void wait_until_settled(canceler* n) {
  v0::no_cancel uninterrupted;
  v0::detail::wait_group_wait(&n->settling);
}

// It is in no list, and in nobody else's walk.
void drop_later(canceler* n, aftermath& later) {
  n->next = later.drops;
  later.drops = n;
}

// Depth first. Who comes back from a child goes on with its `next`, which have been taken together, and then takes more.
void propagate(canceler* root, aftermath& later) {
  canceler* at = root;
  for (;;) {
    child* below = take_children(at, later);
    for (;;) {
      if (below != nullptr) {
        auto* n = static_cast<canceler*>(below);
        if (!n->theirs) {
          tell(n, later);
          at = n;
          break;
        }
        wait_until_settled(n);
        below = n->next;
        drop_later(n, later);
        continue;
      }
      // Of `at` there may be more.
      if (child* more = take_children(at, later)) {
        below = more;
        continue;
      }
      settle(at);
      if (at == root) return;
      canceler* done = at;
      at = at->up;
      below = done->next;
      drop_later(done, later);
    }
  }
}

void unlink_from_up(canceler* n) {
  canceler* up = n->up;
  if (up == nullptr) return;
  mutex_guard guard(up->s.lock);
  if (!n->linked) return;
  unlink(up, n);
  if (n->parent == nullptr) n->up = nullptr;
}

void detach(canceler* n) {
  inside here;
  if (n->timer == nullptr) return unlink_from_up(n);
  // With its lock a destroyer of `up` waits, if n was lent.
  mutex_guard guard(n->timer->lock);
  unlink_from_up(n);
}

// All is done and settled. A function that throws does not keep the others from being called: the first exception is the
// caller's to throw. One that ends its thread (pthread_exit, pthread_cancel) unwinds it, and that may be stopped by nobody, nor
// may the others be called on the way: what is left is then for a thread apart.
[[nodiscard]] std::exception_ptr finish(aftermath& later) {
  if (later.empty()) return nullptr;
  struct remains {
    aftermath& later;
    ~remains() {
      if (!later.empty()) finish_apart(later);
    }
  } const left{later};
  // All of it is the program's code, which is to run as it would anywhere: under no context, since the one that has just ended
  // would cancel it, and not unwound because the runtime ends, through callbacks and destructors that must not throw.
  const v0::detail::with_scope background(nullptr);
  const v0::no_cancel uninterrupted;
  std::exception_ptr thrown;
  while (child* c = later.funcs) {
    later.funcs = c->next;
    try {
      c->func->ops->start(c->func);
    } catch (...) {
      const std::exception_ptr caught = std::current_exception();
      if (caught == nullptr) throw;  // nobody's exception: the thread ends
      if (thrown == nullptr) thrown = caught;
    }
  }
  while (canceler* n = later.stops) {
    later.stops = n->stop_next;
    n->stop->request_stop();
    context_drop(n);
  }
  while (child* c = later.drops) {
    later.drops = c->next;
    context_drop(static_cast<canceler*>(c));
  }
  return thrown;
}

// A function that throws ends the process, as in a goroutine: nobody could catch it.
void finish_apart(aftermath& later) {
  const auto go_on = [](void* arg) {
    const std::unique_ptr<aftermath> kept(static_cast<aftermath*>(arg));
    if (const std::exception_ptr thrown = finish(*kept)) std::rethrow_exception(thrown);
  };
  auto* kept = new (std::nothrow) aftermath(later);
  if (kept == nullptr) fatal("context: no memory for what is left of a cancellation");
  later = {};
  call_apart(go_on, kept);
}

// The caller has a share. False: it was cancelled before. `later` is for finish.
bool cancel(canceler* n, int err, std::exception_ptr cause, aftermath& later) {
  bool ours = false;
  bool more = false;
  {
    inside here;
    glist waiters;
    {
      mutex_guard guard(n->s.lock);
      ours = is_open(n);
      if (ours) {
        n->cause.swap(cause);
        more = mark(n, err);
      }
    }
    if (ours && more) close_done(n, waiters);
    ready_all(here.self(), waiters);
  }
  if (!ours) {
    wait_until_settled(n);
    return false;
  }
  if (more) {
    tell(n, later);
    propagate(n, later);
  }
  detach(n);
  return true;
}

// All of it. Throws what a function has thrown, in the end.
bool cancel(canceler* n, int err, std::exception_ptr cause) {
  aftermath later;
  const bool ours = cancel(n, err, static_cast<std::exception_ptr&&>(cause), later);
  if (const std::exception_ptr thrown = finish(later)) std::rethrow_exception(thrown);
  return ours;
}

// False: the caller's share is the last, and the caller has it still; nobody else has anything of n, if it is in no list.
bool drop_unless_last(canceler* n) {
  std::uint64_t refs = __atomic_load_n(&n->refs, __ATOMIC_ACQUIRE);
  do {
    if (refs == 1) return false;
  } while (!swap_refs(n, refs, refs - 1));
  return true;
}

void from_token::fire::operator()() const {
  // The share must be had: what calls this may not be the one that keeps n.
  if (!take_share(n)) return;  // it is being destroyed, and waits for us
  // The library knows who calls by the thread, here and in the callbacks after this one; a walk may wait, and a goroutine would
  // go on elsewhere.
  std::optional<v0::os_thread_lock> stays;
  if (getg() != nullptr) stays.emplace();
  cancel(n, canceled, {});
  // If this is the last share, the callback is destroyed from within, which the standard allows on the thread that it was
  // called on; so a goroutine, which may be on another by now, leaves it to one that will wait for it.
  if (getg() == nullptr) {
    context_drop(n);
    return;
  }
  canceler* last = n;
  if (!drop_unless_last(last)) v0::go([last] { v0::blocking([last] { context_drop(last); }); });
}

// Null: n is being destroyed, or was cancelled. n is alive as long as d->lock is held, and so is its `up`: who destroys n must
// cut it first; who has taken it off the list of `up` has a share of that, or destroys it, and cuts n, or makes it a root,
// before that ends. One that was owned stays in that list: who cancels `up` must not return before n is done.
canceler* share_of(deadline* d) {
  mutex_guard guard(d->lock);
  canceler* n = std::exchange(d->n, nullptr);
  if (n == nullptr) return nullptr;
  canceler* up = n->up;
  if (up == nullptr) return take_share(n) ? n : nullptr;
  mutex_guard list(up->s.lock);
  return take_share(n) ? n : nullptr;
}

// The keeper of the timers outside: it cancels, and leaves what may be the program's code to a thread apart, since others'
// deadlines wait for it, and that code may wait for one of them.
void deadline::come_outside(deadline* d) {
  canceler* n = share_of(d);
  if (n == nullptr) return drop(d);
  cancel(n, exceeded, n->at_deadline, d->later);
  if (d->later.empty() && drop_unless_last(n)) return drop(d);
  d->ended = n;
  // Alone, and without a cause, it takes nothing of the program's along.
  if (d->later.empty() && n->parent == nullptr && n->cause == nullptr && n->at_deadline == nullptr) return go_on(d);
  call_apart(go_on, d);
}

// A function that throws ends the process, as in a goroutine: nobody could catch it.
void deadline::go_on(void* arg) {
  auto* d = static_cast<deadline*>(arg);
  const shares last{d, d->ended};
  if (const std::exception_ptr thrown = finish(d->later)) std::rethrow_exception(thrown);
}

// With the timer's share of d: in a goroutine of its own, or on a plain thread that takes a runtime down.
void deadline::come(deadline* d) {
  const shares last{d, share_of(d)};
  if (last.n != nullptr) cancel(last.n, exceeded, last.n->at_deadline);
}

// On an M's scheduler stack: no place for what a cancellation does, which may be the program's code.
void deadline::fire(g* self, void* arg, std::uint64_t seq, std::int64_t when) {
  auto* d = static_cast<deadline*>(arg);
  if (self == nullptr) return come_outside(d);
  struct body {
    deadline* d;
    void operator()() const { come(d); }
  } in_a_goroutine{d};
  using entry = v0::detail::entry_of<body, body>;
  if (launch_by_timer(self->m, &entry::ops, &in_a_goroutine, 0, nullptr)) return;
  // The last goroutine has ended, and no other can begin; drop_timer will find somebody else.
  if (d->timer.start(self, when + retry_ns, seq) != 0) fatal("context: a timer of a runtime was refused");
}

// The runtime that the timer was armed in is gone; the context goes on, with the timers of those in none.
void deadline::drop_timer(void* arg, std::uint64_t seq) {
  auto* d = static_cast<deadline*>(arg);
  {
    mutex_guard guard(d->lock);
    if (d->n != nullptr && d->timer.start(nullptr, d->n->at, seq) == 0) return;
  }
  // Nobody waits for it any more; or there is no thread for those who do, and they must not wait for ever.
  come(d);
}

// ---- making

// Into the tree, below `parent`; or cancelled, if that is. Nobody else has seen n.
void adopt(canceler* n, context_node* parent) {
  n->ops = &canceler_ops;
  n->nearest = n;
  n->parent = context_hold(parent);
  n->up = canceler_of(parent);
  if (n->up == nullptr) return;
  n->has_deadline = n->up->has_deadline;
  n->at = n->up->at;
  inside here;
  mutex_guard guard(n->up->s.lock);
  if (is_open(n->up)) {  // order: context.tree
    link(n->up, n);
    return;
  }
  n->err = n->up->err;
  n->cause_above = true;
  n->s.state.store(scope_state::done, relaxed);  // nobody else has seen it
}

const canceler* with_cause(const canceler* n) {
  while (n->cause_above) n = n->up;
  return n;
}

// The state, when nobody is in the middle of closing.
scope_state settled_state(const canceler* n) {
  scope_state s;
  for (std::uint32_t spins = 1; (s = n->s.state.load(acquire)) == scope_state::closing;
       ++spins) {  // order: context.done
    if (spins % sizes::scan_pauses == 0) {
      os::yield_thread();
    } else {
      os::pause();
    }
  }
  return s;
}

void look(op what, const canceler* n) {
  if (v0::detail::door_open()) [[unlikely]]
    step(what, n);
}

}  // namespace

scope* scope_of(context_node* n) {
  canceler* c = canceler_of(n);
  return c == nullptr ? nullptr : &c->s;
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace {

class texts final : public std::error_category {
 public:
  const char* name() const noexcept override { return "weft.context"; }
  std::string message(int e) const override {
    switch (static_cast<context_errc>(e)) {
      case context_errc::canceled: return "context canceled";
      case context_errc::deadline_exceeded: return "context deadline exceeded";
    }
    return "unknown context error " + std::to_string(e);
  }
  std::error_condition default_error_condition(int e) const noexcept override {
    switch (static_cast<context_errc>(e)) {
      case context_errc::canceled: return std::errc::operation_canceled;
      case context_errc::deadline_exceeded: return std::errc::timed_out;
    }
    return {e, *this};
  }
};

// Never destroyed: an error_code may be looked at when the process ends.
union immortal {
  texts category;
  constexpr immortal() : category() {}
  ~immortal() {}
};
constinit immortal the_texts;

}  // namespace

const std::error_category& context_category() noexcept { return the_texts.category; }

namespace detail {

using rt::canceler;
using rt::canceler_of;

bool in_goroutine() noexcept { return rt::getg() != nullptr; }
void throw_nil_key() { throw error("nil key"); }

void after_func_drop(after_func_node* f) noexcept {
  if (__atomic_fetch_sub(&f->refs, 1, __ATOMIC_ACQ_REL) == 1) f->ops->destroy(f);
}

context_node* context_with_cancel(context_node* parent) {
  rt::look(rt::op::derive, canceler_of(parent));
  auto* n = new canceler;
  rt::adopt(n, parent);
  return n;
}

context_node* context_with_deadline(context_node* parent, std::int64_t at, std::exception_ptr why) {
  rt::look(rt::op::derive, canceler_of(parent));
  auto* n = new canceler;
  rt::adopt(n, parent);
  if (n->has_deadline && n->at <= at) return n;
  n->has_deadline = true;
  n->at = at;
  n->at_deadline = static_cast<std::exception_ptr&&>(why);
  if (at <= rt::now_for(rt::getg())) {
    rt::cancel(n, rt::exceeded, n->at_deadline);
    return n;
  }
  if (at == INT64_MAX) return n;
  rt::deadline* d = nullptr;
  try {
    d = new rt::deadline(n);
  } catch (...) {
    context_drop(n);
    throw;
  }
  int refused = 0;
  {
    rt::inside here;
    rt::mutex_guard guard(n->s.lock);
    // Its parent may have been cancelled by now.
    if (rt::is_open(n)) {
      refused = d->timer.start(here.self(), at);
      if (refused == 0) {
        n->timer = d;
        return n;
      }
    }
  }
  delete d;
  if (refused != 0) {
    context_drop(n);
    throw std::system_error(refused, std::generic_category(), "weft: no thread to wait for a context's deadline");
  }
  return n;
}

context_node* context_without_cancel(context_node* parent) {
  if (parent == nullptr) return nullptr;
  auto* n = new rt::apart_node;
  n->ops = &rt::apart_ops;
  n->parent = context_hold(parent);
  return n;
}

context_node* context_from(const std::stop_token& token) {
  auto* n = new canceler;
  rt::adopt(n, nullptr);
  if (!token.stop_possible()) return n;
  try {
    n->from = new rt::from_token(token, n);
  } catch (...) {
    context_drop(n);
    throw;
  }
  return n;
}

void context_cancel(context_node* base, std::exception_ptr cause) {
  canceler* n = canceler_of(base);
  if (n == nullptr) return;
  rt::look(rt::op::cancel, n);
  // Whoever hears that it is done may let go of the caller's handle.
  struct share {
    context_node* n;
    ~share() { context_drop(n); }
  } const mine{context_hold(base)};
  const bool first = rt::cancel(n, rt::canceled, static_cast<std::exception_ptr&&>(cause));
  if (door_open()) [[unlikely]]
    rt::stepped(rt::op::cancel, n, first);
}

hchan* context_done(context_node* base) {
  canceler* n = canceler_of(base);
  if (n == nullptr) return nullptr;
  hchan* c = __atomic_load_n(&n->done, __ATOMIC_ACQUIRE);
  if (c == nullptr) {
    hchan* made = make_chan(&rt::context_done_type, 0);
    {
      rt::inside here;
      rt::mutex_guard guard(n->s.lock);
      if (n->done == nullptr) {
        // Whoever has marked n, or will, either has it to close or has left that to us.
        rt::glist none;
        if (!rt::is_open(n)) rt::close_quietly(made, none);
        __atomic_store_n(&n->done, made, __ATOMIC_RELEASE);
        made = nullptr;
      }
      c = n->done;
    }
    chan_drop(made);
  }
  chan_hold(c);
  return c;
}

int context_err(const context_node* base) noexcept {
  const canceler* n = canceler_of(base);
  if (n == nullptr || rt::settled_state(n) == rt::scope_state::open) return rt::no_error;
  return n->err;
}

std::exception_ptr context_cause(const context_node* base) {
  const canceler* n = canceler_of(base);
  if (n == nullptr || rt::settled_state(n) == rt::scope_state::open) return nullptr;
  if (const canceler* by = rt::with_cause(n); by->cause != nullptr) return by->cause;
  return std::make_exception_ptr(std::system_error(make_error_code(static_cast<context_errc>(n->err))));
}

bool context_deadline(const context_node* base, std::int64_t* at) noexcept {
  const canceler* n = canceler_of(base);
  if (n == nullptr || !n->has_deadline) return false;
  *at = n->at;
  return true;
}

std::stop_token context_stop_token(context_node* base) {
  canceler* n = canceler_of(base);
  if (n == nullptr) return {};
  std::stop_source made;
  bool over = false;
  {
    rt::inside here;
    rt::mutex_guard guard(n->s.lock);
    over = !rt::is_open(n);
    if (n->stop != nullptr) return n->stop->get_token();
  }
  auto* kept = new std::stop_source(made);
  if (!over) {
    rt::inside here;
    rt::mutex_guard guard(n->s.lock);
    over = !rt::is_open(n);
    if (n->stop != nullptr) {
      made = *n->stop;
      over = false;
    } else if (!over) {
      n->stop = kept;
      kept = nullptr;
    }
  }
  delete kept;
  if (over) made.request_stop();
  return made.get_token();
}

const void* context_find(const context_node* n, const std::type_info& type, const void* key) {
  for (; n != nullptr; n = n->parent) {
    if (const void* found = n->ops->find(n, type, key)) return found;
  }
  return nullptr;
}

void context_after_func(context_node* base, after_func_node* f) {
  static_assert(sizeof(rt::child) <= sizeof f->link);
  rt::child* c = ::new (f->link) rt::child;
  c->func = f;
  canceler* n = canceler_of(base);
  if (n == nullptr) return;
  rt::look(rt::op::derive, n);
  ++f->refs;  // the list's; nobody else has seen it
  {
    rt::inside here;
    rt::mutex_guard guard(n->s.lock);
    if (rt::is_open(n)) {  // order: context.tree
      rt::link(n, c);
      return;
    }
  }
  const with_scope background(nullptr);
  f->ops->start(f);
}

bool context_stop(context_node* base, after_func_node* f) {
  canceler* n = canceler_of(base);
  rt::child* c = rt::link_of(f);
  if (n == nullptr) return __atomic_exchange_n(&c->func, nullptr, __ATOMIC_RELAXED) != nullptr;
  rt::look(rt::op::cancel, n);
  {
    rt::inside here;
    rt::mutex_guard guard(n->s.lock);
    if (!c->linked) return false;
    rt::unlink(n, c);
  }
  after_func_drop(f);
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
