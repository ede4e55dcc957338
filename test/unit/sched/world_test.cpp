// world::check names each invariant that is broken. A world is made by hand, at rest: three Ps, two of them on the idle
// list, one held by an M inside whose goroutine runs; one M asleep; goroutines queued, waiting, dead. Then one thing is
// changed, named, and put back.
#include "sched/world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "model/sudog.hpp"
#include "sched/sched.hpp"
#include "small_runtime.hpp"

namespace {

using namespace weft::rt;
using ::testing::HasSubstr;

class world_by_hand : public ::testing::Test {
 protected:
  static constexpr std::uint32_t procs = 3;

  void SetUp() override {
    rt.nprocs.store(procs, relaxed);
    rt.nallp.store(procs, relaxed);
    rt.allp = ps;
    for (std::uint32_t i = procs; i-- > 0;) {
      ps[i].id = i;
      ps[i].rt = &rt;
      ps[i].timers = &timers[i];
      if (i != 0) pidleput(&rt, &ps[i]);
    }
    for (m* mp : {&busy, &asleep}) {
      mp->rt = &rt;
      mp->id = rt.nm++;
      mp->alllink = rt.allm;
      rt.allm = mp;
    }
    acquirep(&busy, &ps[0]);
    make(running);
    running.status.set(status::runnable, status::running);
    running.m = &busy;
    busy.curg = &running;
    asleep.set_listed(true);
    rt.midle = &asleep;
    rt.nmidle = 1;
    make(queued);
    bool next = false;
    g* gp = &queued;
    EXPECT_TRUE(ps[0].q.put(gp, next));
    make(waiter);
    waiter.status.set(status::runnable, status::running);
    waiter.status.set(status::running, status::waiting);
    sg.gp = &waiter;
    sg.addr = &sg;
    waiter.waiting = &sg;
    bucket().push_back(&sg, 1);
    dead.rt = &rt;
    ps[0].gfree[ps[0].ngfree++] = &dead;
    cached.size_class = 1;
    ps[0].stacks[1] = &cached;
    ps[0].nstacks[1] = 1;
  }

  void TearDown() override {
    if (sg.queued) bucket().remove(&sg);
    while (rt.runq.pop_front() != nullptr) {
    }
    rt.runq.drop();
    for (p_timers& t : timers) t.give_back_memory();
  }

  void make(g& gp) {
    gp.rt = &rt;
    gp.goid = 100 + bump_goid++;
    gp.status.born();
    bump(ps[0].created);
  }

  sema_bucket& bucket() { return the_process.semas.bucket(&sg); }

  std::string found() {
    const char* text = world::check(&rt);
    return text == nullptr ? "" : text;
  }
  // The change is named, and once it is undone all is well again.
  template <class Change, class Undo>
  void names(const std::string& text, Change change, Undo undo) {
    ASSERT_EQ("", found());
    change();
    EXPECT_THAT(found(), HasSubstr(text));
    undo();
    ASSERT_EQ("", found());
  }

