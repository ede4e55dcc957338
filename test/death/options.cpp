// Starts a runtime with the environment it has, or with the options that argv says. Prints what it throws.
// Run by options_test.cpp.
#include <weft/weft.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

std::size_t number(const char* s) { return std::strtoull(s, nullptr, 10); }

int start(int argc, char** argv) {
  if (argc == 1) return weft::run([] { return 0; });
  if (argc != 3) return 99;
  const std::string what = argv[1];
  weft::options o;
  if (what == "procs") {
    o.procs = std::atoi(argv[2]);
  } else if (what == "max_threads") {
    o.max_threads = std::atoi(argv[2]);
  } else if (what == "stack_size") {
    o.stack_size = number(argv[2]);
  } else if (what == "on_main_return") {
    o.on_main_return = static_cast<weft::main_return>(std::atoi(argv[2]));
  } else if (what == "shutdown_timeout") {
    o.shutdown_timeout = weft::duration::nanoseconds(std::atoll(argv[2]));
  } else if (what == "attrs_stack_size") {
    return weft::run([&] {
      weft::go(weft::attrs{.stack_size = number(argv[2])}, [] {});
      return 0;
    });
  } else {
    return 99;
  }
  return weft::run(o, [] { return 0; });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int r = start(argc, argv);
    if (r == 0) std::printf("ran\n");
    return r;
  } catch (const weft::error& e) {
    std::printf("weft::error: %s\n", e.what());
    return 3;
  }
}
