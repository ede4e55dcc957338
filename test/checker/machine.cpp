#include "checker/machine.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "arch/gobuf.hpp"
#include "checker/memory.hpp"
#include "checker/search.hpp"

namespace weft::check {

void (*swap_thread_state)(thread_state&, const thread_state&) = nullptr;

namespace {

constexpr std::uint32_t most_choices = 36;  // a digit of a path
constexpr std::uint32_t most_stores = 8;    // that a load looks back over
constexpr std::size_t stack_bytes = std::size_t{128} << 10;

enum class state : std::uint8_t { free, runnable, waiting, joining, locking, finished };

struct model_thread {
  rt::gobuf context;
  char* stack = nullptr;
  state st = state::free;
  memory_view view;
  mask waits_for = 0;  // after a yield: who must have a step first
  std::uint64_t futex = 0;
  std::int64_t deadline = -1;
  bool timed_out = false;
  bool may_be_left = false;
  std::uint32_t joins = 0;
  std::uint32_t locks = 0;  // index
  void (*fn)(void*) = nullptr;
  void* arg = nullptr;
  thread_state kept;
};

model_thread threads[max_threads];
step pending[max_threads];  // what each does next
memory_view* views[max_threads];
std::uint32_t nthreads = 0;
std::uint32_t cur = 0;
bool running = false;    // an execution is under way
bool in_checker = true;  // the checker's own code runs: its memory and accesses are not the model's
rt::gobuf outside;       // the runner, on the process's stack
rt::gobuf nowhere;
search* srch = nullptr;
settings how;
bool recording = false;
verdict result = verdict::done;
std::string failure;
std::vector<event> events;
std::uint64_t nsteps = 0;
std::int64_t clock_ns = 0;
std::uint32_t spurious_left = 0;
std::uint32_t timeouts_left = 0;  // that may come while others can go on
std::uint64_t outcome_value = 0;
std::uint32_t generation = 0;
std::vector<std::uint32_t> futex_queue;  // waiting threads, oldest first

struct lock_state {
  std::uint64_t at;
  bool held;
  std::uint32_t holder;
  vclock vc, cov;
};
std::vector<lock_state> locks;  // of this execution

// While a checker function runs on a model thread's fibre.
class inside {
 public:
  inside() { in_checker = true; }
  ~inside() { in_checker = false; }
};

[[noreturn]] void leave(verdict v) {
  result = v;
  in_checker = true;
  rt::weft_switch(&nowhere, &outside, nullptr);
  std::abort();
}

void switch_thread(std::uint32_t to) {
  model_thread& from = threads[cur];
  model_thread& next = threads[to];
  if (swap_thread_state != nullptr) swap_thread_state(from.kept, next.kept);
  cur = to;
  rt::weft_switch(&from.context, &next.context, nullptr);
}

// Kept up to date where a state changes, because every step asks.
mask runnable = 0;
mask timed = 0;  // asleep, and may wake by themselves
mask dated = 0;  // those of them that have a deadline
mask joining = 0;
mask locking = 0;
mask yielders = 0;  // have waits_for

mask enabled_threads() {
  mask m = runnable | (timed & ~dated);
  for (mask j = joining; j != 0; j &= j - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(j));
    if (threads[threads[i].joins].st == state::finished) m |= mask{1} << i;
  }
  for (mask l = locking; l != 0; l &= l - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(l));
    if (!locks[threads[i].locks].held) m |= mask{1} << i;
  }
  // Who only waits for others to get on counts for nobody.
  return timeouts_left != 0 || (m & ~yielders) == 0 ? m | timed : m;
}

