// What may travel through a channel: move-only, throwing, over-aligned, large, with no default constructor or assignment, and
// types whose copies, moves and destructors call weft. Each type takes every way there is, from each form of a send to each
// form of a receive; afterwards as many have been destroyed as were made.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;
using test::run_case;

template <class F>
void go_and_wait(wait_group& all, F f) {
  auto each = std::make_shared<test::watched>();
  all.go([each, f = std::move(f)]() mutable {
    each->here();
    f();
  });
  test::yield_until([&] { return each->waits(); });
}

// ---- types. All count how many of them there are, and notice when they were moved as bytes.

class counted {
 public:
  static inline std::atomic<long> alive{0};
  explicit counted(int v) : value_(v) { ++alive; }
  counted(const counted& o) : value_(o.value()) { ++alive; }
  counted(counted&& o) noexcept : value_(o.value()) {
    ++alive;
    o.value_ = moved_away;
  }
  counted& operator=(const counted& o) {
    value_ = o.value();
    return *this;
  }
  counted& operator=(counted&& o) noexcept {
    value_ = o.value();
    o.value_ = moved_away;
    return *this;
  }
  ~counted() {
    value();
    self_ = nullptr;
    --alive;
  }
  int value() const {
    EXPECT_EQ(self_, this) << "it is not where it was made, or is no more";
    return value_;
  }

 private:
  static constexpr int moved_away = -1000;
  const counted* self_ = this;
  int value_;
};

struct copied : counted {
  using counted::counted;
};

struct move_only : counted {
  using counted::counted;
  move_only(move_only&&) noexcept = default;
  move_only& operator=(move_only&&) noexcept = default;
};

template <std::size_t Align>
struct alignas(Align) aligned : counted {
  explicit aligned(int v) : counted(v) { look(); }
  aligned(const aligned& o) : counted(o) { look(); }
  aligned(aligned&& o) noexcept : counted(std::move(o)) { look(); }
  aligned& operator=(const aligned&) = default;
  aligned& operator=(aligned&&) noexcept = default;
  void look() const { EXPECT_EQ(reinterpret_cast<std::uintptr_t>(this) % Align, 0u); }
};

// The same without any function: bytes to the channel.
template <std::size_t Align, std::size_t Size>
struct alignas(Align) bytes {
  std::array<unsigned char, Size> content;
  explicit bytes(int v) { content.fill(static_cast<unsigned char>(v)); }
  int value() const {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(this) % Align, 0u);
    EXPECT_TRUE(Size == 1 || std::memcmp(content.data(), content.data() + 1, Size - 1) == 0)
        << "not all bytes are the same";
    return content[0];
  }
};

struct bulky : counted {
  std::array<unsigned char, 64 << 10> ballast{};
  explicit bulky(int v) : counted(v) { ballast.back() = static_cast<unsigned char>(v); }
};

// No default constructor, no assignment.
struct fixed {
  const int v;
  const counted c;
  explicit fixed(int i) : v(i), c(i) {}
  int value() const { return v == c.value() ? v : -1; }
};

// Whatever a plain thread may call of weft, its copies, moves and destructors do.
struct talkative : counted {
  explicit talkative(int v) : counted(v) {}
  talkative(const talkative& o) : counted(o) { talk(); }
  talkative(talkative&& o) noexcept : counted(std::move(o)) { talk(); }
  talkative& operator=(const talkative&) = default;
  talkative& operator=(talkative&&) noexcept = default;
  ~talkative() { talk(); }
  static void talk() {
    mutex free;
    const std::lock_guard hold(free);
    semaphore calls(0);
    calls.release();
    EXPECT_TRUE(calls.try_acquire());
    const chan<int> other(1);
    other.send(1);
    EXPECT_EQ(select(recv(other)), 0u);
    yield();
  }
};

struct broken {};

