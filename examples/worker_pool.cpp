// worker_pool: a fixed number of workers, a channel of jobs, a channel of results, and an end in good order.
//
// The whole protocol of ending is two closes. Who hands out the jobs closes their channel; a worker that finds it closed and
// drained leaves its loop; and when the last worker has gone, and not before, there will be no more results, so that channel
// is closed too. A job that fails is a result as any other: an exception would have to leave the worker, and end the program.
//
// Run     build/release/examples/worker_pool [NUMBER...]     factors some numbers of its own unless given
// Prints  360 = 2 * 2 * 2 * 3 * 3 * 5
//         9007199254740991 = 6361 * 69431 * 20394401
//         12x: is no number from 2 to 18446744073709551615
//         … one line for each, in the order in which they were given
//         8 jobs, 7 done, 1 failed, by 3 workers
//         Exit status 1 if a job failed that was given.
// Go      jobs := make(chan job); for range 3 { wg.Go(func() { for j := range jobs { results <- work(j) } }) };
//         go func() { wg.Wait(); close(results) }()
#include <weft/weft.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

struct job {
  std::size_t number;  // results come in any order; this says where one belongs
  std::string_view text;
};

struct result {
  std::size_t number;
  bool done;
  std::string line;
};

std::uint64_t number_in(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 2)
    throw std::invalid_argument("is no number from 2 to 18446744073709551615");
  return n;
}

std::string factors(std::uint64_t n) {
  std::string text;
  const auto divide_by = [&](std::uint64_t p) {
    for (; n % p == 0; n /= p) text += (text.empty() ? "" : " * ") + std::to_string(p);
  };
  divide_by(2);
  for (std::uint64_t p = 3; p <= n / p; p += 2) divide_by(p);
  if (n > 1) divide_by(n);
  return text;
}

result work(const job& j) {
  try {
    return {j.number, true, std::string(j.text) + " = " + factors(number_in(j.text))};
  } catch (const std::exception& e) {
    return {j.number, false, std::string(j.text) + ": " + e.what()};
  }
}

int factor(std::span<const std::string_view> texts, int workers) {
  // snippet: pool
  const weft::chan<job> jobs;
  const weft::chan<result> results;

  weft::go([jobs, texts] {
    for (std::size_t i = 0; i < texts.size(); ++i) jobs.send({i, texts[i]});
    jobs.close();
  });

  weft::wait_group running;
  for (int i = 0; i < workers; ++i)
    running.go([jobs, results] {
      for (const job& j : jobs) results.send(work(j));
    });
  weft::go([&running, results] {
    running.wait();
    results.close();
  });

  std::vector<result> all(texts.size());
  for (result& r : results) all[r.number] = std::move(r);
  // snippet: end

  std::size_t failed = 0;
  for (const result& r : all) {
    std::puts(r.line.c_str());
    if (!r.done) ++failed;
  }
  std::printf("%zu jobs, %zu done, %zu failed, by %d workers\n", all.size(), all.size() - failed, failed, workers);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  static constexpr std::array<std::string_view, 8> own{"360", "97",         "1001",       "9007199254740991",
                                                       "12x", "4294967297", "2147483647", "1000036000099"};
  const std::vector<std::string_view> given(argv + 1, argv + argc);
  const std::span<const std::string_view> texts = given.empty() ? std::span<const std::string_view>(own) : given;
  const int status = weft::run([texts] { return factor(texts, 3); });
  return given.empty() ? 0 : status;
}
