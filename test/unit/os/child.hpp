// For tests that end a process or spoil it (limits, users, handlers): the body runs in a forked child.
#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/atomic.hpp"
#include "os/sanitizers.hpp"

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
inline constexpr bool sanitizer_maps_everything = true;  // no limit on address space can be set
#else
inline constexpr bool sanitizer_maps_everything = false;
#endif

// "exit 3" or "signal 11".
template <class F>
std::string ends_with(F body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    struct rlimit no_core {};
    ::setrlimit(RLIMIT_CORE, &no_core);
    // A sanitizer's handlers would turn the signal into an exit.
    ::signal(SIGSEGV, SIG_DFL);
    ::signal(SIGBUS, SIG_DFL);
    ::_exit(body());
  }
  if (pid < 0) return "fork failed";
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit " + std::to_string(WEXITSTATUS(status));
}
