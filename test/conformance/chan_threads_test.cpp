// Channels between whoever there is: plain threads with and without a runtime, goroutines of two runtimes; and what becomes of
// who waits when main returns, when the handle goes, and when the channel is gone before the call that served it has returned.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "model/hchan.hpp"
#include "model/process.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/runtime.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using namespace std::chrono_literals;
using test::run_case;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

// Who waits in c, senders and receivers, threads and goroutines; a select as often as it is there.
template <class C>
std::size_t waiters(const C& c) {
  rt::hchan* h = v0::detail::chan_access::of(c);
  rt::mutex_guard guard(rt::lock_of(h));
  std::size_t n = 0;
  for (const rt::waitq& q : {rt::waitq::recv(h), rt::waitq::send(h)}) {
    for (const rt::chan_sudog* sg = q.first(); sg != nullptr; sg = sg->next) ++n;
  }
  return n;
}

// On a plain thread, or a goroutine that may hold up its thread for that long.
template <class C>
void spin_until_waiting(const C& c, std::size_t n) {
  test::spin_until([&] { return waiters(c) == n; });
}

// ---- plain threads

TEST(chan_threads, without_any_runtime_are_as_goroutines) {
  const chan<int> there, back(1), never;
  const chan<> done;
  std::thread other([&] {
    std::optional<int> v;
    while (select(recv(there, v), recv(done)) == 0) back.send(*v + 1);
  });
  for (int i = 0; i < 1000; ++i) {
    if (i % 2 == 0) {
      there.send(i);
    } else {
      select(send(there, i), recv(never));
    }
    if (i % 3 == 0) {
      EXPECT_EQ(back.recv(), i + 1);
    } else {
      std::optional<int> v;
      EXPECT_EQ(select(recv(never, v), recv(back, v)), 1u);
      EXPECT_EQ(v, i + 1);
    }
  }
  done.close();
  other.join();
  EXPECT_EQ(waiters(there) + waiters(back) + waiters(never) + waiters(done), 0u);
  EXPECT_EQ(rt::the_process.proxies_in_use.load(), 0u);
}

TEST(chan_threads, are_woken_by_close_and_by_an_exception) {
  const chan<int> c;
  std::vector<std::thread> threads;
  std::atomic<int> ended{0}, thrown{0};
  for (int i = 0; i < 3; ++i) threads.emplace_back([&] { ended += c.recv() ? 0 : 1; });
  threads.emplace_back([&] {
    const chan<int> never;
    std::optional<int> v = 1;
    ended += select(recv(never, v), recv(c, v)) == 1 && !v ? 1 : 0;
  });
  spin_until_waiting(c, 4);
  c.close();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(ended.load(), 4);
  threads.clear();
  const chan<int> d;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      try {
        if (i == 0) {
          select(send(d, 1), send(d, 2));
        } else {
          d.send(1);
        }
      } catch (const send_on_closed_channel&) {
        ++thrown;
      }
    });
  }
  spin_until_waiting(d, 4);
  d.close();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(thrown.load(), 3);
}

TEST(chan_threads, stand_in_one_line_with_goroutines) {
  test::for_each_case([](const run_case&) {
    const chan<int> c;
    std::vector<std::optional<int>> got(8);
    std::vector<std::thread> threads;
    wait_group all;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto receives = [&, i] { got[i] = c.recv(); };
      if (i % 2 == 0) {
        threads.emplace_back(receives);
        blocking([&] { spin_until_waiting(c, i + 1); });
      } else {
        all.go(receives);
        test::yield_until([&] { return waiters(c) == i + 1; });
      }
    }
    for (int i = 0; i < static_cast<int>(got.size()); ++i) c.send(i);
    all.wait();
    blocking([&] {
      for (std::thread& t : threads) t.join();
    });
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], static_cast<int>(i));
  });
}

// ---- everybody with everybody

// Each value that goes in comes out once. A crowd sends and receives, plainly and in selects.
class crowd {
 public:
  crowd(int capacity, int senders, int each)
      : c_(capacity), each_(each), seen_(static_cast<std::size_t>(senders * each)) {}

