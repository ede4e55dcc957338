// boot: a runtime from its first P to its last thread. The order is the content.
//
//   run_main ─▶ process (once: arenas, handlers) ─▶ sched, Ps ─▶ m0 = this thread, g0 = its stack, P0
//            ─▶ newproc(main) ─▶ mstart(m0) ─▶ … ─▶ the last goroutine has ended: every M goes home
//            ─▶ threads joined, foreign wakers gone ─▶ memory to the process
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "base/check.hpp"
#include "base/knobs.hpp"
#include "base/noise.hpp"
#include "base/print.hpp"
#include "base/wires.hpp"
#include "os/sanitizers.hpp"
#include "os/sys.hpp"
#include "sched/cancel.hpp"
#include "sched/countdown.hpp"
#include "sched/deadlock.hpp"
#include "sched/exploration.hpp"
#include "sched/extras.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/switch.hpp"
#include "sched/timers.hpp"
#include "sched/world.hpp"
#include "weft/error.hpp"
#include "weft/options.hpp"
#include "weft/run.hpp"
#include "weft/runtime.hpp"

namespace weft::rt {

std::uint8_t checked_stack_class(std::size_t bytes);
void newproc_for(sched_t* rt, const v0::detail::entry_ops* ops, void* from, v0::detail::text name,
                 std::size_t stack_size, const void* pc);

namespace {

constinit atomic<std::terminate_handler> previous_terminate{nullptr};

// std::terminate with the throwing frames still on the goroutine's stack.
void on_terminate() {
  g* gp = getg();
  if (gp != nullptr && (gp->flags & g_is_g0) == 0) {
    if (gp->rt->explore != nullptr) gp->rt->explore->uncaught(gp->rt->explore, gp);  // does not return
    wires.uncaught(gp);
    os::abort_process();
  }
  if (auto* before = previous_terminate.load(acquire)) before();
  os::abort_process();
}

// A fault in the guard of a stack of ours is an overflow of the goroutine that owns it. Reported, then left to
// whoever handles faults, which as a rule ends the process by SIGSEGV.
bool on_fault(std::uintptr_t address, std::uintptr_t sp) {
  bool in_guard = false;
  const stack* st = the_process.stacks.find_sig(address, &in_guard);
  if (st != nullptr && in_guard && st->owner != nullptr) {
    wires.overflow_sig(static_cast<const g*>(st->owner), address);
    return false;
  }
  // One that has no guard may have been left far behind before anything stopped it: the stack pointer says so.
  const g* gp = getg();
  if (gp != nullptr && gp->stack != nullptr && gp->stack->canary && sp < gp->stack->lo) wires.overflow_sig(gp, address);
  return false;
}

// Refuses bad knobs.
knobs read_knobs() {
  knobs k;
  char message[1000];
  if (!parse_knobs(std::getenv("WEFT_DEBUG"), &k, message, sizeof message)) throw error(message);
  return k;
}

void boot_process(const knobs& k) {
  mutex_guard guard(the_process.lock);
  if (the_process.booted) return;
  if (os::shadow_stack_active()) {
    throw error(
        "weft: this process runs with CET shadow stacks, under which stacks cannot be switched; "
        "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
  }
  the_process.stacks.init(static_cast<os::guard_method>(k.guard));
  os::fault_handler_install(on_fault);
  os::fork_handler_install([] {
    if (the_process.runtimes.load(relaxed) != 0) the_process.forked.store(true, relaxed);
    const g* gp = getg();
    return gp != nullptr && gp->m != nullptr && !gp->m->callers;
  });
  set_fatal_dump(wires.fatal_dump);
  previous_terminate.store(std::set_terminate(on_terminate), release);
  // Cheap while the process has one thread, and 11 ms afterwards (LIMITS 5): once, and at the first runtime.
  const bool usable = k.membarrier == 0 && os::membarrier_register() == 0;
  the_process.membarrier.store(usable ? 1 : 2, relaxed);
  the_process.booted = true;
}

std::string bad_value(const char* name, std::int64_t value, const char* range) {
  line text;
  text.text("weft: ").text(name).text(" ").signed_number(value).text(": must be ").text(range);
  return text.c_str();
}

constexpr std::size_t largest_class = stack_class_bytes[stack_classes - 1];
// Go's limit for one stack. Address space only: pages come as they are touched.
constexpr std::size_t main_stack_if_unlimited = std::size_t{1} << 30;

// Main's stack is as large as the thread's may become: of a class, or, if that is too small, a mapping of its own.
std::uint8_t main_stack_class() {
  return static_cast<std::uint8_t>(
      stack_class_for(std::clamp(os::main_stack_limit(), stack_class_bytes[0], largest_class)));
}

[[noreturn]] void main_stack_refused(std::size_t bytes, int err) {
  line text;
  text.text("weft: the main goroutine's stack of ").bytes(bytes).text(" was refused");
  throw std::system_error(err, std::generic_category(), text.c_str());
}

// Null: a stack of a class does.
stack* large_main_stack() {
  const std::size_t limit = os::main_stack_limit();
  if (limit <= largest_class) return nullptr;
  const bool unlimited = limit == SIZE_MAX;
  int err = 0;
  stack* st = the_process.stacks.get_large(unlimited ? main_stack_if_unlimited : limit, &err);
  // Nobody has asked for a gibibyte: the largest class, then, is what every other goroutine can have too.
  if (st == nullptr && !unlimited) main_stack_refused(limit, err);
  return st;
}

// The process's, when main has left no value and the others do not end (EX_SOFTWARE).
constexpr int status_of_no_value = 70;

// No goroutine is needed any more: those that are left are cancelled, and awaited.
void begin_the_end(sched_t* rt, int status) {
  {
    mutex_guard guard(rt->lock);
    rt->main_status = status;
    rt->main_ended = os::now();
  }
  rt->attention.fetch_or(attention_main_returned, release);
  g* self = getg();
  const bool ours = self != nullptr && self->rt == rt;
  if (goroutines_alive(rt) == (ours ? 1 : 0)) return;
  // Main leaves it to sysmon: to take a goroutine off what it waits on writes there, and that may have been a local of
  // main's (call_behind_a_gap).
  if (!ours || !rt->has_sysmon) cancel_all(rt, self);
  if (rt->has_sysmon) rt->sysmon_bell.ring();
}

// Goroutines that main leaves behind may wait on its locals. It is the user's mistake, and the first that everybody makes; a
// cancellation that takes them off writes there. So main's frames begin below all that runs on its stack after it.
[[gnu::noinline]] void call_behind_a_gap(void (*body)(void*), void* arg) {
  constexpr std::size_t room_for_the_end = 4096;
  asm volatile("" ::"r"(__builtin_alloca(room_for_the_end)) : "memory");
  body(arg);
  asm volatile("" ::: "memory");  // not as a tail call
}

struct main_entry {
  sched_t* rt;
  void (*body)(void*);
  void* arg;
  int (*exit_status)(void*);
  void* result;

  void operator()() {
    try {
      call_behind_a_gap(body, arg);
    } catch (const v0::detail::goexit_unwind&) {
      // The others go on; when none is left, nobody can ever return from run (Go's text for that).
      rt->attention.fetch_or(attention_main_exited, release);
      throw;
    }
    // Here, where nobody is cancelled yet: what they wait on may be in frames that these destructors will use.
    if (g* self = getg(); (self->flags & g_has_extras) != 0) finish_extras(self->extras);
    const int status = exit_status(result);
    if (rt->exit_with_main && status != v0::detail::no_exit) os::exit_process(status);
    begin_the_end(rt, status != v0::detail::no_exit ? status : status_of_no_value);
  }
};

struct explored_main {
  void (*body)(void*);
  void* arg;
  void operator()() const { body(arg); }
};

// One runtime: what it is made of, and how it goes.
class runtime {
 public:
  // whole: run's, with its thread as m0. embedded: class runtime's, whose threads are all its own.
  enum purpose { whole, embedded, explored };

  runtime(const options& o, const knobs& k, purpose kind) {
    rt_.custom_procs = o.procs != 0;
    std::uint32_t n = static_cast<std::uint32_t>(o.procs != 0 ? o.procs : os::cpu_count());
    if (n > sizes::max_procs) n = sizes::max_procs;
    rt_.procs_limit = n;
    rt_.max_threads = static_cast<std::uint32_t>(o.max_threads);
    rt_.default_stack_class = checked_stack_class(o.stack_size);
    rt_.shutdown_timeout = o.shutdown_timeout.count();
    rt_.exit_with_main = o.on_main_return == main_return::exit;
    rt_.embedded = kind == embedded;
    rt_.report_deadlock = kind == whole && o.deadlock;
    rt_.knobs = k;
    rt_.seed = k.seed != 0 ? k.seed : os::random_seed();
    set_noise(k.noise, rt_.seed);
    // On one CPU nobody can come while somebody looks.
    rt_.spin_ns = os::allowed_cpus() == 1 ? 0 : static_cast<std::int64_t>(k.spin) * 1000;
    rt_.rest_ns = static_cast<std::int64_t>(k.rest) * 1'000'000;
    rt_.start_time = os::now();
    reserve_heaps(n);
    reserve_ps(n);
    // As when gomaxprocs grows: stopped, and then started.
    procresize(&rt_, n);
    for (std::uint32_t i = n; i-- > 0;) {
      rt_.allp[i].status.set(p_status::stopped, p_status::idle);
      if (i != 0 || kind == embedded) pidleput(&rt_, &rt_.allp[i]);
    }
    if (kind == embedded) return;
    {
      mutex_guard guard(rt_.lock);
      m0_ = allocm(&rt_);
    }
    if (m0_ == nullptr) {
      os::unmap(rt_.allp, sizeof(p) * rt_.procs_room);
      refused(12, "an M");
    }
    m0_->callers = true;
    acquirep(m0_, &rt_.allp[0]);
    // Go's own goroutines have used up the first tick when main begins; the golden orders (A20) count from it.
    rt_.allp[0].schedtick.store(1, relaxed);
    rt_.allp[0].tick_mod = 1;
  }

  // Newproc(main): refuses cleanly, before any thread exists, when there is no stack for it.
  // Main is the caller's goroutine, so it inherits the context of the thread. (That of an exploration does not: each run is
  // to be like the others.)
  void start_main(const main_entry& body) {
    inherited_ = extras_for(nullptr, {});
    stack* st = large_main_stack();
    if (st == nullptr) {
      start(body, main_stack_class());
    } else {
      start(body, stack_apart, st);
    }
  }
  // Of every run of an exploration, so the limit is asked for once.
  void start_explored(const explored_main& body, std::uint8_t stack_class) { start(body, stack_class); }

  // `own`: a stack for it alone, which nobody else could find in a cache.
  template <class Body>
  void start(const Body& body, std::uint8_t stack_class, stack* own = nullptr) {
    g* gp = gfget(m0_);
    if (gp == nullptr) {
      if (own != nullptr) the_process.stacks.put_list(stack_apart, own);
      refused(12, "a goroutine");
    }
    using entry = v0::detail::entry_of<Body, const Body&>;
    entry::ops.construct(gp->closure, const_cast<Body*>(&body));
    gp->stack_class = stack_class;
    if (own != nullptr) {
      bind_stack(gp, own);
    } else if (m0_->p->stacks[stack_class] == nullptr) {
      int err = 0;
      stack* st = the_process.stacks.get(gp->stack_class, &err);
      if (st == nullptr) {
        gfput(m0_->p, gp);
        main_stack_refused(stack_class_bytes[stack_class], err);
      }
      // One without a guard must be marked in its goroutine, so it cannot wait in a cache.
      if (st->canary) {
        bind_stack(gp, st);
      } else {
        free_unused_stack(st);
      }
    }
    if (inherited_ != nullptr) give_extras(gp, std::exchange(inherited_, nullptr));
    // Main's start wakes nobody (Go: mainStarted): the M would find nothing, and come before sysmon, which is to be the
    // first thread of all.
    const new_work tell = std::exchange(rt_.tell, new_work::nobody);
    launch(m0_, gp, &entry::ops, &m0_->g0, nullptr);
    rt_.tell = tell;
  }

  void open() {
    the_process.runtimes.fetch_add(1, relaxed);
    // Listed with the thread it has: a look for a deadlock counts the threads of all that are listed.
    start_sysmon(&rt_);
    start_stall_watch(&rt_);
    list_runtime(&rt_);
  }

  // When every M is home, or about to be.
  void close() {
    // order: rt.home
    wait_until_none(rt_.live_ms);
    // A thread outside may still be inside wakep for the last goroutine it readied, or about to ring for sysmon. (Sysmon
    // itself may count once more, but not beyond its end.)
    // order: rt.foreign
    wait_until_none(rt_.foreign);
    stop_stall_watch(&rt_);
    if (rt_.has_sysmon) stop_sysmon(&rt_);
    unlist_runtime(&rt_);
    if (the_process.runtimes.fetch_sub(1, relaxed) == 1) set_noise(0, 0);
  }

  void live() {
    open();
    mstart(m0_);
    close();
  }

  // Class runtime: cancels and joins. Any number of times, from any thread outside.
  void shut_down() {
    if (!rt_.ending.exchange(true, seq_cst)) {
      store_load_barrier();  // order: rt.ending
      // Goroutines that are being started from outside are counted by now, or will be refused.
      wait_until_none(rt_.foreign);  // order: rt.foreign
      // This thread wakes goroutines from outside as others do, and another that calls shutdown must not close meanwhile.
      rt_.foreign.fetch_add(1, seq_cst);  // order: rt.foreign
      begin_the_end(&rt_, status_of_no_value);
      end_if_last(&rt_);
      leave(rt_.foreign);  // order: rt.foreign
    }
    for (std::uint32_t a; ((a = rt_.attention.load(acquire)) & attention_done) == 0;) os::futex_wait(&rt_.attention, a);
    mutex_guard guard(closing_);
    if (closed_) return;
    close();
    closed_ = true;
  }

  ~runtime() {
    discard(inherited_);
    while (m* mp = rt_.freem) {
      rt_.freem = mp->schedlink;
      os::thread_join(mp->thread);
      give_m(mp);
    }
    for (m* mp = rt_.allm; mp != nullptr; mp = mp->alllink) {
      if (!mp->callers) os::thread_join(mp->thread);
    }
    if constexpr (checked) world::check_at_end(&rt_);
    for (std::uint32_t i = 0; i < rt_.nallp.load(relaxed); ++i) give_back(rt_.allp[i]);
    rt_.runq.drop();
    give_back_gs();
    while (m* mp = rt_.allm) {
      rt_.allm = mp->alllink;
      give_m(mp);
    }
    os::unmap(rt_.allp, sizeof(p) * rt_.procs_room);
  }

 private:
  // Address space for as many Ps as there may ever be: they never move. Where that is refused, for as many as can be had,
  // and gomaxprocs cannot go beyond.
  void reserve_ps(std::uint32_t least) {
    int err = 0;
    void* memory = nullptr;
    for (std::uint32_t room = sizes::max_procs; memory == nullptr; room = std::max(room / 2, least)) {
      memory = os::reserve(sizeof(p) * room, &err);
      rt_.procs_room = room;
      if (memory == nullptr && room == least) refused(err, "the Ps");
    }
    rt_.allp = static_cast<p*>(memory);
  }

  // What procresize could not refuse cleanly: at rest, for so many Ps.
  static void reserve_heaps(std::uint32_t n) {
    p_timers* all = nullptr;
    std::uint32_t have = 0;
    for (; have < n; ++have) {
      p_timers* one = timers_get();
      if (one == nullptr) break;
      one->next_free = all;
      all = one;
    }
    while (all != nullptr) timers_put(std::exchange(all, all->next_free));
    if (have < n) refused(12, "the timers of the Ps");
  }

  [[noreturn]] static void refused(int err, const char* what) {
    throw std::system_error(err, std::generic_category(), std::string("weft: no memory for ") + what);
  }

  void free_unused_stack(stack* st) {
    p* pp = m0_->p;
    st->next = pp->stacks[st->size_class];
    pp->stacks[st->size_class] = st;
    ++pp->nstacks[st->size_class];
  }

  void give_back_gs() {
    {
      mutex_guard guard(the_process.lock);
      while (g* gp = rt_.gfree.pop()) give_g(gp);
    }
    rt_.gfree.drop();
  }

  // Under the process's lock.
  static void give_g(g* gp) {
    gp->schedlink = the_process.gfree;
    the_process.gfree = gp;
  }

  static void give_back(p& pp) {
    timers_put(pp.timers);
    for (int c = 0; c < stack_classes; ++c) {
      if (pp.stacks[c] != nullptr) the_process.stacks.put_list(c, pp.stacks[c]);
    }
    mutex_guard guard(the_process.lock);
    while (pp.ngfree != 0) give_g(pp.gfree[--pp.ngfree]);
    pp.~p();
  }

  sched_t rt_;
  m* m0_ = nullptr;
  g_extras* inherited_ = nullptr;  // main's, until that is born
  mutex closing_;
  bool closed_ = false;

 public:
  sched_t* sched() { return &rt_; }
  m* first_m() { return m0_; }
};

void check_options(const options& o) {
  if (o.procs < 0 || o.procs > static_cast<int>(sizes::max_procs)) {
    throw error(bad_value("procs", o.procs, "1 to 4096, or 0 for one per CPU"));
  }
  if (o.max_threads < 1) throw error(bad_value("max_threads", o.max_threads, "1 or more"));
  checked_stack_class(o.stack_size);
  if (o.shutdown_timeout.count() < 0) {
    throw error(bad_value("shutdown_timeout", o.shutdown_timeout.count(), "0 or more nanoseconds"));
  }
  if (o.on_main_return != main_return::cancel && o.on_main_return != main_return::exit) {
    throw error(bad_value("on_main_return", static_cast<int>(o.on_main_return), "main_return::cancel or ::exit"));
  }
}

// Checks the options, reads the knobs, and sets up what the process needs.
knobs booted(const options& o) {
  if (the_process.forked.load(relaxed)) {
    throw error("weft: this process was forked while a runtime was running, whose threads it does not have: call exec");
  }
  check_options(o);
  const knobs k = read_knobs();
  boot_process(k);
  return k;
}

// Destroys what is left of exceptions that the goroutine had caught when it was given up.
void drop_caught(m* mp) {
  while (mp->eh->caught != nullptr) __cxxabiv1::__cxa_end_catch();
  mp->eh->uncaught = 0;
}

}  // namespace

explored_runtime::explored_runtime(exploration* by) : main_class_(main_stack_class()) {
  options o = options::from_env();
  o.procs = 1;
  check_options(o);
  knobs k;
  boot_process(k);
  auto* r = new runtime(o, k, runtime::explored);
  runtime_ = r;
  m_ = r->first_m();
  the_process.runtimes.fetch_add(1, relaxed);
  sched_t* rt = r->sched();
  rt->explore = by;
  rt->tell = new_work::exploration;
  rt->attention.store(attention_explore, relaxed);
  m_->revoke.store((m_->revoke.load(relaxed) & ~revoke_door) | revoke_explore, relaxed);
  minit(m_);
}

explored_runtime::~explored_runtime() {
  // The exceptions of the thread are as they should be, between runs; and one may be on its way through here.
  const eh_globals now = *m_->eh;
  unminit(m_);
  *m_->eh = now;
  // The m may live again in another runtime, and keeps only its generation.
  m_->revoke.store(m_->revoke.load(relaxed) & ~revoke_state, relaxed);
  sched_t* rt = m_->rt;
  releasep(m_);
  rt->attention.store(attention_done, relaxed);
  the_process.runtimes.fetch_sub(1, relaxed);
  if constexpr (checked) world::check_at_end(rt);
  delete static_cast<runtime*>(runtime_);
}

void explored_runtime::run(void (*body)(void*), void* arg) {
  const eh_globals mine = *m_->eh;
  p* pp = m_->p;
  // Numbers are the run's own: 1 is main, and nothing depends on what ran before.
  pp->goid_next = 1;
  pp->goid_end = ~std::uint64_t{0};
  pp->created.store(0, relaxed);
  pp->ended.store(0, relaxed);
  static_cast<runtime*>(runtime_)->start_explored(explored_main{body, arg}, main_class_);
  m_->in_runtime.store(1, relaxed);
  setg(&m_->g0);
  weft_call_saving(&m_->leave, schedule, m_);
  setg(nullptr);
  m_->curg = nullptr;
  *m_->eh = mine;
  // Home without the P, as any M; but what the run has left behind is in it.
  acquirep(m_, pp);
}

// What is owned by frames that nobody unwinds, by a callable that was not called, and by locals.
static void forgive_leaks(const g* gp) {
  if (gp->entry != nullptr) os::leak_forgive(gp->closure, sizeof gp->closure);
  if ((gp->flags & g_has_extras) != 0) os::leak_forgive(gp->extras, sizeof *gp->extras);
  std::uintptr_t from = gp->sched.sp;
  for (const stack* st = gp->stack; st != nullptr; st = st->outer) {
    // Of those further out the whole: where they were left is not known here.
    if (from <= st->lo || from > st->sp0) from = st->lo;
    os::leak_forgive(reinterpret_cast<const void*>(from), st->sp0 - from);
    from = 0;
  }
}

void explored_runtime::abandon(g* gp) {
  forgive_leaks(gp);
  unqueue(gp);
  if (gp->stack != nullptr) {
    const eh_globals mine = *m_->eh;
    *m_->eh = gp->eh;
    drop_caught(m_);
    *m_->eh = mine;
  }
  gp->eh = eh_globals{};
  gp->waiting = nullptr;
  gp->on_list = false;
  gp->entry = nullptr;
  gp->m = nullptr;
  gp->status.set(gp->status.get(), status::dead);
  if ((gp->flags & g_has_extras) != 0) abandon_extras(gp);
  gp->flags = 0;
  p* pp = m_->p;
  while (gp->stack != nullptr && gp->stack->outer != nullptr) keep_stack(pp, return_stack(gp));
  if (stack* st = gp->stack) {
    gp->stack = nullptr;
    free_stack(pp, st);
  }
  bump(pp->ended);
  gfput(pp, gp);
}

g* explored_runtime::take_queued() {
  sched_t* rt = m_->rt;
  p* pp = m_->p;
  if (g* gp = pp->q.take_next()) return gp;
  if (g* gp = pp->q.take()) return gp;
  if (rt->runq_size.load(relaxed) == 0) return nullptr;
  mutex_guard guard(rt->lock);
  g* gp = rt->runq.pop_front();
  runq_changed(rt);
  return gp;
}

std::uint64_t explored_runtime::alive() const {
  const p& pp = *m_->p;
  return pp.created.load(relaxed) - pp.ended.load(relaxed);
}

void boot_for_thread() {
  {
    mutex_guard guard(the_process.lock);
    if (the_process.booted) return;
  }
  boot_process(read_knobs());
}

void leave_for_good(g* gp) {
  m* mp = gp->m;
  drop_caught(mp);
  gp->eh = eh_globals{};
  mp->in_runtime.store(1, relaxed);
  mp->after = nullptr;
  // Nobody continues it; its frames can be read.
  switch_to(mp, &gp->sched, nullptr, &mp->g0);
  fatal("sched: a goroutine that was left for good was continued");
}

}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void run_main(const options& o, void (*body)(void*), void* arg, int (*exit_status)(void*), void* result) {
  using namespace weft::rt;
  if (g* gp = getg()) {
    if (gp->rt->explore != nullptr) {
      throw error("weft::run called inside an exploration: its body is the main goroutine of a runtime already");
    }
    throw error("weft::run called inside a goroutine: a runtime is running on this thread");
  }
  rt::runtime r(o, booted(o), rt::runtime::whole);
  r.start_main({r.sched(), body, arg, exit_status, result});
  r.live();
}

void* runtime_open(const options& o) {
  auto* r = new rt::runtime(o, rt::booted(o), rt::runtime::embedded);
  r->open();
  return r;
}

void runtime_go(void* r, const entry_ops* ops, void* from, text name, std::size_t stack_size) {
  rt::newproc_for(static_cast<rt::runtime*>(r)->sched(), ops, from, name, stack_size, __builtin_return_address(0));
}

void runtime_shutdown(void* r) {
  auto* of = static_cast<rt::runtime*>(r);
  const rt::g* self = rt::getg();
  if (self != nullptr && self->rt == of->sched()) {
    throw error("weft::runtime::shutdown called inside a goroutine of that runtime: it would wait for itself");
  }
  // A goroutine of another runtime gives its P to others meanwhile.
  blocking_scope outside;
  of->shut_down();
}

void runtime_close(void* r) noexcept {
  // A static one, at exit: in a goroutine of its own, which cannot wait for itself, or in a child, whose parent has the
  // threads. The process is about to end, and takes it along.
  const rt::g* self = rt::getg();
  if (self != nullptr && self->rt == static_cast<rt::runtime*>(r)->sched()) return;
  if (rt::the_process.forked.load(rt::relaxed)) return;
  runtime_shutdown(r);
  delete static_cast<rt::runtime*>(r);
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
