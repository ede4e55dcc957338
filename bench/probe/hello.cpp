// hello: a whole runtime's life with one goroutine in it.
#include <weft/weft.hpp>

#include <cstdio>

int main() {
  return weft::run([] {
    weft::wait_group wg;
    wg.go([] { std::puts("hello"); });
    wg.wait();
  });
}