  void send_as(int who) {
    for (int i = 0; i < each_; ++i) {
      const int v = who * each_ + i;
      if (i % 2 == 0) {
        c_.send(v);
      } else {
        EXPECT_EQ(select(recv(never_), send(c_, v)), 1u);
      }
    }
    if (++done_ == static_cast<int>(seen_.size()) / each_) c_.close();
  }
  void receive() {
    std::optional<int> v;
    for (;;) {
      if (++turn_ % 2 == 0) {
        v = c_.recv();
      } else {
        EXPECT_EQ(select(recv(c_, v), recv(never_, v)), 0u);
      }
      if (!v) return;
      ++seen_[static_cast<std::size_t>(*v)];
    }
  }
  void check() const {
    for (std::size_t i = 0; i < seen_.size(); ++i) EXPECT_EQ(seen_[i].load(), 1) << i;
    EXPECT_EQ(waiters(c_) + waiters(never_), 0u);
  }

 private:
  const chan<int> c_;
  const chan<int> never_;
  const int each_;
  std::atomic<int> done_{0}, turn_{0};
  std::vector<std::atomic<int>> seen_;
};

TEST(chan_threads, send_to_goroutines_and_receive_from_them) {
  test::for_each_case(
      [](const run_case&) {
        for (const int capacity : {0, 1, 8}) {
          crowd all(capacity, 4, test::scaled(1000, 20));
          wait_group goroutines;
          std::vector<std::thread> threads;
          for (int i = 0; i < 2; ++i) {
            goroutines.go([&, i] { all.send_as(i); });
            goroutines.go([&] { all.receive(); });
            threads.emplace_back([&, i] { all.send_as(2 + i); });
            threads.emplace_back([&] { all.receive(); });
          }
          goroutines.wait();
          blocking([&] {
            for (std::thread& t : threads) t.join();
          });
          all.check();
        }
      },
      several_ps);
}

options with(int procs) {
  options o;
  o.procs = procs;
  return o;
}

// For several P counts, with nothing left behind.
template <class F>
void for_each_procs(F body) {
  for (const int procs : {1, 2, 4, 16}) {
    SCOPED_TRACE(testing::Message() << procs << " Ps");
    const test::snapshot before = test::take_snapshot();
    test::set_watchdog(static_cast<unsigned>(test::number_from_env("TEST_TIMEOUT", 60)));
    body(procs);
    test::clear_watchdog();
    EXPECT_EQ(test::leaked_since(before), "");
    if (testing::Test::HasFailure()) return;
  }
}

TEST(chan_runtimes, goroutines_of_two_and_plain_threads_meet_on_one_channel) {
  for_each_procs([](int procs) {
    for (const int capacity : {0, 1, 8}) {
      crowd all(capacity, 6, test::scaled(500, 20));
      runtime a(with(procs)), b(with(1));
      std::vector<std::future<void>> ends;
      for (int i = 0; i < 2; ++i) {
        ends.push_back(a.submit([&, i] { all.send_as(i); }));
        ends.push_back(b.submit([&, i] { all.send_as(2 + i); }));
        ends.push_back(a.submit([&] { all.receive(); }));
        ends.push_back(b.submit([&] { all.receive(); }));
      }
      std::thread sends([&] { all.send_as(4); });
      std::thread receives([&] { all.receive(); });
      all.send_as(5);
      for (std::future<void>& end : ends) end.get();
      sends.join();
      receives.join();
      all.check();
    }
  });
}

// A value, a select or a close from outside is the last thing a runtime hears: it may end at once.
TEST(chan_runtimes, one_that_ends_as_it_is_woken_is_not_touched_any_more) {
  for_each_procs([](int procs) {
    for (int round = 0; round < test::scaled(60); ++round) {
      const chan<int> c(round % 2), never;
      std::thread outside([&] {
        switch (round % 3) {
          case 0: c.send(1); break;
          case 1: select(send(c, 1), recv(never)); break;
          case 2: c.close(); break;
        }
      });
      options o = with(procs);
      const int got = weft::run(o, [&] {
        std::optional<int> v;
        if (round % 4 < 2) {
          v = c.recv();
        } else {
          select(recv(c, v), recv(never, v));
        }
        return v.value_or(2);
      });
      EXPECT_EQ(got, round % 3 == 2 ? 2 : 1);
      outside.join();
    }
  });
}

// ---- cancellation: main has returned

// `body` on main, which may leave goroutines behind; what they use is in a State that lives longer. `after` when run() has
// returned, and nothing else is left then.
template <class State, class Body, class After>
void when_main_has_returned(Body body, After after) {
  for_each_procs([&](int procs) {
    for (int round = 0; round < 3; ++round) {
      State s;
      options o = with(procs);
      o.shutdown_timeout = 1h;  // the watchdog is to end a hang: patience would, with status 0
      weft::run(o, [&] { body(s); });
      after(s);
    }
  });
}

