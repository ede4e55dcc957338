// Exceptions belong to goroutines, not to threads (FAULTS 6, RELIABILITY X1). The C++ runtime keeps what is being caught
// and how many are in flight in 16 bytes per thread; if they did not move with the goroutine, two goroutines that wait
// inside catch blocks on one thread would swap their exceptions, and one that changes threads would have none.
#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

std::string current_what() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "something else";
  }
}

// n goroutines in catch blocks, each with its own exception, resumed in an order that is not that of their catching.
// `rest` is how they wait: it may bring them back on another thread.
template <class Rest>
void each_keeps_its_exception(int n, int rounds, Rest rest) {
  std::atomic<int> wrong{0};
  wait_group all;
  for (int i = 0; i < n; ++i) {
    all.go([&, i] {
      for (int round = 0; round < rounds; ++round) {
        const std::string mine = "goroutine " + std::to_string(i) + " round " + std::to_string(round);
        try {
          throw std::runtime_error(mine);
        } catch (const std::runtime_error& e) {
          rest();
          if (mine != e.what() || current_what() != mine) ++wrong;
          rest();
          try {
            throw;  // the one caught here, whatever others have caught meanwhile
          } catch (const std::exception& again) {
            rest();
            if (mine != again.what()) ++wrong;
          }
          if (current_what() != mine) ++wrong;
        }
        if (std::current_exception() != nullptr || std::uncaught_exceptions() != 0) ++wrong;
      }
    });
  }
  all.wait();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(exceptions, fault_06_stay_with_their_goroutine_over_yields) {
  test::for_each_case_and_schedule(
      [](const run_case&) { each_keeps_its_exception(10, test::scaled(50), [] { yield(); }); });
}

TEST(exceptions, fault_06_stay_with_their_goroutine_over_parks_on_other_threads) {
  test::for_each_case_and_schedule([](const run_case&) {
    // One baton for all: the goroutine that comes back does so on the thread of whoever passed it on.
    mutex baton;
    each_keeps_its_exception(10, test::scaled(50), [&] {
      baton.lock();
      yield();
      baton.unlock();
    });
  });
}

TEST(exceptions, fault_06_stay_with_their_goroutine_over_blocking_calls) {
  test::for_each_case_and_schedule([](const run_case&) {
    each_keeps_its_exception(6, test::scaled(20), [] { blocking([] { rt::os::yield_thread(); }); });
  });
}

// A goroutine that was seen to change threads inside a catch block, not only one that may have. The first finds itself
// on whatever thread; the second keeps that thread busy until the first has been run by another.
TEST(exceptions, fault_06_a_catch_block_that_ends_on_another_thread) {
  test::for_each_case(
      [](const run_case&) {
        const int wanted = 50;
        int moved = 0;
        std::string first_error;
        for (int tries = 0; moved < wanted; ++tries) {
          semaphore wake(0);
          test::watched sleeper;
          std::atomic<std::uint64_t> slept_on{0};
          std::atomic<bool> back{false};
          std::string caught;
          bool changed = false;
          wait_group all;
          all.go([&] {
            try {
              throw std::runtime_error("mine");
            } catch (...) {
              sleeper.here();
              slept_on = test::thread_id();
              wake.acquire();
              changed = test::thread_id() != slept_on;
              caught = current_what();
            }
            back = true;
          });
          test::yield_until([&] { return sleeper.waits(); });
          // Held by us: if this is the thread it slept on, it can only come back on another. Ours is its runnext, so
          // the other P must steal it.
          wake.release();
          test::spin_until([&] { return back.load(); });
          all.wait();
          if (caught != "mine") first_error = caught;
          if (changed) ++moved;
          if (tries == 100'000) FAIL() << "no goroutine changed threads";
        }
        EXPECT_EQ(first_error, "");
      },
      {{2, 4}, 2});
}

// A destructor that runs during unwinding gives its P away: whoever runs meanwhile has no exception in flight, and the
// unwinding goes on where it was.
TEST(exceptions, a_destructor_that_yields_during_unwinding_keeps_the_count_to_itself) {
  test::for_each_case_and_schedule([](const run_case&) {
    struct yields {
      std::atomic<int>* wrong;
      ~yields() {
        if (std::uncaught_exceptions() != 1) ++*wrong;
        yield();
        if (std::uncaught_exceptions() != 1) ++*wrong;
        // A new goroutine, also one that runs in place on a used stack, starts with none.
        wait_group fresh;
        fresh.go([w = wrong] {
          if (std::uncaught_exceptions() != 0 || std::current_exception() != nullptr) ++*w;
        });
        fresh.wait();
        // And an exception that is thrown and caught inside is no more than nested.
        try {
          throw 1;
        } catch (int) {
          yield();
          if (std::uncaught_exceptions() != 1) ++*wrong;
        }
      }
    };
    std::atomic<int> wrong{0}, caught{0};
    wait_group all;
    for (int i = 0; i < 10; ++i) {
      all.go([&, i] {
        try {
          yields a{&wrong}, b{&wrong};
          throw i;
        } catch (int v) {
          if (v == i) ++caught;
        }
        if (std::uncaught_exceptions() != 0) ++wrong;
      });
    }
    for (int i = 0; i < 50; ++i) {
      yield();
      if (std::uncaught_exceptions() != 0) ++wrong;
    }
    all.wait();
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(caught.load(), 10);
  });
}

TEST(exceptions, nest) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<int> wrong{0};
    wait_group all;
    for (int i = 0; i < 10; ++i) {
      all.go([&, i] {
        struct down {
          static void into(int depth, int id, std::atomic<int>& bad) {
            if (depth == 0) return;
            try {
              throw depth * 100 + id;
            } catch (int v) {
              yield();
              into(depth - 1, id, bad);
              yield();
              try {
                throw;
              } catch (int again) {
                if (again != v || again != depth * 100 + id) ++bad;
              }
            }
          }
        };
        down::into(8, i, wrong);
      });
    }
    all.wait();
    EXPECT_EQ(wrong.load(), 0);
  });
}

