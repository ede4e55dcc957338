// text: a borrowed string, as light as <string_view> is heavy (18,000 lines). Converts from anything that
// has data() and size(), and from a literal.
#pragma once
#include <cstddef>

namespace weft {
inline namespace v0 {
namespace detail {

struct text {
  const char* data = nullptr;
  std::size_t size = 0;

  constexpr text() noexcept = default;
  constexpr text(const char* s) noexcept : data(s), size(s == nullptr ? 0 : __builtin_strlen(s)) {}
  template <class S>
    requires requires(const S& s) {
      static_cast<const char*>(s.data());
      static_cast<std::size_t>(s.size());
    }
  constexpr text(const S& s) noexcept : data(s.data()), size(s.size()) {}
};

}  // namespace detail
}  // namespace v0
}  // namespace weft
