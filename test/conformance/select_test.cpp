// Select: GO-BEHAVIOUR C2, and what Go's tests SelfSelect, SelectStress, SelectFairness, PseudoRandomSend, NonblockSelectRace
// (2), SelectDuplicateChannel, ChanSendSelectBarrier and test/chan/{select2,select3,select4,select6,select7,chanlinear} ask.
#include "weft/select.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/hchan.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "support/stress.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void go_and_wait(wait_group& all, F f) {
  auto each = std::make_shared<test::watched>();
  all.go([each, f = std::move(f)]() mutable {
    each->here();
    f();
  });
  test::yield_until([&] { return each->waits(); });
}

template <class F>
void explore_1000(const char* name, F body) {
  sim::explore({.name = name, .runs = test::scaled(1000)}, [&] {
    body();
    sim::check(!testing::Test::HasFailure(), "what the test expects");
  });
}

// ---- which case

TEST(select, takes_the_one_that_can_happen) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> empty, none = nullptr, ready(1);
    const chan<std::string> full(1);
    full.send("full");
    std::optional<int> v;
    for (int i = 0; i < 20; ++i) {
      ready.send(i);
      EXPECT_EQ(select(recv(empty, v), recv(none, v), send(full, "no"), recv(ready, v), send(empty, 1)), 3u);
      EXPECT_EQ(v, i);
      EXPECT_EQ(select(recv(none), send(ready, i), recv(empty)), 1u);
      EXPECT_EQ(ready.recv(), i);
    }
    EXPECT_EQ(full.recv(), "full");
  });
}

// Go's table select3: each operation alone in a select, on a channel in each state.
enum class outcome { happens, blocks, throws, ends };

outcome outcome_of_send(const chan<int>& c) {
  try {
    return try_select(send(c, 1)) ? outcome::happens : outcome::blocks;
  } catch (const send_on_closed_channel&) {
    return outcome::throws;
  }
}
outcome outcome_of_recv(const chan<int>& c) {
  std::optional<int> v = -1;
  if (!try_select(recv(c, v))) {
    EXPECT_EQ(v, -1);
    return outcome::blocks;
  }
  return v ? outcome::happens : outcome::ends;
}

TEST(select, table_of_what_happens_blocks_and_throws) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> none = nullptr;
    EXPECT_EQ(outcome_of_send(none), outcome::blocks);
    EXPECT_EQ(outcome_of_recv(none), outcome::blocks);
    const chan<int> unbuffered;
    EXPECT_EQ(outcome_of_send(unbuffered), outcome::blocks);
    EXPECT_EQ(outcome_of_recv(unbuffered), outcome::blocks);
    const chan<int> buffered(1);
    EXPECT_EQ(outcome_of_recv(buffered), outcome::blocks);
    EXPECT_EQ(outcome_of_send(buffered), outcome::happens);
    EXPECT_EQ(outcome_of_send(buffered), outcome::blocks);
    EXPECT_EQ(outcome_of_recv(buffered), outcome::happens);
    buffered.send(1);
    buffered.close();
    EXPECT_EQ(outcome_of_send(buffered), outcome::throws);
    EXPECT_EQ(outcome_of_recv(buffered), outcome::happens);
    EXPECT_EQ(outcome_of_recv(buffered), outcome::ends);
    EXPECT_EQ(outcome_of_send(buffered), outcome::throws);
    unbuffered.close();
    EXPECT_EQ(outcome_of_send(unbuffered), outcome::throws);
    EXPECT_EQ(outcome_of_recv(unbuffered), outcome::ends);
  });
}

// And with a select that waits: what has no partner blocks for ever.
TEST(select, blocks_for_ever_without_a_case_that_can_happen) {
  std::atomic<int> went_on{0};
  test::run_options o;
  o.goroutines_at_end = 6;
  test::for_each_case(
      [&](const run_case&) {
        test::watched each[5];
        const auto waits = [&](int i, auto wait) {
          go([&went_on, at = &each[i], wait] {
            at->here();
            wait();
            ++went_on;
          });
          test::yield_until([&] { return each[i].waits(); });
        };
        waits(0, [] { select(); });
        waits(1, [] { select(std::span<const select_case>{}); });
        waits(2, [] { select(recv(chan<int>(nullptr)), send(chan<int>(nullptr), 1), recv(recv_chan<>())); });
        waits(3, [] {
          const chan<int> c;
          select(recv(c), send(c, 1));  // it does not talk to itself
        });
        waits(4, [] {
          const chan<> full(1);
          full.send();
          select(send(full));
        });
        for (int i = 0; i < 100; ++i) yield();
        EXPECT_EQ(went_on.load(), 0);
      },
      o);
  EXPECT_EQ(went_on.load(), 0);
}

TEST(select, is_a_deadlock_in_every_schedule_then) {
  const auto expect_stuck = [](auto body, const std::string& wait) {
    const test::expecting_a_failed_run leaves_what_it_had;
    try {
      sim::explore({.runs = 20}, body);
      ADD_FAILURE() << "not found: " << wait;
    } catch (const sim::failure& f) {
      EXPECT_EQ(f.kind(), sim::failure_kind::deadlock) << f.report();
      EXPECT_NE(f.report().find(wait), std::string::npos) << f.report();
    }
  };
  expect_stuck([] { select(); }, "select (no cases)");
  expect_stuck([] { select(recv(chan<int>(nullptr))); }, "select (no cases)");
  const auto itself = [] {
    const chan<int> c;
    select(recv(c), send(c, 1));
  };
  expect_stuck(itself, "select");
}

