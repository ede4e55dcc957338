// doorbell: wakes a thread that watches, as often as anybody likes.
//
// Who    one watcher; ringers: any thread.
// State  rings_ counts. The watcher reads it, looks at all that it watches, and sleeps until the count is another one: a
//        ring after the look is not lost, because the count has moved on by then.
// Order  bell.ring  ring: what there is to see, then rings_ (release) / read: rings_ (acquire), then the look
// Checked by test/unit/lock/doorbell_test.cpp; test/model/doorbell_model.cpp, exhaustively.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "os/sys.hpp"

namespace weft::rt {

class doorbell {
 public:
  void ring() {
    rings_.fetch_add(1, release);  // order: bell.ring
    os::futex_wake(&rings_);
  }

  // To be called before the look.
  std::uint32_t read() const { return rings_.load(acquire); }  // order: bell.ring

  // Sleeps while the count is `seen`; timeout_ns negative: for ever. May return for no reason.
  void wait(std::uint32_t seen, std::int64_t timeout_ns) {
    if (rings_.load(relaxed) == seen) os::futex_wait(&rings_, seen, timeout_ns);
  }

 private:
  atomic<std::uint32_t> rings_{0};
};

}  // namespace weft::rt
