// on_big_stack: what f may do there is what it may do anywhere, and afterwards all is as before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "arch/getg.hpp"
#include "model/g.hpp"
#include "model/process.hpp"
#include "support/build.hpp"
#include "support/goroutines.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using weft::rt::getg;
using weft::rt::the_process;

constexpr std::size_t KiB = 1 << 10, MiB = 1 << 20;

weft::options with(int procs) {
  weft::options o;
  o.procs = procs;
  return o;
}

// Which slot of the arenas the caller is on; null for any other stack.
const weft::rt::stack* slot_here() {
  bool in_guard = false;
  return the_process.stacks.find_sig(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)), &in_guard);
}

// Uses at least `bytes` of stack; a sum that says that all of it was there.
[[gnu::noinline]] std::uint64_t recurse(std::size_t bytes) {
  volatile char filler[1024];
  for (int i = 0; i < 1024; i += 256) filler[i] = static_cast<char>(bytes);
  if (bytes <= sizeof filler) return 1;
  const std::uint64_t below = recurse(bytes - sizeof filler);
  return below + (filler[256] == static_cast<char>(bytes) ? 1u : 1000000u);
}

template <class F>
void in_small_goroutine(int procs, F f) {
  weft::run(with(procs), [&] {
    weft::wait_group wg;
    wg.add(1);
    weft::go(weft::attrs{.stack_size = 16 * KiB}, [&] {
      f();
      wg.done();
    });
    wg.wait();
  });
  EXPECT_EQ(0u, the_process.stacks.slots_in_use());
}

TEST(big_stack, four_mebibytes_of_recursion_in_a_goroutine_of_sixteen_kibibytes) {
  in_small_goroutine(2, [] {
    EXPECT_EQ(16 * KiB, stack_bytes(*getg()->stack));
    const std::uint64_t frames = weft::on_big_stack([] { return recurse(4 * MiB); });
    EXPECT_EQ(4 * KiB, frames);
    EXPECT_EQ(16 * KiB, stack_bytes(*getg()->stack));
  });
}

TEST(big_stack, f_runs_on_a_stack_of_the_class_that_holds_the_size) {
  in_small_goroutine(1, [] {
    for (const std::size_t size : {std::size_t{1024}, 16 * KiB, 17 * KiB, 256 * KiB, MiB, MiB + 1, 8 * MiB}) {
      const weft::rt::stack* mine = getg()->stack;
      weft::on_big_stack(
          [&] {
            const weft::rt::stack* st = getg()->stack;
            EXPECT_NE(mine, st);
            EXPECT_EQ(mine, st->outer);
            EXPECT_EQ(st, slot_here());
            EXPECT_EQ(st->slot_class, weft::rt::stack_class_for(size));
            EXPECT_EQ(getg(), st->owner);
          },
          size);
      EXPECT_EQ(mine, getg()->stack);
      EXPECT_EQ(mine, slot_here());
    }
    weft::on_big_stack([] { EXPECT_EQ(8 * MiB, stack_bytes(*getg()->stack)); });
  });
}

TEST(big_stack, a_bad_size_is_named_and_f_is_not_called) {
  const auto refused = [](std::size_t size) {
    try {
      weft::on_big_stack([] { ADD_FAILURE() << "f was called"; }, size);
    } catch (const weft::error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const auto all = [&] {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1023}, 8 * MiB + 1, SIZE_MAX}) {
      EXPECT_THAT(refused(size), AllOf(HasSubstr("on_big_stack"), HasSubstr(" " + std::to_string(size) + ":"),
                                       HasSubstr("1 KiB to 8 MiB")));
    }
  };
  all();
  in_small_goroutine(1, all);
}

// ---- results

struct throws_when_moved {
  throws_when_moved() = default;
  throws_when_moved(throws_when_moved&&) { throw std::runtime_error("moved"); }
};

struct alignas(64) wide {
  int value;
};

struct counted {
  explicit counted(int* n) : alive(n) { ++*alive; }
  counted(counted&& from) noexcept : alive(from.alive) { ++*alive; }
  ~counted() { --*alive; }
  int* alive;
};

int plain_function() { return 5; }

