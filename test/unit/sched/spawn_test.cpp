// go: how a callable gets into a goroutine, and what is left when it cannot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "model/process.hpp"
#include "support/build.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/this_goroutine.hpp"

namespace {

using namespace small_runtime;
using testing::HasSubstr;

std::string message_of(auto f) {
  try {
    f();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// ---- sizes. A callable of so many bytes, filled so that a lost byte shows.

template <std::size_t N>
struct bytes {
  explicit bytes(int* result) : sum(result) {
    for (std::size_t i = 0; i < N; ++i) content[i] = static_cast<unsigned char>(i * 7 + 1);
  }
  void operator()() {
    int wrong = 0;
    for (std::size_t i = 0; i < N; ++i) wrong += content[i] != static_cast<unsigned char>(i * 7 + 1);
    *sum = wrong == 0 ? static_cast<int>(sizeof(*this)) : -1;
  }
  int* sum;
  unsigned char content[N];
};

template <std::size_t N>
void runs_whole() {
  static_assert(sizeof(bytes<N>) >= N + 8);
  int result = 0;
  go_now(bytes<N>(&result));
  EXPECT_EQ(static_cast<int>(sizeof(bytes<N>)), result);
  bytes<N> named(&result);
  result = 0;
  go_now(named);
  EXPECT_EQ(static_cast<int>(sizeof(bytes<N>)), result);
}

int calls_of_nothing = 0;

TEST(go, takes_callables_of_every_size) {
  with_procs(1, [] {
    calls_of_nothing = 0;
    const auto empty = [] { ++calls_of_nothing; };
    static_assert(sizeof(empty) == 1);
    go_now(empty);
    EXPECT_EQ(1, calls_of_nothing);
    runs_whole<1>();
    runs_whole<8>();
    runs_whole<48>();
    runs_whole<56>();  // 64 in all: the last that fits into the g
    runs_whole<57>();  // and the first that does not
    runs_whole<4088>();
  });
  static_assert(sizeof(bytes<56>) == 64 && weft::detail::entry_inline<bytes<56>>);
  static_assert(!weft::detail::entry_inline<bytes<57>>);
}

// Sizes beside a pointer of 8 bytes are multiples of 8; this one is 65.
struct sixty_five {
  unsigned char content[65];
  void operator()() const {
    int sum = 0;
    for (const unsigned char c : content) sum += c;
    calls_of_nothing = sum;
  }
};

TEST(go, takes_a_callable_of_one_byte_too_many) {
  static_assert(sizeof(sixty_five) == 65 && !weft::detail::entry_inline<sixty_five>);
  with_procs(1, [] {
    sixty_five f;
    for (unsigned char& c : f.content) c = 2;
    go_now(f);
    EXPECT_EQ(130, calls_of_nothing);
  });
}

template <std::size_t Align>
struct alignas(Align) aligned {
  std::uintptr_t* at;
  void operator()() const { *at = reinterpret_cast<std::uintptr_t>(this); }
};

TEST(go, keeps_the_alignment_of_the_callable) {
  with_procs(1, [] {
    std::uintptr_t at = 1;
    go_now(aligned<16>{&at});
    EXPECT_EQ(0u, at % 16);
    at = 1;
    go_now(aligned<64>{&at});
    EXPECT_EQ(0u, at % 64);
    at = 1;
    go_now(aligned<4096>{&at});
    EXPECT_EQ(0u, at % 4096);
  });
}

// ---- kinds

void plain_function() { ++calls_of_nothing; }

struct member_call {
  int calls = 0;
  void operator()() const { ++calls_of_nothing; }
  void operator()() { calls_of_nothing += 100; }
};

TEST(go, takes_every_kind_of_callable) {
  with_procs(1, [] {
    calls_of_nothing = 0;
    go_now(plain_function);
    go_now(&plain_function);
    EXPECT_EQ(2, calls_of_nothing);
    std::function<void()> f = plain_function;
    go_now(f);
    go_now(std::move(f));
    EXPECT_EQ(4, calls_of_nothing);
    const member_call constant;
    go_now(constant);  // a copy, and as a copy no longer const
    EXPECT_EQ(104, calls_of_nothing);
    std::unique_ptr<int> owned(new int(5));
    go_now([owned = std::move(owned)] { calls_of_nothing = *owned; });
    EXPECT_EQ(5, calls_of_nothing);
    go_now([]() -> int { return 3; });  // its value is dropped
  });
}

struct rvalue_only {
  std::unique_ptr<int> value;
  void operator()() && { calls_of_nothing = *value; }
};

TEST(go, calls_it_as_an_rvalue_once) {
  with_procs(1, [] {
    go_now(rvalue_only{std::make_unique<int>(77)});
    EXPECT_EQ(77, calls_of_nothing);
  });
}

TEST(go, of_nothing_throws_and_starts_nothing) {
  with_procs(1, [] {
    EXPECT_EQ("go of nil func value", message_of([] { weft::go(std::function<void()>{}); }));
    EXPECT_EQ("go of nil func value", message_of([] { weft::go({.name = "x"}, std::function<void()>{}); }));
    void (*none)() = nullptr;
    EXPECT_EQ("go of nil func value", message_of([&] { weft::go(none); }));
    EXPECT_EQ(1, weft::num_goroutine());
  });
}

TEST(go, outside_a_runtime_throws) {
  EXPECT_THAT(message_of([] { weft::go([] {}); }), HasSubstr("outside a runtime"));
  bytes<100> large(nullptr);
  EXPECT_THAT(message_of([&] { weft::go(large); }), HasSubstr("outside a runtime"));
}

// ---- constructions

struct counts {
  int copies = 0, moves = 0, destroyed = 0, calls = 0;
};

template <std::size_t Padding>
struct counted {
  explicit counted(counts* c) : all(c) {}
  counted(const counted& other) : all(other.all) { ++all->copies; }
  counted(counted&& other) noexcept : all(other.all) { ++all->moves; }
  ~counted() { ++all->destroyed; }
  void operator()() { ++all->calls; }
  counts* all;
  unsigned char padding[Padding] = {};
};

template <std::size_t Padding>
void is_constructed_once() {
  counts c;
  {
    counted<Padding> f(&c);
    go_now(f);
    EXPECT_EQ(1, c.copies);
    EXPECT_EQ(0, c.moves);
    EXPECT_EQ(1, c.calls);
    EXPECT_EQ(1, c.destroyed);
    go_now(std::move(f));
    EXPECT_EQ(1, c.copies);
    EXPECT_EQ(1, c.moves);
    EXPECT_EQ(2, c.calls);
    EXPECT_EQ(2, c.destroyed);
    const counted<Padding>& constant = f;
    go_now(constant);
    EXPECT_EQ(2, c.copies);
    EXPECT_EQ(1, c.moves);
  }
  EXPECT_EQ(4, c.destroyed);
}

TEST(go, copies_an_lvalue_once_and_moves_an_rvalue_once) {
  with_procs(1, [] {
    is_constructed_once<1>();
    is_constructed_once<100>();
  });
}

TEST(go, destroys_the_callable_before_the_goroutine_has_ended) {
  with_procs(1, [] {
    struct watcher {
      explicit watcher(int* count) : living(count) {}
      ~watcher() { *living = weft::num_goroutine(); }
      int* living;
    };
    int living = 0;
    go_now([w = std::make_unique<watcher>(&living)] {});
    EXPECT_EQ(2, living) << "main and the goroutine itself";
    // The destructor is code of the goroutine: it may wait.
    weft::semaphore s(0);
    bool over = false;
    struct waits_at_the_end {
      waits_at_the_end(weft::semaphore* permit, bool* done) : s(permit), over(done) {}
      ~waits_at_the_end() {
        s->acquire();
        *over = true;
      }
      weft::semaphore* s;
      bool* over;
    };
    auto waiting = std::make_shared<waits_at_the_end>(&s, &over);
    go_now([waiting = std::move(waiting)] {});
    EXPECT_FALSE(over);
    EXPECT_EQ(2, weft::num_goroutine());
    s.release();
    weft::yield();
    EXPECT_TRUE(over);
    EXPECT_EQ(1, weft::num_goroutine());
  });
}

// ---- failures

template <std::size_t Padding>
struct throws_when_copied {
  throws_when_copied() = default;
  throws_when_copied(const throws_when_copied&) { throw 42; }
  void operator()() const { ADD_FAILURE() << "was started"; }
  std::unique_ptr<int> something;
  unsigned char padding[Padding] = {};
};

template <std::size_t Padding>
void starts_nothing_when_the_copy_throws() {
  throws_when_copied<Padding> f;
  const std::uint64_t before = weft::debug::stats().goroutines_created;
  for (int i = 0; i < 200; ++i) {
    EXPECT_THROW(weft::go({.name = "never"}, f), int);
    EXPECT_EQ(1, weft::num_goroutine());
  }
  EXPECT_EQ(before, weft::debug::stats().goroutines_created);
  // The g was not used up and not spoilt.
  std::string name = "?";
  go_now([&] { name = weft::this_goroutine::name(); });
  EXPECT_EQ("", name);
}

TEST(go, starts_nothing_when_the_callable_throws_on_its_way_in) {
  with_procs(1, [] {
    starts_nothing_when_the_copy_throws<1>();
    starts_nothing_when_the_copy_throws<100>();
  });
}

struct yields_when_copied {
  yields_when_copied() = default;
  yields_when_copied(const yields_when_copied&) {
    weft::yield();
    weft::go([] { ++calls_of_nothing; });
    weft::yield();
  }
  void operator()() const { calls_of_nothing += 10; }
  unsigned char padding[8] = {};
};

TEST(go, a_copy_constructor_may_use_the_runtime) {
  with_procs(1, [] {
    calls_of_nothing = 0;
    yields_when_copied f;
    go_now(f);
    EXPECT_EQ(11, calls_of_nothing);
  });
}

// ---- attributes

TEST(go, keeps_the_name_and_cuts_it_at_63_bytes) {
  with_procs(1, [] {
    std::vector<std::string> names;
    const auto note = [&] { names.emplace_back(weft::this_goroutine::name()); };
    {
      std::string temporary = "worker 7";
      weft::go({.name = temporary}, note);
      temporary.assign(temporary.size(), '#');
    }
    weft::yield();
    weft::go({.name = "literal"}, note);
    weft::yield();
    weft::go({.name = std::string(63, 'a')}, note);
    weft::yield();
    weft::go({.name = std::string(64, 'b')}, note);
    weft::yield();
    weft::go({.name = std::string(5000, 'c')}, note);
    weft::yield();
    weft::go({.name = ""}, note);
    weft::yield();
    weft::go({.name = std::string_view()}, note);
    weft::yield();
    weft::go(note);  // in the g of a goroutine that had a name
    weft::yield();
    const std::vector<std::string> expected = {
        "worker 7", "literal", std::string(63, 'a'), std::string(63, 'b'), std::string(63, 'c'), "", "", ""};
    EXPECT_EQ(expected, names);
    EXPECT_EQ("", weft::this_goroutine::name()) << "main has none";
  });
  EXPECT_EQ("", weft::this_goroutine::name());
}

std::size_t my_stack_bytes() { return weft::rt::stack_class_bytes[weft::rt::getg()->stack->size_class]; }

TEST(go, gives_the_stack_that_was_asked_for_rounded_up) {
  with_procs(1, [] {
    const auto stack_for = [](std::size_t bytes) {
      std::size_t got = 0;
      weft::go({.stack_size = bytes}, [&] { got = my_stack_bytes(); });
      until([&] { return got != 0; });
      return got;
    };
    EXPECT_EQ(16u << 10, stack_for(1024));
    EXPECT_EQ(16u << 10, stack_for(16 << 10));
    EXPECT_EQ(64u << 10, stack_for((16 << 10) + 1));
    EXPECT_EQ(256u << 10, stack_for(65 << 10));
    EXPECT_EQ(1u << 20, stack_for(1 << 20));
    EXPECT_EQ(8u << 20, stack_for((1 << 20) + 1));
    EXPECT_EQ(8u << 20, stack_for(8 << 20));
    std::size_t got = 0;
    go_now([&] { got = my_stack_bytes(); });
    EXPECT_EQ(weft::options{}.stack_size, got);
  });
}

TEST(go, one_after_the_other_they_have_the_stacks_of_their_own_classes) {
  with_procs(1, [] {
    // Run in place is for the same class only.
    constexpr std::size_t wanted[] = {16 << 10, 16 << 10, 256 << 10, 64 << 10, 64 << 10, 8 << 20, 16 << 10};
    std::vector<std::size_t> got;
    for (const std::size_t bytes : wanted) weft::go({.stack_size = bytes}, [&] { got.push_back(my_stack_bytes()); });
    until([&] { return got.size() == std::size(wanted); });
    EXPECT_EQ((std::vector<std::size_t>{16 << 10, 16 << 10, 16 << 10, 256 << 10, 64 << 10, 64 << 10, 8 << 20}), got);
  });
}

TEST(go, a_bad_stack_size_is_named_and_starts_nothing) {
  with_procs(1, [] {
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{1}, std::size_t{1023}, (std::size_t{8} << 20) + 1, std::size_t{1} << 40}) {
      EXPECT_THAT(message_of([&] { weft::go({.name = "x", .stack_size = bytes}, [] {}); }),
                  HasSubstr("stack_size " + std::to_string(bytes)));
    }
    EXPECT_THAT(message_of([&] { weft::go({.stack_size = 5}, bytes<100>(nullptr)); }), HasSubstr("stack_size 5"));
    EXPECT_EQ(1, weft::num_goroutine());
  });
}

// ---- what a new goroutine finds

TEST(go, a_new_goroutine_has_no_exceptions_of_others) {
  with_procs(1, [] {
    try {
      throw 1;
    } catch (int) {
      int uncaught = -1;
      bool current = true;
      go_now([&] {
        uncaught = std::uncaught_exceptions();
        current = std::current_exception() != nullptr;
      });
      EXPECT_EQ(0, uncaught);
      EXPECT_FALSE(current);
      EXPECT_NE(nullptr, std::current_exception());
    }
  });
}

TEST(go, a_hundred_thousand_in_a_row_use_one_stack_and_few_gs) {
  with_procs(1, [] {
    const int n = weft::test::built_with_sanitizer ? 2000 : 100'000;
    int ran = 0;
    const std::uint64_t slab = weft::rt::the_process.gs.bytes_reserved();
    for (int i = 0; i < n; ++i) {
      weft::go([&] { ++ran; });
      if (i % 100 == 99) weft::yield();
    }
    until([&] { return ran == n; });
    EXPECT_LE(weft::rt::the_process.gs.bytes_reserved(), slab + (2u << 20));
  });
}

}  // namespace
