// What an exploration finds, and what it calls it.
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "unit/sim/exploring.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using namespace std::chrono_literals;
using sim::failure_kind;

TEST(sim, a_right_program_passes_and_the_summary_counts) {
  const sim::summary s = sim::explore({.runs = 300}, [] {
    int counter = 0;
    mutex m;
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        m.lock();
        const int seen = counter;
        yield();
        counter = seen + 1;
        m.unlock();
      });
    }
    all.wait();
    sim::check(counter == 3);
  });
  EXPECT_EQ(s.runs, 300);
  EXPECT_GT(s.distinct, 200);
  EXPECT_LE(s.distinct, 300);
  EXPECT_GT(s.longest, 10u);
  EXPECT_GT(s.steps, 300u * 10);
  EXPECT_LE(s.steps, 300u * s.longest);
}

TEST(sim, a_failed_check_is_found) {
  const auto f = failure_of(lost_update);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::check);
  EXPECT_TRUE(contains(f->what(), "check failed in goroutine 1 (main): no update is lost")) << f->what();
}

// What comes after an operation that lets others go on is not one with it.
TEST(sim, others_may_come_between_an_operation_that_frees_them_and_what_follows) {
  const auto seen_both_ways = [](auto body) {
    bool first = false, last = false;
    sim::explore({.runs = 200, .check_determinism = false}, [&] { (body() ? first : last) = true; });
    return first && last;
  };
  EXPECT_TRUE(seen_both_ways([] {
    int x = 0;
    bool before = false;
    semaphore done(0);
    go([&] {
      before = x == 0;
      done.release();
    });
    x = 1;
    done.acquire();
    return before;
  })) << "go";
  EXPECT_TRUE(seen_both_ways([] {
    int x = 0;
    bool before = false;
    semaphore s(0), done(0);
    go([&] {
      s.acquire();
      before = x == 0;
      done.release();
    });
    s.release();
    x = 1;
    done.acquire();
    return before;
  })) << "release";
  EXPECT_TRUE(seen_both_ways([] {
    int x = 0;
    bool before = false;
    mutex m;
    semaphore done(0);
    m.lock();
    go([&] {
      m.lock();
      before = x == 0;
      m.unlock();
      done.release();
    });
    m.unlock();
    x = 1;
    done.acquire();
    return before;
  })) << "unlock";
  EXPECT_TRUE(seen_both_ways([] {
    int x = 0;
    bool before = false;
    wait_group wg;
    semaphore done(0);
    wg.add(1);
    go([&] {
      wg.wait();
      before = x == 0;
      done.release();
    });
    wg.done();
    x = 1;
    done.acquire();
    return before;
  })) << "done";
}

// A counter is read before the operation and written after it: an update is lost only if another goroutine ran in it.
TEST(sim, every_operation_is_a_point) {
  const auto is_a_point = [](auto operation) {
    bool lost = false;
    sim::explore({.runs = 300, .check_determinism = false}, [&] {
      int n = 0;
      wait_group both;
      semaphore s(2);
      mutex m;
      wait_group wg;
      for (int i = 0; i < 2; ++i) {
        both.go([&] {
          const int seen = n;
          operation(s, m, wg);
          n = seen + 1;
        });
      }
      both.wait();
      lost = lost || n == 1;
    });
    return lost;
  };
  EXPECT_FALSE(is_a_point([](semaphore&, mutex&, wait_group&) {}));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group&) { yield(); }));
  EXPECT_TRUE(is_a_point([](semaphore& s, mutex&, wait_group&) { s.acquire(); }));
  EXPECT_TRUE(is_a_point([](semaphore& s, mutex&, wait_group&) { static_cast<void>(s.try_acquire()); }));
  EXPECT_TRUE(is_a_point([](semaphore& s, mutex&, wait_group&) { s.release(); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex& m, wait_group&) { static_cast<void>(m.try_lock()); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex& m, wait_group&) { const std::lock_guard hold(m); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group& wg) { wg.add(1); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group& wg) { wg.wait(); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group&) { blocking([] {}); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group&) { sleep(0s); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group&) { sim::point(); }));
  EXPECT_TRUE(is_a_point([](semaphore&, mutex&, wait_group&) { go([] {}); }));
}

