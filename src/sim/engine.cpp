#include "sim/engine.hpp"

#include <cxxabi.h>
#include <link.h>

#include <algorithm>

#include "base/print.hpp"
#include "model/process.hpp"
#include "observe/symbolize.hpp"
#include "sched/dispatch.hpp"
#include "sched/enter.hpp"
#include "sched/extras.hpp"
#include "sched/park.hpp"
#include "weft/error.hpp"

namespace weft::rt::lab {
namespace {

using v0::sim::failure_kind;

// Not zero: a time point of zero often means "none".
constexpr std::int64_t start_of_time = 3600ll * 1'000'000'000;
// So many yields, while nobody begins or ceases to be able to go on, are a goroutine that waits for time to pass.
constexpr std::uint32_t idle_yields = 100;
constexpr std::int64_t idle_step_ns = 1'000'000;
// Of an endless run, the beginning is where it went wrong.
constexpr std::size_t max_others = 10'000;

// Each object that has points is, so far, one word with its whole state.
atomic<std::uint64_t>& word_of(const void* object) {
  return *static_cast<atomic<std::uint64_t>*>(const_cast<void*>(object));
}

engine& self_of(exploration* e) { return *static_cast<engine*>(e); }

bool changes(op what) {
  return what != op::wait && what != op::latch_wait && what != op::barrier_wait && what != op::future_wait;
}

// What a strategy is told that the next step touches. An address does for the name of an object: strategies ask no more
// than whether two are the same. Which variable a point stands beside is not known, so each races with each, and
// with the selects, which touch several objects.
std::uint64_t touched_by(op what, const void* object) {
  if (what == op::point || what == op::select || what == op::try_select) return 1;
  return reinterpret_cast<std::uintptr_t>(object);
}

// Whether time does not move the goroutine by itself: what its wait is called.
bool is_yield(op what) { return what == op::yield || what == op::poll; }

// Whether the address is that of a variable of the program or of a library: such memory is never gone.
bool in_static_storage(const void* at) {
  auto address = reinterpret_cast<std::uintptr_t>(at);
  const auto look = [](dl_phdr_info* info, std::size_t, void* wanted) {
    const std::uintptr_t where = *static_cast<const std::uintptr_t*>(wanted);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& part = info->dlpi_phdr[i];
      const std::uintptr_t from = info->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_LOAD && (part.p_flags & PF_W) != 0 && where >= from && where - from < part.p_memsz)
        return 1;
    }
    return 0;
  };
  return dl_iterate_phdr(look, &address) != 0;
}

}  // namespace

std::string describe(op what, std::uint32_t object, bool in_column) {
  const char* of = "";  // whose operation
  const char* text = to_text(what);
  switch (what) {
    case op::sem_acquire:
    case op::sem_try_acquire:
    case op::sem_release: of = "semaphore "; break;
    case op::lock:
    case op::try_lock:
    case op::unlock: of = "mutex "; break;
    case op::add:
    case op::done:
    case op::wait: of = "wait_group "; break;
    case op::send:
    case op::recv:
    case op::try_send:
    case op::try_recv:
    case op::close: of = "channel "; break;
    case op::cond_wait:
      text = "wait";
      of = "condition_variable ";
      break;
    case op::notify: of = "condition_variable "; break;
    case op::lock_shared:
    case op::try_lock_shared:
    case op::unlock_shared: of = "shared_mutex "; break;
    case op::count_down: of = "latch "; break;
    case op::latch_wait:
      text = "wait";
      of = "latch ";
      break;
    case op::barrier_wait:
      text = "wait";
      of = "barrier ";
      break;
    case op::arrive: of = "barrier "; break;
    case op::derive:
    case op::cancel: of = "context "; break;
    case op::future_wait:
      text = "wait";
      of = "future ";
      break;
    case op::fulfil: of = "future "; break;
    case op::timer_start:
      text = "start";
      of = "timer ";
      break;
    case op::timer_stop:
      text = "stop";
      of = "timer ";
      break;
    case op::timer_reset:
      text = "reset";
      of = "timer ";
      break;
    case op::start: text = "starts"; break;
    case op::end: text = "ends"; break;
    case op::poll: text = "asks again"; break;
    case op::back: text = "back from blocking"; break;
    default:
      if (before(what) != op::none) return in_column ? "goes on" : "goes on after " + describe(before(what), object);
      break;
  }
  std::string all = std::string(in_column ? "" : of) + text;
  if (object != 0) all += " #" + std::to_string(object);
  return all;
}