// Every copy and move may throw, and does when the fuse has burnt down: once, or from then on.
class brittle : public counted {
 public:
  static constexpr int never = -1;
  static inline std::atomic<int> fuse{never};
  static inline std::atomic<bool> for_good{false};
  explicit brittle(int v) : counted(v) {}
  brittle(const brittle& o) : counted((burn(), o)) {}
  brittle(brittle&& o) noexcept(false) : counted((burn(), std::move(o))) {}
  brittle& operator=(const brittle& o) {
    burn();
    counted::operator=(o);
    return *this;
  }
  brittle& operator=(brittle&& o) noexcept(false) {
    burn();
    counted::operator=(std::move(o));
    return *this;
  }

 private:
  static void burn() {
    if (fuse.load() == 0 && for_good.load()) throw broken();
    if (fuse.load() >= 0 && fuse.fetch_sub(1) == 0) throw broken();
  }
};

// Copies may throw, moves do not: the usual container.
class throwing_copy : public counted {
 public:
  static inline std::atomic<bool> throws{false};
  explicit throwing_copy(int v) : counted(v) {}
  throwing_copy(const throwing_copy& o) : counted((look(), o)) {}
  throwing_copy(throwing_copy&&) noexcept = default;
  throwing_copy& operator=(const throwing_copy& o) {
    look();
    counted::operator=(o);
    return *this;
  }
  throwing_copy& operator=(throwing_copy&&) noexcept = default;

 private:
  static void look() {
    if (throws.load()) throw broken();
  }
};

static_assert(!std::is_copy_constructible_v<move_only> && !std::is_assignable_v<fixed&, fixed>);
static_assert(std::is_trivially_copyable_v<bytes<128, 128>> && alignof(aligned<128>) == 128);
static_assert(!std::is_nothrow_move_constructible_v<brittle> && std::is_nothrow_move_constructible_v<throwing_copy>);
static_assert(sizeof(bulky) > 64 << 10 && sizeof(bytes<1, 64 << 10>) == 64 << 10);

// ---- every way

// Calls f with room for some large elements on the stack.
template <class T, class F>
void with_room(F f) {
  if constexpr (sizeof(T) > 1024) {
    on_big_stack(f);
  } else {
    f();
  }
}

template <class T>
using way_in = std::function<void(const chan<T>&, int)>;
// Returns what has arrived.
template <class T>
using way_out = std::function<int(const chan<T>&, int)>;

template <class T>
std::vector<way_in<T>> ways_in() {
  std::vector<way_in<T>> all{
      [](const chan<T>& c, int v) { c.send(T(v)); },
      [](const chan<T>& c, int v) {
        T x(v);
        const chan<T> never;
        EXPECT_EQ(select(recv(never), send(c, std::move(x))), 1u);
      },
      [](const chan<T>& c, int v) {
        int calls = 0;
        select(send(c, T(v), [&] { ++calls; }));
        EXPECT_EQ(calls, 1);
      },
      [](const chan<T>& c, int v) {
        T x(v), y(v);
        const chan<T> never;
        const std::array<select_case, 2> cases{send(never, std::move(y)), c.on_send(std::move(x))};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 1u);
        EXPECT_EQ(y.value(), v) << "the case that has not happened";
      },
  };
  if constexpr (std::is_copy_constructible_v<T>) {
    all.push_back([](const chan<T>& c, int v) {
      const T x(v);
      c.send(x);
      EXPECT_EQ(x.value(), v);
    });
    all.push_back([](const chan<T>& c, int v) {
      const T x(v);
      const chan<T> never;
      select(send(never, x), send(c, x), recv(never));
      EXPECT_EQ(x.value(), v);
    });
  }
  // The last one only tries.
  all.push_back([](const chan<T>& c, int v) {
    T x(v);
    test::yield_until([&] {
      EXPECT_EQ(x.value(), v) << "would_block leaves it alone";
      return c.try_send(std::move(x)) == chan_status::ok;
    });
  });
  return all;
}

