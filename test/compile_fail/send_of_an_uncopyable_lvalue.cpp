// wrong: a copy of what cannot be copied
// says: use of deleted function|cannot bind rvalue reference|no matching member function|no matching function|constraints
#include <memory>
#include <utility>
#include <weft/chan.hpp>

void use(const weft::chan<std::unique_ptr<int>>& c, std::unique_ptr<int>& p) {
#ifdef WRONG
  c.send(p);
#else
  c.send(std::move(p));
#endif
}
