// wrong: nobody looks whether anything happened
// says: nodiscard|ignoring return value
#include <weft/select.hpp>

bool use(const weft::chan<int>& c) {
#ifdef WRONG
  weft::try_select(weft::recv(c));
  return true;
#else
  return weft::try_select(weft::recv(c)).has_value();
#endif
}
