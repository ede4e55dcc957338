// A P's heap of timers against a sorted list: streams of insert, remove, pop, move between two heaps. After each operation
// both agree about the first time, the size, and whether a timer is armed; what is popped is the same multiset, in order.
//
// Run     fuzz_timers [STREAM in hex]…     or TEST_SEED=… FUZZ_STREAMS=… fuzz_timers
// With the preset `fuzz`, libFuzzer makes the streams.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "model/timer.hpp"

namespace {

using weft::rt::no_timer;
using weft::rt::p_timers;
using weft::rt::timer;

class bytes {
 public:
  explicit bytes(std::span<const std::uint8_t> from) : from_(from) {}
  bool empty() const { return at_ >= from_.size(); }
  std::uint8_t next() { return empty() ? 0 : from_[at_++]; }

 private:
  std::span<const std::uint8_t> from_;
  std::size_t at_ = 0;
};

// By time, then by timer: the heap says nothing of the order of equal times.
using reference = std::multimap<std::int64_t, int>;

constexpr int timers = 600;  // more than a page of the heap holds

struct world {
  p_timers heap[2];
  reference ref[2];
  std::vector<timer> all{std::vector<timer>(timers)};
  std::vector<int> in = std::vector<int>(timers, -1);  // which heap
  std::vector<std::int64_t> when = std::vector<std::int64_t>(timers);

  ~world() {
    for (p_timers& h : heap) {
      while (h.pop_any([](timer*, std::int64_t) {})) {
      }
      h.give_back_memory();
    }
  }

  int index(const timer* t) const { return static_cast<int>(t - all.data()); }
  void forget(int h, int i) {
    auto [from, to] = ref[h].equal_range(when[static_cast<std::size_t>(i)]);
    ref[h].erase(std::find_if(from, to, [&](const auto& e) { return e.second == i; }));
    in[static_cast<std::size_t>(i)] = -1;
  }

  std::string insert(int i, int h, std::int64_t at) {
    const auto k = static_cast<std::size_t>(i);
    if (in[k] != -1) return {};
    const bool first = ref[h].empty() || at < ref[h].begin()->first;
    if (heap[h].insert(&all[k], at) != first) return "insert says that it is the first, or that it is not";
    in[k] = h;
    when[k] = at;
    ref[h].emplace(at, i);
    return {};
  }
  std::string remove(int i) {
    const auto k = static_cast<std::size_t>(i);
    if (p_timers::remove(&all[k]) != (in[k] != -1)) return "remove says that it was there, or that it was not";
    if (in[k] != -1) forget(in[k], i);
    return {};
  }
  std::string pop(int h, std::int64_t now, std::uint32_t most) {
    std::vector<std::pair<std::int64_t, int>> got;
    const std::uint32_t n =
        heap[h].pop_due(now, most, [&](timer* t, std::int64_t at) { got.emplace_back(at, index(t)); });
    if (n != got.size() || n > most) return "pop says another number";
    for (const auto& [at, i] : got) {
      if (ref[h].empty() || ref[h].begin()->first != at) return "popped out of order";
      if (in[static_cast<std::size_t>(i)] != h || when[static_cast<std::size_t>(i)] != at) return "popped a wrong one";
      if (at > now) return "popped early";
      forget(h, i);
    }
    if (n < most && !ref[h].empty() && ref[h].begin()->first <= now) return "left a due one";
    return {};
  }
  std::string move(int from) {
    const int to = 1 - from;
    heap[from].move_to(heap[to]);
    for (const auto& [at, i] : ref[from]) {
      ref[to].emplace(at, i);
      in[static_cast<std::size_t>(i)] = to;
    }
    ref[from].clear();
    return {};
  }
  std::string agree() {
    for (int h = 0; h < 2; ++h) {
      const std::int64_t first = ref[h].empty() ? no_timer : ref[h].begin()->first;
      if (heap[h].min_when() != first) return "another first time";
      if (heap[h].size_hint() != ref[h].size()) return "another size";
    }
    return {};
  }
  std::string whole() {
    for (p_timers& h : heap) {
      if (const char* b = h.broken()) return b;
    }
    return {};
  }
};

std::string play(std::span<const std::uint8_t> stream) {
  bytes b(stream);
  world w;
  for (int step = 0; !b.empty(); ++step) {
    const std::uint8_t what = b.next();
    const int h = what & 1;
    const int i = (b.next() * 256 + b.next()) % timers;
    std::string wrong;
    switch (what >> 1 & 15) {
      case 0: wrong = w.pop(h, b.next(), 1 + b.next() % 40); break;
      case 1: wrong = w.pop(h, b.next() / 4, 1000); break;
      case 2: wrong = w.move(h); break;
      case 3:
      case 4:
      case 5:
      case 6: wrong = w.remove(i); break;
      case 7:  // many at once: the heap grows
        for (int k = 0; k < 100 && wrong.empty(); ++k) wrong = w.insert((i + k) % timers, h, (b.next() * 7 + k) % 256);
        break;
      default: wrong = w.insert(i, h, b.next()); break;
    }
    if (wrong.empty()) wrong = w.agree();
    if (wrong.empty() && step % 8 == 0) wrong = w.whole();
    if (!wrong.empty()) return "step " + std::to_string(step) + ": " + wrong;
  }
  return w.whole();
}

[[noreturn]] void report(const std::string& wrong, std::span<const std::uint8_t> stream) {
  std::fprintf(stderr, "fuzz_timers: %s\nstream: ", wrong.c_str());
  for (const std::uint8_t c : stream) std::fprintf(stderr, "%02x", c);
  std::fprintf(stderr, "\n");
  std::abort();
}

}  // namespace

#ifdef WEFT_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> stream(data, size);
  if (const std::string wrong = play(stream); !wrong.empty()) report(wrong, stream);
  return 0;
}
#else
int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::vector<std::uint8_t> stream;
    const std::string hex = argv[i];
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2)
      stream.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16)));
    if (const std::string wrong = play(stream); !wrong.empty()) report(wrong, stream);
  }
  if (argc > 1) return 0;
  const char* seed_text = std::getenv("TEST_SEED");
  const unsigned long seed = seed_text != nullptr ? std::strtoul(seed_text, nullptr, 0) : 1;
  const char* streams_text = std::getenv("FUZZ_STREAMS");
  const long streams = streams_text != nullptr ? std::strtol(streams_text, nullptr, 0) : 2000;
  std::mt19937_64 random(seed);
  for (long i = 0; i < streams; ++i) {
    std::vector<std::uint8_t> stream(20 + random() % 3000);
    for (std::uint8_t& c : stream) c = static_cast<std::uint8_t>(random());
    if (const std::string wrong = play(stream); !wrong.empty()) report(wrong, stream);
  }
  std::printf("fuzz_timers: %ld streams of seed %lu, all as foretold\n", streams, seed);
}
#endif
