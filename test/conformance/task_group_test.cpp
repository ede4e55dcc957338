// weft::task_group: all are waited for, the first error ends the others and is what wait() throws. Go's errgroup, whose tests
// (ZeroGroup, WithContext, TryGo, GoLimit, panics apart) are the pattern.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::everywhere;
using test::misuse;

static_assert(!std::is_copy_constructible_v<task_group> && !std::is_move_constructible_v<task_group>);
static_assert(std::is_nothrow_destructible_v<task_group>);
static_assert(std::is_default_constructible_v<task_group> && std::is_constructible_v<task_group, const context&>);

struct counts_its_end {
  std::atomic<int>& n;
  ~counts_its_end() { ++n; }
};

TEST(task_group, waits_for_all) {
  everywhere([] {
    task_group group;
    group.wait();
    std::atomic<int> n{0};
    for (int i = 0; i < 4; ++i) {
      group.go([&, i] {
        if (i % 2 == 0) yield();
        if (i == 3) group.go([&] { ++n; });
        ++n;
      });
    }
    group.wait();
    EXPECT_EQ(n.load(), 5);
    group.go([&] { ++n; });
    group.wait();
    EXPECT_EQ(n.load(), 6);
    EXPECT_FALSE(group.context().err());
  });
}

TEST(task_group, the_first_exception_cancels_the_others_and_is_thrown_when_all_have_ended) {
  everywhere([] {
    task_group group;
    std::atomic<int> unwound{0};
    for (int i = 0; i < 3; ++i) {
      group.go([&] {
        const counts_its_end end{unwound};
        chan<>().recv();
      });
    }
    group.go([] { throw std::runtime_error("first"); });
    for (int i = 0; i < 2; ++i) {
      try {
        group.wait();
        ADD_FAILURE();
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "first");
      }
      EXPECT_EQ(unwound.load(), 3);
    }
    EXPECT_EQ(group.context().err(), context_errc::canceled);
    EXPECT_THROW(std::rethrow_exception(group.context().cause()), std::runtime_error);
  });
}

TEST(task_group, of_two_exceptions_the_first_is_thrown) {
  everywhere([] {
    task_group group;
    std::atomic<int> first{0};
    for (int i = 1; i <= 2; ++i) {
      group.go([&, i] {
        int none = 0;
        first.compare_exchange_strong(none, i);
        throw i;
      });
    }
    try {
      group.wait();
      ADD_FAILURE();
    } catch (int thrown) {
      try {
        std::rethrow_exception(group.context().cause());
      } catch (int cause) {
        EXPECT_EQ(cause, thrown);
      }
    }
  });
}

TEST(task_group, its_goroutines_obey_the_context_that_it_was_made_under) {
  everywhere([] {
    const context outer = context::background().with_cancel();
    std::atomic<int> unwound{0};
    wait_group all;
    all.go([&] {
      try {
        with(outer, [&] {
          task_group group;
          group.go([&] {
            const counts_its_end end{unwound};
            EXPECT_TRUE(context::current() == group.context());
            chan<>().recv();
          });
          group.wait();
        });
      } catch (const cancelled&) {
        EXPECT_EQ(unwound.load(), 1);  // its destructor has waited
        ++unwound;
      }
    });
    outer.cancel();
    all.wait();
    EXPECT_GE(unwound.load(), 1);
    task_group elsewhere(outer);
    EXPECT_TRUE(elsewhere.context().err());
  });
}

TEST(task_group, the_destructor_cancels_and_waits_also_while_unwinding) {
  everywhere([] {
    std::atomic<int> unwound{0};
    const auto start = [&](task_group& group) {
      for (int i = 0; i < 3; ++i) {
        group.go([&] {
          const counts_its_end end{unwound};
          chan<>().recv();
        });
      }
    };
    {
      task_group group;
      start(group);
    }
    EXPECT_EQ(unwound.load(), 3);
    try {
      task_group group;
      start(group);
      group.go([] { throw std::runtime_error("nobody asks"); });
      throw 1;
    } catch (int) {
      EXPECT_EQ(unwound.load(), 6);
    }
    // Its owner is cancelled, and still waits.
    const context c = context::background().with_cancel();
    c.cancel();
    with(c, [&] {
      task_group group(context::background());
      start(group);
    });
    EXPECT_EQ(unwound.load(), 9);
  });
}

TEST(task_group, cancel_ends_them_without_an_exception) {
  everywhere([] {
    task_group group;
    std::atomic<int> unwound{0};
    group.go([&] {
      const counts_its_end end{unwound};
      sleep(1h);
    });
    group.go([] { this_goroutine::exit(); });
    group.cancel();
    group.wait();
    EXPECT_EQ(unwound.load(), 1);
  });
}

TEST(task_group, no_more_than_the_limit_run) {
  everywhere([] {
    task_group group;
    group.limit(2);
    std::atomic<int> now{0}, most{0}, n{0};
    for (int i = 0; i < 5; ++i) {
      group.go([&] {
        int m = most.load();
        const int mine = ++now;
        while (m < mine && !most.compare_exchange_weak(m, mine)) {
        }
        yield();
        --now;
        ++n;
      });
    }
    group.wait();
    EXPECT_EQ(n.load(), 5);
    EXPECT_LE(most.load(), 2);
  });
}

