#include "model/runq.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/atomic.hpp"
#include "os/sys.hpp"

namespace {

using namespace weft::rt;

// The queue holds pointers and never looks behind them: items are addresses in an array of names.
template <std::uint32_t N>
class ring {
 public:
  using queue = runq<int, N>;
  using spill = typename queue::spill;

  explicit ring(std::uint32_t start = 0) { q.reset_indices(start); }

  int* item(int i) { return &names_[i]; }
  int name(const int* item) const { return item == nullptr ? -1 : static_cast<int>(item - names_); }

  void put(int i, bool next = false) {
    spill out;
    ASSERT_FALSE(q.put_or_spill(item(i), next, out)) << "unexpected overflow at " << i;
  }
  // The names that left the ring, in their order; empty when there was room.
  std::vector<int> put_full(int i, bool next = false) {
    spill out;
    std::vector<int> names;
    if (q.put_or_spill(item(i), next, out)) {
      for (std::uint32_t k = 0; k < out.n; ++k) names.push_back(name(out.item[k]));
    }
    return names;
  }
  int take() { return name(q.take()); }
  int take_next() { return name(q.take_next()); }
  std::vector<int> drain() {
    std::vector<int> all;
    for (int i; (i = take()) >= 0;) all.push_back(i);
    return all;
  }

  queue q;

 private:
  int names_[2000] = {};
};

std::vector<int> from_to(int first, int last) {
  std::vector<int> v;
  for (int i = first; i <= last; ++i) v.push_back(i);
  return v;
}

// Each sequential claim holds at every capacity, and wherever the indices stand, the wrap at 2^32 included.
template <class T>
class runq_of : public testing::Test {
 public:
  static constexpr std::uint32_t n = T::value;
  static constexpr int capacity = static_cast<int>(n);
  // Just before the wrap, so that a full ring lies across it.
  static std::vector<std::uint32_t> starts() { return {0u, 1u, 0u - n / 2, 0u - 1u, 0x80000000u - 1u}; }
};
struct capacity_name {
  template <class T>
  static std::string GetName(int) {
    return std::to_string(T::value);
  }
};
using capacities = testing::Types<std::integral_constant<std::uint32_t, 2>, std::integral_constant<std::uint32_t, 4>,
                                  std::integral_constant<std::uint32_t, 256>>;
TYPED_TEST_SUITE(runq_of, capacities, capacity_name);

TYPED_TEST(runq_of, first_in_first_out) {
  for (const std::uint32_t start : this->starts()) {
    ring<TestFixture::n> r(start);
    for (int i = 0; i < this->capacity; ++i) r.put(i);
    EXPECT_EQ(from_to(0, this->capacity - 1), r.drain());
    EXPECT_EQ(-1, r.take());
  }
}

TYPED_TEST(runq_of, many_rounds_across_the_wrap_keep_the_order) {
  ring<TestFixture::n> r(0u - 3 * TestFixture::n);
  int in = 0, out = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < this->capacity; ++i) r.put(in++ % 2000);
    for (int i = 0; i < this->capacity; ++i) ASSERT_EQ(out++ % 2000, r.take());
  }
}

TYPED_TEST(runq_of, runnext_goes_before_the_ring_and_is_not_part_of_it) {
  ring<TestFixture::n> r;
  r.put(1);
  r.put(2, true);
  EXPECT_EQ(1u, r.q.length());
  EXPECT_TRUE(r.q.has_next());
  EXPECT_EQ(2, r.take_next());
  EXPECT_FALSE(r.q.has_next());
  EXPECT_EQ(-1, r.take_next());
  EXPECT_EQ(1, r.take());
}

TYPED_TEST(runq_of, a_new_runnext_kicks_the_old_one_to_the_tail) {
  ring<TestFixture::n> r;
  r.put(1);
  r.put(2, true);
  r.put(3, true);
  EXPECT_EQ(3, r.take_next());
  EXPECT_EQ((std::vector{1, 2}), r.drain());
}

