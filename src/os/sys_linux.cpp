// The system floor on Linux.
//
// errno is a thread-local whose address a compiler may keep across a call, and a goroutine can be on another
// thread after one. So every function here that touches errno is out of line (link-time optimisation included),
// reads it before anything else can happen, and leaves the caller's value as it was.
#include "os/sys.hpp"

#include <asm/perf_regs.h>
#include <cxxabi.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "os/cgroup.hpp"
#include "os/sanitizers.hpp"

namespace weft::rt::os {
namespace {

// Newer than the headers that we must compile with.
constexpr int madv_guard_install = 102;
constexpr long nr_pidfd_open = 434;
constexpr long nr_process_madvise = 440;
constexpr long membarrier_private_expedited = 1 << 3;
constexpr long membarrier_register_private_expedited = 1 << 4;
constexpr unsigned long at_minsigstksz = 51;
constexpr std::uint64_t reset_on_fork = 1;

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
constexpr std::size_t thread_stack_bytes = std::size_t{1} << 20;
#else
constexpr std::size_t thread_stack_bytes = std::size_t{256} << 10;
#endif
constexpr std::size_t signal_stack_bytes = std::size_t{32} << 10;

// The result, or -errno.
[[gnu::noinline]] long system_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                                   long f = 0) {
  const int saved = errno;
  const long result = ::syscall(number, a, b, c, d, e, f);
  const long answer = result == -1 ? -static_cast<long>(errno) : result;
  errno = saved;
  return answer;
}

long as_argument(const void* p) { return static_cast<long>(reinterpret_cast<std::uintptr_t>(p)); }

std::int64_t in_ns(const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

timespec as_timespec(std::int64_t ns) {
  timespec t{};
  t.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  t.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  return t;
}

// The first number in a file of /proc; 0 if there is none.
std::size_t read_number(const char* file) {
  const long fd = system_call(SYS_openat, AT_FDCWD, as_argument(file), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char buf[32];
  const long n = system_call(SYS_read, fd, as_argument(buf), sizeof buf);
  system_call(SYS_close, fd);
  std::size_t value = 0;
  for (long i = 0; i < n && buf[i] >= '0' && buf[i] <= '9'; ++i) {
    value = value * 10 + static_cast<std::size_t>(buf[i] - '0');
  }
  return value;
}

}  // namespace

// ---- waiting and time

void futex_wait(atomic<std::uint32_t>* word, std::uint32_t expected, std::int64_t timeout_ns) {
  timespec timeout{};
  if (timeout_ns >= 0) timeout = as_timespec(timeout_ns);
  system_call(SYS_futex, as_argument(word), FUTEX_WAIT_PRIVATE, static_cast<long>(expected),
              timeout_ns >= 0 ? as_argument(&timeout) : 0);
}

void futex_wake(atomic<std::uint32_t>* word, int n) {
  system_call(SYS_futex, as_argument(word), FUTEX_WAKE_PRIVATE, n);
}

std::int64_t now() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return in_ns(t);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores
#endif
}

std::uint64_t timer_slack(std::uint64_t ns) {
  const long before = system_call(SYS_prctl, PR_GET_TIMERSLACK);
  system_call(SYS_prctl, PR_SET_TIMERSLACK, static_cast<long>(ns));
  return before < 0 ? 0 : static_cast<std::uint64_t>(before);
}

void yield_thread() { system_call(SYS_sched_yield); }

void sleep_ns(std::int64_t ns) {
  if (ns <= 0) return;
  // Absolute: a signal that comes again and again must not stretch the sleep.
  const std::int64_t from = now();
  const timespec end = as_timespec(ns < INT64_MAX - from ? from + ns : INT64_MAX);
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
  }
}

// ---- threads

