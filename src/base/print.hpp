// print: text to stderr without locks, allocation or stdio, so that it works in a signal handler, on a
// goroutine's last kilobyte and while the process dies. One write(2) per line: lines do not mix.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::rt {

class line {
 public:
  line& text(const char* s);
  line& text(const char* s, std::size_t n);
  line& number(std::uint64_t v);
  line& signed_number(std::int64_t v);
  line& hex(std::uint64_t v);
  // A size as people write it: "256 KiB", "8 MiB", "1000 bytes".
  line& bytes(std::uint64_t v);
  // Writes what has been collected to stderr and empties the line. Safe in a signal handler.
  void flush_sig();
  const char* c_str();

 private:
  char buf_[1000];
  std::size_t n_ = 0;
};

// The same for text that is longer than a line holds.
void print_text(const char* s, std::size_t n);

}  // namespace weft::rt