TEST(select, without_waiting_says_that_nothing_can_happen) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> a, b(1);
    std::optional<int> v = 7;
    EXPECT_EQ(try_select(recv(a, v), recv(b, v), send(a, 1)), std::nullopt);
    EXPECT_EQ(v, 7);
    EXPECT_EQ(try_select(), std::nullopt);
    EXPECT_EQ(try_select(std::span<const select_case>{}), std::nullopt);
    EXPECT_EQ(try_select(select_case(), select_case()), std::nullopt) << "made by nobody is as on a nil channel";
    EXPECT_EQ(try_select(select_case(), recv(a, v), send(b, 1)), 2u);
    EXPECT_EQ(b.recv(), 1);
    EXPECT_EQ(try_select(recv(a, v), send(b, 1)), 1u);
    EXPECT_EQ(try_select(recv(a, v), send(b, 1)), std::nullopt);
    EXPECT_EQ(try_select(recv(a, v), recv(b, v)), 1u);
    EXPECT_EQ(v, 1);
  });
}

TEST(select, on_a_closed_channel_receives_nothing_and_throws_for_a_send) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> open, closed(2);
    closed.send(5);
    closed.close();
    std::optional<int> v;
    EXPECT_EQ(select(recv(open, v), recv(closed, v)), 1u);
    EXPECT_EQ(v, 5);
    EXPECT_EQ(select(recv(open, v), recv(closed, v)), 1u);
    EXPECT_EQ(v, std::nullopt);
    const chan<> signal;
    signal.close();
    bool received = true;
    EXPECT_EQ(select(recv(open, v), recv(signal, received)), 1u);
    EXPECT_FALSE(received);
    EXPECT_THROW(select(recv(open, v), send(closed, 1)), send_on_closed_channel);
    EXPECT_THROW(static_cast<void>(try_select(send(signal))), send_on_closed_channel);
  });
}

// Closed while they wait: each is told once, by whichever of its cases.
TEST(select, is_woken_by_close_once) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c, never;
    std::atomic<int> ended{0};
    wait_group all;
    for (int i = 0; i < 10; ++i) {
      go_and_wait(all, [&, i] {
        std::optional<int> v = 5;
        const std::size_t which =
            i % 2 == 0 ? select(recv(never, v), recv(c, v)) : select(recv(c, v), recv(c, v), recv(c, v));
        EXPECT_EQ(v, std::nullopt);
        EXPECT_TRUE(i % 2 == 0 ? which == 1 : which < 3) << which;
        ++ended;
      });
    }
    c.close();
    all.wait();
    EXPECT_EQ(ended.load(), 10);
  });
}

TEST(select, throws_when_a_send_that_waits_meets_the_close) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c, never, nor;
    std::atomic<int> thrown{0}, happened{0};
    wait_group all;
    for (int i = 0; i < 10; ++i) {
      go_and_wait(all, [&] {
        try {
          select(recv(never), send(c, 1), send(nor, 1), send(c, 2));
          ++happened;
        } catch (const send_on_closed_channel&) {
          ++thrown;
        }
      });
    }
    c.close();
    all.wait();
    EXPECT_EQ(thrown.load(), 10);
    EXPECT_EQ(happened.load(), 0);
    // They have left the queues of the other channels.
    EXPECT_EQ(never.try_send(1), chan_status::would_block);
    std::optional<int> v;
    EXPECT_EQ(nor.try_recv(v), chan_status::would_block);
  });
}

// ---- what is written, and what is left alone

TEST(select, leaves_everything_of_the_other_cases_alone) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<std::string> quiet, ready(1);
    const chan<std::unique_ptr<int>> owners;
    for (const bool waits : {false, true}) {
      std::optional<std::string> engaged = "engaged", empty, wanted = "old";
      std::string kept = "kept", copied = "copied";
      auto owner = std::make_unique<int>(5);
      wait_group all;
      if (waits) {
        all.go([&] { ready.send("new"); });
      } else {
        ready.send("new");
      }
      EXPECT_EQ(select(recv(quiet, engaged), recv(quiet, empty), send(quiet, std::move(kept)), send(quiet, copied),
                       send(owners, std::move(owner)), recv(ready, wanted)),
                5u);
      all.wait();
      EXPECT_EQ(wanted, "new");
      EXPECT_EQ(engaged, "engaged");
      EXPECT_EQ(empty, std::nullopt);
      EXPECT_EQ(kept, "kept");
      EXPECT_EQ(copied, "copied");
      ASSERT_NE(owner, nullptr);
      EXPECT_EQ(*owner, 5);
    }
  });
}