namespace {

struct start_record {
  void (*fn)(void*);
  void* arg;
};

void* thread_main(void* p) {
  start_record* record = static_cast<start_record*>(p);
  const start_record start = *record;
  delete record;
  start.fn(start.arg);
  return nullptr;
}

// Thread-local storage of the program and its libraries lies inside the stack that a thread asks for.
constinit atomic<std::size_t> tls_bytes{0};

std::size_t static_tls_bytes() {
  std::size_t bytes = tls_bytes.load(relaxed);
  if (bytes == 0) {
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* sum) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& header = info->dlpi_phdr[i];
            if (header.p_type == PT_TLS) *static_cast<std::size_t*>(sum) += header.p_memsz + header.p_align;
          }
          return 0;
        },
        &bytes);
    bytes += page_size();
    tls_bytes.store(bytes, relaxed);
  }
  return bytes;
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) & ~(to - 1); }

}  // namespace

namespace {

// A key's destructor, and no thread_local object's: for the main thread glibc runs only the former.
pthread_once_t end_key_once = PTHREAD_ONCE_INIT;
pthread_key_t end_key;
int end_key_error = 0;

void call_at_end(void* fn) { reinterpret_cast<void (*)()>(fn)(); }
void make_end_key() { end_key_error = ::pthread_key_create(&end_key, call_at_end); }

}  // namespace

int watch_thread_end(void (*fn)()) {
  ::pthread_once(&end_key_once, make_end_key);
  if (end_key_error != 0) return end_key_error;
  return ::pthread_setspecific(end_key, reinterpret_cast<const void*>(fn));
}

static int start_with(pthread_attr_t* attr, std::uintptr_t* handle, void (*fn)(void*), void* arg) {
  start_record* record = new (std::nothrow) start_record{fn, arg};
  if (record == nullptr) return ENOMEM;
  // The program's signals are for the program's threads. Those that a fault raises in the thread itself stay
  // open: blocked, they would end the process without a report.
  sigset_t all, before;
  ::sigfillset(&all);
  for (const int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) ::sigdelset(&all, sig);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // Straight into its place: glibc writes it before the thread begins, which may be over, and about to be joined by
  // somebody else, when this call returns.
  static_assert(std::is_same_v<pthread_t, std::uintptr_t>);
  const int e = ::pthread_create(handle, attr, thread_main, record);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (e != 0) delete record;
  return e;
}

int thread_start(thread* out, void (*fn)(void*), void* arg) {
  pthread_attr_t attr;
  if (const int e = ::pthread_attr_init(&attr)) return e;
  const long least = ::sysconf(_SC_THREAD_STACK_MIN);
  std::size_t bytes = thread_stack_bytes;
  if (least > 0 && static_cast<std::size_t>(least) > bytes) bytes = static_cast<std::size_t>(least);
  bytes = round_up(bytes + static_tls_bytes(), page_size());
  ::pthread_attr_setstacksize(&attr, bytes);
  const int e = start_with(&attr, &out->handle, fn, arg);
  if (e != 0) out->handle = 0;
  ::pthread_attr_destroy(&attr);
  return e;
}

int thread_start_alone(void (*fn)(void*), void* arg) {
  pthread_attr_t attr;
  if (const int e = ::pthread_attr_init(&attr)) return e;
  ::pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  std::uintptr_t handle = 0;
  const int e = start_with(&attr, &handle, fn, arg);
  ::pthread_attr_destroy(&attr);
  return e;
}

thread this_thread() { return {static_cast<std::uintptr_t>(::pthread_self())}; }
void thread_join(thread t) { ::pthread_join(static_cast<pthread_t>(t.handle), nullptr); }
bool thread_try_join(thread t) { return ::pthread_tryjoin_np(static_cast<pthread_t>(t.handle), nullptr) == 0; }

std::uint64_t thread_id() { return static_cast<std::uint64_t>(system_call(SYS_gettid)); }