TEST(exceptions, throw_with_nested_keeps_the_chain_over_yields) {
  test::for_each_case_and_schedule([](const run_case&) {
    std::atomic<int> wrong{0};
    wait_group all;
    for (int i = 0; i < 5; ++i) {
      all.go([&, i] {
        try {
          try {
            throw std::runtime_error("inner " + std::to_string(i));
          } catch (...) {
            yield();
            std::throw_with_nested(std::logic_error("outer " + std::to_string(i)));
          }
        } catch (const std::logic_error& outer) {
          yield();
          try {
            std::rethrow_if_nested(outer);
            ++wrong;
          } catch (const std::runtime_error& inner) {
            if (inner.what() != "inner " + std::to_string(i)) ++wrong;
          }
        }
      });
    }
    all.wait();
    EXPECT_EQ(wrong.load(), 0);
  });
}

// exception_ptr: caught on one goroutine, looked at by many at once, thrown again on others.
TEST(exceptions, an_exception_ptr_crosses_goroutines) {
  test::for_each_case_and_schedule([](const run_case&) {
    struct counted : std::runtime_error {
      std::shared_ptr<int> alive = std::make_shared<int>(0);
      using std::runtime_error::runtime_error;
    };
    std::weak_ptr<int> object;
    {
      std::exception_ptr thrown;
      wait_group first, others;
      first.go([&] {
        try {
          counted e("theirs");
          object = e.alive;
          throw e;
        } catch (...) {
          thrown = std::current_exception();
          yield();
        }
      });
      first.wait();
      std::atomic<int> seen{0};
      for (int i = 0; i < 10; ++i) {
        others.go([&seen, thrown] {
          try {
            std::rethrow_exception(thrown);
          } catch (const counted& e) {
            yield();
            if (std::string("theirs") == e.what()) ++seen;
          }
        });
      }
      others.wait();
      EXPECT_EQ(seen.load(), 10);
      EXPECT_FALSE(object.expired());
    }
    test::yield_until([] { return num_goroutine() == 1; });
    EXPECT_TRUE(object.expired()) << "the exception object has leaked";
  });
}

// The exceptions of the thread that called run are its own: run inside a catch block, and the goroutines see none.
TEST(exceptions, run_inside_a_catch_block) {
  for (int procs : {1, 4}) {
    options o;
    o.procs = procs;
    try {
      throw std::runtime_error("outside");
    } catch (const std::runtime_error&) {
      bool clean = false;
      weft::run(o, [&] {
        clean = std::current_exception() == nullptr && std::uncaught_exceptions() == 0;
        wait_group all;
        for (int i = 0; i < 5; ++i) {
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
      EXPECT_TRUE(clean);
      EXPECT_EQ(current_what(), "outside");
    }
    EXPECT_EQ(std::current_exception(), nullptr);
  }
}

TEST(exceptions, pass_through_blocking_and_wait_group_go) {
  test::for_each_case_and_schedule([](const run_case&) {
    EXPECT_THROW(blocking([] { throw std::runtime_error("from f"); }), std::runtime_error);
    struct unwinds {};
    wait_group all;
    all.add(1);
    go([&] {
      try {
        wait_group inner;
        inner.wait();
        blocking([] { throw unwinds{}; });
      } catch (const unwinds&) {
        all.done();
      }
    });
    all.wait();
    EXPECT_EQ(std::uncaught_exceptions(), 0);
  });
}

}  // namespace