std::string describe(const std::exception_ptr& e) {
  if (e == nullptr) return "terminate called without an active exception";
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return readable_type(typeid(x).name()) + ": " + x.what();
  } catch (const std::string& x) {
    return "std::string: " + x;
  } catch (const char* x) {
    return std::string("const char*: ") + x;
  } catch (int x) {
    return "int: " + std::to_string(x);
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return type == nullptr ? "an exception that is not C++'s" : readable_type(type->name());
  }
}

// ---- objects

// Where it is, or where it would be put. Never full.
std::size_t engine::object_table::place_of(const void* object) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = (reinterpret_cast<std::uintptr_t>(object) >> 3) * golden_ratio >> 40 & mask;
  while (slots_[i].round == round_ && slots_[i].object != object) i = (i + 1) & mask;
  return i;
}

std::uint32_t engine::object_table::find(const void* object) const {
  const slot& s = slots_[place_of(object)];
  return s.round == round_ ? s.number : 0;
}

std::uint32_t engine::object_table::number(const void* object) {
  if (const std::uint32_t known = find(object)) return known;
  if (2 * (used_ + 1) > slots_.size()) grow();
  mutex_guard guard(the_process.explore_lock);
  slots_[place_of(object)] = {object, ++used_, round_, word_of(object).load(relaxed)};
  return used_;
}

// malloc and free outside of the lock.
void engine::object_table::grow() {
  object_table larger;
  larger.round_ = round_;
  larger.slots_.resize(2 * slots_.size());
  for (const slot& s : slots_) {
    if (s.round == round_) larger.slots_[larger.place_of(s.object)] = s;
  }
  mutex_guard guard(the_process.explore_lock);
  slots_.swap(larger.slots_);
}

void engine::object_table::set_back() const {
  for (const slot& s : slots_) {
    if (s.round == round_ && in_static_storage(s.object)) word_of(s.object).store(s.before, relaxed);
  }
}

void engine::object_table::clear() {
  mutex_guard guard(the_process.explore_lock);
  used_ = 0;
  ++round_;
}

// ---- the life of an engine

engine::engine() : exploration{}, rt_(this) {
  point = [](exploration* e, g* gp, op what, const void* object) { self_of(e).on_point(gp, what, object); };
  done = [](exploration* e, g* gp, op what, const void* object, bool success) {
    engine& me = self_of(e);
    if (!me.orders_.record) return;
    if (!success) me.result_.events[me.of(gp).last_event].result = outcome::refused;
    const std::uint32_t number = me.objects_.find(object);
    if ((what == op::lock || what == op::try_lock) && success)
      me.holders_[number] = static_cast<std::uint32_t>(gp->goid);
    if (what == op::unlock) me.holders_.erase(number);
  };
  next = [](exploration* e, m*) { return self_of(e).on_next(); };
  sleeps = [](exploration* e, g* gp, std::int64_t ns) {
    engine& me = self_of(e);
    if (!me.orders_.record) return;
    event& last = me.result_.events[me.of(gp).last_event];
    if (last.what == op::sleep) last.lasts = later(me.now, ns) - me.now;
  };
  choose = [](exploration* e, g* gp, std::uint32_t n) { return self_of(e).choose_case(gp, n); };
  uncaught = [](exploration* e, g* gp) {
    std::exception_ptr thrown = std::current_exception();
    std::string text = describe(thrown);
    self_of(e).fail(gp, failure_kind::exception, std::move(text), std::move(thrown));
  };
  readied_foreign = [](exploration* e, g* gp) {
    self_of(e).fail(
        gp, failure_kind::foreign,
        "the program has woken a plain thread, or a goroutine of another runtime, which waited on an object "
        "that it explores");
  };
  touched = [](exploration* e, const void* object) { return self_of(e).objects_.find(object) != 0; };
}