template <class T>
std::vector<way_out<T>> ways_out() {
  std::vector<way_out<T>> all{
      [](const chan<T>& c, int) { return c.recv()->value(); },
      [](const chan<T>& c, int) {
        for (const T& x : c) return x.value();
        return -1;
      },
      [](const chan<T>& c, int) {
        std::optional<T> x;
        EXPECT_EQ(select(recv(c, x)), 0u);
        return x->value();
      },
      [](const chan<T>& c, int) {
        std::optional<T> x, y;
        x.emplace(100);
        y.emplace(101);
        const chan<T> never;
        EXPECT_EQ(select(recv(never, y), recv(c, x)), 1u);
        EXPECT_EQ(y->value(), 101);
        return x->value();
      },
      [](const chan<T>& c, int) {
        int got = -1;
        select(recv(chan<T>()), recv(c, [&](const std::optional<T>& x) { got = x->value(); }));
        return got;
      },
      [](const chan<T>& c, int) {
        std::optional<T> x;
        x.emplace(100);
        const std::array<select_case, 1> cases{recv(c, x)};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 0u);
        return x->value();
      },
      [](const chan<T>& c, int v) {
        EXPECT_EQ(select(recv(c)), 0u);
        return v;
      },
  };
  // The rest only tries.
  all.push_back([](const chan<T>& c, int) {
    std::optional<T> x;
    x.emplace(100);
    test::yield_until([&] {
      EXPECT_EQ(x->value(), 100) << "would_block leaves it alone";
      return c.try_recv(x) == chan_status::ok;
    });
    return x->value();
  });
  if constexpr (std::is_move_assignable_v<T>) {
    all.push_back([](const chan<T>& c, int) {
      T x(100);
      test::yield_until([&] { return c.try_recv(x) == chan_status::ok; });
      return x.value();
    });
  }
  return all;
}

constexpr std::size_t ways_out_that_wait = 7;

template <class T>
void every_way(int capacity, bool sender_first) {
  const std::vector<way_in<T>> in = ways_in<T>();
  const std::vector<way_out<T>> out = ways_out<T>();
  for (std::size_t i = 0; i < in.size(); ++i) {
    for (std::size_t j = 0; j < out.size(); ++j) {
      if (capacity == 0 && i + 1 == in.size() && j >= ways_out_that_wait) continue;  // two that only try do not meet
      const int value = static_cast<int>(10 * i + j + 1);
      const chan<T> c(capacity);
      const auto sends = [&] { with_room<T>([&] { in[i](c, value); }); };
      const auto receives = [&] {
        with_room<T>([&] { EXPECT_EQ(out[j](c, value), value) << i << ", " << j << ", capacity " << capacity; });
      };
      wait_group all;
      if (sender_first) {
        all.go(sends);
        yield();
        receives();
      } else {
        all.go(receives);
        yield();
        sends();
      }
      all.wait();
    }
  }
}

// Some stay in the buffer, and one sender waits: the last handle destroys what is there.
template <class T>
void left_in_the_buffer() {
  const chan<T> c(3);
  c.send(T(1));
  c.send(T(2));
  EXPECT_EQ(c.recv()->value(), 1);
  c.send(T(3));
  c.send(T(4));
  wait_group all;
  go_and_wait(all, [&] {
    with_room<T>([&] {
      T x(5);
      EXPECT_THROW(c.send(std::move(x)), send_on_closed_channel);
      EXPECT_EQ(x.value(), 5) << "what was not sent is untouched";
    });
  });
  c.close();
  all.wait();
  EXPECT_EQ(c.try_send(T(6)), chan_status::closed);
  EXPECT_EQ(c.size(), 3u);
}

template <class T>
void travels(bool explored = true) {
  const auto body = [] {
    with_room<T>([] {
      for (const bool sender_first : {true, false}) {
        for (const int capacity : {0, 1, 3}) every_way<T>(capacity, sender_first);
      }
      left_in_the_buffer<T>();
    });
    EXPECT_EQ(counted::alive.load(), 0) << "as many destroyed as made";
  };
  test::for_each_case([&](const run_case&) { body(); }, {{1, 2, 4}, 1});
  if (testing::Test::HasFailure() || !explored) return;
  test::set_watchdog(static_cast<unsigned>(test::number_from_env("TEST_TIMEOUT", 60)));
  sim::explore({.runs = test::scaled(20), .max_steps = 1'000'000}, [&] {
    body();
    sim::check(!testing::Test::HasFailure(), "what the test expects");
  });
  test::clear_watchdog();
}

