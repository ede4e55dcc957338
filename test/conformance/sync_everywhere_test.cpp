// What is promised of every primitive of sync alike: goroutines, plain threads and goroutines of two runtimes meet on one
// object; it may be destroyed as soon as its last waiter has returned; its waits are cancellation points, or, if they are
// those of a lock, are not. One suite over all of them: each is used as an event that one waits for and another signals.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::run_case;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

// What is one in the source stays one: a copy would have its waiters elsewhere. And none needs a constructor at run time.
template <class... T>
constexpr bool stay_where_they_are = ((!std::is_copy_constructible_v<T> && !std::is_move_constructible_v<T> &&
                                       !std::is_copy_assignable_v<T> && !std::is_move_assignable_v<T>)&&...);
static_assert(stay_where_they_are<mutex, shared_mutex, recursive_mutex, condition_variable, condition_variable_any,
                                  semaphore, wait_group, latch, barrier<>, once, object_pool<int>>);
static_assert(sizeof(mutex) == 8 && sizeof(shared_mutex) == 8 && sizeof(condition_variable) == 8 &&
              sizeof(semaphore) == 8 && sizeof(wait_group) == 8 && sizeof(latch) == 8 && sizeof(barrier<>) == 16 &&
              sizeof(once) == 16);

constinit mutex global_mutex;
constinit semaphore global_permit(1);
constinit wait_group global_group;

TEST(sync_globals, are_as_good_as_locals) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        int inside = 0;
        for (int i = 0; i < 3; ++i) {
          global_group.go([&] {
            global_permit.acquire();
            const std::lock_guard hold(global_mutex);
            EXPECT_EQ(++inside, 1);
            yield();
            --inside;
            global_permit.release();
          });
        }
        global_group.wait();
      },
      1000, several_ps);
}

// ---- the events. The same goroutine (or thread) arms and signals; whoever has waited may destroy.

struct by_mutex {
  static constexpr bool is_cancelled = false;
  mutex m;
  void arm() { m.lock(); }
  void signal() { m.unlock(); }
  void wait() { const std::lock_guard hold(m); }
};
struct by_recursive_mutex {
  static constexpr bool is_cancelled = false;
  recursive_mutex m;
  void arm() { m.lock(); }
  void signal() { m.unlock(); }
  void wait() { const std::lock_guard hold(m); }
};
struct by_writer_for_readers {
  static constexpr bool is_cancelled = false;
  shared_mutex m;
  void arm() { m.lock(); }
  void signal() { m.unlock(); }
  void wait() { const std::shared_lock reading(m); }
};
struct by_writer_for_writers {
  static constexpr bool is_cancelled = false;
  shared_mutex m;
  void arm() { m.lock(); }
  void signal() { m.unlock(); }
  void wait() { const std::unique_lock writing(m); }
};
struct by_reader_for_writers {
  static constexpr bool is_cancelled = false;
  shared_mutex m;
  void arm() { m.lock_shared(); }
  void signal() { m.unlock_shared(); }
  void wait() { const std::unique_lock writing(m); }
};
struct by_semaphore {
  static constexpr bool is_cancelled = true;
  semaphore s{0};
  void arm() {}
  void signal() { s.release(); }
  void wait() { s.acquire(); }
};
struct by_wait_group {
  static constexpr bool is_cancelled = true;
  wait_group wg;
  void arm() { wg.add(1); }
  void signal() { wg.done(); }
  void wait() { wg.wait(); }
};
struct by_latch {
  static constexpr bool is_cancelled = true;
  latch l{1};
  void arm() {}
  void signal() { l.count_down(); }
  void wait() { l.wait(); }
};
struct by_barrier {
  static constexpr bool is_cancelled = true;
  barrier<> b{2};
  void arm() {}
  void signal() { static_cast<void>(b.arrive()); }
  void wait() { b.arrive_and_wait(); }
};
template <class Condition>
struct by_condition {
  static constexpr bool is_cancelled = true;
  mutex m;
  Condition c;
  bool happened = false;
  void arm() {}
  void signal() {
    const std::lock_guard hold(m);
    happened = true;
    c.notify_one();
  }
  void wait() {
    std::unique_lock hold(m);
    try {
      c.wait(hold, [this] { return happened; });
    } catch (const cancelled&) {
      EXPECT_TRUE(hold.owns_lock());
      EXPECT_FALSE(m.try_lock()) << "the lock is not held where the wait was cancelled";
      throw;
    }
  }
};
struct by_channel {
  static constexpr bool is_cancelled = true;
  chan<> c{1};
  void arm() {}
  void signal() { c.send(); }
  void wait() { c.recv(); }
};

