// weft::shared_mutex: Go's RWMutex tests (parallel readers, hammer, TryLock, misuse), restated, and what C5 of the behaviour
// says of its order: a waiting writer keeps new readers out, and a writer that leaves lets all waiting readers in first.
#include "weft/shared_mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"

namespace {

using namespace weft;
using test::run_case;

static_assert(sizeof(shared_mutex) == 8, "API.md: 8 bytes");

constinit shared_mutex made_at_compile_time;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

// On 1, 2, 4 and 16 Ps, and in a thousand schedules.
template <class F>
void everywhere(F body) {
  test::for_each_case_and_schedule([&](const run_case&) { body(); }, 1000, several_ps);
}

// Starts a goroutine that does `what`, and returns when it waits.
template <class F>
void start_and_see_it_wait(wait_group& all, test::watched& who, F what) {
  all.go([&who, what] {
    who.here();
    what();
  });
  test::yield_until([&] { return who.waits(); });
}

// ---- Go's tests

// Readers that excluded each other would wait here for ever: each stays inside until all have come.
TEST(shared_mutex, readers_read_at_once) {
  for (const int n : {1, 3, 10}) {
    everywhere([n] {
      shared_mutex m;
      wait_group all, inside;
      inside.add(n);
      for (int i = 0; i < n; ++i) {
        all.go([&] {
          const std::shared_lock reading(m);
          inside.done();
          inside.wait();
        });
      }
      all.wait();
      EXPECT_TRUE(m.try_lock()) << "free at the end";
      m.unlock();
    });
  }
}

// Who is inside is counted: a writer as 10,000, a reader as 1.
struct room {
  shared_mutex m;
  std::atomic<int> inside{0};
  long written = 0;  // racy unless writers exclude everybody