TEST(chan_elements, copied_ones) { travels<copied>(); }
TEST(chan_elements, move_only_ones) { travels<move_only>(); }
TEST(chan_elements, aligned_to_64) {
  travels<aligned<64>>();
  travels<bytes<64, 64>>();
}
TEST(chan_elements, aligned_to_128) {
  travels<aligned<128>>();
  travels<bytes<128, 128>>();
}
TEST(chan_elements, of_64_kilobytes) {
  travels<bulky>();
  travels<bytes<1, 64 << 10>>();
}
// Around the sizes at which the way changes.
TEST(chan_elements, of_every_size_of_bytes) {
  travels<bytes<1, 1>>();
  travels<bytes<1, 31>>();
  travels<bytes<8, 32>>();
  travels<bytes<1, 33>>();
  travels<bytes<1, 64>>();
  travels<bytes<1, 65>>();
  travels<bytes<32, 32>>();
  travels<bytes<1, 1025>>();
}
TEST(chan_elements, without_default_constructor_or_assignment) { travels<fixed>(); }
TEST(chan_elements, that_throw_but_do_not) { travels<brittle>(); }
TEST(chan_elements, whose_copies_throw_but_do_not) { travels<throwing_copy>(); }
// An exploration takes calls from inside a copy or move for those of a plain thread, and refuses them.
// std::is_copy_constructible says yes, the copy does not compile: nobody may ask for it who does not copy.
TEST(chan_elements, whose_copy_does_not_compile) {
  test::for_each_case([](const run_case&) {
    using element = std::vector<std::unique_ptr<int>>;
    static_assert(std::is_copy_constructible_v<element>);
    const chan<element> c(1);
    const auto one = [] {
      element e;
      e.push_back(std::make_unique<int>(7));
      return e;
    };
    c.send(one());
    EXPECT_EQ(*c.recv()->front(), 7);
    EXPECT_EQ(c.try_send(one()), chan_status::ok);
    std::optional<element> got;
    EXPECT_EQ(select(recv(c, got)), 0u);
    EXPECT_EQ(*got->front(), 7);
    EXPECT_EQ(select(send(c, one())), 0u);
    c.close();
    for (const element& e : c) EXPECT_EQ(*e.front(), 7);
  });
}

struct plain_move_only {
  explicit plain_move_only(int v) : value(v) {}
  plain_move_only(plain_move_only&&) = default;
  plain_move_only& operator=(plain_move_only&&) = default;
  plain_move_only(const plain_move_only&) = delete;
  plain_move_only& operator=(const plain_move_only&) = delete;
  ~plain_move_only() = default;
  int value;
};
static_assert(std::is_trivially_copyable_v<plain_move_only>);
struct plain_constant {
  explicit plain_constant(int v) : value(v) {}
  plain_constant(plain_constant&&) = default;
  const int value;
};
struct without_address {
  int value;
  without_address* operator&() = delete;
  const without_address* operator&() const = delete;
};
struct request {  // a message that carries the channel for its answer
  int value;
  chan<request> reply;
};

template <class T>
void goes_every_way(T (*make)(int)) {
  test::for_each_case([make](const run_case&) {
    const chan<T> c(4);
    c.send(make(1));
    EXPECT_EQ(c.recv()->value, 1);
    c.send(make(2));
    std::optional<T> v;
    EXPECT_EQ(c.try_recv(v), chan_status::ok);
    EXPECT_EQ(v->value, 2);
    EXPECT_EQ(select(send(c, make(3))), 0u);
    EXPECT_EQ(select(recv(c, v)), 0u);
    EXPECT_EQ(v->value, 3);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(c.try_send(make(i)), chan_status::ok);
    c.close();
    int next = 0;
    for (const T& each : c) EXPECT_EQ(each.value, next++);
    EXPECT_EQ(next, 4);
  });
}

TEST(chan_elements, plain_but_not_copied) {
  goes_every_way<plain_move_only>([](int v) { return plain_move_only(v); });
}
TEST(chan_elements, plain_but_not_assigned) {
  goes_every_way<plain_constant>([](int v) { return plain_constant(v); });
}
TEST(chan_elements, without_an_address) {
  goes_every_way<without_address>([](int v) { return without_address{v}; });
}
TEST(chan_elements, that_carry_a_channel_of_their_own_kind) {
  goes_every_way<request>([](int v) { return request{v, nullptr}; });
}

