// embed: a runtime in a program that has a main loop of its own.
//
// The loop stays on its thread and never waits for a goroutine: it hands work out by go and submit and looks each time round
// whether a result is there. A plain thread may use mutexes and semaphores together with goroutines. shutdown() cancels
// what is left, here the log, which waits for the next line for ever: its destructor still runs, and so does what needs no
// waiting, the lines that it has not written yet.
//
// Run     build/release/examples/embed
// Prints  log: the longest chain below 1000 has 179 numbers
//         log: the longest chain below 10000 has 262 numbers
//         log: the longest chain below 100000 has 351 numbers
//         log: all three together: 792
//         log: closed after 4 lines
//         the runtime has ended
// Go      the loop is a goroutine too: for len(open) > 0 { select { case r := <-open[0]: …; default: draw() } }; a server
//         that ends with the program has to be told: close(lines); <-closed
#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace {

// Collatz: halve, or triple and add one, until it is one.
unsigned longest_chain(std::uint64_t below) {
  unsigned longest = 0;
  for (std::uint64_t start = 1; start < below; ++start) {
    unsigned numbers = 1;
    for (std::uint64_t n = start; n != 1; ++numbers) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    longest = std::max(longest, numbers);
  }
  return longest;
}

// Lines from any thread, written by one goroutine in the order they came.
class scribe {
 public:
  void say(std::string line) {
    {
      const std::lock_guard hold(lock_);
      lines_.push_back(std::move(line));
    }
    pending_.release();
  }

  void serve() {
    struct closing {
      unsigned written = 0;
      ~closing() { std::printf("log: closed after %u lines\n", written); }
    } count;
    for (;; ++count.written) {
      pending_.acquire();  // cancelled: leaves by here, but only when no line is left
      std::string line;
      {
        const std::lock_guard hold(lock_);
        line = std::move(lines_.front());
        lines_.pop_front();
      }
      std::printf("log: %s\n", line.c_str());
    }
  }

 private:
  weft::mutex lock_;
  weft::semaphore pending_{0};
  std::deque<std::string> lines_;
};

}  // namespace

int main() {
  using namespace std::chrono_literals;
  scribe journal;  // used by goroutines of the runtime, so it lives longer
  // snippet: runtime
  weft::runtime beside;  // Ps and threads of its own; nothing runs on this one
  beside.go([&] { journal.serve(); });

  std::deque<std::pair<unsigned, std::future<unsigned>>> open;
  static constexpr std::array events{1'000u, 10'000u, 100'000u};
  for (std::size_t next = 0; next < events.size() || !open.empty();) {  // the main loop
    if (next < events.size()) {
      const unsigned below = events[next++];
      open.emplace_back(below, beside.submit([below] { return longest_chain(below); }));
    }
    if (auto& [below, result] = open.front(); result.wait_for(0s) == std::future_status::ready) {
      journal.say("the longest chain below " + std::to_string(below) + " has " + std::to_string(result.get()) +
                  " numbers");
      open.pop_front();
    }
    std::this_thread::sleep_for(1ms);  // the next frame
  }
  // snippet: end

  // snippet: run
  const unsigned sum = beside.run([&] {  // a whole goroutine program, for which this thread waits
    std::array<unsigned, events.size()> parts{};
    weft::wait_group all;
    for (std::size_t i = 0; i < parts.size(); ++i) all.go([&, i] { parts[i] = longest_chain(events[i]); });
    all.wait();
    return parts[0] + parts[1] + parts[2];
  });
  journal.say("all three together: " + std::to_string(sum));
  // snippet: end

  beside.shutdown();  // the destructor would do it too, later
  std::puts("the runtime has ended");
}
