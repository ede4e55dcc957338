// What a select takes beside channels: a context's end, a stop token, a future, a permit of a semaphore. Each with what is
// promised of channels: a uniform choice among those that are ready, exactly one happens, who waits is in line with others.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
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
using test::everywhere;
using test::run_case;
using test::several_ps;

// ---- signatures, to the letter

static_assert(std::is_same_v<decltype(on(std::declval<const context&>().done())), select_case>);
static_assert(std::is_same_v<decltype(on(std::declval<const weft::future<int>&>())), select_case>);
static_assert(std::is_same_v<decltype(acquire(std::declval<semaphore&>())), select_case>);
static_assert(std::is_trivially_copyable_v<select_case>);
template <class... C>
concept selects = requires(C&&... c) {
  { select(static_cast<C&&>(c)...) } -> std::same_as<std::size_t>;
  { try_select(static_cast<C&&>(c)...) } -> std::same_as<std::optional<std::size_t>>;
};
constexpr auto handler = [] {};
static_assert(
    selects<decltype(on(std::stop_token())), decltype(on(std::stop_token(), handler)),
            decltype(on(context().done(), handler)), decltype(on(std::declval<weft::future<void>&>(), handler)),
            decltype(acquire(std::declval<semaphore&>(), handler))>);

// ---- each, alone

TEST(select_cases, each_happens_when_it_can_and_its_handler_is_called) {
  everywhere([] {
    const context c = context::background().with_cancel();
    std::stop_source stop;
    semaphore s(0);
    chan<> go_on;
    const auto f = async([go_on] { go_on.recv(); });
    EXPECT_FALSE(try_select(on(c.done()), on(stop.get_token()), acquire(s), on(f), on(std::stop_token())));
    std::array<int, 4> called{};
    const auto select_all = [&] {
      return select(on(c.done(), [&] { ++called[0]; }), on(stop.get_token(), [&] { ++called[1]; }),
                    acquire(s, [&] { ++called[2]; }), on(f, [&] { ++called[3]; }));
    };
    s.release();
    EXPECT_EQ(select_all(), 2u);
    EXPECT_FALSE(s.try_acquire());
    wait_group others;
    others.go([&] { s.release(); });
    EXPECT_EQ(select_all(), 2u);
    others.go([&] { go_on.send(); });
    EXPECT_EQ(select_all(), 3u);
    EXPECT_EQ(called, (std::array<int, 4>{0, 0, 2, 1}));
    others.wait();
    others.go([&] { stop.request_stop(); });
    EXPECT_EQ(select(acquire(s), on(stop.get_token())), 1u);
    others.go([&] { c.cancel(); });
    EXPECT_EQ(select(acquire(s), on(c.done())), 1u);
    EXPECT_EQ(select(on(std::stop_token()), on(stop.get_token())), 1u);
    others.wait();
  });
}

// ---- the choice

TEST(select_cases, the_choice_among_those_that_are_ready_is_uniform) {
  test::for_each_case(
      [](const run_case&) {
        constexpr int rounds = 6000;
        const context c = context::background().with_cancel();
        c.cancel();
        std::stop_source stop;
        stop.request_stop();
        semaphore s(rounds);
        const auto f = async([] {});
        f.wait();
        chan<int> ch(1);
        ch.close();
        std::array<int, 5> n{};
        for (int i = 0; i < rounds; ++i) ++n[select(acquire(s), on(c.done()), on(stop.get_token()), on(f), recv(ch))];
        for (const int each : n) {
          EXPECT_GT(each, rounds / 5 * 0.85);
          EXPECT_LT(each, rounds / 5 * 1.15);
        }
      },
      several_ps);
}

