#include "mem/stack.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <set>
#include <vector>

#include "unit/os/child.hpp"

namespace {

using namespace weft::rt;
using os::guard_method;

constexpr int all_classes[] = {0, 1, 2, 3, 4};

const char* name_of(guard_method m) {
  switch (m) {
    case guard_method::automatic: return "automatic";
    case guard_method::batch: return "batch";
    case guard_method::single: return "single";
    case guard_method::protect: return "protect";
    case guard_method::canary: return "canary";
    case guard_method::none: return "none";
  }
  return "?";
}

std::uintptr_t slot_of(const stack* s) { return s->lo - stack_guard_bytes[s->slot_class]; }
std::uintptr_t top_of(const stack* s) { return slot_of(s) + stack_slot_bytes(s->slot_class); }

std::uintptr_t top_of_large(const stack* s) {
  return s->lo - stack_guard_bytes[stack_apart] + stack_bytes(*s) + slot_extra;
}

// The child's end after it wrote to that address.
std::string end_after_touching(std::uintptr_t address) {
  return ends_with([&] {
    *reinterpret_cast<volatile char*>(address) = 1;
    return 0;
  });
}

std::size_t resident_pages(std::uintptr_t from, std::uintptr_t to) {
  const std::size_t page = os::page_size();
  std::vector<unsigned char> resident((to - from) / page);
  if (::mincore(reinterpret_cast<void*>(from), to - from, resident.data()) != 0) return SIZE_MAX;
  std::size_t n = 0;
  for (const unsigned char r : resident) n += r & 1;
  return n;
}

bool leave_address_space(std::size_t bytes) {
  std::size_t pages = 0;
  FILE* statm = std::fopen("/proc/self/statm", "r");
  const bool read = statm != nullptr && std::fscanf(statm, "%zu", &pages) == 1;
  if (statm != nullptr) std::fclose(statm);
  struct rlimit limit {};
  limit.rlim_cur = limit.rlim_max = pages * os::page_size() + bytes;
  return read && ::setrlimit(RLIMIT_AS, &limit) == 0;
}

class arenas_fixture {
 public:
  explicit arenas_fixture(guard_method m = guard_method::automatic) { arenas.init(m); }
  ~arenas_fixture() {
    for (stack* s : taken) put(s);
    EXPECT_EQ(0u, arenas.slots_in_use());
    arenas.drop();
  }

  stack* get(int size_class) {
    int err = 0;
    stack* s = arenas.get(size_class, &err);
    if (s != nullptr) {
      EXPECT_EQ(nullptr, s->next);
      taken.insert(s);
    }
    error = err;
    return s;
  }
  void put(stack* s) {
    s->next = nullptr;
    arenas.put_list(s->size_class, s);
  }
  void put_taken(stack* s) {
    taken.erase(s);
    put(s);
  }