TEST(select, of_a_span_writes_to_engaged_and_empty_destinations_alike) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<std::string> a(1), b(1);
    std::optional<std::string> engaged = "old", empty, loser = "loser";
    const std::vector<select_case> first{recv(a, engaged), recv(b, loser)};
    const std::vector<select_case> second{recv(b, loser), recv(a, empty)};
    a.send("one");
    EXPECT_EQ(select(std::span(first)), 0u);
    EXPECT_EQ(engaged, "one");
    a.send("two");
    EXPECT_EQ(select(std::span(second)), 1u);
    EXPECT_EQ(empty, "two");
    EXPECT_EQ(loser, "loser");
    // The records may be used again, and copied.
    const std::vector<select_case> copy = first;
    a.close();
    EXPECT_EQ(select(std::span(copy)), 0u);
    EXPECT_EQ(engaged, std::nullopt) << "a closed channel resets it";
    EXPECT_EQ(try_select(std::span(second)), 1u);
    EXPECT_EQ(empty, std::nullopt);
    b.send("three");
    const std::array<select_case, 1> only{recv(b, loser)};
    EXPECT_EQ(try_select(std::span<const select_case>(only)), 0u);
    EXPECT_EQ(loser, "three");
    EXPECT_EQ(try_select(std::span<const select_case>(only)), std::nullopt);
  });
}

// ---- handlers

TEST(select, calls_the_handler_of_the_case_that_happened_and_no_other) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> a(1), b(1), never;
    const chan<> signal(1);
    std::string calls;
    const auto round = [&] {
      return select(recv(a, [&](std::optional<int> v) { calls += 'a' + std::to_string(v.value_or(-1)); }),
                    send(b, 1, [&] { calls += 'b'; }),
                    recv(signal, [&](bool received) { calls += received ? 's' : 'c'; }),
                    recv(never, [&](std::optional<int>) { calls += '!'; }), send(never, 1, [&] { calls += '!'; }));
    };
    EXPECT_EQ(round(), 1u);
    a.send(5);
    EXPECT_EQ(round(), 0u);
    signal.send();
    EXPECT_EQ(round(), 2u);
    signal.close();
    EXPECT_EQ(round(), 2u);
    EXPECT_EQ(calls, "ba5sc");
    calls.clear();
    EXPECT_EQ(try_select(recv(never, [&](std::optional<int>) { calls += '!'; })), std::nullopt);
    const chan<> other(1);
    EXPECT_EQ(select(send(other, [&] { calls += 'o'; })), 0u);
    EXPECT_EQ(select(recv(other, [&] { calls += 'n'; })), 0u);
    EXPECT_EQ(calls, "on");
  });
}

// It may do with the channels of the select whatever it likes, wait included: no lock is held, and the choice is made.
TEST(select, calls_handlers_outside_all_locks_with_the_choice_made) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> in(1), out, back;
    wait_group all;
    all.go([&] {
      while (const std::optional<int> v = out.recv()) back.send(*v + 1);
    });
    int answered = 0;
    for (int i = 0; i < 10; ++i) {
      in.send(i);
      select(recv(in,
                  [&](std::optional<int> v) {
                    EXPECT_EQ(in.size(), 0u);
                    in.send(100);
                    EXPECT_EQ(in.recv(), 100);
                    out.send(*v);
                    select(recv(back, [&](std::optional<int> w) {
                      EXPECT_EQ(w, i + 1);
                      ++answered;
                    }));
                    yield();
                  }),
             send(back, 1), recv(out));
    }
    EXPECT_EQ(answered, 10);
    out.close();
    all.wait();
  });
}

TEST(select, lets_a_handlers_exception_out_and_the_case_has_happened) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c(1), d(1);
    c.send(1);
    EXPECT_THROW(select(recv(c, [](std::optional<int>) { throw std::string("out"); })), std::string);
    EXPECT_EQ(c.size(), 0u);
    EXPECT_THROW(select(send(d, 2, [] { throw 5; })), int);
    EXPECT_EQ(d.recv(), 2);
    // Nothing is locked and nobody is queued.
    EXPECT_EQ(c.try_send(3), chan_status::ok);
    EXPECT_EQ(c.recv(), 3);
  });
}

TEST(select, takes_handlers_that_are_move_only_or_take_a_reference) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<std::unique_ptr<int>> c(1);
    int sum = 0;
    c.send(std::make_unique<int>(1));
    select(recv(
        c, [&, owned = std::make_unique<int>(10)](std::optional<std::unique_ptr<int>> v) { sum += **v + *owned; }));
    c.send(std::make_unique<int>(100));
    select(recv(c, [&](std::optional<std::unique_ptr<int>>&& v) { sum += **v; }));
    c.send(std::make_unique<int>(1000));
    select(recv(c, [&](const auto& v) { sum += **v; }));
    auto named = [&](auto v) { sum += **v; };
    c.send(std::make_unique<int>(10'000));
    select(recv(c, named));
    EXPECT_EQ(sum, 11'111);
  });
}

// ---- the choice

// Of n that can happen each is drawn as often, within ten sigma (Go's SelectFairness: two of them).
template <class Draw>
void expect_fair(std::size_t n, Draw draw) {
  constexpr int rounds = 10'000;
  std::vector<int> drawn(n);
  for (int i = 0; i < rounds; ++i) ++drawn[draw()];
  const double p = 1.0 / static_cast<double>(n);
  const double sigma = std::sqrt(rounds * p * (1 - p));
  for (const int d : drawn) EXPECT_NEAR(d, rounds * p, 10 * sigma) << "of " << n;
}

