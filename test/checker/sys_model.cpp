// The system floor of src/os/sys.hpp for code under the checker, in place of sys_linux.cpp: each call is a visible step
// of the machine, or an answer that is the same in every execution.
#include "os/sys.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cxxabi.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "arch/getg.hpp"
#include "base/check.hpp"
#include "base/print.hpp"
#include "checker/machine.hpp"
#include "checker/memory.hpp"
#include "checker/sys_model.hpp"

namespace weft::check {

namespace {

std::uint32_t pc_of(const void* p) { return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p)) - 1; }
#define PC pc_of(__builtin_return_address(0))

// What belongs to an OS thread by the ABI and must belong to a model thread: its g, and its exceptions in flight.
void swap_state(thread_state& out, const thread_state& in) {
  out.word[0] = rt::getg();
  rt::setg(static_cast<rt::g*>(in.word[0]));
  auto* eh = reinterpret_cast<void**>(__cxxabiv1::__cxa_get_globals());
  out.word[1] = eh[0];
  out.word[2] = eh[1];
  eh[0] = in.word[1];
  eh[1] = in.word[2];
}

// Address space: one region, given out from the start again in each execution. What was written is zeroed before it
// is given out again; `dirty` is as far as anything was given out before.
constexpr std::size_t space_bytes = std::size_t{256} << 20;
char* space = nullptr;
std::size_t used = 0;
std::size_t dirty = 0;
system_answers answers;

}  // namespace

system_answers& system_now() { return answers; }

namespace {
const bool installed = [] {
  swap_thread_state = swap_state;
  before_each_execution(system_reset);
  ignore_memory(__cxxabiv1::__cxa_get_globals(), 16);
  return true;
}();
}  // namespace

void system_reset() {
  if (space == nullptr) {
    void* m = ::mmap(nullptr, space_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) std::abort();
    space = static_cast<char*>(m);
  }
  used = 0;
  answers = system_answers{};
}

}  // namespace weft::check

namespace weft::rt {

void fatal(const char* text) { check::fail("fatal error: %s (at pc %#x)", text, check::PC); }
void fatal(const char* text, unsigned long long a, unsigned long long b) {
  check::fail("fatal error: %s (%#llx, %#llx) (at pc %#x)", text, a, b, check::PC);
}
void set_fatal_dump(dump_fn) {}

}  // namespace weft::rt

namespace weft::rt::os {

using check::pc_of;

void futex_wait(atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t timeout_ns) {
  check::futex_wait(word, expected, timeout_ns, PC);
}
void futex_wake(atomic<std::uint32_t>* word, int n) { check::futex_wake(word, n, PC); }

std::int64_t now() { return check::now(); }
// Who looks around for a time must see it pass.
void pause() {
  check::yield_step(PC);
  check::time_passes(1000);
}
void yield_thread() {
  check::yield_step(PC);
  check::time_passes(1000);
}
void sleep_ns(std::int64_t ns) { check::sleep_until(check::now() + ns, PC); }

int thread_start(thread* out, void (*fn)(void*), void* arg) {
  if (check::system_now().refuse_threads != 0) {
    --check::system_now().refuse_threads;
    return 11;
  }
  out->handle = check::spawn(fn, arg, PC) + 1;
  return 0;
}
int thread_start_alone(void (*fn)(void*), void* arg) {
  thread started;
  return thread_start(&started, fn, arg);
}
thread this_thread() { return {check::current_thread() + 1}; }
void thread_join(thread t) { check::join(static_cast<std::uint32_t>(t.handle - 1), PC); }
// Whoever tries is served after it: there is no point in looking at a thread that has not ended yet.
bool thread_try_join(thread t) {
  thread_join(t);
  return true;
}
std::uint64_t timer_slack(std::uint64_t) { return 0; }
std::uint64_t thread_id() { return check::current_thread() + 1; }
// Of whichever thread.
std::int64_t thread_cpu_time(std::uint64_t) { return check::system_now().cpu += check::system_now().cpu_step; }
std::uint64_t thread_turn(std::uint64_t, std::uint64_t) { return 0; }
int thread_nice(std::uint64_t, int, int, bool) { return EPERM; }
bool thread_nice_back(std::uint64_t, int, bool) { return true; }
int thread_is_heir() { return EPERM; }
int thread_bequeaths(bool) { return EPERM; }
sleep_state thread_sleeps(std::uint64_t) {
  return check::system_now().threads_sleep ? sleep_state::asleep : sleep_state::awake;
}
whereabouts find_thread(std::uint64_t, sleeping_place*, int*) { return whereabouts::runs; }
int sample_thread(std::uint64_t, std::int64_t, running_place*) { return ENOSYS; }
stack_bounds thread_stack() { return {}; }

void* reserve(std::size_t bytes, int* err) {
  bytes = (bytes + 4095) & ~std::size_t{4095};
  if (check::used + bytes > check::space_bytes) {
    *err = 12;
    return nullptr;
  }
  char* at = check::space + check::used;
  check::used += bytes;
  // Pages of an execution before this one; large regions are stacks, which nobody expects to be zero but for what the
  // arenas write there themselves.
  if (check::used <= check::dirty && bytes <= check::zeroed_bytes) std::memset(at, 0, bytes);
  if (check::used > check::dirty) check::dirty = check::used;
  return at;
}
void unmap(void*, std::size_t) {}
void no_huge_pages(void*, std::size_t) {}
void huge_pages(void*, std::size_t) {}
void discard(void* at, std::size_t bytes) { std::memset(at, 0, bytes); }
std::size_t page_size() { return 4096; }

int install_guards(guard_method, std::span<const range>) { return 0; }
std::size_t mapping_limit() { return 65530; }

int allowed_cpus() { return 2; }
int cpu_count() { return 2; }
void fork_handler_install(bool (*)()) {}
int process_threads() { return static_cast<int>(check::count_threads(PC)); }
std::size_t main_stack_limit() { return std::size_t{16} << 10; }
std::uint64_t random_seed() { return 1; }
bool shadow_stack_active() { return false; }

// What the runtime says is a line of the picture, not of the search's own output.
bool write_error(const char* text, std::size_t n) {
  while (n != 0 && text[n - 1] == '\n') --n;
  check::note("says: %.*s", static_cast<int>(n), text);
  return true;
}
void exit_process(int status) { check::fail("the process is ended with status %d (at pc %#x)", status, PC); }
void abort_process() { check::fail("the process is aborted (at pc %#x)", PC); }
// Swapped with the model thread that runs (swap_state).
void* exception_globals() { return __cxxabiv1::__cxa_get_globals(); }

int membarrier_register() { return check::system_now().no_membarrier ? 38 : 0; }
bool visit_cpus() {
  check::membarrier_step(PC);
  return true;
}
int membarrier() {
  if (check::system_now().membarrier_fails && check::choose(2) != 0) return 1;
  check::membarrier_step(PC);
  return 0;
}

int watch_thread_end(void (*)()) { return 0; }
void* signal_stack_install() { return nullptr; }
void signal_stack_remove(void*) {}
void fault_handler_install(bool (*)(std::uintptr_t, std::uintptr_t)) {}

}  // namespace weft::rt::os