void set_state(std::uint32_t i, state s) {
  const mask bit = mask{1} << i;
  threads[i].st = s;
  runnable = s == state::runnable ? runnable | bit : runnable & ~bit;
  joining = s == state::joining ? joining | bit : joining & ~bit;
  locking = s == state::locking ? locking | bit : locking & ~bit;
  timed = s == state::waiting && (threads[i].deadline >= 0 || spurious_left != 0) ? timed | bit : timed & ~bit;
  dated = s == state::waiting && threads[i].deadline >= 0 ? dated | bit : dated & ~bit;
}

std::string who_waits() {
  std::string text;
  for (std::uint32_t i = 0; i < nthreads; ++i) {
    const model_thread& t = threads[i];
    char line[96];
    if (t.st == state::waiting) {
      std::snprintf(line, sizeof line, "; thread %u sleeps at pc %#x", i, pending[i].pc);
    } else if (t.st == state::joining) {
      std::snprintf(line, sizeof line, "; thread %u joins thread %u", i, t.joins);
    } else if (t.st == state::locking) {
      std::snprintf(line, sizeof line, "; thread %u waits for a lock that thread %u holds, at pc %#x", i,
                    locks[t.locks].holder, pending[i].pc);
    } else {
      continue;
    }
    text += line;
  }
  return text;
}

// Who does the next step. Returns on the fibre of the caller when it is its turn (again).
void schedule() {
  if (++nsteps > how.max_steps) fail("livelock: no end after %u steps", how.max_steps);
  mask enabled = enabled_threads();
  if (enabled == 0) {
    for (std::uint32_t i = 0; i < nthreads; ++i) {
      const model_thread& t = threads[i];
      const bool left = t.may_be_left && threads[0].st == state::finished;
      if (t.st != state::finished && !left) fail("deadlock: nobody can go on%s", who_waits().c_str());
    }
    leave(verdict::done);
  }
  mask fair = enabled;
  for (mask y = yielders & enabled; y != 0; y &= y - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(y));
    if ((threads[i].waits_for & enabled) != 0) fair &= ~(mask{1} << i);
  }
  if (fair == 0) {
    fair = enabled;
    yielders = 0;
    for (std::uint32_t i = 0; i < nthreads; ++i) threads[i].waits_for = 0;
  }
  const int next = srch->pick(fair, cur, pending);
  if (next < 0) leave(verdict::pruned);
  const auto t = static_cast<std::uint32_t>(next);
  srch->doing(t, pending[t]);
  for (mask y = yielders; y != 0; y &= y - 1) {
    const auto i = static_cast<std::uint32_t>(std::countr_zero(y));
    threads[i].waits_for &= ~(mask{1} << t);
    if (threads[i].waits_for == 0) yielders &= ~(mask{1} << i);
  }
  model_thread& th = threads[t];
  if (th.st == state::waiting) {
    th.timed_out = true;
    if (th.deadline >= 0) {
      clock_ns = std::max(clock_ns, th.deadline);
      if (timeouts_left != 0 && timeouts_left != ~0u) --timeouts_left;
    } else if (--spurious_left == 0) {
      for (std::uint32_t i = 0; i < nthreads; ++i) {
        if (threads[i].deadline < 0) timed &= ~(mask{1} << i);
      }
    }
    futex_queue.erase(std::find(futex_queue.begin(), futex_queue.end(), t));
    if (recording) events.push_back({pending[t], t, 0, 0, true, false, {}});
    set_state(t, state::runnable);
  } else if (th.st == state::joining || th.st == state::locking) {
    set_state(t, state::runnable);
  }
  if (t != cur) switch_thread(t);
}

void announce(act what, order o, std::uint32_t pc, std::uint64_t object, bool writes) {
  step& s = pending[cur];
  s.what = what;
  s.ord = o;
  s.global = false;
  s.object[0] = object;
  s.writes[0] = writes;
  s.object[1] = o == seq_cst ? sc_object : 0;
  s.writes[1] = what == act::fence;
  s.pc = pc;
}

event* record() {
  if (!recording) return nullptr;
  events.push_back({pending[cur], cur, 0, 0, true, false, {}});
  return &events.back();
}

