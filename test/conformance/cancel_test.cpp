// Main has returned: the goroutines that are left unwind from their next cancellation point (docs/reference). Go has no
// counterpart: there the process ends. this_goroutine::exit is Go's Goexit: GoexitDefer, PanicAfterGoexit's kin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/process.hpp"
#include "model/sched.hpp"
#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::run_case;
using testing::HasSubstr;

// Main may return with goroutines left: what they use is a State that lives longer. `body` on main; `after` when run() has
// returned, and nothing else is left then.
template <class State, class Body, class After>
void when_main_has_returned(Body body, After after) {
  for (const int procs : {1, 2, 4}) {
    for (int round = 0; round < 3; ++round) {
      SCOPED_TRACE(testing::Message() << procs << " Ps");
      State s;
      options o;
      o.procs = procs;
      o.shutdown_timeout = 1h;  // the watchdog is to end a hang: patience would, with status 0
      const test::snapshot before = test::take_snapshot();
      test::set_watchdog(60);
      weft::run(o, [&] { body(s); });
      test::clear_watchdog();
      after(s);
      EXPECT_EQ(test::leaked_since(before), "");
      EXPECT_EQ(std::uncaught_exceptions(), 0);
      if (testing::Test::HasFailure()) return;
    }
  }
}

struct counts_its_end {
  std::atomic<int>& n;
  ~counts_its_end() { ++n; }
};

// ---- where it comes

struct three_waits {
  semaphore never{0};
  wait_group nobody;
  test::watched in_semaphore, in_group, asleep;
  std::atomic<int> unwound{0}, went_on{0}, by_type{0};
};

TEST(cancel, waits_are_left_by_unwinding_with_all_destructors) {
  when_main_has_returned<three_waits>(
      [](three_waits& s) {
        s.nobody.add(1);
        const auto waits = [&s](auto wait) {
          const counts_its_end outer{s.unwound};
          try {
            const counts_its_end inner{s.unwound};
            wait();
            ++s.went_on;
          } catch (const std::exception&) {
            ++s.went_on;  // it is not one
          } catch (const cancelled& c) {
            EXPECT_STREQ(c.what(), "the goroutine has been cancelled");
            ++s.by_type;
            throw;
          }
        };
        go([&s, waits] {
          s.in_semaphore.here();
          waits([&] { s.never.acquire(); });
        });
        go([&s, waits] {
          s.in_group.here();
          waits([&] { s.nobody.wait(); });
        });
        go([&s, waits] {
          s.asleep.here();
          waits([&] { weft::sleep(1h); });
        });
        test::yield_until([&] { return s.in_semaphore.waits() && s.in_group.waits() && s.asleep.waits(); });
      },
      [](three_waits& s) {
        EXPECT_EQ(s.by_type.load(), 3);
        EXPECT_EQ(s.unwound.load(), 6);
        EXPECT_EQ(s.went_on.load(), 0);
        EXPECT_FALSE(s.never.try_acquire());
      });
}

struct counters {
  semaphore never{0}, gate{0};
  mutex m;
  test::watched first;
  std::atomic<int> unwound{0}, went_on{0}, caught{0};
  std::atomic<bool> flag{false};
  wait_group group;
  std::vector<test::watched> many = std::vector<test::watched>(5);
};

TEST(cancel, those_that_run_meet_it_at_their_next_wait) {
  when_main_has_returned<counters>(
      [](counters& s) {
        for (int i = 0; i < 5; ++i) {
          go([&s] {
            const counts_its_end end{s.unwound};
            while (!this_goroutine::cancelled()) yield();
            yield();  // neither is a cancellation point
            blocking([] {});
            ++s.went_on;
            s.never.acquire();
            ADD_FAILURE() << "a cancelled goroutine has waited";
          });
        }
        yield();
      },
      [](counters& s) {
        EXPECT_EQ(s.unwound.load(), 5);
        EXPECT_EQ(s.went_on.load(), 5);
      });
}

TEST(cancel, those_that_have_not_begun_begin) {
  when_main_has_returned<counters>(
      [](counters& s) {
        for (int i = 0; i < 300; ++i) {
          go([&s] {
            const counts_its_end end{s.unwound};
            s.never.acquire();
          });
        }
      },
      [](counters& s) { EXPECT_EQ(s.unwound.load(), 300); });
}

