// Channels through their public face, on plain threads: their proxies park and are readied as goroutines are. The channel's
// lock is one step here, so nothing may go by the inline fast paths, which take it as a number: unbuffered channels have
// none, and a parcel is too large for them. chan_fast_model has the fast paths, with the real lock.
#include "weft/chan.hpp"

#include "model/channels.hpp"
#include "model/fabric.hpp"
#include "sched/park.hpp"
#include "weft/error.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;
using weft::chan_status;

// What a receiver got; 0: the channel was closed.
int received(const std::optional<parcel>& p) { return p ? p->value : 0; }
int received(const std::optional<int>& v) { return v.value_or(0); }

// ---- hand-over

MODEL(chan_hand_over, "without a buffer a send and a receive meet: each sees what the other did before",
      .spurious = 1) {
  weft::chan<int> c;
  int before_send = 0;
  int before_recv = 0;
  auto sender = [&] {
    before_send = 1;
    c.send(7);
    expect(before_recv == 1, "the receive happens before the send returns");
  };
  auto t = start(sender);
  before_recv = 1;
  expect(c.recv() == 7, "the value");
  expect(before_send == 1, "the send happens before the receive returns");
  t.join();
}

MODEL(chan_two_senders, "each of two values comes once") {
  weft::chan<int> c;
  auto a = start([&] { c.send(1); });
  auto b = start([&] { c.send(2); });
  const int first = received(c.recv());
  const int second = received(c.recv());
  expect(first + second == 3 && first != second && first != 0 && second != 0, "one of each");
  a.join();
  b.join();
}

MODEL(chan_two_receivers, "two receivers, two values: each has one") {
  weft::chan<int> c;
  int got[2] = {};
  auto a = start([&] { got[0] = received(c.recv()); });
  auto b = start([&] { got[1] = received(c.recv()); });
  c.send(1);
  c.send(2);
  a.join();
  b.join();
  expect(got[0] + got[1] == 3 && got[0] != 0 && got[1] != 0, "one each");
}

MODEL(chan_senders_first_come_first_served, "who came while another sender waited is served after it") {
  weft::chan<int> c;
  auto first = start([&] { c.send(1); });
  auto second = start([&] { c.send(sender_waits(c) ? 2 : 3); });
  const int v = received(c.recv());
  expect(v != 2, "not before the first");
  expect(received(c.recv()) != v, "each once");
  first.join();
  second.join();
}

MODEL(chan_receivers_first_come_first_served, "the same of receivers") {
  weft::chan<int> c;
  int first = 0;
  int second = 0;
  bool waited = false;
  auto a = start([&] { first = received(c.recv()); });
  auto b = start([&] {
    waited = receiver_waits(c);
    second = received(c.recv());
  });
  c.send(1);
  c.send(2);
  a.join();
  b.join();
  expect(!waited || (first == 1 && second == 2), "in the order in which they came");
}

MODEL(chan_buffer_of_one, "three values through a buffer of one, in their order, whoever waits meanwhile") {
  weft::chan<parcel> c(1);
  int payload[3] = {};
  auto t = start([&] {
    for (int i = 0; i < 3; ++i) {
      payload[i] = 1;
      c.send({i + 1});
    }
  });
  for (int i = 0; i < 3; ++i) {
    expect(received(c.recv()) == i + 1, "in their order");
    expect(payload[i] == 1, "what was done before the send is seen");
  }
  t.join();
  expect(c.size() == 0, "the buffer is empty");
}

MODEL(chan_buffer_of_two, "two senders and a buffer of two: the third value waits, none is lost") {
  weft::chan<parcel> c(2);
  auto a = start([&] {
    c.send({1});
    c.send({2});
  });
  auto b = start([&] { c.send({3}); });
  int last = 0;
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    const int v = received(c.recv());
    if (v != 3) {
      expect(v == last + 1, "a sender's values in its order");
      last = v;
    }
    sum += v;
  }
  expect(sum == 6, "each once");
  a.join();
  b.join();
}

MODEL(chan_room_lets_a_sender_go, "a sender that waits for room goes on when there is, before its value is received") {
  weft::chan<parcel> c(1);
  c.send({1});
  auto t = start([&] { c.send({2}); });
  expect(received(c.recv()) == 1, "the first");
  t.join();
  expect(received(c.recv()) == 2, "the second");
}

