// wrong: a result that cannot leave its goroutine
// says: R must be void, a reference, or an object type that can be moved
#include <weft/future.hpp>

struct fixed {
  fixed() = default;
  fixed(fixed&&) = delete;
};

#ifdef WRONG
weft::future<fixed> use();
bool ask() { return use().valid(); }
#else
weft::future<fixed&> use();
bool ask() { return use().valid(); }
#endif
