// panic: an exception that nobody catches, in a goroutine with a name.
//
// It ends the process, as a panic does in Go, and no other goroutine is unwound. The frames that
// threw are still on the stack when the report is made, so it can show them.
//
// Run     build/release/examples/panic
// Prints  on stdout  auditing three accounts
//         on stderr  the type and what() of the exception, the goroutine and its name, its stack,
//                    and where it was created; then the process dies by SIGABRT
// Go      go func() { panic(errors.New("account 2: balance is negative")) }()   (exit status 2 there)
#include <weft/weft.hpp>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace {

// Not inlined, so that the report shows it by name in optimised builds too.
[[gnu::noinline]] void audit(std::size_t account, long balance) {
  if (balance < 0) throw std::runtime_error("account " + std::to_string(account) + ": balance is negative");
}

}  // namespace

int main() {
  return weft::run([] {
    // Flushed, for abort() does not.
    std::puts("auditing three accounts");
    std::fflush(stdout);

    weft::wait_group done;
    done.add(1);
    weft::go(weft::attrs{.name = "auditor"}, [&] {
      const std::array<long, 3> balances{120, 7, -35};
      for (std::size_t i = 0; i < balances.size(); ++i) audit(i, balances[i]);
      done.done();
    });
    done.wait();
    std::puts("never printed");
  });
}
