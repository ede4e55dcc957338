// Takers that do not come by the object: what the models of things to wait for share.
#pragma once
#include <cstdint>

#include "model/fabric.hpp"
#include "sched/park.hpp"

namespace weft::check {

// The next wait of a plain thread: that of the g which will be its proxy.
class next_wait {
 public:
  next_wait() : proxy_(rt::proxy_get()), seq_(proxy_->wait_seq + 1) { rt::proxy_put(proxy_); }
  // As a timeout or a cancellation. True: it was the taker.
  bool take(rt::wait_result why) const { return rt::take_waiter(nullptr, proxy_, 0, seq_, why); }

 private:
  rt::g* proxy_;
  std::uint32_t seq_;
};

// Who is in a queue of the semaphore table under this address can be taken: its park is complete when the bucket's lock is free.
inline void parks_are_complete(const void* addr) {
  const rt::mutex_guard guard(rt::the_process.semas.bucket(addr).lock);
}

}  // namespace weft::check