memory_view& my_view() { return threads[cur].view; }
void tick() { ++threads[cur].view.vc.at[cur], threads[cur].view.cov.at[cur] = threads[cur].view.vc.at[cur]; }

[[noreturn]] void thread_end() {
  in_checker = true;
  set_state(cur, state::finished);
  pending[cur] = step{};
  pending[cur].what = act::end;
  record();
  tick();
  schedule();
  std::abort();
}

}  // namespace

}  // namespace weft::check

// Where a fibre begins: weft_switch returns into it, with the stack as after a call.
extern "C" [[gnu::used]] void weft_check_thread_main() {
  using namespace weft::check;
  model_thread& t = threads[cur];
  in_checker = false;
  t.fn(t.arg);
  thread_end();
}

namespace weft::check {
namespace {

void new_thread(std::uint32_t i, void (*fn)(void*), void* arg) {
  model_thread& t = threads[i];
  if (t.stack == nullptr) {
    void* memory =
        ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    t.stack = static_cast<char*>(memory);
  }
  auto* word = reinterpret_cast<std::uintptr_t*>(t.stack + stack_bytes - 64);
  *--word = 0;
  *--word = reinterpret_cast<std::uintptr_t>(&weft_check_thread_main);
  for (int k = 0; k < 6; ++k) *--word = 0;
  t.context.sp = reinterpret_cast<std::uintptr_t>(word);
  t.deadline = -1;
  set_state(i, state::runnable);
  t.fn = fn;
  t.arg = arg;
  pending[i] = step{};
  t.waits_for = 0;
  t.may_be_left = false;
  t.kept = thread_state{};
  t.view.vc.clear();
  t.view.cov.clear();
  t.view.has_rel = false;
  t.view.has_acq = false;
  t.view.sc_fence_step = 0;
  views[i] = &t.view;
}

// A planted mistake, or a real one, may jump anywhere: that ends the execution, not the search.
void on_fault(int sig, siginfo_t* info, void* context) {
  if (!running) {
    ::signal(sig, SIG_DFL);
    return;
  }
  const auto pc = static_cast<std::uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  fail("signal %d (%s) at address %p, pc %#llx", sig,
       sig == SIGSEGV  ? "SIGSEGV"
       : sig == SIGBUS ? "SIGBUS"
                       : "SIGILL",
       info->si_addr, static_cast<unsigned long long>(pc));
}

void catch_faults() {
  static char alternate[std::size_t{64} << 10];
  stack_t st{};
  st.ss_sp = alternate;
  st.ss_size = sizeof alternate;
  ::sigaltstack(&st, nullptr);
  struct sigaction how_to {};
  how_to.sa_sigaction = on_fault;
  // Not masked: fail() never returns from the handler.
  how_to.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (const int sig : {SIGSEGV, SIGBUS, SIGILL}) ::sigaction(sig, &how_to, nullptr);
}

}  // namespace

void heap_reset();

bool dependent(const step& a, const step& b) {
  if (a.global || b.global) return true;
  for (int i = 0; i < 2; ++i) {
    if (a.object[i] == 0) continue;
    for (int k = 0; k < 2; ++k) {
      if (a.object[i] == b.object[k] && (a.writes[i] || b.writes[k])) return true;
    }
  }
  return false;
}

namespace {
void (*resets[8])() = {};
std::uint32_t nresets = 0;
}  // namespace

bool before_each_execution(void (*reset)()) {
  if (nresets == std::size(resets)) std::abort();
  resets[nresets++] = reset;
  return true;
}

verdict run_once(void (*body)(), search& s, const settings& want, bool record_it) {
  static const bool catching = (catch_faults(), true);
  static_cast<void>(catching);
  how = want;
  srch = &s;
  recording = record_it;
  events.clear();
  failure.clear();
  futex_queue.clear();
  runnable = timed = dated = joining = locking = yielders = 0;
  locks.clear();
  nsteps = 0;
  clock_ns = 1'000'000'000;
  spurious_left = how.spurious_wakeups;
  timeouts_left = how.timeouts;
  outcome_value = 0;
  memory_reset(++generation);
  heap_reset();
  for (std::uint32_t i = 0; i < nresets; ++i) resets[i]();
  new_thread(
      0, [](void* b) { reinterpret_cast<void (*)()>(b)(); }, reinterpret_cast<void*>(body));
  nthreads = 1;
  threads[0].view.vc.at[0] = threads[0].view.cov.at[0] = 1;
  cur = 0;
  running = true;
  thread_state mine;
  if (swap_thread_state != nullptr) swap_thread_state(mine, threads[0].kept);
  rt::weft_switch(&outside, &threads[0].context, nullptr);
  running = false;
  in_checker = true;
  thread_state last;
  if (swap_thread_state != nullptr) swap_thread_state(last, mine);
  if (result == verdict::done && live_allocations() != 0) {
    failure = "leak: " + std::to_string(live_allocations()) + " allocations were not freed";
    result = verdict::failed;
  }
  return result;
}

const std::string& failure_text() { return failure; }
const std::vector<event>& recorded() { return events; }
std::uint32_t threads_used() { return nthreads; }
std::uint64_t steps_done() { return nsteps; }
std::uint64_t outcome() { return outcome_value; }
bool active() { return running && !in_checker; }
std::uint32_t current_thread() { return cur; }
void may_be_left_asleep() { threads[cur].may_be_left = true; }
std::int64_t now() { return clock_ns; }
void time_passes(std::int64_t ns) { clock_ns += ns; }

void fail(const char* fmt, ...) {
  in_checker = true;
  char text[1024];
  va_list args;
  va_start(args, fmt);
  std::vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  failure = text;
  if (!running) {
    std::fprintf(stderr, "checker: %s (outside of an execution)\n", text);
    std::abort();
  }
  leave(verdict::failed);
}

void note(const char* fmt, ...) {
  inside me;
  if (!recording) return;
  char text[512];
  va_list args;
  va_start(args, fmt);
  std::vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  event e;
  e.thread = cur;
  e.note = text;
  events.push_back(e);
}

void report_outcome(std::uint64_t value) { outcome_value = value; }

std::uint32_t choose(std::uint32_t n) {
  if (n <= 1) return 0;
  inside me;
  if (n > most_choices) fail("a choice of %u, and a path has room for %u", n, most_choices);
  const std::uint32_t c = srch->choose(n);
  if (recording) {
    event e;
    e.thread = cur;
    e.note = "chooses " + std::to_string(c) + " of " + std::to_string(n);
    events.push_back(e);
  }
  return c;
}

std::uint32_t spawn(void (*fn)(void*), void* arg, std::uint32_t pc) {
  inside me;
  announce(act::spawn, relaxed, pc, 0, false);
  schedule();
  record();
  if (nthreads == max_threads) fail("more than %u threads", max_threads);
  const std::uint32_t i = nthreads;
  new_thread(i, fn, arg);
  ++nthreads;
  memory_view& v = threads[i].view;
  v.vc = my_view().vc;
  v.cov = my_view().cov;
  v.vc.at[i] = v.cov.at[i] = 1;
  tick();
  srch->caused(cur, i);
  return i;
}

void join(std::uint32_t thread, std::uint32_t pc) {
  inside me;
  announce(act::join, relaxed, pc, 0, false);
  threads[cur].joins = thread;
  set_state(cur, state::joining);
  schedule();
  record();
  srch->caused(thread, cur);
  memory_view& v = my_view();
  v.vc.join(threads[thread].view.vc, nthreads);
  v.cov.join(threads[thread].view.cov, nthreads);
}

void yield_step(std::uint32_t pc) {
  inside me;
  announce(act::yield, relaxed, pc, 0, false);
  pending[cur].global = true;
  schedule();
  record();
  const mask others = (enabled_threads() | timed) & ~(mask{1} << cur);
  threads[cur].waits_for = others;
  if (others != 0) yielders |= mask{1} << cur;
  srch->yielded(cur);
  see_newest(my_view(), views, nthreads);
}

void sleep_until(std::int64_t when, std::uint32_t pc) {
  yield_step(pc);
  clock_ns = std::max(clock_ns, when);
}

void membarrier_step(std::uint32_t pc) {
  inside me;
  announce(act::membarrier, seq_cst, pc, 0, false);
  pending[cur].global = true;
  schedule();
  record();
  do_membarrier(views, nthreads, static_cast<std::uint32_t>(nsteps));
  tick();  // what this thread stores next is not among what the others have just been made to see
}

std::uint32_t count_threads(std::uint32_t pc) {
  inside me;
  announce(act::yield, relaxed, pc, 0, false);
  pending[cur].global = true;
  schedule();
  record();
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < nthreads; ++i) n += threads[i].st != state::finished ? 1 : 0;
  return n;
}

