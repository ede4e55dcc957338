// The users' read-write lock through its public face, on plain threads. A timeout takes a wait as take_waiter does; who has timed
// out does not have the lock, and the model asks the timeout.
#include "weft/shared_mutex.hpp"

#include "model/waits.hpp"
#include "os/sys.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using rt::wait_result;

MODEL(rw_two_writers, "two writers, one inside at a time", .spurious = 1) {
  weft::shared_mutex m;
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

MODEL(rw_writer_and_reader, "a reader sees all of what a writer did or nothing of it", .spurious = 1) {
  weft::shared_mutex m;
  int a = 0;
  int b = 0;
  auto t = start([&] {
    m.lock();
    ++a;
    ++b;
    m.unlock();
  });
  for (int i = 0; i < 2; ++i) {
    m.lock_shared();
    expect(a == b, "not in between");
    m.unlock_shared();
  }
  t.join();
  expect(a == 1 && m.try_lock(), "it is free at the end");
}

MODEL(rw_writer_and_two_readers, "two readers and a writer: the readers may be inside together, the writer is alone") {
  weft::shared_mutex m;
  int n = 0;
  auto reader = [&] {
    m.lock_shared();
    expect(n == 0 || n == 2, "not in between");
    m.unlock_shared();
  };
  auto a = start(reader);
  auto b = start(reader);
  m.lock();
  ++n;
  ++n;
  m.unlock();
  a.join();
  b.join();
  expect(m.try_lock(), "it is free at the end");
}

MODEL(rw_two_writers_and_a_reader,
      "who leaves hands it over: to the readers after a writer, to a writer after the last reader") {
  weft::shared_mutex m;
  int n = 0;
  auto writer = [&] {
    m.lock();
    ++n;
    m.unlock();
  };
  auto a = start(writer);
  auto b = start(writer);
  m.lock_shared();
  expect(n >= 0 && n <= 2, "some of them, or none");
  m.unlock_shared();
  a.join();
  b.join();
  expect(n == 2 && m.try_lock(), "both; it is free at the end");
}

MODEL(rw_readers_come_in_together, "when a writer leaves, all readers that wait come in") {
  weft::shared_mutex m;
  rt::atomic<std::uint32_t> inside{0};
  m.lock();
  auto reader = [&] {
    m.lock_shared();
    inside.fetch_add(1, rt::acq_rel);
    rt::os::futex_wake(&inside);
    while (inside.load(rt::acquire) != 2) rt::os::futex_wait(&inside, 1);
    m.unlock_shared();
  };
  auto t = start(reader);
  auto u = start(reader);
  m.unlock();
  t.join();
  u.join();
  expect(m.try_lock(), "it is free at the end");
}

MODEL(rw_last_reader_against_writer, "two readers leave while a writer comes: one of them, or nobody, hands it over") {
  weft::shared_mutex m;
  int read = 0;
  m.lock_shared();
  m.lock_shared();
  std::atomic<int> inside{2};
  auto leave = [&] {
    inside.fetch_sub(1, std::memory_order_relaxed);
    m.unlock_shared();
  };
  auto a = start(leave);
  auto b = start([&] {
    m.lock();
    expect(inside.load(std::memory_order_relaxed) == 0, "both are out");
    ++read;
    m.unlock();
  });
  leave();
  a.join();
  b.join();
  expect(read == 1 && m.try_lock(), "it is free at the end");
}

MODEL(rw_waiting_writer_keeps_readers_out, "a reader that comes after a writer does not pass it", .preemptions = 2) {
  weft::shared_mutex m;
  m.lock_shared();
  int written = 0;
  auto writer = start([&] {
    m.lock();
    written = 1;
    m.unlock();
  });
  auto reader = start([&] {
    // Once try_lock_shared is refused while we hold it for reading, a writer waits.
    const bool waits = !m.try_lock_shared();
    if (!waits) m.unlock_shared();
    m.lock_shared();
    if (waits) expect(written == 1, "the writer was first");
    m.unlock_shared();
  });
  m.unlock_shared();
  writer.join();
  reader.join();
  expect(m.try_lock(), "it is free at the end");
}

MODEL(rw_tries, "tries take it or leave it, beside a writer") {
  weft::shared_mutex m;
  int n = 0;
  int tried = 0;
  auto t = start([&] {
    if (m.try_lock_shared()) {
      expect(n == 0 || n == 2, "not in between");
      m.unlock_shared();
    }
    if (m.try_lock()) {
      n = 2;
      ++tried;
      m.unlock();
    }
  });
  m.lock();
  n = 1;
  n = 2;
  m.unlock();
  t.join();
  expect(n == 2 && m.try_lock(), "it is free at the end");
}

MODEL(rw_timeout_of_the_last_writer,
      "a writer that waits keeps readers out; when its time is up they come in beside the reader") {
  weft::shared_mutex m;
  const next_wait wait;
  m.lock_shared();
  auto writer = start([&] { m.lock(); });
  if (m.try_lock_shared()) {
    m.unlock_shared();
    m.unlock_shared();
    writer.join();
    expect(!m.try_lock_shared(), "the writer has it");
    return;
  }
  parks_are_complete(&m);
  auto reader = start([&] {
    m.lock_shared();
    m.unlock_shared();
  });
  expect(wait.take(wait_result::timed_out), "nobody else takes it");
  writer.join();
  reader.join();  // it comes in while we are inside
  m.unlock_shared();
  expect(m.try_lock(), "it is free at the end");
}

MODEL(rw_timeout_against_unlock,
      "a writer's time is up as the writer before it leaves: it has the lock, or nobody has") {
  weft::shared_mutex m;
  const next_wait wait;
  bool took = false;
  m.lock();
  auto timeout = start([&] { took = wait.take(wait_result::timed_out); });
  auto writer = start([&] { m.lock(); });
  m.unlock();
  timeout.join();
  writer.join();
  expect(m.try_lock() == took, "it is free exactly when the wait was taken");
}

MODEL(rw_timeout_against_the_last_reader, "the same as the last reader leaves") {
  weft::shared_mutex m;
  const next_wait wait;
  bool took = false;
  m.lock_shared();
  auto timeout = start([&] { took = wait.take(wait_result::timed_out); });
  auto writer = start([&] { m.lock(); });
  m.unlock_shared();
  timeout.join();
  writer.join();
  expect(m.try_lock() == took, "it is free exactly when the wait was taken");
}

MODEL(rw_timeout_of_a_reader, "a reader's time is up as a writer leaves: it reads, or nobody does") {
  weft::shared_mutex m;
  const next_wait wait;
  bool took = false;
  m.lock();
  auto timeout = start([&] { took = wait.take(wait_result::timed_out); });
  auto reader = start([&] { m.lock_shared(); });
  m.unlock();
  timeout.join();
  reader.join();
  expect(m.try_lock() == took, "it is free exactly when the wait was taken");
}

MODEL(rw_destroyed_by_the_last, "whoever finds itself the last frees it: no unlock touches it after") {
  auto* m = new weft::shared_mutex;
  int users = 2;
  auto work = [&] {
    m->lock();
    const bool last = --users == 0;
    m->unlock();
    if (last) delete m;
  };
  auto t = start(work);
  m->lock_shared();
  m->unlock_shared();
  work();
  t.join();
}

MODEL(rw_destroyed_after_a_reader, "a writer that comes in when the last reader leaves may free it") {
  auto* m = new weft::shared_mutex;
  m->lock_shared();
  auto t = start([&] { m->unlock_shared(); });
  m->lock();
  m->unlock();
  delete m;
  t.join();
}

}  // namespace
