// Bugs of telling each other: what is said before anybody listens is not heard, and what was heard need not be true now.
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <stdexcept>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using sim::failure_kind;

// An event built from a semaphore. Between "it is not set" and "I wait" the signaller finds nobody to wake.
template <bool right>
void lost_signal() {
  struct event {
    mutex m;
    semaphore wake{0};
    bool is_set = false;
    int waiting = 0;
    void wait() {
      {
        const std::lock_guard hold(m);
        if (is_set) return;
        if (right) ++waiting;
      }
      if (!right) {
        const std::lock_guard hold(m);
        ++waiting;
      }
      wake.acquire();
    }
    void set() {
      const std::lock_guard hold(m);
      is_set = true;
      wake.release(waiting);
      waiting = 0;
    }
  } opened;
  wait_group both;
  both.go([&] { opened.set(); });
  both.go([&] { opened.wait(); });
  both.wait();
}

// Who is woken must look again: another consumer may have been faster.
template <bool right>
void if_instead_of_while() {
  struct queue {
    mutex m;
    semaphore wake{0};
    int items = 0, sleeping = 0;
    void push() {
      const std::lock_guard hold(m);
      ++items;
      if (sleeping == 0) return;
      --sleeping;
      wake.release();
    }
    void sleep_unlocked(std::unique_lock<mutex>& hold) {
      ++sleeping;
      hold.unlock();
      wake.acquire();
      hold.lock();
    }
    void pop() {
      std::unique_lock hold(m);
      if (right) {
        while (items == 0) sleep_unlocked(hold);
      } else if (items == 0) {
        sleep_unlocked(hold);
      }
      if (items == 0) throw std::out_of_range("pop of an empty queue");
      --items;
    }
  } jobs;
  wait_group three;
  for (int i = 0; i < 2; ++i) three.go([&] { jobs.pop(); });
  three.go([&] {
    jobs.push();
    jobs.push();
  });
  three.wait();
}

// What happens after the history was read and before the subscription is in neither.
template <bool right>
void late_subscriber() {
  struct log {
    mutex m;
    int written = 0, delivered = 0;
    bool subscribed = false;
    void write() {
      const std::lock_guard hold(m);
      ++written;
      if (subscribed) ++delivered;
    }
    int history() {
      const std::lock_guard hold(m);
      return written;
    }
    void subscribe() {
      const std::lock_guard hold(m);
      subscribed = true;
    }
    int history_and_subscribe() {
      const std::lock_guard hold(m);
      subscribed = true;
      return written;
    }
  } events;
  int seen = 0;
  wait_group both;
  both.go([&] {
    events.write();
    events.write();
  });
  both.go([&] {
    if (right) {
      seen = events.history_and_subscribe();
    } else {
      seen = events.history();
      events.subscribe();
    }
  });
  both.wait();
  sim::check(seen + events.delivered == 2, "each event is seen once");
}

// The worker asks whether to stop before it waits for the next job, and there is no next job. Main does not wait for it.
template <bool right>
void shutdown_does_not_wake_the_worker() {
  struct pool {
    semaphore jobs{0};
    std::atomic<bool> stop = false;
  };
  static std::optional<pool> shared;  // the worker may outlive main's frame
  shared.emplace();
  go({.name = "worker"}, [] {
    while (!shared->stop) shared->jobs.acquire();
  });
  shared->jobs.release();
  shared->stop = true;
  if (right) shared->jobs.release();
}

template <bool right>
void stop_flag_read_once() {
  std::atomic<bool> stop = false;
  wait_group one;
  one.go([&] {
    bool seen = stop;
    while (!seen) {
      yield();
      if (right) seen = stop;
    }
  });
  stop = true;
  one.wait();
}

// The first reader waits for the writer with the counter unlocked: the second one believes that the room is theirs.
template <bool right>
void read_write_lock_by_hand() {
  struct rw_lock {
    mutex m;
    semaphore room{1};
    int readers = 0;
    void lock_shared() {
      std::unique_lock hold(m);
      const bool first = ++readers == 1;
      if (!right) hold.unlock();
      if (first) room.acquire();
    }
    void unlock_shared() {
      const std::lock_guard hold(m);
      if (--readers == 0) room.release();
    }
  } lock;
  mutex log;
  std::atomic<int> left = 0, right_side = 0;
  wait_group three;
  for (int i = 0; i < 2; ++i) {
    three.go([&] {
      lock.lock_shared();
      sim::check(left == right_side, "no reader sees half of a write");
      lock.unlock_shared();
    });
  }
  three.go([&] {
    lock.room.acquire();
    left = 1;
    { const std::lock_guard line(log); }
    right_side = 1;
    lock.room.release();
  });
  three.wait();
}

// "Nothing to write" is said after the write, and also of what has come during it.
template <bool right>
void dirty_flag_cleared_too_late() {
  struct page {
    mutex m, disk;
    int value = 0, on_disk = 0;
    bool dirty = false;
    void change(int to) {
      const std::lock_guard hold(m);
      value = to;
      dirty = true;
    }
    void flush() {
      int copy = 0;
      {
        const std::lock_guard hold(m);
        if (!dirty) return;
        copy = value;
        if (right) dirty = false;
      }
      {
        const std::lock_guard writing(disk);
        on_disk = copy;
      }
      if (right) return;
      const std::lock_guard hold(m);
      dirty = false;
    }
  } only;
  only.change(1);
  wait_group both;
  both.go([&] { only.change(2); });
  both.go([&] { only.flush(); });
  both.wait();
  only.flush();
  sim::check(only.on_disk == 2, "the last change is on the disk");
}

constexpr bug all[] = {
    {"lost_signal", "set between the check and the wait", lost_signal<false>, lost_signal<true>, failure_kind::deadlock,
     "[semacquire #"},
    {"if_instead_of_while", "a consumer that was woken finds the queue empty", if_instead_of_while<false>,
     if_instead_of_while<true>, failure_kind::exception, "pop of an empty queue"},
    {"late_subscriber", "history first, then the subscription", late_subscriber<false>, late_subscriber<true>,
     failure_kind::check, "each event is seen once"},
    {"shutdown_does_not_wake_the_worker", "the flag is set while the worker waits for a job",
     shutdown_does_not_wake_the_worker<false>, shutdown_does_not_wake_the_worker<true>, failure_kind::leak,
     "goroutine 2 (worker) [semacquire #"},
    {"stop_flag_read_once", "the loop looks at a copy", stop_flag_read_once<false>, stop_flag_read_once<true>,
     failure_kind::endless, "still going on: goroutine 2"},
    {"read_write_lock_by_hand", "the second reader does not wait for the first one's permit",
     read_write_lock_by_hand<false>, read_write_lock_by_hand<true>, failure_kind::check,
     "no reader sees half of a write"},
    {"dirty_flag_cleared_too_late", "a change during the flush counts as flushed", dirty_flag_cleared_too_late<false>,
     dirty_flag_cleared_too_late<true>, failure_kind::check, "the last change is on the disk"},
};

}  // namespace

std::span<const bug> bugs_of_signals() { return all; }

}  // namespace weft::test