struct waiting {
  chan<int> unbuffered, full{1}, empty{1}, never;
  chan<> signal;
  std::vector<std::unique_ptr<test::watched>> each;
  std::atomic<int> unwound{0}, went_on{0};

  template <class F>
  void waits(F f) {
    test::watched* at = each.emplace_back(std::make_unique<test::watched>()).get();
    go([this, at, f] {
      struct counts {
        std::atomic<int>& n;
        ~counts() { ++n; }
      } end{unwound};
      at->here();
      try {
        f();
        ++went_on;
      } catch (const std::exception&) {
        ++went_on;  // cancelled is none
      }
    });
    test::yield_until([at] { return at->waits(); });
  }
};

TEST(chan_cancel, every_wait_is_left_by_unwinding) {
  when_main_has_returned<waiting>(
      [](waiting& s) {
        s.full.send(7);
        s.waits([&s] { s.never.recv(); });
        s.waits([&s] { s.full.send(8); });
        s.waits([&s] { s.empty.recv(); });
        s.waits([&s] {
          for (int v : s.empty) static_cast<void>(v);
        });
        s.waits([&s] { s.signal.recv(); });
        s.waits([] { chan<int>(nullptr).send(1); });
        s.waits([] { recv_chan<>(nullptr).recv(); });
        s.waits([] { select(); });
        s.waits([&s] { select(recv(s.never), send(s.full, 9), recv(s.empty), recv(s.never)); });
        s.waits([&s] { select(recv(s.unbuffered, [&](std::optional<int>) { ++s.went_on; })); });
        s.waits([] { select(recv(chan<int>(nullptr))); });
        s.waits([&s] {
          const std::vector<select_case> cases(100, recv(s.never));
          select(std::span(cases));
        });
      },
      [](waiting& s) {
        EXPECT_EQ(s.unwound.load(), 12);
        EXPECT_EQ(s.went_on.load(), 0);
        EXPECT_EQ(waiters(s.unbuffered) + waiters(s.full) + waiters(s.empty) + waiters(s.never) + waiters(s.signal),
                  0u);
        EXPECT_EQ(s.full.recv(), 7) << "what was in the buffer stays";
        EXPECT_EQ(s.full.size(), 0u) << "what was not sent is not there";
      });
}

TEST(chan_cancel, a_wait_in_a_select_leaves_destinations_and_values_alone) {
  struct state : waiting {
    std::optional<int> destination = 5;
    std::unique_ptr<int> value = std::make_unique<int>(6);
    chan<std::unique_ptr<int>> owners;
    std::atomic<int> moved{0};
  };
  when_main_has_returned<state>(
      [](state& s) {
        s.waits([&s] { select(recv(s.never, s.destination), send(s.owners, std::move(s.value))); });
        s.waits([&s] {
          auto mine = std::make_unique<int>(1);
          try {
            s.owners.send(std::move(mine));
          } catch (const cancelled&) {
            if (mine == nullptr) ++s.moved;
            throw;
          }
        });
      },
      [](state& s) {
        EXPECT_EQ(s.destination, 5);
        ASSERT_NE(s.value, nullptr);
        EXPECT_EQ(*s.value, 6);
        EXPECT_EQ(s.moved.load(), 0);
      });
}

// Who is cancelled and need not wait gets what it asks for; the next wait is left.
TEST(chan_cancel, what_need_not_wait_succeeds_all_the_same) {
  when_main_has_returned<waiting>(
      [](waiting& s) {
        s.full.send(7);
        s.waits([&s] {
          try {
            s.never.recv();
          } catch (const cancelled&) {
            std::optional<int> v;
            EXPECT_EQ(s.full.recv(), 7);
            s.full.send(8);
            EXPECT_EQ(select(recv(s.never, v), recv(s.full, v)), 1u);
            EXPECT_EQ(v, 8);
            EXPECT_EQ(s.full.try_send(9), chan_status::ok);
            EXPECT_EQ(try_select(recv(s.never)), std::nullopt);
            s.never.close();
            EXPECT_EQ(s.never.recv(), std::nullopt);
            s.signal.close();
          }
          // What has to wait is left again.
          int again = 0;
          for (int i = 0; i < 2; ++i) {
            try {
              if (i == 0) {
                s.empty.recv();
              } else {
                select(recv(s.empty), send(s.unbuffered, 1));
              }
            } catch (const cancelled&) {
              ++again;
            }
          }
          EXPECT_EQ(again, 2);
          for (int v : s.empty) static_cast<void>(v);
          ++s.went_on;
        });
        s.waits([&s] {
          const no_cancel uninterrupted;
          s.signal.recv();
          throw std::runtime_error("it is closed by the other one");
        });
      },
      [](waiting& s) {
        EXPECT_EQ(s.unwound.load(), 2);
        EXPECT_EQ(s.went_on.load(), 1) << "the one that was not to be cancelled";
        EXPECT_EQ(s.full.recv(), 9);
      });
}

