// hello: start three goroutines, wait for them, print what they left.
//
// Run     build/release/examples/hello
// Prints  hello from goroutine "ada"
//         hello from goroutine "grace"
//         hello from goroutine "barbara"
// Go      var wg sync.WaitGroup; for i, name := range names { wg.Go(func() { lines[i] = … }) }; wg.Wait()
#include <weft/weft.hpp>

#include <array>
#include <cstdio>
#include <string>

int main() {
  return weft::run([] {
    const std::array<const char*, 3> names{"ada", "grace", "barbara"};
    std::array<std::string, 3> lines;
    weft::wait_group greeters;
    for (std::size_t i = 0; i < names.size(); ++i)
      greeters.go([&, i] { lines[i] = "hello from goroutine \"" + std::string(names[i]) + '"'; });
    greeters.wait();
    for (const std::string& line : lines) std::puts(line.c_str());
  });
}