TEST(cancel, those_that_are_started_afterwards_are_cancelled_too) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          s.first.here();
          try {
            s.never.acquire();
          } catch (const cancelled&) {
            for (int i = 0; i < 10; ++i) {
              go([&s] {
                EXPECT_TRUE(this_goroutine::cancelled());
                const counts_its_end end{s.unwound};
                go([&s] {
                  const counts_its_end grandchild{s.unwound};
                  s.never.acquire();
                });
                s.never.acquire();
              });
            }
            throw;
          }
        });
        test::yield_until([&] { return s.first.waits(); });
      },
      [](counters& s) { EXPECT_EQ(s.unwound.load(), 20); });
}

TEST(cancel, a_call_that_need_not_wait_succeeds) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          while (!this_goroutine::cancelled()) yield();
          s.gate.release(2);
          s.gate.acquire();
          EXPECT_TRUE(s.gate.try_acquire());
          EXPECT_FALSE(s.gate.try_acquire());
          s.group.wait();  // at zero
          s.group.go([&s] { ++s.went_on; });
          weft::sleep(0s);
          weft::sleep(-1s);
          const std::lock_guard hold(s.m);
          ++s.went_on;
          EXPECT_THROW(weft::sleep(1ns), cancelled);
          EXPECT_THROW(s.gate.acquire(), cancelled);
        });
      },
      [](counters& s) { EXPECT_EQ(s.went_on.load(), 2); });
}

TEST(cancel, swallowed_it_comes_again) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          for (int i = 0; i < 5; ++i) {
            try {
              s.never.acquire();
            } catch (...) {
              ++s.caught;
            }
          }
          ++s.went_on;
        });
        yield();
      },
      [](counters& s) {
        EXPECT_EQ(s.caught.load(), 5);
        EXPECT_EQ(s.went_on.load(), 1);
      });
}

TEST(cancel, what_main_has_thrown_comes_out_after_the_others_have_ended) {
  counters s;
  try {
    weft::run([&] {
      go([&] {
        const counts_its_end end{s.unwound};
        s.first.here();
        s.never.acquire();
      });
      test::yield_until([&] { return s.first.waits(); });
      throw std::runtime_error("main failed");
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "main failed");
    EXPECT_EQ(s.unwound.load(), 1);
  }
}

// ---- where it does not

TEST(cancel, a_mutex_is_waited_for_to_the_end) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          const std::lock_guard hold(s.m);
          s.first.here();
          s.never.acquire();
        });
        test::yield_until([&] { return s.first.waits(); });
        for (test::watched& w : s.many) {
          go([&s, &w] {
            w.here();
            s.m.lock();
            ++s.went_on;
            EXPECT_TRUE(this_goroutine::cancelled());
            s.m.unlock();
          });
          test::yield_until([&] { return w.waits(); });
        }
      },
      [](counters& s) {
        EXPECT_EQ(s.went_on.load(), 5);
        EXPECT_TRUE(s.m.try_lock());
        s.m.unlock();
      });
}

TEST(cancel, no_cancel_waits_to_the_end_and_the_next_wait_after_it_does_not) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          const counts_its_end end{s.unwound};
          s.first.here();
          {
            const no_cancel outer;
            { const no_cancel inner; }
            s.gate.acquire();
            EXPECT_TRUE(this_goroutine::cancelled());
            s.gate.acquire();  // cancelled now, and given by and by
            weft::sleep(1us);
            ++s.went_on;
          }
          s.never.acquire();
          ADD_FAILURE() << "the scope is over";
        });
        test::yield_until([&] { return s.first.waits(); });
        go([&s] {
          while (!this_goroutine::cancelled()) yield();
          s.gate.release();
          for (int i = 0; i < 10; ++i) yield();
          s.gate.release();
        });
      },
      [](counters& s) {
        EXPECT_EQ(s.went_on.load(), 1);
        EXPECT_EQ(s.unwound.load(), 1);
      });
}

