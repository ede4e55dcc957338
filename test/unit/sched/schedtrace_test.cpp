// schedtrace: the lines, to the character, as programs that read Go's expect them (both of Go's formats).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/weft.hpp"

namespace {

using namespace small_runtime;
using testing::AllOf;
using testing::HasSubstr;

// WEFT_DEBUG for a scope, and stderr in a file meanwhile.
class trace_of {
 public:
  explicit trace_of(const char* knobs) : file_(std::tmpfile()), saved_(::dup(2)) {
    ::setenv("WEFT_DEBUG", knobs, 1);
    ::dup2(::fileno(file_), 2);
  }
  ~trace_of() {
    ::dup2(saved_, 2);
    ::close(saved_);
    std::fclose(file_);
    ::unsetenv("WEFT_DEBUG");
  }
  trace_of(const trace_of&) = delete;
  trace_of& operator=(const trace_of&) = delete;

  // Whole ones only.
  std::vector<std::string> lines() const {
    std::string all(4 << 20, '\0');
    const ssize_t n = ::pread(::fileno(file_), all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    std::vector<std::string> split;
    std::istringstream in(all.substr(0, all.rfind('\n') + 1));
    for (std::string line; std::getline(in, line);) split.push_back(line);
    return split;
  }
  // Waits on main, without giving its P away, until two more traces than there are have begun, and gives the last whole one.
  std::vector<std::string> next() const {
    const std::size_t before = traces();
    while (traces() < before + 3) std::this_thread::yield();
    const std::vector<std::string> all = lines();
    std::size_t end = all.size();
    while (all[--end].rfind("SCHED", 0) != 0) {
    }
    std::size_t begin = end;
    while (all[--begin].rfind("SCHED", 0) != 0) {
    }
    return {all.begin() + static_cast<std::ptrdiff_t>(begin), all.begin() + static_cast<std::ptrdiff_t>(end)};
  }

 private:
  std::size_t traces() const {
    std::size_t n = 0;
    for (const std::string& line : lines()) n += line.rfind("SCHED", 0) == 0 ? 1 : 0;
    return n;
  }
  FILE* file_;
  int saved_;
};

weft::options with(int procs) {
  weft::options o;
  o.procs = procs;
  return o;
}

const std::string head =
    "SCHED [0-9]+ms: gomaxprocs=[0-9]+ idleprocs=[0-9]+ threads=[0-9]+ spinningthreads=[0-9]+ needspinning=[01] "
    "idlethreads=[0-9]+ runqueue=[0-9]+";

TEST(schedtrace, the_format_of_go_1_23) {
  std::vector<std::string> lines;
  {
    trace_of trace("schedtrace=1,schedformat=1.23");
    weft::run(with(3), [&] { until([&] { return trace.lines().size() >= 4; }); });
    lines = trace.lines();
  }
  const std::regex form(head + " \\[[0-9]+ [0-9]+ [0-9]+\\]");
  ASSERT_GE(lines.size(), 4u);
  for (const std::string& line : lines) EXPECT_TRUE(std::regex_match(line, form)) << line;
}

TEST(schedtrace, the_format_of_go_1_25) {
  std::vector<std::string> lines;
  {
    trace_of trace("schedtrace=1,schedformat=1.25");
    weft::run(with(3), [&] { until([&] { return trace.lines().size() >= 4; }); });
    lines = trace.lines();
  }
  const std::regex form(head + " \\[ [0-9]+ [0-9]+ [0-9]+ \\] schedticks=\\[ [0-9]+ [0-9]+ [0-9]+ \\]");
  ASSERT_GE(lines.size(), 4u);
  for (const std::string& line : lines) EXPECT_TRUE(std::regex_match(line, form)) << line;
}

TEST(schedtrace, details_have_a_line_for_each_p_m_and_goroutine) {
  const std::regex sched(head + " gcwaiting=(true|false) nmidlelocked=[0-9]+ stopwait=[0-9]+ sysmonwait=(true|false)");
  const std::regex p(
      "  P[0-9]+: status=[0-4] schedtick=[0-9]+ syscalltick=[0-9]+ m=(nil|[0-9]+) runqsize=[0-9]+ gfreecnt=[0-9]+ "
      "timerslen=[0-9]+");
  const std::regex m(
      "  M[0-9]+: p=(nil|[0-9]+) curg=(nil|[0-9]+) mallocing=0 throwing=0 preemptoff= locks=0 dying=0 "
      "spinning=(true|false) blocked=(true|false) lockedg=(nil|[0-9]+)");
  const std::regex g("  G[0-9]+: status=[0-9]\\([a-zA-Z. ]*\\) m=(nil|[0-9]+) lockedm=(nil|[0-9]+)");
  for (const char* knobs : {"schedtrace=1,scheddetail=1", "schedtrace=1,scheddetail=1,schedformat=1.23"}) {
    trace_of trace(knobs);
    std::vector<std::string> lines;
    weft::run(with(2), [&] {
      weft::semaphore gate(0);
      weft::wait_group all;
      for (int i = 0; i < 20; ++i) all.go([] {});
      all.wait();  // the dead are not told of
      for (int i = 0; i < 3; ++i) all.go([&] { gate.acquire(); });
      for (int i = 0; i < 10; ++i) weft::yield();
      lines = trace.next();
      gate.release(3);
      all.wait();
    });
    int n[4] = {};
    for (const std::string& line : lines) {
      if (std::regex_match(line, sched)) {
        ++n[0];
      } else if (std::regex_match(line, p)) {
        ++n[1];
      } else if (std::regex_match(line, m)) {
        ++n[2];
      } else if (std::regex_match(line, g)) {
        ++n[3];
      } else {
        ADD_FAILURE() << "no such line: " << line;
      }
    }
    EXPECT_EQ(n[0], 1);
    EXPECT_EQ(n[1], 2);
    EXPECT_GE(n[2], 1);
    EXPECT_EQ(n[3], 4) << "main and three; the runtime has none of its own (Go's NoHelperGoroutines)";
  }
}

TEST(schedtrace, details_tell_what_is) {
  trace_of trace("schedtrace=1,scheddetail=1");
  weft::run(with(1), [&] {
    weft::semaphore gate(0);
    weft::mutex held;
    held.lock();
    weft::go([&] { gate.acquire(); });
    weft::yield();
    weft::wait_group all;
    all.go([] {});
    all.wait();  // main has waited, and does no more: its line has no reason
    all.go([&] { const std::lock_guard hold(held); });
    weft::yield();
    weft::lock_os_thread();
    const std::uint64_t main = weft::this_goroutine::id();
    const std::string text = testing::PrintToString(trace.next());
    const std::string id = std::to_string(main);
    EXPECT_THAT(text, AllOf(HasSubstr("  P0: status=1 "), HasSubstr(" m=0 runqsize=0 "),
                            HasSubstr("  M0: p=0 curg=" + id + " mallocing=0"), HasSubstr(" lockedg=" + id),
                            HasSubstr("  G" + id + ": status=2() m=0 lockedm=0"),
                            HasSubstr(": status=4(semacquire) m=nil lockedm=nil"),
                            HasSubstr(": status=4(sync.Mutex.Lock) m=nil lockedm=nil")));
    weft::unlock_os_thread();
    EXPECT_THAT(testing::PrintToString(trace.next()), HasSubstr("  G" + id + ": status=2() m=0 lockedm=nil"));
    held.unlock();
    gate.release();
    all.wait();
  });
}

TEST(schedtrace, a_locked_goroutine_that_waits_is_counted) {
  trace_of trace("schedtrace=1,scheddetail=1");
  weft::run(with(2), [&] {
    weft::semaphore gate(0);
    weft::wait_group all;
    weft::test::watched waiting;
    all.go([&] {
      const weft::os_thread_lock mine;
      waiting.here();
      gate.acquire();
    });
    until([&] { return waiting.waits(); });
    std::vector<std::string> lines;
    // Its thread is on its way to sleep for a moment.
    until([&] {
      lines = trace.next();
      return lines[0].find(" nmidlelocked=1 ") != std::string::npos;
    });
    gate.release();
    all.wait();
  });
}

TEST(schedtrace, threads_that_have_ended_are_not_counted) {
  trace_of trace("schedtrace=1");
  weft::run(with(1), [&] {
    const weft::os_thread_lock main_keeps_m0;
    for (int i = 0; i < 5; ++i) {
      weft::wait_group all;
      all.go([] { weft::lock_os_thread(); });
      all.wait();
    }
    // main's, the one that watches, and one that may be kept for the next.
    until([&] {
      return trace.next().back().find(" threads=2 ") != std::string::npos ||
             trace.next().back().find(" threads=3 ") != std::string::npos;
    });
  });
}

}  // namespace
