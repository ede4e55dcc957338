#include "observe/waits.hpp"

#include <algorithm>
#include <unordered_map>

#include "base/print.hpp"
#include "mem/stack.hpp"
#include "model/hchan.hpp"
#include "model/process.hpp"
#include "model/sched.hpp"
#include "model/sudog.hpp"
#include "observe/traceback.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

// Of a mutex's word (src/sync/mutex.cpp): the low half is its state, of which this is the first bit.
constexpr std::uint64_t locked = 1;
constexpr int holder_shift = 16;
constexpr std::uintptr_t holder_bytes = std::uintptr_t{1} << holder_shift;

// Nearly all locks are taken in the outermost frames. For stacks that are free nothing tells how far they were used.
constexpr std::uintptr_t usual_depth = 16 << 10;

constexpr std::size_t most_cycles = 8;
constexpr std::size_t most_in_cycle = 16;

std::uint64_t word_of(const void* mutex) {
  return __atomic_load_n(static_cast<const std::uint64_t*>(mutex), __ATOMIC_RELAXED);
}

const char* object_text(wait_reason r) {
  switch (r) {
    case wait_reason::semacquire: return "semaphore";
    case wait_reason::mutex_lock: return "mutex";
    case wait_reason::wait_group_wait: return "wait_group";
    case wait_reason::cond_wait: return "condition_variable";
    case wait_reason::rwmutex_rlock:
    case wait_reason::rwmutex_lock: return "shared_mutex";
    case wait_reason::latch_wait: return "latch";
    case wait_reason::barrier_wait: return "barrier";
    case wait_reason::future_wait: return "future";
    case wait_reason::none:
    case wait_reason::sleep:
    case wait_reason::settle:
    case wait_reason::chan_receive:
    case wait_reason::chan_send:
    case wait_reason::chan_receive_nil:
    case wait_reason::chan_send_nil:
    case wait_reason::select:
    case wait_reason::select_no_cases: break;
  }
  return nullptr;
}

const waiter* wait_of(const g& gp) { return gp.status.get() == status::waiting ? gp.waiting : nullptr; }

const void* object_of(const g& gp) {
  const waiter* w = wait_of(gp);
  return w == nullptr ? nullptr : w->addr;
}

// Of a channel that is a sign of something else.
const char* closed_by_runtime(const hchan* c) {
  if (c->type == &context_done_type) return "for a context to be done";
  if (c->type == &future_done_type) return "for a future";
  if (c->type == &stop_requested_type) return "for a stop_token";
  return nullptr;
}

// "to receive from channel 0x… (3 of 10 values)"
void add_channel(line& to, const chan_sudog& sg) {
  const hchan* c = sg.chan();
  if (const char* what = closed_by_runtime(c)) {
    to.text(what).text(" (channel ").hex(reinterpret_cast<std::uintptr_t>(c)).text(")");
    return;
  }
  to.text(sg.sends ? "to send to channel " : "to receive from channel ").hex(reinterpret_cast<std::uintptr_t>(c));
  if (c->dataqsiz != 0) to.text(" (").number(c->qcount).text(" of ").number(c->dataqsiz).text(" values)");
}

constexpr std::uint32_t most_cases = 4;

// The semaphores among them come last.
const acquiring_wait* acquiring(const waiter& w) {
  return w.kind == wait_kind::acquiring_select ? static_cast<const acquiring_wait*>(&w) : nullptr;
}
std::uint32_t cases_of(const select_wait& sel) {
  return sel.n + (acquiring(sel) != nullptr ? acquiring(sel)->nsemas : 0);
}

// "waits to receive from …"; a select's cases, the first few.
void add_channels(line& to, const waiter& w) {
  if (w.kind == wait_kind::chan) {
    to.text("waits ");
    add_channel(to, static_cast<const chan_sudog&>(w));
    return;
  }
  const auto& sel = static_cast<const select_wait&>(w);
  const std::uint32_t n = cases_of(sel);
  to.text("waits in a select of ").number(n).text(n == 1 ? " case: " : " cases: ");
  for (std::uint32_t i = 0; i < n && i < most_cases; ++i) {
    if (i != 0) to.text(", or ");
    if (i < sel.n) {
      add_channel(to, sel.cases[i]);
    } else {
      to.text("to acquire semaphore ").hex(reinterpret_cast<std::uintptr_t>(acquiring(sel)->semas[i - sel.n].addr));
    }
  }
  if (n > most_cases) to.text(", ...");
}

bool waits_for_mutex(const g& gp) { return gp.reason == wait_reason::mutex_lock && object_of(gp) != nullptr; }

// Two digits: the clock is not better (model/process.hpp).
void add_seconds(line& to, std::int64_t ns) {
  const auto hundredths = static_cast<std::uint64_t>(ns) / 10'000'000;
  to.number(hundredths / 100).text(hundredths % 100 < 10 ? ".0" : ".").number(hundredths % 100).text(" s");
}

}  // namespace

bool is_alive(const g& gp) {
  const status s = gp.status.get();
  return s != status::idle && s != status::dead;
}

std::int64_t waited_ns(const g& gp, std::int64_t now) {
  if (gp.status.get() != status::waiting) return -1;
  if (gp.rt != nullptr && gp.rt->explore != nullptr) return -1;  // its time is virtual
  // Exact, and from its first round on: a mutex may wake a waiter in vain.
  if (waits_for_mutex(gp) && gp.waiting->since > 0) return std::max<std::int64_t>(0, now - gp.waiting->since);
  return gp.since != 0 ? coarse_elapsed_ns(gp.since, now) : -1;
}

