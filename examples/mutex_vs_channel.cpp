// mutex_vs_channel: eight goroutines count the letters of a text into one table, in three ways.
//
//   mutex    they share the table, and lock it for each letter
//   channel  one goroutine owns the table; the others send it each letter
//   apart    each has a table of its own, and sends it when it has read all
//
// The result is the same. What differs is how often one has to meet another: a free mutex costs two atomic operations, a value
// that goes through a channel twice as many, and a switch of goroutines whenever one of the two has to wait. So a mutex guards
// data, and a channel hands over work; and neither is needed for what nobody shares, as the third way shows. (Go's proverb says
// to share memory by communicating. It does not say to do so for each letter.)
//
// Run     build/release/examples/mutex_vs_channel
// Prints  mutex: 80000 letters counted, 80000 turns at the lock
//         channel: 80000 letters counted, 80000 values sent
//         apart: 80000 letters counted, 8 values sent
//         all three agree
// Go      sync.Mutex, or a goroutine that owns the table and ranges over a channel
#include <weft/weft.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <numeric>

namespace {

constexpr std::uint32_t readers = 8;
constexpr int letters_of_each = 10'000;

using table = std::array<unsigned, 26>;

struct outcome {
  table counts{};
  unsigned meetings = 0;
};

// Pseudo-random, and another one for each reader.
class text {
 public:
  explicit text(std::uint32_t reader) : state_(reader * 2'654'435'761u + 1) {}
  std::size_t next_letter() {
    state_ = state_ * 1'664'525u + 1'013'904'223u;
    return (state_ >> 16) % 26;
  }

 private:
  std::uint32_t state_;
};

// snippet: mutex
outcome by_mutex() {
  weft::mutex lock;
  outcome all;
  weft::wait_group running;
  for (std::uint32_t r = 0; r < readers; ++r)
    running.go([&, r] {
      text mine(r);
      for (int i = 0; i < letters_of_each; ++i) {
        const std::size_t letter = mine.next_letter();
        const std::lock_guard hold(lock);
        ++all.counts[letter];
        ++all.meetings;
      }
    });
  running.wait();
  return all;
}
// snippet: end

// snippet: channel
outcome by_channel() {
  const weft::chan<std::size_t> letters(64);
  weft::wait_group running;
  for (std::uint32_t r = 0; r < readers; ++r)
    running.go([letters, r] {
      text mine(r);
      for (int i = 0; i < letters_of_each; ++i) letters.send(mine.next_letter());
    });
  weft::go([&running, letters] {
    running.wait();
    letters.close();
  });

  outcome all;
  for (const std::size_t letter : letters) {
    ++all.counts[letter];
    ++all.meetings;
  }
  return all;
}
// snippet: end

outcome apart() {
  const weft::chan<table> tables;
  for (std::uint32_t r = 0; r < readers; ++r)
    weft::go([tables, r] {
      text mine(r);
      table counts{};
      for (int i = 0; i < letters_of_each; ++i) ++counts[mine.next_letter()];
      tables.send(counts);
    });

  outcome all;
  while (all.meetings < readers) {
    const table part = *tables.recv();
    for (std::size_t i = 0; i < part.size(); ++i) all.counts[i] += part[i];
    ++all.meetings;
  }
  return all;
}

unsigned total(const outcome& o) { return std::accumulate(o.counts.begin(), o.counts.end(), 0u); }

}  // namespace

int main() {
  return weft::run([] {
    const outcome a = by_mutex(), b = by_channel(), c = apart();
    std::printf("mutex: %u letters counted, %u turns at the lock\n", total(a), a.meetings);
    std::printf("channel: %u letters counted, %u values sent\n", total(b), b.meetings);
    std::printf("apart: %u letters counted, %u values sent\n", total(c), c.meetings);
    const bool agree = a.counts == b.counts && b.counts == c.counts;
    std::puts(agree ? "all three agree" : "they do not agree");
    return agree ? 0 : 1;
  });
}
