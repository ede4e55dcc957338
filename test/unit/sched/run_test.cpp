// run: a runtime's beginning and end, its options, and what it says about itself.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "os/sys.hpp"
#include "support/goroutines.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/weft.hpp"

namespace {

using namespace small_runtime;
using testing::AllOf;
using testing::HasSubstr;

std::string message_of(auto f) {
  try {
    f();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

weft::options with(int procs) {
  weft::options o;
  o.procs = procs;
  return o;
}

TEST(run, returns_what_main_returns) {
  EXPECT_EQ(42, weft::run(with(1), [] { return 42; }));
  EXPECT_EQ("text", weft::run(with(2), [] { return std::string("text"); }));
  EXPECT_EQ(5, *weft::run(with(1), [] { return std::make_unique<int>(5); }));
  static_assert(std::is_same_v<int, decltype(weft::run([] {}))>);
  EXPECT_EQ(0, weft::run(with(1), [] {}));
  struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
  };
  EXPECT_EQ(8, weft::run(with(1), [] { return no_default(8); }).value);
}

TEST(run, can_be_called_again_and_again) {
  const weft::test::snapshot before = weft::test::take_snapshot();
  for (int i = 0; i < 30; ++i) {
    int sum = 0;
    EXPECT_EQ(i, weft::run(with(i % 3 + 1), [&] {
                weft::wait_group wg;
                std::atomic<int> ran{0};
                for (int k = 0; k < 10; ++k) wg.go([&] { ++ran; });
                wg.wait();
                sum = ran;
                return i;
              }));
    EXPECT_EQ(10, sum);
  }
  EXPECT_EQ("", weft::test::leaked_since(before));
}

TEST(run, lets_an_exception_of_main_out_after_the_others_have_ended) {
  const weft::test::snapshot before = weft::test::take_snapshot();
  bool ended = false;
  try {
    weft::run(with(1), [&] {
      weft::go([&] {
        for (int i = 0; i < 10; ++i) weft::yield();
        ended = true;
      });
      throw std::runtime_error("main failed");
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ("main failed", e.what());
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ("", weft::test::leaked_since(before));
  EXPECT_EQ(0, std::uncaught_exceptions());
}

TEST(run, waits_for_the_goroutines_that_outlive_main) {
  for (const int procs : {1, 2, 4}) {
    for (int round = 0; round < 10; ++round) {
      // Their own children too; atomics, because they end on different threads.
      std::atomic<int> ended{0};
      with_procs(procs, [&] {
        for (int i = 0; i < 10; ++i) {
          weft::go([&] {
            weft::yield();
            weft::go([&] {
              weft::blocking([] { std::this_thread::yield(); });
              ++ended;
            });
            ++ended;
          });
        }
      });
      ASSERT_EQ(20, ended.load());
    }
  }
}

TEST(run, waits_for_one_that_only_a_plain_thread_will_wake) {
  weft::semaphore s(0);
  bool ended = false;
  std::thread waker;
  with_procs(2, [&] {
    weft::go([&] {
      s.acquire();
      ended = true;
    });
    waker = std::thread([&] {
      until([&] { return __atomic_load_n(reinterpret_cast<std::uint64_t*>(&s), __ATOMIC_ACQUIRE) >> 32 == 1; });
      s.release();
    });
    weft::blocking([&] { waker.join(); });
  });
  EXPECT_TRUE(ended);
}

TEST(run, two_runtimes_live_on_two_threads_at_once) {
  const weft::test::snapshot before = weft::test::take_snapshot();
  weft::test::set_watchdog(60);
  // Each waits for the other: only if both live at once this ends.
  weft::semaphore a(0), b(0);
  std::set<std::uint64_t> ids[2];
  const auto body = [](weft::semaphore& mine, weft::semaphore& other, std::set<std::uint64_t>& seen) {
    return weft::run(with(2), [&] {
      seen.insert(weft::this_goroutine::id());
      for (int i = 0; i < 100; ++i) {
        other.release();
        mine.acquire();
        weft::wait_group wg;
        weft::mutex m;
        for (int k = 0; k < 3; ++k) {
          wg.go([&] {
            const std::lock_guard lock(m);
            seen.insert(weft::this_goroutine::id());
          });
        }
        wg.wait();
      }
      // The last of them has told main that it is done, and may not have ended yet.
      weft::test::yield_until([] { return weft::num_goroutine() == 1; });
      return 7;
    });
  };
  int results[2] = {};
  std::thread other([&] { results[1] = body(b, a, ids[1]); });
  results[0] = body(a, b, ids[0]);
  other.join();
  EXPECT_EQ(7, results[0]);
  EXPECT_EQ(7, results[1]);
  EXPECT_EQ(301u, ids[0].size());
  EXPECT_EQ(301u, ids[1].size());
  for (const std::uint64_t id : ids[0]) EXPECT_EQ(0u, ids[1].count(id));
  weft::test::clear_watchdog();
  EXPECT_EQ("", weft::test::leaked_since(before));
}

TEST(run, inside_a_goroutine_throws) {
  with_procs(1, [] {
    EXPECT_THAT(message_of([] { weft::run(with(1), [] {}); }), HasSubstr("weft::run called inside a goroutine"));
    std::string inside;
    go_now([&] { inside = message_of([] { weft::run([] {}); }); });
    EXPECT_THAT(inside, HasSubstr("inside a goroutine"));
    // A plain thread that a goroutine started is a plain thread.
    int result = 0;
    weft::blocking([&] { std::thread([&] { result = weft::run(with(1), [] { return 3; }); }).join(); });
    EXPECT_EQ(3, result);
  });
}

TEST(run, on_a_thread_in_the_middle_of_an_exception_leaves_that_one_alone) {
  try {
    throw std::runtime_error("outer");
  } catch (const std::runtime_error&) {
    weft::run(with(1), [] {
      EXPECT_EQ(nullptr, std::current_exception()) << "main is a goroutine with exceptions of its own";
      try {
        throw 5;
      } catch (int) {
        weft::yield();
      }
    });
    try {
      std::rethrow_exception(std::current_exception());
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ("outer", e.what());
    }
  }
}

TEST(run, gives_main_the_largest_stack_that_the_limit_allows) {
  with_procs(1, [] {
    const std::size_t limit = weft::rt::os::main_stack_limit();
    const std::size_t bytes = weft::rt::stack_class_bytes[weft::rt::getg()->stack->size_class];
    EXPECT_GE(bytes, std::min(limit, std::size_t{8} << 20));
  });
}

// ---- main_return::exit

// The thread that serves timers in no runtime may be there since an earlier test, and ThreadSanitizer lets no child of a fork beside
// other threads start any: the test is started anew.
void a_process_of_its_own() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

TEST(main_return, exit_ends_the_process_at_once_with_the_value_of_main) {
  a_process_of_its_own();
  EXPECT_EXIT(
      {
        weft::options o = with(2);
        o.on_main_return = weft::main_return::exit;
        weft::run(o, [] {
          weft::semaphore never(0);
          weft::go([&] { never.acquire(); });
          weft::go([] {
            for (;;) weft::yield();
          });
          weft::yield();
          return 7;
        });
      },
      testing::ExitedWithCode(7), "");
}

TEST(main_return, exit_of_a_main_that_returns_nothing_is_success) {
  a_process_of_its_own();
  EXPECT_EXIT(
      {
        weft::options o = with(1);
        o.on_main_return = weft::main_return::exit;
        weft::run(o, [] {});
      },
      testing::ExitedWithCode(0), "");
}

// ---- options

TEST(options, bad_values_are_named) {
  const auto refused = [](auto change) {
    weft::options o;
    change(o);
    return message_of([&] { weft::run(o, [] { ADD_FAILURE() << "main was started"; }); });
  };
  EXPECT_THAT(refused([](weft::options& o) { o.procs = -3; }), AllOf(HasSubstr("procs -3"), HasSubstr("4096")));
  EXPECT_THAT(refused([](weft::options& o) { o.procs = 4097; }), HasSubstr("procs 4097"));
  EXPECT_THAT(refused([](weft::options& o) { o.max_threads = 0; }), HasSubstr("max_threads 0"));
  EXPECT_THAT(refused([](weft::options& o) { o.max_threads = -1; }), HasSubstr("max_threads -1"));
  EXPECT_THAT(refused([](weft::options& o) { o.stack_size = 0; }), HasSubstr("stack_size 0"));
  EXPECT_THAT(refused([](weft::options& o) { o.stack_size = 1023; }), HasSubstr("stack_size 1023"));
  EXPECT_THAT(refused([](weft::options& o) { o.stack_size = (8 << 20) + 1; }), HasSubstr("stack_size 8388609"));
  EXPECT_THAT(refused([](weft::options& o) { o.on_main_return = static_cast<weft::main_return>(9); }),
              HasSubstr("on_main_return 9"));
}

TEST(options, decide_about_ps_and_stacks) {
  weft::options o;
  o.procs = 3;
  o.stack_size = 40'000;
  weft::run(o, [] {
    EXPECT_EQ(3u, my_sched()->nprocs);
    std::size_t bytes = 0;
    weft::semaphore done(0);
    weft::go([&] {
      bytes = weft::rt::stack_class_bytes[weft::rt::getg()->stack->size_class];
      done.release();
    });
    done.acquire();
    EXPECT_EQ(64u << 10, bytes);
  });
  weft::run(with(0), [] { EXPECT_EQ(static_cast<std::uint32_t>(weft::num_cpu()), my_sched()->nprocs); });
  EXPECT_EQ(weft::rt::os::cpu_count(), weft::num_cpu());
}

TEST(options, more_threads_than_allowed_are_fatal) {
  a_process_of_its_own();
  EXPECT_EXIT(
      {
        weft::options o = with(1);
        o.max_threads = 1;
        weft::run(o, [] {
          pipe_pair p;
          weft::go([&] { p.write('x'); });
          weft::blocking([&] { p.read(); });
        });
      },
      testing::ExitedWithCode(2), "program exceeds 1-thread limit");
}

// Variables that the test sets are gone afterwards.
class environment : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : names) ::unsetenv(name);
  }
  void TearDown() override { SetUp(); }
  void set(const char* name, const char* value) { ::setenv(name, value, 1); }
  std::string refused(const char* name, const char* value) {
    set(name, value);
    const std::string message = message_of([] { weft::options::from_env(); });
    ::unsetenv(name);
    return message;
  }
  static constexpr const char* names[] = {"WEFT_PROCS",          "WEFT_STACK_SIZE", "WEFT_MAX_THREADS",
                                          "WEFT_ON_MAIN_RETURN", "WEFT_DEBUG",      "WEFT_PROC"};
};

TEST_F(environment, without_variables_options_are_the_defaults) {
  const weft::options o = weft::options::from_env();
  EXPECT_EQ(0, o.procs);
  EXPECT_EQ(256u << 10, o.stack_size);
  EXPECT_EQ(10000, o.max_threads);
  EXPECT_EQ(weft::main_return::cancel, o.on_main_return);
}

TEST_F(environment, each_variable_sets_its_option) {
  set("WEFT_PROCS", "3");
  set("WEFT_STACK_SIZE", "64K");
  set("WEFT_MAX_THREADS", "77");
  set("WEFT_ON_MAIN_RETURN", "exit");
  const weft::options o = weft::options::from_env();
  EXPECT_EQ(3, o.procs);
  EXPECT_EQ(64u << 10, o.stack_size);
  EXPECT_EQ(77, o.max_threads);
  EXPECT_EQ(weft::main_return::exit, o.on_main_return);
  set("WEFT_STACK_SIZE", "1M");
  EXPECT_EQ(1u << 20, weft::options::from_env().stack_size);
  set("WEFT_STACK_SIZE", "2048");
  EXPECT_EQ(2048u, weft::options::from_env().stack_size);
  set("WEFT_ON_MAIN_RETURN", "cancel");
  EXPECT_EQ(weft::main_return::cancel, weft::options::from_env().on_main_return);
}

TEST_F(environment, run_without_options_obeys_it_and_run_with_options_does_not) {
  set("WEFT_PROCS", "5");
  weft::run([] { EXPECT_EQ(5u, my_sched()->nprocs); });
  weft::run(with(2), [] { EXPECT_EQ(2u, my_sched()->nprocs); });
  set("WEFT_PROCS", "0");
  weft::run(with(2), [] {});
  EXPECT_THROW(weft::run([] {}), weft::error);
}

TEST_F(environment, a_bad_value_is_named_with_what_is_taken) {
  for (const char* value : {"", "0", "-1", "4097", "two", "1.5", " 1", "1 ", "99999999999999999999"}) {
    EXPECT_THAT(refused("WEFT_PROCS", value), AllOf(HasSubstr(std::string("WEFT_PROCS=") + value), HasSubstr("4096")));
  }
  for (const char* value : {"", "0", "1023", "9M", "64k", "64KB", "K", "18446744073709551615K"}) {
    EXPECT_THAT(refused("WEFT_STACK_SIZE", value), HasSubstr(std::string("WEFT_STACK_SIZE=") + value));
  }
  for (const char* value : {"", "0", "-5", "2147483648"}) {
    EXPECT_THAT(refused("WEFT_MAX_THREADS", value), HasSubstr(std::string("WEFT_MAX_THREADS=") + value));
  }
  for (const char* value : {"", "Exit", "exit ", "1"}) {
    EXPECT_THAT(refused("WEFT_ON_MAIN_RETURN", value),
                AllOf(HasSubstr(std::string("WEFT_ON_MAIN_RETURN=") + value), HasSubstr("cancel or exit")));
  }
}

TEST_F(environment, an_unknown_variable_is_an_error_that_lists_them_all) {
  EXPECT_THAT(refused("WEFT_PROC", "2"),
              AllOf(HasSubstr("WEFT_PROC=2"), HasSubstr("WEFT_PROCS"), HasSubstr("WEFT_STACK_SIZE"),
                    HasSubstr("WEFT_MAX_THREADS"), HasSubstr("WEFT_ON_MAIN_RETURN"), HasSubstr("WEFT_DEBUG")));
}

TEST_F(environment, a_bad_knob_is_an_error_of_run_whichever_options_it_has) {
  set("WEFT_DEBUG", "sedd=1");
  EXPECT_THAT(message_of([] { weft::run(with(1), [] { ADD_FAILURE(); }); }), HasSubstr("unknown knob 'sedd'"));
  EXPECT_THAT(message_of([] { weft::run([] { ADD_FAILURE(); }); }), HasSubstr("unknown knob 'sedd'"));
}

TEST_F(environment, the_seed_knob_makes_choices_repeatable) {
  set("WEFT_DEBUG", "seed=99");
  std::vector<std::uint32_t> drawn[2];
  for (auto& each : drawn) {
    weft::run(with(1), [&] {
      EXPECT_EQ(99u, my_sched()->seed);
      for (int i = 0; i < 10; ++i) each.push_back(my_m()->choose(weft::rt::site::steal_start, 1000));
    });
  }
  EXPECT_EQ(drawn[0], drawn[1]);
}

// ---- schedtrace

// Stderr in a file, for as long as this lives.
class stderr_file {
 public:
  stderr_file() : file_(std::tmpfile()), saved_(::dup(2)) { ::dup2(::fileno(file_), 2); }
  ~stderr_file() {
    ::dup2(saved_, 2);
    ::close(saved_);
    std::fclose(file_);
  }
  stderr_file(const stderr_file&) = delete;
  stderr_file& operator=(const stderr_file&) = delete;

  std::vector<std::string> lines() const {
    std::string all(1 << 20, '\0');
    const ssize_t n = ::pread(::fileno(file_), all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    std::vector<std::string> split;
    std::istringstream in(all.substr(0, all.rfind('\n') + 1));  // whole ones only
    for (std::string line; std::getline(in, line);) split.push_back(line);
    return split;
  }

 private:
  FILE* file_;
  int saved_;
};

TEST_F(environment, schedtrace_prints_the_line_of_go_from_the_start_and_periodically) {
  set("WEFT_DEBUG", "schedtrace=1");
  std::vector<std::string> lines;
  {
    stderr_file file;
    weft::run(with(3), [&] { until([&] { return file.lines().size() >= 4; }); });
    lines = file.lines();
  }
  const std::regex form(
      "SCHED ([0-9]+)ms: gomaxprocs=3 idleprocs=([0-3]) threads=([0-9]+) spinningthreads=[0-3] needspinning=[01] "
      "idlethreads=[0-9]+ runqueue=[0-9]+ \\[( [0-9]+){3} \\] schedticks=\\[( [0-9]+){3} \\]");
  long previous = -1;
  ASSERT_GE(lines.size(), 4u);
  for (const std::string& line : lines) {
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, form)) << line;
    EXPECT_GE(std::stol(match[1]), previous);
    previous = std::stol(match[1]);
    EXPECT_GE(std::stol(match[3]), 2) << "the thread that prints is a thread";
  }
}

TEST_F(environment, schedtrace_counts_what_is_there) {
  set("WEFT_DEBUG", "schedtrace=1,takeback=off");
  std::string line;
  {
    stderr_file file;
    weft::run(with(1), [&] {
      constexpr int n = 10;
      for (int i = 0; i < n; ++i) weft::go([] {});
      // Nine in the ring and one in runnext, which is not counted; main does not give way.
      const std::size_t before = file.lines().size();
      while (file.lines().size() < before + 2) std::this_thread::yield();
      line = file.lines().back();
    });
  }
  EXPECT_THAT(line, AllOf(HasSubstr("gomaxprocs=1 idleprocs=0 threads=2 "), HasSubstr(" runqueue=0 [ 9 ] ")));
}

TEST_F(environment, without_schedtrace_nothing_is_printed) {
  stderr_file file;
  weft::run(with(2), [] { weft::go([] {}); });
  EXPECT_TRUE(file.lines().empty());
}

// ---- what it says about itself

TEST(this_goroutine, a_plain_thread_has_neither_id_nor_name) {
  EXPECT_EQ(0u, weft::this_goroutine::id());
  std::thread([] { EXPECT_EQ(0u, weft::this_goroutine::id()); }).join();
  EXPECT_EQ("", weft::this_goroutine::name());
}

TEST(this_goroutine, ids_are_never_used_again_and_stay) {
  std::set<std::uint64_t> seen;
  std::size_t expected = 0;
  for (int round = 0; round < 3; ++round) {
    with_procs(2, [&] {
      weft::mutex m;
      weft::wait_group wg;
      {
        const std::lock_guard lock(m);
        seen.insert(weft::this_goroutine::id());
      }
      for (int i = 0; i < 200; ++i) {
        wg.go([&] {
          const std::uint64_t id = weft::this_goroutine::id();
          weft::yield();
          EXPECT_EQ(id, weft::this_goroutine::id());
          const std::lock_guard lock(m);
          seen.insert(id);
        });
      }
      wg.wait();
    });
    expected += 201;
    EXPECT_EQ(expected, seen.size());
  }
  EXPECT_EQ(0u, seen.count(0));
}

TEST(num_goroutine, counts_main_and_all_that_have_not_ended) {
  with_procs(1, [] {
    EXPECT_EQ(1, weft::num_goroutine());
    weft::semaphore s(0);
    for (int i = 0; i < 5; ++i) weft::go([&] { s.acquire(); });
    EXPECT_EQ(6, weft::num_goroutine());
    weft::yield();
    EXPECT_EQ(6, weft::num_goroutine());
    s.release(3);
    until([] { return weft::num_goroutine() == 3; });
    s.release(2);
    until([] { return weft::num_goroutine() == 1; });
  });
}

TEST(num_goroutine, outside_a_runtime_throws) {
  EXPECT_THAT(message_of([] { weft::num_goroutine(); }), HasSubstr("weft::num_goroutine called outside a runtime"));
  EXPECT_THAT(message_of([] { weft::debug::stats(); }), HasSubstr("weft::debug::stats called outside a runtime"));
  EXPECT_GE(weft::num_cpu(), 1);
}

TEST(stats, count_since_the_start_of_the_runtime) {
  for (int round = 0; round < 2; ++round) {
    with_procs(1, [] {
      EXPECT_EQ(1u, weft::debug::stats().goroutines_created);
      EXPECT_EQ(1u, weft::debug::stats().threads);
      EXPECT_EQ(0u, weft::debug::stats().steals);
      for (int i = 0; i < 7; ++i) go_now([] {});
      EXPECT_EQ(8u, weft::debug::stats().goroutines_created);
      EXPECT_EQ(1u, weft::debug::stats().threads) << "with one P and no blocking call no thread is started";
      pipe_pair p;
      weft::go([&] { p.write('x'); });
      weft::blocking([&] { p.read(); });
      EXPECT_EQ(2u, weft::debug::stats().threads);
    });
  }
}

}  // namespace
