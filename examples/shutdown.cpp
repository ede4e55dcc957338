// shutdown: what happens to goroutines when main returns.
//
// They are cancelled: whoever waits, or is about to, unwinds from there, destructors and all, and run() returns when the
// last is gone. Cleaning up that has to wait itself does so in a no_cancel scope (a destructor that runs because of the
// unwinding needs none). Before that, a goroutine that ends itself from deep inside, by this_goroutine::exit.
//
// Run     build/release/examples/shutdown
// Prints  inspector: nothing to do
//         main: returns 3
//         reader: closed
//         writer: saves what it has
//         writer: saved 3 records
//         writer: closed
//         run has returned 3
// Go      the process ends with main: what is to be cleaned up needs a context that main cancels and a WaitGroup that it
//         waits for, in each goroutine. exit is runtime.Goexit.
#include <weft/weft.hpp>

#include <chrono>
#include <cstdio>

namespace {

struct closing {
  const char* who;
  ~closing() { std::printf("%s: closed\n", who); }
};

// What goroutines use that main leaves behind. It is gone when run() has returned, and not when main has.
struct shared {
  weft::semaphore input{0};  // nobody ever releases it
  weft::semaphore reader_gone{0};
};

[[gnu::noinline]] void inspect() {
  std::puts("inspector: nothing to do");
  weft::this_goroutine::exit();
}

void reader(shared& s) {
  struct says_so {
    shared& s;
    ~says_so() { s.reader_gone.release(); }
  } const last{s};
  const closing end{"reader"};
  for (;;) s.input.acquire();  // cancelled: unwinds from here
}

// snippet: writer
void writer(shared& s) {
  using namespace std::chrono_literals;
  const closing end{"writer"};
  constexpr int unsaved = 3;
  try {
    s.input.acquire();
  } catch (const weft::cancelled&) {
    const weft::no_cancel saving;  // without it the next wait would unwind too
    s.reader_gone.acquire();
    std::puts("writer: saves what it has");
    for (int i = 0; i < unsaved; ++i) weft::sleep(1ms);  // a slow disk
    std::printf("writer: saved %d records\n", unsaved);
    throw;
  }
}
// snippet: end

}  // namespace

int main() {
  shared s;
  const int value = weft::run([&] {
    weft::wait_group inspectors;
    inspectors.go([] {
      inspect();
      std::puts("not reached");
    });
    inspectors.wait();
    weft::go([&] { reader(s); });
    weft::go([&] { writer(s); });
    std::puts("main: returns 3");
    return 3;
  });
  std::printf("run has returned %d\n", value);
}