engine::~engine() = default;

void engine::begin(const orders& o) {
  orders_ = o;
  result_ = {};
  result_.hash = 0x5bd1e995;
  actors_.clear();
  runnable_.clear();
  settlers_.clear();
  bugs_.clear();
  holders_.clear();
  names_.clear();
  switches_.clear();
  due_asked_ = 0;
  objects_.clear();
  if (o.choices != nullptr) {
    for (const choice& c : *o.choices) {
      if (c.fired.empty()) switches_[c.at.key()] = c.chosen;
    }
  }
  running_ = nowhere;
  begin_stretch();
  asking_ = false;
  main_returned_ = false;
  now = start_of_time;
  // The scheduler's own choices that are left decide nothing that can be seen; they repeat all the same.
  rt_.the_m()->choose.seed(o.seed);
}

void engine::main_body(void* self) {
  engine& me = *static_cast<engine*>(self);
  try {
    me.program_.call(me.program_.arg);
  } catch (const v0::detail::goexit_unwind&) {
    throw;  // this_goroutine::exit: the others go on
  } catch (...) {
    std::exception_ptr thrown = std::current_exception();
    std::string text = describe(thrown);
    me.fail(getg(), failure_kind::exception, std::move(text), std::move(thrown));
  }
  me.main_returned_ = true;
}

result engine::run(const orders& o, v0::detail::program p) {
  begin(o);
  program_ = p;
  rt_.run(main_body, this);
  finish();
  return std::move(result_);
}

// On the plain thread, after the last step.
void engine::finish() {
  drop_timers(timers());
  if (result_.failed) {
    drain();
    if (orders_.record) {
      for (const actor& a : actors_) result_.goroutines.push_back(portrait_of(a));
    }
    // While their stacks are there.
    if (orders_.frames) {
      const symbolizer names;
      stack_frames frames;
      for (const actor& a : actors_) {
        if (!a.ended && frames.take_parked(*a.gp, names))
          result_.goroutines[static_cast<std::size_t>(&a - actors_.data())].at = find_user(frames, names);
      }
    }
    for (actor& a : actors_) {
      if (!a.ended) rt_.abandon(a.gp);
    }
    objects_.set_back();
  }
  for (watched& w : watches_) w.drop(w.pred);
  watches_.clear();
}

engine::actor& engine::of(const g* gp) { return actors_[gp->goid - 1]; }

std::int64_t engine::since_start() const { return now - start_of_time; }

// ---- who can go on

void engine::drain() {
  while (g* gp = rt_.take_queued()) enqueue(gp);
}

void engine::enqueue(g* gp) {
  while (actors_.size() < gp->goid) {
    actor& a = actors_.emplace_back();
    a.since = result_.steps;
  }
  actor& a = of(gp);
  if (a.gp == nullptr) {
    a.gp = gp;
    a.gopc = gp->gopc;
    a.parent = static_cast<std::uint32_t>(gp->parent_goid);
    a.at_point = true;
    if (const char* name = name_of(gp); orders_.record && name != nullptr)
      names_[static_cast<std::uint32_t>(gp->goid)] = name;
  } else {
    a.woken = true;
  }
  a.yielded = false;
  begin_stretch();
  runnable_.push_back(static_cast<std::uint32_t>(gp->goid - 1));
}

p_timers& engine::timers() const { return *rt_.the_m()->p->timers; }

// Nobody can go on, or those who can only yield: the clock goes to the next timer's time. Who sleeps until then wakes, in
// the order of the sleeps; other timers of that time are due: fire_due.
void engine::pass_time() {
  begin_stretch();
  if (timers().min_when() == no_timer) {
    now += idle_step_ns;
    return;
  }
  now = std::max(now, timers().min_when());
  find_due();
  for (timer* t : due_) {
    const g* gp = t->ops == nullptr ? static_cast<const g*>(t->arg) : nullptr;
    if (gp != nullptr && gp->status.get() == status::waiting && gp->waiting->kind == wait_kind::nowhere) fire(t);
  }
}

