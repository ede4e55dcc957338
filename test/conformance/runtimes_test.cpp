// class runtime: Ps and threads of one's own, several at once and one after another. Go has one runtime per process, so
// there is nothing of Go's to restate; the claims are those of docs/reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/sched.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/runtime.hpp"

namespace {

bool in_forked_child = false;

}  // namespace

// LeakSanitizer asks here. It takes the locks of AddressSanitizer's malloc at exit, and in a forked child one of them may
// have been left locked by a thread that does not exist there.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return in_forked_child ? 1 : 0; }

namespace {

using namespace weft;
using namespace std::chrono_literals;
using testing::HasSubstr;

options with(int procs) {
  options o;
  o.procs = procs;
  return o;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// For several P counts, with nothing left behind.
void for_each_procs(const std::function<void(int)>& body) {
  for (const int procs : {1, 2, 4}) {
    SCOPED_TRACE(testing::Message() << procs << " Ps");
    const test::snapshot before = test::take_snapshot();
    test::set_watchdog(60);
    body(procs);
    test::clear_watchdog();
    EXPECT_EQ(test::leaked_since(before), "");
    if (testing::Test::HasFailure()) return;
  }
}

// ---- what goes in, and what comes out

TEST(runtime, goroutines_are_started_from_plain_threads) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    constexpr int threads = 3, each = 200;
    std::atomic<int> ran{0};
    std::vector<std::thread> outside;
    for (int t = 0; t < threads; ++t) {
      outside.emplace_back([&] {
        for (int i = 0; i < each; ++i) {
          r.go([&] {
            EXPECT_NE(this_goroutine::id(), 0u);
            yield();
            ++ran;
          });
        }
      });
    }
    for (std::thread& t : outside) t.join();
    test::spin_until([&] { return ran.load() == threads * each; });
  });
}

TEST(runtime, run_waits_and_gives_what_f_returns) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    EXPECT_EQ(r.run([] { return 42; }), 42);
    EXPECT_EQ(r.run([] {}), 0);
    EXPECT_EQ(*r.run([] { return std::make_unique<int>(5); }), 5);
    const std::string text = "by reference";
    auto copy = r.run([&]() -> const std::string& { return text; });
    static_assert(std::is_same_v<decltype(copy), std::string>);
    EXPECT_EQ(copy, text);
    const std::thread::id caller = std::this_thread::get_id();
    EXPECT_NE(r.run([] { return std::this_thread::get_id(); }), caller);
    // The other goroutines go on.
    semaphore gate(0);
    std::atomic<bool> passed{false};
    r.run([&] {
      go([&] {
        gate.acquire();
        passed = true;
      });
    });
    EXPECT_FALSE(passed.load());
    gate.release();
    test::spin_until([&] { return passed.load(); });
    EXPECT_EQ(r.run([&] {
      wait_group all;
      std::atomic<int> n{0};
      for (int i = 0; i < 50; ++i) all.go([&] { ++n; });
      all.wait();
      return n.load();
    }),
              50);
    EXPECT_EQ(r.run([] { return gomaxprocs(0); }), procs);
  });
}

TEST(runtime, run_throws_what_leaves_f) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    try {
      r.run([]() -> int { throw std::runtime_error("out of f"); });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "out of f");
    }
    EXPECT_THROW(r.run([] { throw 7; }), int);
    EXPECT_THROW(r.run([] { this_goroutine::exit(); }), future_cancelled);
    EXPECT_EQ(r.run([] { return 1; }), 1) << "and it goes on";
  });
}

TEST(runtime, submit_gives_a_future_of_whatever_kind) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    std::future<int> number = r.submit([] { return 42; });
    std::future<void> nothing = r.submit([] { yield(); });
    std::future<std::unique_ptr<int>> unique =
        r.submit([p = std::make_unique<int>(3)]() mutable { return std::move(p); });
    int value = 1;
    std::future<int&> reference = r.submit([&]() -> int& { return value; });
    std::future<int> thrown = r.submit([]() -> int { throw std::runtime_error("out of f"); });
    std::future<int> exits = r.submit([]() -> int { this_goroutine::exit(); });
    EXPECT_EQ(number.get(), 42);
    nothing.get();
    EXPECT_EQ(*unique.get(), 3);
    EXPECT_EQ(&reference.get(), &value);
    EXPECT_THROW(thrown.get(), std::runtime_error);
    EXPECT_THROW(exits.get(), future_cancelled);
  });
}