TYPED_TEST(runq_of, an_overflow_gives_the_older_half_and_then_the_new_one_away) {
  for (const std::uint32_t start : this->starts()) {
    ring<TestFixture::n> r(start);
    for (int i = 0; i < this->capacity; ++i) r.put(i);
    std::vector<int> expected = from_to(0, this->capacity / 2 - 1);
    expected.push_back(1000);
    EXPECT_EQ(expected, r.put_full(1000));
    EXPECT_EQ(from_to(this->capacity / 2, this->capacity - 1), r.drain());
  }
}

TYPED_TEST(runq_of, a_kicked_runnext_that_finds_the_ring_full_leaves_with_the_older_half) {
  ring<TestFixture::n> r;
  for (int i = 0; i < this->capacity; ++i) r.put(i);
  r.put(1000, true);
  std::vector<int> expected = from_to(0, this->capacity / 2 - 1);
  expected.push_back(1000);
  EXPECT_EQ(expected, r.put_full(1001, true));
  EXPECT_EQ(1001, r.take_next());
}

TYPED_TEST(runq_of, a_full_ring_refuses_and_says_what_is_left_to_put) {
  ring<TestFixture::n> r;
  for (int i = 0; i < this->capacity; ++i) r.put(i);
  int* gp = r.item(1000);
  bool next = false;
  EXPECT_FALSE(r.q.put(gp, next));
  EXPECT_EQ(1000, r.name(gp));
  EXPECT_EQ(TestFixture::n, r.q.length());
  next = true;
  EXPECT_TRUE(r.q.put(gp, next)) << "runnext was free";
  gp = r.item(1001);
  next = true;
  EXPECT_FALSE(r.q.put(gp, next));
  EXPECT_EQ(1000, r.name(gp)) << "the one that was kicked";
  EXPECT_FALSE(next);
  EXPECT_EQ(1001, r.take_next());
  EXPECT_EQ(from_to(0, this->capacity - 1), r.drain());
}

// Without thieves the owner's side is plain loads and stores; the order is the same.
TYPED_TEST(runq_of, an_owner_without_thieves_sees_the_same_queue) {
  for (const std::uint32_t start : this->starts()) {
    ring<TestFixture::n> r(start);
    r.q.set_solo(true);
    EXPECT_TRUE(r.q.empty());
    for (int i = 0; i < this->capacity; ++i) r.put(i, true);  // each kicks the one before
    EXPECT_EQ(this->capacity - 1, r.take_next());
    EXPECT_EQ(-1, r.take_next());
    r.put(500);
    EXPECT_EQ(TestFixture::n, r.q.length());
    std::vector<int> expected = from_to(0, this->capacity / 2 - 1);
    expected.push_back(501);
    EXPECT_EQ(expected, r.put_full(501));
    expected = from_to(this->capacity / 2, this->capacity - 2);
    expected.push_back(500);
    EXPECT_EQ(expected, r.drain());
    EXPECT_EQ(-1, r.take());
    EXPECT_TRUE(r.q.empty());
  }
}

TYPED_TEST(runq_of, a_batch_is_appended_as_far_as_there_is_room) {
  for (const std::uint32_t start : this->starts()) {
    ring<TestFixture::n> r(start);
    r.put(0);
    std::vector<int*> batch;
    for (int i = 1; i <= this->capacity; ++i) batch.push_back(r.item(i));
    EXPECT_EQ(0u, r.q.put_batch(batch.data(), 0));
    EXPECT_EQ(TestFixture::n - 1, r.q.put_batch(batch.data(), TestFixture::n));
    EXPECT_EQ(0u, r.q.put_batch(batch.data(), 1));
    EXPECT_EQ(from_to(0, this->capacity - 1), r.drain());
  }
}

TYPED_TEST(runq_of, a_thief_takes_the_older_half_rounded_up_and_leaves_the_order) {
  for (const std::uint32_t start : this->starts()) {
    for (int have = 1; have <= this->capacity; have = have < 8 ? have + 1 : have * 2) {
      ring<TestFixture::n> victim(start);
      typename ring<TestFixture::n>::queue mine;
      mine.reset_indices(start + 5);
      for (int i = 0; i < have; ++i) victim.put(i);
      const int half = have - have / 2;
      std::uint32_t stolen = 0;
      // The thief runs the youngest of the stolen ones itself.
      EXPECT_EQ(half - 1, victim.name(victim.q.steal_into(mine, stolen)));
      EXPECT_EQ(static_cast<std::uint32_t>(half), stolen);
      EXPECT_EQ(static_cast<std::uint32_t>(half - 1), mine.length());
      for (int i = 0; i < half - 1; ++i) EXPECT_EQ(i, victim.name(mine.take()));
      EXPECT_EQ(from_to(half, have - 1), victim.drain());
    }
  }
}

