// Futex waits that return for no reason, as they may (signals, stray wake-ups): nobody takes that for a wake-up.
#include <gtest/gtest.h>

#include <thread>

#include "fault/work.hpp"

namespace {

using namespace work;

class futex_storm : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    std::thread([] {}).join();  // ThreadSanitizer has a thread of its own from the first one on: no leak
    faulty::reset();
    weft::test::set_watchdog(60);
    faulty::spurious_futex_waits(GetParam());
  }
  void TearDown() override {
    faulty::reset();
    weft::test::clear_watchdog();
  }
};

TEST_P(futex_storm, the_work_is_done_and_the_world_is_whole) {
  for (const int procs : {1, 2, 4}) {
    const weft::test::snapshot before = weft::test::take_snapshot();
    weft::options o;
    o.procs = procs;
    for (int i = 0; i < 10; ++i) {
      weft::run(o, [] {
        EXPECT_TRUE(everything_is_done());
        expect_a_whole_world();
      });
    }
    EXPECT_EQ("", weft::test::leaked_since(before));
  }
}

// A plain thread waits on the word of its status: an early return must not look like a permit.
TEST_P(futex_storm, plain_threads_wait_for_what_they_wait_for) {
  weft::semaphore s(0), back(0);
  weft::mutex m;
  weft::wait_group wg;
  long shared = 0;
  wg.add(4);
  std::thread all[4];
  for (std::thread& t : all) {
    t = std::thread([&] {
      for (int k = 0; k < 50; ++k) {
        s.acquire();
        m.lock();
        ++shared;
        m.unlock();
        back.release();
      }
      wg.done();
    });
  }
  long released = 0;
  for (int k = 0; k < 200; ++k) {
    s.release();
    ++released;
    back.acquire();
    m.lock();
    ASSERT_EQ(released, shared);
    m.unlock();
  }
  wg.wait();
  for (std::thread& t : all) t.join();
  EXPECT_FALSE(s.try_acquire());
  EXPECT_EQ(0u, weft::rt::the_process.proxies_in_use.load(weft::rt::relaxed));
}

INSTANTIATE_TEST_SUITE_P(early_returns, futex_storm, testing::Values(1u, 3u, 20u));

}  // namespace