// Its copy waits for a mutex that a goroutine holds which has no P to go on with, if the copy keeps it.
TEST(chan_elements, whose_copy_blocks_the_goroutine_only) {
  struct logged {
    explicit logged(mutex& m) : lock(&m) {}
    logged(logged&&) = default;
    logged(const logged& from) : lock(from.lock) { const std::lock_guard hold(*lock); }
    mutex* lock;
  };
  test::for_each_case([](const run_case&) {
    mutex m;
    const chan<logged> c;
    wait_group all;
    m.lock();
    all.go([&] {
      const logged value(m);
      c.send(value);
    });
    yield();  // it waits in its copy
    all.go([&] { EXPECT_TRUE(c.recv().has_value()); });
    yield();
    m.unlock();
    all.wait();
  });
}

// A recursive mutex that the sender holds is its own in the copy, too.
TEST(chan_elements, whose_copy_locks_what_the_sender_holds) {
  struct careful {
    explicit careful(recursive_mutex& m) : lock(&m) {}
    careful(careful&&) = default;
    careful(const careful& from) : lock(from.lock) { const std::lock_guard hold(*lock); }
    recursive_mutex* lock;
  };
  test::for_each_case([](const run_case&) {
    recursive_mutex m;
    const chan<careful> c(1);
    const careful value(m);
    const std::lock_guard hold(m);
    c.send(value);
    EXPECT_TRUE(c.recv().has_value());
  });
}

// The loop has a handle of its own.
TEST(chan_elements, of_a_loop_that_gives_its_channel_away) {
  test::for_each_case([](const run_case&) {
    chan<int> c(3);
    for (int i = 0; i < 3; ++i) c.send(i);
    c.close();
    int n = 0;
    for (const int v : c) {
      EXPECT_EQ(v, n++);
      c = nullptr;
    }
    EXPECT_EQ(n, 3);
  });
}

TEST(chan_elements, that_call_weft) { travels<talkative>(false); }

// What a loop has got is destroyed before it waits for the next, as a local of the loop would be.
TEST(chan_elements, of_a_loop_are_gone_while_it_waits) {
  test::for_each_case_and_schedule([](const run_case&) {
    const chan<copied> c;
    wait_group all;
    std::atomic<int> got{0};
    all.go([&] {
      for (const copied& x : c) got += x.value();
    });
    for (int i = 1; i <= 3; ++i) {
      c.send(copied(i));
      test::yield_until([&] { return got.load() == i * (i + 1) / 2 && counted::alive.load() == 0; });
    }
    c.close();
    all.wait();
  });
}

// ---- that throw. All on one thread at a time, so that the fuse burns in the call that is meant.

// f with the fuse so long that the k-th copy or move in it throws, for k = 0, 1, …, until it does not throw any more;
// after each throw `still` looks. Returns how often it has thrown.
template <class F, class Still>
int with_each_fuse(F f, Still still) {
  for (int k = 0;; ++k) {
    brittle::fuse = k;
    bool thrown = false;
    try {
      f();
    } catch (const broken&) {
      thrown = true;
    }
    brittle::fuse = brittle::never;
    if (!thrown) return k;
    still();
  }
}

const test::run_options one_p{{1}, 1};

using sending = std::function<void(const chan<brittle>&, const brittle&)>;
using receiving = std::function<int(const chan<brittle>&)>;

std::vector<sending> sends_that_throw() {
  return {
      [](const chan<brittle>& c, const brittle& x) { c.send(x); },
      [](const chan<brittle>& c, const brittle& x) {
        brittle y(x.value());
        try {
          c.send(std::move(y));
        } catch (const broken&) {
          EXPECT_EQ(y.value(), x.value()) << "what was not sent is untouched";
          throw;
        }
      },
      [](const chan<brittle>& c, const brittle& x) { EXPECT_EQ(c.try_send(x), chan_status::ok); },
      [](const chan<brittle>& c, const brittle& x) { EXPECT_EQ(c.try_send(brittle(x.value())), chan_status::ok); },
      [](const chan<brittle>& c, const brittle& x) {
        const chan<brittle> never;
        EXPECT_EQ(select(send(never, x), send(c, x), recv(never)), 1u);
      },
      [](const chan<brittle>& c, const brittle& x) { EXPECT_EQ(try_select(send(c, brittle(x.value()))), 0u); },
      [](const chan<brittle>& c, const brittle& x) {
        const std::array<select_case, 1> cases{c.on_send(x)};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 0u);
      },
  };
}

