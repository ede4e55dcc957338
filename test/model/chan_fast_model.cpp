// The inline fast paths of weft/detail/hchan.hpp, which take the channel's lock as a number, beside the compiled core, which
// has it as src/lock/mutex.hpp: the real lock, so less of the rest. What the core does alone is chan_model's.
#include <memory>

#include "model/waits.hpp"
#include "weft/chan.hpp"
#include "weft/error.hpp"

namespace {

using namespace weft::check;
using weft::chan_status;

MODEL(chan_fast_put_and_take,
      "both sides by way of the buffer, without the core: what was put is taken, and all before it") {
  weft::chan<int> c(1);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    expect(c.try_send(7) == chan_status::ok, "there is room");
  });
  int v = 0;
  const bool took = c.try_recv(v) == chan_status::ok;
  expect(!took || (v == 7 && payload == 1), "the value, and what was done before");
  t.join();
  expect(took || c.try_recv(v) == chan_status::ok, "it is not lost");
}

MODEL(chan_fast_two_puts, "one place, two senders: one has it") {
  weft::chan<int> c(1);
  chan_status r[2];
  auto t = start([&] { r[1] = c.try_send(2); });
  r[0] = c.try_send(1);
  t.join();
  expect((r[0] == chan_status::ok) != (r[1] == chan_status::ok), "one of them");
  int v = 0;
  expect(c.try_recv(v) == chan_status::ok && v == (r[0] == chan_status::ok ? 1 : 2), "its value");
  expect(c.try_recv(v) == chan_status::would_block, "and no other");
}

MODEL(chan_fast_two_takes, "one value, two receivers: one has it") {
  weft::chan<int> c(2);
  c.send(7);
  int v[2] = {};
  chan_status r[2];
  auto t = start([&] { r[1] = c.try_recv(v[1]); });
  r[0] = c.try_recv(v[0]);
  t.join();
  expect((r[0] == chan_status::ok) != (r[1] == chan_status::ok), "one of them");
  expect(v[0] + v[1] == 7, "once");
}

MODEL(chan_fast_put_against_waiting_receiver, "a value does not go into the buffer past a receiver that waits",
      .spurious = 1) {
  weft::chan<int> c(1);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    c.send(7);
  });
  expect(c.recv() == 7, "the value");
  expect(payload == 1, "what was done before is seen");
  t.join();
}

MODEL(chan_fast_take_against_waiting_sender, "a value is not taken past a sender that waits for its place") {
  weft::chan<int> c(1);
  c.send(1);
  auto t = start([&] { c.send(2); });
  expect(c.recv() == 1, "the first");
  t.join();  // it goes on when there is room, before its value is received
  expect(c.recv() == 2, "the second");
}

MODEL(chan_fast_put_against_close, "nothing is put into a closed channel; what was put before is received") {
  weft::chan<int> c(1);
  bool thrown = false;
  auto t = start([&] {
    try {
      c.send(7);
    } catch (const weft::send_on_closed_channel&) {
      thrown = true;
    }
  });
  c.close();
  t.join();
  expect(c.recv().has_value() != thrown, "one of the two");
  expect(!c.recv(), "closed for good");
  expect(c.try_send(8) == chan_status::closed, "although there is room");
}

MODEL(chan_fast_closed_and_drained, "what was put before the close is received before `closed`") {
  weft::chan<int> c(1);
  auto t = start([&] {
    c.send(7);
    c.close();
  });
  expect(c.recv() == 7, "the value");
  expect(!c.recv(), "then nothing");
  t.join();
}

MODEL(chan_fast_drained_by_another,
      "a value is taken by the fast path and the channel closed before: never empty and open") {
  weft::chan<int> c(1);
  c.send(7);
  auto t = start([&] {
    c.close();
    int v = 0;
    static_cast<void>(c.try_recv(v));
  });
  int v = 0;
  expect(c.try_recv(v) != chan_status::would_block, "it had a value, or it was closed");
  t.join();
}

MODEL(chan_fast_freed_by_its_receiver,
      "the receiver frees the channel when it has the value that a fast path put there") {
  auto* c = new weft::chan<int>(1);
  auto t = start([&] { c->send(7); });
  expect(c->recv() == 7, "the value");
  delete c;
  t.join();
}

}  // namespace