template <class Event>
class sync_everywhere : public testing::Test {};
using events = testing::Types<by_mutex, by_recursive_mutex, by_writer_for_readers, by_writer_for_writers,
                              by_reader_for_writers, by_semaphore, by_wait_group, by_latch, by_barrier,
                              by_condition<condition_variable>, by_condition<condition_variable_any>, by_channel>;
TYPED_TEST_SUITE(sync_everywhere, events);

// The waiter, which may come before or after the signal, destroys the event at once; the signalling call may still be in it.
template <class Event>
struct shared_event {
  std::unique_ptr<Event> event = std::make_unique<Event>();
  int told = 0;  // plain: the event is all that orders it
  Event& of_signaller = *event;

  shared_event() { of_signaller.arm(); }
  void signal() {
    told = 1;
    of_signaller.signal();
  }
  void wait_and_destroy() {
    event->wait();
    EXPECT_EQ(told, 1) << "went on before it was signalled";
    event.reset();
  }
};

TYPED_TEST(sync_everywhere, its_last_waiter_may_destroy_it) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        const int rounds = sim::active() ? 2 : test::scaled(200);
        for (int i = 0; i < rounds; ++i) {
          shared_event<TypeParam> e;
          wait_group all;
          all.go([&] { e.wait_and_destroy(); });
          if (i % 2 == 1) yield();
          e.signal();
          all.wait();
        }
      },
      1000, several_ps);
}

TYPED_TEST(sync_everywhere, a_plain_thread_waits_for_a_goroutine) {
  test::for_each_case(
      [](const run_case&) {
        for (int i = 0; i < test::scaled(20, 2); ++i) {
          shared_event<TypeParam> e;
          std::thread other([&] { e.wait_and_destroy(); });
          if (i % 2 == 1) yield();
          e.signal();
          blocking([&] { other.join(); });
        }
      },
      several_ps);
}

TYPED_TEST(sync_everywhere, a_goroutine_waits_for_a_plain_thread) {
  test::for_each_case(
      [](const run_case&) {
        for (int i = 0; i < test::scaled(20, 2); ++i) {
          std::atomic<shared_event<TypeParam>*> made{nullptr};
          std::thread other([&] {
            shared_event<TypeParam> e;
            made = &e;
            e.signal();
            while (made != nullptr) std::this_thread::yield();  // e goes when both have done with it
          });
          test::yield_until([&] { return made != nullptr; });
          (*made).wait_and_destroy();
          made = nullptr;
          blocking([&] { other.join(); });
        }
      },
      several_ps);
}

TYPED_TEST(sync_everywhere, goroutines_of_two_runtimes_meet) {
  test::for_each_case(
      [](const run_case&) {
        options o;
        o.procs = 2;
        o.shutdown_timeout = 1h;
        runtime other(o);
        for (int i = 0; i < test::scaled(100); ++i) {
          shared_event<TypeParam> e;
          semaphore ended(0);
          other.go([&] {
            e.wait_and_destroy();
            ended.release();
          });
          if (i % 2 == 1) yield();
          e.signal();
          ended.acquire();
        }
      },
      {{1, 2, 4, 16}, 1, 1, {}, {}, false});
}

// A runtime that ends cancels its goroutines: in a wait that is a cancellation point they unwind, and leave the object to
// those that wait behind them; out of one that is a lock's they come when they have it.
TYPED_TEST(sync_everywhere, a_cancelled_waiter_leaves_it_to_the_others) {
  test::for_each_case(
      [](const run_case&) {
        TypeParam e;
        e.arm();
        std::atomic<int> unwound{0}, went_on{0};
        test::watched cancelled_one, other_one;
        wait_group all;
        {
          options o;
          o.procs = 1;
          o.shutdown_timeout = 1h;
          runtime other(o);
          other.go([&] {
            cancelled_one.here();
            try {
              e.wait();
              ++went_on;
            } catch (const cancelled&) {
              ++unwound;
              throw;
            }
          });
          test::yield_until([&] { return cancelled_one.waits(); });
          if constexpr (TypeParam::is_cancelled) {
            all.go([&] {
              other_one.here();
              e.wait();
              ++went_on;
            });
            // (A barrier of two is complete with the second one: the cancelled waiter has arrived.)
            if constexpr (!std::is_same_v<TypeParam, by_barrier>) {
              test::yield_until([&] { return other_one.waits(); });
              other.shutdown();
              EXPECT_EQ(unwound.load(), 1);
              EXPECT_EQ(went_on.load(), 0);
            } else {
              all.wait();
            }
          } else {
            all.go([&] { other.shutdown(); });
            for (int i = 0; i < 100; ++i) yield();
            EXPECT_EQ(went_on + unwound, 0) << "left the wait for a lock that it has not";
            e.signal();
            all.wait();
          }
        }
        if constexpr (TypeParam::is_cancelled) {
          if constexpr (!std::is_same_v<TypeParam, by_barrier>) {
            // One signal: it is the other's, though the cancelled one had come first.
            e.signal();
            all.wait();
            if constexpr (requires { e.c.notify_one(); }) {
              const TypeParam fresh;
              EXPECT_EQ(std::memcmp(&e.c, &fresh.c, sizeof e.c), 0) << "a waiter that has left is still counted";
            }
            EXPECT_EQ(unwound.load(), 1);
            EXPECT_EQ(went_on.load(), 1);
          }
        } else {
          EXPECT_EQ(unwound.load(), 0);
          EXPECT_EQ(went_on.load(), 1);
        }
      },
      {{1, 2, 4, 16}, 1, 1, {}, {}, false});
}