TEST(task_group, try_go_starts_it_or_leaves_it) {
  everywhere([] {
    task_group group;
    group.limit(1);
    chan<> go_on;
    EXPECT_TRUE(group.try_go([&] { go_on.recv(); }));
    auto f = [held = std::make_unique<int>(1)] {};
    EXPECT_FALSE(group.try_go(std::move(f)));
    go_on.send();
    group.wait();
    EXPECT_TRUE(group.try_go(std::move(f)));
    group.wait();
  });
}

// A group that is empty, by its own word, has all its places back: the one of the last goroutine does not come into the new ones.
TEST(task_group, a_limit_that_is_set_as_the_last_one_ends_is_no_larger) {
  everywhere([] {
    task_group group;
    group.limit(1);
    group.go([] {});
    for (bool set = false; !set;) {
      try {
        group.limit(1);
        set = true;
      } catch (const error&) {  // it is running
        yield();
      }
    }
    chan<> gate;
    int started = 0;
    for (int k = 0; k < 3; ++k) started += group.try_go([gate] { gate.recv(); }) ? 1 : 0;
    gate.close();
    group.wait();
    EXPECT_EQ(1, started);
  });
}

// On a plain thread what waits for a context's end is called by whoever cancels, and may throw; a destructor may not.
TEST(task_group, a_function_that_throws_at_its_end_does_not_leave_the_destructor) {
  int called = 0;
  {
    const task_group group;
    context::after_func(group.context(), [&] {
      ++called;
      throw 1;
    });
  }
  EXPECT_EQ(called, 1);
}

TEST(task_group, waiting_for_a_place_is_a_cancellation_point) {
  everywhere([] {
    const context c = context::background().with_cancel();
    task_group group;
    group.limit(1);
    chan<> go_on;
    group.go([&] { go_on.recv(); });
    std::atomic<int> started{0}, unwound{0};
    wait_group all;
    all.go([&] {
      try {
        with(c, [&] { group.go([&] { ++started; }); });
      } catch (const cancelled&) {
        ++unwound;
      }
    });
    c.cancel();
    go_on.send();
    all.wait();
    group.wait();
    EXPECT_EQ(started + unwound, 1);
    EXPECT_TRUE(group.try_go([] {}));
    group.wait();
  });
}

TEST(task_group, misuse_is_named) {
  everywhere([] {
    task_group group;
    EXPECT_EQ(misuse([&] { group.limit(0); }),
              "weft: task_group limit 0: must be 1 to 2147483647, or negative for none");
    EXPECT_EQ(misuse([&] { group.limit(std::ptrdiff_t{1} << 40); }),
              "weft: task_group limit 1099511627776: must be 1 to 2147483647, or negative for none");
    EXPECT_EQ(misuse([&] { group.go(std::function<void()>()); }), "go of nil func value");
    chan<> go_on;
    group.go([&] { go_on.recv(); });
    EXPECT_EQ(misuse([&] { group.limit(2); }), "weft: task_group limit 2 set while 1 goroutine is running");
    go_on.send();
    group.wait();
    group.limit(-1);
    for (int i = 0; i < 3; ++i) group.go([] {});
    group.wait();
  });
}

struct throws_when_moved {
  explicit throws_when_moved(int* moves) : left(moves) {}
  throws_when_moved(throws_when_moved&& other) : left(other.left) {
    if ((*left)-- == 0) throw std::runtime_error("moved");
  }
  void operator()() const {}
  int* left;
};

TEST(task_group, what_cannot_be_started_does_not_count) {
  everywhere([] {
    task_group group;
    group.limit(1);
    for (int moves = 0; moves < 4; ++moves) {
      int left = moves;
      try {
        group.go(throws_when_moved(&left));
      } catch (const std::runtime_error&) {
      }
      left = 100;
      try {
        group.wait();
      } catch (const std::runtime_error&) {
        return;  // it was moved in the goroutine
      }
    }
    EXPECT_TRUE(group.try_go([] {}));
    group.wait();
  });
}

TEST(task_group, a_plain_thread_may_wait) {
  run([] {
    task_group group;
    std::atomic<int> n{0};
    chan<> go_on;
    group.go([&] {
      go_on.recv();
      ++n;
    });
    std::thread waits([&] {
      go_on.send();
      group.wait();
      EXPECT_EQ(n.load(), 1);
    });
    blocking([&] { waits.join(); });
  });
}

TEST(task_group, when_main_returns_its_goroutines_end) {
  std::atomic<int> unwound{0};
  run([&] {
    go([&] {
      task_group group;
      for (int i = 0; i < 3; ++i) {
        group.go([&] {
          const counts_its_end end{unwound};
          chan<>().recv();
        });
      }
      group.wait();
    });
    test::yield_until([&] { return num_goroutine() == 5; });
  });
  EXPECT_EQ(unwound.load(), 3);
}

}  // namespace