TYPED_TEST(runq_of, there_is_nothing_to_steal_in_an_empty_ring_even_beside_a_runnext) {
  ring<TestFixture::n> victim;
  typename ring<TestFixture::n>::queue mine;
  std::uint32_t stolen = 77;
  EXPECT_EQ(nullptr, victim.q.steal_into(mine, stolen));
  victim.put(5, true);
  EXPECT_EQ(nullptr, victim.q.steal_into(mine, stolen));
  EXPECT_EQ(77u, stolen);
  EXPECT_EQ(5, victim.name(victim.q.steal_next()));
  EXPECT_EQ(nullptr, victim.q.steal_next());
  EXPECT_EQ(-1, victim.take_next());
}

TYPED_TEST(runq_of, a_runnext_that_was_stolen_is_replaced_without_a_kick) {
  ring<TestFixture::n> r;
  r.put(1, true);
  EXPECT_EQ(1, r.name(r.q.steal_next()));
  r.put(2, true);
  EXPECT_EQ(0u, r.q.length());
  EXPECT_EQ(2, r.take_next());
}

TYPED_TEST(runq_of, empty_means_neither_ring_nor_runnext) {
  ring<TestFixture::n> r(0u - 1u);
  EXPECT_TRUE(r.q.empty());
  r.put(1);
  EXPECT_FALSE(r.q.empty());
  r.put(2, true);
  EXPECT_FALSE(r.q.empty());
  EXPECT_EQ(1, r.take());
  EXPECT_FALSE(r.q.empty());
  EXPECT_EQ(2, r.take_next());
  EXPECT_TRUE(r.q.empty());
}

TYPED_TEST(runq_of, length_counts_the_ring_only) {
  ring<TestFixture::n> r(0u - 1u);
  r.put(1000, true);
  for (int i = 0; i < this->capacity; ++i) {
    EXPECT_EQ(static_cast<std::uint32_t>(i), r.q.length());
    r.put(i);
  }
  EXPECT_EQ(TestFixture::n, r.q.length());
}

TEST(runq, stolen_ones_go_behind_what_the_thief_has) {
  ring<4> victim;
  ring<4>::queue mine;
  for (int i = 0; i < 4; ++i) victim.put(i);
  ring<4>::spill out;
  ASSERT_FALSE(mine.put_or_spill(victim.item(100), false, out));
  std::uint32_t stolen = 0;
  EXPECT_EQ(1, victim.name(victim.q.steal_into(mine, stolen)));
  EXPECT_EQ(100, victim.name(mine.take()));
  EXPECT_EQ(0, victim.name(mine.take()));
}

TEST(runq, a_steal_into_a_ring_without_room_is_fatal) {
  EXPECT_EXIT(
      {
        ring<4> victim;
        ring<4> thief;
        for (int i = 0; i < 4; ++i) {
          victim.put(i);
          thief.put(i);
        }
        std::uint32_t stolen = 0;
        static_cast<void>(victim.q.steal_into(thief.q, stolen));
      },
      testing::ExitedWithCode(2), "fatal error: runq: steal overflow");
}

// ---- one owner, two thieves. Every item is counted by whoever gets it; the ring is so small that overflow, wrap and
// the race for the last item happen all the time.

template <std::uint32_t N>
struct arena {
  static constexpr int items = 20'000;
  using queue = runq<atomic<int>, N>;

  queue owner;
  queue thief[2];
  std::unique_ptr<atomic<int>[]> got { new atomic<int>[ items ]() };
  atomic<bool> done{false};
  atomic<int> ready{0};

  void count(atomic<int>* item) { item->fetch_add(1, relaxed); }

  void steal(int self) {
    queue& mine = thief[self];
    ready.fetch_add(1, acq_rel);
    for (;;) {
      const bool last_look = done.load(acquire);
      std::uint32_t stolen = 0;
      atomic<int>* item = owner.steal_into(mine, stolen);
      if (item == nullptr) item = owner.steal_next();
      if (item != nullptr) {
        count(item);
        while ((item = mine.take()) != nullptr) count(item);
        continue;
      }
      if (last_look) return;
      os::pause();
    }
  }