void engine::find_due() {
  due_.clear();
  timers().for_each_due(now, [this](timer* t) { due_.push_back(t); });
  std::sort(due_.begin(), due_.end(), [](const timer* a, const timer* b) { return a->order < b->order; });
}

// A time limit against whoever comes at that very time: each of the due timers may be the next to be fired, or somebody goes on
// first, who may stop some of them. In the plain schedule all are fired, as they were armed.
void engine::fire_due(bool somebody) {
  while (timers().min_when() <= now) {
    find_due();
    const auto n = static_cast<std::uint32_t>(due_.size());
    const std::uint32_t ways = n + (somebody || !runnable_.empty() ? 1 : 0);
    const std::uint32_t chosen = ways == 1 ? 0 : choose_at({1, op::due, ++due_asked_, which_case}, ways, 0);
    if (chosen == n) return;
    fire(due_[chosen]);
  }
}

void engine::fire(timer* t) {
  due_timer due{};
  timers().pop_this(
      t, [&](const timer* of, std::int64_t when) { due = {of->ops, of->arg, of->seq, of->order, when, of->wait_seq}; });
  if (due.ops != nullptr) {
    due.ops->fire(&rt_.the_m()->g0, due.arg, due.seq, due.when);
    drain();
    return;
  }
  glist awake;
  take_waiter_into(static_cast<g*>(due.arg), due.seq, due.wait_seq, wait_result::timed_out, awake);
  while (g* gp = awake.pop_front()) {
    gp->status.wake();
    enqueue(gp);
  }
}

// ---- the points

void engine::on_point(g* gp, op what, const void* object) {
  if (what == op::none) return;
  if (asking_) {
    asking_ = false;
    fail(gp, failure_kind::always,
         std::string("the predicate of sim::always has called the runtime: ") + describe(what, 0));
  }
  actor& a = of(gp);
  const bool polls = is_yield(what) && is_yield(a.what);
  a.what = what;
  a.object = object;
  // After an operation the object may be gone; its number is still the one to show.
  if (object != nullptr) {
    a.object_number = objects_.number(object);
  } else if (before(what) == op::none || what == op::after_go) {
    a.object_number = 0;
  }
  a.waits = 0;
  a.at_point = true;
  a.woken = false;
  ++a.nth[static_cast<std::uint32_t>(what)];
  if (what == op::end) {
    // No point of its own: what the goroutine did last shows when the next one is chosen, without it.
    drop_watches(static_cast<std::uint32_t>(gp->goid));
    if (!watches_.empty()) ask(gp);
    a.ended = true;
    begin_stretch();
    return;
  }
  if (!watches_.empty()) ask(gp);
  drain();
  fire_due(true);  // the one that is here can go on
  // Once more by its index: asking or draining may have made the vector grow.
  const auto index = static_cast<std::uint32_t>(gp->goid - 1);
  if (is_yield(what)) {
    actors_[index].yielded = what == op::poll || ++actors_[index].yields % orders_.fair_every == 0;
    // One yield may as well mark a place where others can come between; that is no reason to put it last. Two in a row
    // are a loop.
    if (polls && actors_[index].yielded && orders_.strategy != nullptr) orders_.strategy->yielded(index + 1);
    actors_[index].idle_in = stretch_;
    const auto idles = [this](std::uint32_t r) { return actors_[r].idle_in == stretch_; };
    if (++lone_yields_ >= idle_yields && std::all_of(runnable_.begin(), runnable_.end(), idles)) pass_time();
  }
  runnable_.push_back(index);
  const auto mine = static_cast<std::uint32_t>(runnable_.size() - 1);
  const std::uint32_t chosen = decide(mine, {index + 1, what, actors_[index].nth[static_cast<std::uint32_t>(what)], 0});
  if (chosen == nowhere) fail(gp, failure_kind::endless, {});
  g* to = take_out(chosen);
  if (to != gp) switch_from(gp, to);
}

