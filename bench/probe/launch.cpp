// launch: how long programs take from fork to the end of wait.
//
// Run     launch RUNS PROGRAM...
// Prints  for each program the least and the median microseconds, in their order, on one line each
//
// The programs take turns, so that all meet the same disturbances. Their output goes to /dev/null.
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

double microseconds() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

double once(const char* program) {
  const double start = microseconds();
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::execl(program, program, static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "launch: %s did not run to a good end\n", program);
    std::exit(1);
  }
  return microseconds() - start;
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 2 ? std::atoi(argv[1]) : 0;
  if (runs < 1) {
    std::fputs("usage: launch RUNS PROGRAM...\n", stderr);
    return 2;
  }
  std::vector<std::vector<double>> taken(static_cast<std::size_t>(argc));
  for (int r = 0; r < runs; ++r) {
    for (int i = 2; i < argc; ++i) taken[static_cast<std::size_t>(i)].push_back(once(argv[i]));
  }
  for (int i = 2; i < argc; ++i) {
    std::vector<double>& t = taken[static_cast<std::size_t>(i)];
    std::sort(t.begin(), t.end());
    std::printf("%.1f %.1f\n", t.front(), t[t.size() / 2]);
  }
  return 0;
}