void expect_fair_selects() {
  const chan<int> a(1), b(1), never, full(1);
  a.close();
  b.close();
  full.send(1);
  expect_fair(2, [&] { return select(recv(a), recv(b), recv(never)); });
  expect_fair(2, [&] { return *try_select(recv(a), recv(b), recv(never)); });
  expect_fair(2, [&] { return select(recv(never), recv(a), send(full, 1), recv(b)) == 1 ? 0u : 1u; });
  std::vector<chan<int>> many;
  std::vector<select_case> cases;
  for (int i = 0; i < 7; ++i) many.emplace_back(1);
  for (chan<int>& c : many) {
    c.close();
    cases.push_back(recv(c));
  }
  expect_fair(7, [&] { return select(std::span(cases)); });
  // More than there is room for in one word.
  for (int i = 7; i < 70; ++i) {
    many.emplace_back(1);
    many.back().close();
    cases.push_back(recv(many.back()));
  }
  expect_fair(70, [&] { return select(std::span(cases)); });
}

TEST(select_fairness, each_of_several_ready_cases_is_as_likely) {
  test::for_each_case([](const run_case&) { expect_fair_selects(); }, several_ps);
  expect_fair_selects();  // on a plain thread
}

// In explorations it is the search that draws, and it leaves none out.
TEST(select_fairness, explorations_come_by_every_case) {
  std::array<int, 3> at_once{}, later{};
  sim::explore({.runs = 100}, [&] {
    const chan<int> a, b(1), c;
    wait_group all;
    a.close();
    b.send(1);
    all.go([&] { c.recv(); });
    sim::settle();
    ++at_once[select(recv(a), recv(b), send(c, 1))];
    c.try_send(1);
    all.wait();
    const chan<int> d;
    all.go([&] { d.send(1); });
    ++later[select(recv(d), recv(d), recv(d))];
    all.wait();
  });
  for (const int n : at_once) EXPECT_GT(n, 5);
  for (const int n : later) EXPECT_GT(n, 5);
}

// Go's SelectFairness proper: values enough in two buffers.
TEST(select_fairness, of_two_buffers_both_are_heard) {
  test::for_each_case(
      [](const run_case&) {
        const chan<int> a(10'001), b(10'001), never;
        for (int i = 0; i < 10'001; ++i) {
          a.send(0);
          b.send(1);
        }
        std::optional<int> v;
        expect_fair(2, [&] {
          select(recv(never, v), recv(a, v), recv(never, v), recv(b, v));
          return static_cast<std::size_t>(*v);
        });
      },
      several_ps);
}

