// mixed_threads: a bank whose tellers and clerks are goroutines and plain threads, side by side.
//
// Nothing that they share knows the difference: a channel, a mutex or a wait group blocks whoever calls it, a goroutine
// without holding up its thread, a std::thread as a thread blocks. So a program can take up goroutines in one corner, and the
// callback thread of a library can send to them. Both kinds send into one channel here, both receive from it, and both lock
// the same accounts. Only starting a goroutine needs a runtime; what they share outlives it.
//
// Run     build/release/examples/mixed_threads
// Prints  the clerks have posted 1600 transfers
//         16 accounts hold 16000, as before
// Go      all threads that touch a channel are the runtime's there; C's own come in through a callback
#include <weft/weft.hpp>

#include <array>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

namespace {

constexpr unsigned accounts = 16;
constexpr unsigned transfers = 400;  // for each teller
constexpr int opening = 1000;

struct account {
  weft::mutex lock;
  int balance = opening;
};

struct transfer {
  unsigned from, to;
};

struct bank {
  std::array<account, accounts> books;
  weft::chan<transfer> counter = weft::chan<transfer>(8);
  weft::chan<int> reports = weft::chan<int>(4);
  weft::wait_group tellers;
};

// snippet: work
// Neither asks what it runs on.
void teller(bank& b, unsigned seed) {
  for (unsigned i = 0; i < transfers; ++i) {
    const unsigned from = (seed + 7 * i) % accounts;
    b.counter.send({from, (from + 1 + i % (accounts - 1)) % accounts});
  }
  b.tellers.done();
}

void clerk(bank& b) {
  int posted = 0;
  for (const auto& [from, to] : b.counter) {
    const std::scoped_lock both(b.books[from].lock, b.books[to].lock);
    --b.books[from].balance;
    ++b.books[to].balance;
    ++posted;
  }
  b.reports.send(posted);
}
// snippet: end

}  // namespace

int main() {
  // snippet: main
  bank b;
  b.tellers.add(4);

  std::vector<std::thread> threads;
  for (const unsigned seed : {1, 2}) threads.emplace_back([&b, seed] { teller(b, seed); });
  for (int i = 0; i < 2; ++i) threads.emplace_back([&b] { clerk(b); });

  weft::run([&b] {
    for (const unsigned seed : {3, 4}) weft::go([&b, seed] { teller(b, seed); });
    for (int i = 0; i < 2; ++i) weft::go([&b] { clerk(b); });
    b.tellers.wait();
    b.counter.close();
  });
  // snippet: end

  int posted = 0, total = 0;
  for (int i = 0; i < 4; ++i) posted += *b.reports.recv();
  for (std::thread& t : threads) t.join();
  for (const account& a : b.books) total += a.balance;
  std::printf("the clerks have posted %d transfers\n", posted);
  const bool as_before = total == opening * static_cast<int>(accounts);
  std::printf("%u accounts hold %d, %s\n", accounts, total, as_before ? "as before" : "not as before");
  return as_before ? 0 : 1;
}