// A goroutine that is cancelled before it waits does not begin to; one that need not wait is not stopped.
TYPED_TEST(sync_everywhere, who_is_cancelled_already_waits_for_locks_only) {
  test::for_each_case(
      [](const run_case&) {
        TypeParam closed;
        closed.arm();
        TypeParam open;
        open.arm();
        if constexpr (!std::is_same_v<TypeParam, by_barrier>) open.signal();
        std::atomic<int> unwound{0}, went_on{0}, passed{0};
        std::atomic<bool> signalled{false};
        {
          options o;
          o.procs = 1;
          o.shutdown_timeout = 1h;
          runtime other(o);
          other.go([&] {
            while (!this_goroutine::cancelled()) yield();
            if constexpr (!std::is_same_v<TypeParam, by_barrier>) {
              open.wait();
              ++passed;
            }
            try {
              closed.wait();
              EXPECT_TRUE(signalled.load());
              ++went_on;
            } catch (const cancelled&) {
              ++unwound;
              throw;
            }
          });
          wait_group all;
          all.go([&] { other.shutdown(); });
          if constexpr (!TypeParam::is_cancelled) {
            for (int i = 0; i < 100; ++i) yield();
            signalled = true;
            closed.signal();
          }
          all.wait();
        }
        EXPECT_EQ(passed.load(), (std::is_same_v<TypeParam, by_barrier>) ? 0 : 1);
        EXPECT_EQ(unwound.load(), TypeParam::is_cancelled ? 1 : 0);
        EXPECT_EQ(went_on.load(), TypeParam::is_cancelled ? 0 : 1);
      },
      {{1, 2, 4, 16}, 1, 1, {}, {}, false});
}

// A barrier's waiter has arrived, and stays counted, when it is cancelled: the round completes without it.
TEST(sync_cancelled, a_barriers_waiter_has_arrived_all_the_same) {
  test::for_each_case(
      [](const run_case&) {
        int completed = 0;
        const auto completion = [&]() noexcept { ++completed; };
        barrier b(2, completion);
        std::atomic<int> unwound{0};
        test::watched waiter;
        {
          options o;
          o.procs = 1;
          o.shutdown_timeout = 1h;
          runtime other(o);
          other.go([&] {
            waiter.here();
            try {
              b.arrive_and_wait();
            } catch (const cancelled&) {
              ++unwound;
              throw;
            }
          });
          test::yield_until([&] { return waiter.waits(); });
        }
        EXPECT_EQ(unwound.load(), 1);
        EXPECT_EQ(completed, 0);
        b.arrive_and_wait();  // the second of two
        EXPECT_EQ(completed, 1);
      },
      {{1, 2, 4, 16}, 1, 1, {}, {}, false});
}

// Cancelled in f: that was the one call, of once as of once_func.
TEST(sync_cancelled, in_the_call_of_a_once_it_was_the_one_call) {
  test::for_each_case(
      [](const run_case&) {
        once o;
        semaphore never(0);
        const auto f = once_func([&] { never.acquire(); });
        test::watched in_once, in_func;
        {
          options options;
          options.procs = 1;
          options.shutdown_timeout = 1h;
          runtime other(options);
          other.go([&] {
            in_once.here();
            o.call([&] { never.acquire(); });
          });
          other.go([&] {
            in_func.here();
            f();
          });
          test::yield_until([&] { return in_once.waits() && in_func.waits(); });
        }
        o.call([] { ADD_FAILURE() << "a second call"; });
        std::string text;
        try {
          f();
        } catch (const error& e) {
          text = e.what();
        }
        EXPECT_EQ(text, "weft: once: the goroutine of the first call was cancelled in it, or has called exit");
      },
      {{1, 2, 4, 16}, 1, 1, {}, {}, false});
}

}  // namespace
