// The run queue of a P alone: Go's SchedLocalQueue, SchedLocalQueueSteal, SchedLocalQueueEmpty, and StealOrder.
#include "model/runq.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/sizes.hpp"
#include "sched/sched.hpp"
#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "support/replay.hpp"

namespace {

using namespace weft;

struct item {
  int taken = 0;
};

template <std::uint32_t N>
using queue = rt::runq<item, N>;

template <std::uint32_t N>
void put(queue<N>& q, item* it, bool next = false) {
  typename queue<N>::spill out;
  ASSERT_FALSE(q.put_or_spill(it, next, out)) << "a ring with room spilled";
}

TEST(runq, gives_back_what_was_put_in_order) {
  constexpr std::uint32_t n = 256;
  std::vector<item> items(n);
  queue<n> q;
  for (std::uint32_t i = 0; i <= n; ++i) {
    ASSERT_EQ(q.take(), nullptr);
    for (std::uint32_t k = 0; k < i; ++k) put(q, &items[k]);
    ASSERT_EQ(q.length(), i);
    for (std::uint32_t k = 0; k < i; ++k) ASSERT_EQ(q.take(), &items[k]) << k << " of " << i;
    ASSERT_EQ(q.take(), nullptr);
    ASSERT_TRUE(q.empty());
  }
}

TEST(runq, a_thief_gets_half_rounded_up_and_each_item_goes_to_one) {
  constexpr std::uint32_t n = 256;
  for (std::uint32_t i = 0; i <= n; ++i) {
    std::vector<item> items(n);
    queue<n> victim, thief;
    for (std::uint32_t k = 0; k < i; ++k) put(victim, &items[k]);
    std::uint32_t stolen = 0;
    item* first = victim.steal_into(thief, stolen);
    if (first == nullptr) stolen = 0;
    ASSERT_EQ(stolen, (i + 1) / 2);
    if (first != nullptr) ++first->taken;
    std::uint32_t by_thief = first != nullptr ? 1 : 0, left = 0;
    while (item* it = thief.take()) ++it->taken, ++by_thief;
    while (item* it = victim.take()) ++it->taken, ++left;
    ASSERT_EQ(by_thief, stolen);
    ASSERT_EQ(left + stolen, i);
    for (std::uint32_t k = 0; k < n; ++k) ASSERT_EQ(items[k].taken, k < i ? 1 : 0) << k << " of " << i;
  }
}

TEST(runq, runnext_goes_first_and_kicks_its_predecessor_to_the_tail) {
  std::vector<item> items(3);
  queue<256> q;
  for (item& it : items) put(q, &it, true);
  EXPECT_EQ(q.take_next(), &items[2]);
  EXPECT_EQ(q.take_next(), nullptr);
  EXPECT_EQ(q.take(), &items[0]);
  EXPECT_EQ(q.take(), &items[1]);
  EXPECT_TRUE(q.empty());
}

TEST(runq, a_full_ring_spills_its_older_half_and_the_newcomer_in_order) {
  constexpr std::uint32_t n = 8;
  std::vector<item> items(n + 1);
  queue<n> q;
  for (std::uint32_t k = 0; k < n; ++k) put(q, &items[k]);
  queue<n>::spill out;
  ASSERT_TRUE(q.put_or_spill(&items[n], false, out));
  ASSERT_EQ(out.n, n / 2 + 1);
  for (std::uint32_t k = 0; k < n / 2; ++k) EXPECT_EQ(out.item[k], &items[k]);
  EXPECT_EQ(out.item[n / 2], &items[n]);
  for (std::uint32_t k = n / 2; k < n; ++k) EXPECT_EQ(q.take(), &items[k]);
  EXPECT_TRUE(q.empty());
}

// The queue always holds one or two items while the other thread looks: in runnext, on the way from there into the ring,
// in the ring with runnext empty. An `empty()` that reads its three words one after the other and no more sees the ring
// before the move and runnext after it, and says true.
TEST(runq, fault_09_never_looks_empty_while_runnext_moves_into_the_ring) {
  const int rounds = test::scaled(2'000'000);
  test::set_replay_line(test::executable() + " --gtest_filter=runq.fault_09*");
  test::set_watchdog(120);
  item items[2];
  queue<256> q;
  put(q, &items[0], true);
  std::atomic<std::uint64_t> looks{0};
  std::atomic<bool> done{false};
  std::uint64_t false_alarms = 0;
  std::thread looker([&] {
    for (std::uint64_t n = 0; !done.load(std::memory_order_acquire); ++n) {
      if (q.empty()) ++false_alarms;
      // Seldom, and a pause in each round of the owner: what else the two threads do must not keep them in step.
      if (n % 1024 == 0) looks.store(n, std::memory_order_relaxed);
    }
  });
  bool right = true;
  // As long as it takes for the looker to have had its share, however busy the machine is.
  for (int i = 0; right && (i < rounds || looks.load(std::memory_order_relaxed) < 100'000); ++i) {
    item *const old = &items[i % 2], *const other = &items[(i + 1) % 2];
    put(q, other, true);  // the old one moves into the ring
    right = q.take_next() == other;
    rt::os::pause();
    put(q, other, true);
    right = right && q.take() == old;
    rt::os::pause();
  }
  done.store(true, std::memory_order_release);
  looker.join();
  test::clear_watchdog();
  EXPECT_TRUE(right) << "the queue gave back something else";
  EXPECT_EQ(false_alarms, 0u);
}

// A small ring under an owner and two thieves, its indices started just below 2^32: torn snapshots (old head, new
// tail), reuse of slots and the wrap-around all happen. Each item that goes in comes out once.
TEST(runq, fault_10_each_item_goes_to_one_when_indices_wrap_around_under_thieves) {
  constexpr std::uint32_t n = 4;
  const int rounds = 20;
  const int per_round = test::scaled(200'000);
  test::set_replay_line(test::executable() + " --gtest_filter=runq.fault_10*");
  test::set_watchdog(120);
  for (int round = 0; round < rounds; ++round) {
    std::vector<item> items(per_round);
    std::vector<std::atomic<int>> taken(per_round);
    queue<n> q;
    q.reset_indices(0u - static_cast<std::uint32_t>(round * per_round / 40));
    std::atomic<bool> done{false};
    std::atomic<int> thieves{0};
    auto count = [&](item* it) { taken[static_cast<std::size_t>(it - items.data())].fetch_add(1); };
    auto thief = [&] {
      queue<n> mine;
      mine.reset_indices(0u - static_cast<std::uint32_t>(round % 7));
      ++thieves;
      while (!done.load(std::memory_order_acquire)) {
        std::uint32_t stolen = 0;
        if (item* it = q.steal_into(mine, stolen)) count(it);
        while (item* it = mine.take()) count(it);
        if (item* it = q.steal_next()) count(it);
      }
    };
    std::thread a(thief), b(thief);
    test::spin_until([&] { return thieves.load() == 2; });
    for (int k = 0; k < per_round; ++k) {
      queue<n>::spill out;
      if (q.put_or_spill(&items[static_cast<std::size_t>(k)], k % 3 == 0, out)) {
        for (std::uint32_t s = 0; s < out.n; ++s) count(out.item[s]);
      }
      if (k % 2 == 0) {
        if (item* it = q.take_next()) count(it);
        if (item* it = q.take()) count(it);
      }
    }
    while (item* it = q.take_next()) count(it);
    while (item* it = q.take()) count(it);
    done.store(true, std::memory_order_release);
    a.join();
    b.join();
    for (int k = 0; k < per_round; ++k) ASSERT_EQ(taken[static_cast<std::size_t>(k)].load(), 1) << "item " << k;
  }
  test::clear_watchdog();
}

TEST(steal_order, each_start_and_good_step_visits_every_p_once) {
  for (std::uint32_t n = 1; n <= 64; ++n) {
    std::uint32_t good = 0;
    for (std::uint32_t step = 1; step <= n; ++step) {
      if (!rt::steal_step_is_good(step, n)) continue;
      ++good;
      for (std::uint32_t start = 0; start < n; ++start) {
        std::vector<int> visits(n);
        for (std::uint32_t i = 0, at = start; i < n; ++i, at = (at + step) % n) ++visits[at];
        for (std::uint32_t at = 0; at < n; ++at) {
          ASSERT_EQ(visits[at], 1) << "P " << at << " of " << n << ", start " << start << ", step " << step;
        }
      }
    }
    ASSERT_GE(good, 1u) << n;
  }
}

}  // namespace