bool futex_wait(void* word, std::uint32_t expected, std::int64_t timeout_ns, std::uint32_t pc) {
  inside me;
  const auto addr = reinterpret_cast<std::uint64_t>(word);
  announce(act::futex_wait, relaxed, pc, addr, false);
  pending[cur].object[1] = waiters_of(addr);
  pending[cur].writes[1] = true;
  schedule();
  event* e = record();
  check_not_freed(word, pc);
  const auto found = static_cast<std::uint32_t>(raw_load(word, 4));
  if (e != nullptr) {
    e->value = found;
    e->ok = found == expected;
  }
  if (found != expected) {
    // The kernel has read the word in this thread: coherence holds for what the thread reads next.
    memory_view& v = my_view();
    location& l = location_at(word, 4, cur, v, pc);
    do_read(l, l.newest, cur, v, relaxed);
    tick();
    return true;
  }
  model_thread& t = threads[cur];
  t.futex = addr;
  t.deadline = timeout_ns < 0 ? -1 : clock_ns + timeout_ns;
  t.timed_out = false;
  set_state(cur, state::waiting);
  futex_queue.push_back(cur);
  announce(act::timeout, relaxed, pc, waiters_of(addr), true);
  // It moves the clock, which anybody may read, or takes from the budget of spurious wake-ups, which all share.
  pending[cur].global = true;
  schedule();
  t.deadline = -1;
  return !t.timed_out;
}