// Whoever comes to a select that waits finds its cases in queues: of several on one thing each must be as likely to be first.
TEST(select_cases, of_several_that_wait_on_one_thing_each_is_as_likely) {
  constexpr int rounds = 3000;
  // 10 sigma of a draw with probability 1 in 3.
  const auto expect_even = [](const std::array<int, 3>& n, const char* what) {
    for (const int each : n) {
      EXPECT_GT(each, rounds / 3 - 258) << what;
      EXPECT_LT(each, rounds / 3 + 258) << what;
    }
  };
  test::for_each_case(
      [&](const run_case&) {
        // The index that happens when `wake` is called on a select that waits.
        const auto chosen = [](auto select_it, auto wake) {
          std::size_t index = 9;
          test::watched w;
          wait_group one;
          one.go([&] {
            w.here();
            index = select_it();
          });
          test::yield_until([&] { return w.waits(); });
          wake();
          one.wait();
          return index;
        };
        std::array<int, 3> permits{}, among_others{}, contexts{}, futures{};
        semaphore s(0), never(0);
        for (int i = 0; i < rounds; ++i) {
          ++permits[chosen([&] { return select(acquire(s), acquire(s), acquire(s)); }, [&] { s.release(); })];
          const std::size_t k = chosen(
              [&] { return select(acquire(s), acquire(never), acquire(s), recv(chan<int>(nullptr)), acquire(s)); },
              [&] { s.release(); });
          EXPECT_TRUE(k == 0 || k == 2 || k == 4);
          ++among_others[k / 2];
          const context c = context::background().with_cancel();
          ++contexts[chosen([&] { return select(on(c.done()), on(c.done()), on(c.done())); }, [&] { c.cancel(); })];
          chan<> go_on;
          const auto f = async([go_on] { go_on.recv(); });
          ++futures[chosen([&] { return select(on(f), on(f), on(f)); }, [&] { go_on.send(); })];
        }
        EXPECT_FALSE(s.try_acquire());
        expect_even(permits, "permits");
        expect_even(among_others, "permits beside others");
        expect_even(contexts, "contexts");
        expect_even(futures, "futures");
      },
      several_ps);
}

// In an exploration each of them happens, and a seed repeats it.
TEST(select_cases, explorations_come_by_each_of_several_on_one_semaphore) {
  std::array<int, 2> n{};
  sim::explore({.runs = 200}, [&] {
    semaphore s(0);
    wait_group one;
    one.go([&] { ++n[select(acquire(s), acquire(s))]; });
    sim::settle();
    s.release();
    one.wait();
  });
  EXPECT_GT(n[0], 0);
  EXPECT_GT(n[1], 0);
}

// ---- semaphores

TEST(select_cases, a_permit_goes_to_the_oldest_whoever_that_is) {
  everywhere([] {
    semaphore s(0);
    std::vector<int> served;
    mutex m;
    wait_group all;
    const auto note = [&](int i) {
      m.lock();
      served.push_back(i);
      m.unlock();
    };
    for (int i = 0; i < 4; ++i) {
      test::watched w;
      all.go([&, i] {
        w.here();
        if (i % 2 == 0) {
          s.acquire();
        } else {
          EXPECT_EQ(select(acquire(s), recv(chan<int>(nullptr))), 0u);
        }
        note(i);
        s.release();
      });
      test::yield_until([&] { return w.waits(); });
    }
    s.release();
    all.wait();
    EXPECT_EQ(served, (std::vector{0, 1, 2, 3}));
  });
}