// A stands still at one point while B passes three. With yields they take turns, in all fair schedules.
TEST(sim, point_is_a_point_and_no_turn) {
  const auto body = [](void (*between)()) {
    return [between] {
      int version = 0;
      wait_group both;
      both.go([&] {
        const int seen = version;
        between();
        sim::check(version - seen < 3, "not three in between");
      });
      both.go([&] {
        for (int i = 0; i < 3; ++i) {
          between();
          ++version;
        }
      });
      both.wait();
    };
  };
  for (const sim::strategy s : {sim::strategy::portfolio, sim::strategy::exhaustive}) {
    const auto f = failure_of({.runs = 100'000, .strategy = s}, body(sim::point));
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind(), failure_kind::check);
    EXPECT_TRUE(contains(f->schedule(), ": point\n")) << f->schedule();
  }
  EXPECT_TRUE(sim::explore({.runs = 100'000, .strategy = sim::strategy::exhaustive}, body(yield)).complete);
}

// Neither on a plain thread nor in a runtime of its own, also while an exploration has opened the door for all.
TEST(sim, point_is_nothing_outside) {
  sim::point();
  weft::run([] { sim::point(); });
  sim::explore({.runs = 1}, [] {
    std::thread t([] {
      sim::point();
      weft::run({.procs = 1}, [] { sim::point(); });
    });
    t.join();
  });
}

TEST(sim, blocking_has_a_point_before_it_and_one_after) {
  const auto loses = [](auto update) {
    bool lost = false;
    sim::explore({.runs = 100, .check_determinism = false}, [&] {
      int n = 0;
      wait_group both;
      for (int i = 0; i < 2; ++i) both.go([&] { update(n); });
      both.wait();
      lost = lost || n == 1;
    });
    return lost;
  };
  EXPECT_TRUE(loses([](int& n) {
    const int seen = n;
    blocking([&] { n = seen + 1; });
  }));
  EXPECT_TRUE(loses([](int& n) {
    const int seen = blocking([&] { return n; });
    n = seen + 1;
  }));
}

TEST(sim, main_may_exit_and_the_others_go_on_but_somebody_must_return) {
  const auto f = failure_of([] {
    go([] { yield(); });
    this_goroutine::exit();
  });
  ASSERT_TRUE(f.has_value());
  EXPECT_EQ(f->kind(), failure_kind::deadlock);
  EXPECT_TRUE(contains(f->what(), "no goroutines (main called runtime.Goexit) - deadlock!")) << f->what();
}

TEST(sim, a_deadlock_names_waits_holders_and_where_goroutines_come_from) {
  const auto f = failure_of(lock_order);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::deadlock);
  const std::string text = f->what();
  EXPECT_TRUE(contains(text, "all goroutines are asleep - deadlock!")) << text;
  EXPECT_TRUE(contains(text, "goroutine 1 (main) [sync.WaitGroup.Wait #")) << text;
  EXPECT_TRUE(contains(text, "[sync.Mutex.Lock #")) << text;
  EXPECT_TRUE(contains(text, "which goroutine 2 holds")) << text;
  EXPECT_TRUE(contains(text, "which goroutine 3 holds")) << text;
  EXPECT_TRUE(contains(text, "since step ")) << text;
  EXPECT_TRUE(contains(text, "created by weft::test::lock_order in goroutine 1")) << text;
  EXPECT_TRUE(contains(text, "replay: WEFT_SIM_SEED=" + f->replay() + " ")) << text;
}

TEST(sim, a_goroutine_that_can_never_end_is_a_leak_and_one_that_can_is_none) {
  sim::explore({.runs = 50}, [] { go([] { yield(); }); });
  sim::explore({.runs = 50}, [] { go([] { sleep(1h); }); });
  const auto f = failure_of([] {
    static semaphore never(0);  // outlives main, and is never used again
    go({.name = "waiter"}, [] { never.acquire(); });
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::leak);
  EXPECT_TRUE(contains(f->what(), "goroutine 2 (waiter) [semacquire #1")) << f->what();
}

TEST(sim, an_exception_that_nobody_catches_is_found_and_nested) {
  const auto body = [](bool on_main) {
    return [on_main] {
      wait_group one;
      if (on_main) throw std::runtime_error("boom");
      one.go([] { throw std::runtime_error("boom"); });
      one.wait();
    };
  };
  for (const bool on_main : {true, false}) {
    try {
      sim::explore(body(on_main));
      ADD_FAILURE() << "passed";
    } catch (const sim::failure& f) {
      EXPECT_EQ(f.kind(), failure_kind::exception);
      EXPECT_TRUE(contains(f.what(), on_main ? "uncaught exception in goroutine 1 (main): std::runtime_error: boom"
                                             : "uncaught exception in goroutine 2: std::runtime_error: boom"))
          << f.what();
      try {
        std::rethrow_if_nested(f);
        ADD_FAILURE() << "nothing nested";
      } catch (const std::runtime_error& cause) {
        EXPECT_STREQ(cause.what(), "boom");
      }
    }
  }
}

// A singleton's lock that a failed run has held, or waited for, is free again: for the run that makes the report, too.
TEST(sim, objects_in_static_storage_are_as_before_after_a_failure) {
  static mutex m;
  static semaphore s(1);
  static wait_group wg;
  const auto f = failure_of([] {
    m.lock();
    s.acquire();
    wg.add(1);
    go([] { m.lock(); });
    go([] { s.acquire(); });
    go([] { wg.wait(); });
    sim::settle();
    sim::check(false, "in the middle");
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::check) << f->what();
  weft::run([] {
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
    s.release();
    wg.wait();
  });
}

// Exceptions are not on the stacks that are given up: they live in malloc's memory, and would be lost.
TEST(sim, what_goroutines_of_a_failed_run_had_caught_is_destroyed) {
  static int alive;
  struct counted {
    counted() { ++alive; }
    counted(const counted&) { ++alive; }
    ~counted() { --alive; }
  };
  alive = 0;
  const auto waits_in_a_handler = [](semaphore& s) {
    try {
      throw counted();
    } catch (const counted&) {
      s.acquire();
    }
  };
  {
    const auto f = failure_of({.runs = 1}, [&] {
      semaphore never(0);
      for (int i = 0; i < 3; ++i) go([&] { waits_in_a_handler(never); });
      waits_in_a_handler(never);
    });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind(), failure_kind::deadlock);
  }
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(failure_of({.runs = 1}, [] { throw counted(); }));
  EXPECT_EQ(alive, 0) << "nor what nobody caught, once the failure is gone";
}

TEST(sim, std_terminate_is_a_failure_and_the_process_goes_on) {
  const auto thrower = [](int n) { throw n; };
  const auto f = failure_of([&] { [&]() noexcept { thrower(7); }(); });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::exception);
  EXPECT_TRUE(contains(f->what(), "int: 7")) << f->what();
}

TEST(sim, an_endless_run_names_those_who_go_on) {
  const auto f = failure_of({.max_steps = 500}, [] {
    const bool flag = false;
    go({.name = "spinner"}, [&] {
      while (!flag) yield();
    });
    semaphore never(0);
    never.acquire();
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::endless);
  EXPECT_TRUE(contains(f->what(), "no end after 500 steps; still going on: goroutine 2 (spinner)")) << f->what();
}

TEST(sim, always_is_asked_at_every_point) {
  const auto f = failure_of([] {
    int inside = 0;
    sim::always([&] { return inside < 2; }, "one at a time");
    wait_group both;
    for (int i = 0; i < 2; ++i) {
      both.go([&] {
        ++inside;
        yield();
        --inside;
      });
    }
    both.wait();
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::always);
  EXPECT_TRUE(contains(f->what(), "one at a time")) << f->what();
}

TEST(sim, a_predicate_of_always_that_calls_the_runtime_is_told_so) {
  const auto f = failure_of([] {
    mutex m;
    sim::always([&] { return m.try_lock(); });
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::always);
  EXPECT_TRUE(contains(f->what(), "has called the runtime: mutex try_lock")) << f->what();
}

TEST(sim, a_predicate_of_always_that_throws_fails_the_run) {
  const auto f = failure_of([] { sim::always([]() -> bool { throw std::runtime_error("bad"); }, "p"); });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::exception);
  EXPECT_TRUE(contains(f->what(), "in \"p\": std::runtime_error: bad")) << f->what();
}

// What a predicate refers to lives as long as the goroutine that gave it; afterwards it is not asked.
TEST(sim, always_ends_with_the_goroutine_that_said_it) {
  sim::explore({.runs = 50}, [] {
    int n = 0;
    semaphore said(0);
    go([&] {
      sim::always([&] { return n == 0; });
      said.release();
    });
    said.acquire();
    sim::settle();
    n = 1;
    yield();
  });
}

TEST(sim, eventually_waits_and_has_a_limit_in_virtual_time) {
  const auto body = [](std::chrono::nanoseconds limit) {
    return [limit] {
      bool done = false;
      wait_group one;
      one.go([&] {
        sleep(10s);
        done = true;
      });
      sim::eventually([&] { return done; }, limit, "done in time");
      one.wait();
      sim::check(sim::now() == 10s);
    };
  };
  sim::explore({.runs = 50}, body(10s));
  const auto f = failure_of(body(9s));
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::eventually);
  EXPECT_TRUE(contains(f->what(), "not true in time in goroutine 1 (main): done in time")) << f->what();
}

TEST(sim, settle_waits_until_nobody_else_can_go_on) {
  sim::explore({.runs = 200}, [] {
    int steps = 0;
    semaphore gate(0), end(0);
    go([&] {
      for (int i = 0; i < 3; ++i) {
        ++steps;
        yield();
      }
      gate.acquire();
      ++steps;
      sleep(1s);
      ++steps;
      end.release();
    });
    sim::settle();
    sim::check(steps == 3);
    gate.release();
    sim::settle();
    sim::check(steps == 4, "time does not pass for it");
    sim::check(sim::now() == 0s);
    end.acquire();
    sim::check(sim::now() == 1s);
  });
}

TEST(sim, a_run_that_went_another_way_is_caught) {
  int runs = 0;
  const auto f = failure_of([&] {
    ++runs;
    wait_group one;
    one.go([&] {
      if (runs % 2 == 0) yield();
    });
    one.wait();
  });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::nondeterminism);
  EXPECT_TRUE(contains(f->what(), "went another way at step ")) << f->what();
  EXPECT_TRUE(contains(f->what(), "goroutine 2 at yield")) << f->what();
}

TEST(sim, the_determinism_check_can_be_left_out) {
  int runs = 0;
  const sim::summary s = sim::explore({.runs = 20, .check_determinism = false}, [&] {
    if (++runs % 2 == 0) yield();
  });
  EXPECT_EQ(s.runs, 20);
  EXPECT_EQ(runs, 20);
}

// A failure that the same seed does not lead to again has a cause outside the exploration.
TEST(sim, a_failure_that_does_not_come_again_is_nondeterminism) {
  int runs = 0;
  const auto f = failure_of({.check_determinism = false}, [&] { sim::check(++runs != 5, "the fifth run"); });
  ASSERT_TRUE(f);
  EXPECT_EQ(f->kind(), failure_kind::nondeterminism);
}

TEST(sim, waking_a_plain_thread_is_a_failure) {
  semaphore outside(0);
  std::thread waiter([&] { outside.acquire(); });
  while (__atomic_load_n(reinterpret_cast<std::uint64_t*>(&outside), __ATOMIC_RELAXED) >> 32 == 0)
    std::this_thread::yield();
  try {
    sim::explore({.runs = 1, .check_determinism = false}, [&] { outside.release(); });
    ADD_FAILURE() << "passed";
  } catch (const sim::failure& f) {
    // The report does the run again, and there is nobody to wake the second time.
    EXPECT_TRUE(f.kind() == failure_kind::foreign || f.kind() == failure_kind::nondeterminism) << f.what();
    EXPECT_TRUE(contains(f.what(), "foreign") || contains(f.what(), "plain thread")) << f.what();
  }
  waiter.join();
}

TEST(sim, a_plain_thread_that_touches_an_explored_object_gets_an_error) {
  std::string said;
  sim::explore({.runs = 1, .check_determinism = false}, [&] {
    mutex m, other;
    m.lock();
    m.unlock();
    std::thread t([&] {
      said = error_of([&] { m.lock(); }) + error_of([&] {
               other.lock();
               other.unlock();
             });
    });
    t.join();
  });
  EXPECT_EQ(said, "weft::sim: a plain thread has called lock of an object that an exploration uses");
}

TEST(sim, a_goroutine_of_another_runtime_that_touches_an_explored_object_gets_an_error) {
  std::string said;
  sim::explore({.runs = 1, .check_determinism = false}, [&] {
    semaphore s(1);
    s.acquire();
    std::thread t([&] { weft::run({.procs = 1}, [&] { said = error_of([&] { s.release(); }); }); });
    t.join();
  });
  EXPECT_EQ(said, "weft::sim: a goroutine of another runtime has called release of an object that an exploration uses");
}

TEST(sim, buggify_is_on_in_some_runs_and_fires_in_some_calls) {
  int with = 0, fired = 0;
  const sim::summary s = sim::explore({.runs = 400, .check_determinism = false}, [&] {
    int here = 0;
    for (int i = 0; i < 20; ++i) here += sim::buggify("drop", 0.5) ? 1 : 0;
    with += here != 0 ? 1 : 0;
    fired += here;
  });
  EXPECT_GT(s.distinct, 50) << "what fires is a decision too";
  EXPECT_GT(with, 50);
  EXPECT_LT(with, 200);
  EXPECT_GT(fired, 5 * with);
  EXPECT_LT(fired, 15 * with);
  EXPECT_FALSE(sim::buggify("drop", 1.0)) << "outside an exploration";
}

TEST(sim, active_is_true_inside_only) {
  EXPECT_FALSE(sim::active());
  bool inside = false, other = true;
  sim::explore({.runs = 1}, [&] { inside = sim::active(); });
  weft::run([&] { other = sim::active(); });
  EXPECT_TRUE(inside);
  EXPECT_FALSE(other);
}

// What a goroutine had caught when it left the CPU is not what it has caught when its run fails.
TEST(sim, a_run_may_fail_after_waits_inside_a_handler) {
  const auto fails_after = [](auto wait_inside) {
    EXPECT_THROW(sim::explore({.runs = 1},
                              [&] {
                                wait_group others;
                                for (int i = 0; i < 4; ++i) others.go([] { yield(); });
                                try {
                                  throw 2;
                                } catch (int) {
                                  wait_inside();
                                }
                                sim::check(false, "always");
                              }),
                 sim::failure);
  };
  for (int i = 0; i < 3; ++i) {
    fails_after([] {
      for (int k = 0; k < 3; ++k) yield();
    });
    fails_after([] {
      semaphore s(0);
      go([&s] { s.release(); });
      s.acquire();
    });
    // Goroutines that have never run may have the record of one that had left the CPU inside of a handler.
    sim::explore({.runs = 3}, [] {
      wait_group all;
      for (int k = 0; k < 4; ++k) {
        all.go([] {
          try {
            throw 1;
          } catch (int) {
            yield();
          }
        });
      }
      all.wait();
    });
  }
}

// With switches at nothing but this call, as the plain schedule has none of its own.
TEST(sim, asking_for_the_number_of_goroutines_is_a_point) {
  int ended_before = 0, alive = 0;
  sim::explore({.runs = 200}, [&] {
    go([] {});
    const int before = num_goroutine();
    const int after = num_goroutine();
    ended_before += before == 2 && after == 1 ? 1 : 0;
    alive += after == 2 ? 1 : 0;
  });
  EXPECT_GT(ended_before, 0) << "nobody came between the two";
  EXPECT_GT(alive, 0);
}

}  // namespace