g* engine::on_next() {
  if (result_.failed) return nullptr;
  place at;
  if (running_ != nowhere) {
    actor& a = actors_[running_];
    ++a.waits;
    at = {running_ + 1, a.what, a.nth[static_cast<std::uint32_t>(a.what)], a.waits};
    if (!a.ended) {
      a.since = result_.steps;
      if (orders_.record && a.waits == 1) result_.events[a.last_event].result = outcome::waits;
    }
    running_ = nowhere;
  }
  for (;;) {
    drain();
    fire_due(false);
    if (!runnable_.empty()) {
      const std::uint32_t chosen = decide(nowhere, at);
      if (chosen != nowhere) return take_out(chosen);
      set_failure(0, failure_kind::endless, {});
      return nullptr;
    }
    if (!settlers_.empty()) {
      for (g* gp : settlers_) {
        gp->status.wake();
        enqueue(gp);
      }
      settlers_.clear();
    } else if (timers().min_when() != no_timer && !(main_returned_ && rt_.alive() == 0)) {
      pass_time();
      // Functions that are called again and again, and wake nobody, are an endless run.
      if (runnable_.empty() && ++result_.steps > orders_.max_steps) {
        set_failure(0, failure_kind::endless, {});
        return nullptr;
      }
    } else {
      if (rt_.alive() == 0) {
        if (!main_returned_) {
          set_failure(0, failure_kind::deadlock, "no goroutines (main called runtime.Goexit) - deadlock!");
        }
        return nullptr;
      }
      set_failure(0, main_returned_ ? failure_kind::leak : failure_kind::deadlock, {});
      return nullptr;
    }
  }
}

// A position in runnable_; nowhere: the run has had as many steps as it may. `current`: where the running goroutine is.
std::uint32_t engine::decide(std::uint32_t current, const place& at) {
  if (++result_.steps > orders_.max_steps) return nowhere;
  candidates_.clear();
  positions_.clear();
  std::uint32_t current_candidate = explore::nobody;
  for (std::uint32_t i = 0; i < runnable_.size(); ++i) {
    const actor& a = actors_[runnable_[i]];
    if (a.yielded && i != 0 && orders_.strategy != nullptr) continue;
    if (i == current) current_candidate = static_cast<std::uint32_t>(candidates_.size());
    candidates_.push_back({runnable_[i] + 1, changes(a.what), touched_by(a.what, a.object)});
    positions_.push_back(i);
  }
  const auto n = static_cast<std::uint32_t>(candidates_.size());
  // Whatever the candidates of this run are: choices mean the same in all.
  const std::uint32_t plain =
      current_candidate != explore::nobody && !is_yield(actors_[runnable_[current]].what) ? current_candidate : 0;
  const std::uint32_t chosen = orders_.strategy != nullptr ? orders_.strategy->pick(candidates_, current_candidate)
                               : n == 1                    ? 0
                                                           : directed(plain, at);
  const std::uint32_t position = positions_[chosen];
  const std::uint32_t who = runnable_[position];
  if (n > 1) ++result_.picks;
  if (orders_.record && chosen != plain) {
    const std::uint32_t object = at.actor == 0 ? 0 : actors_[at.actor - 1].object_number;
    result_.choices.push_back({at, who + 1, {}, object});
  }
  if (orders_.others && n > 1 && result_.others.size() < max_others) {
    for (const explore::candidate& c : candidates_) {
      if (c.actor != who + 1) result_.others.push_back({result_.steps, {at, c.actor}});
    }
  }
  const op what = actors_[who].what;
  result_.hash =
      (result_.hash ^ (std::uint64_t{who} << 32 | std::uint64_t{n} << 8 | static_cast<std::uint64_t>(what))) *
      golden_ratio;
  result_.hash ^= result_.hash >> 29;
  if (orders_.log) result_.log.push_back({who + 1, what, n});
  if (orders_.record) take_step(who, position != current);
  running_ = who;
  return position;
}

std::uint32_t engine::directed(std::uint32_t plain, const place& at) {
  const auto found = switches_.find(at.key());
  if (found == switches_.end()) return plain;
  for (std::uint32_t i = 0; i < candidates_.size(); ++i) {
    if (candidates_[i].actor != found->second) continue;
    ++result_.applied;
    return i;
  }
  return plain;
}