  stack_arenas arenas;
  std::set<stack*> taken;
  int error = 0;
};

TEST(stack, the_smallest_class_that_holds_the_size_is_chosen) {
  EXPECT_EQ(-1, stack_class_for(0));
  EXPECT_EQ(0, stack_class_for(1));
  for (const int c : all_classes) {
    EXPECT_EQ(c, stack_class_for(stack_class_bytes[c]));
    EXPECT_EQ(c == 4 ? -1 : c + 1, stack_class_for(stack_class_bytes[c] + 1));
  }
  EXPECT_EQ(-1, stack_class_for(SIZE_MAX));
}

TEST(stack, slots_are_aligned_to_their_size_and_start_points_to_sixteen_bytes) {
  arenas_fixture f;
  for (const int c : all_classes) {
    for (int i = 0; i < 40; ++i) {
      const stack* s = f.get(c);
      ASSERT_NE(nullptr, s);
      EXPECT_EQ(c, s->size_class);
      EXPECT_EQ(0u, slot_of(s) % os::page_size());
      EXPECT_GE(top_of(s) - slot_of(s), stack_class_bytes[c] + os::page_size());
      EXPECT_EQ(0u, s->sp0 % 16);
      EXPECT_LT(s->lo, s->sp0);
      EXPECT_LE(s->sp0, reinterpret_cast<std::uintptr_t>(s));
      EXPECT_LE(reinterpret_cast<std::uintptr_t>(s + 1), top_of(s));
      EXPECT_EQ(nullptr, s->owner);
    }
  }
}

TEST(stack, start_points_of_sixteen_neighbours_lie_in_sixteen_cache_lines_of_one_kibibyte) {
  arenas_fixture f;
  std::set<std::uintptr_t> depths;
  for (int i = 0; i < 16; ++i) {
    const stack* s = f.get(2);
    depths.insert(top_of(s) - s->sp0);
  }
  EXPECT_EQ(16u, depths.size());
  EXPECT_LE(*depths.rbegin() - *depths.begin(), 1024u);
  for (const std::uintptr_t d : depths) EXPECT_EQ(0u, d % 64);
}

TEST(stack, the_slot_given_back_last_is_used_first) {
  arenas_fixture f;
  stack* a = f.get(1);
  stack* b = f.get(1);
  f.put_taken(a);
  f.put_taken(b);
  EXPECT_EQ(b, f.get(1));
  EXPECT_EQ(a, f.get(1));
}

TEST(stack, a_list_comes_back_in_its_order_and_is_counted) {
  arenas_fixture f;
  stack* s[30];
  for (stack*& each : s) each = f.get(0);
  EXPECT_EQ(30u, f.arenas.slots_in_use());
  for (int i = 0; i < 29; ++i) s[i]->next = s[i + 1];
  f.taken.clear();
  f.arenas.put_list(0, s[0]);
  EXPECT_EQ(0u, f.arenas.slots_in_use());

  int err = 0;
  stack* first = f.arenas.get_list(0, 3, &err);
  EXPECT_EQ(3u, f.arenas.slots_in_use());
  ASSERT_EQ(s[0], first);
  ASSERT_EQ(s[1], first->next);
  ASSERT_EQ(s[2], first->next->next);
  EXPECT_EQ(nullptr, s[2]->next);
  // However many are asked for: an eighth of the 27 that are left, rounded up.
  stack* second = f.arenas.get_list(0, 100, &err);
  EXPECT_EQ(3u + 4u, f.arenas.slots_in_use());
  ASSERT_EQ(s[3], second);
  EXPECT_EQ(s[6], second->next->next->next);
  EXPECT_EQ(nullptr, s[6]->next);
  f.arenas.put_list(0, second);
  f.arenas.put_list(0, first);
  f.arenas.put_list(0, nullptr);
  EXPECT_EQ(0u, f.arenas.slots_in_use());
  // One is never too many.
  for (unsigned n = 30; n != 0; --n) {
    stack* one = f.arenas.get_list(0, 1, &err);
    ASSERT_NE(nullptr, one);
    EXPECT_EQ(31 - n, f.arenas.slots_in_use());
    f.taken.insert(one);
  }
}

TEST(stack, a_list_of_fresh_slots_is_short_because_each_costs_a_page) {
  arenas_fixture f;
  int err = 0;
  stack* s = f.arenas.get_list(2, 32, &err);
  ASSERT_NE(nullptr, s);
  EXPECT_EQ(nullptr, s->next);
  f.taken.insert(s);
}

TEST(stack, a_used_slot_costs_one_page) {
  arenas_fixture f;
  for (const int c : all_classes) {
    const std::size_t n = c < 3 ? 300 : 20;
    for (std::size_t i = 0; i < n; ++i) {
      stack* s = f.get(c);
      ASSERT_NE(nullptr, s);
      // The first frames share the descriptor's page.
      std::memset(reinterpret_cast<void*>(s->sp0 - 1024), 1, 1024);
    }
  }
  for (const stack* s : f.taken) EXPECT_EQ(1u, resident_pages(s->lo, top_of(s)));
}

TEST(stack, no_huge_page_can_back_a_slot) {
  arenas_fixture f;
  const stack* s = f.get(2);
  FILE* maps = std::fopen("/proc/self/smaps", "r");
  ASSERT_NE(nullptr, maps);
  char line[1024];
  bool in_slot = false, seen = false;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    unsigned long from = 0, to = 0;
    if (std::sscanf(line, "%lx-%lx ", &from, &to) == 2) in_slot = from <= s->sp0 && s->sp0 < to;
    if (in_slot && std::strncmp(line, "VmFlags:", 8) == 0) {
      seen = true;
      EXPECT_NE(nullptr, std::strstr(line, " nh")) << line;
    }
  }
  std::fclose(maps);
  EXPECT_TRUE(seen);
}

