// The barrier through its public face, on plain threads.
#include "weft/barrier.hpp"

#include "model/waits.hpp"
#include "weft/error.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;

MODEL(barrier_rounds, "in each round all see what all did before it, and so does the completion, which comes once",
      .spurious = 1) {
  int done[2] = {};
  int rounds = 0;
  auto completion = [&]() noexcept {
    ++rounds;
    expect(done[0] == rounds && done[1] == rounds, "all have arrived");
  };
  weft::barrier b(2, completion);
  auto work = [&](int i) {
    for (int round = 1; round <= 2; ++round) {
      ++done[i];
      b.arrive_and_wait();
      expect(rounds == round, "the completion has been");
    }
  };
  auto t = start([&] { work(1); });
  work(0);
  t.join();
  expect(rounds == 2, "two rounds");
}

MODEL(barrier_of_three, "three arrive; whoever is the last lets two go") {
  int done[3] = {};
  weft::barrier b(3);
  auto work = [&](int i) {
    done[i] = 1;
    b.arrive_and_wait();
    expect(done[0] + done[1] + done[2] == 3, "all have arrived");
  };
  auto a = start([&] { work(1); });
  auto c = start([&] { work(2); });
  work(0);
  a.join();
  c.join();
}

MODEL(barrier_dropped, "one arrives and drops out: the next round is the other's alone") {
  weft::barrier b(2);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    b.arrive_and_drop();
  });
  b.arrive_and_wait();
  expect(payload == 1, "the round was of both");
  b.arrive_and_wait();
  t.join();
}

MODEL(barrier_late_wait, "who waits for a round that is over does not wait, whatever the next round is at") {
  weft::barrier b(2);
  auto mine = b.arrive();
  auto t = start([&] {
    static_cast<void>(b.arrive());
    static_cast<void>(b.arrive());
  });
  b.wait(std::move(mine));
  t.join();
}

MODEL(barrier_destroyed_by_who_waited,
      "who sees the round over frees the barrier, while the last to arrive is still at it", .spurious = 1) {
  auto* b = new weft::barrier(2);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    static_cast<void>(b->arrive());
  });
  b->arrive_and_wait();
  expect(payload == 1, "it has arrived");
  delete b;
  t.join();
}

MODEL(barrier_cancel_against_the_end, "a wait is cancelled, or its round is over; its arrival counts either way") {
  weft::barrier b(2);
  const next_wait wait;
  bool took = false;
  bool cancelled = false;
  auto canceller = start([&] { took = wait.take(wait_result::cancelled); });
  auto other = start([&] { static_cast<void>(b.arrive()); });
  auto mine = b.arrive();
  try {
    b.wait(std::move(mine));
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  canceller.join();
  other.join();
  expect(took == cancelled, "cancelled exactly when the canceller says so");
  auto next = b.arrive();
  static_cast<void>(b.arrive());
  b.wait(std::move(next));
}

}  // namespace
