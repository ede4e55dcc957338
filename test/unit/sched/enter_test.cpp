#include "sched/enter.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <thread>

#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "unit/sched/small_runtime.hpp"

namespace {

using namespace small_runtime;
using weft::rt::relaxed;

std::uint32_t door_flag() { return my_m()->in_runtime.load(relaxed); }
std::uint32_t revoke_state_now() { return my_m()->revoke.load(relaxed) & weft::rt::revoke_state; }
std::uint32_t generation() { return my_m()->revoke.load(relaxed) / weft::rt::revoke_generation; }

TEST(enter, closes_the_door_behind_it_and_opens_it_again) {
  with_procs(1, [] {
    weft::rt::g* self = weft::rt::getg();
    EXPECT_EQ(0u, door_flag());
    for (int i = 0; i < 2; ++i) {
      {
        weft::rt::enter inside(self);
        EXPECT_EQ(1u, door_flag());
      }
      EXPECT_EQ(0u, door_flag());
    }
  });
}

TEST(enter, is_left_by_an_exception_too) {
  with_procs(1, [] {
    try {
      weft::rt::enter inside(weft::rt::getg());
      throw 1;
    } catch (int) {
      EXPECT_EQ(0u, door_flag());
    }
    EXPECT_THROW(weft::go({.stack_size = 1}, [] {}), weft::error);
    EXPECT_EQ(0u, door_flag());
  });
}

// User code always runs outside, whichever way it came to run.
TEST(enter, user_code_runs_outside_the_runtime) {
  with_procs(2, [] {
    weft::semaphore s(0);
    weft::wait_group wg;
    for (int i = 0; i < 8; ++i) {
      wg.go([&] {
        EXPECT_EQ(0u, door_flag());
        for (int k = 0; k < 50; ++k) {
          s.acquire();
          EXPECT_EQ(0u, door_flag());
          weft::yield();
          EXPECT_EQ(0u, door_flag());
          weft::blocking([&] { EXPECT_EQ(0u, door_flag()); });
          EXPECT_EQ(0u, door_flag());
          s.release();
          EXPECT_EQ(0u, door_flag());
        }
      });
      EXPECT_EQ(0u, door_flag());
    }
    s.release(3);
    wg.wait();
    EXPECT_EQ(0u, door_flag());
  });
}

// ---- the revoke word, with the test as revoker

TEST(enter, a_pending_word_is_put_back_to_none_and_keeps_its_generation) {
  with_procs(1, [] {
    weft::rt::m* mp = my_m();
    constexpr std::uint32_t word = 77 * weft::rt::revoke_generation;
    const auto pend = [&] { mp->revoke.store(word | weft::rt::revoke_pending, relaxed); };
    weft::rt::p* const pp = mp->p;
    pend();
    { weft::rt::enter inside(weft::rt::getg()); }
    EXPECT_EQ(word, mp->revoke.load(relaxed));
    pend();
    { weft::rt::enter inside(weft::rt::getg()); }
    EXPECT_EQ(word, mp->revoke.load(relaxed));
    pend();
    weft::yield();
    EXPECT_EQ(word, mp->revoke.load(relaxed));
    pend();
    weft::go([] {});
    EXPECT_EQ(word, mp->revoke.load(relaxed));
    pend();
    { weft::rt::caller me; }
    EXPECT_EQ(word, mp->revoke.load(relaxed));
    EXPECT_EQ(pp, mp->p) << "a revoker that did not get the P changes nothing";
    pend();
    go_now([] {});
    pend();  // the end of a closure enters too
    weft::semaphore s(0);
    go_now([&] { s.acquire(); });
    s.release();
    weft::yield();
    EXPECT_EQ(word, mp->revoke.load(relaxed));
  });
}

TEST(enter, the_end_of_a_closure_is_an_entry) {
  with_procs(1, [] {
    weft::rt::m* mp = my_m();
    constexpr std::uint32_t word = 5 * weft::rt::revoke_generation;
    std::uint32_t at_next = 1;
    weft::go([&] { at_next = mp->revoke.load(relaxed); });
    weft::go([&] { mp->revoke.store(word | weft::rt::revoke_pending, relaxed); });  // runs first, ends, then the other
    weft::yield();
    EXPECT_EQ(word, at_next);
  });
}

TEST(enter, a_revoked_goroutine_rejoins_at_its_next_call) {
  with_procs(1, [] {
    weft::rt::g* self = weft::rt::getg();
    weft::rt::m* mp = self->m;
    weft::rt::p* const pp = mp->p;
    const std::uint32_t before = generation();
    {
      weft::detail::blocking_scope revoke;
      EXPECT_EQ(nullptr, mp->p);
      EXPECT_EQ(0u, door_flag());
      EXPECT_EQ(weft::rt::revoke_done, revoke_state_now());
      EXPECT_EQ(weft::rt::status::detached, self->status.get());
      { weft::rt::enter inside(self); }
      EXPECT_EQ(pp, mp->p);
      EXPECT_EQ(mp, pp->m);
      EXPECT_EQ(weft::rt::revoke_none, revoke_state_now());
      EXPECT_EQ(weft::rt::status::running, self->status.get());
      EXPECT_EQ(self, mp->curg);
    }
    EXPECT_EQ(pp, mp->p);
    EXPECT_EQ(weft::rt::revoke_none, revoke_state_now());
    EXPECT_EQ(nullptr, mp->oldp);
    EXPECT_EQ(nullptr, self->tied);
    EXPECT_GT(generation(), before) << "a revoker with the old word in hand must fail";
  });
}

TEST(enter, every_blocking_call_is_a_new_generation) {
  with_procs(1, [] {
    const std::uint32_t before = generation();
    for (int i = 0; i < 10; ++i) weft::blocking([] {});
    EXPECT_GE(generation(), before + 10);
  });
}

// An m is used again by the next runtime, and somebody may still have its old generation in hand.
TEST(enter, an_m_keeps_its_generation_from_runtime_to_runtime) {
  std::map<weft::rt::m*, std::uint32_t> seen;
  bool met_again = false;
  for (int round = 0; round < 5; ++round) {
    with_procs(1, [&] {
      const auto known = seen.find(my_m());
      if (known != seen.end()) {
        met_again = true;
        EXPECT_GE(generation(), known->second);
      }
      for (int i = 0; i < 3; ++i) weft::blocking([] {});
      seen[my_m()] = generation();
    });
  }
  EXPECT_TRUE(met_again) << "the test has seen nothing";
}

// ---- which P

// Called outside the runtime, with nothing else to do: all Ps are idle, or will be when an M has found that out. The
// test then orders and empties their list.
struct idle_ps {
  explicit idle_ps(weft::rt::sched_t* s) : rt(s) {
    for (;;) {
      rt->lock.lock();
      if (rt->npidle.load(relaxed) == rt->nprocs) return;
      rt->lock.unlock();
      std::this_thread::yield();
    }
  }
  ~idle_ps() { rt->lock.unlock(); }
  weft::rt::sched_t* rt;
};

TEST(enter, a_rejoin_prefers_the_old_p_whichever_was_idle_last) {
  for (const bool old_first : {true, false}) {
    with_procs(3, [&] {
      weft::rt::p* const old = my_p();
      weft::rt::sched_t* rt = my_sched();
      weft::blocking([&] {
        const idle_ps hold(rt);
        weft::rt::p* all[3] = {};
        for (weft::rt::p*& each : all) ASSERT_NE(nullptr, each = weft::rt::pidleget(rt));
        // The list is last in, first out.
        if (old_first) weft::rt::pidleput(rt, old);
        for (weft::rt::p* each : all) {
          if (each != old) weft::rt::pidleput(rt, each);
        }
        if (!old_first) weft::rt::pidleput(rt, old);
      });
      EXPECT_EQ(old, my_p());
      EXPECT_EQ(2u, rt->npidle.load(relaxed));
    });
  }
}

TEST(enter, a_rejoin_takes_any_idle_p_when_the_old_one_is_taken) {
  with_procs(2, [&] {
    weft::rt::p* const old = my_p();
    weft::rt::sched_t* rt = my_sched();
    const std::uint64_t thread = weft::rt::os::thread_id();
    weft::blocking([&] {
      const idle_ps hold(rt);
      ASSERT_TRUE(weft::rt::pidletake(rt, old));
      EXPECT_FALSE(weft::rt::pidletake(rt, old)) << "it is in the list no more";
    });
    EXPECT_NE(old, my_p());
    EXPECT_NE(nullptr, my_p());
    EXPECT_EQ(thread, weft::rt::os::thread_id());
    const weft::rt::mutex_guard guard(rt->lock);
    weft::rt::pidleput(rt, old);
  });
}

TEST(enter, without_an_idle_p_the_goroutine_queues_tied_to_its_thread) {
  with_procs(1, [] {
    weft::rt::g* self = weft::rt::getg();
    weft::rt::sched_t* rt = my_sched();
    const std::uint64_t thread = weft::rt::os::thread_id();
    pipe_pair p;
    bool queued_tied = false;
    std::uint64_t other_thread = 0;
    weft::go([&] {
      other_thread = weft::rt::os::thread_id();
      p.write('x');
      // This goroutine keeps the only P until main is in line for it.
      while (rt->runq_size.load(weft::rt::acquire) == 0) std::this_thread::yield();
      weft::rt::mutex_guard guard(rt->lock);
      queued_tied = self->tied == self->m && (self->flags & weft::rt::g_tied) != 0 &&
                    self->status.get() == weft::rt::status::runnable;
    });
    weft::blocking([&] { p.read(); });
    EXPECT_TRUE(queued_tied);
    EXPECT_EQ(nullptr, self->tied);
    EXPECT_EQ(0, self->flags & weft::rt::g_tied);
    EXPECT_EQ(thread, weft::rt::os::thread_id());
    EXPECT_NE(thread, other_thread);
  });
}

}  // namespace
