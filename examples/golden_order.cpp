// golden_order: in what order do goroutines run?
//
// With one P the answer is fixed by Go's rules, and this program checks it: a goroutine that is
// started or woken becomes the *next* to run and pushes the one that had that place to the tail of
// the queue; the queue is a ring of 256 that, when full, moves its older half to the global queue;
// and the global queue gets every 61st turn. With more Ps only the invariants are left: everything
// runs exactly once, and each goroutine's own steps keep their order.
//
// Run     build/release/examples/golden_order                   one P, exact orders
//         WEFT_PROCS=2 build/release/examples/golden_order      invariants only
// Prints  one line per program, "ok" or "FAIL"; exit status 1 if one failed
// Go      runtime.GOMAXPROCS(1), then each program below with the primitives of the same names:
//         go, runtime.Gosched, sync.WaitGroup, sync.Mutex; for the semaphore, the runtime's own
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

namespace {

class recorder {
 public:
  explicit recorder(std::size_t size) : order_(size) {}
  // One that runs twice finds the record full: at() then throws, and the program dies by name.
  void operator()(int label) { order_.at(next_.fetch_add(1)) = label; }
  const std::vector<int>& order() const { return order_; }

 private:
  std::vector<int> order_;
  std::atomic<std::size_t> next_{0};
};

// Each goroutine gets the P before the next is started, so that they block in the order 0, 1, 2…
template <class F>
void start_waiters(int count, weft::wait_group& group, F body) {
  for (int i = 0; i < count; ++i) {
    group.go([body, i] { body(i); });
    weft::yield();
  }
}

void start_then_block(recorder& record, int count) {
  weft::wait_group all;
  for (int i = 0; i < count; ++i) all.go([&record, i] { record(i); });
  all.wait();
}

void take_turns(recorder& record) {
  weft::wait_group all;
  for (int g = 0; g < 3; ++g)
    all.go([&record, g] {
      for (int step = 0; step < 3; ++step) {
        record(10 * g + step);
        weft::yield();
      }
    });
  all.wait();
}

void wake_from_wait_group(recorder& record) {
  weft::wait_group gate, all;
  gate.add(1);
  start_waiters(10, all, [&](int i) {
    gate.wait();
    record(i);
  });
  gate.done();
  all.wait();
}

void wake_from_semaphore(recorder& record, int batch) {
  weft::semaphore gate(0);
  weft::wait_group all;
  start_waiters(10, all, [&](int i) {
    gate.acquire();
    record(i);
  });
  for (int released = 0; released < 10; released += batch) gate.release(batch);
  all.wait();
}

// An unlock wakes one waiter only, which wakes the next: no place to lose, so first come, first served.
void pass_a_mutex_on(recorder& record) {
  weft::mutex turn;
  weft::wait_group all;
  turn.lock();
  start_waiters(10, all, [&](int i) {
    std::scoped_lock hold(turn);
    record(i);
  });
  turn.unlock();
  all.wait();
}

struct program {
  const char* name;
  int goroutines, steps;
  const char* order;
  void (*run)(recorder&);
};

const program programs[] = {
    {"10 goroutines", 10, 1, "9, 0..8", [](recorder& r) { start_then_block(r, 10); }},
    {"257 goroutines, the ring is full", 257, 1, "256, 0..255", [](recorder& r) { start_then_block(r, 257); }},
    {"258 goroutines, one too many", 258, 1, "257, 128..187, 0, 188..247, 1, 248..255, 2..127, 256",
     [](recorder& r) { start_then_block(r, 258); }},
    {"300 goroutines", 300, 1, "299, 128..187, 0, 188..247, 1, 248..255, 257..298, 2..127, 256",
     [](recorder& r) { start_then_block(r, 300); }},
    {"3 goroutines, 3 steps each, with yield", 3, 3, "20, 0, 10, 21, 1, 11, 22, 2, 12", take_turns},
    {"wait_group with 10 waiters", 10, 1, "9, 0..8", wake_from_wait_group},
    {"semaphore with 10 waiters, 10 releases", 10, 1, "9, 0..8", [](recorder& r) { wake_from_semaphore(r, 1); }},
    {"semaphore with 10 waiters, one release of 10", 10, 1, "9, 0..8", [](recorder& r) { wake_from_semaphore(r, 10); }},
    {"mutex with 10 waiters", 10, 1, "0..9", pass_a_mutex_on},
};

// 7, 0, 1, 2 as "7, 0..2": the notation of the table.
std::string in_runs(const std::vector<int>& order) {
  std::string text;
  for (std::size_t first = 0, last; first < order.size(); first = last + 1) {
    for (last = first; last + 1 < order.size() && order[last + 1] == order[last] + 1;) ++last;
    if (!text.empty()) text += ", ";
    text += std::to_string(order[first]);
    if (last > first) text += ".." + std::to_string(order[last]);
  }
  return text;
}

bool each_once_and_in_step(const program& p, const std::vector<int>& order) {
  for (int g = 0; g < p.goroutines; ++g) {
    auto from = order.begin();
    for (int step = 0; step < p.steps; ++step) {
      const int label = p.steps == 1 ? g : 10 * g + step;
      from = std::find(from, order.end(), label);
      if (from == order.end() || std::count(order.begin(), order.end(), label) != 1) return false;
    }
  }
  return true;
}

}  // namespace

int main() {
  weft::options options = weft::options::from_env();
  if (options.procs == 0) options.procs = 1;
  const bool exact = options.procs == 1;

  int failures = 0;
  for (const program& p : programs) {
    recorder record(static_cast<std::size_t>(p.goroutines) * p.steps);
    // A runtime of its own for each: the count towards the 61st turn starts from nothing.
    weft::run(options, [&] { p.run(record); });

    const std::string order = in_runs(record.order());
    const bool ok = exact ? order == p.order : each_once_and_in_step(p, record.order());
    failures += !ok;
    if (ok)
      std::printf("ok    %s: %s\n", p.name, exact ? p.order : "each once, in step");
    else
      std::printf("FAIL  %s: %s, not %s\n", p.name, order.c_str(), exact ? p.order : "each once, in step");
  }
  return failures == 0 ? 0 : 1;
}
