// wrong: a capacity where a channel is wanted
// says: no viable conversion|conversion from .int. to non-scalar type .*chan<int>.* requested
#include <weft/chan.hpp>

void use() {
#ifdef WRONG
  weft::chan<int> c = 5;
#else
  weft::chan<int> c(5);
#endif
  c.close();
}