void engine::take_step(std::uint32_t chosen, bool switched) {
  actor& a = actors_[chosen];
  a.last_event = static_cast<std::uint32_t>(result_.events.size());
  result_.events.push_back(
      {result_.steps, since_start(), chosen + 1, a.what, a.object_number, a.woken, switched, outcome::none});
  if (orders_.print) print_step(result_.events.back());
}

g* engine::take_out(std::uint32_t position) {
  actor& a = actors_[runnable_[position]];
  a.yielded = false;
  a.at_point = a.woken = false;
  runnable_.erase(runnable_.begin() + position);
  return a.gp;
}

void engine::switch_from(g* gp, g* to) {
  m* mp = gp->m;
  mp->after = [](m*, g* left, void*) {
    left->m = nullptr;
    left->status.set(status::running, status::runnable);
  };
  mp->after_g = gp;
  mp->after_arg = nullptr;
  begin_run(mp, to, true);
  if (to->stack == nullptr) bind_stack(mp, to);
  leave_goroutine(mp, gp, to);
}

// ---- failures

void engine::set_failure(std::uint32_t who, failure_kind kind, std::string text) {
  result_.failed = true;
  result_.actor = who;
  result_.kind = kind;
  result_.text = std::move(text);
}

// The stack is left as it is: what the arguments hold has been moved away, or it would be lost.
void engine::fail(g* gp, failure_kind kind, std::string text, std::exception_ptr cause) {
  set_failure(static_cast<std::uint32_t>(gp->goid), kind, std::move(text));
  result_.cause = std::move(cause);
  leave_for_good(gp);
}

portrait engine::portrait_of(const actor& a) {
  portrait p;
  p.actor = static_cast<std::uint32_t>(&a - actors_.data()) + 1;
  p.ended = a.ended;
  p.what = a.what;
  p.object = a.object_number;
  p.since = a.since;
  p.parent = a.parent;
  p.gopc = a.gopc;
  if (const auto name = names_.find(p.actor); name != names_.end()) p.name = name->second;
  if (a.ended) return p;
  p.at_point = a.at_point;
  p.woken = a.woken;
  if (a.gp->status.get() != status::waiting) {
    p.state = a.gp->status.get() == status::running ? "running" : "runnable";
    return p;
  }
  p.state = to_text(a.gp->reason);
  if (a.gp->reason == wait_reason::mutex_lock) {
    const auto holder = holders_.find(a.object_number);
    if (holder != holders_.end()) p.holder = holder->second;
  }
  return p;
}

void engine::print_step(const event& e) {
  std::string text = "weft::sim: step " + std::to_string(e.step) + ": goroutine " + std::to_string(e.actor);
  const g* gp = actors_[e.actor - 1].gp;
  if (const char* name = name_of(gp)) text += std::string(" (") + name + ')';
  text += std::string(": ") + (e.woken ? "woken from " : "") + describe(e.what, e.object) + '\n';
  print_text(text.data(), text.size());
}

// ---- what programs ask for

void engine::settle(g* gp) {
  enter_and_park inside(gp, op::settle);
  settlers_.push_back(gp);
  gopark<nothing>(gp, nullptr, wait_reason::settle);
}

void engine::watch(g* gp, v0::detail::program pred, bool (*holds)(void*), void (*drop)(void*), std::string what) {
  if (asking_) {
    drop(pred.arg);
    asking_ = false;
    fail(gp, failure_kind::always, "the predicate of sim::always has called sim::always");
  }
  watches_.push_back({static_cast<std::uint32_t>(gp->goid), pred.arg, holds, drop, std::move(what)});
  enter inside(gp);
  ask(gp);
}

// On the goroutine's stack, inside the door; the predicates are the user's code, outside of it.
void engine::ask(g* gp) {
  m* mp = gp->m;
  for (std::size_t i = 0; i < watches_.size(); ++i) {
    const watched& w = watches_[i];
    bool good = false;
    std::exception_ptr thrown;
    mp->in_runtime.store(0, relaxed);
    asking_ = true;
    try {
      good = w.holds(w.pred);
    } catch (...) {
      thrown = std::current_exception();
    }
    asking_ = false;
    mp->in_runtime.store(1, relaxed);
    if (thrown != nullptr) {
      std::string text = "in \"" + w.what + "\": " + describe(thrown);
      fail(gp, failure_kind::exception, std::move(text), std::move(thrown));
    }
    if (!good) fail(gp, failure_kind::always, w.what);
  }
}