std::vector<receiving> receives_that_throw() {
  return {
      [](const chan<brittle>& c) { return c.recv()->value(); },
      [](const chan<brittle>& c) {
        for (const brittle& x : c) return x.value();
        return -1;
      },
      [](const chan<brittle>& c) {
        brittle x(100);
        EXPECT_EQ(c.try_recv(x), chan_status::ok);
        return x.value();
      },
      [](const chan<brittle>& c) {
        std::optional<brittle> x(std::in_place, 100);
        EXPECT_EQ(c.try_recv(x), chan_status::ok);
        return x->value();
      },
      [](const chan<brittle>& c) {
        const chan<brittle> never;
        std::optional<brittle> x, y;
        EXPECT_EQ(select(recv(never, y), recv(c, x)), 1u);
        return x->value();
      },
      [](const chan<brittle>& c) {
        std::optional<brittle> x(std::in_place, 100);
        EXPECT_EQ(try_select(recv(c, x)), 0u);
        return x->value();
      },
      [](const chan<brittle>& c) {
        std::optional<brittle> x;
        const std::array<select_case, 1> cases{c.on_recv(x)};
        EXPECT_EQ(select(std::span<const select_case>(cases)), 0u);
        return x->value();
      },
  };
}

TEST(chan_throwing, a_send_into_the_buffer_leaves_it_as_it_was) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const sending& sends : sends_that_throw()) {
          const chan<brittle> c(3);
          c.send(brittle(1));
          const brittle two(2);
          const int thrown = with_each_fuse([&] { sends(c, two); }, [&] { EXPECT_EQ(c.size(), 1u); });
          EXPECT_TRUE(thrown == 1 || thrown == 2)
              << thrown << ": a copy, a move, or a copy and a move, and each may throw";
          EXPECT_EQ(c.size(), 2u);
          EXPECT_EQ(c.recv()->value(), 1);
          EXPECT_EQ(c.recv()->value(), 2);
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      50, one_p);
}

TEST(chan_throwing, a_receive_from_the_buffer_leaves_the_value_at_the_front) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const receiving& receives : receives_that_throw()) {
          const chan<brittle> c(3);
          for (int i = 1; i <= 3; ++i) c.send(brittle(i));
          for (int i = 1; i <= 3; ++i) {
            int got = -1;
            const auto left = static_cast<std::size_t>(4 - i);
            const int thrown = with_each_fuse([&] { got = receives(c); }, [&] { EXPECT_EQ(c.size(), left); });
            EXPECT_GE(thrown, 1);
            EXPECT_EQ(got, i);
          }
          EXPECT_EQ(c.size(), 0u);
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      50, one_p);
}

// A receive that drops the value destroys it where it is, or moves it away first: either way nothing is left half.
TEST(chan_throwing, a_receive_that_drops_takes_the_value_or_leaves_it) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        const chan<brittle> c(2);
        c.send(brittle(1));
        c.send(brittle(2));
        with_each_fuse([&] { select(recv(c)); }, [&] { EXPECT_EQ(c.size(), 2u); });
        EXPECT_EQ(c.size(), 1u);
        EXPECT_EQ(c.recv()->value(), 2);
        EXPECT_EQ(counted::alive.load(), 0);
      },
      50, one_p);
}