// Two producers that have to wait each time, on one P: a pair that hands over to each other lets the third one in.
TEST(select_fairness, of_two_producers_both_are_heard) {
  for (const int capacity : {0, 1}) {
    test::for_each_case(
        [&](const run_case&) {
          const chan<> done;
          const chan<int> a(capacity), b(capacity);
          wait_group all;
          for (const chan<int>& c : {a, b}) {
            all.go([c, done] {
              while (select(send(c, 1), recv(done)) == 0) {
              }
            });
          }
          int n[2] = {};
          for (int i = 0; i < 10'000; ++i) ++n[select(recv(a), recv(b))];
          done.close();
          all.wait();
          EXPECT_GT(n[0], 1000) << n[1];
          EXPECT_GT(n[1], 1000) << n[0];
        },
        {{1}, 3});
  }
}

// Go's PseudoRandomSend: two sends to one channel, each more than a tenth.
TEST(select_fairness, of_two_sends_to_one_channel) {
  test::for_each_case(
      [](const run_case&) {
        for (const int capacity : {0, 1000}) {
          const chan<int> c(capacity);
          const int n = 1000;
          wait_group all;
          int ones = 0;
          all.go([&] {
            for (int v : c) {
              ones += v;
              yield();
            }
          });
          for (int i = 0; i < n; ++i) select(send(c, 0), send(c, 1));
          c.close();
          all.wait();
          EXPECT_GT(ones, n / 10);
          EXPECT_LT(ones, n - n / 10);
        }
      },
      several_ps);
}

// The partner comes later: which of five cases on its channel it meets is drawn all the same.
TEST(select_fairness, of_cases_that_wait_on_one_channel) {
  test::for_each_case(
      [](const run_case&) {
        const chan<> to_send, to_receive;
        const chan<int> c, other;
        wait_group all;
        all.go([&] {
          while (to_send.recv()) c.send(1);
        });
        all.go([&] {
          while (to_receive.recv()) c.recv();
        });
        expect_fair(5, [&] {
          to_send.send();
          const std::size_t i = select(recv(c), recv(other), recv(c), recv(c), recv(other), recv(c), recv(c));
          return i == 0 ? 0u : i < 4 ? i - 1 : i - 2;
        });
        expect_fair(3, [&] {
          to_receive.send();
          return select(send(c, 1), send(c, 2), send(c, 3));
        });
        to_send.close();
        to_receive.close();
        all.wait();
      },
      several_ps);
}

// ---- Go's NonblockSelectRace, 1 and 2: at every moment one of the two can happen

// Whichever stands first: whoever looks at one after the other may see neither in one order only.
void one_of_two_is_always_there(bool close, bool b_first) {
  const chan<int> a(1), b(1);
  wait_group all;
  a.send(1);
  all.go([&] { EXPECT_NE(b_first ? try_select(recv(b), recv(a)) : try_select(recv(a), recv(b)), std::nullopt); });
  if (close) {
    b.close();
  } else {
    b.send(1);
  }
  EXPECT_EQ(select(recv(a), recv(b)) < 2, true);
  all.wait();
}

TEST(select_race, nothing_is_ready_is_true_at_one_moment_for_all_cases) {
  test::for_each_case(
      [](const run_case&) {
        const int rounds = test::scaled(20'000, 20);
        for (int i = 0; i < rounds; ++i) one_of_two_is_always_there(i % 2 == 0, i % 4 < 2);
      },
      several_ps);
  explore_1000("select.one_moment", [] {
    for (const bool close : {false, true}) {
      for (const bool b_first : {false, true}) one_of_two_is_always_there(close, b_first);
    }
  });
}

// The same without luck: the look at the second channel faults, and what happens then is what a thread might do meanwhile.
namespace meanwhile {
const chan<int>* first;
const chan<int>* second;
void* page;
std::size_t bytes;
int faults;

void on_fault(int) {
  if (++faults > 1) std::_Exit(9);
  ::mprotect(page, bytes, PROT_READ | PROT_WRITE);
  int v;
  if (first->try_send(1) != chan_status::ok || second->try_recv(v) != chan_status::ok) std::_Exit(9);
}
}  // namespace meanwhile

TEST(select_race, between_two_looks_a_value_may_come_here_and_go_there) {
  // So large that malloc maps it alone, whatever was freed before.
  const chan<int> first(1), second(1 << 24);
  second.send(1);
  meanwhile::first = &first;
  meanwhile::second = &second;
  meanwhile::faults = 0;
  meanwhile::bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto at = reinterpret_cast<std::uintptr_t>(v0::detail::chan_access::of(second));
  meanwhile::page = reinterpret_cast<void*>(at / meanwhile::bytes * meanwhile::bytes);
  struct sigaction action {
  }, before{};
  action.sa_handler = meanwhile::on_fault;
  action.sa_flags = SA_NODEFER;
  const std::array<select_case, 2> cases{recv(first), recv(second)};
  ASSERT_EQ(::sigaction(SIGSEGV, &action, &before), 0);
  ASSERT_EQ(::mprotect(meanwhile::page, meanwhile::bytes, PROT_NONE), 0);
  const std::optional<std::size_t> happened = try_select(std::span<const select_case>(cases));
  ::sigaction(SIGSEGV, &before, nullptr);
  EXPECT_EQ(meanwhile::faults, 1);
  EXPECT_EQ(happened, 0u) << "at every moment one of them had a value";
}

// ---- Go's SelfSelect

void nobody_hears_itself(int capacity, int rounds) {
  const chan<int> c(capacity);
  wait_group all;
  for (int me = 0; me < 2; ++me) {
    all.go([&, me] {
      std::optional<int> v;
      for (int i = 0; i < rounds; ++i) {
        std::size_t received;
        if (me == 0 || i % 2 == 0) {
          received = select(send(c, me), recv(c, v));
        } else {
          received = 1 - select(recv(c, v), send(c, me));
        }
        if (received == 1 && capacity == 0) {
          EXPECT_EQ(v, 1 - me);
        }
      }
    });
  }
  all.wait();
}

TEST(select_race, a_select_in_both_directions_never_meets_itself) {
  test::for_each_case(
      [](const run_case&) {
        nobody_hears_itself(0, test::scaled(2000));
        nobody_hears_itself(10, test::scaled(2000));
      },
      several_ps);
  explore_1000("select.itself", [] {
    nobody_hears_itself(0, 3);
    nobody_hears_itself(2, 3);
  });
}

// ---- Go's SelectStress: four channels, plain calls and selects on both sides

void many_channels(int n, std::uint64_t seed) {
  const std::array<chan<int>, 4> c{chan<int>(), chan<int>(), chan<int>(2), chan<int>(3)};
  wait_group all;
  std::array<std::atomic<long>, 4> sent{}, received{};
  for (std::size_t k = 0; k < 4; ++k) {
    all.go([&, k] {
      for (int i = 0; i < n; ++i) {
        c[k].send(i);
        sent[k] += i;
      }
    });
    all.go([&, k] {
      for (int i = 0; i < n; ++i) received[k] += *c[k].recv();
    });
  }
  // Each channel n times, then it is nil; the cases in another order each time.
  const auto by_select = [&](bool sends) {
    test::random_source random(seed + (sends ? 1 : 0));
    std::array<chan<int>, 4> left = c;
    std::array<int, 4> times{};
    std::optional<int> v;
    for (int i = 0; i < 4 * n; ++i) {
      std::array<std::size_t, 4> order{0, 1, 2, 3};
      for (std::uint32_t j = 3; j > 0; --j) std::swap(order[j], order[random.below(j + 1)]);
      std::array<select_case, 4> cases;
      for (std::size_t j = 0; j < 4; ++j) {
        const std::size_t k = order[j];
        cases[j] = sends ? send(left[k], times[k]) : recv(left[k], v);
      }
      const std::size_t k = order[select(std::span<const select_case>(cases))];
      (sends ? sent : received)[k] += sends ? times[k] : v.value();
      if (++times[k] == n) left[k] = nullptr;
    }
  };
  all.go([&] { by_select(true); });
  all.go([&] { by_select(false); });
  all.wait();
  for (std::size_t k = 0; k < 4; ++k) {
    EXPECT_EQ(sent[k].load(), received[k].load());
    EXPECT_EQ(sent[k].load(), 2L * n * (n - 1) / 2);
    EXPECT_EQ(c[k].size(), 0u);
  }
}

TEST(select_race, plain_calls_and_selects_meet_on_four_channels) {
  test::for_each_case([](const run_case& rc) { many_channels(test::scaled(5000, 20), rc.seed); }, several_ps);
  explore_1000("select.four_channels", [] { many_channels(2, 1); });
}

// ---- Go's SelectDuplicateChannel, select6: a select leaves the queues that it was in

TEST(select_queues, a_channel_twice_is_left_twice) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> twice, other;
    wait_group all;
    go_and_wait(all, [&] { EXPECT_EQ(select(recv(twice), recv(twice), recv(other)), 2u); });
    std::optional<int> got;
    go_and_wait(all, [&] { got = twice.recv(); });
    other.send(1);
    twice.send(8);
    all.wait();
    EXPECT_EQ(got, 8);
  });
}