TEST(big_stack, returns_what_f_returns) {
  in_small_goroutine(1, [] {
    EXPECT_EQ(3, weft::on_big_stack([] { return 3; }));
    EXPECT_EQ(5, weft::on_big_stack(plain_function));
    EXPECT_EQ("a string too long to lie inside the object",
              weft::on_big_stack([] { return std::string("a string too long to lie inside the object"); }));
    static_assert(std::is_void_v<decltype(weft::on_big_stack([] {}))>);

    int x = 0;
    static_assert(std::is_same_v<int&, decltype(weft::on_big_stack([&]() -> int& { return x; }))>);
    EXPECT_EQ(&x, &weft::on_big_stack([&]() -> int& { return x; }));
    static_assert(std::is_same_v<int&&, decltype(weft::on_big_stack([&]() -> int&& { return std::move(x); }))>);
    int&& moved = weft::on_big_stack([&]() -> int&& { return std::move(x); });
    EXPECT_EQ(&x, &moved);

    std::unique_ptr<int> p = weft::on_big_stack([] { return std::make_unique<int>(7); });
    EXPECT_EQ(7, *p);
    const wide w = weft::on_big_stack([] { return wide{9}; });
    EXPECT_EQ(9, w.value);
    EXPECT_EQ(4u, weft::on_big_stack([]() -> const std::string { return "four"; }).size());

    int alive = 0;
    {
      const counted c = weft::on_big_stack([&] { return counted(&alive); });
      EXPECT_EQ(1, alive);
    }
    EXPECT_EQ(0, alive);
    EXPECT_THROW(weft::on_big_stack([] { return throws_when_moved(); }), std::runtime_error);
  });
}

TEST(big_stack, f_is_called_as_what_it_is) {
  struct callee {
    std::unique_ptr<int> held;
    int operator()() & { return 1; }
    int operator()() const& { return 2; }
    int operator()() && { return 3; }
  };
  in_small_goroutine(1, [] {
    callee c;
    EXPECT_EQ(1, weft::on_big_stack(c));
    EXPECT_EQ(2, weft::on_big_stack(std::as_const(c)));
    EXPECT_EQ(3, weft::on_big_stack(std::move(c)));
  });
}

// ---- exceptions

