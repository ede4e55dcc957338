// wrong: a local of a reference
// says: T must be an object type, neither const nor an array
#include <weft/local.hpp>

#ifdef WRONG
constinit weft::local<int&> mine(nullptr);
#else
constinit weft::local<int*> mine;
#endif
