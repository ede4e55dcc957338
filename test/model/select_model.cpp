// Select through its public face, on plain threads, with the channel's lock as one step (chan_model.cpp). A plain thread commits
// its park itself, so the commit beside a select that is over already is runtime_model's (select_again_2p).
#include "weft/select.hpp"

#include "model/channels.hpp"
#include "weft/error.hpp"
#include "weft/semaphore.hpp"
#include "weft/timer.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;
using weft::chan_status;

// ---- one of two

MODEL(select_one_of_two_senders,
      "two senders, one select: one has been received from, and the other's value is still there") {
  weft::chan<int> a, b;
  auto first = start([&] { a.send(1); });
  auto second = start([&] { b.send(2); });
  std::optional<int> v, w;
  const std::size_t i = weft::select(weft::recv(a, v), weft::recv(b, w));
  if (i == 0) {
    expect(v == 1 && !w, "from the first");
    w = b.recv();
  } else {
    expect(w == 2 && !v, "from the second");
    v = a.recv();
  }
  expect(v == 1 && w == 2, "each once");
  first.join();
  second.join();
}

MODEL(select_one_of_two_receivers, "two receivers, one select that sends: one has a value, the other waits on") {
  weft::chan<int> a, b;
  std::optional<int> got[2];
  auto first = start([&] { got[0] = a.recv(); });
  auto second = start([&] { got[1] = b.recv(); });
  const std::size_t i = weft::select(weft::send(a, 1), weft::send(b, 2));
  if (i == 0) {
    b.send(3);
  } else {
    a.send(3);
  }
  first.join();
  second.join();
  expect(got[i] == static_cast<int>(i) + 1 && got[1 - i] == 3, "each its value");
}

MODEL(select_is_decided_once, "two that try to send to one select which waits: it is one's, the other is told so") {
  weft::chan<int> a, b;
  parked_select s({{core_of(a), false}, {core_of(b), false}});
  chan_status r[2];
  auto t = start([&] { r[1] = b.try_send(2); });
  r[0] = a.try_send(1);
  t.join();
  expect((r[0] == chan_status::ok) != (r[1] == chan_status::ok), "one of them");
  const std::size_t won = s.won();
  expect(r[won] == chan_status::ok && s.value(won) == static_cast<int>(won) + 1, "the one whose value it has");
  expect(s.value(1 - won) == 0, "and no other");
  s.leave();
}

MODEL(select_sees_what_came_before,
      "the sender's deeds before are seen by the select, and the select's by the sender") {
  weft::chan<int> a;
  weft::chan<parcel> b(1);
  int payload = 0;
  auto t = start([&] {
    payload = 1;
    b.send({7});
  });
  std::optional<parcel> v;
  expect(weft::select(weft::recv(a), weft::recv(b, v)) == 1, "nobody sends to the first");
  expect(v->value == 7 && payload == 1, "the value, and what was done before");
  t.join();
}

MODEL(select_never_loses_its_default,
      "a try_select that finds nothing has left nothing behind; the value comes later") {
  weft::chan<int> a, b;
  auto t = start([&] { a.send(7); });
  std::optional<int> v;
  const auto i = weft::try_select(weft::recv(b), weft::recv(a, v));
  if (!i) v = a.recv();
  expect(v == 7, "the value");
  expect(!sender_waits(a) && !receiver_waits(a) && !receiver_waits(b), "nobody waits");
  t.join();
}

MODEL(select_default_is_of_one_moment,
      "a value goes from one channel to another: a try_select on both finds it, there or here") {
  weft::chan<parcel> a(1), b(1);
  a.send({7});
  auto t = start([&] {
    // Before it is away from the first it is in the second.
    b.send({7});
    std::optional<parcel> v;
    static_cast<void>(a.try_recv(v));
  });
  expect(weft::try_select(weft::recv(a), weft::recv(b)).has_value(), "one of them had it at any moment");
  t.join();
}

// Plain values that need no more than the buffer go by it, outside the door.
MODEL(select_by_the_buffer,
      "a select that sends and one that receives, by way of a buffer of one: each value once, in order") {
  weft::chan<parcel> c(1);
  weft::chan<int> none(nullptr);
  int payload = 0;
  const parcel one{1};
  const parcel two{2};
  auto t = start([&] {
    payload = 1;
    expect(weft::select(weft::send(c, one), weft::recv(none)) == 0, "the only one that can be");
    weft::select(weft::recv(none), weft::send(c, two));
  });
  for (int i = 1; i <= 2; ++i) {
    std::optional<parcel> v;
    weft::select(weft::recv(c, v), weft::recv(none));
    expect(v && v->value == i && payload == 1, "the next value, and what was done before");
  }
  t.join();
  expect(c.size() == 0, "the buffer is empty");
}