void futex_wake(void* word, int n, std::uint32_t pc) {
  inside me;
  const auto addr = reinterpret_cast<std::uint64_t>(word);
  announce(act::futex_wake, relaxed, pc, waiters_of(addr), true);
  schedule();
  event* e = record();
  for (std::size_t i = 0; i < futex_queue.size() && n > 0;) {
    const std::uint32_t w = futex_queue[i];
    if (threads[w].futex != addr) {
      ++i;
      continue;
    }
    futex_queue.erase(futex_queue.begin() + static_cast<std::ptrdiff_t>(i));
    set_state(w, state::runnable);
    const std::uint32_t at = pending[w].pc;
    pending[w] = step{};
    pending[w].what = act::resume;
    pending[w].pc = at;
    srch->caused(cur, w);
    // The kernel wakes after it has seen what the waker had done: whoever is woken sees that too, and no more.
    threads[w].view.cov.join(my_view().cov, nthreads);
    if (e != nullptr) e->note += " wakes " + std::to_string(w);
    --n;
  }
  tick();  // what this thread stores next is not among what they have learned
}

namespace {

std::uint32_t lock_index(std::uint64_t at) {
  for (std::uint32_t i = 0; i < locks.size(); ++i) {
    if (locks[i].at == at) return i;
  }
  lock_state fresh{at, false, 0, {}, {}};
  locks.push_back(fresh);
  return static_cast<std::uint32_t>(locks.size() - 1);
}

void take_lock(lock_state& l) {
  l.held = true;
  l.holder = cur;
  my_view().vc.join(l.vc, nthreads);
  my_view().cov.join(l.cov, nthreads);
  tick();
}

}  // namespace