// Either the value is handed over or the goroutine unwinds: what has gone into the channel has come out of it.
TEST(chan_cancel, and_a_value_at_once_are_one_or_the_other) {
  for_each_procs([](int procs) {
    for (int round = 0; round < 10; ++round) {
      const chan<int> in, out, never;
      std::atomic<int> received{0}, taken{0}, sent{0};
      std::atomic<bool> stop{false};
      runtime r(with(procs));
      for (int i = 0; i < 8; ++i) {
        r.go([&, i] {
          for (;;) {
            std::optional<int> v;
            switch (i % 4) {
              case 0: v = in.recv(); break;
              case 1: select(recv(never, v), recv(in, v), recv(never)); break;
              case 2: out.send(1); break;
              case 3: select(send(out, 1), recv(never)); break;
            }
            ++(i % 4 < 2 ? received : sent);
          }
        });
      }
      int given = 0;
      std::thread outside([&] {
        for (int v; !stop.load();) {
          if (in.try_send(1) == chan_status::ok) ++given;
          if (out.try_recv(v) == chan_status::ok) ++taken;
        }
      });
      test::spin_until([&] { return received.load() > 20 && taken.load() > 20; });
      r.shutdown();
      stop = true;
      outside.join();
      EXPECT_EQ(received.load(), given);
      EXPECT_EQ(sent.load(), taken.load());
      EXPECT_EQ(waiters(in) + waiters(out) + waiters(never), 0u);
    }
  });
}

// Plain threads are not cancelled: they wait on when the runtime has ended.
TEST(chan_cancel, is_nothing_to_plain_threads) {
  struct state {
    chan<int> c;
    std::optional<std::thread> thread;
    std::atomic<int> got{0};
  };
  for (const int procs : {1, 2}) {
    state s;
    weft::run(with(procs), [&] {
      s.thread.emplace([&] { s.got = *s.c.recv(); });
      blocking([&] { spin_until_waiting(s.c, 1); });
    });
    EXPECT_EQ(s.got.load(), 0);
    s.c.send(3);
    s.thread->join();
    EXPECT_EQ(s.got.load(), 3);
  }
}

// ---- the handle goes while somebody waits by reference

// Main's handles are the only ones, and go with main's frame. Nobody can ever meet those that wait; the cancellation that
// follows finds them in the queues of channels that must still be there for that.
TEST(chan_handle, may_go_while_goroutines_wait_by_reference) {
  using token = std::shared_ptr<int>;
  struct state : waiting {
    token plain = std::make_shared<int>(1), selected = std::make_shared<int>(2);
  };
  when_main_has_returned<state>(
      [](state& s) {
        const chan<int> receives, twice;
        const chan<std::string> sends;
        const chan<token> full(1), other(1);
        const chan<> signal;
        full.send(s.plain);
        other.send(s.selected);
        s.waits([&] { receives.recv(); });
        s.waits([&] { receives.recv(); });
        s.waits(
            [&] { sends.send("nobody ever hears this, and it is longer than what a string has room for in itself"); });
        s.waits([&, at = &s] { full.send(at->plain); });
        s.waits([&] { select(recv(receives), recv(signal), recv(twice), recv(twice)); });
        s.waits([&, at = &s] { select(send(sends, "nor this"), recv(receives), send(other, at->selected)); });
        s.waits([&] { signal.recv(); });
      },
      [](state& s) {
        EXPECT_EQ(s.unwound.load(), 7);
        EXPECT_EQ(s.went_on.load(), 0);
        // The last waiter takes the channel with it, and that what is in the buffer.
        EXPECT_EQ(s.plain.use_count(), 1);
        EXPECT_EQ(s.selected.use_count(), 1);
      });
}