TEST(stack, addresses_are_found_in_every_part_of_a_slot_and_nowhere_else) {
  arenas_fixture f;
  for (const int c : all_classes) {
    stack* s = nullptr;
    for (int i = 0; i < 20; ++i) s = f.get(c);
    bool in_guard = false;
    EXPECT_EQ(s, f.arenas.find_sig(slot_of(s), &in_guard));
    EXPECT_TRUE(in_guard);
    EXPECT_EQ(s, f.arenas.find_sig(s->lo - 1, &in_guard));
    EXPECT_TRUE(in_guard);
    EXPECT_EQ(s, f.arenas.find_sig(s->lo, &in_guard));
    EXPECT_FALSE(in_guard);
    EXPECT_EQ(s, f.arenas.find_sig(s->sp0, &in_guard));
    EXPECT_EQ(s, f.arenas.find_sig(top_of(s) - 1, &in_guard));
    EXPECT_FALSE(in_guard);
    if (c < 4) {
      EXPECT_EQ(nullptr, f.arenas.find_sig(top_of(s), &in_guard)) << "the next slot is not carved yet";
    }
  }
  bool in_guard = false;
  int local = 0;
  EXPECT_EQ(nullptr, f.arenas.find_sig(reinterpret_cast<std::uintptr_t>(&local), &in_guard));
  EXPECT_EQ(nullptr, f.arenas.find_sig(0, &in_guard));
  EXPECT_EQ(nullptr, f.arenas.find_sig(UINTPTR_MAX, &in_guard));
}

TEST(stack, one_chunk_after_the_other_is_mapped_and_found) {
  arenas_fixture f(guard_method::none);
  for (std::size_t i = 0; i < stack_arenas::chunk_slots + 1; ++i) ASSERT_NE(nullptr, f.get(0));
  EXPECT_EQ(2 * stack_arenas::chunk_slots * stack_slot_bytes(0), f.arenas.bytes_reserved());
  for (stack* s : f.taken) {
    bool in_guard = true;
    ASSERT_EQ(s, f.arenas.find_sig(s->sp0 - 1, &in_guard));
    ASSERT_FALSE(in_guard);
  }
}

TEST(stack, a_walk_meets_every_slot_that_was_handed_out_and_no_other) {
  arenas_fixture f;
  for (const int c : all_classes) {
    for (int i = 0; i < 20; ++i) ASSERT_NE(nullptr, f.get(c));
  }
  for (std::size_t i = 0; i < stack_arenas::chunk_slots; ++i) ASSERT_NE(nullptr, f.get(0));
  std::vector<const stack*> met;
  f.arenas.for_each_sig([](const stack& s, void* to) { static_cast<std::vector<const stack*>*>(to)->push_back(&s); },
                        &met);
  std::vector<const stack*> taken(f.taken.begin(), f.taken.end());
  std::sort(met.begin(), met.end());
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(taken, met);
}

TEST(stack, drop_leaves_no_mapping_and_the_arenas_can_be_used_again) {
  stack_arenas arenas;
  for (int round = 0; round < 3; ++round) {
    arenas.init(guard_method::automatic);
    std::vector<std::uintptr_t> slots;
    for (const int c : all_classes) {
      int err = 0;
      stack* s = arenas.get(c, &err);
      ASSERT_NE(nullptr, s);
      slots.push_back(slot_of(s));
      arenas.put_list(c, s);
    }
    EXPECT_GT(arenas.bytes_reserved(), 0u);
    arenas.drop();
    EXPECT_EQ(0u, arenas.bytes_reserved());
    for (const std::uintptr_t slot : slots) {
      unsigned char resident = 0;
      EXPECT_EQ(-1, ::mincore(reinterpret_cast<void*>(slot), os::page_size(), &resident));
      EXPECT_EQ(ENOMEM, errno);
    }
  }
}

TEST(stack, drop_without_use_is_harmless) {
  stack_arenas arenas;
  arenas.drop();
  arenas.init(guard_method::none);
  arenas.drop();
}

#ifdef WEFT_ASAN
TEST(stack, what_only_a_stack_points_to_is_no_leak) {
  EXPECT_EQ("exit 0", ends_with([] {
              stack_arenas arenas;
              arenas.init(guard_method::automatic);
              int err = 0;
              for (const int c : all_classes) {
                stack* s = arenas.get(c, &err);
                if (s == nullptr) return 1;
                *reinterpret_cast<char**>(s->lo) = new char[100];
                *reinterpret_cast<char**>(s->sp0 - 8) = new char[100];
              }
              ::exit(0);  // with the check at exit, which reads all of them and must not meet a guard
            }));
}
#endif

