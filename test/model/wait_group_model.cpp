// The wait group, and the latch, which is the same word, through their public faces, on plain threads.
#include "weft/wait_group.hpp"

#include "model/waits.hpp"
#include "weft/error.hpp"
#include "weft/latch.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

MODEL(wait_group_two_workers, "wait returns when both are done, and sees what they did", .spurious = 1) {
  auto* wg = new weft::wait_group;
  int payload[2] = {};
  wg->add(2);
  auto first = [&] {
    payload[0] = 1;
    wg->done();
  };
  auto second = [&] {
    payload[1] = 1;
    wg->done();
  };
  auto a = start(first);
  auto b = start(second);
  wg->wait();
  expect(payload[0] == 1 && payload[1] == 1, "what was done is seen");
  delete wg;  // done may still be under way
  a.join();
  b.join();
}

MODEL(wait_group_two_waiters, "one done lets two waiters go; the last to return frees the group") {
  auto* wg = new weft::wait_group;
  int payload = 0;
  std::atomic<int> users{2};
  wg->add(1);
  auto worker = [&] {
    payload = 1;
    wg->done();
  };
  auto wait = [&] {
    wg->wait();
    expect(payload == 1, "what was done is seen");
    if (users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete wg;
  };
  auto a = start(worker);
  auto b = start(wait);
  wait();
  a.join();
  b.join();
}

MODEL(wait_group_second_round, "a group is used again when its wait has returned") {
  weft::wait_group wg;
  int payload = 0;
  for (int round = 1; round <= 2; ++round) {
    wg.add(1);
    auto worker = [&] {
      payload = round;
      wg.done();
    };
    auto t = start(worker);
    wg.wait();
    expect(payload == round, "what was done is seen");
    t.join();
  }
}

MODEL(wait_group_timeout_against_done,
      "the waiter that a timeout took may free the group before done has looked for it") {
  auto* wg = new weft::wait_group;
  rt::g* proxy = rt::proxy_get();
  rt::proxy_put(proxy);
  const std::uint32_t seq = proxy->wait_seq + 1;
  int payload = 0;
  bool took = false;
  wg->add(1);
  auto timeout = [&] { took = rt::take_waiter(nullptr, proxy, 0, seq, rt::wait_result::timed_out); };
  auto worker = [&] {
    payload = 1;
    wg->done();
  };
  auto a = start(timeout);
  auto b = start(worker);
  wg->wait();
  a.join();
  if (took) wg->wait();  // again, and without a timeout
  expect(payload == 1, "what was done is seen");
  delete wg;
  b.join();
}

// ---- latch

MODEL(latch_two_count_down, "wait returns when both have counted, and sees what they did; then the latch may go",
      .spurious = 1) {
  auto* l = new weft::latch(2);
  int payload[2] = {};
  auto count = [&](int i) {
    payload[i] = 1;
    l->count_down();
  };
  auto a = start([&] { count(0); });
  auto b = start([&] { count(1); });
  l->wait();
  expect(payload[0] == 1 && payload[1] == 1, "what was done is seen");
  delete l;  // count_down may still be under way
  a.join();
  b.join();
}

MODEL(latch_arrive_and_wait, "all who arrive go on together") {
  weft::latch l(2);
  int payload[2] = {};
  auto arrive = [&](int i) {
    payload[i] = 1;
    l.arrive_and_wait();
    expect(payload[0] == 1 && payload[1] == 1 && l.try_wait(), "what was done is seen");
  };
  auto t = start([&] { arrive(1); });
  arrive(0);
  t.join();
}

MODEL(latch_cancel_against_count_down, "a wait is cancelled or the latch opens; who was cancelled may free it") {
  auto* l = new weft::latch(1);
  const next_wait wait;
  bool took = false;
  bool cancelled = false;
  auto canceller = start([&] { took = wait.take(rt::wait_result::cancelled); });
  auto counter = start([&] { l->count_down(); });
  try {
    l->wait();
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  canceller.join();
  expect(took == cancelled, "cancelled exactly when the canceller says so");
  if (cancelled) l->wait();
  delete l;
  counter.join();
}

}  // namespace
