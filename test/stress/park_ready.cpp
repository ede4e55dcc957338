// park_ready: rounds of stress/park_ready.hpp, until the time is over.
#include "stress/park_ready.hpp"

using namespace weft;

int main() {
  test::stress s("park_ready");
  std::uint64_t turns = 0;
  while (s.more()) {
    const options o = s.any_options();
    s.run(o, [&] { turns += test::park_ready::round(s.random(), test::scaled(1000)); });
  }
  return s.finish("turns", turns);
}
