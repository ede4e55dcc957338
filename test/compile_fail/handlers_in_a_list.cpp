// wrong: a case with a handler, which is owned by its select, in a list for several
// says: no matching|could not convert|no viable conversion|cannot convert
#include <array>
#include <optional>
#include <span>
#include <weft/select.hpp>

void use(const weft::chan<int>& c) {
#ifdef WRONG
  const std::array<weft::select_case, 1> cases{weft::recv(c, [](std::optional<int>) {})};
#else
  const std::array<weft::select_case, 1> cases{weft::recv(c)};
#endif
  weft::select(std::span<const weft::select_case>(cases));
}
