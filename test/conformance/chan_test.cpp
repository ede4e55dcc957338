// Channels: the table of GO-BEHAVIOUR C1, cell by cell, and what Go's tests Chan, NonblockRecvRace, MultiConsumer,
// ChanSendInterface, ChanSendBarrier and test/chan/{fifo,nonblock,zerosize}, closedchan, chancap, makechan ask. What is asked
// of types of elements is in chan_elements_test.cpp; of signatures in chan_api_test.cpp.
#include "weft/chan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;
using testing::HasSubstr;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// Starts f, which waits once, and returns when it does.
template <class F>
void go_and_wait(wait_group& all, F f) {
  auto each = std::make_shared<test::watched>();
  all.go([each, f = std::move(f)]() mutable {
    each->here();
    f();
  });
  test::yield_until([&] { return each->waits(); });
}

// ---- the table: nil

TEST(chan_nil, never_sends_nor_receives_and_cannot_be_closed) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> none = nullptr;
    const chan<> no_signal = nullptr;
    int value = 7;
    std::optional<int> engaged = 8;
    EXPECT_EQ(none.try_send(1), chan_status::would_block);
    EXPECT_EQ(none.try_recv(value), chan_status::would_block);
    EXPECT_EQ(none.try_recv(engaged), chan_status::would_block);
    EXPECT_EQ(value, 7);
    EXPECT_EQ(engaged, 8);
    EXPECT_EQ(no_signal.try_send(), chan_status::would_block);
    EXPECT_EQ(no_signal.try_recv(), chan_status::would_block);
    EXPECT_EQ(message_of([&] { none.close(); }), "close of nil channel");
    EXPECT_EQ(message_of([&] { no_signal.close(); }), "close of nil channel");
    EXPECT_THROW(none.close(), close_of_nil_channel);
    EXPECT_THROW(send_chan<int>().close(), close_of_nil_channel);
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(none.capacity(), 0u);
    EXPECT_FALSE(none);
    EXPECT_TRUE(none == nullptr);
    EXPECT_TRUE(send_chan<int>() == nullptr);
    EXPECT_TRUE(recv_chan<int>() == nullptr);
  });
}

// Each on a goroutine of its own; the end of main is what ends them.
TEST(chan_nil, blocks_for_ever) {
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
        waits(0, [] { chan<int>(nullptr).send(1); });
        waits(1, [] { chan<int>(nullptr).recv(); });
        waits(2, [] {
          for (int v : chan<int>(nullptr)) static_cast<void>(v);
        });
        waits(3, [] { send_chan<>().send(); });
        waits(4, [] { recv_chan<>().recv(); });
        for (int i = 0; i < 100; ++i) yield();
        EXPECT_EQ(went_on.load(), 0);
      },
      o);
  EXPECT_EQ(went_on.load(), 0);
}

// In an exploration, what can never go on is a failure that names the wait.
template <class F>
void expect_stuck(F body, const char* wait) {
  const test::expecting_a_failed_run leaves_what_it_had;
  try {
    sim::explore({.runs = 20}, body);
    ADD_FAILURE() << "not found: " << wait;
  } catch (const sim::failure& f) {
    EXPECT_EQ(f.kind(), sim::failure_kind::deadlock) << f.report();
    EXPECT_THAT(f.report(), HasSubstr(wait));
  }
}

TEST(chan_nil, is_a_deadlock_in_every_schedule) {
  expect_stuck([] { chan<int>(nullptr).send(1); }, "chan send (nil chan)");
  expect_stuck([] { chan<int>(nullptr).recv(); }, "chan receive (nil chan)");
  expect_stuck([] { chan<int>().send(1); }, "chan send");
  expect_stuck([] { chan<int>().recv(); }, "chan receive");
}

TEST(chan_nil, is_what_a_moved_from_handle_is) {
  test::for_each_case_and_schedule([](const run_case&) {
    chan<int> a(1);
    chan<int> b = std::move(a);
    EXPECT_TRUE(a == nullptr);
    EXPECT_EQ(a.try_send(1), chan_status::would_block);
    EXPECT_EQ(b.try_send(1), chan_status::ok);
    send_chan<int> in = std::move(b);
    EXPECT_TRUE(b == nullptr);
    EXPECT_EQ(in.size(), 1u);
    in = nullptr;
    EXPECT_FALSE(in);
  });
}