TEST(runtime, go_takes_what_weft_go_takes) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    std::atomic<int> ran{0};
    static std::atomic<int>* counter;
    counter = &ran;
    struct functions {
      static void plain() { ++*counter; }
    };
    r.go(functions::plain);
    r.go(&functions::plain);
    r.go(std::function<void()>([&] { ++ran; }));
    std::array<char, 500> large{};
    large[499] = 'x';
    r.go([&ran, large] { ran += large[499] == 'x' ? 1 : 100; });
    r.go(attrs{.name = "named", .stack_size = 1 << 20}, [&, p = std::make_unique<int>(1)] {
      EXPECT_EQ(this_goroutine::name(), "named");
      ran += *p;
    });
    test::spin_until([&] { return ran.load() == 5; });
    EXPECT_THAT(message_of([&] { r.go(std::function<void()>{}); }), HasSubstr("go of nil func value"));
    EXPECT_THAT(message_of([&] { r.go(attrs{.stack_size = 1}, [] {}); }), HasSubstr("stack_size 1"));
    struct throws_when_moved {
      throws_when_moved() = default;
      throws_when_moved(throws_when_moved&&) { throw std::runtime_error("moved"); }
      void operator()() const { ADD_FAILURE(); }
    };
    EXPECT_THROW(r.go(throws_when_moved{}), std::runtime_error);
  });
}

TEST(runtime, bad_options_are_refused) {
  EXPECT_THAT(message_of([] { runtime r(with(-1)); }), HasSubstr("procs -1"));
  options o;
  o.shutdown_timeout = duration::nanoseconds(-5);
  EXPECT_THAT(message_of([&] { runtime r(o); }), HasSubstr("shutdown_timeout -5"));
}

// ---- beside others

TEST(runtime, is_used_from_goroutines_of_run_and_of_other_runtimes) {
  for_each_procs([](int procs) {
    runtime a(with(procs)), b(with(procs));
    std::atomic<int> ran{0};
    weft::run(with(procs), [&] {
      EXPECT_EQ(a.run([&] {
        return b.run([&] {
          ++ran;
          return a.run([&] { return ++ran; });
        });
      }),
                2);
      wait_group all;
      for (int i = 0; i < 20; ++i) {
        all.go([&] { ran += a.run([] { return 1; }); });
        b.go([&] { ++ran; });
      }
      all.wait();
    });
    test::spin_until([&] { return ran.load() == 42; });
    // num_goroutine and gomaxprocs are the caller's runtime's.
    a.run([&] {
      gomaxprocs(3);
      EXPECT_EQ(b.run([] { return gomaxprocs(0); }), procs);
      EXPECT_EQ(num_goroutine(), 1);
    });
  });
}

TEST(runtime, a_goroutine_that_waits_for_another_runtime_leaves_its_p_to_others) {
  for_each_procs([](int procs) {
    runtime other(with(procs));
    weft::run(with(1), [&] {
      std::atomic<bool> ran{false};
      go([&] { ran = true; });
      other.run([&] { test::spin_until([&] { return ran.load(); }); });
      EXPECT_TRUE(ran.load());
    });
  });
}

TEST(runtime, several_live_at_once_and_share_what_they_synchronise_with) {
  for_each_procs([](int procs) {
    constexpr int n = 200;
    runtime a(with(procs)), b(with(procs));
    semaphore there(0), back(0);
    mutex m;
    long count = 0;
    wait_group both;
    both.add(2);
    a.go([&] {
      for (int i = 0; i < n; ++i) {
        there.release();
        back.acquire();
        const std::lock_guard hold(m);
        ++count;
      }
      both.done();
    });
    b.go([&] {
      for (int i = 0; i < n; ++i) {
        there.acquire();
        back.release();
        const std::lock_guard hold(m);
        ++count;
      }
      both.done();
    });
    both.wait();  // on a plain thread
    EXPECT_EQ(count, 2l * n);
  });
}

