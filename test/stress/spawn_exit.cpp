// spawn_exit: rounds of stress/spawn_exit.hpp, until the time is over.
#include "stress/spawn_exit.hpp"

using namespace weft;

using namespace test::spawn_exit;

int main() {
  test::stress s("spawn_exit");
  std::uint64_t total = 0;
  while (s.more()) {
    const options o = s.any_options();
    // TSan has room for some thousand fibres, and they may all be alive at once.
    const std::uint32_t n =
        1 + s.random().below(test::built_with_tsan ? 1000u : static_cast<std::uint32_t>(test::scaled(100'000)));
    const bool wait = s.random().one_in(2);
    runs = 0;
    auto all = std::make_unique<wait_group>();
    test::random_source r(s.random().next_seed());
    s.run(o, [&] {
      tree(*all, n, r);
      // Or leave it to run() to wait for them.
      if (wait) all->wait();
    });
    if (runs.load() != n) test::stress_failed("ran " + std::to_string(runs) + " of " + std::to_string(n));
    test::expect(alive.load() == 0, "a callable was not destroyed, or twice");
    total += n;
  }
  return s.finish("goroutines", total);
}