// ---- the table: open

TEST(chan_open, without_a_buffer_a_try_needs_a_partner) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c;
    EXPECT_EQ(c.capacity(), 0u);
    int value = 7;
    EXPECT_EQ(c.try_send(1), chan_status::would_block);
    EXPECT_EQ(c.try_recv(value), chan_status::would_block);
    EXPECT_EQ(value, 7);
    EXPECT_EQ(c.size(), 0u);
    wait_group all;
    std::optional<int> got;
    go_and_wait(all, [&] { got = c.recv(); });
    EXPECT_EQ(c.size(), 0u) << "a receiver that waits is no value";
    EXPECT_EQ(c.try_send(5), chan_status::ok);
    EXPECT_EQ(c.try_send(6), chan_status::would_block) << "it has its value; nobody else waits";
    all.wait();
    EXPECT_EQ(got, 5);
    go_and_wait(all, [&] { c.send(9); });
    EXPECT_EQ(c.size(), 0u) << "a sender that waits has put nothing anywhere";
    EXPECT_EQ(c.try_recv(value), chan_status::ok);
    EXPECT_EQ(value, 9);
    EXPECT_EQ(c.try_recv(value), chan_status::would_block);
    all.wait();
  });
}

TEST(chan_open, with_a_buffer_it_takes_what_it_has_room_for) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c(3);
    EXPECT_EQ(c.capacity(), 3u);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(c.size(), static_cast<std::size_t>(i));
      if (i % 2 == 0) {
        c.send(i);
      } else {
        EXPECT_EQ(c.try_send(i), chan_status::ok);
      }
    }
    EXPECT_EQ(c.size(), 3u);
    EXPECT_EQ(c.try_send(3), chan_status::would_block);
    EXPECT_EQ(c.recv(), 0);
    EXPECT_EQ(c.size(), 2u);
    c.send(3);
    std::optional<int> v;
    for (int i = 1; i <= 3; ++i) {
      EXPECT_EQ(c.try_recv(v), chan_status::ok);
      EXPECT_EQ(v, i);
    }
    EXPECT_EQ(c.try_recv(v), chan_status::would_block);
    EXPECT_EQ(v, 3) << "would_block leaves it alone";
  });
}

TEST(chan_open, a_full_buffer_moves_up_and_the_waiting_sender_comes_last) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c(2);
    c.send(0);
    c.send(1);
    wait_group all;
    go_and_wait(all, [&] { c.send(2); });
    go_and_wait(all, [&] { c.send(3); });
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(c.recv(), i);
      EXPECT_EQ(c.size(), i < 2 ? 2u : static_cast<std::size_t>(3 - i));
    }
    all.wait();
  });
}

// The value goes straight to whoever waits: no later try gets it, whether or not the receiver has run since.
TEST(chan_open, a_value_is_handed_to_the_waiter_and_nobody_overtakes) {
  test::for_each_case_and_schedule([](const run_case& rc) {
    for (const int capacity : {0, 1, 5}) {
      const chan<int> c(capacity);
      std::atomic<bool> stop{false};
      std::atomic<int> stolen{0};
      wait_group others;
      for (int i = 1; i < rc.procs; ++i) {
        others.go([&] {
          for (int v; !stop.load(std::memory_order_relaxed); yield()) {
            if (c.try_recv(v) == chan_status::ok) ++stolen;
          }
        });
      }
      for (int round = 0; round < 50; ++round) {
        wait_group done;
        std::optional<int> got;
        go_and_wait(done, [&] { got = c.recv(); });
        c.send(round);
        EXPECT_EQ(c.size(), 0u) << "it never was in the buffer";
        int v;
        if (c.try_recv(v) == chan_status::ok) ++stolen;
        done.wait();
        EXPECT_EQ(got, round);
      }
      stop = true;
      others.wait();
      EXPECT_EQ(stolen.load(), 0);
    }
  });
}

