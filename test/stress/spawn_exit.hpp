// spawn_exit: births and deaths. Short goroutines by the hundred thousand, in trees, with small and large and named and
// throwing callables, on stacks of each class; each runs once, each callable is destroyed once, and at the end the
// arenas have all stacks back.
//
// In an exploration (test/conformance/explored_stress_test.cpp) the same, without plain threads.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>

#include "support/stress.hpp"
#include "weft/sim.hpp"

namespace weft::test::spawn_exit {

inline std::atomic<std::uint64_t> runs{0}, alive{0};

struct token {
  token() { alive.fetch_add(1, std::memory_order_relaxed); }
  token(const token&) { alive.fetch_add(1, std::memory_order_relaxed); }
  token(token&&) noexcept { alive.fetch_add(1, std::memory_order_relaxed); }
  ~token() { alive.fetch_sub(1, std::memory_order_relaxed); }
};

constexpr std::size_t classes[] = {16u << 10, 64u << 10, 256u << 10, 1u << 20, 8u << 20};

inline void tree(wait_group& all, std::uint32_t size, test::random_source r);

// A goroutine of some kind, which starts the rest of its part of the tree.
inline void branch(wait_group& all, std::uint32_t size, test::random_source& r) {
  const std::uint64_t seed = r.next_seed();
  auto body = [&all, size, seed, t = token()] {
    test::random_source mine(seed);
    runs.fetch_add(1, std::memory_order_relaxed);
    if (mine.one_in(8)) yield();
    tree(all, size - 1, mine);
    if (mine.one_in(16)) yield();
    all.done();
  };
  all.add(1);
  switch (r.below(16)) {
    case 0: {
      // Does not fit into the g: lives on the heap.
      struct large {
        decltype(body) f;
        char more[300] = {};
        void operator()() { f(); }
      };
      go(large{std::move(body)});
      break;
    }
    case 1:
      go({.name = "a name that is longer than most, and is copied for each of these goroutines"}, std::move(body));
      break;
    case 2: {
      // Not each class each time: 8 MiB slots are few.
      const std::uint32_t c = r.one_in(64) ? 4 : r.below(4);
      go({.stack_size = classes[c]}, std::move(body));
      break;
    }
    case 3: {
      struct throws {
        token t;
        throws() = default;
        throws(throws&&) { throw std::runtime_error("moved"); }
        void operator()() {}
      };
      try {
        go(throws());
        test::stress_failed("a goroutine was started whose callable could not be moved");
      } catch (const std::runtime_error&) {
      }
      go(std::move(body));
      break;
    }
    case 4: go([p = std::make_unique<decltype(body)>(std::move(body))] { (*p)(); }); break;
    default: go(std::move(body)); break;
  }
}

inline void tree(wait_group& all, std::uint32_t size, test::random_source r) {
  while (size > 0) {
    const std::uint32_t part = 1 + r.below(size);
    branch(all, part, r);
    size -= part;
  }
}

}  // namespace weft::test::spawn_exit
