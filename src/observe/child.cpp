#include "observe/child.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <ctime>

#include "base/print.hpp"
#include "observe/private_malloc.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

constexpr std::size_t stack_bytes = std::size_t{1} << 20;
constexpr std::int64_t poll_ns = 1'000'000;
// Asleep and without progress in CPU time for so long, it waits for a lock that will never be free.
constexpr std::int64_t hung_ns = 1'000'000'000;
// A large program's debug information takes seconds, not minutes.
constexpr std::int64_t limit_ns = 60'000'000'000;

struct call {
  bool (*fn)(void*);
  void* arg;
};

// Not _exit: the sanitizers want to check leaks in it.
void end_child(int status) { ::syscall(SYS_exit_group, status); }

int child_main(void* p) {
  // Alone in its process now: what the program does on signals is none of its business, and its own crash is
  // to be a quiet one.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  sigset_t others;
  ::sigfillset(&others);
  for (const int sig : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    ::signal(sig, SIG_DFL);
    ::sigdelset(&others, sig);
  }
  ::sigprocmask(SIG_SETMASK, &others, nullptr);

  use_private_malloc();  // refused: it works as long as the lock is free

  const call& c = *static_cast<call*>(p);
  bool done = false;
  try {
    done = c.fn(c.arg);
  } catch (...) {
    // What is missing in the report then, the parent adds.
  }
  end_child(done ? 0 : 1);
  return 1;
}

// The CPU time that the process has used, as the clock that POSIX gives each process.
std::int64_t cpu_ns(pid_t pid) {
  clockid_t clock{};
  timespec t{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &t) != 0) return 0;
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// Else it may be runnable, with no CPU for it, or stopped by somebody.
bool asleep(pid_t pid) {
  char buf[512];
  line path;
  path.text("/proc/").number(static_cast<std::uint64_t>(pid)).text("/stat");
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  const ssize_t n = ::read(fd, buf, sizeof buf);
  ::close(fd);
  // "pid (name) state …", and the name may hold anything.
  for (ssize_t i = n - 1; i > 0; --i) {
    if (buf[i] == ')') return i + 2 >= n || buf[i + 2] == 'S';
  }
  return true;
}

// Exit status of the child is 0.
bool await(pid_t pid) {
  const std::int64_t began = os::now();
  std::int64_t used = 0, moved = began;
  for (;;) {
    int status = 0;
    const pid_t r = ::waitpid(pid, &status, __WALL | WNOHANG);
    if (r == pid) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    // ECHILD: somebody else has waited for it. Better a report twice than none.
    if (r < 0 && errno != EINTR) return false;
    const std::int64_t now = os::now(), cpu = cpu_ns(pid);
    if (cpu != used) {
      used = cpu;
      moved = now;
    }
    if (now - moved > hung_ns && !asleep(pid)) moved = now;
    if (now - moved > hung_ns || now - began > limit_ns) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, __WALL);
      return false;
    }
    os::sleep_ns(poll_ns);
  }
}

void* map(std::size_t bytes, int flags) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

}  // namespace

bool run_in_child_sig(bool (*fn)(void* arg), void* arg) {
  const int saved = errno;
  bool done = false;
  if (void* stack = map(stack_bytes, MAP_PRIVATE)) {
    call c{fn, arg};
    // No signal at its end: the program may have a handler for SIGCHLD, or wait for children of its own.
    const pid_t pid = ::clone(child_main, static_cast<char*>(stack) + stack_bytes, 0, &c);
    if (pid > 0) done = await(pid);
    ::munmap(stack, stack_bytes);
  }
  errno = saved;
  return done;
}

void* shared_page_sig() { return map(os::page_size(), MAP_SHARED); }

}  // namespace weft::rt
