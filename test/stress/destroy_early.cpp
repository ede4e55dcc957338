// destroy_early: rounds of stress/destroy_early.hpp, until the time is over.
#include "stress/destroy_early.hpp"

using namespace weft;

int main() {
  test::stress s("destroy_early");
  std::uint64_t objects = 0;
  while (s.more()) {
    const options o = s.any_options();
    test::random_source r(s.random().next_seed());
    constexpr int n = test::scaled(2000);
    s.run(o, [&] { test::destroy_early::round(r, n); });
    objects += 3 * static_cast<std::uint64_t>(n);
  }
  return s.finish("objects", objects);
}