// ---- guards

class stack_guards : public testing::TestWithParam<guard_method> {
 protected:
  void SetUp() override {
    int err = 0;
    void* page = os::reserve(os::page_size(), &err);
    const os::range r{page, os::page_size()};
    const int e = os::install_guards(GetParam(), {&r, 1});
    os::unmap(page, os::page_size());
    if (GetParam() == guard_method::canary) return;
    if (e != 0 && GetParam() != guard_method::automatic) GTEST_SKIP() << "this kernel cannot do it: " << e;
  }
};

class guards_that_kill : public stack_guards {};

TEST_P(guards_that_kill, a_touch_of_any_part_of_a_guard_kills_and_the_stack_above_is_free) {
  arenas_fixture f(GetParam());
  for (const int c : all_classes) {
    // Past the first batches of guards, where the class has so many slots.
    stack* s = nullptr;
    for (int i = 0; i < (c < 3 ? 70 : 6); ++i) s = f.get(c);
    ASSERT_NE(nullptr, s);
    EXPECT_EQ("signal 11", end_after_touching(s->lo - 1)) << c;
    EXPECT_EQ("signal 11", end_after_touching(slot_of(s))) << c;
    EXPECT_EQ("exit 0", end_after_touching(s->lo)) << c;
    EXPECT_EQ("exit 0", end_after_touching(top_of(s) - 1)) << c;
  }
}

TEST_P(guards_that_kill, a_fault_in_the_guard_is_found_by_address) {
  EXPECT_EQ("exit 5", ends_with([] {
              static stack_arenas arenas;
              static stack* touched;
              arenas.init(GetParam());
              int err = 0;
              touched = arenas.get(2, &err);
              os::fault_handler_install([](std::uintptr_t address, std::uintptr_t) -> bool {
                bool in_guard = false;
                const stack* found = arenas.find_sig(address, &in_guard);
                ::_exit(found == touched && in_guard ? 5 : 6);
              });
              *reinterpret_cast<volatile char*>(touched->lo - 100) = 1;
              return 0;
            }));
}

TEST_P(stack_guards, a_forced_method_is_the_one_used) {
  arenas_fixture f(GetParam());
  if (GetParam() == guard_method::automatic) {
    EXPECT_NE(guard_method::automatic, f.arenas.method());
    EXPECT_NE(guard_method::none, f.arenas.method());
  } else {
    EXPECT_EQ(GetParam(), f.arenas.method());
  }
}

INSTANTIATE_TEST_SUITE_P(methods, guards_that_kill,
                         testing::Values(guard_method::automatic, guard_method::batch, guard_method::single,
                                         guard_method::protect),
                         [](const auto& param) { return name_of(param.param); });
INSTANTIATE_TEST_SUITE_P(methods, stack_guards,
                         testing::Values(guard_method::automatic, guard_method::batch, guard_method::single,
                                         guard_method::protect, guard_method::canary),
                         [](const auto& param) { return name_of(param.param); });

