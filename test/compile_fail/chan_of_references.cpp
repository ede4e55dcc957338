// wrong: elements that are references
// says: T must be an object type that can be moved, neither const nor an array
#include <weft/chan.hpp>

void use() {
#ifdef WRONG
  weft::chan<int&> c;
#else
  weft::chan<int*> c;
#endif
  c.close();
}
