#include "mem/slab.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "os/sys.hpp"
#include "unit/os/child.hpp"

namespace {

using namespace weft::rt;

constexpr std::size_t object_bytes = 192;

class slab : public testing::Test {
 protected:
  ~slab() override { slab_.drop(); }

  std::vector<char*> take(std::size_t n) {
    void* first = nullptr;
    const std::size_t k = slab_.fresh(&first, n);
    EXPECT_LE(k, n);
    std::vector<char*> objects;
    for (std::size_t i = 0; i < k; ++i) objects.push_back(static_cast<char*>(first) + i * object_bytes);
    return objects;
  }
  std::vector<char*> walk() {
    std::vector<char*> seen;
    slab_.for_each(
        [](void* object, void* arg) { static_cast<std::vector<char*>*>(arg)->push_back(static_cast<char*>(object)); },
        &seen);
    std::sort(seen.begin(), seen.end());
    return seen;
  }

  raw_slab slab_{object_bytes};
};

TEST_F(slab, fresh_objects_are_zero_and_contiguous) {
  const std::vector<char*> objects = take(16);
  ASSERT_EQ(16u, objects.size());
  for (char* object : objects) {
    EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(object) % 64);
    EXPECT_TRUE(std::all_of(object, object + object_bytes, [](char c) { return c == 0; }));
  }
}

TEST_F(slab, objects_never_overlap_over_many_chunks) {
  std::vector<char*> all;
  while (slab_.bytes_reserved() < 5u << 20) {
    const std::vector<char*> some = take(1 + all.size() % 37);
    ASSERT_FALSE(some.empty());
    for (char* object : some) std::memset(object, 1, object_bytes);
    all.insert(all.end(), some.begin(), some.end());
  }
  std::sort(all.begin(), all.end());
  for (std::size_t i = 1; i < all.size(); ++i) ASSERT_GE(all[i] - all[i - 1], static_cast<long>(object_bytes));
  EXPECT_EQ(all, walk());
}

TEST_F(slab, the_rest_of_a_chunk_is_used_before_a_new_one) {
  const std::vector<char*> all = take(100'000);
  EXPECT_EQ(64u << 10, slab_.bytes_reserved());
  EXPECT_GE(all.size(), (64u << 10) / object_bytes - 1);
  take(1);
  EXPECT_GT(slab_.bytes_reserved(), 64u << 10);
}

TEST_F(slab, a_small_program_reserves_little_and_a_large_one_aligned_huge_pages) {
  take(1);
  EXPECT_EQ(64u << 10, slab_.bytes_reserved());
  take(100'000);
  const std::vector<char*> second = take(1);
  EXPECT_EQ((64u << 10) + (2u << 20), slab_.bytes_reserved());
  EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(second[0]) % (2u << 20));
}

TEST_F(slab, a_walk_sees_every_object_ever_handed_out_and_no_other) {
  EXPECT_TRUE(walk().empty());
  std::vector<char*> all = take(3);
  const std::vector<char*> more = take(4);
  all.insert(all.end(), more.begin(), more.end());
  EXPECT_EQ(all, walk());
}

TEST_F(slab, drop_leaves_no_mapping_and_the_slab_can_be_used_again) {
  char* const object = take(1)[0];
  take(100'000);
  take(1);
  slab_.drop();
  EXPECT_EQ(0u, slab_.bytes_reserved());
  unsigned char resident = 0;
  EXPECT_EQ(-1, ::mincore(object, os::page_size(), &resident));
  EXPECT_TRUE(walk().empty());
  EXPECT_EQ(2u, take(2).size());
}

TEST_F(slab, short_memory_is_used_in_small_chunks_then_nothing_is_handed_out) {
  if (sanitizer_maps_everything) GTEST_SKIP() << "the sanitizer's shadow is beyond any limit";
  EXPECT_EQ("exit 0", ends_with([&] {
              std::size_t pages = 0;
              FILE* statm = std::fopen("/proc/self/statm", "r");
              if (statm == nullptr || std::fscanf(statm, "%zu", &pages) != 1) return 1;
              std::fclose(statm);
              struct rlimit limit {};
              limit.rlim_cur = limit.rlim_max = pages * os::page_size() + (512 << 10);
              ::setrlimit(RLIMIT_AS, &limit);
              void* first = nullptr;
              std::size_t k = 0;
              for (int i = 0; i < 100; ++i) {
                k = slab_.fresh(&first, 100'000);
                if (k == 0) break;
              }
              return k == 0 && slab_.bytes_reserved() > (256u << 10) ? 0 : 2;
            }));
}

struct race {
  raw_slab slab{object_bytes};
  atomic<int> ready{0};
  atomic<int> clashes{0};
};

TEST_F(slab, two_threads_never_get_one_object) {
  race r;
  os::thread t[2];
  for (os::thread& each : t) {
    ASSERT_EQ(0, os::thread_start(
                     &each,
                     [](void* arg) {
                       race& mine = *static_cast<race*>(arg);
                       mine.ready.fetch_add(1, acq_rel);
                       while (mine.ready.load(acquire) < 2) os::yield_thread();
                       for (int i = 0; i < 3000; ++i) {
                         void* first = nullptr;
                         const std::size_t k = mine.slab.fresh(&first, 5);
                         for (std::size_t j = 0; j < k; ++j) {
                           std::size_t* word =
                               reinterpret_cast<std::size_t*>(static_cast<char*>(first) + j * object_bytes);
                           if (*word != 0) mine.clashes.fetch_add(1, relaxed);
                           *word = 1;
                         }
                       }
                     },
                     &r));
  }
  for (os::thread each : t) os::thread_join(each);
  EXPECT_EQ(0, r.clashes.load(relaxed));
  r.slab.drop();
}

#ifdef WEFT_ASAN
TEST_F(slab, what_only_an_object_points_to_is_no_leak) {
  EXPECT_EQ("exit 0", ends_with([&] {
              void* first = nullptr;
              slab_.fresh(&first, 1);
              *static_cast<char**>(first) = new char[100];
              first = nullptr;
              ::exit(0);  // with the check at exit
              return 1;
            }));
}
#endif

}  // namespace