TEST(select_cases, no_permit_is_lost_or_made) {
  everywhere([] {
    semaphore s(0);
    chan<int> ch;
    std::atomic<int> permits{0}, values{0};
    wait_group all;
    for (int i = 0; i < 3; ++i) {
      all.go([&] {
        std::optional<int> v;
        if (select(acquire(s), recv(ch, v)) == 0) {
          ++permits;
        } else {
          ++values;
        }
      });
    }
    all.go([&] { ch.send(1); });
    all.go([&] { s.release(); });
    all.go([&] { s.release(); });
    all.wait();
    EXPECT_EQ(permits.load(), 2);
    EXPECT_EQ(values.load(), 1);
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST(select_cases, one_that_went_elsewhere_is_passed_over) {
  everywhere([] {
    semaphore s(0);
    chan<int> ch(1);
    test::watched w;
    wait_group all;
    std::atomic<int> got{0};
    all.go([&] {
      w.here();
      if (select(recv(ch), acquire(s)) == 1) ++got;
    });
    test::yield_until([&] { return w.waits(); });
    all.go([&] { ch.send(1); });
    all.go([&] { s.release(); });
    all.wait();
    EXPECT_EQ(s.try_acquire() ? 1 : 0, 1 - got);
    EXPECT_EQ(ch.size(), static_cast<std::size_t>(got));
  });
}

TEST(select_cases, two_semaphores_and_one_twice) {
  everywhere([] {
    semaphore a(0), b(0);
    wait_group all;
    std::atomic<int> sum{0};
    for (int i = 0; i < 3; ++i) {
      all.go([&] { sum += select(acquire(a), acquire(b), acquire(a)) == 1 ? 10 : 1; });
    }
    all.go([&] { a.release(); });
    all.go([&] { b.release(2); });
    all.wait();
    EXPECT_EQ(sum.load(), 21);
    EXPECT_FALSE(a.try_acquire() || b.try_acquire());
  });
}

TEST(select_cases, a_timeout_or_a_cancellation_leaves_the_line) {
  everywhere([] {
    semaphore s(0);
    const context c = context::background().with_cancel();
    EXPECT_EQ(select(acquire(s), after(1ms)), 1u);
    wait_group all;
    std::atomic<int> unwound{0};
    all.go([&] {
      try {
        with(c, [&] { select(acquire(s), recv(chan<int>())); });
      } catch (const cancelled&) {
        ++unwound;
      }
    });
    all.go([&] { c.cancel(); });
    all.wait();
    EXPECT_EQ(unwound.load(), 1);
    s.release();
    EXPECT_TRUE(s.try_acquire());
  });
}

TEST(select_cases, a_timer_or_ticker_beside_a_semaphore_is_waited_for) {
  everywhere([] {
    semaphore s(0);
    const timer t(1ms);
    const ticker every(1ms);
    EXPECT_EQ(select(acquire(s), recv(t.channel())), 1u);
    EXPECT_EQ(select(recv(every.channel()), acquire(s)), 0u);
    EXPECT_EQ(select(acquire(s), recv(t.channel()), recv(every.channel()), after(1h)), 2u);
    s.release();
    EXPECT_EQ(select(acquire(s), recv(t.channel())), 0u);
  });
}

TEST(select_cases, too_many_permits_are_refused_whoever_waits) {
  everywhere([] {
    semaphore s(0);
    wait_group all;
    test::watched w;
    all.go([&] {
      w.here();
      select(acquire(s));
    });
    test::yield_until([&] { return w.waits(); });
    EXPECT_THROW(s.release(std::ptrdiff_t{1} << 31), error);
    s.release((semaphore::max)());
    all.wait();
    EXPECT_THROW(s.release(2), error);
    s.release();
    EXPECT_TRUE(s.try_acquire());
  });
}

TEST(select_cases, a_semaphore_may_go_with_its_last_waiter) {
  everywhere([] {
    wait_group all;
    for (int i = 0; i < 2; ++i) {
      auto s = std::make_shared<std::unique_ptr<semaphore>>(std::make_unique<semaphore>(0));
      semaphore* raw = s->get();
      all.go([s] {
        EXPECT_EQ(select(acquire(**s), recv(chan<int>(nullptr))), 0u);
        s->reset();
      });
      all.go([raw] { raw->release(); });
    }
    all.wait();
  });
}

TEST(select_cases, plain_threads_select_too) {
  run([] {
    semaphore s(0);
    const context c = context::background().with_cancel();
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { sum += select(acquire(s), on(c.done())) == 0 ? 1 : 10; });
    s.release(2);
    test::yield_until([&] { return sum == 2; });
    c.cancel();
    blocking([&] {
      for (std::thread& t : threads) t.join();
    });
    EXPECT_EQ(sum.load(), 12);
  });
}

TEST(select_cases, lists_of_any_length) {
  everywhere([] {
    semaphore s(0), never(0);
    const context c = context::background().with_cancel();
    const recv_chan<> done = c.done();
    std::vector<select_case> cases;
    for (int i = 0; i < 70; ++i) cases.push_back(i % 2 == 0 ? acquire(never) : on(done));
    cases.push_back(acquire(s));
    wait_group all;
    all.go([&] { s.release(); });
    EXPECT_EQ(select(std::span(cases)), 70u);
    all.go([&] { c.cancel(); });
    EXPECT_EQ(select(std::span(cases).first(20)) % 2, 1u);
    all.wait();
    never.release();
    EXPECT_TRUE(never.try_acquire());
  });
}

// ---- stop tokens

TEST(select_cases, a_stop_while_it_waits_or_is_about_to_ends_it) {
  everywhere([] {
    std::stop_source stop;
    wait_group all;
    std::atomic<int> stopped{0};
    for (int i = 0; i < 2; ++i) {
      all.go([&] { stopped += select(recv(chan<int>()), on(stop.get_token())) == 1 ? 1 : 0; });
    }
    all.go([&] { stop.request_stop(); });
    all.wait();
    EXPECT_EQ(stopped.load(), 2);
  });
}

// ---- a deadline whose runtime has ended

TEST(select_cases, a_deadline_outlives_the_runtime_that_it_was_made_in) {
  context c;
  recv_chan<> done;
  run([&] {
    c = context::background().with_timeout(20ms);
    done = context::background().with_timeout(20ms).done();  // of which nobody has a handle
  });
  EXPECT_FALSE(c.done().recv());
  EXPECT_EQ(c.err(), context_errc::deadline_exceeded);
  EXPECT_FALSE(done.recv());
}

}  // namespace