MODEL(select_by_the_buffer_twice, "one value, two try_selects: one has it, the other nothing") {
  weft::chan<parcel> c(1);
  c.send({7});
  std::optional<parcel> v, w;
  std::optional<std::size_t> i;
  auto t = start([&] { i = weft::try_select(weft::recv(c, w)); });
  const auto k = weft::try_select(weft::recv(c, v));
  t.join();
  expect(i.has_value() != k.has_value(), "one of them");
  expect(v.has_value() == k.has_value() && w.has_value() == i.has_value(), "which has the value");
  expect((v ? v : w)->value == 7 && c.size() == 0, "the one that was there");
}

MODEL(select_by_the_buffer_against_waiting,
      "a value does not go into the buffer past a receiver that waits, nor out of it past a sender that does") {
  weft::chan<parcel> to(1), back(1);
  weft::chan<int> none(nullptr);
  auto t = start([&] {
    for (int i = 1; i <= 2; ++i) to.send({i});
    expect(back.recv()->value == 3, "the answer");
  });
  for (int i = 1; i <= 2; ++i) {
    std::optional<parcel> v;
    weft::select(weft::recv(to, v), weft::recv(none));
    expect(v && v->value == i, "in order");
  }
  const parcel answer{3};
  weft::select(weft::send(back, answer), weft::recv(none));
  t.join();
}

MODEL(select_by_the_buffer_against_close,
      "a select does not send into a buffer that is closed, and gets what is in it before") {
  weft::chan<parcel> c(1);
  weft::chan<int> none(nullptr);
  const parcel one{1};
  bool thrown = false;
  auto t = start([&] {
    try {
      weft::select(weft::send(c, one), weft::recv(none));
    } catch (const weft::send_on_closed_channel&) {
      thrown = true;
    }
  });
  c.close();
  std::optional<parcel> v;
  if (!weft::try_select(weft::recv(c, v))) fail("closed is ready");
  t.join();
  const bool late = !v && c.size() == 1;
  expect(v.has_value() || thrown || late, "sent before the close, or thrown");
  expect(!(v.has_value() && thrown) && !late, "nothing is sent after it");
}

// Beside a time the permits are counted with no look at a drawn case: what is counted may be gone when it is looked for.
MODEL(select_permit_that_comes_and_goes, "a permit beside a time that has not come: the permit, or nothing",
      .preemptions = 3) {
  weft::semaphore s(1);
  auto t = start([&] {
    if (s.try_acquire()) s.release();
  });
  const auto i = weft::try_select(weft::acquire(s), weft::after(std::chrono::hours(1)));
  expect(!i || *i == 0, "no other case can be");
  if (i) s.release();
  t.join();
  expect(s.try_acquire() && !s.try_acquire(), "one permit, as before");
}

// ---- select against select

MODEL(select_crosswise, "two selects over two channels, in different orders: they meet in one of them", .spurious = 1) {
  weft::chan<int> a, b;
  std::optional<int> v, w;
  std::size_t j = 0;
  auto t = start([&] { j = weft::select(weft::send(b, 2), weft::recv(a, w)); });
  const std::size_t i = weft::select(weft::send(a, 1), weft::recv(b, v));
  t.join();
  if (i == 0) {
    expect(j == 1 && w == 1 && !v, "the first has sent what the second received");
  } else {
    expect(j == 0 && v == 2 && !w, "the second has sent what the first received");
  }
}

MODEL(select_both_ways, "two selects that send and receive on one channel: each meets the other, never itself") {
  weft::chan<int> c;
  std::optional<int> v[2];
  std::size_t i[2];
  const int mine[2] = {1, 2};
  auto t = start([&] { i[1] = weft::select(weft::send(c, mine[1]), weft::recv(c, v[1])); });
  i[0] = weft::select(weft::recv(c, v[0]), weft::send(c, mine[0]));
  t.join();
  expect(i[0] == i[1], "one sends, the other receives");
  if (i[0] == 0) {
    expect(v[0] == 2 && !v[1], "the first receives");
  } else {
    expect(v[1] == 1 && !v[0], "the second receives");
  }
}