// The other way round: the place that a receive frees is the waiting sender's.
TEST(chan_open, a_free_place_goes_to_the_waiting_sender_and_nobody_overtakes) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c(1);
    c.send(-1);
    for (int round = 0; round < 50; ++round) {
      wait_group done;
      go_and_wait(done, [&] { c.send(round); });
      EXPECT_EQ(c.recv(), round - 1);
      EXPECT_EQ(c.size(), 1u) << "the sender has not run, and its value is in the buffer";
      EXPECT_EQ(c.try_send(1000), chan_status::would_block);
      done.wait();
    }
    EXPECT_EQ(c.recv(), 49);
  });
}

TEST(chan_open, receivers_are_served_in_the_order_they_came) {
  test::for_each_case_and_schedule([](const run_case&) {
    constexpr int n = 30;
    for (const int capacity : {0, 4}) {
      const chan<int> c(capacity);
      std::vector<std::optional<int>> got(n);
      wait_group all;
      for (std::size_t i = 0; i < n; ++i) go_and_wait(all, [&, i] { got[i] = c.recv(); });
      for (int i = 0; i < n; ++i) c.send(i);
      all.wait();
      for (int i = 0; i < n; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
    }
  });
}

TEST(chan_open, senders_are_served_in_the_order_they_came) {
  test::for_each_case_and_schedule([](const run_case&) {
    constexpr int n = 30;
    for (const int capacity : {0, 4}) {
      const chan<int> c(capacity);
      for (int i = 0; i < capacity; ++i) c.send(i);
      wait_group all;
      for (int i = capacity; i < n; ++i) go_and_wait(all, [&, i] { c.send(i); });
      for (int i = 0; i < n; ++i) EXPECT_EQ(c.recv(), i);
      all.wait();
    }
  });
}

// ---- the table: closed

TEST(chan_closed, gives_what_is_left_and_then_nothing) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (const int capacity : {0, 1, 3, 10}) {
      const chan<int> c(capacity);
      for (int i = 0; i < capacity; ++i) c.send(i);
      c.close();
      EXPECT_EQ(c.size(), static_cast<std::size_t>(capacity));
      EXPECT_EQ(c.capacity(), static_cast<std::size_t>(capacity));
      EXPECT_TRUE(c) << "closed is not nil";
      EXPECT_THROW(c.send(1), send_on_closed_channel) << "also while there are values in the buffer";
      EXPECT_EQ(c.try_send(1), chan_status::closed);
      for (int i = 0; i < capacity; ++i) {
        int v = -1;
        if (i % 2 == 0) {
          EXPECT_EQ(c.recv(), i);
        } else {
          EXPECT_EQ(c.try_recv(v), chan_status::ok);
          EXPECT_EQ(v, i);
        }
      }
      for (int again = 0; again < 3; ++again) {
        EXPECT_EQ(c.recv(), std::nullopt);
        int v = 7;
        EXPECT_EQ(c.try_recv(v), chan_status::closed);
        EXPECT_EQ(v, 7);
        std::optional<int> o = 8;
        EXPECT_EQ(c.try_recv(o), chan_status::closed);
        EXPECT_EQ(o, std::nullopt) << "closed says so in the optional";
        for (int none : c) ADD_FAILURE() << none;
      }
      EXPECT_EQ(c.size(), 0u);
    }
  });
}

TEST(chan_closed, of_signals_too) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<> c(2);
    c.send();
    EXPECT_EQ(c.try_send(), chan_status::ok);
    EXPECT_EQ(c.try_send(), chan_status::would_block);
    EXPECT_EQ(c.size(), 2u);
    c.close();
    EXPECT_TRUE(c.recv());
    EXPECT_EQ(c.try_recv(), chan_status::ok);
    EXPECT_FALSE(c.recv());
    EXPECT_EQ(c.try_recv(), chan_status::closed);
    EXPECT_THROW(c.send(), send_on_closed_channel);
    EXPECT_EQ(c.try_send(), chan_status::closed);
    EXPECT_THROW(c.close(), close_of_closed_channel);
  });
}

TEST(chan_closed, says_what_go_says) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> c(1);
    c.close();
    EXPECT_EQ(message_of([&] { c.send(1); }), "send on closed channel");
    EXPECT_EQ(message_of([&] { c.close(); }), "close of closed channel");
    EXPECT_THROW(c.close(), close_of_closed_channel);
    EXPECT_THROW(send_chan<int>(c).close(), close_of_closed_channel);
  });
}

