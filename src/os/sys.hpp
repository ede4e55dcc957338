// sys: the system floor. Everything the runtime asks of Linux, and nothing else: the layer above calls no
// libc function for these. One set of functions, exchanged at link time (RELIABILITY 3.1, rule 2): Linux
// in sys_linux.cpp, fault injection in test/support, a model in the exploration engine.
//
// Errors are returned as errno values (0: done), never through errno: a goroutine may change threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/atomic.hpp"
#include "base/floor.hpp"

namespace weft::rt::os {

// Sleeps while *word == expected, at most timeout_ns (negative: for ever). May return for no reason.
void futex_wait(atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t timeout_ns = -1);
// Wakes at most n sleepers. The word's memory may be gone already: the kernel only looks at the address.
void futex_wake(atomic<std::uint32_t>* word, int n = 1);

// Monotonic nanoseconds.
std::int64_t now();
// (pause, yield_thread, sleep_ns: base/floor.hpp)

struct thread {
  std::uintptr_t handle = 0;
};
// Starts fn(arg) on a new thread with every signal blocked but those of faults, and a small stack for g0. Returns errno.
int thread_start(thread* out, void (*fn)(void*), void* arg);
// The same, for the program's code: nobody joins it, and its stack is as large as the program's threads' are.
int thread_start_alone(void (*fn)(void*), void* arg);
thread this_thread();  // the caller, so that it can be joined
void thread_join(thread t);
bool thread_try_join(thread t);  // false: it still runs
std::uint64_t thread_id();       // the kernel's tid of the caller
// CPU time that a thread of this process has used, in ns; -1: there is no such thread. About 0.3 us.
std::int64_t thread_cpu_time(std::uint64_t id);
// Whether it sleeps in the kernel: neither on a CPU nor waiting for one. gone: there is no such thread. Some 10 us.
enum class sleep_state : std::uint8_t { awake, asleep, gone, unreadable };
sleep_state thread_sleeps(std::uint64_t id);

// Where a thread of this process is, without its noticing: it gets no signal, is not stopped, and no call of its ends early.
enum class whereabouts : std::uint8_t { unknown, runs, sleeps };
struct sleeping_place {
  long call = -1;  // the system call it is in; -1: in the kernel for another reason
  std::uintptr_t pc = 0, sp = 0;
};
// unknown: *err says why. Where it sleeps is written to *out.
whereabouts find_thread(std::uint64_t id, sleeping_place* out, int* err);
// What a thread had in its registers at a moment when it ran the program's code, and what its stack held then, from sp on.
struct running_place {
  std::uintptr_t pc = 0, sp = 0, rbx = 0, rbp = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::size_t stack_bytes = 0;
  unsigned char stack[std::size_t{32} << 10];
};
// The kernel takes a sample when the thread is on a CPU next. Returns errno; ETIME: it was not within patience_ns.
int sample_thread(std::uint64_t id, std::int64_t patience_ns, running_place* out);

// How long the kernel lets a thread run before others who want its CPU as much; 0: as long as any. Who has less goes first, and
// gets no more in all. Ignored by kernels before 6.12; refused for threads of other policies than the common one. Returns
// what it was; 0 when it has not changed. What it starts, threads and processes, has the usual turn.
std::uint64_t thread_turn(std::uint64_t id, std::uint64_t ns);
// Its nice value becomes `to`, below 0, if it is `from` and its policy the common one; what it starts has 0 again, and the usual
// turn. `untouched`: only if that is not so yet, by the program's own will. Returns errno: EPERM where the process may not do this;
// EBUSY when something was otherwise.
int thread_nice(std::uint64_t id, int from, int to, bool untouched);
// Back to 0, if it is `from`, whatever its policy is by now; `all`: and what it starts has what it has. False: refused, which the kernel
// does while the process changes its user, thread by thread.
bool thread_nice_back(std::uint64_t id, int from, bool all);
// Whether what the calling thread starts has its nice value and turn too. Returns errno: to say yes needs CAP_SYS_NICE.
int thread_bequeaths(bool yes);
// The calling thread has inherited them: it has the usual turn from now on, and bequeaths nothing. Returns errno.
int thread_is_heir();
// How late the kernel may wake the calling thread from a timed sleep, to save power; 0: as late as when it began. Returns
// what it was, in ns.
std::uint64_t timer_slack(std::uint64_t ns);

// From now on, should the calling thread end by pthread_exit or cancellation, fn is called on it, late: on its own
// stack, and other destructors may have run. Null: no more. Returns errno; then nobody will be told.
int watch_thread_end(void (*fn)());

struct stack_bounds {
  std::uintptr_t lo = 0, hi = 0;
};
// The calling thread's own stack.
stack_bounds thread_stack();

// Address space. reserve gives lazily backed, private, zero memory (MAP_NORESERVE); null and *err if refused.
void* reserve(std::size_t bytes, int* err);
void unmap(void* at, std::size_t bytes);
void no_huge_pages(void* at, std::size_t bytes);
void huge_pages(void* at, std::size_t bytes);
void discard(void* at, std::size_t bytes);  // contents become zero, memory goes back
std::size_t page_size();

// (canary: the kernel has no part in it; mem/stack.cpp)
enum class guard_method : std::uint8_t { automatic, batch, single, protect, canary, none };
struct range {
  void* at;
  std::size_t bytes;
};
// Makes every range inaccessible by that method (batch: one process_madvise for all). Returns errno; some of
// the ranges may be guarded then, and doing it again is harmless.
int install_guards(guard_method how, std::span<const range> ranges);
std::size_t mapping_limit();  // vm.max_map_count: `protect` costs two mappings per guard

// The 16 bytes of __cxa_get_globals(): what the calling thread has caught and not caught.
void* exception_globals();

// Process facts.
int allowed_cpus();  // by affinity alone: one system call
int cpu_count();  // CPUs that the calling thread, and with it the process, may use: affinity and cgroup quota, as Go 1.25
// A child that is forked on a thread of which ours() is true gets the mask of signals that the calling thread has now:
// those of the runtime block the program's signals, and a program that is started there must not.
void fork_handler_install(bool (*ours)());
int process_threads();           // of the whole process; -1 when /proc does not say
std::size_t main_stack_limit();  // RLIMIT_STACK; SIZE_MAX if unlimited
std::uint64_t random_seed();
bool shadow_stack_active();  // CET shadow stacks: a switch of stacks would fault

// membarrier(PRIVATE_EXPEDITED): returns errno.
int membarrier_register();
int membarrier();
// The same, slowly: the calling thread goes over every CPU that the process may use, so that all that run there are switched off it for
// a moment. False: not allowed. Some 0.1 ms for each CPU, more where they are busy.
bool visit_cpus();

// One alternate signal stack for the calling thread; returns its memory for signal_stack_remove. Null if refused,
// and also when the thread has one already: somebody chose it (a sanitizer, the embedding program), it serves
// us too, and it is not ours to remove.
void* signal_stack_install();
void signal_stack_remove(void* memory);  // null: nothing to do
// Faults: `fn(address)` runs on the alternate stack and returns false for a fault that is not the
// runtime's, which then goes to the handler that was there before.
void fault_handler_install(bool (*fn)(std::uintptr_t address, std::uintptr_t sp));

}  // namespace weft::rt::os