MODEL(chan_send_returns_when_there_was_room,
      "the k-th receive happens before send k + C returns: a buffer of one is a lock") {
  weft::chan<parcel> c(1);
  int inside = 0;
  auto work = [&] {
    c.send({1});
    ++inside;
    static_cast<void>(c.recv());
  };
  auto t = start(work);
  work();
  t.join();
  expect(inside == 2, "one at a time");
}

// ---- close

MODEL(chan_close_wakes_receivers, "a close lets all receivers go, with nothing, and they see what was done before it") {
  weft::chan<int> c;
  int payload = 0;
  auto receiver = [&] {
    expect(!c.recv(), "nothing was sent");
    expect(payload == 1, "the close happens before");
  };
  auto a = start(receiver);
  auto b = start(receiver);
  payload = 1;
  c.close();
  a.join();
  b.join();
}

MODEL(chan_close_wakes_senders, "a close lets all senders go: they throw") {
  weft::chan<int> c;
  int thrown[2] = {};
  auto sender = [&](int i) {
    try {
      c.send(1);
    } catch (const weft::send_on_closed_channel&) {
      thrown[i] = 1;
    }
  };
  auto a = start([&] { sender(0); });
  auto b = start([&] { sender(1); });
  c.close();
  a.join();
  b.join();
  expect(thrown[0] + thrown[1] == 2, "nobody received");
}

MODEL(chan_close_against_hand_over, "a sender, a receiver and a close: the value is received, or the send throws") {
  weft::chan<int> c;
  bool thrown = false;
  auto sender = start([&] {
    try {
      c.send(7);
    } catch (const weft::send_on_closed_channel&) {
      thrown = true;
    }
  });
  auto closer = start([&] { c.close(); });
  const std::optional<int> v = c.recv();
  sender.join();
  closer.join();
  expect(v.has_value() != thrown, "one of the two");
}

MODEL(chan_closed_when_drained, "what is in the buffer when it is closed is received; then nothing is") {
  weft::chan<parcel> c(1);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    c.send({7});
    c.close();
  });
  expect(received(c.recv()) == 7, "the value");
  expect(payload == 1, "what was done before is seen");
  expect(!c.recv(), "then it is closed");
  t.join();
}

MODEL(chan_twice_closed, "of two closes one throws") {
  weft::chan<int> c;
  int thrown[2] = {};
  auto close = [&](int i) {
    try {
      c.close();
    } catch (const weft::close_of_closed_channel&) {
      thrown[i] = 1;
    }
  };
  auto t = start([&] { close(1); });
  close(0);
  t.join();
  expect(thrown[0] + thrown[1] == 1, "exactly one");
}

// ---- looks without the lock

MODEL(chan_try_recv_is_not_told_closed_too_early, "a try_recv is not told `closed` while a value is there") {
  weft::chan<parcel> c(1);
  auto t = start([&] {
    c.send({7});
    c.close();
  });
  std::optional<parcel> v;
  const chan_status r = c.try_recv(v);
  expect(r != chan_status::closed, "the value comes first");
  if (r == chan_status::would_block) v = c.recv();
  expect(received(v) == 7, "the value");
  t.join();
}

MODEL(chan_try_recv_does_not_miss_both,
      "a channel with a value is drained and closed by another: it was never empty and open") {
  weft::chan<parcel> c(1);
  c.send({7});
  bool taken = false;
  auto t = start([&] {
    c.close();
    taken = c.recv().has_value();
  });
  std::optional<parcel> v;
  const chan_status r = c.try_recv(v);
  expect(r != chan_status::would_block, "it had a value, or it was closed");
  t.join();
  expect((r == chan_status::ok) != taken, "one of the two has it");
}

MODEL(chan_try_recv_sees_a_sender_or_the_close, "the same of a sender that waits, and a close that sends it away") {
  weft::chan<int> c;
  int sent = 7;
  const parked_in sender(c, true, &sent);
  auto closer = start([&] { c.close(); });
  int v = 0;
  const chan_status r = c.try_recv(v);
  closer.join();
  expect(r != chan_status::would_block, "there was a sender, or it was closed");
  expect(sender.how() == (r == chan_status::ok ? wait_result::handed : wait_result::closed), "received, or sent away");
  expect(v == (r == chan_status::ok ? 7 : 0), "its value, or nothing");
}