stack_bounds thread_stack() {
  pthread_attr_t attr;
  if (::pthread_getattr_np(::pthread_self(), &attr) != 0) return {};
  void* lo = nullptr;
  std::size_t bytes = 0;
  ::pthread_attr_getstack(&attr, &lo, &bytes);
  ::pthread_attr_destroy(&attr);
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(lo);
  return {at, at + bytes};
}

// ---- address space

[[gnu::noinline]] void* reserve(std::size_t bytes, int* err) {
  const int saved = errno;
  // Through libc's mmap: sanitizers watch that, and forget what they knew about an address that is used again.
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    *err = errno;
    at = nullptr;
  }
  errno = saved;
  return at;
}

[[gnu::noinline]] void unmap(void* at, std::size_t bytes) {
  const int saved = errno;
  unpoison(at, bytes);
  ::munmap(at, bytes);
  errno = saved;
}

namespace {
int advise(void* at, std::size_t bytes, int advice) {
  return static_cast<int>(-system_call(SYS_madvise, as_argument(at), static_cast<long>(bytes), advice));
}
}  // namespace

// Refusals (kernels without huge pages) are fine: the advice is about cost only.
void no_huge_pages(void* at, std::size_t bytes) { advise(at, bytes, MADV_NOHUGEPAGE); }
void huge_pages(void* at, std::size_t bytes) { advise(at, bytes, MADV_HUGEPAGE); }
void discard(void* at, std::size_t bytes) { advise(at, bytes, MADV_DONTNEED); }

std::size_t page_size() { return ::getauxval(AT_PAGESZ); }

namespace {

int guard_one_by_one(std::span<const range> ranges) {
  for (const range& r : ranges) {
    if (const int e = advise(r.at, r.bytes, madv_guard_install)) return e;
  }
  return 0;
}

// The kernel reads the ranges as they are.
static_assert(sizeof(range) == sizeof(iovec) && offsetof(range, at) == offsetof(iovec, iov_base) &&
              offsetof(range, bytes) == offsetof(iovec, iov_len));
constexpr std::size_t max_iovecs = 1024;

int guard_in_batches(std::span<const range> ranges) {
  // Opened each time, for 1 us: a kept descriptor would be wrong after fork, and after a daemon's closing of all.
  const long fd = system_call(nr_pidfd_open, ::getpid(), 0);
  if (fd == -EMFILE || fd == -ENFILE) return guard_one_by_one(ranges);
  if (fd < 0) return static_cast<int>(-fd);
  int e = 0;
  while (e == 0 && !ranges.empty()) {
    const auto part = ranges.first(ranges.size() < max_iovecs ? ranges.size() : max_iovecs);
    std::size_t bytes = 0;
    for (const range& r : part) bytes += r.bytes;
    const long done = system_call(nr_process_madvise, fd, as_argument(part.data()), static_cast<long>(part.size()),
                                  madv_guard_install, 0);
    if (done < 0) {
      e = static_cast<int>(-done);
    } else if (static_cast<std::size_t>(done) != bytes) {
      e = guard_one_by_one(part);  // says which error stopped it
    }
    ranges = ranges.subspan(part.size());
  }
  system_call(SYS_close, fd);
  return e;
}

int guard_by_protection(std::span<const range> ranges) {
  for (const range& r : ranges) {
    const long e = system_call(SYS_mprotect, as_argument(r.at), static_cast<long>(r.bytes), PROT_NONE);
    if (e < 0) return static_cast<int>(-e);
  }
  return 0;
}

}  // namespace

int install_guards(guard_method how, std::span<const range> ranges) {
  switch (how) {
    case guard_method::batch: return guard_in_batches(ranges);
    case guard_method::single: return guard_one_by_one(ranges);
    case guard_method::protect: return guard_by_protection(ranges);
    case guard_method::none: return 0;
    case guard_method::canary:
    case guard_method::automatic: break;  // what these mean is the arenas' business
  }
  return EINVAL;
}