  void own() {
    while (ready.load(acquire) < 2) os::yield_thread();
    std::uint32_t mix = 1;
    for (int i = 0; i < items; ++i) {
      mix = mix * 1664525 + 1013904223;
      typename queue::spill out;
      if (owner.put_or_spill(&got[i], (mix >> 28) < 6, out)) {
        for (std::uint32_t k = 0; k < out.n; ++k) count(out.item[k]);
      }
      if ((mix >> 24) % 4 == 0) {
        atomic<int>* item = owner.take_next();
        if (item == nullptr) item = owner.take();
        if (item != nullptr) count(item);
      }
      // Where both CPUs belong to others the thieves would see nothing but the end.
      if (i % 1024 == 0) os::yield_thread();
    }
    for (;;) {
      atomic<int>* item = owner.take_next();
      if (item == nullptr) item = owner.take();
      if (item == nullptr) break;
      count(item);
    }
    done.store(true, release);
  }
};

template <std::uint32_t N>
void each_item_exactly_once(std::uint32_t start) {
  arena<N> a;
  a.owner.reset_indices(start);
  a.thief[0].reset_indices(start + 1);
  os::thread threads[2];
  struct arg {
    arena<N>* a;
    int self;
  } args[2] = {{&a, 0}, {&a, 1}};
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(0, os::thread_start(
                     &threads[i],
                     [](void* p) {
                       const arg& mine = *static_cast<arg*>(p);
                       mine.a->steal(mine.self);
                     },
                     &args[i]));
  }
  a.own();
  for (os::thread& t : threads) os::thread_join(t);
  EXPECT_TRUE(a.owner.empty());
  for (int i = 0; i < arena<N>::items; ++i) ASSERT_EQ(1, a.got[i].load(relaxed)) << "item " << i;
}

TEST(runq, two_thieves_and_the_owner_get_each_item_exactly_once_from_a_ring_of_2) { each_item_exactly_once<2>(0); }
TEST(runq, two_thieves_and_the_owner_get_each_item_exactly_once_from_a_ring_of_4) { each_item_exactly_once<4>(0); }
TEST(runq, two_thieves_and_the_owner_get_each_item_exactly_once_across_the_wrap) {
  each_item_exactly_once<4>(0u - 5000u);
}
TEST(runq, two_thieves_and_the_owner_get_each_item_exactly_once_from_a_full_size_ring) {
  each_item_exactly_once<256>(0u - 300u);
}

// What a thief gets was published whole: the plain write in front of the put is visible to it (and to a race detector).
struct parcel {
  int content = 0;
};
struct publication {
  runq<parcel, 4> q;
  parcel parcels[2000];
  atomic<bool> done{false};
  int wrong = 0;
};

TEST(runq, thief_never_sees_an_unpublished_slot) {
  publication pub;
  os::thread thief;
  ASSERT_EQ(0, os::thread_start(
                   &thief,
                   [](void* p) {
                     publication& all = *static_cast<publication*>(p);
                     runq<parcel, 4> mine;
                     for (;;) {
                       const bool last_look = all.done.load(acquire);
                       std::uint32_t stolen = 0;
                       parcel* got = all.q.steal_into(mine, stolen);
                       if (got == nullptr) got = all.q.steal_next();
                       if (got == nullptr && last_look) return;
                       for (; got != nullptr; got = mine.take()) {
                         if (got->content != 42) ++all.wrong;
                       }
                     }
                   },
                   &pub));
  int put = 0;
  for (parcel& each : pub.parcels) {
    each.content = 42;
    runq<parcel, 4>::spill out;
    if (pub.q.put_or_spill(&each, put % 3 == 0, out)) {
      for (std::uint32_t k = 0; k < out.n; ++k) EXPECT_EQ(42, out.item[k]->content);
    }
    if (++put % 8 == 0) os::yield_thread();
  }
  pub.done.store(true, release);
  os::thread_join(thief);
  EXPECT_EQ(0, pub.wrong);
}

}  // namespace