// Of five in the queue one is a select that is won elsewhere: the four others are served in their order. Whichever it is, on
// whichever side.
void one_of_five_leaves(int position, bool sends) {
  const chan<int> c, elsewhere;
  wait_group all, selecting;
  std::vector<int> order;
  std::vector<std::optional<int>> got(5);
  for (int i = 0; i < 5; ++i) {
    const auto plain = [&, i] {
      if (sends) {
        c.send(i);
      } else {
        got[static_cast<std::size_t>(i)] = c.recv();
      }
    };
    const auto selects = [&, i] {
      const std::size_t which =
          sends ? select(send(c, i), recv(elsewhere), send(c, i)) : select(recv(c), recv(elsewhere));
      EXPECT_EQ(which, 1u);
    };
    if (i == position) {
      go_and_wait(selecting, selects);
    } else {
      go_and_wait(all, plain);
    }
  }
  elsewhere.send(1);
  selecting.wait();
  for (int i = 0, k = 0; i < 5; ++i) {
    if (i == position) continue;
    if (sends) {
      EXPECT_EQ(c.recv(), i);
    } else {
      c.send(k++);
    }
  }
  all.wait();
  for (int i = 0, k = 0; i < 5 && !sends; ++i) {
    if (i == position) continue;
    EXPECT_EQ(got[static_cast<std::size_t>(i)], k++);
  }
  EXPECT_EQ(c.try_send(1), chan_status::would_block);
  std::optional<int> v;
  EXPECT_EQ(c.try_recv(v), chan_status::would_block);
}

TEST(select_queues, one_that_went_elsewhere_is_left_out_and_the_others_keep_their_order) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (int position = 0; position < 5; ++position) {
      one_of_five_leaves(position, false);
      one_of_five_leaves(position, true);
    }
  });
}

// In one place with plain calls: who came first is served first, select or not.
TEST(select_queues, selects_and_plain_calls_are_one_line) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c, never;
    std::vector<std::optional<int>> got(20);
    wait_group all;
    for (std::size_t i = 0; i < 20; ++i) {
      go_and_wait(all, [&, i] {
        if (i % 3 == 0) {
          got[i] = c.recv();
        } else {
          select(recv(never), recv(c, got[i]));
        }
      });
    }
    for (int i = 0; i < 20; ++i) c.send(i);
    all.wait();
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(got[i], static_cast<int>(i));
  });
}

// ---- Go's select7: every form of a receive with every form of a send, whoever comes first

using form = std::function<void(const chan<int>&)>;

// Of either the last two only try, again and again: without a buffer two such never meet.
constexpr std::size_t forms_that_try = 2;