std::size_t mapping_limit() {
  const std::size_t n = read_number("/proc/sys/vm/max_map_count");
  return n != 0 ? n : 65530;
}

// ---- the end

bool write_error(const char* text, std::size_t n) {
  while (n > 0) {
    const long r = system_call(SYS_write, 2, as_argument(text), static_cast<long>(n));
    if (r == -EINTR) continue;
    if (r <= 0) return false;
    text += r;
    n -= static_cast<std::size_t>(r);
  }
  return true;
}

void exit_process(int status) { ::_exit(status); }
void abort_process() { std::abort(); }

// ---- facts

void* exception_globals() { return __cxxabiv1::__cxa_get_globals(); }

int allowed_cpus() {
  unsigned long mask[1024];  // the kernel fills what it needs and says how much
  const long bytes = system_call(SYS_sched_getaffinity, 0, sizeof mask, as_argument(mask));
  int cpus = 0;
  for (long i = 0; i < bytes / static_cast<long>(sizeof mask[0]); ++i) cpus += std::popcount(mask[i]);
  return cpus == 0 ? 1 : cpus;
}

int cpu_count() {
  const int cpus = allowed_cpus();
  if (cpus <= 2) return cpus;  // no quota goes below that, and the files cost 60 us
  const int quota = cgroup_cpus("");
  return quota != 0 && quota < cpus ? quota : cpus;
}

namespace {

sigset_t mask_of_children;
constinit atomic<bool (*)()> on_our_thread{nullptr};

void in_child() {
  const auto ours = on_our_thread.load(acquire);  // order: os.fork
  if (ours != nullptr && ours()) ::pthread_sigmask(SIG_SETMASK, &mask_of_children, nullptr);
}

}  // namespace

void fork_handler_install(bool (*ours)()) {
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_of_children);
  on_our_thread.store(ours, release);  // order: os.fork
  ::pthread_atfork(nullptr, nullptr, in_child);
}

std::int64_t thread_cpu_time(std::uint64_t id) {
  // The kernel's names for clocks of threads: ~id << 3, with 4 for a thread's and 2 for the scheduler's own account.
  const auto clock = static_cast<clockid_t>((~static_cast<std::uint32_t>(id) << 3) | 6U);
  timespec t;
  if (system_call(SYS_clock_gettime, clock, as_argument(&t)) != 0) return -1;
  return in_ns(t);
}

namespace {

// The first version of the kernel's struct sched_attr, which glibc 2.36 does not have.
struct thread_share {
  std::uint32_t size = sizeof(thread_share), policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
};
static_assert(sizeof(thread_share) == 48);

int get_share(std::uint64_t id, thread_share* a) {
  return -static_cast<int>(system_call(SYS_sched_getattr, static_cast<long>(id), as_argument(a), sizeof *a, 0));
}
int set_share(std::uint64_t id, thread_share* a) {
  return -static_cast<int>(system_call(SYS_sched_setattr, static_cast<long>(id), as_argument(a), 0));
}

}  // namespace

std::uint64_t thread_turn(std::uint64_t id, std::uint64_t ns) {
  thread_share a;
  if (get_share(id, &a) != 0) return 0;
  // Below 0 the flag would change more than that; and who has it keeps it.
  if (a.policy != SCHED_OTHER || a.runtime == ns || a.nice < 0) return 0;
  a.flags |= reset_on_fork;
  const std::uint64_t before = std::exchange(a.runtime, ns);
  return set_share(id, &a) == 0 ? before : 0;
}

int thread_nice(std::uint64_t id, int from, int to, bool untouched) {
  thread_share a;
  if (const int err = get_share(id, &a)) return err;
  if (a.policy != SCHED_OTHER || a.nice != from || (untouched && (a.flags & reset_on_fork) != 0)) return EBUSY;
  a.nice = to;
  a.flags |= reset_on_fork;
  return set_share(id, &a);
}

