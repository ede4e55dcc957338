// The users' mutex through its public face, on plain threads.
#include "weft/mutex.hpp"

#include "model/fabric.hpp"
#include "os/sys.hpp"
#include "sched/park.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

MODEL(mutex_two_threads, "two threads, two locks one and one lock the other", .spurious = 1) {
  weft::mutex m;
  int n = 0;
  auto work = [&] {
    m.lock();
    ++n;
    m.unlock();
  };
  auto t = start(work);
  work();
  work();
  t.join();
  expect(n == 3, "no increment is lost");
  expect(m.try_lock(), "it is free at the end");
}

MODEL(mutex_three_threads, "two threads lock and a third only tries") {
  weft::mutex m;
  int n = 0;
  auto work = [&] {
    m.lock();
    ++n;
    m.unlock();
  };
  auto a = start(work);
  auto b = start(work);
  int tried = 0;
  if (m.try_lock()) {
    ++n;
    m.unlock();
    tried = 1;
  }
  a.join();
  b.join();
  expect(n == 2 + tried, "no increment is lost");
  expect(m.try_lock(), "it is free at the end");
}

MODEL(mutex_try_lock, "try_lock takes it or leaves it") {
  weft::mutex m;
  int n = 0;
  int tried = 0;
  auto trier = [&] {
    for (int i = 0; i < 2; ++i) {
      if (!m.try_lock()) continue;
      ++n;
      ++tried;
      m.unlock();
    }
  };
  auto t = start(trier);
  m.lock();
  ++n;
  m.unlock();
  t.join();
  expect(n == 1 + tried, "whoever got it had it alone");
}

MODEL(mutex_starvation, "a waiter that was passed over for a millisecond gets the mutex handed over") {
  weft::mutex m;
  int n = 0;
  auto waiter = [&] {
    m.lock();
    ++n;
    m.unlock();
  };
  auto t = start(waiter);
  m.lock();
  ++n;
  rt::os::sleep_ns(2 * rt::sizes::starvation_ns);
  m.unlock();
  m.lock();
  ++n;
  m.unlock();
  t.join();
  expect(n == 3, "each had its turn");
  expect(m.try_lock(), "it is free at the end");
}

MODEL(mutex_destroyed_by_the_last, "whoever finds itself the last frees the mutex: unlock touches nothing after") {
  auto* m = new weft::mutex;
  int users = 2;
  auto work = [&] {
    m->lock();
    const bool last = --users == 0;
    m->unlock();
    if (last) delete m;
  };
  auto t = start(work);
  m->lock();
  m->unlock();
  work();
  t.join();
}

MODEL(mutex_timeout_against_unlock,
      "a timeout takes the wait of a locker or comes too late; the mutex is not lost with it") {
  weft::mutex m;
  rt::g* proxy = rt::proxy_get();
  rt::proxy_put(proxy);
  const std::uint32_t seq = proxy->wait_seq + 1;
  int n = 0;
  bool took = false;
  auto timeout = [&] { took = rt::take_waiter(nullptr, proxy, 0, seq, rt::wait_result::timed_out); };
  auto locker = [&] { m.lock(); };  // who has timed out does not have it; the model asks the timeout
  m.lock();
  auto a = start(timeout);
  auto b = start(locker);
  ++n;
  m.unlock();
  a.join();
  b.join();
  expect(m.try_lock() == took, "it is free exactly when the wait was taken");
}

}  // namespace
