// machine: a small computer with the C++ memory model, on which production code runs to be searched for bugs.
//
// Code under test is compiled with -fsanitize=thread and linked with tsan_interface.cpp instead of libtsan: every
// atomic with its memory order, every fence and every plain access arrives here. Model threads are fibres on one
// OS thread; between two visible steps (an atomic, a fence, a system call of sys_model.cpp) exactly one of them runs.
// A search (search.hpp) decides who is next and which store a load reads, and so walks through executions.
//
// One machine per process, and it does not nest: everything here is global state of one single-threaded program.
//
//   machine.cpp   threads, scheduling points, blocking, failures
//   memory.cpp    what a load may read, happens-before, data races, freed memory
//   search.cpp    which execution comes next
//   report.cpp    a failed execution as a picture
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace weft::check {

inline constexpr std::uint32_t max_threads = 16;
using mask = std::uint32_t;  // one bit per thread

// What a thread knows of every thread's progress.
struct vclock {
  std::uint32_t at[max_threads];

  void clear() { std::memset(at, 0, sizeof at); }
  void join(const vclock& o, std::uint32_t n) {
    for (std::uint32_t i = 0; i < n; ++i) at[i] = at[i] < o.at[i] ? o.at[i] : at[i];
  }
};

// A moment of a thread: its number and its own clock then.
using epoch = std::uint32_t;
inline constexpr std::uint32_t epoch_bits = 28;
inline epoch make_epoch(std::uint32_t thread, std::uint32_t at) { return thread << epoch_bits | at; }
inline std::uint32_t thread_of(epoch e) { return e >> epoch_bits; }
inline std::uint32_t time_of(epoch e) { return e & ((1u << epoch_bits) - 1); }
inline bool covers(const vclock& c, epoch e) { return c.at[thread_of(e)] >= time_of(e); }

// The compiler's numbers for memory orders.
enum order : std::uint8_t { relaxed = 0, consume = 1, acquire = 2, release = 3, acq_rel = 4, seq_cst = 5 };
inline bool acquires(order o) { return o == acquire || o == consume || o == acq_rel || o == seq_cst; }
inline bool releases(order o) { return o == release || o == acq_rel || o == seq_cst; }

enum class act : std::uint8_t {
  begin,
  load,
  store,
  rmw,
  cas,
  fence,
  futex_wait,
  futex_wake,
  timeout,
  resume,
  membarrier,
  spawn,
  join,
  yield,
  lock,
  try_lock,
  unlock,
  end,
};

// A visible step, announced before it is done. Two steps of different threads are dependent when one of them is
// global, or when they share an object that one of them writes.
struct step {
  act what = act::begin;
  order ord = relaxed;
  bool global = false;
  bool writes[2] = {false, false};
  std::uint64_t object[2] = {0, 0};
  std::uint32_t pc = 0;
};
bool dependent(const step& a, const step& b);

// The object that seq_cst fences write and other seq_cst operations read.
inline constexpr std::uint64_t sc_object = 2;
// Those who wait on a word are another object than the word.
inline std::uint64_t waiters_of(std::uint64_t word) { return word | std::uint64_t{1} << 63; }
// What an unlock changes for try_lock; who blocks in lock is ordered by the lock alone.
inline std::uint64_t held_state_of(std::uint64_t lock) { return lock | std::uint64_t{1} << 62; }

// One line of a recorded execution.
struct event {
  step what;
  std::uint32_t thread = 0;
  std::uint64_t value = 0;   // loaded or stored
  std::uint64_t before = 0;  // rmw, cas: what was there
  bool ok = true;            // cas: it was done; futex_wait: it slept
  bool stale = false;        // a load of something that is not the newest
  std::string note;
};

struct settings {
  bool weak = true;                    // false: sequential consistency
  std::uint32_t max_steps = 20000;     // more is a livelock
  std::uint32_t stale_limit = 6;       // so often may a thread read past the newest store of one location in a row
  std::uint32_t spurious_wakeups = 0;  // futex_wait returns for no reason so often in an execution
  // A time is up so often while others could go on; after that, when nobody else can. Who asks again and again after a
  // while would otherwise do so for ever beside a thread that stands still.
  std::uint32_t timeouts = ~0u;
};

class search;

enum class verdict : std::uint8_t { done, pruned, failed };

// ---- running executions (called by the runner, on the process's own stack)
verdict run_once(void (*body)(), search& s, const settings& how, bool record);
const std::string& failure_text();
const std::vector<event>& recorded();
std::uint32_t threads_used();
std::uint64_t steps_done();  // in this execution
std::uint64_t outcome();     // what the model reported

// ---- called by code under test, on its fibres
bool active();  // a model thread is running its own code
[[noreturn]] void fail(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
std::uint32_t spawn(void (*fn)(void*), void* arg, std::uint32_t pc);
void join(std::uint32_t thread, std::uint32_t pc);
std::uint32_t current_thread();
// The calling thread may sleep for ever once the first thread has ended: that is then no deadlock.
void may_be_left_asleep();
std::uint32_t choose(std::uint32_t n);
void report_outcome(std::uint64_t value);
void note(const char* fmt, ...) __attribute__((format(printf, 1, 2)));  // a line in the recorded execution
std::int64_t now();
void time_passes(std::int64_t ns);
void yield_step(std::uint32_t pc);
void sleep_until(std::int64_t when, std::uint32_t pc);
void membarrier_step(std::uint32_t pc);
std::uint32_t count_threads(std::uint32_t pc);  // that have not ended
// False: the time was up.
bool futex_wait(void* word, std::uint32_t expected, std::int64_t timeout_ns, std::uint32_t pc);
void futex_wake(void* word, int n, std::uint32_t pc);
// A lock that is one step, for models of what is built on one that was searched by itself (lock_model.cpp).
void lock_step(const void* lock, std::uint32_t pc);
bool try_lock_step(const void* lock, std::uint32_t pc);
void unlock_step(const void* lock, std::uint32_t pc);

std::uint64_t atomic_load(const void* at, std::uint32_t size, order o, std::uint32_t pc);
void atomic_store(void* at, std::uint32_t size, std::uint64_t v, order o, std::uint32_t pc);
enum class rmw_op : std::uint8_t { exchange, add, sub, band, bor, bxor, nand };
std::uint64_t atomic_rmw(void* at, std::uint32_t size, rmw_op op, std::uint64_t v, order o, std::uint32_t pc);
// Returns what was found; done if that is *expected.
std::uint64_t atomic_cas(void* at, std::uint32_t size, std::uint64_t expected, std::uint64_t v, order ok, order no,
                         std::uint32_t pc);
void atomic_fence(order o, std::uint32_t pc);
void plain_access(const void* at, std::size_t size, bool write, std::uint32_t pc);

// ---- memory of the code under test (heap.cpp): never reused within an execution, gone after it
void* model_alloc(std::size_t bytes, std::size_t align);
void model_free(void* p, std::uint32_t pc);
bool is_model_memory(const void* p);
std::uint64_t live_allocations();

// ---- order weakening: an atomic at one of these places is done with a weaker order
void weaken_site(std::uint32_t pc, order to);
void forget_weakened();
// Every place that did an atomic: its pc, and the orders it used.
struct site_use {
  std::uint32_t pc;
  act what;
  order ord;
};
void collect_sites(bool on);
const std::vector<site_use>& collected_sites();

// What a model thread keeps of its OS thread when it does not run: filled in by whoever knows (sys_model.cpp).
struct thread_state {
  void* word[4] = {};
};
extern void (*swap_thread_state)(thread_state& out, const thread_state& in);
// Called before each execution, outside of it: puts back what the one before has left in global objects. For the life of
// the program; may be called while globals are initialised. Returns true, for that.
bool before_each_execution(void (*reset)());
// Memory that is the OS thread's own, and stands for the model thread's: no races there.
void ignore_memory(const void* at, std::size_t bytes);

}  // namespace weft::check