TEST(big_stack, exceptions_pass_and_the_stack_is_given_back) {
  in_small_goroutine(2, [] {
    const weft::rt::stack* mine = getg()->stack;
    std::uint64_t before = 0;
    for (int i = 0; i < 100; ++i) {
      bool destroyed = false;
      struct flag {
        bool& to;
        ~flag() { to = true; }
      };
      try {
        weft::on_big_stack([&] {
          const flag f{destroyed};
          recurse(64 * KiB);
          throw std::runtime_error("over the seam");
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ("over the seam", e.what());
      }
      EXPECT_TRUE(destroyed);
      EXPECT_EQ(mine, getg()->stack);
      EXPECT_EQ(mine, slot_here());
      if (i == 0) before = the_process.stacks.slots_in_use();
    }
    EXPECT_EQ(before, the_process.stacks.slots_in_use());
  });
}

TEST(big_stack, exceptions_are_caught_and_go_on_on_either_side) {
  in_small_goroutine(1, [] {
    try {
      throw 1;
    } catch (int outer) {
      const int inner = weft::on_big_stack([] {
        EXPECT_NE(nullptr, std::current_exception()) << "the goroutine is the same";
        try {
          throw 2;
        } catch (int n) {
          weft::yield();
          return n;
        }
      });
      EXPECT_EQ(1, outer);
      EXPECT_EQ(2, inner);
      EXPECT_THROW(weft::on_big_stack([] { std::rethrow_exception(std::current_exception()); }), int);
    }
    EXPECT_EQ(0, std::uncaught_exceptions());
  });
}

struct works_while_unwinding {
  int& result;
  ~works_while_unwinding() {
    result = weft::on_big_stack([] { return static_cast<int>(recurse(MiB)); });
  }
};

TEST(big_stack, may_be_used_in_a_destructor_while_an_exception_passes) {
  in_small_goroutine(1, [] {
    int result = 0;
    EXPECT_THROW(
        {
          const works_while_unwinding w{result};
          throw std::runtime_error("on its way");
        },
        std::runtime_error);
    EXPECT_EQ(1024, result);
  });
}

// ---- nesting, blocking, migrating

TEST(big_stack, calls_nest) {
  in_small_goroutine(1, [] {
    const weft::rt::stack* mine = getg()->stack;
    const int depth = weft::on_big_stack([&] {
      const weft::rt::stack* first = getg()->stack;
      const int n = weft::on_big_stack(
          [&] {
            EXPECT_EQ(first, getg()->stack->outer);
            EXPECT_EQ(mine, first->outer);
            weft::yield();
            return weft::on_big_stack([] { return static_cast<int>(recurse(MiB)); }, 8 * MiB) / 512;
          },
          64 * KiB);
      EXPECT_EQ(first, getg()->stack);
      EXPECT_EQ(first, slot_here());
      EXPECT_THROW(weft::on_big_stack([] { weft::on_big_stack([] { throw 7; }); }), int);
      EXPECT_EQ(first, getg()->stack);
      return n;
    });
    EXPECT_EQ(2, depth);
    EXPECT_EQ(mine, getg()->stack);
  });
}

TEST(big_stack, f_may_block_and_many_do_at_once) {
  for (const int procs : {1, 2, 4}) {
    weft::run(with(procs), [] {
      constexpr int n = 40;
      weft::semaphore start(0);
      weft::mutex lock;
      weft::wait_group wg;
      std::uint64_t sum = 0;
      for (int i = 0; i < n; ++i) {
        wg.add(1);
        weft::go(weft::attrs{.stack_size = 16 * KiB}, [&] {
          const std::uint64_t got = weft::on_big_stack(
              [&] {
                start.acquire();
                const std::uint64_t deep = recurse(512 * KiB);
                weft::yield();
                weft::blocking([] { std::this_thread::yield(); });
                return deep;
              },
              MiB);
          {
            const std::lock_guard guard(lock);
            sum += got;
          }
          wg.done();
        });
      }
      weft::yield();
      for (int i = 0; i < n; ++i) start.release();
      wg.wait();
      EXPECT_EQ(n * 512u, sum);
    });
    EXPECT_EQ(0u, the_process.stacks.slots_in_use());
  }
}

// Goes on until another thread than the first has ended f. By the kernel's ids: pthread_self() is a constant to compilers.
TEST(big_stack, f_may_begin_on_one_thread_and_end_on_another) {
  weft::run(with(2), [] {
    bool migrated = false;
    for (int i = 0; i < 100'000 && !migrated; ++i) {
      weft::semaphore back(0), forth(0);
      std::atomic<bool> ended = false;
      weft::go([&] {
        const auto first = weft::rt::os::thread_id();
        const auto inside = weft::on_big_stack([&] {
          forth.release();
          back.acquire();
          recurse(64 * KiB);
          return weft::rt::os::thread_id();
        });
        EXPECT_EQ(inside, weft::rt::os::thread_id());
        migrated = inside != first;
        ended = true;
      });
      forth.acquire();
      weft::blocking([] { std::this_thread::yield(); });
      back.release();
      while (!ended) std::this_thread::yield();  // this thread does not run it
    }
    EXPECT_TRUE(migrated);
  });
}

TEST(big_stack, inside_blocking_and_blocking_inside) {
  weft::run(with(1), [] {
    EXPECT_EQ(1024u, weft::blocking([] { return weft::on_big_stack([] { return recurse(MiB); }); }));
    EXPECT_EQ(1024u, weft::on_big_stack([] { return weft::blocking([] { return recurse(MiB); }); }));
  });
}

TEST(big_stack, a_goroutine_may_end_there) {
  weft::run(with(2), [] {
    for (int i = 0; i < 100; ++i) {
      weft::wait_group wg;
      bool destroyed = false;
      wg.add(1);
      weft::go([&] {
        struct last {
          weft::wait_group& wg;
          bool& destroyed;
          ~last() {
            destroyed = true;
            wg.done();
          }
        } at_the_end{wg, destroyed};
        weft::on_big_stack([] { weft::on_big_stack([] { weft::this_goroutine::exit(); }); });
        ADD_FAILURE() << "it went on";
      });
      wg.wait();
      EXPECT_TRUE(destroyed);
    }
  });
  EXPECT_EQ(0u, the_process.stacks.slots_in_use());
}

// ---- plain threads

TEST(big_stack, a_plain_thread_borrows_one_too) {
  std::thread([] {
    EXPECT_EQ(nullptr, slot_here());
    EXPECT_EQ(4 * KiB, weft::on_big_stack([] {
                EXPECT_EQ(8 * MiB, stack_bytes(*slot_here()));
                EXPECT_EQ(nullptr, getg()) << "it is still no goroutine";
                return recurse(4 * MiB);
              }));
    EXPECT_EQ(nullptr, slot_here());
    EXPECT_THROW(weft::on_big_stack([] { throw 1; }), int);
    EXPECT_EQ(2, weft::on_big_stack([] { return weft::on_big_stack([] { return 2; }); }));
  }).join();
  EXPECT_EQ(0u, the_process.stacks.slots_in_use());
  EXPECT_EQ(0u, the_process.proxies_in_use.load(weft::rt::relaxed));
}

TEST(big_stack, a_runtime_may_live_on_one) {
  EXPECT_EQ(7, weft::on_big_stack([] {
              return weft::run(with(2), [] {
                weft::wait_group wg;
                for (int i = 0; i < 100; ++i) wg.go([] { weft::yield(); });
                wg.wait();
                return weft::on_big_stack([] { return 7; });
              });
            }));
}

// ---- explorations

TEST(big_stack, works_in_an_exploration) {
  const weft::sim::summary s = weft::sim::explore({.runs = 200}, [] {
    weft::mutex lock;
    int sum = 0;
    weft::wait_group wg;
    for (int i = 0; i < 3; ++i) {
      wg.go([&] {
        weft::on_big_stack([&] {
          const std::lock_guard guard(lock);
          ++sum;
        });
      });
    }
    wg.wait();
    weft::sim::check(sum == 3, "all of them");
  });
  EXPECT_GT(s.distinct, 10);
}

}  // namespace
