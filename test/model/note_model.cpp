// The note: one sleeps, one wakes; before the sleep, during it or after its time.
#include "lock/note.hpp"

#include "checker/model.hpp"
#include "lock/mutex.hpp"

namespace {

using namespace weft::check;
using weft::rt::note;

MODEL(note_wakes, "a signal before, during or after the sleep ends it, and hands over what was written before",
      .spurious = 2) {
  note n;
  int payload = 0;
  auto waker = [&] {
    payload = 1;
    n.wakeup();
  };
  auto t = start(waker);
  n.sleep();
  expect(payload == 1, "what the waker wrote is there");
  payload = 2;
  t.join();
}

MODEL(note_in_rounds, "cleared by its owner before it is listed again, a note works round after round", .spurious = 1) {
  note ping;
  note pong;
  int payload = 0;
  auto other = [&] {
    for (int i = 0; i < 2; ++i) {
      ping.sleep();
      ping.clear();
      ++payload;
      pong.wakeup();
    }
  };
  auto t = start(other);
  for (int i = 0; i < 2; ++i) {
    ++payload;
    ping.wakeup();
    pong.sleep();
    pong.clear();
  }
  expect(payload == 4, "each had its turn each time");
  t.join();
}

MODEL(note_timeout_against_signal, "a timed sleep ends by the signal or by its time; the signal is not lost then",
      .spurious = 1) {
  note n;
  int payload = 0;
  auto waker = [&] {
    payload = 1;
    n.wakeup();
  };
  auto t = start(waker);
  if (!n.sleep_for(1000)) {
    expect(weft::check::now() >= 1'000'001'000, "not before its time");
    n.sleep();
  }
  expect(payload == 1, "what the waker wrote is there");
  n.clear();
  expect(!n.sleep_for(1000), "cleared, and nobody signals");
  t.join();
}

MODEL(note_looks_first,
      "a sleeper that looks around before it sleeps: the signal comes during the look, after it, or in the sleep",
      .spurious = 1) {
  note n;
  int payload = 0;
  auto other = [&] {
    payload = 1;
    n.wakeup();
  };
  auto t = start(other);
  n.sleep(2);
  expect(payload == 1, "what the waker wrote is there");
  payload = 2;
  n.clear();
  t.join();
}

// As rest() has it: the time is up, and a lock says whether somebody has taken the sleeper meanwhile.
MODEL(note_time_up_and_taken, "the signal of who has taken it before its time was up comes, and is waited for") {
  note n;
  weft::rt::mutex lock;
  bool listed = true;
  bool taken = false;
  auto taker = [&] {
    lock.lock();
    taken = listed;
    listed = false;
    lock.unlock();
    if (taken) n.wakeup();
  };
  auto t = start(taker);
  bool woken = n.sleep_for(1000);
  if (!woken) {
    lock.lock();
    const bool mine = listed;
    listed = false;
    lock.unlock();
    if (!mine) {
      n.sleep();
      woken = true;
    }
  }
  t.join();
  expect(woken == taken, "it was woken if, and only if, it was taken");
}

MODEL(note_two_sleepers_in_turn, "the note of an M that is woken by one waker and then by another", .spurious = 1) {
  note n;
  note listed;
  int payload = 0;
  auto second = [&] {
    listed.sleep();  // as an M that finds the owner on the idle list
    ++payload;
    n.wakeup();
  };
  auto first = [&] {
    ++payload;
    n.wakeup();
  };
  auto a = start(first);
  auto b = start(second);
  n.sleep();
  n.clear();
  listed.wakeup();
  n.sleep();
  expect(payload == 2, "both have been here");
  a.join();
  b.join();
}

}  // namespace