std::vector<form> sends_of_5() {
  return {
      [](const chan<int>& c) { c.send(5); },
      [](const chan<int>& c) { EXPECT_EQ(select(send(c, 5)), 0u); },
      [](const chan<int>& c) { EXPECT_EQ(select(recv(chan<int>()), send(c, 5)), 1u); },
      [](const chan<int>& c) {
        int calls = 0;
        select(send(chan<int>(), 6), send(c, 5, [&] { ++calls; }));
        EXPECT_EQ(calls, 1);
      },
      [](const chan<int>& c) {
        const int five = 5;
        const chan<int> never;
        const std::array<select_case, 3> cases{recv(never), c.on_send(five), send(never, five)};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 1u);
      },
      [](const chan<int>& c) { test::yield_until([&] { return c.try_send(5) == chan_status::ok; }); },
      [](const chan<int>& c) { test::yield_until([&] { return try_select(send(c, 5)).has_value(); }); },
  };
}
std::vector<form> receives_of_5() {
  return {
      [](const chan<int>& c) { EXPECT_EQ(c.recv(), 5); },
      [](const chan<int>& c) {
        for (int v : c) {
          EXPECT_EQ(v, 5);
          break;
        }
      },
      [](const chan<int>& c) {
        std::optional<int> v;
        EXPECT_EQ(select(recv(c, v)), 0u);
        EXPECT_EQ(v, 5);
      },
      [](const chan<int>& c) {
        std::optional<int> v;
        EXPECT_EQ(select(recv(chan<int>(), v), send(chan<int>(), 6), recv(c, v)), 2u);
        EXPECT_EQ(v, 5);
      },
      [](const chan<int>& c) { select(recv(chan<int>()), recv(c, [](std::optional<int> v) { EXPECT_EQ(v, 5); })); },
      [](const chan<int>& c) { EXPECT_EQ(select(recv(c)), 0u); },
      [](const chan<int>& c) {
        std::optional<int> v;
        const chan<int> never;
        const std::array<select_case, 2> cases{recv(never, v), c.on_recv(v)};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 1u);
        EXPECT_EQ(v, 5);
      },
      [](const chan<int>& c) {
        int v = 0;
        test::yield_until([&] { return c.try_recv(v) == chan_status::ok; });
        EXPECT_EQ(v, 5);
      },
      [](const chan<int>& c) {
        std::optional<int> v;
        test::yield_until([&] { return try_select(recv(c, v)).has_value(); });
        EXPECT_EQ(v, 5);
      },
  };
}

void every_pair(bool sender_first, int capacity) {
  const std::vector<form> sends = sends_of_5(), receives = receives_of_5();
  for (std::size_t i = 0; i < sends.size(); ++i) {
    for (std::size_t j = 0; j < receives.size(); ++j) {
      const bool both_try = i >= sends.size() - forms_that_try && j >= receives.size() - forms_that_try;
      if (capacity == 0 && both_try) continue;
      const chan<int> c(capacity);
      wait_group all;
      all.go([&] { (sender_first ? sends[i] : receives[j])(c); });
      yield();
      (sender_first ? receives[j] : sends[i])(c);
      all.wait();
      EXPECT_EQ(c.size(), 0u) << i << ", " << j;
    }
  }
}

TEST(select_forms, every_receive_meets_every_send) {
  test::for_each_case([](const run_case&) {
    for (const bool sender_first : {false, true}) {
      for (const int capacity : {0, 1, 3}) every_pair(sender_first, capacity);
    }
  });
  for (const bool sender_first : {false, true}) {
    for (const int capacity : {0, 1}) {
      sim::explore({.runs = test::scaled(100)}, [&] {
        every_pair(sender_first, capacity);
        sim::check(!testing::Test::HasFailure(), "what the test expects");
      });
    }
  }
}

// ---- many cases

// n channels, of which one has a partner: at once, later, or its close.
void many_cases(std::size_t n) {
  std::vector<chan<int>> all_channels(n);
  std::vector<std::optional<int>> values(n, -1);
  std::vector<int> to_send(n);
  std::iota(to_send.begin(), to_send.end(), 0);
  std::vector<select_case> cases;
  for (std::size_t i = 0; i < n; ++i) {
    // Every fifth sends; every seventh is on a channel that another case is on, too; every eleventh on nil.
    if (i % 7 == 6) all_channels[i] = all_channels[i - 1];
    if (i % 11 == 10) all_channels[i] = nullptr;
  }
  for (std::size_t i = 0; i < n; ++i) {
    cases.push_back(i % 5 == 4 ? send(all_channels[i], to_send[i]) : recv(all_channels[i], values[i]));
  }
  const auto same = [&](std::size_t i, std::size_t j) {
    return all_channels[i] == all_channels[j] && (i % 5 == 4) == (j % 5 == 4);
  };
  EXPECT_EQ(try_select(std::span<const select_case>(cases)), std::nullopt);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, n / 2, std::size_t{64} % n, n - 3, n - 1}) {
    const chan<int>& c = all_channels[i];
    if (c == nullptr) continue;
    const bool sends = i % 5 == 4;
    for (const bool first : {false, true}) {
      wait_group all;
      std::optional<int> got;
      const auto partner = [&] {
        if (sends) {
          got = c.recv();
        } else {
          c.send(77);
        }
      };
      if (first) {
        go_and_wait(all, partner);
      } else {
        all.go(partner);
      }
      const std::size_t which = select(std::span<const select_case>(cases));
      all.wait();
      EXPECT_TRUE(same(which, i)) << which << " for " << i;
      if (sends) {
        EXPECT_EQ(got, static_cast<int>(which));
      } else {
        EXPECT_EQ(values[which], 77);
        values[which] = -1;
      }
    }
  }
  for (const std::optional<int>& v : values) EXPECT_EQ(v, -1);
  EXPECT_EQ(try_select(std::span<const select_case>(cases)), std::nullopt) << "nobody is left in a queue";
  all_channels[1].close();
  EXPECT_EQ(select(std::span<const select_case>(cases)), 1u);
  EXPECT_EQ(values[1], std::nullopt);
}