  void read(bool by_try, bool with_yield) {
    if (by_try) {
      if (!m.try_lock_shared()) return;
    } else {
      m.lock_shared();
    }
    const int now = ++inside;
    EXPECT_TRUE(now >= 1 && now < 10'000) << "a reader beside a writer";
    const long seen = written;
    if (with_yield) yield();
    EXPECT_EQ(written, seen) << "written while somebody reads";
    --inside;
    m.unlock_shared();
  }
  bool write(bool by_try, bool with_yield) {
    if (by_try) {
      if (!m.try_lock()) return false;
    } else {
      m.lock();
    }
    EXPECT_EQ(inside += 10'000, 10'000) << "a writer is not alone";
    const long seen = written;
    if (with_yield) yield();
    written = seen + 1;
    inside -= 10'000;
    m.unlock();
    return true;
  }
};

TEST(shared_mutex, excludes_writers_from_everybody) {
  test::for_each_case(
      [](const run_case&) {
        for (const int readers : {1, 3, 10}) {
          const int rounds = test::scaled(300);
          room r;
          std::atomic<long> writes{0};
          wait_group all;
          std::vector<std::thread> threads;
          const auto reader = [&](bool goroutine) {
            for (int i = 0; i < rounds; ++i) r.read(i % 4 == 0, goroutine && i % 5 == 0);
          };
          const auto writer = [&](bool goroutine) {
            for (int i = 0; i < rounds; ++i) writes += r.write(i % 4 == 0, goroutine && i % 3 == 0);
          };
          for (int i = 0; i < readers; ++i) all.go([&] { reader(true); });
          for (int i = 0; i < 2; ++i) all.go([&] { writer(true); });
          threads.emplace_back(reader, false);
          threads.emplace_back(writer, false);
          all.wait();
          blocking([&] {
            for (std::thread& t : threads) t.join();
          });
          EXPECT_EQ(r.written, writes.load());
          EXPECT_GE(r.written, 3 * (rounds - rounds / 4 - 1));
        }
      },
      several_ps);
}

TEST(shared_mutex, excludes_writers_in_every_schedule) {
  everywhere([] {
    room r;
    std::atomic<long> writes{0};
    wait_group all;
    for (int i = 0; i < 2; ++i) {
      all.go([&, i] {
        r.read(false, true);
        r.read(i == 0, true);
      });
      all.go([&, i] {
        writes += r.write(false, true);
        writes += r.write(i == 0, true);
      });
    }
    all.wait();
    EXPECT_EQ(r.written, writes.load());
    EXPECT_GE(r.written, 3);
    EXPECT_TRUE(r.m.try_lock()) << "free at the end";
    r.m.unlock();
  });
}

TEST(shared_mutex, table_of_what_a_try_says) {
  everywhere([] {
    shared_mutex m;
    const auto tries = [&m](bool write, bool read) {
      const bool written = m.try_lock();
      EXPECT_EQ(written, write);
      if (written) m.unlock();
      const bool was_read = m.try_lock_shared();
      EXPECT_EQ(was_read, read);
      if (was_read) m.unlock_shared();
    };
    tries(true, true);  // free
    m.lock_shared();
    tries(false, true);  // read
    m.lock_shared();
    tries(false, true);  // twice
    m.unlock_shared();
    m.unlock_shared();
    m.lock();
    tries(false, false);  // written
    wait_group all;
    test::watched reader;
    start_and_see_it_wait(all, reader, [&] { const std::shared_lock reading(m); });
    tries(false, false);  // written, a reader waits
    m.unlock();
    all.wait();
    tries(true, true);
    m.lock_shared();
    test::watched writer;
    start_and_see_it_wait(all, writer, [&] { const std::unique_lock writing(m); });
    tries(false, false);  // read, a writer waits
    m.unlock_shared();
    all.wait();
    tries(true, true);
  });
}

// ---- who goes first

TEST(shared_mutex, a_writer_that_waits_goes_before_readers_that_come_later) {
  everywhere([] {
    shared_mutex m;
    std::vector<int> order;  // guarded by the one that writes, or read by one at a time
    mutex order_lock;
    const auto note = [&](int who) {
      const std::lock_guard hold(order_lock);
      order.push_back(who);
    };
    m.lock_shared();
    wait_group all;
    test::watched who[4];
    start_and_see_it_wait(all, who[0], [&] {
      const std::unique_lock writing(m);
      note(0);
    });
    for (int i = 1; i < 4; ++i) {
      start_and_see_it_wait(all, who[i], [&, i] {
        const std::shared_lock reading(m);
        note(i);
      });
    }
    EXPECT_TRUE(order.empty()) << "somebody came in beside a reader and a waiting writer";
    m.unlock_shared();
    all.wait();
    ASSERT_EQ(order.size(), 4u);
    EXPECT_EQ(order[0], 0) << "a reader overtook the writer";
  });
}

// A writer waits first, then readers come, then one more writer: when the present one leaves, all readers go in together.
TEST(shared_mutex, all_readers_that_wait_go_before_the_next_writer) {
  everywhere([] {
    shared_mutex m;
    m.lock();
    wait_group all, inside;
    constexpr int readers = 3;
    inside.add(readers);
    std::atomic<int> read{0}, written{0};
    test::watched writer[2], reader[readers];
    const auto write = [&] {
      const std::unique_lock writing(m);
      EXPECT_EQ(read.load(), readers) << "a writer went before readers that waited";
      ++written;
    };
    start_and_see_it_wait(all, writer[0], write);
    for (test::watched& each : reader) {
      start_and_see_it_wait(all, each, [&] {
        const std::shared_lock reading(m);
        EXPECT_EQ(written.load(), 0);
        inside.done();
        inside.wait();  // for ever, if they do not come in together
        ++read;
      });
    }
    start_and_see_it_wait(all, writer[1], write);
    m.unlock();
    all.wait();
    EXPECT_EQ(written.load(), 2);
  });
}

// One reader at a time for each writer: the phases alternate, as long as both wait.
TEST(shared_mutex, readers_that_come_during_a_write_wait_for_one_writer_only) {
  everywhere([] {
    shared_mutex m;
    m.lock();
    std::vector<std::string> order;
    mutex order_lock;
    const auto note = [&](const char* who) {
      const std::lock_guard hold(order_lock);
      order.push_back(who);
    };
    wait_group all;
    test::watched w1, w2, r1, r2;
    start_and_see_it_wait(all, r1, [&] {
      const std::shared_lock reading(m);
      note("r1");
    });
    start_and_see_it_wait(all, w1, [&] {
      const std::unique_lock writing(m);
      note("w1");
      // Comes while w1 writes and w2 waits.
      all.go([&] {
        r2.here();
        const std::shared_lock reading(m);
        note("r2");
      });
      test::yield_until([&] { return r2.waits(); });
    });
    start_and_see_it_wait(all, w2, [&] {
      const std::unique_lock writing(m);
      note("w2");
    });
    m.unlock();
    all.wait();
    EXPECT_EQ(order, (std::vector<std::string>{"r1", "w1", "r2", "w2"}));
  });
}

TEST(shared_mutex, writers_come_in_their_order) {
  everywhere([] {
    constexpr int n = 5;
    shared_mutex m;
    m.lock();
    std::vector<int> order;
    wait_group all;
    test::watched each[n];
    for (int i = 0; i < n; ++i) {
      start_and_see_it_wait(all, each[i], [&, i] {
        const std::unique_lock writing(m);
        order.push_back(i);
        yield();  // handed over, not up for grabs: nobody comes between
      });
    }
    m.unlock();
    m.lock();  // behind all of them
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    m.unlock();
    all.wait();
  });
}

// Readers that always overlap would keep a writer out for ever, if a waiting one did not stop them.
TEST(shared_mutex, readers_in_relays_cannot_starve_a_writer) {
  test::for_each_case(
      [](const run_case&) {
        shared_mutex m;
        std::atomic<bool> written{false};
        wait_group all, started;
        started.add(4);
        for (int i = 0; i < 4; ++i) {
          all.go([&] {
            for (bool first = true; !written; first = false) {
              const std::shared_lock reading(m);
              if (first) started.done();
              yield();
            }
          });
        }
        started.wait();
        m.lock();
        written = true;
        m.unlock();
        all.wait();
      },
      several_ps);
}

// ---- std's locks, other unlockers, misuse

TEST(shared_mutex, works_with_the_locks_of_std) {
  everywhere([] {
    shared_mutex m;
    mutex other;
    { const std::lock_guard hold(m); }
    { const std::scoped_lock hold(other, m); }
    std::shared_lock reading(m, std::try_to_lock);
    EXPECT_TRUE(reading.owns_lock());
    {
      const std::unique_lock writing(m, std::try_to_lock);
      EXPECT_FALSE(writing.owns_lock());
    }
    std::shared_lock<shared_mutex> moved(std::move(reading));
    moved.unlock();
    const std::unique_lock writing(m, std::try_to_lock);
    EXPECT_TRUE(writing.owns_lock());
  });
  made_at_compile_time.lock();
  made_at_compile_time.unlock();
}

TEST(shared_mutex, may_be_unlocked_by_another_goroutine_or_thread) {
  test::for_each_case(
      [](const run_case&) {
        shared_mutex m;
        wait_group all;
        m.lock();
        all.go([&] { m.unlock(); });
        m.lock_shared();
        all.wait();
        all.go([&] { m.unlock_shared(); });
        m.lock();
        all.wait();
        std::thread other([&] { m.unlock(); });
        m.lock_shared();
        blocking([&] { other.join(); });
        m.unlock_shared();
      },
      several_ps);
}

template <class F>
std::string misuse(F f) {
  try {
    f();
  } catch (const unlock_of_unlocked_mutex& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(shared_mutex, misuse_is_named_and_changes_nothing) {
  everywhere([] {
    constexpr const char* unlock = "sync: Unlock of unlocked RWMutex";
    constexpr const char* runlock = "sync: RUnlock of unlocked RWMutex";
    shared_mutex m;
    EXPECT_EQ(misuse([&] { m.unlock(); }), unlock);
    EXPECT_EQ(misuse([&] { m.unlock_shared(); }), runlock);
    m.lock_shared();
    EXPECT_EQ(misuse([&] { m.unlock(); }), unlock) << "it is read";
    m.unlock_shared();
    EXPECT_EQ(misuse([&] { m.unlock_shared(); }), runlock);
    m.lock();
    EXPECT_EQ(misuse([&] { m.unlock_shared(); }), runlock) << "it is written";
    m.unlock();
    EXPECT_EQ(misuse([&] { m.unlock(); }), unlock);

    // Those who wait lose nothing by it.
    m.lock();
    wait_group all;
    test::watched reader, writer;
    start_and_see_it_wait(all, reader, [&] { const std::shared_lock reading(m); });
    EXPECT_EQ(misuse([&] { m.unlock_shared(); }), runlock);
    m.unlock();
    all.wait();
    m.lock_shared();
    start_and_see_it_wait(all, writer, [&] { const std::unique_lock writing(m); });
    EXPECT_EQ(misuse([&] { m.unlock(); }), unlock);
    m.unlock_shared();
    all.wait();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST(shared_mutex_death, unlock_of_an_unlocked_one_by_shared_lock_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(weft::run([] {
                 shared_mutex m;
                 const std::shared_lock hold(m);
                 m.unlock_shared();
               }),
               "RUnlock of unlocked RWMutex");
}

}  // namespace
