// channels: producers, consumers and plain threads around a few channels of all kinds, while the number of Ps changes.
//
// Each producer numbers its values; they go by plain sends, by selects among all channels, by try_send, some through a relay.
// What must hold: each value that was sent is received once, the values of one producer come out of one channel in their order
// (each producer keeps to one channel for as long as it wants order kept), a channel is closed when its last producer has ended,
// and who then still receives is told so. In a quarter of the rounds main returns in the middle of it: nothing may be left, and of
// a value that was on its way there is one or none.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "support/leaks.hpp"
#include "support/stress.hpp"

using namespace weft;

namespace {

constexpr int channels = 4;
constexpr int producers = 6;
constexpr int consumers = 4;
constexpr int values = test::scaled(400, 10);

std::atomic<std::uint64_t> received{0}, changes{0}, cancelled_rounds{0};

// Owns memory, so that one that is lost or there twice is a leak or a use after free.
struct value {
  int producer, channel, number;
  std::unique_ptr<int> check;

  value(int p, int c, int n) : producer(p), channel(c), number(n), check(std::make_unique<int>(n)) {}
};

struct market {
  explicit market(test::random_source& r) {
    for (chan<value>& c : all) c = chan<value>(static_cast<std::ptrdiff_t>(r.below(3) == 0 ? 0 : r.below(20)));
    for (auto& of_channel : seen) {
      for (auto& of_producer : of_channel) of_producer.store(-1);
    }
  }

  std::array<chan<value>, channels> all;
  chan<> end;  // closed when all have produced
  std::array<std::atomic<int>, producers> sent{}, got{};
  // The highest number of each producer that came out of each channel; with one consumer at a time it only grows.
  std::array<std::array<std::atomic<int>, producers>, channels> seen{};
};

void take(market& m, const value& v, bool alone) {
  test::expect(v.check && *v.check == v.number, "a value is not what was sent");
  m.got[static_cast<std::size_t>(v.producer)].fetch_add(1);
  received.fetch_add(1, std::memory_order_relaxed);
  auto& highest = m.seen[static_cast<std::size_t>(v.channel)][static_cast<std::size_t>(v.producer)];
  if (alone) {
    test::expect(highest.load() < v.number, "values of one producer came out of one channel out of order");
    highest.store(v.number);
  }
}

// A producer's channel is its own choice for so many values at a time.
void produce(market& m, int me, std::uint64_t seed) {
  test::random_source r(seed);
  for (int n = 0; n < values; ++n) {
    const auto c = static_cast<std::size_t>(r.below(channels));
    const chan<value>& ch = m.all[c];
    value v(me, static_cast<int>(c), n);
    switch (r.below(this_goroutine::id() != 0 ? 4 : 3)) {  // a plain thread starts no goroutine
      case 0: ch.send(std::move(v)); break;
      case 1:
        while (ch.try_send(std::move(v)) != chan_status::ok) {
          test::expect(v.check != nullptr, "a value that was not sent has been moved away");
          if (this_goroutine::cancelled()) return;
          yield();
        }
        break;
      case 2: {
        const auto d = (c + 1) % channels;
        value w(me, static_cast<int>(d), n);
        const std::size_t i = select(send(ch, std::move(v)), send(m.all[d], std::move(w)));
        test::expect((v.check == nullptr) == (i == 0) && (w.check == nullptr) == (i == 1),
                     "the case that did not happen has taken its value");
        break;
      }
      case 3: {
        chan<value> relay(static_cast<std::ptrdiff_t>(r.below(2)));
        go([relay, v = std::move(v)]() mutable {
          relay.send(std::move(v));
          relay.close();
        });
        for (value& passed : relay) ch.send(std::move(passed));
        break;
      }
    }
    m.sent[static_cast<std::size_t>(me)].fetch_add(1);
    if (r.one_in(8)) yield();
  }
}

// `mine`: the channel that it receives from alone, or -1: from all of them, until `end`.
void consume(market& m, int mine, std::uint64_t seed) {
  test::random_source r(seed);
  if (mine >= 0) {
    for (const value& v : m.all[static_cast<std::size_t>(mine)]) {
      take(m, v, true);
      if (r.one_in(16)) yield();
    }
    return;
  }
  std::array<chan<value>, channels> open = m.all;
  for (int left = channels; left != 0;) {
    std::optional<value> v;
    const std::size_t i = select(recv(open[0], v), recv(open[1], v), recv(open[2], v), recv(open[3], v));
    if (v) {
      take(m, *v, false);
    } else {
      open[i] = nullptr;
      --left;
    }
  }
}

void change_procs(test::random_source r, const market& m) {
  for (;;) {
    const std::optional<std::size_t> i = try_select(recv(m.end));
    if (i || this_goroutine::cancelled()) return;  // it only yields: nothing of it would unwind it
    static_cast<void>(gomaxprocs(1 + static_cast<int>(r.below(4))));
    changes.fetch_add(1, std::memory_order_relaxed);
    for (std::uint32_t k = r.below(200); k != 0; --k) yield();
  }
}

void round(test::stress& s) {
  test::random_source& r = s.random();
  auto m = std::make_shared<market>(r);
  const bool alone = r.one_in(2);
  const bool leaves = r.one_in(4);
  std::vector<std::thread> threads;
  s.run(
      s.any_options(),
      [&] {
        auto working = std::make_shared<wait_group>();
        auto consuming = std::make_shared<wait_group>();
        for (int i = 0; i < producers; ++i) {
          working->add(1);
          auto body = [m, working, i, seed = r.next_seed()] {
            produce(*m, i, seed);
            working->done();
          };
          // Plain threads are not cancelled: in a round that main leaves there are none.
          if (!leaves && r.one_in(4)) {
            threads.emplace_back(body);
          } else {
            go(body);
          }
        }
        for (int i = 0; i < consumers; ++i) {
          consuming->add(1);
          go([m, consuming, mine = alone ? i : -1, seed = r.next_seed()] {
            consume(*m, mine, seed);
            consuming->done();
          });
        }
        go([m, working] {
          working->wait();
          for (const chan<value>& c : m->all) c.close();
        });
        go([m, r = test::random_source(r.next_seed())] { change_procs(r, *m); });
        if (leaves) {
          for (std::uint32_t k = r.below(2000); k != 0; --k) yield();
          return;
        }
        consuming->wait();
        m->end.close();
      },
      [&] {
        for (std::thread& t : threads) t.join();
      });
  if (leaves) {
    cancelled_rounds.fetch_add(1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < producers; ++i) {
      // One may have been sent by a producer that was cancelled before it could count it.
      test::expect(m->got[i].load() <= m->sent[i].load() + 1, "more values of a producer came out than went in");
    }
    return;
  }
  for (std::size_t i = 0; i < producers; ++i) {
    test::expect(m->sent[i].load() == values && m->got[i].load() == values, "a value was lost, or came twice");
  }
}

}  // namespace

int main() {
  test::stress s("channels");
  while (s.more()) round(s);
  std::printf("channels: %llu rounds, %llu values received, %llu changes of the number of Ps, %llu rounds cancelled\n",
              static_cast<unsigned long long>(s.rounds()), static_cast<unsigned long long>(received.load()),
              static_cast<unsigned long long>(changes.load()),
              static_cast<unsigned long long>(cancelled_rounds.load()));
}