  sched_t rt;
  p ps[procs];
  p_timers timers[procs];
  m busy, asleep;
  g running, queued, waiter, dead;
  sudog sg;
  stack cached;
  std::uint64_t bump_goid = 0;
};

TEST_F(world_by_hand, is_whole) { EXPECT_EQ("", found()); }

TEST_F(world_by_hand, counters_are_what_their_lists_say) {
  names(
      "idle Ms on the list: 1, not 2", [&] { ++rt.nmidle; }, [&] { --rt.nmidle; });
  names(
      "idle Ms on the list: at least 1, not 0", [&] { --rt.nmidle; }, [&] { ++rt.nmidle; });
  names(
      "Ms in all: 2, not 3", [&] { ++rt.nm; }, [&] { --rt.nm; });
  names(
      "idle Ps on the list: 2, not 3", [&] { rt.npidle = 3; }, [&] { rt.npidle = 2; });
  names(
      "idle Ps on the list: at least 2, not 1", [&] { rt.npidle = 1; }, [&] { rt.npidle = 2; });
  names(
      "runq_size: 1, not 0", [&] { rt.runq_size = 1; }, [&] { rt.runq_size = 0; });
  names(
      "dead gs that the Ps share: 0, not 1", [&] { rt.ngfree = 1; }, [&] { rt.ngfree = 0; });
  names(
      "stacks in the cache of a P: 1, not 2", [&] { ps[0].nstacks[1] = 2; }, [&] { ps[0].nstacks[1] = 1; });
  names(
      "nmspinning at rest: 1, not 0", [&] { rt.nmspinning = 1; }, [&] { rt.nmspinning = 0; });
  names(
      "needspinning: 2", [&] { rt.needspinning = 2; }, [&] { rt.needspinning = 0; });
}

TEST_F(world_by_hand, idle_ms_have_nothing_and_know_that_they_are_listed) {
  names(
      "on the idle list without its token: M 1", [&] { asleep.listed = false; }, [&] { asleep.listed = true; });
  names(
      "think they are listed: 2, not 1", [&] { busy.listed = true; }, [&] { busy.listed = false; });
  names(
      "idle with a P or work: M 1", [&] { asleep.p = &ps[1]; }, [&] { asleep.p = nullptr; });
  names(
      "idle with a P or work: M 1", [&] { asleep.curg = &queued; }, [&] { asleep.curg = nullptr; });
  names(
      "somebody gave it a P: M 1", [&] { asleep.nextp = &ps[1]; }, [&] { asleep.nextp = nullptr; });
  names(
      "spins at rest: M 0", [&] { busy.spinning = true; }, [&] { busy.spinning = false; });
  names(
      "undone after a switch: M 0", [&] { busy.after = [](m*, g*, void*) {}; }, [&] { busy.after = nullptr; });
}

TEST_F(world_by_hand, a_p_is_idle_or_held_by_one_that_knows) {
  names(
      "on the idle list without its token: P 2", [&] { ps[2].listed = false; }, [&] { ps[2].listed = true; });
  names(
      "the idle list is torn at P 2", [&] { ps[2].idle_prev = &ps[0]; }, [&] { ps[2].idle_prev = &ps[1]; });
  names(
      "idle and held: P 1", [&] { ps[1].m = &busy; }, [&] { ps[1].m = nullptr; });
  names(
      "holds a P that is not its own: M 0", [&] { ps[0].m = &asleep; }, [&] { ps[0].m = &busy; });
  names(
      "its M holds another: P 0",
      [&] {
        busy.p = nullptr;
        running.status.set(status::running, status::detached);
      },
      [&] {
        busy.p = &ps[0];
        running.status.set(status::detached, status::runnable);
        running.status.set(status::runnable, status::running);
      });
  names(
      "its status is not what its holder says: P 1", [&] { ps[1].status.set(p_status::idle, p_status::running); },
      [&] { ps[1].status.set(p_status::running, p_status::idle); });
  names(
      "its run queue has another owner: P 0", [&] { ps[0].q.disown(&busy); }, [&] { ps[0].q.adopt(&busy); });
  names(
      "neither held nor idle nor given to an M: P 1", [&] { EXPECT_TRUE(pidletake(&rt, &ps[1])); },
      [&] { pidleput(&rt, &ps[1]); });
  g* gp = &dead;
  bool next = false;
  names(
      "idle with work: P 2", [&] { EXPECT_TRUE(ps[2].q.put(gp, next)); }, [&] { EXPECT_EQ(gp, ps[2].q.take()); });
}

TEST_F(world_by_hand, a_goroutine_is_in_one_place) {
  names(
      "queued and not runnable: goroutine 101", [&] { queued.status.set(status::runnable, status::running); },
      [&] {
        queued.status.set(status::running, status::waiting);
        queued.status.wake();
      });
  names(
      "queued while an M runs it: goroutine 101", [&] { queued.m = &asleep; }, [&] { queued.m = nullptr; });
  names(
      "queued in another runtime than its own: goroutine 101", [&] { queued.rt = nullptr; }, [&] { queued.rt = &rt; });
  names(
      "goroutines found: 3, more than are alive: 2", [&] { bump(ps[1].ended); }, [&] { ps[1].ended = 0; });
  names(
      "goroutines ended: 4, of 3", [&] { ps[1].ended = 4; }, [&] { ps[1].ended = 0; });
  names(
      "runs a goroutine that is not its own: M 0", [&] { running.m = &asleep; }, [&] { running.m = &busy; });
  names(
      "waiting while an M runs it: goroutine 102", [&] { waiter.m = &asleep; }, [&] { waiter.m = nullptr; });
  names(
      "waits for something else: goroutine 102", [&] { waiter.waiting = nullptr; }, [&] { waiter.waiting = &sg; });
  names(
      "queued as a waiter and not waiting: goroutine 102", [&] { waiter.status.wake(); },
      [&] {
        waiter.status.set(status::runnable, status::running);
        waiter.status.set(status::running, status::waiting);
      });
  names(
      "free and in use: g of goroutine 101",
      [&] {
        ps[0].gfree[1] = &queued;
        ps[0].ngfree = 2;
      },
      [&] { ps[0].ngfree = 1; });
  names(
      "in the cache of another runtime", [&] { dead.rt = nullptr; }, [&] { dead.rt = &rt; });
  names(
      "an empty place among the dead gs", [&] { ps[0].gfree[0] = nullptr; }, [&] { ps[0].gfree[0] = &dead; });
  names(
      "an empty place among the runnable goroutines", [&] { rt.runq.push_back(nullptr); },
      [&] { EXPECT_EQ(nullptr, rt.runq.pop_front()); });
}

TEST_F(world_by_hand, tokens_of_stacks_and_waiters_are_in_order) {
  names(
      "a cached stack has an owner: P 0", [&] { cached.owner = &dead; }, [&] { cached.owner = nullptr; });
  names(
      "a cached stack is of another class: P 0", [&] { cached.size_class = 2; }, [&] { cached.size_class = 1; });
  names(
      "the semaphore table is not in order", [&] { sg.queued = false; }, [&] { sg.queued = true; });
}

// All asleep, and a goroutine lies in the global queue beside idle Ps: a lost wake-up.
// Whoever waits for a condition variable is in the table before its user's lock is free, and nobody's waiter until it parks.
TEST_F(world_by_hand, one_that_is_enlisted_and_still_runs_is_no_waiter) {
  sudog enlisted;
  enlisted.gp = nullptr;
  enlisted.addr = &sg;
  bucket().push_back(&enlisted, 2);
  EXPECT_EQ("", found());
  bucket().remove(&enlisted);
}

TEST_F(world_by_hand, work_beside_idle_ps_with_all_asleep_is_named) {
  names(
      "runnable beside idle Ps, and all Ms asleep: 1",
      [&] {
        EXPECT_EQ(&queued, ps[0].q.take());
        rt.runq.push_back(&queued);
        rt.runq_size = 1;
        pidleput(&rt, releasep(&busy));
        busy.curg = nullptr;
        running.m = nullptr;
        busy.set_listed(true);
        busy.schedlink = rt.midle;
        rt.midle = &busy;
        rt.nmidle = 2;
      },
      [&] {
        EXPECT_EQ(&queued, rt.runq.pop_front());
        rt.runq_size = 0;
        running.status.set(status::running, status::dead);
        bump(ps[0].ended, 2);
      });
}

TEST_F(world_by_hand, timers_are_where_they_think_and_somebody_sleeps_until_the_first) {
  timer t, other;
  timers[1].insert(&t, 10);
  timers[1].insert(&other, 20);
  names(
      "of P: a timer in it thinks it has another place: P 1", [&] { t.index = 1; }, [&] { t.index = 0; });
  names(
      "a timer in it thinks it is elsewhere", [&] { t.home = &timers[0]; }, [&] { t.home = &timers[1]; });
  names(
      "watches, and is not idle: M 0",
      [&] {
        rt.watch = &busy;
        rt.watch_until = 5;
      },
      [&] {
        rt.watch = nullptr;
        rt.watch_until = 0;
      });
  names(
      "watched by half", [&] { rt.watch = &asleep; }, [&] { rt.watch = nullptr; });
  // All asleep.
  EXPECT_EQ(&queued, ps[0].q.take());
  queued.status.set(status::runnable, status::running);
  queued.status.set(status::running, status::dead);
  running.status.set(status::running, status::dead);
  bump(ps[0].ended, 2);
  busy.curg = nullptr;
  running.m = nullptr;
  pidleput(&rt, releasep(&busy));
  busy.set_listed(true);
  busy.schedlink = rt.midle;
  rt.midle = &busy;
  rt.nmidle = 2;
  EXPECT_THAT(found(), HasSubstr("all asleep, and nobody watches timers: the first is due at 10"));
  rt.watch = &asleep;
  rt.watch_until = 10;
  EXPECT_EQ("", found());
  names(
      "sleeps past a timer: M 1", [&] { rt.watch_until = 11; }, [&] { rt.watch_until = 10; });
  EXPECT_TRUE(p_timers::remove(&t));
  EXPECT_TRUE(p_timers::remove(&other));
}

// Sums that others may disturb are checked when there are none.
TEST_F(world_by_hand, alone_nothing_may_be_missing) {
  auto alone = [&] {
    const char* text = world::check(&rt, world::others::none);
    return std::string(text == nullptr ? "" : text);
  };
  bump(ps[2].created);
  EXPECT_EQ("", found());
  EXPECT_THAT(alone(), HasSubstr("found in a queue, on an M or waiting: 3, not 4"));
  ps[2].created = 0;
  EXPECT_THAT(alone(), HasSubstr("stacks of goroutines and in caches: 1, not "));
}

TEST(world, a_live_runtime_is_whole_when_the_others_have_come_to_rest) {
  small_runtime::with_procs(1, [] {
    weft::semaphore gate(0);
    weft::wait_group all;
    for (int i = 0; i < 50; ++i) {
      all.go([&] { gate.acquire(); });
    }
    weft::yield();
    for (int i = 0; i < 20; ++i) all.go([] {});
    const char* text = world::check(small_runtime::my_sched(), world::others::none);
    EXPECT_STREQ("", text == nullptr ? "" : text);
    gate.release(50);
    all.wait();
    text = world::check(small_runtime::my_sched(), world::others::none);
    EXPECT_STREQ("", text == nullptr ? "" : text);
  });
}

}  // namespace
