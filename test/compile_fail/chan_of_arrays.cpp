// wrong: elements that are arrays
// says: T must be an object type that can be moved, neither const nor an array
#include <array>
#include <weft/chan.hpp>

void use() {
#ifdef WRONG
  weft::chan<int[3]> c;
#else
  weft::chan<std::array<int, 3>> c;
#endif
  c.close();
}
