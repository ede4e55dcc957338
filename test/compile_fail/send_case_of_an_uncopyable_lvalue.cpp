// wrong: a case that would copy what cannot be copied
// says: no matching function for call to .send
#include <memory>
#include <utility>
#include <weft/select.hpp>

void use(const weft::chan<std::unique_ptr<int>>& c, std::unique_ptr<int>& p) {
#ifdef WRONG
  weft::select(weft::send(c, p));
#else
  weft::select(weft::send(c, std::move(p)));
#endif
}
