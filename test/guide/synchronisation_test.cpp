// The code of docs/guide/synchronisation.md, each piece in a test of what the guide says about it; and its table of misuse.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "weft/weft.hpp"

namespace {

// snippet: queue
// A queue with an end: what a channel is, if there were none.
template <class T>
class queue {
 public:
  void put(T value) {
    {
      const std::lock_guard hold(lock_);
      values_.push_back(std::move(value));
    }
    changed_.notify_one();
  }
  void close() {
    {
      const std::lock_guard hold(lock_);
      closed_ = true;
    }
    changed_.notify_all();
  }
  std::optional<T> take() {
    std::unique_lock hold(lock_);
    changed_.wait(hold, [this] { return !values_.empty() || closed_; });
    if (values_.empty()) return std::nullopt;
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }

 private:
  weft::mutex lock_;  // guards the rest
  weft::condition_variable changed_;
  std::deque<T> values_;
  bool closed_ = false;
};
// snippet: end

TEST(guide_synchronisation, condition_variable) {
  std::atomic<int> sum = 0;
  weft::run([&] {
    queue<int> q;
    weft::wait_group readers;
    for (int i = 0; i < 3; ++i)
      readers.go([&] {
        while (const std::optional<int> n = q.take()) sum += *n;
      });
    for (int i = 1; i <= 100; ++i) q.put(i);
    q.close();
    readers.wait();
  });
  EXPECT_EQ(sum, 5050);
}

// snippet: shared
class directory {
 public:
  std::optional<std::string> find(const std::string& name) const {
    const std::shared_lock reading(lock_);
    const auto found = numbers_.find(name);
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
  }
  void set(const std::string& name, std::string number) {
    const std::unique_lock writing(lock_);
    numbers_[name] = std::move(number);
  }

