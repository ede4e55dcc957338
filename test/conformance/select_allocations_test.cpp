// Go's select2: selects that wait again and again take no memory. Here: none at all, up to 64 cases.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/macros.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/select.hpp"

namespace {

std::atomic<long> allocations{0};

}  // namespace

// Counted for the whole program. Not under sanitizers, which have an operator new of their own and check it against delete.
#if !defined(WEFT_ASAN) && !defined(WEFT_TSAN)
namespace {
constexpr bool counting = true;
void* counted(std::size_t n) {
  ++allocations;
  if (void* at = std::malloc(n == 0 ? 1 : n)) return at;
  throw std::bad_alloc();
}
void* counted(std::size_t n, std::align_val_t align) {
  ++allocations;
  const auto a = static_cast<std::size_t>(align);
  if (void* at = std::aligned_alloc(a, (n + a - 1) / a * a)) return at;
  throw std::bad_alloc();
}
}  // namespace
void* operator new(std::size_t n) { return counted(n); }
void* operator new[](std::size_t n) { return counted(n); }
void* operator new(std::size_t n, std::align_val_t align) { return counted(n, align); }
void* operator new[](std::size_t n, std::align_val_t align) { return counted(n, align); }
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }
#else
namespace {
constexpr bool counting = false;
}
#endif

namespace {

using namespace weft;
using test::run_case;

// A thread that the runtime starts meanwhile costs some: so none is less than one in so many calls.
constexpr int few = 100;

template <class F>
long allocations_of(int rounds, F f) {
  for (int i = 0; i < 100; ++i) f();
  const long before = allocations.load();
  for (int i = 0; i < rounds; ++i) f();
  return allocations.load() - before;
}

TEST(select_allocations, are_seen_by_this_test) {
  if (!counting) GTEST_SKIP() << "a sanitizer has its own operator new";
  EXPECT_EQ(allocations_of(10, [] { const chan<int> one; }), 10);
}

// Two goroutines: whoever waits in the select is woken by the other, which waits then.
TEST(select_allocations, a_select_that_waits_makes_none) {
  if (!counting) GTEST_SKIP() << "a sanitizer has its own operator new";
  test::for_each_case(
      [](const run_case&) {
        const chan<int> ping, pong, never;
        const chan<std::string> texts;
        wait_group all;
        all.go([&] {
          std::optional<std::string> text;
          while (select(recv(ping), recv(never), recv(texts, text)) == 0) select(send(pong, 1), send(never, 1));
          EXPECT_EQ(text, "end");
        });
        constexpr int rounds = 20'000;
        EXPECT_LT(allocations_of(rounds,
                                 [&] {
                                   select(send(ping, 1), recv(never));
                                   std::optional<int> v;
                                   select(recv(never), recv(pong, v));
                                 }),
                  rounds / few);
        texts.send("end");
        all.wait();
      },
      {{1, 2, 4}, 1});
}

TEST(select_allocations, up_to_64_cases_make_none_and_65_do) {
  if (!counting) GTEST_SKIP() << "a sanitizer has its own operator new";
  test::for_each_case(
      [](const run_case&) {
        std::vector<chan<int>> channels(65);
        std::vector<std::optional<int>> values(65);
        std::vector<select_case> cases;
        for (std::size_t i = 0; i < 65; ++i) cases.push_back(recv(channels[i], values[i]));
        const chan<> wanted;
        wait_group all;
        all.go([&] {
          while (wanted.recv()) channels[60].send(1);
        });
        constexpr int rounds = 1000;
        const auto of = [&](std::size_t n) {
          return allocations_of(rounds, [&] {
            wanted.send();
            EXPECT_EQ(select(std::span<const select_case>(cases.data(), n)), 60u);
            EXPECT_EQ(try_select(std::span<const select_case>(cases.data(), n)), std::nullopt);
          });
        };
        EXPECT_LT(of(61), rounds / few);
        EXPECT_LT(of(64), rounds / few);
        EXPECT_GE(of(65), rounds) << "or the test counts nothing";
        wanted.close();
        all.wait();
      },
      {{1, 2, 4}, 1});
}

}  // namespace
