// kinds: the ways in which a goroutine keeps its thread, or its P, from the others. Each is one row of the table of every_p.cpp.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace stalls {

// n goroutines call stall() at the same time; it returns soon after finish() was called, not before.
class kind {
 public:
  kind() = default;
  virtual ~kind() = default;
  kind(const kind&) = delete;
  kind& operator=(const kind&) = delete;

  virtual void prepare(int n) { static_cast<void>(n); }
  virtual void stall() = 0;
  void finish(int n) {
    over_.store(true, std::memory_order_relaxed);
    release(n);
  }
  int interrupted() const { return interrupted_.load(std::memory_order_relaxed); }

 protected:
  // Lets those go that cannot look at over().
  virtual void release(int n) { static_cast<void>(n); }
  bool over() const { return over_.load(std::memory_order_relaxed); }
  // A foreign call has been interrupted by a signal. The runtime sends none.
  void count_if(bool eintr) {
    if (eintr) interrupted_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> interrupted_{0};
};

struct row {
  const char* name;
  std::unique_ptr<kind> (*make)();
  int least_ms = 200;           // how long they all stay in it, at least
  unsigned stack = 256u << 10;  // of each goroutine
};

const std::vector<row>& table();
// Null: there is none of that name.
const row* find(const std::string& name);

}  // namespace stalls
