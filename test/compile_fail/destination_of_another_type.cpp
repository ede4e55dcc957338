// wrong: a destination of another type than the channel's
// says: no matching function for call to .recv
#include <optional>
#include <weft/select.hpp>

void use(const weft::chan<int>& c) {
#ifdef WRONG
  std::optional<long> v;
#else
  std::optional<int> v;
#endif
  weft::select(weft::recv(c, v));
}
