// wrong: a handler that does not take what is received
// says: no matching function for call to .recv
#include <optional>
#include <weft/select.hpp>

void use(const weft::chan<int>& c) {
#ifdef WRONG
  weft::select(weft::recv(c, [] {}));
#else
  weft::select(weft::recv(c, [](std::optional<int>) {}));
#endif
}