MODEL(chan_try_send_sees_a_receiver_or_the_close, "a receiver waits, and a close sends it away: never full and open") {
  weft::chan<int> c;
  int got = 0;
  const parked_in receiver(c, false, &got);
  auto closer = start([&] { c.close(); });
  const chan_status r = c.try_send(7);
  closer.join();
  expect(r != chan_status::would_block, "there was a receiver, or it was closed");
  expect(receiver.how() == (r == chan_status::ok ? wait_result::handed : wait_result::closed),
         "it has it, or was sent away");
  expect(got == (r == chan_status::ok ? 7 : 0), "the value, or nothing");
}

MODEL(chan_try_recv_beside_a_refill,
      "a receiver takes the only value in the buffer, and a waiting sender's takes its place: it was never empty") {
  weft::chan<parcel> c(1);
  c.send({1});
  parcel second{2};
  const parked_in sender(c, true, &second);
  int got = 0;
  auto t = start([&] { got = received(c.recv()); });
  std::optional<parcel> v;
  const chan_status r = c.try_recv(v);
  t.join();
  expect(r == chan_status::ok, "there was a value at any time");
  expect(got + received(v) == 3 && sender.how() == wait_result::handed, "each has one");
}

MODEL(chan_two_tries_for_one_sender, "two try_recvs and one sender that waits: one of them has its value") {
  weft::chan<int> c;
  int sent = 7;
  const parked_in sender(c, true, &sent);
  int v[2] = {};
  chan_status r[2];
  auto t = start([&] { r[1] = c.try_recv(v[1]); });
  r[0] = c.try_recv(v[0]);
  t.join();
  expect(r[0] != r[1] && v[0] + v[1] == 7, "one of them");
  expect(sender.how() == wait_result::handed, "received");
}

MODEL(chan_try_send_against_recv, "a try_send meets the receiver or blocks; what it has sent is received") {
  weft::chan<int> c;
  auto t = start([&] {
    const bool sent = c.try_send(1) == chan_status::ok;
    if (!sent) c.send(2);
  });
  const int v = received(c.recv());
  t.join();
  expect(v == 1 || v == 2, "one value");
}

MODEL(chan_closed_is_seen, "who knows of the close finds it closed") {
  weft::chan<parcel> c(1);
  std::atomic<bool> told{false};
  auto t = start([&] {
    c.close();
    told.store(true, std::memory_order_release);
  });
  std::optional<parcel> v;
  const bool knows = told.load(std::memory_order_acquire);
  const chan_status r = c.try_recv(v);
  expect(r == chan_status::closed || !knows, "closed");
  if (knows) expect(c.try_send(parcel{1}) == chan_status::closed, "for senders too");
  t.join();
}

// ---- timeouts and cancellation

MODEL(chan_cancel_against_hand_over,
      "whoever waits first is cancelled, or meets its partner: a value that was withdrawn is not received, no other is "
      "lost") {
  weft::chan<int> c;
  const next_wait wait;
  bool took = false;
  int cancelled = 0;
  int sent = 1;
  auto canceller = start([&] { took = wait.take(wait_result::cancelled); });
  auto sender = start([&] {
    try {
      c.send(1);
    } catch (const weft::cancelled&) {
      ++cancelled;
      sent = 2;
      c.send(2);
    }
  });
  int got = 0;
  try {
    got = received(c.recv());
  } catch (const weft::cancelled&) {
    ++cancelled;
    got = received(c.recv());
  }
  canceller.join();
  sender.join();
  expect(cancelled == (took ? 1 : 0), "cancelled exactly when the canceller says so");
  expect(got == sent, "the value that was sent");
}