TEST(cancel, destructors_that_run_because_of_it_may_wait) {
  when_main_has_returned<counters>(
      [](counters& s) {
        struct waits_at_end {
          counters& s;
          ~waits_at_end() {
            EXPECT_EQ(std::uncaught_exceptions(), 1);
            s.gate.acquire();
            s.group.wait();
            weft::sleep(1us);
            ++s.unwound;
          }
        };
        s.group.add(1);
        go([&s] {
          const waits_at_end outer{s};
          const waits_at_end inner{s};
          s.first.here();
          s.never.acquire();
        });
        test::yield_until([&] { return s.first.waits(); });
        go([&s] {
          while (!this_goroutine::cancelled()) yield();
          for (int i = 0; i < 10; ++i) yield();
          s.gate.release(2);
          s.group.done();
        });
      },
      [](counters& s) { EXPECT_EQ(s.unwound.load(), 2); });
}

// The other way round: it is on its way because of another exception when the cancellation comes, or waits for it. In the
// handler nothing is on its way any more.
TEST(cancel, destructors_that_run_because_of_another_exception_may_wait) {
  when_main_has_returned<counters>(
      [](counters& s) {
        struct waits_at_end {
          counters& s;
          ~waits_at_end() {
            s.first.here();
            s.gate.acquire();
            ++s.unwound;
          }
        };
        go([&s] {
          try {
            const waits_at_end end{s};
            throw std::runtime_error("on its way");
          } catch (const std::runtime_error&) {
            try {
              s.never.acquire();
            } catch (const cancelled&) {
              ++s.caught;
              throw;
            }
          }
        });
        test::yield_until([&] { return s.first.waits(); });
        go([&s] {
          while (!this_goroutine::cancelled()) yield();
          for (int i = 0; i < 10; ++i) yield();
          s.gate.release();
        });
      },
      [](counters& s) {
        EXPECT_EQ(s.unwound.load(), 1);
        EXPECT_EQ(s.caught.load(), 1);
      });
}

TEST(cancel, a_call_in_blocking_is_awaited) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          blocking([&] { test::spin_until([&] { return s.flag.load(); }); });
          ++s.went_on;
          s.never.acquire();
        });
        go([&s] {
          while (!this_goroutine::cancelled()) yield();
          s.flag = true;
        });
        yield();
      },
      [](counters& s) { EXPECT_EQ(s.went_on.load(), 1); });
}

TEST(cancel, outside_a_runtime_there_is_none) {
  EXPECT_FALSE(this_goroutine::cancelled());
  const no_cancel nothing_to_forbid;
  EXPECT_FALSE(this_goroutine::cancelled());
}

// A waiter that was cancelled leaves what it waited on as if it had never come.
struct shared_semaphore {
  semaphore s{0};
  wait_group group;
  std::atomic<int> unwound{0};
  std::vector<test::watched> waiting = std::vector<test::watched>(7);
};

TEST(cancel, a_cancelled_waiter_takes_no_permit_and_no_place_in_the_line) {
  when_main_has_returned<shared_semaphore>(
      [](shared_semaphore& s) {
        s.group.add(1);
        for (std::size_t i = 0; i < 7; ++i) {
          go([&s, i] {
            const counts_its_end end{s.unwound};
            s.waiting[i].here();
            if (i < 4) {
              s.s.acquire();
            } else {
              s.group.wait();
            }
          });
        }
        test::yield_until([&] {
          for (const test::watched& w : s.waiting) {
            if (!w.waits()) return false;
          }
          return true;
        });
      },
      [](shared_semaphore& s) {
        EXPECT_EQ(s.unwound.load(), 7);
        s.s.release();
        EXPECT_TRUE(s.s.try_acquire());
        EXPECT_FALSE(s.s.try_acquire());
        s.group.done();
        s.group.wait();
        s.group.add(1);  // a new round may begin: nobody is counted as waiting
        s.group.done();
      });
}

// ---- this_goroutine::exit

volatile int never_set = 0;

[[gnu::noinline]] void exit_at_depth(int n, std::atomic<int>& unwound) {
  const counts_its_end end{unwound};
  if (n > 0) {
    exit_at_depth(n - 1, unwound);
  } else if (never_set == 0) {
    this_goroutine::exit();
  }
  ADD_FAILURE() << "exit has returned";
}