// A system call does not die by a guard, it fails: what it has written up to there is there.
TEST_P(guards_that_kill, fault_21_a_system_call_that_meets_a_guard_fails_with_efault) {
  arenas_fixture f(GetParam());
  for (const int c : all_classes) {
    const stack* s = f.get(c);
    int ends[2];
    ASSERT_EQ(0, ::pipe(ends));
    ASSERT_EQ(8, ::write(ends[1], "12345678", 8));
    EXPECT_EQ(-1, ::read(ends[0], reinterpret_cast<void*>(s->lo - 8), 8));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(8, ::read(ends[0], reinterpret_cast<void*>(s->lo), 8)) << "nothing was lost";
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

std::size_t mappings() {
  std::size_t n = 0;
  FILE* maps = std::fopen("/proc/self/maps", "r");
  for (int c = 0; maps != nullptr && (c = std::fgetc(maps)) != EOF;) n += c == '\n';
  if (maps != nullptr) std::fclose(maps);
  return n;
}

TEST_P(stack_guards, fault_18_only_protect_pays_for_guards_in_mappings) {
  arenas_fixture f(GetParam());
  f.get(0);
  const std::size_t before = mappings();
  constexpr std::size_t n = 3 * stack_arenas::chunk_slots;
  for (std::size_t i = 0; i < n; ++i) ASSERT_NE(nullptr, f.get(0));
  const std::size_t after = mappings();
  if (f.arenas.method() == guard_method::protect) {
    EXPECT_GT(after, before + n);
  } else {
    EXPECT_LT(after, before + 16) << "two per chunk at most";
  }
}

// ---- canaries

TEST(stack_canary, any_word_of_the_page_below_the_stack_is_missed_when_it_changes) {
  arenas_fixture f(guard_method::canary);
  for (const int c : all_classes) {
    for (int i = 0; i < 3; ++i) {
      stack* s = f.get(c);
      ASSERT_NE(nullptr, s);
      EXPECT_TRUE(s->canary);
      EXPECT_EQ(stack_apart, s->size_class) << "no P may keep it";
      EXPECT_EQ(c, s->slot_class);
      EXPECT_EQ(stack_class_bytes[c], stack_bytes(*s));
      EXPECT_EQ(s->lo, slot_of(s) + stack_guard_bytes[c]) << "what a guard would take is room for an overflow";
      ASSERT_EQ(0u, broken_canary(*s));
      for (std::uintptr_t at = s->lo - 4096; at < s->lo; at += sizeof at) {
        auto& word = *reinterpret_cast<std::uintptr_t*>(at);
        const std::uintptr_t was = word;
        for (const std::uintptr_t other : {std::uintptr_t{0}, ~was, was ^ 1}) {
          word = other;
          ASSERT_EQ(at, broken_canary(*s));
        }
        word = was;
      }
      EXPECT_EQ(0u, broken_canary(*s));
      // The highest one is named: where the stack was left.
      *reinterpret_cast<char*>(s->lo - 100) ^= 1;
      *reinterpret_cast<char*>(s->lo - 4000) ^= 1;
      EXPECT_EQ((s->lo - 100) / sizeof(void*) * sizeof(void*), broken_canary(*s));
    }
  }
}

TEST(stack_canary, no_use_of_the_stack_itself_or_of_its_neighbour_breaks_it) {
  arenas_fixture f(guard_method::canary);
  for (const int c : {0, 1, 2}) {
    stack* s[3];
    for (stack*& each : s) each = f.get(c);
    std::memset(reinterpret_cast<void*>(s[1]->lo), 0xff, s[1]->sp0 - s[1]->lo);
    for (const stack* each : s) EXPECT_EQ(0u, broken_canary(*each));
    // An overflow as deep as a guard is wide hurts nobody.
    std::memset(reinterpret_cast<void*>(slot_of(s[1])), 0xff, stack_guard_bytes[c]);
    EXPECT_EQ(s[1]->lo - sizeof(void*), broken_canary(*s[1]));
    EXPECT_EQ(0u, broken_canary(*s[0]));
    EXPECT_EQ(0u, broken_canary(*s[2]));
    EXPECT_EQ(s[0]->lo, slot_of(s[0]) + stack_guard_bytes[c]) << "the neighbour's descriptor is whole";
  }
}

TEST(stack_canary, an_overflow_that_goes_on_and_on_ends_below_the_chunk_at_the_latest) {
  arenas_fixture f(guard_method::canary);
  for (const int c : all_classes) {
    const stack* first = f.get(c);
    EXPECT_EQ("exit 0", end_after_touching(slot_of(first)));
    EXPECT_EQ("signal 11", end_after_touching(slot_of(first) - 1));
    EXPECT_EQ("signal 11", end_after_touching(slot_of(first) - (32 << 10)));
  }
}

TEST(stack_canary, a_slot_costs_two_pages_and_is_used_again) {
  arenas_fixture f(guard_method::canary);
  stack* s = f.get(2);
  EXPECT_EQ(2u, resident_pages(slot_of(s), top_of(s)));
  f.put_taken(s);
  EXPECT_EQ(s, f.get(2));
  EXPECT_EQ(0u, broken_canary(*s));
  EXPECT_EQ(1u, f.arenas.slots_in_use());
}

// ---- main's large stack

TEST_P(stack_guards, a_large_stack_has_its_size_and_a_guard_and_is_found) {
  arenas_fixture f(GetParam());
  stack* small = f.get(4);
  for (const std::size_t bytes : {(std::size_t{8} << 20) + 1, std::size_t{64} << 20, std::size_t{1} << 30}) {
    int err = 0;
    stack* s = f.arenas.get_large(bytes, &err);
    ASSERT_NE(nullptr, s) << err;
    const std::size_t page = os::page_size();
    EXPECT_EQ((bytes + page - 1) / page * page, stack_bytes(*s));
    EXPECT_EQ(stack_apart, s->size_class);
    EXPECT_EQ(0u, s->sp0 % 16);
    bool in_guard = false;
    EXPECT_EQ(s, f.arenas.find_sig(s->lo - 1, &in_guard));
    EXPECT_TRUE(in_guard);
    EXPECT_EQ(s, f.arenas.find_sig(s->sp0 - 1, &in_guard));
    EXPECT_FALSE(in_guard);
    EXPECT_EQ("exit 0", end_after_touching(s->lo));
    EXPECT_EQ(GetParam() == guard_method::canary ? "exit 0" : "signal 11", end_after_touching(s->lo - 1));
    EXPECT_EQ("exit 0", end_after_touching(s->lo + bytes / 2));
    EXPECT_EQ(2u, f.arenas.slots_in_use());
    f.arenas.put_list(stack_apart, s);
    EXPECT_EQ(1u, f.arenas.slots_in_use());
  }
  bool in_guard = false;
  EXPECT_EQ(small, f.arenas.find_sig(small->sp0 - 1, &in_guard));
}

TEST(stack, a_large_stack_that_comes_back_gives_its_pages_away_and_waits_for_the_next_of_its_size) {
  arenas_fixture f;
  int err = 0;
  constexpr std::size_t bytes = std::size_t{16} << 20;
  stack* s = f.arenas.get_large(bytes, &err);
  ASSERT_NE(nullptr, s);
  std::memset(reinterpret_cast<void*>(s->lo), 1, s->sp0 - s->lo);
  EXPECT_GT(resident_pages(s->lo, top_of_large(s)), 4000u);
  f.arenas.put_list(stack_apart, s);
  EXPECT_EQ(1u, resident_pages(s->lo, top_of_large(s)));
  const std::uint64_t reserved = f.arenas.bytes_reserved();
  for (int i = 0; i < 100; ++i) {
    stack* again = f.arenas.get_large(bytes - static_cast<std::size_t>(i), &err);
    ASSERT_EQ(s, again);
    EXPECT_EQ("signal 11", end_after_touching(s->lo - 1));
    f.arenas.put_list(stack_apart, again);
  }
  EXPECT_EQ(reserved, f.arenas.bytes_reserved());
  stack* other = f.arenas.get_large(2 * bytes, &err);
  EXPECT_NE(s, other);
  f.arenas.put_list(stack_apart, other);
}

TEST(stack, a_large_stack_that_is_refused_leaves_nothing_behind) {
  if (sanitizer_maps_everything) GTEST_SKIP() << "the sanitizer's shadow is beyond any limit";
  const std::string end = ends_with([] {
    stack_arenas arenas;
    arenas.init(guard_method::automatic);
    if (!leave_address_space(24 << 20)) return 1;
    int err = 0;
    if (arenas.get_large(std::size_t{64} << 20, &err) != nullptr || err != ENOMEM) return 2;
    if (arenas.get_large(SIZE_MAX - 1, &err) != nullptr || err != ENOMEM) return 3;
    if (arenas.slots_in_use() != 0 || arenas.bytes_reserved() != 0) return 4;
    return arenas.get_large(std::size_t{9} << 20, &err) != nullptr ? 0 : 5;
  });
  EXPECT_EQ("exit 0", end);
}

TEST(stack, what_is_lent_to_threads_is_counted_apart) {
  arenas_fixture f;
  int err = 0;
  stack* s = f.arenas.lend(4, &err);
  ASSERT_NE(nullptr, s);
  EXPECT_EQ(0u, f.arenas.slots_in_use());
  f.arenas.take_back(s);
  EXPECT_EQ(0u, f.arenas.slots_in_use());
  EXPECT_EQ(s, f.get(4));
}

TEST(stack, without_guards_the_whole_slot_is_writable) {
  arenas_fixture f(guard_method::none);
  EXPECT_EQ("exit 0", end_after_touching(f.get(2)->lo - 1));
}

TEST(stack, guards_by_mprotect_leave_half_of_the_mappings_to_the_program) {
  const std::string end = ends_with([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    ::dup2(ends[1], 2);
    stack_arenas arenas;
    arenas.init(guard_method::protect);
    int err = 0;
    std::size_t n = 0;
    const std::size_t most = os::mapping_limit() / 4;
    for (; arenas.get(0, &err) != nullptr; ++n) {
      if (n > most) return 2;
    }
    if (err != ENOMEM || n + 1 < most) return 3;
    if (arenas.get(0, &err) != nullptr) return 4;
    // Mappings can still be made, and the warning came once.
    int refused = 0;
    char* at = static_cast<char*>(os::reserve(2000 * os::page_size(), &refused));
    for (std::size_t i = 0; i < 2000; i += 2) {
      const os::range r{at + i * os::page_size(), os::page_size()};
      if (os::install_guards(guard_method::protect, {&r, 1}) != 0) return 5;
    }
    char text[4096];
    const ssize_t length = ::read(ends[0], text, sizeof text - 1);
    text[length] = '\0';
    const char* first = std::strstr(text, "weft: no more stacks");
    return first != nullptr && std::strstr(first + 1, "weft:") == nullptr ? 0 : 6;
  });
  EXPECT_EQ("exit 0", end);
}

// From now on this process's kernel looks older: process_madvise is missing, and madvise's guards if asked for.
bool play_an_older_kernel(bool without_guards) {
  constexpr std::uint32_t process_madvise = 440, guard_install = 102;
  const auto load = [](std::size_t offset) {
    return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
  };
  const auto jump_unless = [](std::uint32_t value, std::uint8_t skip) {
    return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value};
  };
  const auto answer = [](std::uint32_t what) { return sock_filter{BPF_RET | BPF_K, 0, 0, what}; };
  sock_filter code[] = {
      load(offsetof(seccomp_data, nr)),
      jump_unless(process_madvise, 1),
      answer(SECCOMP_RET_ERRNO | ENOSYS),
      jump_unless(without_guards ? SYS_madvise : UINT32_MAX, 3),
      load(offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t)),
      jump_unless(guard_install, 1),
      answer(SECCOMP_RET_ERRNO | EINVAL),
      answer(SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

TEST(stack, on_older_kernels_automatic_means_the_next_best_method) {
  const auto end_on_older = [](bool without_guards, guard_method expected) {
    return ends_with([&] {
      if (!play_an_older_kernel(without_guards)) return 77;
      stack_arenas arenas;
      arenas.init(guard_method::automatic);
      if (arenas.method() != expected) return 1;
      int err = 0;
      const stack* s = arenas.get(2, &err);
      if (s == nullptr) return 2;
      *reinterpret_cast<volatile char*>(s->lo - 1) = 1;
      return 3;
    });
  };
  const std::string end = end_on_older(true, guard_method::protect);
  if (end == "exit 77") GTEST_SKIP() << "may not filter system calls";
  EXPECT_EQ("signal 11", end);
  bool has_single = false;
  {
    arenas_fixture f;
    has_single = f.arenas.method() != guard_method::protect;
  }
  if (has_single) {
    EXPECT_EQ("signal 11", end_on_older(false, guard_method::single));
  }
}

// mlock makes the kernel refuse the light guards. Past libc, where sanitizers turn it into nothing.
bool lock_future_memory() {
  constexpr int future = 2, on_fault = 4;
  return ::syscall(SYS_mlockall, future | on_fault) == 0;
}

TEST(stack, in_locked_memory_mprotect_takes_over) {
  for (const bool locked_before_init : {true, false}) {
    const std::string end = ends_with([&] {
      stack_arenas arenas;
      if (locked_before_init && !lock_future_memory()) return 77;
      arenas.init(guard_method::automatic);
      if (locked_before_init && arenas.method() != guard_method::protect) return 1;
      if (!lock_future_memory()) return 77;
      int err = 0;
      stack* s = arenas.get(1, &err);
      if (s == nullptr) return err == EAGAIN || err == ENOMEM ? 77 : 2;
      *reinterpret_cast<volatile char*>(s->lo - 1) = 1;
      return 3;
    });
    if (end == "exit 77") GTEST_SKIP() << "may not lock so much memory";
    EXPECT_EQ("signal 11", end) << locked_before_init;
  }
}

TEST(stack, a_forced_method_that_the_kernel_refuses_is_an_error_not_a_missing_guard) {
  const std::string end = ends_with([] {
    if (!lock_future_memory()) return 77;
    stack_arenas arenas;
    arenas.init(guard_method::single);
    int err = 0;
    if (arenas.get(1, &err) != nullptr) return 1;
    return err == EAGAIN || err == ENOMEM ? 77 : err == EINVAL && arenas.slots_in_use() == 0 ? 0 : 2;
  });
  if (end == "exit 77") GTEST_SKIP() << "may not lock so much memory";
  EXPECT_EQ("exit 0", end);
}

// ---- refusal

TEST(stack, chunks_are_halved_while_the_address_space_is_refused_then_the_error_is_clean) {
  if (sanitizer_maps_everything) GTEST_SKIP() << "the sanitizer's shadow is beyond any limit";
  const std::string end = ends_with([] {
    stack_arenas arenas;
    arenas.init(guard_method::automatic);
    // Less than a tenth of a chunk.
    if (!leave_address_space(24 << 20)) return 1;
    int err = 0;
    stack* all = nullptr;
    std::size_t n = 0;
    while (stack* s = arenas.get(2, &err)) {
      s->next = all;
      all = s;
      ++n;
    }
    if (err != ENOMEM) return 2;
    if (n < (16u << 20) / stack_slot_bytes(2)) return 3;
    if (arenas.slots_in_use() != n || arenas.bytes_reserved() != n * stack_slot_bytes(2)) return 4;
    // What there is can be used again, and a smaller class may still fit.
    arenas.put_list(2, all);
    err = 0;
    stack* again = arenas.get(2, &err);
    if (again != all || err != 0) return 5;
    again->next = nullptr;
    arenas.put_list(2, again);
    arenas.drop();
    return arenas.get(2, &err) != nullptr ? 0 : 6;
  });
  EXPECT_EQ("exit 0", end);
}

TEST(stack, the_first_slot_of_all_can_be_refused) {
  if (sanitizer_maps_everything) GTEST_SKIP() << "the sanitizer's shadow is beyond any limit";
  const std::string end = ends_with([] {
    stack_arenas arenas;
    if (!leave_address_space(0)) return 1;
    arenas.init(guard_method::automatic);
    int err = 0;
    return arenas.get(4, &err) == nullptr && err == ENOMEM && arenas.slots_in_use() == 0 ? 0 : 2;
  });
  EXPECT_EQ("exit 0", end);
}

// ---- threads

struct hammer {
  stack_arenas arenas;
  atomic<int> ready{0};
  atomic<int> clashes{0};
};

void hammer_thread(void* arg) {
  hammer& h = *static_cast<hammer*>(arg);
  int me = 0;
  h.ready.fetch_add(1, acq_rel);
  while (h.ready.load(acquire) < 2) os::yield_thread();
  for (int round = 0; round < 300; ++round) {
    stack* held[8] = {};
    for (int i = 0; i < 8; ++i) {
      int err = 0;
      held[i] = h.arenas.get(i % 3, &err);
      if (held[i] == nullptr || held[i]->owner != nullptr) {
        h.clashes.fetch_add(1, relaxed);
        return;
      }
      held[i]->owner = &me;
      bool in_guard = true;
      if (h.arenas.find_sig(held[i]->sp0 - 1, &in_guard) != held[i] || in_guard) h.clashes.fetch_add(1, relaxed);
    }
    for (stack* s : held) {
      if (s->owner != &me) h.clashes.fetch_add(1, relaxed);
      s->owner = nullptr;
      // Half of them stay taken for ever, so that carving and reuse run beside each other.
      if (s == held[0] && round % 2 == 0) continue;
      s->next = nullptr;
      h.arenas.put_list(s->size_class, s);
    }
  }
}

TEST(stack, two_threads_never_get_one_slot) {
  hammer h;
  h.arenas.init(guard_method::automatic);
  os::thread t[2];
  for (os::thread& each : t) ASSERT_EQ(0, os::thread_start(&each, hammer_thread, &h));
  for (os::thread each : t) os::thread_join(each);
  EXPECT_EQ(0, h.clashes.load(relaxed));
  EXPECT_EQ(300u, h.arenas.slots_in_use());
}

}  // namespace