void wait_graph::index() const {
  indexed_ = true;
  the_process.stacks.for_each_sig(
      [](const stack& st, void* arg) {
        const g* gp = static_cast<const g*>(st.owner);
        if (gp != nullptr && !is_alive(*gp)) gp = nullptr;
        static_cast<std::vector<range>*>(arg)->push_back({st.lo, reinterpret_cast<std::uintptr_t>(&st), gp});
      },
      &stacks_);
  std::sort(stacks_.begin(), stacks_.end(), [](const range& a, const range& b) { return a.lo < b.lo; });
}

holder wait_graph::holder_of(const void* mutex) const {
  if (!indexed_) index();
  holder h;
  const std::uint64_t word = word_of(mutex);
  const std::uintptr_t from = (word >> 32) << holder_shift, to = from + holder_bytes;
  if ((word & locked) == 0 || from == 0) return h;

  // Stacks do not overlap, so those that reach into the 64 KiB are neighbours.
  auto at = std::upper_bound(stacks_.begin(), stacks_.end(), from,
                             [](std::uintptr_t address, const range& r) { return address < r.hi; });
  const g* returned[holder::max] = {};  // whose frames may have been there, and are not now
  std::size_t n_returned = 0;
  bool free_here = false;
  for (; at != stacks_.end() && at->lo < to; ++at) {
    if (at->gp == nullptr) {
      free_here = true;
      if (at->hi - usual_depth < to) h.or_ended = true;
      continue;
    }
    const status s = at->gp->status.get();
    // Of a stack that it will come back to (on_big_stack) nothing tells how far down it is.
    const std::uintptr_t sp = at->gp->sched.sp;
    const bool saved = s != status::running && s != status::detached && sp >= at->lo && sp < at->hi;
    if (!saved || sp < to) {
      if (h.n < holder::max) h.who[h.n++] = at->gp;
    } else if (n_returned < holder::max) {
      returned[n_returned++] = at->gp;
    }
  }
  if (h.n == 0 && free_here) {
    h.how = holder::kind::ended;
    return h;
  }
  if (h.n == 0) {
    h.n = n_returned;
    std::copy(returned, returned + n_returned, h.who);
  }
  if (h.n == 0) {
    h.how = holder::kind::thread;
  } else {
    h.how = h.n == 1 && !h.or_ended ? holder::kind::goroutine : holder::kind::one_of;
  }
  return h;
}

std::string wait_graph::what(const g& gp, std::int64_t now) const {
  const waiter* w = wait_of(gp);
  if (w == nullptr || w->kind == wait_kind::nowhere) return {};
  line text;
  if (w->kind == wait_kind::sema || w->kind == wait_kind::in_word) {
    const char* kind = object_text(gp.reason);
    if (kind == nullptr) return {};
    text.text("waits for ").text(kind).text(" ").hex(reinterpret_cast<std::uintptr_t>(w->addr));
  } else if (w->kind == wait_kind::chan || cases_of(*static_cast<const select_wait*>(w)) != 0) {
    add_channels(text, *w);
  } else {
    return {};
  }
  if (waits_for_mutex(gp)) {
    const holder h = holder_of(w->addr);
    switch (h.how) {
      case holder::kind::nobody: break;
      case holder::kind::goroutine:
        text.text(", held by ");
        add_who(text, *h.who[0]);
        break;
      case holder::kind::one_of:
        text.text(", held by one of ");
        for (std::size_t i = 0; i < h.n; ++i) {
          if (i != 0) text.text(", ");
          add_who(text, *h.who[i]);
        }
        if (h.n == holder::max) text.text(", ...");
        if (h.or_ended) text.text(", or one that has ended");
        break;
      case holder::kind::ended: text.text(", held by a goroutine that has ended"); break;
      case holder::kind::thread: text.text(", held by a plain thread"); break;
    }
  }
  if (const std::int64_t ns = waited_ns(gp, now); ns >= 0) {
    text.text(", for ");
    add_seconds(text, ns);
  }
  return text.c_str();
}

// Whom gp waits for, if that is known for certain.
const g* wait_graph::next(const g& gp) const {
  if (!waits_for_mutex(gp)) return nullptr;
  const holder h = holder_of(gp.waiting->addr);
  return h.how == holder::kind::goroutine ? h.who[0] : nullptr;
}

std::string wait_graph::cycles() const {
  std::vector<const g*> waiters;
  the_process.gs.for_each(
      [](void* object, void* arg) {
        const g& gp = *static_cast<g*>(object);
        if (!gp.is_thread() && waits_for_mutex(gp)) static_cast<std::vector<const g*>*>(arg)->push_back(&gp);
      },
      &waiters);
  std::string text;
  std::size_t found = 0;
  // Each waits for one other, so a walk either meets the way of an earlier one, ends, or comes back to its own.
  std::unordered_map<const g*, std::size_t> seen_by;
  for (std::size_t walk = 0; walk < waiters.size() && found < most_cycles; ++walk) {
    const g* at = waiters[walk];
    while (at != nullptr && seen_by.try_emplace(at, walk).second) at = next(*at);
    if (at == nullptr || seen_by[at] != walk) continue;
    // Printed from its oldest goroutine on, so that the same deadlock gives the same line.
    const g* first = at;
    for (const g* of = next(*at); of != at; of = next(*of)) {
      if (of->goid < first->goid) first = of;
    }
    line step;
    step.text("cycle: goroutine ").number(first->goid);
    text += step.c_str();
    const g* of = first;
    for (std::size_t n = 0; n == 0 || of != first; ++n) {
      if (n == most_in_cycle) {
        text += " -> ...";
        break;
      }
      line more;
      more.text(" -> mutex ").hex(reinterpret_cast<std::uintptr_t>(of->waiting->addr));
      of = next(*of);
      more.text(" -> goroutine ").number(of->goid);
      text += more.c_str();
    }
    text += '\n';
    ++found;
  }
  return text;
}

}  // namespace weft::rt