// A handle more or less changes nothing: to close is to call close().
TEST(chan_closed, not_because_a_handle_has_gone) {
  test::for_each_case_and_schedule([](const run_case&) {
    chan<int> c(1);
    { const send_chan<int> in = c; }
    EXPECT_EQ(c.try_send(1), chan_status::ok);
    recv_chan<int> out = c;
    c = nullptr;
    EXPECT_EQ(out.recv(), 1);
    int v;
    EXPECT_EQ(out.try_recv(v), chan_status::would_block);
  });
}

TEST(chan_closed, wakes_every_receiver) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (const int capacity : {0, 3}) {
      const chan<int> c(capacity);
      std::atomic<int> nothing{0}, something{0};
      wait_group all;
      for (int i = 0; i < 10; ++i) {
        go_and_wait(all, [&, i] {
          if (i % 2 == 0) {
            for (int v : c) something += v;
            ++nothing;
          } else {
            ++(c.recv() ? something : nothing);
          }
        });
      }
      c.close();
      all.wait();
      EXPECT_EQ(nothing.load(), 10);
      EXPECT_EQ(something.load(), 0);
    }
  });
}

// Each of them was blocked when close came. What they wanted to send is lost, what the buffer has is not.
TEST(chan_closed, throws_in_every_sender_that_waits) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (const int capacity : {0, 2}) {
      const chan<int> c(capacity);
      for (int i = 0; i < capacity; ++i) c.send(i);
      std::atomic<int> thrown{0}, sent{0};
      wait_group all;
      for (int i = 0; i < 10; ++i) {
        go_and_wait(all, [&, i] {
          try {
            c.send(100 + i);
            ++sent;
          } catch (const send_on_closed_channel&) {
            ++thrown;
          }
        });
      }
      c.close();
      all.wait();
      EXPECT_EQ(thrown.load(), 10);
      EXPECT_EQ(sent.load(), 0);
      for (int i = 0; i < capacity; ++i) EXPECT_EQ(c.recv(), i);
      EXPECT_EQ(c.recv(), std::nullopt);
    }
  });
}

// A receive that is told of the close sees what was done before it.
TEST(chan_closed, is_a_barrier) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (int round = 0; round < test::scaled(50); ++round) {
      const chan<> done;
      int plain = 0;
      wait_group all;
      std::atomic<int> seen{0};
      for (int i = 0; i < 4; ++i) {
        all.go([&] {
          done.recv();
          seen += plain;
        });
      }
      yield();
      plain = 1;
      done.close();
      all.wait();
      EXPECT_EQ(seen.load(), 4);
    }
  });
}

TEST(chan_closed, a_close_and_a_send_at_once_lose_no_value) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (int round = 0; round < 20; ++round) {
      const chan<int> c(round % 3);
      std::atomic<int> sent{0};
      wait_group all;
      for (int i = 0; i < 3; ++i) {
        all.go([&] {
          try {
            for (;;) {
              c.send(1);
              ++sent;
            }
          } catch (const send_on_closed_channel&) {
          }
        });
      }
      int received = 0;
      for (; received < 5; ++received) EXPECT_EQ(c.recv(), 1);
      c.close();
      for (int v : c) received += v;
      all.wait();
      EXPECT_EQ(received, sent.load());
    }
  });
}

// ---- makechan

TEST(chan_make, refuses_what_no_memory_could_hold) {
  const auto size_of = [](auto n) { return message_of([&] { chan<int> c(n); }); };
  EXPECT_EQ(size_of(-1), "makechan: size out of range");
  EXPECT_EQ(size_of(std::int8_t{-1}), "makechan: size out of range");
  EXPECT_EQ(size_of(std::numeric_limits<std::int64_t>::min()), "makechan: size out of range");
  EXPECT_EQ(size_of(std::numeric_limits<std::int64_t>::max()), "makechan: size out of range");
  EXPECT_EQ(size_of(std::numeric_limits<std::uint64_t>::max()), "makechan: size out of range");
  EXPECT_EQ(size_of(std::int64_t{1} << 62), "makechan: size out of range") << "times four is zero";
  EXPECT_EQ(size_of((std::uint64_t{1} << 62) + 1), "makechan: size out of range") << "times four is four";
  EXPECT_EQ(message_of([] { chan<> c(-1); }), "makechan: size out of range");
}