void lock_step(const void* lock, std::uint32_t pc) {
  if (!active()) return;
  inside me;
  const auto at = reinterpret_cast<std::uint64_t>(lock);
  check_not_freed(lock, pc);
  announce(act::lock, relaxed, pc, at, true);
  threads[cur].locks = lock_index(at);
  set_state(cur, state::locking);
  schedule();
  record();
  check_not_freed(lock, pc);
  take_lock(locks[threads[cur].locks]);
}

bool try_lock_step(const void* lock, std::uint32_t pc) {
  if (!active()) return true;
  inside me;
  const auto at = reinterpret_cast<std::uint64_t>(lock);
  announce(act::try_lock, relaxed, pc, at, true);
  pending[cur].object[1] = held_state_of(at);
  schedule();
  event* e = record();
  check_not_freed(lock, pc);
  lock_state& l = locks[lock_index(at)];
  if (e != nullptr) e->ok = !l.held;
  if (l.held) return false;
  take_lock(l);
  return true;
}

void unlock_step(const void* lock, std::uint32_t pc) {
  if (!active()) return;
  inside me;
  const auto at = reinterpret_cast<std::uint64_t>(lock);
  announce(act::unlock, relaxed, pc, held_state_of(at), true);
  schedule();
  record();
  check_not_freed(lock, pc);
  lock_state& l = locks[lock_index(at)];
  if (!l.held) fail("unlock of a lock that nobody holds: %p at pc %#x", lock, pc);
  l.held = false;
  l.vc = my_view().vc;
  l.cov = my_view().cov;
  tick();
}

namespace {

struct weakened {
  std::uint32_t pc;
  order to;
};
std::vector<weakened> weak_sites;
bool collecting = false;
std::vector<site_use> sites;
std::vector<std::uint64_t> sites_seen(1u << 16, 0);

order actual(order o, std::uint32_t pc, act what) {
  if (collecting) [[unlikely]] {
    const std::uint64_t key = (std::uint64_t{pc} << 8) | static_cast<std::uint64_t>(what) << 4 | o;
    std::uint32_t i = static_cast<std::uint32_t>((key * 0x9e3779b97f4a7c15u) >> 48);
    while (sites_seen[i] != 0 && sites_seen[i] != key) i = (i + 1) & 0xffff;
    if (sites_seen[i] == 0) {
      sites_seen[i] = key;
      sites.push_back({pc, what, o});
    }
  }
  for (const weakened& w : weak_sites) {
    if (w.pc == pc) return w.to;
  }
  return o;
}

}  // namespace

void weaken_site(std::uint32_t pc, order to) { weak_sites.push_back({pc, to}); }
void forget_weakened() { weak_sites.clear(); }
void collect_sites(bool on) {
  collecting = on;
  sites.clear();
  std::fill(sites_seen.begin(), sites_seen.end(), 0);
}
const std::vector<site_use>& collected_sites() { return sites; }

namespace {
bool may_be_stale(const location& l) {
  if (!how.weak || l.stale[cur] >= how.stale_limit) return false;
  const store& s = store_at(l.newest);
  return srch->looks_past(thread_of(s.when), s.step);
}
}  // namespace

namespace {

// The store that a load reads: the newest, or an older one that it may read. `except`: a failing CAS reads what differs
// from it, and one that succeeds the newest only.
std::uint32_t store_to_read(location& l, order o, const std::uint64_t* except) {
  if (!may_be_stale(l)) return l.newest;
  std::uint32_t may[most_stores];
  const std::uint32_t found = candidates(l, my_view(), o, may, most_stores);
  std::uint32_t n = 1;
  for (std::uint32_t i = 1; i < found; ++i) {
    if (except == nullptr || store_at(may[i]).value != *except) may[n++] = may[i];
  }
  return may[n > 1 ? srch->choose(n) : 0];
}

}  // namespace