// A select whose other channel's handle has gone can still be served by the one that is left.
TEST(chan_handle, may_go_while_a_select_waits_that_somebody_else_serves) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<int> stays;
    for (const bool closes : {false, true}) {
      wait_group all;
      std::optional<chan<int>> goes(std::in_place), in_both(std::in_place);
      const auto each = std::make_shared<test::watched>();
      std::optional<int> v = 5;
      all.go([&, each] {
        each->here();
        EXPECT_EQ(select(recv(*goes, v), recv(stays, v), recv(*in_both, v), send(*in_both, 1)), 1u);
      });
      test::yield_until([&] { return each->waits(); });
      goes.reset();
      in_both.reset();
      if (closes) {
        stays.close();
      } else {
        stays.send(1);
      }
      all.wait();
      EXPECT_EQ(v, closes ? std::nullopt : std::optional<int>(1));
    }
  });
}

// In an exploration they are a leak, and told as one; their records go with the run.
TEST(chan_handle, that_has_gone_from_under_a_waiter_is_a_leak_in_explorations) {
  const test::expecting_a_failed_run leaves_what_it_had;
  try {
    sim::explore({.runs = 20}, [] {
      const chan<int> c;
      const chan<std::string> d(1);
      d.send("in the buffer, and longer than what a string has room for in itself");
      go([&] { c.recv(); });
      go([&] { select(recv(c), send(d, "nor this"), recv(c)); });
      sim::settle();
    });
    ADD_FAILURE() << "not found";
  } catch (const sim::failure& f) {
    EXPECT_EQ(f.kind(), sim::failure_kind::leak) << f.report();
  }
}

TEST(chan_handle, may_go_while_a_goroutine_of_a_runtime_waits_that_is_shut_down_later) {
  for_each_procs([](int procs) {
    runtime r(with(procs));
    std::atomic<int> unwound{0};
    {
      const chan<int> c;
      r.go([&] {
        struct counts {
          std::atomic<int>& n;
          ~counts() { ++n; }
        } end{unwound};
        c.recv();
      });
      spin_until_waiting(c, 1);
    }
    r.shutdown();
    EXPECT_EQ(unwound.load(), 1);
  });
}

// ---- the channel is gone before the call that served its last user has returned

template <class Serve, class Use>
void gone_early(int capacity, Serve serve, Use use) {
  auto c = std::make_unique<chan<int>>(capacity);
  wait_group all;
  all.go([serve, at = c.get()] { serve(*at); });
  use(*c);
  c.reset();
  all.wait();
}

void every_way_of_going_early() {
  const auto receives = [](const chan<int>& c) { c.recv(); };
  const auto selects = [](const chan<int>& c) {
    const chan<int> never;
    select(recv(never), recv(c));
  };
  const auto tries = [](const chan<int>& c) {
    int v;
    test::yield_until([&] { return c.try_recv(v) != chan_status::would_block; });
  };
  const auto sends = [](const chan<int>& c) { c.send(1); };
  const auto selects_send = [](const chan<int>& c) {
    const chan<int> never;
    select(send(c, 1), recv(never), send(c, 2));
  };
  const auto closes = [](const chan<int>& c) { c.close(); };
  for (const int capacity : {0, 1}) {
    const auto each_use = [&](auto serve) {
      gone_early(capacity, serve, receives);
      gone_early(capacity, serve, selects);
      gone_early(capacity, serve, tries);
    };
    each_use(sends);
    each_use(selects_send);
    each_use(closes);
  }
  // The other way round a sender is served last.
  gone_early(0, receives, sends);
  gone_early(0, selects, sends);
  gone_early(0, receives, selects_send);
  gone_early(0, selects, selects_send);
}

// Nothing moves a goroutine to another thread but its own blocking calls (Promise 4): however contended the channel is, a
// call that does not wait comes back where it began.
TEST(chan_threads, are_kept_by_calls_that_do_not_wait) {
  test::for_each_case(
      [](const run_case&) {
        const chan<int> c(64);
        std::atomic<int> moved{0};
        wait_group all;
        for (int i = 0; i < 8; ++i) {
          all.go([&, sends = i % 2 == 0] {
            for (int k = 0; k < test::scaled(20'000); ++k) {
              const std::uint64_t before = test::thread_id();
              int v = 0;
              static_cast<void>(sends ? c.try_send(k) : c.try_recv(v));
              if (test::thread_id() != before) moved.fetch_add(1);
            }
          });
        }
        all.wait();
        EXPECT_EQ(moved.load(), 0);
      },
      several_ps);
}

TEST(chan_handle, may_go_as_soon_as_the_last_user_has_returned) {
  test::for_each_case(
      [](const run_case&) {
        for (int i = 0; i < test::scaled(300); ++i) every_way_of_going_early();
      },
      several_ps);
  sim::explore({.runs = test::scaled(300)}, [] { every_way_of_going_early(); });
}

}  // namespace
