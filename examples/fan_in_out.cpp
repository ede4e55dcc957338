// fan_in_out: one stream spread over several goroutines, and several streams joined into one.
//
// Out: the workers all receive from one channel, and each number goes to whoever is free; nothing has to divide the work
// fairly. In: each worker has a channel of its own, and one select waits for all of them. How many there are is known only
// at run time, so the cases are in a vector. A channel that is closed is always ready, so its case is exchanged for one on a
// nil channel, which never is; when all are nil, all has been received.
//
// Run     build/release/examples/fan_in_out
// Prints  the amicable pairs below 20000, each number of which is the sum of the other's proper divisors:
//         220 and 284
//         1184 and 1210
//         … and
//         8 pairs; 19999 numbers by 4 workers
// Go      select with a nil channel; reflect.Select where the number of cases is not known
#include <weft/weft.hpp>

#include <cstddef>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

namespace {

constexpr unsigned below = 20'000;
constexpr std::size_t workers = 4;

struct sum {
  unsigned number;
  unsigned of_divisors;
};

sum divisors_of(unsigned n) {
  unsigned total = n > 1 ? 1 : 0;
  for (unsigned d = 2; d <= n / d; ++d) {
    if (n % d != 0) continue;
    total += d;
    if (d != n / d) total += n / d;
  }
  return {n, total};
}

// Calls f for all that comes from any of the inputs, until each is closed and drained.
// snippet: merge
template <class T, class F>
void merge(std::vector<weft::recv_chan<T>> inputs, F f) {
  std::optional<T> value;  // for all cases: only one of them happens at a time
  std::vector<weft::select_case> cases;
  cases.reserve(inputs.size());
  for (const weft::recv_chan<T>& in : inputs) cases.push_back(weft::recv(in, value));
  for (std::size_t open = inputs.size(); open > 0;) {
    const std::size_t i = weft::select(cases);
    if (value) {
      f(std::move(*value));
    } else {
      inputs[i] = nullptr;
      cases[i] = weft::recv(inputs[i], value);
      --open;
    }
  }
}
// snippet: end

}  // namespace

int main() {
  return weft::run([] {
    const weft::chan<unsigned> numbers(64);
    weft::go([numbers] {
      for (unsigned n = 1; n < below; ++n) numbers.send(n);
      numbers.close();
    });

    std::vector<weft::recv_chan<sum>> sums;
    for (std::size_t i = 0; i < workers; ++i) {
      const weft::chan<sum> mine(16);
      sums.push_back(mine);
      weft::go([numbers, mine] {
        for (const unsigned n : numbers) mine.send(divisors_of(n));
        mine.close();
      });
    }

    std::vector<unsigned> of_divisors(below);
    unsigned received = 0;
    merge(std::move(sums), [&](const sum& s) {
      of_divisors[s.number] = s.of_divisors;
      ++received;
    });

    int pairs = 0;
    for (unsigned n = 1; n < below; ++n) {
      const unsigned other = of_divisors[n];
      if (other <= n || other >= below || of_divisors[other] != n) continue;
      std::printf("%u and %u\n", n, other);
      ++pairs;
    }
    std::printf("%d pairs; %u numbers by %zu workers\n", pairs, received, workers);
  });
}
