#include "sim/choices.hpp"

#include <charconv>

#include "weft/error.hpp"

namespace weft::rt::lab {
namespace {

constexpr std::string_view prefix = "sim:";

[[noreturn]] void bad(std::string_view piece, std::string_view whole, const char* why) {
  throw v0::error("weft::sim: bad choice \"" + std::string(piece) + "\" in \"" + std::string(whole) + "\": " + why);
}

// All of `text` as a number from 1.
bool to_number(std::string_view text, std::uint32_t* out) {
  const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return err == std::errc{} && end == text.data() + text.size() && *out != 0;
}

op op_named(std::string_view name) {
  for (std::uint8_t i = 0; i < static_cast<std::uint8_t>(op::count_); ++i) {
    if (name == to_text(static_cast<op>(i))) return static_cast<op>(i);
  }
  return op::none;
}

choice parse_one(std::string_view piece, std::string_view whole) {
  choice c;
  if (piece.starts_with('!')) {
    const std::size_t dot = piece.rfind('.');
    if (dot == std::string_view::npos || dot == 1 || !to_number(piece.substr(dot + 1), &c.chosen)) {
      bad(piece, whole, "wanted !name.number");
    }
    c.fired = piece.substr(1, dot - 1);
    return c;
  }
  constexpr const char* wanted = "wanted goroutine.operation.number=goroutine, as in 1.lock.2=3";
  const std::size_t first = piece.find('.');
  const std::size_t second = first == std::string_view::npos ? first : piece.find('.', first + 1);
  const std::size_t equals = second == std::string_view::npos ? second : piece.find('=', second + 1);
  if (equals == std::string_view::npos) bad(piece, whole, wanted);
  std::string_view number = piece.substr(second + 1, equals - second - 1);
  if (number.ends_with('c')) {
    c.at.waits = which_case;
    number.remove_suffix(1);
  } else if (const std::size_t w = number.find('w'); w != std::string_view::npos) {
    c.at.waits = 1;
    if (w + 1 != number.size() && !to_number(number.substr(w + 1), &c.at.waits)) bad(piece, whole, wanted);
    number = number.substr(0, w);
  }
  if (!to_number(piece.substr(0, first), &c.at.actor) || !to_number(number, &c.at.nth) ||
      !to_number(piece.substr(equals + 1), &c.chosen)) {
    bad(piece, whole, wanted);
  }
  c.at.what = op_named(piece.substr(first + 1, second - first - 1));
  if (c.at.what == op::none) bad(piece, whole, "no such operation");
  return c;
}

}  // namespace

std::string to_string(const choice& c) {
  if (!c.fired.empty()) return '!' + c.fired + '.' + std::to_string(c.chosen);
  std::string text = std::to_string(c.at.actor) + '.' + to_text(c.at.what) + '.' + std::to_string(c.at.nth);
  if (c.at.waits == which_case) return text + "c=" + std::to_string(c.chosen);
  if (c.at.waits != 0) text += 'w';
  if (c.at.waits > 1) text += std::to_string(c.at.waits);
  return text + '=' + std::to_string(c.chosen);
}

std::string to_string(const choice_list& list) {
  std::string text(prefix);
  for (const choice& c : list) {
    if (text.size() != prefix.size()) text += ',';
    text += to_string(c);
  }
  return text;
}

choice_list parse_choices(std::string_view text) {
  choice_list list;
  if (!text.starts_with(prefix)) bad(text, text, "a choice string begins with sim:");
  for (std::string_view rest = text.substr(prefix.size()); !rest.empty();) {
    const std::size_t comma = rest.find(',');
    list.push_back(parse_one(rest.substr(0, comma), text));
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
    if (rest.empty()) bad("", text, "nothing after the last comma");
  }
  return list;
}

}  // namespace weft::rt::lab
