// shutdown: class runtimes that are ended while their goroutines wait: for ever, and are cancelled; or in a no_cancel scope,
// for somebody outside who comes a moment later. Then all is at rest, and not over, while whoever ends the runtime may
// still be waking others. Sometimes two threads end it at the same time.
#include <memory>
#include <thread>

#include "support/stress.hpp"

using namespace weft;

int main() {
  test::stress s("shutdown");
  std::uint64_t ended = 0;
  while (s.more()) {
    s.run(s.any_options(), [&] {
      test::random_source& r = s.random();
      for (int k = 0; k < test::scaled(40); ++k, ++ended) {
        options o = s.any_options();
        o.shutdown_timeout = std::chrono::hours(1);  // patience is the watchdog's
        semaphore never(0), later(0);
        std::atomic<int> cancelled{0};
        const int for_ever = static_cast<int>(r.below(4)), stubborn = static_cast<int>(r.below(3));
        auto other = std::make_unique<runtime>(o);
        for (int i = 0; i < for_ever; ++i) {
          other->go([&] {
            try {
              never.acquire();
            } catch (const weft::cancelled&) {
              ++cancelled;
              throw;
            }
          });
        }
        for (int i = 0; i < stubborn; ++i) {
          other->go([&] {
            const no_cancel to_the_end;
            later.acquire();
          });
        }
        for (std::uint32_t i = r.below(4); i != 0; --i) yield();
        wait_group helper;
        helper.go([&, pause = static_cast<std::int64_t>(r.below(1'000'000))] {
          blocking([&] { rt::os::sleep_ns(pause); });
          later.release(stubborn);
        });
        std::thread second;
        if (r.one_in(2)) second = std::thread([&] { other->shutdown(); });
        other->shutdown();
        blocking([&] {
          if (second.joinable()) second.join();
        });
        other.reset();
        helper.wait();
        test::expect(cancelled.load() == for_ever, "a goroutine was not cancelled");
        test::expect(!never.try_acquire() && !later.try_acquire(), "a permit came from nowhere");
      }
    });
  }
  return s.finish("runtimes ended", ended);
}
