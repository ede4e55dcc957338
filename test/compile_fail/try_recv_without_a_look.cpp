// wrong: nobody looks whether there was a value
// says: nodiscard|ignoring return value
#include <weft/chan.hpp>

bool use(const weft::chan<int>& c, int& v) {
#ifdef WRONG
  c.try_recv(v);
  return true;
#else
  return c.try_recv(v) == weft::chan_status::ok;
#endif
}
