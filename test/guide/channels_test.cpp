// The code of docs/guide/channels.md, each piece in a test of what the guide says about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/leaks.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

TEST(guide_channels, first) {
  std::string text;
  weft::run([&] {
    // snippet: first
    const weft::chan<std::string> messages;
    weft::go([messages] { messages.send("hello"); });
    const std::optional<std::string> got = messages.recv();
    // snippet: end
    text = got.value();
  });
  EXPECT_EQ(text, "hello");
}

TEST(guide_channels, range) {
  std::vector<int> squares;
  weft::run([&] {
    // snippet: range
    const weft::chan<int> numbers(8);
    weft::go([numbers] {
      for (int n = 1; n <= 5; ++n) numbers.send(n * n);
      numbers.close();
    });
    for (const int n : numbers) squares.push_back(n);
    // snippet: end
  });
  EXPECT_EQ(squares, (std::vector{1, 4, 9, 16, 25}));
}

// The table of operations and states, cell by cell, but for those that wait.
TEST(guide_channels, the_table) {
  weft::run([] {
    int value = 0;
    const weft::chan<int> nil = nullptr;
    EXPECT_EQ(nil.try_send(1), weft::chan_status::would_block);
    EXPECT_EQ(nil.try_recv(value), weft::chan_status::would_block);
    EXPECT_THROW(nil.close(), weft::close_of_nil_channel);
    EXPECT_EQ(nil.size(), 0u);
    EXPECT_EQ(nil.capacity(), 0u);

    const weft::chan<int> full(1);
    full.send(1);
    EXPECT_EQ(full.try_send(2), weft::chan_status::would_block);
    EXPECT_EQ(full.size(), 1u);
    full.close();
    EXPECT_THROW(full.send(2), weft::send_on_closed_channel);
    EXPECT_EQ(full.try_send(2), weft::chan_status::closed);
    EXPECT_EQ(full.recv(), 1) << "what is in the buffer comes after close, too";
    EXPECT_EQ(full.recv(), std::nullopt);
    EXPECT_EQ(full.try_recv(value), weft::chan_status::closed);
    EXPECT_THROW(full.close(), weft::close_of_closed_channel);

    const weft::chan<int> unbuffered;
    EXPECT_EQ(unbuffered.try_send(1), weft::chan_status::would_block) << "nobody receives";
    EXPECT_EQ(unbuffered.try_recv(value), weft::chan_status::would_block) << "nobody sends";
    EXPECT_EQ(value, 0) << "written only if something was received";
    EXPECT_THROW(weft::chan<int>(-1), weft::error);
  });
}

// What happens to a main goroutine that does only this, with nobody else there.
template <class F>
std::string alone(F body) {
  const weft::test::expecting_a_failed_run leaves_what_it_had;
  try {
    weft::sim::explore({.runs = 10}, body);
  } catch (const weft::sim::failure& f) {
    return std::string(weft::sim::to_text(f.kind())) + ": " + f.what();
  }
  return "goes on";
}

TEST(guide_channels, the_cells_of_the_table_that_wait) {
  using testing::HasSubstr;
  using testing::StartsWith;
  const auto waits = [](const char* reason) { return testing::AllOf(StartsWith("deadlock: "), HasSubstr(reason)); };
  EXPECT_THAT(alone([] { weft::chan<int>(nullptr).send(1); }), waits("[chan send (nil chan)"));
  EXPECT_THAT(alone([] { weft::chan<int>(nullptr).recv(); }), waits("[chan receive (nil chan)"));
  EXPECT_THAT(alone([] { weft::chan<int>().send(1); }), waits("[chan send"));
  EXPECT_THAT(alone([] { weft::chan<int>().recv(); }), waits("[chan receive"));
  EXPECT_THAT(alone([] {
                const weft::chan<int> full(1);
                full.send(1);
                full.send(2);
              }),
              waits("[chan send"));
  EXPECT_THAT(alone([] {
                weft::chan<int> moved;
                const weft::chan<int> taken = std::move(moved);
                taken.close();
                moved.recv();
              }),
              waits("[chan receive (nil chan)"));
  EXPECT_THAT(alone([] { weft::select(); }), waits("[select (no cases)"));
  EXPECT_THAT(alone([] {
                const weft::chan<int> nil = nullptr, empty;
                weft::select(weft::recv(nil), weft::send(nil, 1), weft::recv(empty));
              }),
              waits("[select"));
  EXPECT_EQ(alone([] {
              const weft::chan<int> nil = nullptr, closed;
              closed.close();
              weft::select(weft::recv(nil), weft::recv(closed));
            }),
            "goes on");
}

