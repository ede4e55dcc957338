// The run queue of one P, owner against thieves: each goroutine is taken once, in whatever order everything happens.
#include "model/runq.hpp"

#include <array>

#include "checker/model.hpp"

namespace {

using namespace weft::check;
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
  void take(item* it) {
    ++it->payload;
    ++taken[static_cast<std::size_t>(it - items.data())];
  }
  void expect_each_once() {
    for (const int n : taken) expect(n == 1, "each goroutine is taken once");
  }
};

MODEL(runq_owner_and_thief, "an owner that puts and takes, a thief that grabs half: each is taken once") {
  runq<item, 2> q;
  runq<item, 2> mine;
  ledger<4> l;
  q.reset_indices(0xffffffff);  // the indices wrap within the model
  auto thief = [&] {
    std::uint32_t n = 1;
    if (item* got = q.steal_into(mine, n)) l.take(got);
    while (item* got = mine.take()) l.take(got);
  };
  auto t = start(thief);
  for (int i = 0; i < 4; ++i) {
    item* it = l[i];
    it->payload = i;
    bool next = false;
    while (!q.put(it, next)) {
      if (item* got = q.take()) l.take(got);
    }
  }
  while (item* got = q.take()) l.take(got);
  t.join();
  l.expect_each_once();
}

}  // namespace
