// journal: a group commit with one subtle mistake: found by an exploration, understood from its report, repaired.
//
// Run     build/release/examples/journal            prints the report of the exploration that finds the mistake
//         build/release/examples/journal repaired   explores the repaired journal
// Prints  the failure, the line that repeats it, and who did what
// Go      a sync.Mutex and a channel per record; no test with -race says anything about it, since there is no data race.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <cstdio>
#include <mutex>
#include <string_view>

namespace {

// snippet: journal
struct record {
  weft::semaphore written{0};
  record* next = nullptr;
};

// Writing to the disk is slow, and costs the same for one record as for many. So whoever comes first writes, for all that
// come meanwhile; these only wait.
class journal {
 public:
  void append(record& r) {
    if (join(r)) {
      r.written.acquire();
      return;
    }
    while (record* batch = take()) {
      weft::blocking([&] { ++disk_writes_; });
      while (batch != nullptr) {
        record* const done = batch;
        batch = batch->next;
        done->written.release();
      }
    }
    leave();
  }
  int disk_writes() const { return disk_writes_; }

 private:
  // True: somebody writes, and will find r.
  bool join(record& r) {
    const std::lock_guard hold(m_);
    r.next = waiting_;
    waiting_ = &r;
    const bool somebody_writes = writing_;
    writing_ = true;
    return somebody_writes;
  }
  record* take() {
    const std::lock_guard hold(m_);
    record* const all = waiting_;
    waiting_ = nullptr;
    return all;
  }
  void leave() {
    const std::lock_guard hold(m_);
    writing_ = false;
  }

  weft::mutex m_;
  record* waiting_ = nullptr;
  bool writing_ = false;
  int disk_writes_ = 0;
};
// snippet: end

class repaired_journal {
 public:
  void append(record& r) {
    if (join(r)) {
      r.written.acquire();
      return;
    }
    while (record* batch = take_or_leave()) {
      weft::blocking([&] { ++disk_writes_; });
      while (batch != nullptr) {
        record* const done = batch;
        batch = batch->next;
        done->written.release();
      }
    }
  }
  int disk_writes() const { return disk_writes_; }

 private:
  bool join(record& r) {
    const std::lock_guard hold(m_);
    r.next = waiting_;
    waiting_ = &r;
    const bool somebody_writes = writing_;
    writing_ = true;
    return somebody_writes;
  }
  // snippet: repair
  // Who finds nothing to write ceases to be the writer under the same lock: who joins afterwards is the next one.
  record* take_or_leave() {
    const std::lock_guard hold(m_);
    record* const all = waiting_;
    waiting_ = nullptr;
    if (all == nullptr) writing_ = false;
    return all;
  }
  // snippet: end

  weft::mutex m_;
  record* waiting_ = nullptr;
  bool writing_ = false;
  int disk_writes_ = 0;
};

// snippet: test
template <class Journal>
void two_writers() {
  Journal j;
  weft::wait_group writers;
  for (const char* name : {"ada", "grace"}) {
    writers.add(1);
    weft::go({.name = name}, [&] {
      record r;
      j.append(r);
      writers.done();
    });
  }
  writers.wait();
  weft::sim::check(j.disk_writes() <= 2, "no more writes than records");
}
// snippet: end

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 1 && std::string_view(argv[1]) == "repaired") {
      // snippet: again
      const weft::sim::summary s = weft::sim::explore(
          {.runs = 100'000, .strategy = weft::sim::strategy::exhaustive, .depth = 3}, two_writers<repaired_journal>);
      std::printf("%d schedules without a failure, %s\n", s.runs, s.complete ? "complete" : "and there are more");
      // snippet: end
      return 0;
    }
    // snippet: search
    weft::sim::explore({.name = "two_writers", .minimize = true}, two_writers<journal>);
    // snippet: end
    std::puts("nothing found");
  } catch (const weft::sim::failure& f) {
    std::fputs(f.what(), stdout);
  }
}