 private:
  mutable weft::shared_mutex lock_;
  std::map<std::string, std::string> numbers_;
};
// snippet: end

TEST(guide_synchronisation, shared_mutex) {
  weft::run([] {
    directory d;
    weft::wait_group all;
    for (int i = 0; i < 4; ++i) {
      all.go([&d, i] { d.set("ada", std::to_string(i)); });
      all.go([&d] { static_cast<void>(d.find("ada")); });
    }
    all.wait();
    EXPECT_TRUE(d.find("ada").has_value());
    EXPECT_FALSE(d.find("grace").has_value());
  });
}

TEST(guide_synchronisation, a_waiting_writer_keeps_new_readers_out) {
  weft::run([] {
    weft::shared_mutex m;
    m.lock_shared();
    EXPECT_TRUE(m.try_lock_shared());
    m.unlock_shared();
    weft::wait_group writer;
    writer.go([&m] {
      m.lock();
      m.unlock();
    });
    while (m.try_lock_shared()) {  // until the writer waits
      m.unlock_shared();
      weft::yield();
    }
    m.unlock_shared();
    writer.wait();
  });
}

TEST(guide_synchronisation, semaphore) {
  int most = 0;
  weft::run([&most] {
    weft::mutex lock;
    int inside = 0;
    weft::wait_group all;
    // snippet: semaphore
    weft::semaphore slots(3);
    for (int i = 0; i < 20; ++i) {
      slots.acquire();  // here, and not in the goroutine: so there are never more than three of them
      all.go([&] {
        {
          const std::lock_guard hold(lock);
          most = std::max(most, ++inside);
        }
        weft::yield();
        const std::lock_guard hold(lock);
        --inside;
        slots.release();
      });
    }
    all.wait();
    // snippet: end
  });
  EXPECT_GE(most, 1);
  EXPECT_LE(most, 3);
}

TEST(guide_synchronisation, latch) {
  std::atomic<int> early = 0, ran = 0;
  weft::run([&] {
    bool loaded = false;
    // snippet: latch
    weft::latch ready(1);
    weft::wait_group all;
    for (int i = 0; i < 4; ++i)
      all.go([&] {
        ready.wait();
        if (!loaded) ++early;
        ++ran;
      });
    loaded = true;
    ready.count_down();  // opens, and stays open
    all.wait();
    // snippet: end
  });
  EXPECT_EQ(early, 0);
  EXPECT_EQ(ran, 4);
}

TEST(guide_synchronisation, barrier) {
  std::vector<int> row(8, 0);
  row[3] = 1;
  std::vector<int> sums;
  weft::run([&] {
    // snippet: barrier
    // Each cell becomes the sum of its neighbours, ten times; all read the old row, and it is exchanged when all have.
    std::vector<int> next(row.size());
    const auto exchange = [&]() noexcept { row.swap(next); };
    weft::barrier round(static_cast<std::ptrdiff_t>(row.size()), exchange);
    weft::wait_group cells;
    for (std::size_t i = 0; i < row.size(); ++i)
      cells.go([&, i] {
        for (int n = 0; n < 10; ++n) {
          next[i] = (i > 0 ? row[i - 1] : 0) + (i + 1 < row.size() ? row[i + 1] : 0);
          round.arrive_and_wait();
        }
      });
    cells.wait();
    // snippet: end
  });
  std::vector<int> wanted(8, 0);
  wanted[3] = 1;
  for (int n = 0; n < 10; ++n) {
    std::vector<int> next(8);
    for (std::size_t i = 0; i < 8; ++i) next[i] = (i > 0 ? wanted[i - 1] : 0) + (i < 7 ? wanted[i + 1] : 0);
    wanted = next;
  }
  EXPECT_EQ(row, wanted);
}

TEST(guide_synchronisation, once) {
  int loads = 0;
  weft::run([&loads] {
    const auto load = [&loads] {
      ++loads;
      return std::string("settings");
    };
    // snippet: once
    const auto settings = weft::once_value(load);  // nothing has been called yet
    weft::wait_group all;
    for (int i = 0; i < 4; ++i) all.go([settings] { EXPECT_EQ(settings(), "settings"); });
    all.wait();
    // snippet: end
  });
  EXPECT_EQ(loads, 1);
}

TEST(guide_synchronisation, what_the_first_call_of_once_throws) {
  weft::run([] {
    weft::once first;
    EXPECT_THROW(first.call([] { throw std::runtime_error("no file"); }), std::runtime_error);
    first.call([] { FAIL() << "that was the one call"; });
    const auto f = weft::once_func([] { throw std::runtime_error("no file"); });
    EXPECT_THROW(f(), std::runtime_error);
    EXPECT_THROW(f(), std::runtime_error) << "of once_func, each call";
  });
}

TEST(guide_synchronisation, object_pool) {
  weft::run([] {
    // snippet: pool
    weft::object_pool<std::string> buffers;
    std::unique_ptr<std::string> b = buffers.get();  // as it was put back, so
    b->clear();
    b->append("text");
    buffers.put(std::move(b));
    // snippet: end
    const std::unique_ptr<std::string> again = buffers.try_get();
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(*again, "text");
    EXPECT_EQ(buffers.try_get(), nullptr);
  });
}

TEST(guide_synchronisation, recursive_mutex) {
  weft::run([] {
    weft::recursive_mutex m;
    m.lock();
    m.lock();
    weft::yield();
    EXPECT_TRUE(m.try_lock());
    weft::wait_group other;
    other.go([&m] {
      EXPECT_FALSE(m.try_lock());
      EXPECT_THROW(m.unlock(), weft::unlock_of_unlocked_mutex) << "it is another's";
    });
    other.wait();
    for (int i = 0; i < 3; ++i) m.unlock();
  });
}

TEST(guide_synchronisation, a_stop_token_wakes_condition_variable_any) {
  weft::run([] {
    weft::mutex m;
    weft::condition_variable_any changed;
    std::stop_source stop;
    weft::wait_group waiter;
    waiter.go([&] {
      std::unique_lock hold(m);
      EXPECT_FALSE(changed.wait(hold, stop.get_token(), [] { return false; }));
      EXPECT_TRUE(hold.owns_lock());
    });
    weft::yield();
    stop.request_stop();
    waiter.wait();
  });
}

template <class F>
std::string what_of(F&& misuse) {
  try {
    misuse();
  } catch (const weft::error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(guide_synchronisation, the_table_of_misuse) {
  EXPECT_EQ(what_of([] { weft::mutex().unlock(); }), "sync: unlock of unlocked mutex");
  EXPECT_EQ(what_of([] { weft::shared_mutex().unlock(); }), "sync: Unlock of unlocked RWMutex");
  EXPECT_EQ(what_of([] { weft::shared_mutex().unlock_shared(); }), "sync: RUnlock of unlocked RWMutex");
  EXPECT_EQ(what_of([] { weft::recursive_mutex().unlock(); }),
            "sync: unlock of unlocked mutex: the caller does not hold the recursive_mutex");
  EXPECT_EQ(what_of([] { weft::wait_group().done(); }), "sync: negative WaitGroup counter");
  EXPECT_EQ(what_of([] {
              weft::mutex m;
              weft::condition_variable c;
              std::unique_lock hold(m, std::defer_lock);
              c.wait(hold);
            }),
            "weft: condition_variable::wait: the lock is not held");
  EXPECT_EQ(what_of([] { weft::semaphore(-1); }), "weft: semaphore count -1: must be 0 to 2147483647");
  EXPECT_EQ(what_of([] { weft::semaphore(2147483647).release(); }),
            "weft: semaphore release(1) with 2147483647 permits would exceed the maximum of 2147483647");
  EXPECT_EQ(what_of([] { weft::latch(2).count_down(3); }), "weft: latch count_down(3) with 2 left");
  EXPECT_EQ(what_of([] { weft::latch(-1); }), "weft: latch count -1: must be 0 to 2147483647");
  EXPECT_EQ(what_of([] { static_cast<void>(weft::barrier(2).arrive(3)); }), "weft: barrier arrive(3) with 2 missing");
  EXPECT_EQ(what_of([] { weft::barrier(-1); }), "weft: barrier count -1: must be 0 to 2147483647");
}

}  // namespace