TEST(guide_channels, who_waits_for_ever_beside_others_is_a_leak) {
  EXPECT_THAT(alone([] { weft::go([] { weft::chan<int>().recv(); }); }), testing::StartsWith("leak: "));
}

TEST(guide_channels, select_of_two) {
  weft::run([] {
    const weft::chan<int> a(1);
    const weft::chan<std::string> b(1);
    a.send(1);
    // snippet: select
    std::optional<int> number;
    const std::string word = "x";
    switch (weft::select(weft::recv(a, number), weft::send(b, word))) {
      case 0: break;  // number has what came from a, or nothing: a is closed
      case 1: break;  // word was sent to b
    }
    // snippet: end
    EXPECT_NE(number.has_value(), b.size() == 1) << "one of them has happened, and not both";
  });
}

TEST(guide_channels, handlers) {
  int sum = 0, sent = 0;
  weft::run([&] {
    const weft::chan<int> in(1);
    const weft::chan<int> out(1);
    for (int i = 0; i < 10; ++i) {
      if (in.size() == 0) in.send(i);
      // snippet: handlers
      const auto add = [&](std::optional<int> n) { sum += n.value_or(0); };
      weft::select(weft::recv(in, add), weft::send(out, 1, [&] { ++sent; }));
      // snippet: end
      weft::select(weft::recv(in), weft::recv(out), weft::send(in, 0), weft::send(out, 0));
    }
  });
  EXPECT_GT(sum + sent, 0);
}

// snippet: done
int work_until(const weft::recv_chan<int>& jobs, const weft::recv_chan<>& done) {
  int worked = 0;
  for (;;) {
    std::optional<int> job;
    if (weft::select(weft::recv(jobs, job), weft::recv(done)) == 1) return worked;
    if (!job) return worked;
    ++worked;
  }
}
// snippet: end

TEST(guide_channels, done_reaches_everybody) {
  std::array<int, 3> worked{};
  weft::run([&] {
    const weft::chan<int> jobs;
    const weft::chan<> done;
    weft::wait_group workers;
    for (int& mine : worked) workers.go([&mine, jobs, done] { mine = work_until(jobs, done); });
    for (int i = 0; i < 30; ++i) jobs.send(i);
    done.close();
    workers.wait();
  });
  EXPECT_EQ(worked[0] + worked[1] + worked[2], 30);
}

TEST(guide_channels, a_full_queue_drops) {
  weft::run([] {
    // snippet: drop
    const weft::chan<std::string> log(2);
    int dropped = 0;
    for (std::string line : {"one", "two", "three"})
      if (log.try_send(std::move(line)) == weft::chan_status::would_block) ++dropped;
    // snippet: end
    EXPECT_EQ(dropped, 1);
    EXPECT_EQ(log.recv(), "one");
    EXPECT_EQ(log.recv(), "two");
  });
}

// snippet: server
// The map belongs to one goroutine, so nobody has to lock it. Whoever asks sends along where the answer is to go.
struct question {
  std::size_t account;
  int change;
  weft::send_chan<int> balance;
};

void serve(const weft::recv_chan<question>& questions) {
  std::array<int, 16> balances{};
  for (const question& q : questions) q.balance.send(balances.at(q.account) += q.change);
}

int ask(const weft::send_chan<question>& server, std::size_t account, int change) {
  const weft::chan<int> answer(1);  // with room, so that the server never waits for whom it serves
  server.send({account, change, answer});
  return answer.recv().value();
}
// snippet: end

