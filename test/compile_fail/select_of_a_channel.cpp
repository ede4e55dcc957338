// wrong: a select of something that is no case
// says: no matching function for call to .select
#include <weft/select.hpp>

void use(const weft::chan<int>& c) {
#ifdef WRONG
  weft::select(c);
#else
  weft::select(weft::recv(c));
#endif
}