std::uint64_t atomic_load(const void* at, std::uint32_t size, order o, std::uint32_t pc) {
  if (!active()) return raw_load(at, size);
  inside me;
  o = actual(o, pc, act::load);
  announce(act::load, o, pc, reinterpret_cast<std::uint64_t>(at), false);
  schedule();
  event* e = record();
  memory_view& v = my_view();
  location& l = location_at(at, size, cur, v, pc);
  const std::uint32_t from = store_to_read(l, o, nullptr);
  do_read(l, from, cur, v, o);
  tick();
  const std::uint64_t value = store_at(from).value;
  if (e != nullptr) {
    e->value = value;
    e->before = store_at(l.newest).value;
    e->stale = from != l.newest;
  }
  return value;
}

void atomic_store(void* at, std::uint32_t size, std::uint64_t value, order o, std::uint32_t pc) {
  if (!active()) return raw_store(at, size, value);
  inside me;
  o = actual(o, pc, act::store);
  announce(act::store, o, pc, reinterpret_cast<std::uint64_t>(at), true);
  schedule();
  memory_view& v = my_view();
  if (event* e = record()) e->value = value;
  location& l = location_at(at, size, cur, v, pc);
  do_write(l, value, cur, v, o, false, static_cast<std::uint32_t>(nsteps));
  tick();
}

namespace {

std::uint64_t trim(std::uint64_t v, std::uint32_t size) {
  return size == 8 ? v : v & ((std::uint64_t{1} << (size * 8)) - 1);
}

std::uint64_t apply(rmw_op op, std::uint64_t old, std::uint64_t v, std::uint32_t size) {
  switch (op) {
    case rmw_op::exchange: return v;
    case rmw_op::add: return trim(old + v, size);
    case rmw_op::sub: return trim(old - v, size);
    case rmw_op::band: return old & v;
    case rmw_op::bor: return old | v;
    case rmw_op::bxor: return old ^ v;
    case rmw_op::nand: return trim(~(old & v), size);
  }
  return v;
}

}  // namespace

std::uint64_t atomic_rmw(void* at, std::uint32_t size, rmw_op op, std::uint64_t value, order o, std::uint32_t pc) {
  if (!active()) {
    const std::uint64_t old = raw_load(at, size);
    raw_store(at, size, apply(op, old, value, size));
    return old;
  }
  inside me;
  o = actual(o, pc, act::rmw);
  announce(act::rmw, o, pc, reinterpret_cast<std::uint64_t>(at), true);
  schedule();
  event* e = record();
  memory_view& v = my_view();
  location& l = location_at(at, size, cur, v, pc);
  const std::uint64_t old = store_at(l.newest).value;
  const std::uint64_t fresh = apply(op, old, trim(value, size), size);
  do_read(l, l.newest, cur, v, o);
  do_write(l, fresh, cur, v, o, true, static_cast<std::uint32_t>(nsteps));
  tick();
  if (e != nullptr) {
    e->before = old;
    e->value = fresh;
  }
  return old;
}

