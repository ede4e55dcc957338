// The run queue of one P, owner against thieves: each goroutine is taken once, in whatever order everything happens, and
// who takes it sees what was written before it was put.
#include "model/runq.hpp"

#include <array>

#include "checker/model.hpp"
#include "lock/note.hpp"

namespace {

using namespace weft::check;
using weft::rt::note;
using weft::rt::runq;

struct item {
  int payload = 0;  // plain: whoever takes the item owns it
};

// Counts who was taken; plain, because whoever takes an item owns its counter.
template <int N>
struct ledger {
  std::array<item, N> items;
  std::array<int, N> taken{};
  item* operator[](int i) { return &items[static_cast<std::size_t>(i)]; }
  // Written by its creator, who owns it until it is put.
  item* fresh(int i) {
    item* it = (*this)[i];
    it->payload = i + 1;
    return it;
  }
  void take(item* it) {
    const auto i = static_cast<std::size_t>(it - items.data());
    expect(it->payload == static_cast<int>(i) + 1, "what was written before the put is seen by who takes it");
    it->payload = 0;
    ++taken[i];
  }
  void expect_each_once() {
    for (const int n : taken) expect(n == 1, "each goroutine is taken once");
  }
};

// A thief with a ring of its own: grabs half, then takes what it grabbed.
template <std::uint32_t N, int Items>
void grab(runq<item, N>& from, runq<item, N>& mine, ledger<Items>& l) {
  std::uint32_t n = 1;
  if (item* got = from.steal_into(mine, n)) l.take(got);
  while (item* got = mine.take()) l.take(got);
}

// Owner: puts behind the others, and takes where there is no room.
template <std::uint32_t N, int Items>
void put(runq<item, N>& q, ledger<Items>& l, int i) {
  item* it = l.fresh(i);
  bool next = false;
  while (!q.put(it, next)) {
    if (item* got = q.take()) l.take(got);
  }
}

template <std::uint32_t N, int Items>
void take_all(runq<item, N>& q, ledger<Items>& l) {
  if (item* got = q.take_next()) l.take(got);
  while (item* got = q.take()) l.take(got);
}

constexpr std::uint32_t before_wrap = 0xffffffff;  // the indices wrap within the model

MODEL(runq_owner_and_thief, "an owner that puts and takes, a thief that grabs half: each is taken once") {
  runq<item, 2> q;
  runq<item, 2> mine;
  ledger<4> l;
  q.reset_indices(before_wrap);
  auto thief = [&] { grab(q, mine, l); };
  auto t = start(thief);
  for (int i = 0; i < 4; ++i) put(q, l, i);
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_two_thieves, "two thieves and the owner are after the same two goroutines") {
  runq<item, 2> q;
  runq<item, 2> mine[2];
  ledger<2> l;
  q.reset_indices(before_wrap);
  auto first = [&] { grab(q, mine[0], l); };
  auto second = [&] { grab(q, mine[1], l); };
  auto a = start(first);
  auto b = start(second);
  put(q, l, 0);
  put(q, l, 1);
  take_all(q, l);
  a.join();
  b.join();
  l.expect_each_once();
}

MODEL(runq_two_thieves_of_one_more, "as above, while the owner reuses a slot") {
  runq<item, 2> q;
  runq<item, 2> mine[2];
  ledger<3> l;
  q.reset_indices(before_wrap);
  // Of a ring of two a thief grabs one, which it runs: its own ring stays empty.
  const auto grab_one = [&](runq<item, 2>& own) {
    std::uint32_t n = 1;
    if (item* got = q.steal_into(own, n)) l.take(got);
  };
  auto first = [&] { grab_one(mine[0]); };
  auto second = [&] { grab_one(mine[1]); };
  put(q, l, 0);
  put(q, l, 1);
  auto a = start(first);
  auto b = start(second);
  put(q, l, 2);
  a.join();
  b.join();
  take_all(q, l);
  l.expect_each_once();
}

MODEL(runq_thief_of_a_thief, "what a thief has grabbed is published to the next thief with all that belongs to it") {
  runq<item, 4> q;
  runq<item, 4> mine[2];
  ledger<3> l;
  auto first = [&] { grab(q, mine[0], l); };
  auto second = [&] { grab(mine[0], mine[1], l); };
  auto a = start(first);
  auto b = start(second);
  for (int i = 0; i < 3; ++i) put(q, l, i);
  a.join();
  b.join();
  take_all(q, l);
  l.expect_each_once();
}

MODEL(runq_ring_of_four, "a thief copies two of a ring of four while the owner goes once around") {
  runq<item, 4> q;
  runq<item, 4> mine;
  ledger<5> l;
  q.reset_indices(before_wrap - 1);
  for (int i = 0; i < 3; ++i) put(q, l, i);
  auto thief = [&] { grab(q, mine, l); };
  auto t = start(thief);
  if (item* got = q.take()) l.take(got);
  put(q, l, 3);
  put(q, l, 4);
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_next, "runnext: kicked by the owner, taken by a thief, taken back by the owner") {
  runq<item, 2> q;
  ledger<3> l;
  auto thief = [&] {
    if (item* got = q.steal_next()) l.take(got);
    if (q.has_next()) {
      if (item* got = q.steal_next()) l.take(got);
    }
  };
  auto t = start(thief);
  for (int i = 0; i < 3; ++i) {
    item* it = l.fresh(i);
    bool next = true;
    while (!q.put(it, next)) {
      if (item* got = q.take()) l.take(got);
    }
  }
  if (item* got = q.take_next()) l.take(got);
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_next_and_ring, "one thief is after runnext and another after the ring, while runnext is kicked into it") {
  runq<item, 2> q;
  runq<item, 2> mine;
  ledger<2> l;
  auto first = [&] {
    if (item* got = q.steal_next()) l.take(got);
  };
  auto second = [&] { grab(q, mine, l); };
  auto a = start(first);
  auto b = start(second);
  for (int i = 0; i < 2; ++i) {
    item* it = l.fresh(i);
    bool next = true;
    expect(q.put(it, next), "there is room");
  }
  take_all(q, l);
  a.join();
  b.join();
  l.expect_each_once();
}

template <std::uint32_t N, int Items>
void spill_against_steal() {
  runq<item, N> q;
  runq<item, N> mine;
  ledger<Items> l;
  q.reset_indices(before_wrap);
  for (int i = 0; i < static_cast<int>(N); ++i) put(q, l, i);
  auto thief = [&] { grab(q, mine, l); };
  auto t = start(thief);
  for (int i = static_cast<int>(N); i < Items; ++i) {
    typename runq<item, N>::spill out;
    if (q.put_or_spill(l.fresh(i), false, out)) {
      expect(out.n == N / 2 + 1, "half of the ring and the one that found it full");
      for (std::uint32_t k = 0; k < out.n; ++k) l.take(out.item[k]);
    }
  }
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_spill_against_steal, "a full ring of two spills its older half while a thief grabs it") {
  spill_against_steal<2, 4>();
}

MODEL(runq_spill_of_four_against_steal, "a full ring of four spills its older half while a thief grabs it") {
  spill_against_steal<4, 6>();
}

MODEL(runq_spill_of_next, "what runnext kicks out of a full ring is spilled, and a thief takes runnext meanwhile") {
  runq<item, 2> q;
  ledger<4> l;
  for (int i = 0; i < 2; ++i) put(q, l, i);
  item* it = l.fresh(2);
  bool next = true;
  expect(q.put(it, next), "runnext was free");
  auto thief = [&] {
    if (item* got = q.steal_next()) l.take(got);
  };
  auto t = start(thief);
  it = l.fresh(3);
  next = true;
  if (!q.put(it, next)) {
    runq<item, 2>::spill out;
    if (q.put_or_spill(it, next, out)) {
      for (std::uint32_t k = 0; k < out.n; ++k) l.take(out.item[k]);
    }
  }
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_empty_sees_what_moves,
      "empty() is not true when runnext has just been taken and what it kicked out is in the ring") {
  runq<item, 2> q;
  ledger<3> l;
  q.reset_indices(before_wrap);
  item* it = l.fresh(0);
  bool next = true;
  expect(q.put(it, next), "runnext was free");
  auto spinner = [&] { expect(!q.empty(), "a goroutine is there all the time"); };
  auto t = start(spinner);
  for (int i = 1; i < 3; ++i) {
    // The new one kicks the old one out of runnext and runs at once: the old one is in the ring by then.
    it = l.fresh(i);
    next = true;
    expect(q.put(it, next), "there is room");
    if (item* got = q.take_next()) l.take(got);
  }
  t.join();
  take_all(q, l);
  l.expect_each_once();
  expect(q.empty(), "all were taken");
}

MODEL(runq_batch, "a batch goes into the ring as far as there is room, while a thief makes some") {
  runq<item, 2> q;
  runq<item, 2> mine;
  ledger<3> l;
  q.reset_indices(before_wrap);
  put(q, l, 0);
  auto thief = [&] {
    grab(q, mine, l);
    grab(q, mine, l);
  };
  auto t = start(thief);
  item* batch[2] = {l.fresh(1), l.fresh(2)};
  const std::uint32_t n = q.put_batch(batch, 2);
  expect(n == 1 || n == 2, "there was room for one at least");
  for (std::uint32_t i = n; i < 2; ++i) l.take(batch[i]);
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_length_is_a_length, "length() is never more than the ring, whatever it pairs") {
  runq<item, 2> q;
  ledger<4> l;
  q.reset_indices(before_wrap);
  auto reader = [&] { expect(q.length() <= 2, "a length"); };
  auto t = start(reader);
  for (int i = 0; i < 4; ++i) put(q, l, i);
  take_all(q, l);
  t.join();
  l.expect_each_once();
}

MODEL(runq_solo, "the only P of a runtime goes from M to M: its queue, without CAS, is handed over by the note") {
  runq<item, 2> q;
  ledger<4> l;
  q.set_solo(true);
  note given;
  auto heir = [&] {
    given.sleep();
    take_all(q, l);
    put(q, l, 3);
    take_all(q, l);
  };
  auto t = start(heir);
  for (int i = 0; i < 3; ++i) {
    item* it = l.fresh(i);
    bool next = i != 1;
    while (!q.put(it, next)) {
      if (item* got = q.take()) l.take(got);
    }
  }
  given.wakeup();
  t.join();
  l.expect_each_once();
}

}  // namespace