// The receiver waits, alone or in a select: it meets nothing of it, and gets the value of the next send.
TEST(chan_throwing, a_send_to_a_waiting_receiver_leaves_it_waiting) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const int capacity : {0, 2}) {
          for (const bool by_select : {false, true}) {
            for (const sending& sends : sends_that_throw()) {
              const chan<brittle> c(capacity), never;
              wait_group all;
              const auto each = std::make_shared<test::watched>();
              int got = -1;
              all.go([&, each] {
                each->here();
                if (by_select) {
                  std::optional<brittle> x;
                  EXPECT_EQ(select(recv(never, x), recv(c, x)), 1u);
                  got = x->value();
                } else {
                  got = c.recv()->value();
                }
              });
              const brittle five(5);
              // (A select is told to try again, and queues anew.)
              const auto it_waits = [&] {
                test::yield_until([&] { return each->waits(); });
                yield();
                test::yield_until([&] { return each->waits(); });
                EXPECT_EQ(got, -1);
                EXPECT_EQ(c.size(), 0u);
              };
              it_waits();
              const int thrown = with_each_fuse([&] { sends(c, five); }, it_waits);
              EXPECT_TRUE(thrown == 1 || thrown == 2) << thrown;
              all.wait();
              EXPECT_EQ(got, 5);
            }
          }
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      20, one_p);
}

// The sender waits, alone or in a select, without a buffer: it meets nothing of it, and its value goes to the next receive.
TEST(chan_throwing, a_receive_from_a_waiting_sender_leaves_it_waiting) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const bool by_select : {false, true}) {
          for (const receiving& receives : receives_that_throw()) {
            const chan<brittle> c, never;
            wait_group all;
            const auto each = std::make_shared<test::watched>();
            bool sent = false;
            all.go([&, each] {
              each->here();
              const brittle five(5);
              if (by_select) {
                EXPECT_EQ(select(send(never, five), send(c, five)), 1u);
              } else {
                c.send(five);
              }
              sent = true;
            });
            const auto it_waits = [&] {
              test::yield_until([&] { return each->waits(); });
              yield();
              test::yield_until([&] { return each->waits(); });
              EXPECT_FALSE(sent);
            };
            it_waits();
            int got = -1;
            EXPECT_GE(with_each_fuse([&] { got = receives(c); }, it_waits), 1);
            EXPECT_EQ(got, 5);
            all.wait();
            EXPECT_TRUE(sent);
          }
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      20, one_p);
}

// A receive makes room, and moving the waiting sender's value there throws. The receiver has what it wanted; it is the sender
// that meets the exception, if its own attempt throws as well.
void sender_of_a_full_buffer(bool by_select, bool throws_again) {
  const chan<brittle> c(1), never;
  c.send(brittle(1));
  wait_group all;
  int thrown = 0;
  bool sent = false;
  const auto sender = [&, by_select] {
    const brittle two(2);
    try {
      if (by_select) {
        EXPECT_EQ(select(send(never, two), send(c, two)), 1u);
      } else {
        c.send(two);
      }
      sent = true;
    } catch (const broken&) {
      ++thrown;
    }
    EXPECT_EQ(two.value(), 2);
  };
  go_and_wait(all, sender);
  // The receiver's own move comes first, and then the sender's.
  brittle::for_good = throws_again;
  brittle::fuse = 1;
  const std::optional<brittle> one = c.recv();
  EXPECT_EQ(one->value(), 1);
  EXPECT_LE(brittle::fuse.load(), 0) << "the move into the buffer has thrown";
  all.wait();
  brittle::fuse = brittle::never;
  brittle::for_good = false;
  EXPECT_EQ(thrown, throws_again ? 1 : 0);
  EXPECT_EQ(sent, !throws_again);
  EXPECT_EQ(c.size(), throws_again ? 0u : 1u);
  if (throws_again) c.send(brittle(2));
  EXPECT_EQ(c.recv()->value(), 2);
}

TEST(chan_throwing, room_for_a_waiting_sender_throws_in_the_sender) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const bool by_select : {false, true}) {
          for (const bool throws_again : {false, true}) sender_of_a_full_buffer(by_select, throws_again);
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      50, one_p);
}

