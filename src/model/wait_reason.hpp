// wait_reason: why a goroutine waits, with Go's texts. Numbers are never reused.
#pragma once
#include <cstdint>

namespace weft::rt {

enum class wait_reason : std::uint8_t { none, semacquire, mutex_lock, wait_group_wait, sleep, settle };

constexpr const char* to_text(wait_reason r) {
  switch (r) {
    case wait_reason::none: return "";
    case wait_reason::semacquire: return "semacquire";
    case wait_reason::mutex_lock: return "sync.Mutex.Lock";
    case wait_reason::wait_group_wait: return "sync.WaitGroup.Wait";
    case wait_reason::sleep: return "sleep";
    case wait_reason::settle: return "sim.settle";
  }
  return "unknown wait reason";
}

}  // namespace weft::rt
