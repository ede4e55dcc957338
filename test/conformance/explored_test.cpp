// The runtime's own promises again, in every schedule that an exploration thinks of: the shapes of the conformance and
// stress tests, small, without a thread or a clock that could make them pass by luck.
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;

TEST(explored, semaphore_serves_in_the_order_of_arrival) {
  sim::explore({.runs = 2000}, [] {
    semaphore s(0);
    std::vector<int> served;
    wait_group all;
    const auto arrive = [&](int i) {
      all.go([&, i] {
        s.acquire();
        served.push_back(i);
        s.release();
      });
    };
    for (int i = 0; i < 3; ++i) {
      arrive(i);
      sim::settle();  // it waits
    }
    arrive(3);  // comes before or after the release
    s.release();
    all.wait();
    sim::check(served == std::vector{0, 1, 2, 3}, "nobody overtakes");
  });
}

TEST(explored, semaphore_loses_and_makes_no_permit) {
  sim::explore({.runs = 2000}, [] {
    semaphore s(2);
    int inside = 0, most = 0;
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&, i] {
        if (i % 2 == 0) {
          s.acquire();
        } else if (!s.try_acquire()) {
          return;
        }
        most = std::max(most, ++inside);
        yield();
        --inside;
        s.release();
      });
    }
    all.wait();
    sim::check(most <= 2, "two at a time");
    sim::check(s.try_acquire() && s.try_acquire() && !s.try_acquire(), "two permits at the end");
  });
}

TEST(explored, mutex_excludes_and_wakes_everybody) {
  sim::explore({.runs = 2000}, [] {
    mutex m;
    int inside = 0, n = 0;
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&, i] {
        if (i == 3) {
          if (!m.try_lock()) return;
        } else {
          m.lock();
        }
        sim::check(++inside == 1, "one at a time");
        yield();
        ++n;
        --inside;
        m.unlock();
      });
    }
    all.wait();
    sim::check(n >= 3);
    sim::check(m.try_lock(), "free at the end");
    m.unlock();
  });
}

TEST(explored, wait_group_returns_after_every_done_and_can_be_used_again) {
  sim::explore({.runs = 2000}, [] {
    wait_group wg;
    for (int round = 1; round <= 2; ++round) {
      int done = 0;
      for (int i = 0; i < 3; ++i) {
        wg.go([&] {
          yield();
          ++done;
        });
      }
      wg.wait();
      sim::check(done == 3);
    }
  });
}

// As in test/stress/destroy_early.cpp: whoever waited last destroys the object, the releasing call may still be in it.
TEST(explored, objects_may_be_destroyed_when_their_last_waiter_has_returned) {
  sim::explore({.runs = 2000}, [] {
    auto s = std::make_unique<semaphore>(0);
    auto m = std::make_unique<mutex>();
    auto wg = std::make_unique<wait_group>();
    wg->add(1);
    go([at = s.get()] { at->release(); });
    s->acquire();
    s.reset();
    m->lock();
    go([at = m.get()] { at->unlock(); });
    m->lock();
    m->unlock();
    m.reset();
    go([at = wg.get()] { at->done(); });
    wg->wait();
    wg.reset();
  });
}

TEST(explored, misuse_of_a_wait_group_throws_where_go_panics) {
  sim::explore({.runs = 500}, [] {
    wait_group wg;
    bool thrown = false;
    try {
      wg.done();
    } catch (const negative_counter&) {
      thrown = true;
    }
    sim::check(thrown);
    mutex m;
    thrown = false;
    try {
      m.unlock();
    } catch (const unlock_of_unlocked_mutex&) {
      thrown = true;
    }
    sim::check(thrown);
  });
}

// Each goroutine's exceptions are its own, in every order of switches.
TEST(explored, exceptions_live_across_switches) {
  sim::explore({.runs = 1000}, [] {
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([i] {
        const auto throwing = [i] { throw std::runtime_error(std::to_string(i)); };
        try {
          throwing();
        } catch (const std::runtime_error& e) {
          yield();
          sim::check(e.what() == std::to_string(i));
          try {
            throwing();
          } catch (const std::runtime_error&) {
            yield();
          }
          sim::check(std::current_exception() != nullptr);
        }
        struct in_unwinding {
          ~in_unwinding() {
            yield();
            sim::check(std::uncaught_exceptions() == 1);
          }
        };
        try {
          in_unwinding at_end;
          throwing();
        } catch (const std::runtime_error& e) {
          sim::check(e.what() == std::to_string(i));
        }
        sim::check(std::uncaught_exceptions() == 0);
      });
    }
    all.wait();
  });
}

TEST(explored, goroutines_start_and_end_and_start_again) {
  sim::explore({.runs = 1000}, [] {
    int n = 0;
    wait_group all;
    all.go([&] {
      all.go([&] {
        all.go([&] { ++n; });
        ++n;
      });
      ++n;
    });
    all.wait();
    sim::check(n == 3);
    // A callable that is larger than a g has room for, and one with a name.
    std::string large(100, 'x');
    struct {
      char bytes[200] = "large";
    } big;
    semaphore s(0);
    go({.name = "named"}, [&, big] {
      sim::check(std::string(big.bytes) == "large" && this_goroutine::name() == "named");
      s.release();
    });
    s.acquire();
  });
}

TEST(explored, blocking_runs_inline_and_returns_what_it_should) {
  sim::explore({.runs = 500}, [] {
    int n = 0;
    wait_group one;
    one.go([&] { ++n; });
    sim::check(blocking([] { return 7; }) == 7);
    bool thrown = false;
    try {
      blocking([] { throw std::runtime_error("x"); });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    sim::check(thrown);
    blocking([&] { yield(); });
    one.wait();
    sim::check(n == 1);
  });
}

// After failures of every kind the process is as it was: other explorations, and runtimes with threads, work.
TEST(explored, a_process_is_whole_after_failures) {
  const auto fails = [](auto body) {
    for (int i = 0; i < 3; ++i) EXPECT_THROW(sim::explore({.runs = 10, .max_steps = 2000}, body), sim::failure);
  };
  fails([] {
    semaphore s(0);
    for (int i = 0; i < 20; ++i) go([&] { s.acquire(); });
    s.acquire();
  });
  fails([] {
    mutex m;
    m.lock();
    for (int i = 0; i < 5; ++i) go([&] { m.lock(); });
    throw 1;
  });
  fails([] {
    for (int i = 0; i < 5; ++i) go({.name = "not started, or in the middle"}, [] { sleep(std::chrono::hours(1)); });
    yield();
    sim::check(false);
  });
  fails([] {
    try {
      throw 1;
    } catch (int) {
      go([] {
        try {
          throw 2;
        } catch (int) {
          semaphore(0).acquire();
        }
      });
      semaphore(0).acquire();
    }
  });
  fails([] {
    for (;;) yield();
  });
  EXPECT_EQ(std::current_exception(), nullptr);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  sim::explore({.runs = 10}, [] {
    wait_group all;
    for (int i = 0; i < 30; ++i) all.go([] { yield(); });
    all.wait();
  });
  weft::run({.procs = 2}, [] {
    semaphore s(0);
    for (int i = 0; i < 100; ++i) go([&] { s.release(); });
    for (int i = 0; i < 100; ++i) s.acquire();
    try {
      throw 3;
    } catch (int n) {
      yield();
      EXPECT_EQ(n, 3);
    }
  });
}

}  // namespace
