// sieve: prime numbers from a chain of goroutines, one for each prime that was found.
//
// The first goroutine counts: 2, 3, 4… Whatever comes out of the end of the chain has passed all filters, so it is prime; it
// gets a filter of its own, appended to the chain, which takes its multiples out of the stream. Nobody holds the numbers, and
// nobody but main knows how many are wanted: when main returns, the chain is cancelled, each goroutine in the send or
// receive in which it waits. Their handles keep the channels alive until then.
//
// Run     build/release/examples/sieve [COUNT]      25 unless given
// Prints  2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97
//         25 primes, a chain of 26 goroutines
// Go      the concurrent prime sieve of golang.org/doc/play/sieve.go
#include <weft/weft.hpp>

#include <charconv>
#include <cstdio>
#include <string_view>
#include <system_error>

namespace {

void count_from(int first, const weft::send_chan<int>& out) {
  for (int n = first;; ++n) out.send(n);
}

void filter(const weft::recv_chan<int>& in, const weft::send_chan<int>& out, int prime) {
  for (const int n : in)
    if (n % prime != 0) out.send(n);
}

int print_primes(int count) {
  weft::chan<int> end;
  weft::go([end] { count_from(2, end); });
  for (int i = 0; i < count; ++i) {
    const int prime = *end.recv();
    std::printf("%s%d", i == 0 ? "" : " ", prime);
    const weft::chan<int> next;
    weft::go([end, next, prime] { filter(end, next, prime); });
    end = next;
  }
  // main is the one that does not belong to the chain.
  std::printf("\n%d primes, a chain of %d goroutines\n", count, weft::num_goroutine() - 1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 25;
  if (argc > 1) {
    const std::string_view text = argv[1];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (argc > 2 || error != std::errc() || end != text.data() + text.size() || count < 1 || count > 10'000) {
      std::fprintf(stderr, "usage: sieve [COUNT], 1 to 10000, not \"%s\"\n", argv[argc - 1]);
      return 2;
    }
  }
  return weft::run([count] { return print_primes(count); });
}
