// Overflows a stack: argv[1] is how, argv[2] the stack size of the goroutine; "main" for the main goroutine.
// Run by overflow_test.cpp.
#include <weft/weft.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

volatile int zero = 0;
volatile int sink = 0;

// Not tail calls, and no loops: something is done after the call. Not static: the report has them by name. They would
// end at a number that never comes, and the compiler must not know that.
struct filler {
  char bytes[100];
};

}  // namespace

[[gnu::noinline]] int dig(int n) {
  if (n < zero) return 0;
  volatile filler f;
  f.bytes[0] = static_cast<char>(n);
  const int r = dig(n + 1);
  sink = f.bytes[0];
  return r;
}

[[gnu::noinline]] int dig_big(int n) {
  if (n < zero) return 0;
  volatile char big[24 << 10];
  big[0] = static_cast<char>(n);
  const int r = dig_big(n + 1);
  sink = big[0];
  return r;
}

[[gnu::noinline]] int dig_allocating(int n) {
  if (n < zero) return 0;
  const std::string s(200, static_cast<char>('a' + n % 26));
  const int r = dig_allocating(n + 1);
  sink = s[7];
  return r;
}

struct digs_at_end {
  ~digs_at_end() { dig(0); }
};

[[gnu::noinline]] int dig_in_destructor() {
  const digs_at_end d;
  return zero;
}

[[gnu::noinline]] int dig_printing(int n) {
  if (n < zero) return 0;
  char buf[64];
  std::snprintf(buf, sizeof buf, "%d %f", n, 1.5 * n);
  const int r = dig_printing(n + 1);
  sink = buf[0];
  return r;
}

int main(int argc, char** argv) {
  if (argc != 3) return 99;
  const std::string how = argv[1], where = argv[2];
  int (*f)() = nullptr;
  if (how == "recursion") f = [] { return dig(0); };
  if (how == "big_frame") f = [] { return dig_big(0); };
  if (how == "allocating") f = [] { return dig_allocating(0); };
  if (how == "destructor") f = dig_in_destructor;
  if (how == "printing") f = [] { return dig_printing(0); };
  if (f == nullptr) return 99;
  return weft::run([&] {
    if (where == "main") return f();
    const std::size_t size = std::strtoull(where.c_str(), nullptr, 10);
    weft::go(weft::attrs{.name = "digger", .stack_size = size}, [f] { std::printf("%d\n", f()); });
    return 0;
  });
}