TEST(goroutine_exit, ends_the_goroutine_with_all_destructors_however_deep) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<int> unwound{0};
    wait_group all;
    for (int i = 0; i < 10; ++i) all.go([&, i] { exit_at_depth(i, unwound); });
    all.wait();
    EXPECT_EQ(unwound.load(), 55);
  });
}

TEST(goroutine_exit, is_no_exception_and_may_be_swallowed) {
  test::for_each_case_and_schedule([](const run_case&) {
    int went_on = 0;
    wait_group all;
    all.go([&] {
      try {
        this_goroutine::exit();
      } catch (const std::exception&) {
        ADD_FAILURE();
      } catch (const cancelled&) {
        ADD_FAILURE();
      } catch (...) {
        ++went_on;
      }
      ++went_on;  // Go's deferred functions cannot do that; a catch (...) without throw can
      yield();
      ++went_on;
    });
    all.wait();
    EXPECT_EQ(went_on, 3);
  });
}

TEST(goroutine_exit, destructors_may_wait_meanwhile) {
  test::for_each_case_and_schedule([](const run_case&) {
    semaphore gate(0);
    std::atomic<int> waited{0};
    wait_group all;
    all.go([&] {
      struct waits_at_end {
        semaphore& gate;
        std::atomic<int>& waited;
        ~waits_at_end() {
          gate.acquire();
          ++waited;
        }
      } end{gate, waited};
      this_goroutine::exit();
    });
    yield();
    gate.release();
    all.wait();
    EXPECT_EQ(waited.load(), 1);
  });
}

TEST(goroutine_exit, from_a_handler_and_with_an_exception_kept_loses_neither) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::exception_ptr kept;
    wait_group all;
    all.go([&] {
      try {
        throw std::runtime_error("first");
      } catch (const std::runtime_error&) {
        kept = std::current_exception();
        this_goroutine::exit();
      }
    });
    all.wait();
    ASSERT_NE(kept, nullptr);
    try {
      std::rethrow_exception(kept);
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "first");
    }
  });
}

// Go's RecoveredPanicAfterGoexit: an exception of a destructor's own, caught there, does not end the exit.
TEST(goroutine_exit, an_exception_caught_on_the_way_does_not_end_it) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<int> caught{0};
    bool went_on = false;
    wait_group all;
    all.go([&] {
      {
        struct throws_and_catches {
          std::atomic<int>& caught;
          ~throws_and_catches() {
            try {
              throw std::runtime_error("in a destructor");
            } catch (const std::runtime_error&) {
              ++caught;
            }
          }
        } end{caught};
        this_goroutine::exit();
      }
      went_on = true;
    });
    all.wait();
    EXPECT_EQ(caught.load(), 1);
    EXPECT_FALSE(went_on);
  });
}

// The user's mistake, and the first that everybody makes: what they wait for was a local of main's. Nothing that is needed
// stands there when they are told to give up.
TEST(cancel, of_those_who_wait_for_what_was_mains) {
  if (weft::test::built_with_sanitizer) GTEST_SKIP() << "a use after main's end, which a sanitizer reports rightly";
  for (const int procs : {1, 2, 4}) {
    options o;
    o.procs = procs;
    EXPECT_EQ(4, weft::run(o, [] {
                semaphore never(0);
                wait_group group;
                group.add(1);
                for (int i = 0; i < 50; ++i) {
                  go([&never] { never.acquire(); });
                  go([&group] { group.wait(); });
                }
                while (num_goroutine() < 101) yield();
                yield();
                return 4;
              }));
  }
}

TEST(goroutine_exit, is_refused_on_a_plain_thread) {
  try {
    this_goroutine::exit();
  } catch (const error& e) {
    EXPECT_THAT(e.what(), HasSubstr("weft::this_goroutine::exit called outside a runtime"));
  }
}

TEST(goroutine_exit, a_cancelled_goroutine_may_call_it) {
  when_main_has_returned<counters>(
      [](counters& s) {
        go([&s] {
          const counts_its_end end{s.unwound};
          while (!this_goroutine::cancelled()) yield();
          this_goroutine::exit();
        });
      },
      [](counters& s) { EXPECT_EQ(s.unwound.load(), 1); });
}

}  // namespace
