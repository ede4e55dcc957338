// wrong: a sending end receives
// says: has no member named '?recv|no member named 'recv'
#include <weft/chan.hpp>

void use(const weft::chan<int>& both, const weft::send_chan<int>& in) {
#ifdef WRONG
  in.send(*in.recv());
#else
  in.send(*both.recv());
#endif
}