// A copy that throws; the moves do not.
TEST(chan_throwing, a_copy_leaves_everything_as_it_was) {
  test::for_each_case_and_schedule(
      [](const run_case&) {
        for (const int capacity : {0, 2}) {
          const chan<throwing_copy> c(capacity);
          wait_group all;
          std::vector<int> got;
          go_and_wait(all, [&] {
            for (const throwing_copy& x : c) got.push_back(x.value());
          });
          const throwing_copy one(1);
          throwing_copy::throws = true;
          EXPECT_THROW(c.send(one), broken);
          EXPECT_THROW(static_cast<void>(c.try_send(one)), broken);
          EXPECT_THROW(select(send(c, one)), broken);
          EXPECT_EQ(c.size(), 0u);
          c.send(throwing_copy(2));  // is moved
          throwing_copy::throws = false;
          c.send(one);
          c.close();
          all.wait();
          EXPECT_EQ(got, (std::vector{2, 1}));
        }
        EXPECT_EQ(counted::alive.load(), 0);
      },
      50, one_p);
}

// And with everybody at once, on threads: some moves throw, and still each value arrives once or was never sent.
TEST(chan_throwing, at_random_loses_and_doubles_nothing) {
  test::for_each_case([](const run_case&) {
    for (const int capacity : {0, 1, 4}) {
      const chan<brittle> c(capacity), never;
      const int n = test::scaled(1000);
      std::vector<std::atomic<int>> sent(static_cast<std::size_t>(4 * n)), received(static_cast<std::size_t>(4 * n));
      std::atomic<bool> stop{false};
      wait_group senders, receivers, sparks;
      sparks.go([&] {
        for (int k = 0; !stop.load(); ++k) {
          brittle::fuse = k % 7;
          yield();
        }
      });
      for (int s = 0; s < 4; ++s) {
        senders.go([&, s] {
          for (int i = 0; i < n; ++i) {
            const int v = s * n + i;
            try {
              const brittle x(v);
              if (s % 2 == 0) {
                c.send(x);
              } else {
                select(recv(never), send(c, x));
              }
              ++sent[static_cast<std::size_t>(v)];
            } catch (const broken&) {
            }
          }
        });
        receivers.go([&, s] {
          for (bool open = true; open;) {
            try {
              std::optional<brittle> x;
              if (s % 2 == 0) {
                select(recv(c, x), recv(never, x));
                open = x.has_value();
                if (open) ++received[static_cast<std::size_t>(x->value())];
              } else {
                for (const brittle& y : c) ++received[static_cast<std::size_t>(y.value())];
                open = false;
              }
            } catch (const broken&) {
            }
          }
        });
      }
      senders.wait();
      c.close();
      receivers.wait();
      stop = true;
      sparks.wait();
      brittle::fuse = brittle::never;
      for (std::size_t v = 0; v < sent.size(); ++v) EXPECT_EQ(received[v].load(), sent[v].load()) << v;
    }
    EXPECT_EQ(counted::alive.load(), 0);
  });
}

// ---- that call weft while a channel moves them

// Its destructor lets somebody go on who waits in the same channel's runtime, and its move takes a mutex that a goroutine
// releases only later: that blocks the thread, as a plain thread blocks, and nobody else.
TEST(chan_elements, whose_destructor_wakes_a_goroutine) {
  struct bell : counted {
    semaphore* rings;
    bell(int v, semaphore& s) : counted(v), rings(&s) {}
    bell(bell&& o) noexcept : counted(std::move(o)), rings(std::exchange(o.rings, nullptr)) {}
    ~bell() {
      if (rings != nullptr) rings->release();
    }
  };
  test::for_each_case([](const run_case&) {
    semaphore rung(0);
    wait_group all;
    for (const int capacity : {0, 2}) {
      const chan<bell> c(capacity);
      go_and_wait(all, [&] {
        for (int i = 0; i < 3; ++i) rung.acquire();
      });
      all.go([&] {
        c.send(bell(1, rung));
        c.send(bell(2, rung));
      });
      c.recv();         // its temporary goes at once
      select(recv(c));  // dropped by the channel
      chan<bell> last(1);
      last.send(bell(3, rung));
      last = nullptr;  // with a value in the buffer
      all.wait();
    }
    EXPECT_FALSE(rung.try_acquire());
    EXPECT_EQ(counted::alive.load(), 0);
  });
}

}  // namespace
