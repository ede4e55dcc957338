// wrong: elements that stay where they are
// says: T must be an object type that can be moved, neither const nor an array
#include <weft/weft.hpp>

void use() {
#ifdef WRONG
  weft::chan<weft::mutex> c;
#else
  weft::chan<weft::mutex*> c;
#endif
  c.close();
}
