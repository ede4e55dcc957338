// callback_timer: what its users in the runtime build on.
#include "sched/callback_timer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "sched/park.hpp"
#include "unit/sched/small_runtime.hpp"

namespace {

using namespace small_runtime;
using weft::rt::g;
using weft::rt::getg;

// An object as a context is one: counted references, one of them the timer's for each start.
struct object {
  std::atomic<int> refs{1};
  std::atomic<int> fired{0};
  std::atomic<int> dropped{0};
  std::atomic<std::uint64_t> seq{0};
  std::atomic<std::int64_t> when{0};
  std::atomic<bool> on_a_scheduler{false};
  weft::rt::callback_timer timer{&ops, this};

  static void fire(g* self, void* arg, std::uint64_t seq, std::int64_t when) {
    auto* o = static_cast<object*>(arg);
    o->on_a_scheduler = self != nullptr && (self->flags & weft::rt::g_is_g0) != 0;
    o->seq = seq;
    o->when = when;
    ++o->fired;
    --o->refs;
  }
  static void drop(void* arg, std::uint64_t) {
    auto* o = static_cast<object*>(arg);
    ++o->dropped;
    --o->refs;
  }
  static constexpr weft::rt::timer_ops ops{fire, drop};

  void start(std::int64_t at, std::uint64_t number = 0) {
    ++refs;
    const weft::rt::caller me;
    EXPECT_EQ(0, timer.start(me.self(), at, number));
  }
  bool stop() {
    if (!timer.stop()) return false;
    --refs;
    return true;
  }
};

std::int64_t in(std::chrono::nanoseconds d) { return weft::rt::os::now() + d.count(); }

TEST(callback_timer, is_called_once_at_its_time_on_a_schedulers_stack) {
  for (const int procs : {1, 2, 4}) {
    with_procs(procs, [] {
      object o;
      const std::int64_t when = in(std::chrono::milliseconds(20));
      o.start(when, 7);
      EXPECT_TRUE(o.timer.armed());
      until([&] { return o.refs == 1; });
      EXPECT_GE(weft::rt::os::now(), when);
      EXPECT_EQ(1, o.fired);
      EXPECT_EQ(7u, o.seq);
      EXPECT_EQ(when, o.when);
      EXPECT_TRUE(o.on_a_scheduler);
      EXPECT_FALSE(o.timer.armed());
      EXPECT_FALSE(o.stop());
    });
  }
}

// A tick has found it due, and then somebody else has it: the M is to look once, and not at each switch from then on.
TEST(callback_timer, that_was_found_due_and_is_gone_keeps_nobody_off_the_short_paths) {
  with_procs(1, [] {
    object o;
    weft::go([] { weft::yield(); });
    o.start(in(std::chrono::nanoseconds(0)));
    weft::rt::timers_at_tick(my_p());
    EXPECT_TRUE(weft::rt::timers_want(my_m()));
    EXPECT_TRUE(o.stop());
    weft::yield();
    EXPECT_FALSE(weft::rt::timers_want(my_m()));
  });
}

TEST(callback_timer, that_was_stopped_is_not_called) {
  with_procs(2, [] {
    object o;
    EXPECT_FALSE(o.stop()) << "never armed";
    o.start(in(std::chrono::hours(1)));
    EXPECT_TRUE(o.stop());
    EXPECT_FALSE(o.stop());
    o.start(in(std::chrono::milliseconds(1)), 2);
    until([&] { return o.fired == 1; });
    EXPECT_EQ(2u, o.seq);
    EXPECT_EQ(1, o.refs);
  });
}

TEST(callback_timer, of_the_past_is_called_soon_and_not_by_start) {
  with_procs(1, [] {
    object o;
    o.start(1);
    EXPECT_EQ(0, o.fired);
    until([&] { return o.fired == 1; });
    EXPECT_EQ(1, o.when);
  });
}

TEST(callback_timer, is_dropped_when_its_runtime_ends_first) {
  object o;
  with_procs(2, [&] { o.start(in(std::chrono::hours(1))); });
  EXPECT_EQ(1, o.dropped);
  EXPECT_EQ(0, o.fired);
  EXPECT_EQ(1, o.refs);
  EXPECT_FALSE(o.stop()) << "its heap belongs to nobody, or to another runtime";
}

TEST(callback_timer, has_exactly_one_end_for_each_start_whoever_races) {
  with_procs(4, [] {
    constexpr int rounds = 300;
    for (int i = 0; i < rounds; ++i) {
      object o;
      bool stopped = false;
      weft::wait_group wg;
      o.start(in(std::chrono::microseconds(i % 50)));
      wg.go([&] { stopped = o.stop(); });
      wg.wait();
      until([&] { return o.refs == 1; });
      EXPECT_EQ(stopped ? 0 : 1, o.fired);
    }
  });
}

struct ticking {
  int left = 5;
  std::atomic<int> fired{0};
  g* waiter = nullptr;
  std::uint32_t wait = 0;
  static void again(g* self, void* arg, std::uint64_t, std::int64_t) {
    auto* o = static_cast<ticking*>(arg);
    ++o->fired;
    if (--o->left != 0) {
      EXPECT_EQ(0, o->timer.start(self, in(std::chrono::microseconds(100))));
    } else {
      // From here on the waiter, and with it this object, may be gone.
      EXPECT_TRUE(weft::rt::take_waiter(self, o->waiter, o->waiter->goid, o->wait, weft::rt::wait_result::handed));
    }
  }
  static void never(void*, std::uint64_t) { FAIL(); }
  static constexpr weft::rt::timer_ops ops{again, never};
  weft::rt::callback_timer timer{&ops, this};
};
void nothing(void*) {}

TEST(callback_timer, readies_a_goroutine_and_starts_itself_again) {
  for (const int procs : {1, 2}) {
    with_procs(procs, [] {
      ticking o;
      {
        weft::rt::caller me;
        weft::rt::waiter w;
        w.gp = o.waiter = me.waiter();
        w.addr = nullptr;
        w.kind = weft::rt::wait_kind::nowhere;
        w.queued = true;
        o.wait = o.waiter->wait_seq + 1;
        EXPECT_EQ(0, o.timer.start(me.self(), in(std::chrono::milliseconds(2))));
        me.wait<nothing>(w, nullptr, weft::rt::wait_reason::semacquire, false);
      }
      EXPECT_EQ(5, o.fired);
    });
  }
}

struct program_function {
  std::atomic<int>* destroyed;
  explicit program_function(std::atomic<int>* of) : destroyed(of) {}
  program_function(program_function&& other) noexcept : destroyed(other.destroyed) { other.destroyed = nullptr; }
  ~program_function() {
    if (destroyed == nullptr) return;
    EXPECT_TRUE(getg() == nullptr || (getg()->flags & weft::rt::g_is_g0) == 0);
    ++*destroyed;
  }
  void operator()() const { ADD_FAILURE() << "its runtime was over"; }
};

// Due when the last goroutine has ended: no goroutine can begin for it, and a scheduler's stack is no place for the program's
// destructors.
TEST(callback_timer, of_after_func_is_not_destroyed_by_who_fires) {
  for (const bool handle : {false, true}) {
    std::atomic<int> destroyed{0};
    with_procs(1, [&] {
      weft::timer kept;
      {
        auto t = weft::after_func(std::chrono::nanoseconds(0), program_function(&destroyed));
        if (handle) kept = t;
      }
      g* self = getg();
      {
        const weft::rt::enter inside(self);
        self->rt->attention.fetch_or(weft::rt::attention_done, weft::rt::relaxed);
        weft::rt::look_at_timers(self->m);
        self->rt->attention.fetch_and(~weft::rt::attention_done, weft::rt::relaxed);
      }
      EXPECT_EQ(0, destroyed);
      EXPECT_EQ(!handle, my_p()->timers->size_hint() == 1) << "it waits for the end of the heap, or has gone";
      kept = weft::timer();
      EXPECT_EQ(handle ? 1 : 0, destroyed);
    });
    EXPECT_EQ(1, destroyed);
  }
}

TEST(callback_timer, of_a_plain_thread_is_called_by_the_timekeeper) {
  object o;
  const std::int64_t when = in(std::chrono::milliseconds(1));
  o.start(in(std::chrono::hours(1)));
  EXPECT_TRUE(o.stop());
  o.start(when, 9);
  while (o.refs != 1) std::this_thread::yield();
  EXPECT_EQ(9u, o.seq);
  EXPECT_FALSE(o.on_a_scheduler);
  EXPECT_GE(weft::rt::os::now(), when);
  // An earlier one than that which the keeper sleeps for wakes it.
  object late;
  late.start(in(std::chrono::hours(1)));
  o.start(in(std::chrono::milliseconds(1)), 10);
  while (o.refs != 1) std::this_thread::yield();
  EXPECT_TRUE(late.stop());
}

}  // namespace