MODEL(chan_cancel_against_close, "a receiver is cancelled or finds the channel closed") {
  weft::chan<int> c;
  const next_wait wait;
  bool took = false;
  bool cancelled = false;
  auto canceller = start([&] { took = wait.take(wait_result::cancelled); });
  auto closer = start([&] { c.close(); });
  try {
    expect(!c.recv(), "closed");
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  canceller.join();
  closer.join();
  expect(took == cancelled, "cancelled exactly when the canceller says so");
}

MODEL(chan_spurious_take_tries_again, "who was taken off without a verdict tries again") {
  weft::chan<int> c;
  const next_wait wait;
  auto t = start([&] {
    wait.take(wait_result::woken);
    c.send(7);
  });
  expect(c.recv() == 7, "the value");
  t.join();
}

// ---- its memory

MODEL(chan_freed_by_its_receiver, "the receiver frees the channel when it has its value, while the send is still at it",
      .spurious = 1) {
  auto* c = new weft::chan<int>;
  auto t = start([&] { c->send(7); });
  expect(c->recv() == 7, "the value");
  delete c;
  t.join();
}

MODEL(chan_freed_by_its_sender, "the sender frees it when its value is gone, while the receive is still at it") {
  auto* c = new weft::chan<int>;
  auto t = start([&] { expect(c->recv() == 7, "the value"); });
  c->send(7);
  delete c;
  t.join();
}

MODEL(chan_freed_by_who_saw_it_closed, "who sees the close, with no lock, frees it while the close is still at it") {
  auto* c = new weft::chan<int>;
  auto t = start([&] { c->close(); });
  expect(!c->recv(), "closed");
  delete c;
  t.join();
}

MODEL(chan_last_of_two_handles, "two handles: whoever drops the last frees what is in the buffer") {
  int payload = 0;
  weft::chan<box> c(1);
  c.send(box(&payload));
  auto t = start([mine = c]() mutable {
    const std::optional<box> b = mine.recv();
    ++*b->payload;
    mine.send(box(b->payload));
    mine = nullptr;
  });
  c = nullptr;
  t.join();
  expect(payload == 1, "received once");
}

// The handle goes, which was the last, if somebody waits; who waits is then cancelled. Else it is sent something.
void drop_under_waiter(weft::chan<int>* c, const next_wait& wait) {
  if (!receiver_waits(*c)) {
    c->send(7);
    return;
  }
  delete c;
  expect(wait.take(wait_result::cancelled), "the only way out");
}

MODEL(chan_orphaned, "the last handle goes while its receiver waits, which is then cancelled: it frees the channel") {
  auto* c = new weft::chan<int>;
  const next_wait wait;
  auto t = start([&] { drop_under_waiter(c, wait); });
  bool cancelled = false;
  try {
    expect(c->recv() == 7, "what was sent");
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  t.join();
  if (!cancelled) delete c;
}

MODEL(chan_orphaned_while_cancelled, "the last handle goes and its receiver is cancelled, at the same time") {
  auto* c = new weft::chan<int>;
  int got = 0;
  const parked_in receiver(*c, false, &got);
  auto t = start([&] { delete c; });
  expect(receiver.take(wait_result::cancelled), "nobody else takes it");
  t.join();
  expect(receiver.how() == wait_result::cancelled, "it says so");
  if (receiver.orphaned()) weft::detail::chan_drop(receiver.chan());
}

// ---- moves that throw

MODEL(chan_refill_throws, "what a sender's value throws on its way into the buffer is the sender's to see") {
  weft::chan<brittle> c(1);
  c.send(brittle(1));
  bool fragile = true;
  int thrown = 0;
  auto t = start([&] {
    // A move of it is the copy that throws; of what is const, send makes a copy before it waits.
    brittle second(2, &fragile);
    try {
      c.send(std::move(second));
    } catch (const brittle::broken&) {
      ++thrown;
      c.send(std::move(second));
    }
  });
  expect(c.recv()->value() == 1, "the first; it throws nothing here");
  expect(c.recv()->value() == 2, "the second, which came whole at last");
  t.join();
  expect(thrown <= 1 && !fragile, "it broke once");
}

MODEL(chan_hand_over_throws, "a move that throws leaves the waiting receiver where it is, and the sender tries again") {
  weft::chan<brittle> c;
  bool fragile = true;
  int got = 0;
  auto t = start([&] {
    try {
      got = c.recv()->value();
    } catch (const brittle::broken&) {
      got = c.recv()->value();
    }
  });
  brittle v(7, &fragile);
  try {
    c.send(std::move(v));
  } catch (const brittle::broken&) {
    c.send(std::move(v));
  }
  t.join();
  expect(got == 7 && !fragile, "it broke once, and came whole");
}

}  // namespace
