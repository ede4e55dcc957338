// The doorbell: one watches, others ring.
#include "lock/doorbell.hpp"

#include "checker/model.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

MODEL(doorbell_count_says_what_is_there, "two ring: who has read both rings sees what both have left", .spurious = 1) {
  rt::doorbell bell;
  int left[2] = {};
  auto first = start([&] {
    left[0] = 1;
    bell.ring();
  });
  auto second = start([&] {
    left[1] = 1;
    bell.ring();
  });
  for (std::uint32_t seen; (seen = bell.read()) != 2;) bell.wait(seen, -1);
  expect(left[0] + left[1] == 2, "what they have left is there");
  first.join();
  second.join();
}

MODEL(doorbell_ring_after_the_look, "a ring between the look and the sleep is not slept through", .spurious = 1) {
  rt::doorbell bell;
  rt::atomic<std::uint32_t> things{0};
  auto ringer = [&] {
    things.fetch_add(1, rt::relaxed);
    bell.ring();
  };
  auto a = start(ringer);
  auto b = start(ringer);
  for (;;) {
    const std::uint32_t seen = bell.read();
    if (things.load(rt::relaxed) == 2) break;
    bell.wait(seen, -1);
  }
  a.join();
  b.join();
}

MODEL(doorbell_time, "nobody rings: the watch ends by its time") {
  rt::doorbell bell;
  const std::int64_t began = now();
  bell.wait(bell.read(), 1000);
  expect(now() >= began + 1000, "not before its time");
}

}  // namespace
