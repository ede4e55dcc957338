// matmult: the product of two matrices by recursive halving, as Go's BenchmarkMatmult: fork and join, with goroutines
// that wait for their children.
#include <benchmark/benchmark.h>
#include <weft/weft.hpp>

#include <cstddef>
#include <vector>

namespace {

using matrix = std::vector<std::vector<double>>;

struct range {
  std::size_t from, to;
  std::size_t size() const { return to - from; }
  std::size_t middle() const { return from + size() / 2; }
};

void multiply(const matrix& a, const matrix& b, matrix& c, range i, range j, range k, std::size_t threshold) {
  const std::size_t di = i.size(), dj = j.size(), dk = k.size();
  if (di >= dj && di >= dk && di >= threshold) {
    weft::wait_group half;
    half.go([&] { multiply(a, b, c, {i.from, i.middle()}, j, k, threshold); });
    multiply(a, b, c, {i.middle(), i.to}, j, k, threshold);
    half.wait();
  } else if (dj >= dk && dj >= threshold) {
    weft::wait_group half;
    half.go([&] { multiply(a, b, c, i, {j.from, j.middle()}, k, threshold); });
    multiply(a, b, c, i, {j.middle(), j.to}, k, threshold);
    half.wait();
  } else if (dk >= threshold) {
    // Both halves add to the same cells: one after the other.
    multiply(a, b, c, i, j, {k.from, k.middle()}, threshold);
    multiply(a, b, c, i, j, {k.middle(), k.to}, threshold);
  } else {
    for (std::size_t ii = i.from; ii < i.to; ++ii) {
      for (std::size_t jj = j.from; jj < j.to; ++jj) {
        double sum = 0;
        for (std::size_t kk = k.from; kk < k.to; ++kk) sum += a[ii][kk] * b[kk][jj];
        c[ii][jj] += sum;
      }
    }
  }
}

void Matmult(benchmark::State& state) {
  constexpr std::size_t n = 256;
  const matrix a(n, std::vector<double>(n, 1.5)), b(n, std::vector<double>(n, 0.5));
  weft::run(weft::options{.procs = static_cast<int>(state.range(0))}, [&] {
    for (auto _ : state) {
      matrix c(n, std::vector<double>(n));
      multiply(a, b, c, {0, n}, {0, n}, {0, n}, 16);
      if (c[n - 1][n - 1] != 0.75 * n) state.SkipWithError("wrong product");
    }
  });
}
BENCHMARK(Matmult)->Arg(1)->Arg(2)->ArgName("procs")->MeasureProcessCPUTime()->UseRealTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