TEST(select_many, of_65_and_of_a_thousand_cases) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const std::size_t n : {4u, 5u, 63u, 64u, 65u, 1000u}) many_cases(n);
      },
      20);
}

// ---- Go's ChanSendSelectBarrier

TEST(select_memory, what_was_written_before_a_send_is_seen_after_its_receive) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (const int capacity : {0, 1, 8}) {
      const chan<int*> c(capacity), never, nor;
      const int rounds = test::scaled(1000);
      std::vector<int> cells(static_cast<std::size_t>(rounds));
      wait_group all;
      all.go([&] {
        for (int i = 0; i < rounds; ++i) {
          int* const cell = &cells[static_cast<std::size_t>(i)];
          *cell = i + 1;
          select(send(never, cell), send(c, cell));
        }
      });
      std::optional<int*> cell;
      for (int i = 0; i < rounds; ++i) {
        EXPECT_EQ(select(recv(c, cell), recv(nor, cell)), 0u);
        EXPECT_EQ(**cell, i + 1);
      }
      all.wait();
    }
  });
}

// ---- Go's chanlinear: a channel that many wait on is left at a cost that does not depend on how many they are

// Each sudog on a page of its own. Whatever an operation has no business with cannot be touched meanwhile.
class pages {
 public:
  explicit pages(std::size_t n) : size_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))), n_(n) {
    void* at = ::mmap(nullptr, n * size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::_Exit(2);
    at_ = static_cast<unsigned char*>(at);
    for (std::size_t i = 0; i < n; ++i) new (at_ + i * size_) rt::chan_sudog;
  }
  ~pages() { ::munmap(at_, n_ * size_); }
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;

  rt::chan_sudog* operator[](std::size_t i) const { return reinterpret_cast<rt::chan_sudog*>(at_ + i * size_); }
  // With these and no others.
  template <class F>
  void with_only(std::initializer_list<std::size_t> which, F f) {
    protect(0, n_, PROT_NONE);
    for (const std::size_t i : which) protect(i, 1, PROT_READ | PROT_WRITE);
    f();
    protect(0, n_, PROT_READ | PROT_WRITE);
  }

 private:
  void protect(std::size_t first, std::size_t n, int how) {
    if (::mprotect(at_ + first * size_, n * size_, how) != 0) std::_Exit(2);
  }
  std::size_t size_, n_;
  unsigned char* at_;
};

// Exits with 0 when no operation has touched more than it may.
[[noreturn]] void queue_operations_touch_neighbours_only() {
  constexpr std::size_t n = 64;
  pages sudogs(n);
  const chan<int> c;
  rt::hchan* h = v0::detail::chan_access::of(c);
  rt::waitq q = rt::waitq::recv(h);
  for (std::size_t i = 0; i < n - 1; ++i) {
    sudogs[i]->addr = h;
    sudogs[i]->sends = false;
    q.push_back(sudogs[i]);
  }
  sudogs.with_only({n - 2, n - 1}, [&] { q.push_back(sudogs[n - 1]); });
  sudogs.with_only({29, 30, 31}, [&] { q.remove(sudogs[30]); });
  sudogs.with_only({0, 1}, [&] { q.remove(sudogs[0]); });
  sudogs.with_only({n - 2, n - 1}, [&] { q.remove(sudogs[n - 1]); });
  sudogs[31]->addr = h;
  sudogs.with_only({29, 31, 32}, [&] {
    if (!rt::leave_queue(sudogs[31])) std::_Exit(3);  // as a cancelled waiter, and a select that won elsewhere
  });
  sudogs.with_only({1, 2}, [&] {
    rt::chan_sudog* first = q.claim();
    if (first != sudogs[1]) std::_Exit(4);
    q.remove(first);
  });
  // A select that has gone elsewhere is passed over, once.
  rt::select_wait gone;
  gone.done.store(1, rt::relaxed);
  sudogs[2]->select = &gone;
  sudogs.with_only({2, 3, 4}, [&] {
    if (q.claim() != sudogs[3]) std::_Exit(5);
  });
  std::_Exit(0);
}

TEST(select_queues, what_joins_and_leaves_touches_its_neighbours_only) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(queue_operations_touch_neighbours_only(), testing::ExitedWithCode(0), "");
}

// The same from outside: a thousand selects on one channel that nobody uses leave it in an order that is bad for a list that
// must be searched.
TEST(select_queues, a_popular_channel_is_left_by_all) {
  test::for_each_case(
      [](const run_case&) {
        const std::size_t n = static_cast<std::size_t>(test::scaled(10'000));
        const chan<int> popular;
        std::vector<chan<int>> own(n);
        std::atomic<int> right{0};
        wait_group all;
        for (std::size_t i = 0; i < n; ++i) {
          all.go([&, i] { right += select(recv(popular), recv(own[i])) == 1 ? 1 : 0; });
        }
        for (std::size_t i = n; i > 0; --i) own[i - 1].send(1);
        all.wait();
        EXPECT_EQ(right.load(), static_cast<int>(n));
        EXPECT_EQ(popular.try_send(1), chan_status::would_block);
      },
      several_ps);
}

}  // namespace