TEST(chan_make, takes_every_kind_of_integer) {
  EXPECT_EQ(chan<int>(0).capacity(), 0u);
  EXPECT_EQ(chan<int>(std::uint8_t{200}).capacity(), 200u);
  EXPECT_EQ(chan<int>(std::int8_t{100}).capacity(), 100u);
  EXPECT_EQ(chan<int>(std::size_t{1000}).capacity(), 1000u);
  EXPECT_EQ(chan<>(1'000'000'000'000).capacity(), 1'000'000'000'000u) << "signals take no room";
}

TEST(chan_make, each_default_constructed_one_is_new) {
  const chan<int> a, b, same = a;
  EXPECT_TRUE(a == same);
  EXPECT_FALSE(a == b);
  EXPECT_TRUE(send_chan<int>(a) == recv_chan<int>(same));
}

// A signal has no bytes and an empty struct one; either is counted as any other value (Go: zerosize).
TEST(chan_make, of_things_without_a_content) {
  test::for_each_case_and_schedule([](const run_case&) {
    struct empty {};
    const chan<empty> c(2);
    c.send({});
    EXPECT_EQ(c.size(), 1u);
    EXPECT_TRUE(c.recv().has_value());
    wait_group all;
    all.go([&] { c.close(); });
    EXPECT_FALSE(c.recv().has_value());
    all.wait();
    const chan<> signal;
    all.go([&] { signal.send(); });
    EXPECT_TRUE(signal.recv());
    all.wait();
  });
}

// ---- Go's Chan: all of it for every capacity

void for_capacity(int capacity, int senders, int per_sender) {
  {  // a receive waits for a value, a send for room
    const chan<int> c(capacity);
    wait_group all;
    std::optional<int> one, other;
    go_and_wait(all, [&] { one = c.recv(); });
    go_and_wait(all, [&] { other = c.recv(); });
    std::optional<int> v;
    EXPECT_EQ(c.try_recv(v), chan_status::would_block);
    c.send(1);
    c.send(2);
    all.wait();
    EXPECT_EQ(one, 1);
    EXPECT_EQ(other, 2);
    for (int i = 0; i < capacity; ++i) c.send(i);
    EXPECT_EQ(c.size(), static_cast<std::size_t>(capacity));
    EXPECT_EQ(c.try_send(0), chan_status::would_block);
    go_and_wait(all, [&] { c.send(capacity); });
    for (int i = 0; i <= capacity; ++i) EXPECT_EQ(c.recv(), i);
    all.wait();
    EXPECT_EQ(c.size(), 0u);
  }
  {  // a hundred in order, and the end
    const chan<int> c(capacity);
    wait_group all;
    all.go([&] {
      for (int i = 0; i < 100; ++i) c.send(i);
      c.close();
    });
    int expected = 0;
    for (int v : c) EXPECT_EQ(v, expected++);
    EXPECT_EQ(expected, 100);
    all.wait();
  }
  {  // many senders and as many receivers: each value of each once
    const chan<int> c(capacity);
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(senders * per_sender));
    wait_group sending, receiving;
    for (int s = 0; s < senders; ++s) {
      sending.go([&, s] {
        for (int i = 0; i < per_sender; ++i) c.send(s * per_sender + i);
      });
      receiving.go([&] {
        std::vector<int> last(static_cast<std::size_t>(senders), -1);
        for (int v : c) {
          ++seen[static_cast<std::size_t>(v)];
          int& before = last[static_cast<std::size_t>(v / per_sender)];
          EXPECT_LT(before, v) << "one sender's values come in its order";
          before = v;
        }
      });
    }
    sending.wait();
    c.close();
    receiving.wait();
    for (const std::atomic<int>& n : seen) EXPECT_EQ(n.load(), 1);
  }
}