bool thread_nice_back(std::uint64_t id, int from, bool all) {
  // sched_getattr does not tell the nice value of a thread with real-time priority, which it has when that ends.
  const auto thread = static_cast<long>(id);
  if (20 - system_call(SYS_getpriority, PRIO_PROCESS, thread) != from) return true;
  if (system_call(SYS_setpriority, PRIO_PROCESS, thread, 0) != 0) return false;
  thread_share a;
  if (!all || get_share(id, &a) != 0) return true;
  a.flags &= ~reset_on_fork;
  set_share(id, &a);
  return true;
}

int thread_bequeaths(bool yes) {
  thread_share a;
  const std::uint64_t me = thread_id();
  if (const int err = get_share(me, &a)) return err;
  a.flags = yes ? a.flags & ~reset_on_fork : a.flags | reset_on_fork;
  return set_share(me, &a);
}

int thread_is_heir() {
  thread_share a;
  const std::uint64_t me = thread_id();
  if (const int err = get_share(me, &a)) return err;
  a.flags |= reset_on_fork;
  a.runtime = 0;
  return set_share(me, &a);
}

namespace {

// What a file of a thread says, as text; its length, or -errno.
long read_of_thread(std::uint64_t id, const char* file, char* text, std::size_t bytes) {
  char path[64] = "/proc/self/task/";
  char digits[20];
  std::size_t n = 0;
  for (; id != 0; id /= 10) digits[n++] = static_cast<char>('0' + id % 10);
  std::size_t at = std::strlen(path);
  while (n != 0) path[at++] = digits[--n];
  std::memcpy(path + at, file, std::strlen(file) + 1);
  const long fd = system_call(SYS_openat, AT_FDCWD, as_argument(path), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  const long got = system_call(SYS_read, fd, as_argument(text), static_cast<long>(bytes) - 1);
  system_call(SYS_close, fd);
  text[got < 0 ? 0 : got] = '\0';
  return got;
}

}  // namespace

sleep_state thread_sleeps(std::uint64_t id) {
  char text[160];
  if (read_of_thread(id, "/stat", text, sizeof text) <= 0) {
    return thread_cpu_time(id) < 0 ? sleep_state::gone : sleep_state::unreadable;
  }
  // id (name) state …: the name may hold anything.
  const char* end = std::strrchr(text, ')');
  if (end == nullptr || end[1] != ' ' || end[2] == '\0') return sleep_state::unreadable;
  return std::strchr("SDTtI", end[2]) != nullptr ? sleep_state::asleep : sleep_state::awake;
}

whereabouts find_thread(std::uint64_t id, sleeping_place* out, int* err) {
  char text[256];
  const long n = read_of_thread(id, "/syscall", text, sizeof text);
  *err = n < 0 ? static_cast<int>(-n) : 0;
  if (n <= 0) return whereabouts::unknown;
  if (text[0] == 'r') return whereabouts::runs;  // "running"
  // "call arguments sp pc", or "-1 sp pc".
  const char* pc = std::strrchr(text, ' ');
  if (pc == nullptr) return whereabouts::unknown;
  const char* sp = pc;
  while (sp != text && *--sp != ' ') {
  }
  const int saved = errno;
  out->call = std::strtol(text, nullptr, 10);
  out->sp = std::strtoull(sp, nullptr, 16);
  out->pc = std::strtoull(pc, nullptr, 16);
  errno = saved;
  return whereabouts::sleeps;
}

#if defined(__x86_64__)

namespace {

constexpr std::int64_t sample_period_ns = 200'000;
constexpr std::int64_t sample_poll_ns = 500'000;
constexpr std::uint64_t registers_wanted = std::uint64_t{1} << PERF_REG_X86_BX | std::uint64_t{1} << PERF_REG_X86_BP |
                                           std::uint64_t{1} << PERF_REG_X86_SP | std::uint64_t{1} << PERF_REG_X86_IP |
                                           std::uint64_t{1} << PERF_REG_X86_R12 | std::uint64_t{1} << PERF_REG_X86_R13 |
                                           std::uint64_t{1} << PERF_REG_X86_R14 | std::uint64_t{1} << PERF_REG_X86_R15;

// A record of the ring, which does not wrap: only the first sample is of interest, and the ring has room for it.
struct sample_record {
  perf_event_header header;
  std::uint64_t abi;
  std::uint64_t bx, bp, sp, ip, r12, r13, r14, r15;  // in the order of their bits
  std::uint64_t stack_room;
  unsigned char stack[1];  // stack_room of them, then how many are the stack's
};

bool read_sample(const unsigned char* ring, std::uint64_t bytes, running_place* out) {
  for (std::uint64_t at = 0; at + sizeof(perf_event_header) <= bytes;) {
    const auto* r = reinterpret_cast<const sample_record*>(ring + at);
    if (r->header.size == 0) return false;
    at += r->header.size;
    if (r->header.type != PERF_RECORD_SAMPLE || r->abi != PERF_SAMPLE_REGS_ABI_64) continue;
    out->pc = r->ip;
    out->sp = r->sp;
    out->rbx = r->bx;
    out->rbp = r->bp;
    out->r12 = r->r12;
    out->r13 = r->r13;
    out->r14 = r->r14;
    out->r15 = r->r15;
    std::uint64_t held = 0;
    if (r->stack_room != 0) std::memcpy(&held, r->stack + r->stack_room, sizeof held);
    out->stack_bytes = held < sizeof out->stack ? held : sizeof out->stack;
    std::memcpy(out->stack, r->stack, out->stack_bytes);
    return true;
  }
  return false;
}

}  // namespace

int sample_thread(std::uint64_t id, std::int64_t patience_ns, running_place* out) {
  perf_event_attr what{};
  what.size = sizeof what;
  what.type = PERF_TYPE_SOFTWARE;
  what.config = PERF_COUNT_SW_TASK_CLOCK;
  what.sample_period = sample_period_ns;
  what.sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER;
  what.sample_regs_user = registers_wanted;
  what.sample_stack_user = sizeof out->stack;
  what.disabled = 1;
  what.exclude_kernel = 1;  // where it is in the kernel says nothing, and asking for it needs more rights
  what.exclude_hv = 1;
  const long fd =
      system_call(SYS_perf_event_open, as_argument(&what), static_cast<long>(id), -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) return static_cast<int>(-fd);
  // The records of one sample and a half: a page about the ring, and a power of two of them.
  const std::size_t ring_bytes = 2 * sizeof out->stack;
  const auto mapped = static_cast<long>(page_size() + ring_bytes);
  const long at = system_call(SYS_mmap, 0, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int err = at < 0 && at > -4096 ? static_cast<int>(-at) : 0;
  if (err == 0) {
    auto* about = reinterpret_cast<perf_event_mmap_page*>(at);
    const auto* ring = reinterpret_cast<const unsigned char*>(at) + page_size();
    const std::int64_t end = now() + patience_ns;
    err = static_cast<int>(-system_call(SYS_ioctl, fd, PERF_EVENT_IOC_ENABLE, 0));
    while (err == 0 && !read_sample(ring, __atomic_load_n(&about->data_head, __ATOMIC_ACQUIRE), out)) {
      if (now() >= end) {
        err = ETIME;
      } else {
        sleep_ns(sample_poll_ns);
      }
    }
    system_call(SYS_munmap, at, mapped);
  }
  system_call(SYS_close, fd);
  return err;
}

#else

int sample_thread(std::uint64_t, std::int64_t, running_place*) { return ENOSYS; }

#endif

int process_threads() {
  char text[1024];
  const long fd = system_call(SYS_openat, AT_FDCWD, as_argument("/proc/self/stat"), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return -1;
  const long n = system_call(SYS_read, fd, as_argument(text), sizeof text - 1);
  system_call(SYS_close, fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  // pid (name) state ppid …: the name may hold anything, so fields are counted from its last parenthesis; 18 further on.
  const char* at = std::strrchr(text, ')');
  for (int field = 0; at != nullptr && field < 18; ++field) {
    at = std::strchr(at, ' ');
    if (at != nullptr) ++at;
  }
  if (at == nullptr || *at < '0' || *at > '9') return -1;
  int threads = 0;
  for (; *at >= '0' && *at <= '9'; ++at) threads = threads * 10 + (*at - '0');
  return threads;
}

std::size_t main_stack_limit() {
  rlimit limit{};
  if (system_call(SYS_prlimit64, 0, RLIMIT_STACK, 0, as_argument(&limit)) < 0 || limit.rlim_cur == RLIM_INFINITY) {
    return SIZE_MAX;
  }
  return static_cast<std::size_t>(limit.rlim_cur);
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  constexpr long nonblock = 1;
  if (system_call(SYS_getrandom, as_argument(&seed), sizeof seed, nonblock) == sizeof seed) return seed;
  return static_cast<std::uint64_t>(now()) * 0x9e3779b97f4a7c15u ^ static_cast<std::uint64_t>(::getpid());
}

bool shadow_stack_active() {
#if defined(__x86_64__)
  constexpr long shstk_status = 0x5005;
  std::uint64_t features = 0;
  return system_call(SYS_arch_prctl, shstk_status, as_argument(&features)) == 0 && (features & 1) != 0;
#else
  return false;
#endif
}

int membarrier_register() {
  return static_cast<int>(-system_call(SYS_membarrier, membarrier_register_private_expedited, 0, 0));
}

bool visit_cpus() {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  if (system_call(SYS_sched_getaffinity, 0, sizeof mine, as_argument(&mine)) < 0) return false;
  bool some = false;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    // Refused: there is no such CPU, or none that threads of this process may be on.
    some = system_call(SYS_sched_setaffinity, 0, sizeof one, as_argument(&one)) == 0 || some;
  }
  return system_call(SYS_sched_setaffinity, 0, sizeof mine, as_argument(&mine)) == 0 && some;
}

int membarrier() { return static_cast<int>(-system_call(SYS_membarrier, membarrier_private_expedited, 0, 0)); }

// ---- signals

namespace {

// Wide vector registers make the kernel's own frame large: it says how large.
std::size_t signal_stack_size() { return round_up(signal_stack_bytes + ::getauxval(at_minsigstksz), page_size()); }

}  // namespace

void* signal_stack_install() {
  stack_t have{};
  if (::sigaltstack(nullptr, &have) == 0 && (have.ss_flags & SS_DISABLE) == 0) return nullptr;
  const std::size_t guard = page_size(), bytes = signal_stack_size();
  int err = 0;
  char* memory = static_cast<char*>(reserve(guard + bytes, &err));
  if (memory == nullptr) return nullptr;
  stack_t ours{};
  ours.ss_sp = memory + guard;
  ours.ss_size = bytes;
  const range below{memory, guard};
  if (guard_by_protection({&below, 1}) != 0 || system_call(SYS_sigaltstack, as_argument(&ours), 0) != 0) {
    unmap(memory, guard + bytes);
    return nullptr;
  }
  return memory;
}

void signal_stack_remove(void* memory) {
  if (memory == nullptr) return;
  const std::size_t guard = page_size(), bytes = signal_stack_size();
  stack_t have{};
  ::sigaltstack(nullptr, &have);
  if (have.ss_sp == static_cast<char*>(memory) + guard) {
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    ::sigaltstack(&off, nullptr);
  }
  unmap(memory, guard + bytes);
}

namespace {

using fault_fn = bool (*)(std::uintptr_t address, std::uintptr_t sp);
constinit atomic<fault_fn> fault_wire{nullptr};

// Written before our handler is there to read it.
struct previous_handlers {
  struct sigaction segv, bus;
  struct sigaction& of(int sig) {
    return sig == SIGBUS ? bus : segv;
  }
};
constinit previous_handlers previous{};
constinit atomic<bool> previous_known{false};

std::uintptr_t stack_pointer(void* context) {
  const mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(machine.gregs[REG_RSP]);
#elif defined(__aarch64__)
  return machine.sp;
#endif
}

void restore_default(int sig) {
  struct sigaction none {};
  none.sa_handler = SIG_DFL;
  ::sigaction(sig, &none, nullptr);
}

// What would have happened without us (but for the old handler's sa_mask, which is not applied).
void pass_on(int sig, siginfo_t* info, void* context) {
  const struct sigaction& old = previous.of(sig);
  const bool sent = info->si_code <= 0;  // by kill or the like: there is no instruction that would fault again
  if ((old.sa_flags & SA_SIGINFO) == 0 && (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN)) {
    // The kernel does not let a process ignore a real fault either.
    if (sent && old.sa_handler == SIG_IGN) return;
    restore_default(sig);
    if (sent) system_call(SYS_tgkill, ::getpid(), static_cast<long>(thread_id()), sig);
    return;
  }
  // A handler of this kind expects that the default acts on its return, or on its own raise().
  if ((old.sa_flags & SA_RESETHAND) != 0) restore_default(sig);
  if ((old.sa_flags & SA_SIGINFO) != 0) {
    old.sa_sigaction(sig, info, context);
  } else {
    old.sa_handler(sig);
  }
}

void on_fault(int sig, siginfo_t* info, void* context) {
  const int saved = errno;
  // order: os.fault_wire
  const fault_fn fn = fault_wire.load(acquire);
  const bool fault = info->si_code > 0;
  const bool ours =
      fault && fn != nullptr && fn(reinterpret_cast<std::uintptr_t>(info->si_addr), stack_pointer(context));
  if (!ours) pass_on(sig, info, context);
  errno = saved;
}

}  // namespace

void fault_handler_install(fault_fn fn) {
  // order: os.fault_wire
  fault_wire.store(fn, release);
  const bool again = previous_known.exchange(true, acq_rel);
  for (const int sig : {SIGSEGV, SIGBUS}) {
    struct sigaction now_there {};
    ::sigaction(sig, nullptr, &now_there);
    const bool function =
        (now_there.sa_flags & SA_SIGINFO) != 0 || (now_there.sa_handler != SIG_DFL && now_there.sa_handler != SIG_IGN);
    // A handler that came after ours may pass faults on to us: above it, we would pass them back for ever.
    if (again && function) continue;
    previous.of(sig) = now_there;
    struct sigaction ours {};
    ours.sa_sigaction = on_fault;
    // NODEFER: a second fault, in the dump, is reported as what it is. The stack at fault cannot hold a handler.
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(sig, &ours, nullptr);
  }
}

#ifdef WEFT_ASAN
namespace {

struct forgiven {
  const forgiven* next;
  std::uintptr_t words[];
};
constinit atomic<const forgiven*> all_forgiven{nullptr};

}  // namespace

// Red zones of frames that are gone lie in it.
[[gnu::no_sanitize_address]] void leak_forgive(const void* at, std::size_t bytes) {
  const std::size_t n = bytes / sizeof(std::uintptr_t);
  auto* kept = static_cast<forgiven*>(std::malloc(sizeof(forgiven) + n * sizeof(std::uintptr_t)));
  if (kept == nullptr) return;
  const auto* word = static_cast<const volatile std::uintptr_t*>(at);
  for (std::size_t i = 0; i < n; ++i) kept->words[i] = word[i];
  kept->next = all_forgiven.load(relaxed);
  while (!all_forgiven.compare_exchange_weak(kept->next, kept, release, relaxed)) {
  }
}
#endif

}  // namespace weft::rt::os