std::uint64_t atomic_cas(void* at, std::uint32_t size, std::uint64_t expected, std::uint64_t value, order ok, order no,
                         std::uint32_t pc) {
  if (!active()) {
    const std::uint64_t old = raw_load(at, size);
    if (old == expected) raw_store(at, size, value);
    return old;
  }
  inside me;
  ok = actual(ok, pc, act::cas);
  announce(act::cas, ok, pc, reinterpret_cast<std::uint64_t>(at), true);
  schedule();
  event* e = record();
  memory_view& v = my_view();
  location& l = location_at(at, size, cur, v, pc);
  const std::uint32_t from = store_to_read(l, no, &expected);
  const std::uint32_t newest = l.newest;
  const std::uint64_t old = store_at(from).value;
  if (old == expected) {
    do_read(l, l.newest, cur, v, ok);
    do_write(l, value, cur, v, ok, true, static_cast<std::uint32_t>(nsteps));
  } else {
    do_read(l, from, cur, v, no);
  }
  tick();
  if (e != nullptr) {
    e->before = old;
    e->value = value;
    e->ok = old == expected;
    e->stale = from != newest;
  }
  return old;
}

void atomic_fence(order o, std::uint32_t pc) {
  if (!active()) return;
  inside me;
  o = actual(o, pc, act::fence);
  if (o == relaxed) return;
  memory_view& v = my_view();
  // An acquire or release fence is nobody else's business.
  if (o == seq_cst) {
    announce(act::fence, o, pc, sc_object, true);
    schedule();
  } else {
    announce(act::fence, o, pc, 0, false);
  }
  record();
  do_fence(cur, v, o, static_cast<std::uint32_t>(nsteps));
  tick();
}

namespace {
const char* ignored = nullptr;
std::size_t ignored_bytes = 0;
}  // namespace

void ignore_memory(const void* at, std::size_t bytes) {
  ignored = static_cast<const char*>(at);
  ignored_bytes = bytes;
}

void plain_access(const void* at, std::size_t size, bool write, std::uint32_t pc) {
  if (!active()) return;
  if (static_cast<std::size_t>(static_cast<const char*>(at) - ignored) < ignored_bytes) return;
  in_checker = true;
  check_plain(reinterpret_cast<std::uint64_t>(at), size, write, cur, my_view(), pc);
  in_checker = false;
}

// ---- memory of the code under test: a region that is filled once per execution

namespace {

constexpr std::size_t heap_bytes = std::size_t{64} << 20;
char* heap = nullptr;
std::size_t heap_used = 0;
std::size_t heap_limit = 0;
std::uint64_t heap_live = 0;
struct block_header {
  std::uint64_t bytes;
  std::uint64_t magic;
};
constexpr std::uint64_t block_alive = 0x616c697665;
constexpr std::uint64_t block_freed = 0x6672656564;

}  // namespace

void heap_reset() {
  if (heap == nullptr) {
    void* m = ::mmap(nullptr, heap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) std::abort();
    heap = static_cast<char*>(m);
    heap_limit = heap_bytes;
  }
  heap_used = 0;
  heap_live = 0;
}

void* model_alloc(std::size_t bytes, std::size_t align) {
  inside me;
  std::size_t at = heap_used + sizeof(block_header);
  at = (at + align - 1) & ~(align - 1);
  if (at + bytes + 8 > heap_limit) fail("an execution uses more than %zu bytes of heap", heap_limit);
  heap_used = (at + bytes + 15) & ~std::size_t{15};
  char* p = heap + at;
  *reinterpret_cast<block_header*>(p - sizeof(block_header)) = {bytes, block_alive};
  mark_fresh(p, bytes);
  ++heap_live;
  return p;
}

bool is_model_memory(const void* p) { return heap != nullptr && p >= heap && p < heap + heap_bytes; }

void model_free(void* p, std::uint32_t pc) {
  // An execution that was left in the middle leaves blocks behind, which mean nothing to the next.
  if (!active()) return;
  inside me;
  auto* h = reinterpret_cast<block_header*>(static_cast<char*>(p) - sizeof(block_header));
  if (h->magic != block_alive) fail("double free, or free of what was not allocated: %p at pc %#x", p, pc);
  h->magic = block_freed;
  mark_freed(p, h->bytes, cur, my_view(), pc);
  --heap_live;
}

std::uint64_t live_allocations() { return heap_live; }

}  // namespace weft::check