TEST(guide_channels, server) {
  weft::run([] {
    const weft::chan<question> questions;
    weft::wait_group all;
    all.go([questions] { serve(questions); });
    weft::wait_group clients;
    for (int i = 0; i < 10; ++i) clients.go([questions] { ask(questions, 3, 5); });
    clients.wait();
    EXPECT_EQ(ask(questions, 3, 0), 50);
    EXPECT_EQ(ask(questions, 4, 0), 0);
    questions.close();
    all.wait();
  });
}

TEST(guide_channels, what_was_not_sent_is_untouched) {
  weft::run([] {
    // snippet: untouched
    const weft::chan<std::unique_ptr<int>> ch;
    auto p = std::make_unique<int>(7);
    if (ch.try_send(std::move(p)) != weft::chan_status::ok) *p = 8;  // nobody has taken it: it is still here
    // snippet: end
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(*p, 8);
    const weft::chan<std::unique_ptr<int>> free(1);
    EXPECT_EQ(weft::select(weft::send(ch, std::move(p)), weft::send(free, std::make_unique<int>(9))), 1u);
    EXPECT_NE(p, nullptr);
    free.close();
    EXPECT_THROW(free.send(std::move(p)), weft::send_on_closed_channel);
    EXPECT_NE(p, nullptr);
  });
}

struct noisy {
  int* alive;
  explicit noisy(int& count) : alive(&count) { ++*alive; }
  noisy(noisy&& other) noexcept : alive(other.alive) { ++*alive; }
  ~noisy() { --*alive; }
};

TEST(guide_channels, the_last_handle_frees_and_does_not_close) {
  int alive = 0;
  weft::run([&] {
    {
      const weft::chan<noisy> ch(4);
      ch.send(noisy(alive));
      ch.send(noisy(alive));
      weft::chan<noisy> moved = weft::chan<noisy>(ch);
      const weft::chan<noisy> taken = std::move(moved);
      EXPECT_EQ(moved, nullptr) << "a handle that was moved from is nil";
      EXPECT_EQ(taken, ch);
      EXPECT_EQ(alive, 2);
    }
    EXPECT_EQ(alive, 0) << "the buffer's values go with the channel";
  });
}

TEST(guide_channels, plain_thread) {
  // snippet: plain
  const weft::chan<int> numbers(4);
  std::thread producer([numbers] {
    for (int i = 1; i <= 100; ++i) numbers.send(i);  // blocks the thread while the buffer is full
    numbers.close();
  });
  const int sum = weft::run([numbers] {
    int all = 0;
    for (const int n : numbers) all += n;
    return all;
  });
  producer.join();
  // snippet: end
  EXPECT_EQ(sum, 5050);
}

TEST(guide_channels, cancelled_in_a_send) {
  bool unwound = false;
  const weft::chan<int> forever;
  weft::run([&] {
    const weft::chan<> begun(1);
    weft::go([&unwound, forever, begun] {
      struct at_end {
        bool& unwound;
        ~at_end() { unwound = true; }
      } const last{unwound};
      begun.send();
      forever.send(1);
    });
    begun.recv();
  });
  EXPECT_TRUE(unwound);
  int value;
  EXPECT_EQ(forever.try_recv(value), weft::chan_status::would_block) << "and nothing was sent";
}

// snippet: first_answer
// Asks all, takes what comes first, and does not care about the rest: their sends have room, so they end by themselves.
template <class F>
int first_of(const std::vector<F>& sources) {
  const weft::chan<int> answers(sources.size());
  for (const F& ask : sources) weft::go([answers, ask] { answers.send(ask()); });
  return answers.recv().value();
}
// snippet: end

TEST(guide_channels, first_answer) {
  weft::run([] {
    const std::vector<int (*)()> sources{[] { return 1; }, [] { return 2; }, [] { return 3; }};
    const int first = first_of(sources);
    EXPECT_GE(first, 1);
    EXPECT_LE(first, 3);
  });
}

}  // namespace
