// weft::local: a value for each goroutine, made when it is first used, destroyed with the goroutine; on plain threads the same.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::everywhere;

static_assert(!std::is_copy_constructible_v<local<int>> && !std::is_move_constructible_v<local<int>>);
static_assert(std::is_same_v<decltype(*std::declval<const local<int>&>()), int&>);
static_assert(std::is_same_v<decltype(std::declval<const local<int>&>().get()), int&>);

constinit local<int> number;
constinit local<std::string> text([] { return std::string("made"); });

// Who was made and destroyed, for one goroutine at a time.
mutex diary_lock;
std::string diary;
void note(const char* what) {
  const std::lock_guard hold(diary_lock);
  diary += what;
}
template <char name>
struct noted {
  noted() {
    const char made[] = {'+', name, 0};
    note(made);
  }
  ~noted() {
    const char destroyed[] = {'-', name, 0};
    yield();
    note(destroyed);
  }
  int value = 0;
};
constinit local<noted<'a'>> a;
constinit local<noted<'b'>> b;

TEST(local, each_goroutine_has_its_own) {
  everywhere([] {
    EXPECT_EQ(*number, 0);
    *number = 100;
    wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([i] {
        EXPECT_EQ(*number, 0);
        EXPECT_EQ(*text, "made");
        *number = i;
        text->append("!");
        yield();
        EXPECT_EQ(number.get(), i);
        EXPECT_EQ(*text, "made!");
        wait_group inner;
        inner.go([] { EXPECT_EQ(*number, 0); });  // not inherited
        inner.wait();
        EXPECT_EQ(*number, i);
      });
    }
    all.wait();
    EXPECT_EQ(*number, 100);
  });
}

TEST(local, made_on_first_use_destroyed_at_the_end_the_last_one_first) {
  everywhere([] {
    diary.clear();
    wait_group all;
    all.go([] {
      note("(");
      b->value = 1;
      a->value = 1;
      b->value = 2;
      note(")");
    });
    all.wait();
    // After its function, and so perhaps after wait().
    test::yield_until([] {
      const std::lock_guard hold(diary_lock);
      return diary.size() >= 10;
    });
    EXPECT_EQ(diary, "(+b+a)-a-b");
  });
}

TEST(local, destroyed_however_the_goroutine_ends) {
  everywhere([] {
    const context c = context::background().with_cancel();
    static std::atomic<int> alive{0};
    struct counted {
      counted() { ++alive; }
      ~counted() { --alive; }
    };
    static constinit local<counted> mine;
    alive = 0;
    wait_group all;
    all.go([] { mine.get(); });
    all.go([] {
      mine.get();
      this_goroutine::exit();
    });
    all.go([&c] {
      with(c, [] {
        mine.get();
        chan<>().recv();
      });
    });
    c.cancel();
    all.wait();
    test::yield_until([] { return alive == 0; });
  });
}

// A destructor may wait, and use other locals; a cancelled goroutine's too.
TEST(local, destructors_may_wait_and_are_no_cancellation_points) {
  everywhere([] {
    static std::atomic<int> waited{0};
    struct waits {
      ~waits() {
        chan<> ch;
        go([ch] { ch.send(); });
        ch.recv();
        EXPECT_EQ(++*number, 1);  // made anew
        ++waited;
      }
    };
    static constinit local<waits> mine;
    waited = 0;
    const context c = context::background().with_cancel();
    c.cancel();
    wait_group all;
    all.go([] { mine.get(); });
    with(c, [&] {
      all.go([] {
        mine.get();
        chan<>().recv();
      });
    });
    all.wait();
    test::yield_until([] { return waited == 2; });
  });
}

TEST(local, a_constructor_that_throws_leaves_nothing) {
  everywhere([] {
    static int attempts;
    attempts = 0;
    static constinit local<int> fails([] {
      if (++attempts == 1) throw std::runtime_error("not now");
      return attempts;
    });
    EXPECT_THROW(fails.get(), std::runtime_error);
    EXPECT_EQ(*fails, 2);
    EXPECT_EQ(*fails, 2);
  });
}

TEST(local, many_of_them) {
  everywhere([] {
    std::vector<std::unique_ptr<local<int>>> all;
    for (int i = 0; i < 40; ++i) all.push_back(std::make_unique<local<int>>());
    wait_group done;
    for (int k = 0; k < 2; ++k) {
      done.go([&, k] {
        for (std::size_t i = 0; i < all.size(); ++i) **all[i] = static_cast<int>(i) + k;
        yield();
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (**all[i] != static_cast<int>(i) + k) ADD_FAILURE() << i;
        }
      });
    }
    done.wait();
  });
}

// The address of a local that is gone may be another's: of another type, and with nothing made yet.
TEST(local, one_that_has_gone_is_not_found_in_anothers_place) {
  everywhere([] {
    alignas(local<long>) unsigned char room[sizeof(local<long>)];
    auto* first = ::new (room) local<long>;
    **first = 7;
    first->~local();
    auto* second = ::new (room) local<long>;
    EXPECT_EQ(**second, 0);
    second->~local();
  });
}

TEST(local, on_a_plain_thread_it_is_thread_local) {
  static std::atomic<int> destroyed{0};
  struct counted {
    ~counted() { ++destroyed; }
    int n = 0;
  };
  static constinit local<counted> mine;
  destroyed = 0;
  mine->n = 1;
  std::thread other([] {
    EXPECT_EQ(mine->n, 0);
    mine->n = 2;
    run([] { EXPECT_EQ(mine->n, 0); });  // main is a goroutine
    EXPECT_EQ(mine->n, 2);
  });
  other.join();
  EXPECT_EQ(destroyed.load(), 2);
  EXPECT_EQ(mine->n, 1);
}

TEST(local, stays_with_a_goroutine_that_changes_threads) {
  options o;
  o.procs = 4;
  run(o, [] {
    wait_group all;
    std::atomic<int> moved{0};
    for (int i = 0; i < 8; ++i) {
      all.go([&, i] {
        *number = i;
        const std::uint64_t thread = test::thread_id();
        for (int k = 0; k < 200; ++k) {
          yield();
          if (*number != i) ADD_FAILURE();
          if (test::thread_id() != thread) ++moved;
        }
      });
    }
    all.wait();
  });
}

TEST(local, of_main_are_gone_when_run_returns) {
  diary.clear();
  run([] { a->value = 1; });
  EXPECT_EQ(diary, "+a-a");
}

}  // namespace
