// taker: rounds of stress/taker.hpp, until the time is over.
#include "stress/taker.hpp"

using namespace weft;

using namespace test::taker;

int main() {
  test::stress s("taker");
  while (s.more()) {
    test::random_source& r = s.random();
    s.run(s.any_options(), [&] {
      switch (r.below(4)) {
        case 0: on_a_semaphore(r, test::scaled(400)); break;
        case 1: on_a_mutex(r, test::scaled(400)); break;
        case 2: on_a_wait_group(r, test::scaled(100)); break;
        default: on_a_turnstile(r, test::scaled(300)); break;
      }
    });
  }
  std::printf("taker: %llu of the waits were taken by a timeout\n",
              static_cast<unsigned long long>(timeout::fired.load()));
  return s.finish("waits", waits);
}
