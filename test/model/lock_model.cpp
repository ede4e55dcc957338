// The runtime's own mutex: exclusion, hand-over of what it guards, and no sleeper left behind.
#include "lock/mutex.hpp"

#include "checker/model.hpp"

namespace {

using namespace weft::check;
using weft::rt::mutex;
using weft::rt::mutex_guard;

struct guarded {
  mutex lock;
  int n = 0;
  void times(int k) {
    for (int i = 0; i < k; ++i) {
      const mutex_guard guard(lock);
      ++n;
    }
  }
};

MODEL(lock_two_threads, "two threads, three locks each", .spurious = 1) {
  guarded x;
  auto work = [&] { x.times(3); };
  auto t = start(work);
  work();
  t.join();
  expect(x.n == 6, "no increment is lost");
}

MODEL(lock_three_threads, "three threads, one lock each", .spurious = 1) {
  guarded x;
  auto work = [&] { x.times(1); };
  auto a = start(work);
  auto b = start(work);
  work();
  a.join();
  b.join();
  expect(x.n == 3, "no increment is lost");
}

MODEL(lock_three_threads_twice, "three threads, two locks each", .preemptions = 4) {
  guarded x;
  auto work = [&] { x.times(2); };
  auto a = start(work);
  auto b = start(work);
  work();
  a.join();
  b.join();
  expect(x.n == 6, "no increment is lost");
}

MODEL(lock_try, "try_lock takes it or leaves it; who sleeps is woken all the same", .spurious = 1) {
  guarded x;
  int tried = 0;
  auto trier = [&] {
    for (int i = 0; i < 2; ++i) {
      if (!x.lock.try_lock()) continue;
      ++x.n;
      ++tried;
      x.lock.unlock();
    }
  };
  auto t = start(trier);
  x.times(2);
  t.join();
  expect(x.n == 2 + tried, "whoever got it had it alone");
}

MODEL(lock_free_after_the_last,
      "whoever finds itself the last frees the lock with the object: unlock touches nothing after") {
  auto* x = new guarded;
  int users = 2;
  auto work = [&] {
    x->lock.lock();
    const bool last = --users == 0;
    x->lock.unlock();
    if (last) delete x;
  };
  auto t = start(work);
  work();
  t.join();
}

}  // namespace
