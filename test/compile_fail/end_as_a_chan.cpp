// wrong: an end becomes the whole channel again
// says: no viable conversion|conversion from .*send_chan<int>.* to non-scalar type .*chan<int>.* requested
#include <weft/chan.hpp>

void use(const weft::chan<int>& both, const weft::send_chan<int>& in) {
#ifdef WRONG
  weft::chan<int> c = in;
#else
  weft::send_chan<int> c = both;
  c = in;
#endif
  c.close();
}