TEST(chan_any_capacity, blocks_keeps_the_order_and_gives_each_value_once) {
  test::for_each_case(
      [](const run_case&) {
        for (int capacity = 0; capacity < 200; capacity += test::built_with_sanitizer ? 23 : 1) {
          for_capacity(capacity, 4, capacity % 20 == 0 ? 1000 : 50);
          if (testing::Test::HasFailure()) return;
        }
      },
      several_ps);
}

TEST(chan_any_capacity, in_every_schedule) {
  sim::explore({.name = "chan.any_capacity", .runs = test::scaled(300)}, [] {
    for (const int capacity : {0, 1, 2}) for_capacity(capacity, 3, 2);
    sim::check(!testing::Test::HasFailure(), "what the test expects");
  });
}

// ---- Go's races of receives that do not wait

// There is a value until there is the end: never neither.
void never_blocks_on_a_channel_with_a_value(const chan<int>& c) {
  wait_group all;
  c.send(1);
  all.go([&] {
    int v;
    EXPECT_NE(c.try_recv(v), chan_status::would_block);
  });
  c.close();
  c.recv();
  all.wait();
}

TEST(chan_race, a_receive_that_does_not_wait_sees_the_value_or_the_close) {
  test::for_each_case(
      [](const run_case&) {
        const int rounds = test::scaled(20'000, 20);
        for (int i = 0; i < rounds; ++i) never_blocks_on_a_channel_with_a_value(chan<int>(1));
      },
      several_ps);
  sim::explore({.runs = 1000}, [] {
    never_blocks_on_a_channel_with_a_value(chan<int>(1));
    sim::check(!testing::Test::HasFailure(), "a value or the close");
  });
}

// ---- Go's MultiConsumer

void many_consumers(int workers, int items) {
  const chan<int> in(workers * 3), out(workers * 3);
  wait_group all, consuming;
  all.go([&] {
    for (int i = 0; i < items; ++i) in.send(i % 97);
    in.close();
  });
  for (int w = 0; w < workers; ++w) {
    consuming.go([&, w] {
      for (int v : in) {
        if (v % 5 == w % 5) yield();
        out.send(v);
      }
    });
  }
  all.go([&] {
    consuming.wait();
    out.close();
  });
  std::vector<int> seen(97);
  for (int v : out) ++seen[static_cast<std::size_t>(v)];
  all.wait();
  for (int v = 0; v < 97; ++v) EXPECT_EQ(seen[static_cast<std::size_t>(v)], (items - v + 96) / 97) << v;
}

TEST(chan_race, many_consumers_lose_and_double_nothing) {
  test::for_each_case([](const run_case&) { many_consumers(23, test::scaled(271'828, 40)); }, several_ps);
  sim::explore({.runs = test::scaled(1000)}, [] {
    many_consumers(3, 8);
    sim::check(!testing::Test::HasFailure(), "each once");
  });
}

// ---- memory

// The k-th send happens before the k-th receive returns: plain memory, which ThreadSanitizer watches too.
TEST(chan_memory, what_was_written_before_a_send_is_seen_after_its_receive) {
  test::for_each_case_and_schedule([](const run_case&) {
    for (const int capacity : {0, 1, 8}) {
      const chan<int*> c(capacity);
      const int rounds = test::scaled(1000);
      std::vector<int> cells(static_cast<std::size_t>(rounds));
      wait_group all;
      all.go([&] {
        for (int i = 0; i < rounds; ++i) {
          int& cell = cells[static_cast<std::size_t>(i)];
          cell = i + 1;
          c.send(&cell);
        }
        c.close();
      });
      int expected = 0;
      for (const int* cell : c) EXPECT_EQ(*cell, ++expected);
      EXPECT_EQ(expected, rounds);
      all.wait();
    }
  });
}

// The k-th receive happens before the (k+C)-th send returns: so a buffer of C is a semaphore, and one of 1 a mutex.
TEST(chan_memory, a_buffer_of_one_is_a_lock) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<> lock(1);
    int plain = 0;
    wait_group all;
    for (int g = 0; g < 4; ++g) {
      all.go([&] {
        for (int i = 0; i < 100; ++i) {
          lock.send();
          const int read = plain;
          if (i % 10 == 0) yield();
          plain = read + 1;
          lock.recv();
        }
      });
    }
    all.wait();
    EXPECT_EQ(plain, 400);
  });
}

// Without a buffer a receive happens before its send returns: the sender may read what the receiver wrote before it.
TEST(chan_memory, without_a_buffer_a_send_is_a_barrier_as_well) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<> c;
    wait_group all;
    int plain = 0;
    all.go([&] {
      for (int i = 1; i <= 100; ++i) {
        plain = i;
        c.recv();
        c.recv();
      }
    });
    for (int i = 1; i <= 100; ++i) {
      c.send();
      EXPECT_EQ(plain, i);
      c.send();
    }
    all.wait();
  });
}

