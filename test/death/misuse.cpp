// Calls of the library that it must refuse. Prints what it throws. Run by misuse_test.cpp.
#include <weft/weft.hpp>

#include <cstdio>
#include <functional>
#include <string>

namespace {

template <class F>
int refused(F f) {
  try {
    f();
  } catch (const weft::error& e) {
    std::printf("weft::error: %s\n", e.what());
    return 0;
  } catch (const std::exception& e) {
    std::printf("another exception: %s\n", e.what());
    return 1;
  }
  std::printf("not refused\n");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "nil_function") {
    return weft::run([] {
      return refused([] {
        const std::function<void()> none;
        weft::go(none);
      });
    });
  }
  if (name == "nil_pointer") {
    return weft::run([] {
      return refused([] {
        void (*none)() = nullptr;
        weft::go(none);
      });
    });
  }
  if (name == "nil_wait_group") {
    return weft::run([] {
      weft::wait_group wg;
      const int r = refused([&] { wg.go(std::function<void()>{}); });
      wg.wait();  // not counted
      return r;
    });
  }
  // The same without anybody who catches: as in Go, it ends the program.
  if (name == "nil_uncaught") {
    return weft::run([] { weft::go([] { weft::go(std::function<void()>{}); }); });
  }
  if (name == "go_outside") return refused([] { weft::go([] {}); });
  if (name == "go_after") {
    weft::run([] {});
    return refused([] { weft::go([] {}); });
  }
  if (name == "num_goroutine_outside") return refused([] { weft::num_goroutine(); });
  if (name == "run_inside") return weft::run([] { return refused([] { weft::run([] {}); }); });
  if (name == "run_inside_child") {
    int r = 1;
    weft::run([&] { weft::go([&] { r = refused([] { weft::run(weft::options{}, [] {}); }); }); });
    return r;
  }
  std::fprintf(stderr, "unknown case '%s'\n", name.c_str());
  return 99;
}
