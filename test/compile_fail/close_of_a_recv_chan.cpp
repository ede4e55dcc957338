// wrong: whoever only receives closes
// says: has no member named '?close|no member named 'close'
#include <weft/chan.hpp>

void use(const weft::chan<>& both, const weft::recv_chan<>& out) {
#ifdef WRONG
  out.close();
#else
  out.recv();
  both.close();
#endif
}
