// The semaphore through its public face, on plain threads: their proxies park and are readied as goroutines are.
#include "weft/semaphore.hpp"

#include "model/fabric.hpp"
#include "sched/park.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

// The g that the next plain thread to wait will get as its proxy.
rt::g* next_proxy() {
  rt::g* gp = rt::proxy_get();
  rt::proxy_put(gp);
  return gp;
}

MODEL(sema_two_threads, "one permit, two threads: one inside at a time", .spurious = 1) {
  weft::semaphore s(1);
  int inside = 0;
  auto work = [&] {
    s.acquire();
    ++inside;
    s.release();
  };
  auto t = start(work);
  work();
  t.join();
  expect(inside == 2, "each was inside");
  expect(s.try_acquire() && !s.try_acquire(), "one permit is left");
}

MODEL(sema_three_threads, "one permit for two threads and one that only tries") {
  weft::semaphore s(1);
  int inside = 0;
  int tried = 0;
  auto work = [&] {
    s.acquire();
    ++inside;
    s.release();
  };
  auto a = start(work);
  auto b = start(work);
  if (s.try_acquire()) {
    ++inside;
    s.release();
  } else {
    ++tried;
  }
  a.join();
  b.join();
  expect(inside + tried == 3, "each was inside");
  expect(s.try_acquire() && !s.try_acquire(), "one permit is left");
}

MODEL(sema_release_two, "two waiters, one release of two") {
  weft::semaphore s(0);
  int payload = 0;
  auto wait = [&] {
    s.acquire();
    expect(payload == 1, "what was written before the release is there");
  };
  auto a = start(wait);
  payload = 1;
  s.release(2);
  wait();
  a.join();
  expect(!s.try_acquire(), "both permits were taken");
}

MODEL(sema_two_waiters, "two waiters, two releases") {
  weft::semaphore s(0);
  int payload = 0;
  auto wait = [&] { s.acquire(); };
  auto a = start(wait);
  auto b = start(wait);
  s.release();
  payload = 1;
  s.release();
  a.join();
  b.join();
  expect(!s.try_acquire() && payload == 1, "both permits were taken");
}

MODEL(sema_try_beside_a_waiter, "try_acquire takes a free permit or none; the waiter is not forgotten") {
  weft::semaphore s(0);
  auto wait = [&] { s.acquire(); };
  auto t = start(wait);
  s.release();
  if (s.try_acquire()) s.release();
  t.join();
  expect(!s.try_acquire(), "the waiter has it");
}

MODEL(sema_destroyed_by_its_waiter, "the semaphore goes when its waiter has returned, while release is still at it",
      .spurious = 1) {
  auto* s = new weft::semaphore(0);
  auto releaser = [&] { s->release(); };
  auto t = start(releaser);
  s->acquire();
  delete s;
  t.join();
}

MODEL(sema_timeout_against_release,
      "a permit goes to the waiter or stays; a timeout takes the wait or comes too late") {
  weft::semaphore s(0);
  rt::g* proxy = next_proxy();
  const std::uint32_t seq = proxy->wait_seq + 1;
  bool took = false;
  auto timeout = [&] { took = rt::take_waiter(nullptr, proxy, 0, seq, rt::wait_result::timed_out); };
  auto releaser = [&] { s.release(); };
  auto a = start(timeout);
  auto b = start(releaser);
  s.acquire();
  a.join();
  b.join();
  expect(s.try_acquire() == took, "the permit is left over exactly when the wait was taken");
  expect(!s.try_acquire(), "no permit comes from nowhere");
}

}  // namespace