TEST(runtime, waiters_of_two_runtimes_stand_in_one_line) {
  for_each_procs([](int procs) {
    runtime a(with(procs)), b(with(procs));
    semaphore s(0);
    std::mutex lock;
    std::vector<int> order;
    std::vector<test::watched> waiting(6);
    semaphore served(0);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      (i % 2 == 0 ? a : b).go([&, i] {
        waiting[i].here();
        s.acquire();
        const std::lock_guard hold(lock);
        order.push_back(static_cast<int>(i));
        served.release();
      });
      test::spin_until([&] { return waiting[i].waits(); });
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      s.release();
      served.acquire();
    }
    const std::lock_guard hold(lock);
    EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3, 4, 5));
  });
}

// Those of the one that goes are taken off the line; those of the other are still in it.
TEST(runtime, shutdown_cancels_its_own_waiters_only) {
  for_each_procs([](int procs) {
    runtime stays(with(procs));
    semaphore s(0);
    std::vector<test::watched> waiting(8);
    std::atomic<int> served{0}, unwound{0};
    {
      runtime goes(with(procs));
      for (std::size_t i = 0; i < waiting.size(); ++i) {
        (i % 2 == 0 ? stays : goes).go([&, i] {
          struct at_end {
            std::atomic<int>& n;
            ~at_end() { ++n; }
          };
          waiting[i].here();
          if (i % 2 == 0) {
            s.acquire();
            ++served;
          } else {
            const at_end end{unwound};
            s.acquire();
            ADD_FAILURE() << "cancelled, and got a permit";
          }
        });
        test::spin_until([&] { return waiting[i].waits(); });
      }
      goes.shutdown();
      EXPECT_EQ(unwound.load(), 4);
      EXPECT_EQ(served.load(), 0);
    }
    s.release(4);
    test::spin_until([&] { return served.load() == 4; });
    EXPECT_FALSE(s.try_acquire());
  });
}

// ---- the end

struct everybody {
  semaphore never{0};
  mutex held;
  std::atomic<int> begun{0}, ended{0};
  std::atomic<bool> let_go{false};

  // Goroutines in every state: parked, asleep, in a blocking call, running, queued.
  void start(runtime& r) {
    struct at_end {
      everybody& e;
      explicit at_end(everybody& of) : e(of) { ++e.begun; }
      ~at_end() { ++e.ended; }
    };
    for (int i = 0; i < 4; ++i) {
      r.go([this] {
        const at_end end(*this);
        never.acquire();
      });
      r.go([this] {
        const at_end end(*this);
        weft::sleep(1h);
      });
      r.go([this] {
        const at_end end(*this);
        blocking([&] { test::spin_until([&] { return let_go.load(); }); });
        never.acquire();
      });
      r.go([this] {
        const at_end end(*this);
        while (!this_goroutine::cancelled()) yield();
        let_go = true;
      });
    }
    test::spin_until([&] { return begun.load() == 16; });
    for (int i = 0; i < 50; ++i) {
      r.go([this] {
        const at_end end(*this);
        never.acquire();
      });
    }
  }
};

TEST(runtime, the_destructor_ends_goroutines_whatever_they_do) {
  for_each_procs([](int procs) {
    everybody e;
    {
      runtime r(with(procs));
      e.start(r);
    }
    EXPECT_EQ(e.ended.load(), 66);
    EXPECT_EQ(e.begun.load(), 66);
  });
}

TEST(runtime, shutdown_may_be_called_twice_and_nothing_can_be_started_after_it) {
  for_each_procs([](int procs) {
    everybody e;
    runtime r(with(procs));
    e.start(r);
    r.shutdown();
    EXPECT_EQ(e.ended.load(), 66);
    r.shutdown();
    const char* text = "weft::runtime::go after shutdown";
    EXPECT_THAT(message_of([&] { r.go([] {}); }), HasSubstr(text));
    EXPECT_THAT(message_of([&] { r.go(attrs{.name = "late"}, [] {}); }), HasSubstr(text));
    EXPECT_THAT(message_of([&] { r.run([] {}); }), HasSubstr(text));
    EXPECT_THAT(message_of([&] { static_cast<void>(r.submit([] {})); }), HasSubstr(text));
  });
}

