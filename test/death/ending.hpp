// Runs a child program of test/death and tells how it ended.
#pragma once
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "base/macros.hpp"

#if defined(WEFT_TSAN)
inline constexpr bool tsan = true;
#else
inline constexpr bool tsan = false;
#endif
#if defined(WEFT_TSAN) || defined(WEFT_ASAN)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

namespace death {

struct ending {
  int status = -1;  // of exit; -1: a signal
  int signal = 0;
  bool timed_out = false;
  std::string out, err;
};

inline void PrintTo(const ending& e, std::ostream* os) {
  *os << "exit status " << e.status << ", signal " << e.signal << (e.timed_out ? ", timed out" : "") << "\n--- stdout\n"
      << e.out << "--- stderr\n"
      << e.err << "---";
}

// The environment of the child: the caller's without WEFT_ variables, and what is given.
inline std::vector<std::string> environment(const std::vector<std::string>& given) {
  std::vector<std::string> result;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string entry = *at;
    if (entry.rfind("WEFT_", 0) == 0 || entry.rfind("LC_ALL=", 0) == 0) continue;
    if (entry.rfind("ASAN_OPTIONS=", 0) == 0 || entry.rfind("TSAN_OPTIONS=", 0) == 0) continue;
    result.push_back(entry);
  }
  result.push_back("LC_ALL=C");
  // How a process dies is the subject here: the sanitizers are not to handle it.
  const std::string quiet = "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_leaks=0:";
  for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS"}) {
    const char* had = std::getenv(name);
    result.push_back(std::string(name) + "=" + (had != nullptr ? std::string(had) + ":" : "") + quiet);
  }
  result.insert(result.end(), given.begin(), given.end());
  return result;
}

inline ending run_program(const std::string& path, const std::vector<std::string>& arguments,
                          const std::vector<std::string>& variables = {}, int seconds = 60) {
  std::vector<std::string> args{path};
  args.insert(args.end(), arguments.begin(), arguments.end());
  std::vector<std::string> env = environment(variables);
  std::vector<char*> argv, envp;
  for (std::string& a : args) argv.push_back(a.data());
  for (std::string& e : env) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  ending result;
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) return result;
  const pid_t pid = ::fork();
  if (pid == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    ::execve(path.c_str(), argv.data(), envp.data());
    ::_exit(98);
  }
  ::close(out[1]);
  ::close(err[1]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  pollfd fds[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* to[2] = {&result.out, &result.err};
  for (int open = 2; open > 0;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::poll(fds, 2, static_cast<int>(left.count())) == 0) {
      ::kill(pid, SIGKILL);
      result.timed_out = true;
      break;
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buf[4096];
      const ssize_t n = ::read(fds[i].fd, buf, sizeof buf);
      if (n > 0) {
        to[i]->append(buf, static_cast<std::size_t>(n));
      } else {
        fds[i].fd = -1;
        --open;
      }
    }
  }
  ::close(out[0]);
  ::close(err[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

#ifdef WEFT_TEST_CHILD_DIR
inline ending run(const std::string& program, const std::vector<std::string>& arguments,
                  const std::vector<std::string>& variables = {}, int seconds = 60) {
  return run_program(WEFT_TEST_CHILD_DIR "/death_child_" + program, arguments, variables, seconds);
}
#endif

// How often `what` stands in `text`.
inline int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

}  // namespace death