// ---- Go's fifo, nonblock, ChanSendInterface

// Goroutine i takes its turn only when i - 1 has had it.
void a_line(int n) {
  const chan<int> c;
  wait_group all;
  chan<> turn(1);
  turn.send();
  for (int i = 0; i < n; ++i) {
    const chan<> next(1);
    all.go([&c, i, turn, next] {
      turn.recv();
      EXPECT_EQ(c.recv(), i);
      next.send();
    });
    turn = next;
  }
  for (int i = 0; i < n; ++i) c.send(i);
  all.wait();
  EXPECT_EQ(turn.size(), 1u);
}

TEST(chan_fifo, in_a_line_of_goroutines) {
  test::for_each_case([](const run_case&) { a_line(test::scaled(1000)); }, several_ps);
  sim::explore({.runs = 1000}, [] {
    a_line(4);
    sim::check(!testing::Test::HasFailure(), "each in its turn");
  });
}

// Each kind of value, by calls that do not wait, with a partner who does.
template <class T>
void by_tries(const T& value, const T& other) {
  for (const int capacity : {0, 1, 10, 100}) {
    const chan<T> c(capacity);
    T got = other;
    EXPECT_EQ(c.try_recv(got), chan_status::would_block);
    EXPECT_EQ(got, other);
    wait_group all;
    all.go([&] { EXPECT_EQ(c.recv(), value); });
    test::yield_until([&] { return c.try_send(value) == chan_status::ok; });
    all.wait();
    all.go([&] { c.send(value); });
    test::yield_until([&] { return c.try_recv(got) == chan_status::ok; });
    EXPECT_EQ(got, value);
    all.wait();
    for (int i = 0; i < capacity; ++i) EXPECT_EQ(c.try_send(i % 2 == 0 ? value : other), chan_status::ok);
    EXPECT_EQ(c.try_send(value), chan_status::would_block);
    for (int i = 0; i < capacity; ++i) {
      EXPECT_EQ(c.try_recv(got), chan_status::ok);
      EXPECT_EQ(got, i % 2 == 0 ? value : other);
    }
  }
}

TEST(chan_kinds, of_values_pass_by_tries) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        by_tries<std::int32_t>(123, 0);
        by_tries<std::int64_t>(std::int64_t{1} << 40, 1);
        by_tries(true, false);
        by_tries('x', 'y');
        by_tries(1.5, 2.5);
        by_tries<std::string>("a string that has no room in itself, so it is on the heap", "");
        by_tries(std::vector<int>{1, 2, 3}, {});
      },
      20);
}

struct shape {
  virtual ~shape() = default;
  virtual int sides() const = 0;
};
struct triangle : shape {
  int sides() const override { return 3; }
};
struct square : shape {
  int sides() const override { return 4; }
};

TEST(chan_kinds, of_an_interface_and_of_functions_and_of_channels) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<std::unique_ptr<shape>> shapes(2);
    shapes.send(std::make_unique<triangle>());
    EXPECT_EQ(shapes.try_send(std::make_unique<square>()), chan_status::ok);
    EXPECT_EQ((*shapes.recv())->sides(), 3);
    EXPECT_EQ((*shapes.recv())->sides(), 4);

    const chan<std::function<int(int)>> functions;
    const chan<chan<int>> replies;
    wait_group all;
    all.go([&] {
      const chan<int> reply = *replies.recv();
      reply.send((*functions.recv())(20));
    });
    const chan<int> mine;
    replies.send(mine);
    functions.send([twice = 2](int x) { return x * twice; });
    EXPECT_EQ(mine.recv(), 40);
    all.wait();
  });
}

}  // namespace