TEST(runtime, shutdown_may_be_called_by_several_at_once) {
  for_each_procs([](int procs) {
    for (int round = 0; round < 5; ++round) {
      everybody e;
      runtime r(with(procs));
      e.start(r);
      std::vector<std::thread> threads;
      for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
          r.shutdown();
          EXPECT_EQ(e.ended.load(), 66) << "shutdown has returned before the last had ended";
        });
      }
      weft::run(with(1), [&] { r.shutdown(); });  // and a goroutine of another runtime
      for (std::thread& t : threads) t.join();
    }
  });
}

TEST(runtime, shutdown_from_inside_is_refused) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    EXPECT_THAT(r.run([&] { return message_of([&] { r.shutdown(); }); }),
                HasSubstr("weft::runtime::shutdown called inside a goroutine of that runtime"));
    EXPECT_EQ(r.run([] { return 3; }), 3);
  });
}

TEST(runtime, those_that_are_started_while_it_ends_run_or_are_refused) {
  for_each_procs([](int procs) {
    for (int round = 0; round < test::scaled(30); ++round) {
      std::atomic<int> started{0}, ran{0};
      std::atomic<bool> go_on{true}, first{false};
      runtime r(with(procs));
      std::thread outside([&] {
        while (go_on.load()) {
          try {
            r.go([&] { ++ran; });
            ++started;
            first = true;
          } catch (const error& e) {
            EXPECT_THAT(e.what(), HasSubstr("after shutdown"));
            break;
          }
        }
      });
      test::spin_until([&] { return first.load(); });
      r.shutdown();
      go_on = false;
      outside.join();
      ASSERT_EQ(ran.load(), started.load());
    }
  });
}

// An accept loop: it hands out work until it is cancelled, however late that is seen.
TEST(runtime, its_own_goroutines_start_others_also_while_it_ends) {
  for (int i = 0; i < test::scaled(50); ++i) {
    runtime rt(with(2));
    std::atomic<long> started{0}, ended{0};
    std::atomic<bool> looping{false};
    rt.go([&] {
      looping = true;
      while (!this_goroutine::cancelled()) {
        ++started;
        rt.go([&] { ++ended; });
        yield();
      }
      ++started;
      rt.go([&] { ++ended; });
    });
    while (!looping) std::this_thread::yield();
    rt.shutdown();
    EXPECT_EQ(started.load(), ended.load());
  }
}

// A static runtime is destroyed wherever exit() is called.
TEST(runtime, exit_in_one_of_its_goroutines_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::alarm(30);
        static runtime rt(with(2));
        rt.go([] { std::exit(3); });
        for (;;) ::pause();
      },
      testing::ExitedWithCode(3), "");
}

// AddressSanitizer's malloc does not survive a fork in the middle of another thread's: the child would wait for its lock.
bool others_sleep() {
  const auto me = std::to_string(::gettid());
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == me) continue;
    std::ifstream stat(task.path() / "stat");
    std::string text;
    std::getline(stat, text);
    const std::size_t name_end = text.rfind(')');
    if (name_end != std::string::npos && text.compare(name_end, 3, ") S") != 0) return false;
  }
  return true;
}

TEST(runtime, a_forked_child_may_exit_and_cannot_start_another) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::alarm(30);
        static runtime rt(with(2));
        rt.run([] {});
        while (!others_sleep()) std::this_thread::sleep_for(1ms);
        if (const pid_t child = ::fork(); child != 0) {
          int status = -1;
          ::waitpid(child, &status, 0);
          ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
        }
        ::alarm(20);  // it would keep the test's pipe open beyond its parent's end
        in_forked_child = true;
        const std::string said = message_of([] { weft::run([] {}); });
        std::exit(said.find("forked while a runtime was running") != std::string::npos ? 4 : 5);
      },
      testing::ExitedWithCode(4), "");
}