MODEL(select_same_channel_twice,
      "a channel twice in a select: it is locked once, and the value comes once; then it may go") {
  auto* c = new weft::chan<int>;
  auto t = start([&] { c->send(7); });
  std::optional<int> v, w;
  const std::size_t i = weft::select(weft::recv(*c, v), weft::recv(*c, w));
  expect((i == 0 ? v : w) == 7 && !(i == 0 ? w : v), "in one of them");
  delete c;
  t.join();
}

MODEL(select_two_on_both, "two selects on the same two channels, and a value to each: each select has one") {
  weft::chan<int> a, b;
  int got[2] = {};
  auto receive = [&](int k, const weft::chan<int>& c, const weft::chan<int>& d) {
    std::optional<int> v, w;
    const std::size_t i = weft::select(weft::recv(c, v), weft::recv(d, w));
    got[k] = (i == 0 ? v : w).value_or(0);
  };
  auto first = start([&] { receive(0, a, b); });
  auto second = start([&] { receive(1, b, a); });
  a.send(1);
  b.send(2);
  first.join();
  second.join();
  expect(got[0] + got[1] == 3 && got[0] != 0 && got[1] != 0, "one each");
}

MODEL(select_whose_sudog_is_dead, "a sender passes over a select that has gone elsewhere to the receiver behind it") {
  weft::chan<int> a, b;
  parked_select s({{core_of(a), false}, {core_of(b), false}});
  expect(a.try_send(1) == chan_status::ok && s.won() == 0, "it goes there");
  int got = 0;
  const parked_in behind(b, false, &got);
  auto t = start([&] { s.leave(); });
  expect(b.try_send(2) == chan_status::ok, "somebody waits, behind");
  t.join();
  expect(got == 2 && behind.how() == wait_result::handed, "and has it");
  expect(s.value(1) == 0, "not the select");
}

// ---- close

MODEL(select_against_close, "a send to one channel, a close of the other: one of them is what the select returns") {
  weft::chan<int> a, b;
  auto closer = start([&] { b.close(); });
  chan_status sent = chan_status::closed;
  auto sender = start([&] { sent = a.try_send(1); });
  std::optional<int> v, w;
  const std::size_t i = weft::select(weft::recv(a, v), weft::recv(b, w));
  closer.join();
  sender.join();
  expect(i == 0 ? v == 1 : !w.has_value(), "the value, or closed");
  expect((sent == chan_status::ok) == (i == 0), "what was sent is received");
}

MODEL(select_closed_is_decided_once, "a select waits; one channel is closed, to the other is sent: it is one's") {
  weft::chan<int> a, b;
  parked_select s({{core_of(a), false}, {core_of(b), false}});
  auto closer = start([&] { b.close(); });
  const chan_status r = a.try_send(1);
  closer.join();
  expect(s.won() == (r == chan_status::ok ? 0 : 1), "the one that has set the token");
  expect(s.how() == (r == chan_status::ok ? wait_result::handed : wait_result::closed), "the winner's result");
  s.leave();
}

MODEL(select_send_on_closed, "a select that sends to a channel which is closed while it waits throws") {
  weft::chan<int> a, b;
  auto closer = start([&] { a.close(); });
  bool thrown = false;
  try {
    weft::select(weft::send(a, 1), weft::recv(b));
  } catch (const weft::send_on_closed_channel&) {
    thrown = true;
  }
  closer.join();
  expect(thrown, "nobody received");
}

MODEL(select_done_channel, "two selects beside a done channel: both see its close, without meeting at its lock") {
  weft::chan<int> work, done;
  int payload = 0;
  auto worker = [&] {
    expect(weft::select(weft::recv(work), weft::recv(done)) == 1, "nobody sends work");
    expect(payload == 1, "what was done before the close is seen");
  };
  auto a = start(worker);
  auto b = start(worker);
  payload = 1;
  done.close();
  a.join();
  b.join();
}

// ---- timeouts and cancellation

MODEL(select_cancel_against_send,
      "a select is cancelled, or has a value; a sender that comes too late is not told otherwise") {
  weft::chan<int> a, b;
  parked_select s({{core_of(a), false}, {core_of(b), false}});
  bool took = false;
  auto canceller = start([&] { took = s.take(wait_result::cancelled); });
  const chan_status r = a.try_send(1);
  canceller.join();
  expect((r == chan_status::ok) != took, "one of them is the taker");
  expect(s.how() == (took ? wait_result::cancelled : wait_result::handed), "the taker's result");
  s.leave();
  expect(!receiver_waits(a) && !receiver_waits(b), "it is in no queue");
}

