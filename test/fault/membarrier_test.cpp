// A membarrier that begins to be refused while Ps are being taken: from then on the goroutines' threads fence at each call, and
// their Ps are taken as before.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cerrno>

#include "fault/work.hpp"
#include "model/process.hpp"

namespace {

using namespace work;
using namespace std::chrono_literals;
using weft::rt::the_process;

class membarrier : public testing::TestWithParam<unsigned> {
 protected:
  void SetUp() override {
    before_ = the_process.membarrier.load(weft::rt::relaxed);
    faulty::reset();
    weft::test::set_watchdog(60);
  }
  void TearDown() override {
    faulty::reset();
    weft::test::clear_watchdog();
    the_process.membarrier.store(before_, weft::rt::relaxed);
  }

 private:
  std::uint32_t before_ = 0;
};

// Every P is kept by one that sleeps in the kernel and one that computes; both make a call now and then.
TEST_P(membarrier, that_is_refused_from_some_time_on_stops_nobody) {
  for (const int procs : {1, 2, 4}) {
    the_process.membarrier.store(1, weft::rt::relaxed);
    faulty::fail(faulty::call::membarrier, GetParam(), EPERM, faulty::for_ever);
    testing::internal::CaptureStderr();
    weft::options o;
    o.procs = procs;
    weft::run(o, [&] {
      std::atomic<bool> over = false;
      weft::wait_group wg;
      for (int i = 0; i < 2 * procs; ++i) {
        wg.go([&, i] {
          weft::semaphore free(1);
          while (!over.load()) {
            if (i % 2 == 0) {
              ::poll(nullptr, 0, 5);
            } else {
              const auto end = std::chrono::steady_clock::now() + 20ms;
              while (std::chrono::steady_clock::now() < end && !over.load()) {
              }
            }
            free.acquire();
            free.release();
          }
        });
      }
      for (int k = 0; k < 200; ++k) weft::sleep(1ms);
      EXPECT_EQ(1, weft::gomaxprocs(1) != 0);
      for (int k = 0; k < 20; ++k) weft::sleep(1ms);
      weft::gomaxprocs(procs);
      over = true;
      wg.wait();
      expect_a_whole_world();
    });
    const std::string said = testing::internal::GetCapturedStderr();
    if (GetParam() == 1) {
      EXPECT_TRUE(faulty::has_failed(faulty::call::membarrier));
    }
    const bool failed = faulty::has_failed(faulty::call::membarrier);
    EXPECT_EQ(failed
                  ? "weft: membarrier is refused (errno 1): each call of the runtime takes a full fence from here on\n"
                  : "",
              said);
    EXPECT_EQ(failed ? 2u : 1u, the_process.membarrier.load(weft::rt::relaxed));
  }
}

INSTANTIATE_TEST_SUITE_P(from_the, membarrier, testing::Values(1u, 2u, 7u, 40u));

}  // namespace
