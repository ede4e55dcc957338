// wrong: a receiving end sends
// says: has no member named '?send|no member named 'send'
#include <weft/chan.hpp>

void use(const weft::chan<int>& both, const weft::recv_chan<int>& out) {
#ifdef WRONG
  out.send(1);
#else
  both.send(*out.recv());
#endif
}