MODEL(select_cancelled_goes_on, "a select is cancelled or receives; if it was cancelled the value is still to be had") {
  weft::chan<int> a, b;
  const next_wait wait;
  auto t = start([&] {
    const bool took = wait.take(wait_result::cancelled);
    expect(a.try_send(1) != chan_status::ok || !took, "a cancelled select receives nothing");
    b.send(2);
  });
  std::optional<int> v, w;
  bool cancelled = false;
  try {
    weft::select(weft::recv(a, v), weft::recv(b, w));
  } catch (const weft::cancelled&) {
    cancelled = true;
    expect(!v && !w, "nothing");
  }
  if (!w) w = b.recv();
  expect(w == 2 && (!v || !cancelled), "the value of the second");
  t.join();
}

// ---- its memory

MODEL(select_freed_by_the_select, "who has received in a select frees both channels, while the send is still at it") {
  auto* a = new weft::chan<int>;
  auto* b = new weft::chan<int>;
  auto t = start([&] { a->send(7); });
  std::optional<int> v;
  weft::select(weft::recv(*b), weft::recv(*a, v));
  expect(v == 7, "the value");
  delete a;
  delete b;
  t.join();
}

MODEL(select_freed_by_its_sender,
      "who has sent to a select drops both channels: the other is the select's until it has left its queue") {
  auto* a = new weft::chan<int>;
  auto* b = new weft::chan<int>;
  std::optional<int> v;
  auto t = start([&] { expect(weft::select(weft::recv(*a, v), weft::recv(*b)) == 0, "nobody sends to the other"); });
  a->send(7);
  delete a;
  delete b;
  t.join();
  expect(v == 7, "the value");
}

MODEL(select_freed_by_who_passed_it_over,
      "who has sent to a select closes the other channel and drops both: a close takes a dead sudog off the queue") {
  auto* a = new weft::chan<int>;
  auto* b = new weft::chan<int>;
  std::optional<int> v;
  auto t = start([&] { expect(weft::select(weft::recv(*a, v), weft::recv(*b)) == 0, "nobody sends to the other"); });
  a->send(7);
  b->close();
  delete a;
  delete b;
  t.join();
  expect(v == 7, "the value");
}

MODEL(select_orphaned, "the last handles go while a select waits, which is then cancelled: it frees both channels") {
  auto* a = new weft::chan<int>;
  auto* b = new weft::chan<int>;
  const next_wait wait;
  auto t = start([&] {
    if (!receiver_waits(*b)) {
      b->send(7);
      return;
    }
    delete a;
    delete b;
    expect(wait.take(wait_result::cancelled), "the only way out");
  });
  bool cancelled = false;
  try {
    weft::select(weft::recv(*a), weft::recv(*b), weft::recv(*a));
  } catch (const weft::cancelled&) {
    cancelled = true;
  }
  t.join();
  if (cancelled) return;
  delete a;
  delete b;
}

// ---- moves that throw

MODEL(select_tries_again,
      "a value breaks on its way into a select that waits: the sender sees it, and the select goes on") {
  weft::chan<brittle> a;
  weft::chan<int> b;
  bool fragile = true;
  int thrown = 0;
  auto t = start([&] {
    // A move of it is the copy that throws; of what is const, send makes a copy before it looks.
    brittle v(7, &fragile);
    try {
      a.send(std::move(v));
    } catch (const brittle::broken&) {
      ++thrown;
      a.send(std::move(v));
    }
  });
  std::optional<brittle> v;
  try {
    weft::select(weft::recv(a, v), weft::recv(b));
  } catch (const brittle::broken&) {
    ++thrown;
    weft::select(weft::recv(a, v), weft::recv(b));
  }
  t.join();
  expect(v && v->value() == 7 && thrown == 1, "it broke once, and came whole");
}

MODEL(select_value_breaks,
      "the value of a select that sends breaks on its way: its receiver sees it, and the select goes on") {
  weft::chan<brittle> a;
  weft::chan<int> b;
  bool fragile = true;
  int thrown = 0;
  int got = 0;
  auto t = start([&] {
    try {
      got = a.recv()->value();
    } catch (const brittle::broken&) {
      ++thrown;
      got = a.recv()->value();
    }
  });
  const brittle v(7, &fragile);
  try {
    weft::select(weft::recv(b), weft::send(a, v));
  } catch (const brittle::broken&) {
    ++thrown;
    weft::select(weft::recv(b), weft::send(a, v));
  }
  t.join();
  expect(got == 7 && thrown == 1, "it broke once, and came whole");
}

}  // namespace
