#include "base/print.hpp"

#include <cstring>

#include "base/floor.hpp"

namespace weft::rt {

line& line::text(const char* s) { return text(s, std::strlen(s)); }

line& line::text(const char* s, std::size_t n) {
  const std::size_t room = sizeof buf_ - 1 - n_;
  if (n > room) n = room;
  std::memcpy(buf_ + n_, s, n);
  n_ += n;
  return *this;
}

line& line::number(std::uint64_t v) {
  char digits[20];
  std::size_t n = 0;
  do {
    digits[sizeof digits - ++n] = static_cast<char>('0' + v % 10);
    v /= 10;
  } while (v != 0);
  return text(digits + sizeof digits - n, n);
}

line& line::signed_number(std::int64_t v) {
  if (v >= 0) return number(static_cast<std::uint64_t>(v));
  return text("-").number(0 - static_cast<std::uint64_t>(v));
}

line& line::hex(std::uint64_t v) {
  char digits[16];
  std::size_t n = 0;
  do {
    digits[sizeof digits - ++n] = "0123456789abcdef"[v % 16];
    v /= 16;
  } while (v != 0);
  return text("0x").text(digits + sizeof digits - n, n);
}

line& line::bytes(std::uint64_t v) {
  if (v >= 1u << 20 && v % (1u << 20) == 0) return number(v >> 20).text(" MiB");
  if (v >= 1u << 10 && v % (1u << 10) == 0) return number(v >> 10).text(" KiB");
  return number(v).text(" bytes");
}

void line::flush_sig() {
  print_text(buf_, n_);
  n_ = 0;
}

const char* line::c_str() {
  buf_[n_] = '\0';
  return buf_;
}

void print_text(const char* s, std::size_t n) {
  static_cast<void>(os::write_error(s, n));  // there is nobody left to tell
}

}  // namespace weft::rt