TEST(runtime, a_result_that_shutdown_prevents_is_future_cancelled) {
  for_each_procs([](int procs) {
    semaphore never(0);
    test::watched waiting, in_run;
    runtime r(with(procs));
    std::future<int> result = r.submit([&] {
      waiting.here();
      never.acquire();
      return 1;
    });
    std::thread outside([&] {
      try {
        r.run([&] {
          in_run.here();
          never.acquire();
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const future_cancelled& e) {
        EXPECT_THAT(e.what(), HasSubstr("has ended without a result"));
      }
    });
    test::spin_until([&] { return waiting.waits() && in_run.waits(); });
    r.shutdown();
    outside.join();
    EXPECT_THROW(result.get(), future_cancelled);
  });
}

TEST(runtime, one_that_was_never_used_ends_too) {
  for_each_procs([](int procs) {
    { runtime r(with(procs)); }
    runtime r(with(procs));
    r.shutdown();
  });
}

// ---- what a thousand leave behind

// Exact: the kernel's quick counters (status, statm) are off by up to some hundred pages.
std::uint64_t resident_kib() {
  std::uint64_t kib = 0;
  if (std::FILE* f = std::fopen("/proc/self/smaps_rollup", "re")) {
    char line[1000];
    unsigned long long n = 0;
    while (std::fgets(line, sizeof line, f) != nullptr) {
      if (std::sscanf(line, "Rss: %llu kB", &n) == 1) kib = n;
    }
    std::fclose(f);
  }
  return kib;
}

struct footprint {
  std::uint64_t rss = 0, fds = 0, threads = 0, mappings = 0;
  static footprint now() {
    // Joined threads are in /proc for a moment.
    test::spin_until([] { return test::count_threads() <= (test::built_with_tsan ? 2u : 1u); });
    ::malloc_trim(0);
    return {resident_kib(), test::count_fds(), test::count_threads(), test::count_mappings()};
  }
};

void use_one(int procs, int goroutines, int blocked) {
  semaphore never(0);
  std::atomic<int> begun{0};
  runtime r(with(procs));
  for (int k = 0; k < goroutines; ++k) {
    r.go([&] {
      ++begun;
      never.acquire();
    });
  }
  r.run([&] {
    while (begun.load() != goroutines) yield();
    std::atomic<int> inside{0};
    wait_group all;
    for (int k = 0; k < blocked; ++k) {
      all.go([&] {
        blocking([&] {
          ++inside;
          test::spin_until([&] { return inside.load() == blocked; });
        });
      });
    }
    all.wait();
  });
}

TEST(runtime, a_thousand_one_after_another_leave_what_ten_leave) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // A process of its own: what earlier tests have mapped and given back would hide a loss.
  EXPECT_EXIT(
      {
        test::set_watchdog(150);  // it has taken 54 s on a busy machine
        footprint tenth;
        const int n = test::scaled(1000);
        for (int i = 1; i <= n; ++i) {
          // How many threads there are at once differs from one to the next, and each new one leaves a stack and an
          // arena of malloc's behind. So the first ten have more of them than any later one.
          use_one(1 + i % 3, 100, i <= 10 ? 10 : 4);
          if (i == 9) tenth = footprint::now();  // has pages of its own
          if (i == 10) tenth = footprint::now();
        }
        const footprint last = footprint::now();
        const auto within = [](const char* what, std::uint64_t was, std::uint64_t is) {
          if (is <= was + was / 100) return true;
          std::fprintf(stderr, "%s: %llu after ten, %llu at the end\n", what, static_cast<unsigned long long>(was),
                       static_cast<unsigned long long>(is));
          return false;
        };
        bool good = within("fds", tenth.fds, last.fds) && within("threads", tenth.threads, last.threads);
        // A sanitizer keeps books of its own.
        if (!test::built_with_sanitizer) {
          good = within("RSS", tenth.rss, last.rss) && within("mappings", tenth.mappings, last.mappings) && good;
        }
        std::_Exit(good ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