// What its predicates refer to is gone, as a rule.
void engine::drop_watches(std::uint32_t owner) {
  for (std::size_t i = watches_.size(); i-- > 0;) {
    if (watches_[i].owner != owner) continue;
    watches_[i].drop(watches_[i].pred);
    watches_.erase(watches_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void engine::wait_until(g* gp, void* pred, bool (*holds)(void*), std::int64_t within, std::string_view what) {
  const std::int64_t deadline = within < INT64_MAX - now ? now + within : INT64_MAX;
  while (!holds(pred)) {
    {
      enter_and_park inside(gp, op::poll);
      drain();
    }
    // All that can happen at the time of the deadline is in time.
    if ((!runnable_.empty() || timers().min_when() <= now) && now <= deadline) continue;
    if (holds(pred)) return;
    if (now >= deadline) fail(gp, failure_kind::eventually, std::string(what));
    caller me;
    rt::waiter w;
    w.gp = gp;
    w.addr = nullptr;
    w.kind = wait_kind::nowhere;
    w.queued = true;
    me.wait_until<nothing>(w, nullptr, wait_reason::sleep, false, std::min(deadline, timers().min_when()));
  }
}

std::uint32_t engine::choose_case(g* gp, std::uint32_t n) {
  const actor& a = of(gp);
  return choose_at(
      {static_cast<std::uint32_t>(gp->goid), a.what, a.nth[static_cast<std::uint32_t>(a.what)], which_case}, n,
      a.object_number);
}

std::uint32_t engine::choose_at(const place& at, std::uint32_t n, std::uint32_t object) {
  std::uint32_t chosen = 0;
  if (orders_.strategy != nullptr) {
    chosen = orders_.strategy->choose(n);
  } else if (const auto found = switches_.find(at.key()); found != switches_.end() && found->second <= n) {
    chosen = found->second - 1;
    ++result_.applied;
  }
  if (orders_.record && chosen != 0) result_.choices.push_back({at, chosen + 1, {}, object});
  if (orders_.others) {
    for (std::uint32_t i = 0; i < n && result_.others.size() < max_others; ++i) {
      if (i != chosen) result_.others.push_back({result_.steps, {at, i + 1}});
    }
  }
  result_.hash = (result_.hash ^ (std::uint64_t{n} << 32 | chosen)) * golden_ratio;
  return chosen;
}

bool engine::buggify(const std::string& name, double p) {
  auto found = std::find_if(bugs_.begin(), bugs_.end(), [&](const auto& b) { return b.first == name; });
  if (found == bugs_.end()) found = bugs_.insert(bugs_.end(), {name, 0});
  const std::uint32_t nth = ++found->second;
  bool fires = false;
  if (orders_.ask_for_bugs) {
    fires = p > 0 && orders_.strategy->choose(2) == 1;
  } else if (orders_.strategy != nullptr) {
    std::uint64_t site = orders_.seed;
    for (const char c : name) site = explore::mix(site, static_cast<unsigned char>(c));
    const std::uint64_t draw = explore::mix(site, nth) >> 11;
    fires = site % 4 == 0 && static_cast<double>(draw) < p * 9007199254740992.0;
  } else if (orders_.choices != nullptr) {
    for (const choice& c : *orders_.choices) fires = fires || (c.fired == name && c.chosen == nth);
    if (fires) ++result_.applied;
  }
  result_.hash = (result_.hash ^ (fires ? 3 : 5)) * golden_ratio;
  if (fires && orders_.record) {
    result_.choices.push_back({{}, nth, name});
    event e{result_.steps, since_start(), running_ + 1, op::none, 0, false, false, outcome::none};
    e.fired = static_cast<std::uint32_t>(result_.choices.size());
    result_.events.push_back(e);
  }
  return fires;
}

}  // namespace weft::rt::lab
