// wrong: a key that cannot be compared
// says: equality_comparable|no matching function
#include <weft/context.hpp>

struct plain {};
struct comparable {
  friend bool operator==(const comparable&, const comparable&) = default;
};

#ifdef WRONG
weft::context use(const weft::context& c) { return c.with_value(plain(), 1); }
#else
weft::context use(const weft::context& c) { return c.with_value(comparable(), 1); }
#endif
