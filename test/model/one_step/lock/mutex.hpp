// The runtime's own lock as one step of the machine, in models of what is built on it: blocking, hand-over of what it
// guards and the order of the waiters are the machine's. That src/lock/mutex.hpp is such a lock is lock_model's business.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/sizes.hpp"
#include "checker/machine.hpp"
#include "os/sys.hpp"

namespace weft::rt {

class mutex {
 public:
  void lock() { check::lock_step(this, pc()); }
  bool try_lock() { return check::try_lock_step(this, pc()); }
  void unlock() { check::unlock_step(this, pc()); }

  std::uint32_t size_of_the_real_one = 0;

 private:
  [[gnu::always_inline]] static std::uint32_t pc() {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))) - 1;
  }
};

class mutex_guard {
 public:
  explicit mutex_guard(mutex& m) : m_(m) { m_.lock(); }
  ~mutex_guard() { m_.unlock(); }
  mutex_guard(const mutex_guard&) = delete;
  mutex_guard& operator=(const mutex_guard&) = delete;

 private:
  mutex& m_;
};

}  // namespace weft::rt
