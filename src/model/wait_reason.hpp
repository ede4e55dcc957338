// wait_reason: why a goroutine waits, with Go's texts. Numbers are never reused.
#pragma once
#include <cstdint>

namespace weft::rt {

enum class wait_reason : std::uint8_t {
  none,
  semacquire,
  mutex_lock,
  wait_group_wait,
  sleep,
  settle,
  chan_receive,
  chan_send,
  chan_receive_nil,
  chan_send_nil,
  select,
  select_no_cases,
  cond_wait,
  rwmutex_rlock,
  rwmutex_lock,
  latch_wait,
  barrier_wait,
  future_wait,
};

constexpr const char* to_text(wait_reason r) {
  switch (r) {
    case wait_reason::none: return "";
    case wait_reason::semacquire: return "semacquire";
    case wait_reason::mutex_lock: return "sync.Mutex.Lock";
    case wait_reason::wait_group_wait: return "sync.WaitGroup.Wait";
    case wait_reason::sleep: return "sleep";
    case wait_reason::settle: return "sim.settle";
    case wait_reason::chan_receive: return "chan receive";
    case wait_reason::chan_send: return "chan send";
    case wait_reason::chan_receive_nil: return "chan receive (nil chan)";
    case wait_reason::chan_send_nil: return "chan send (nil chan)";
    case wait_reason::select: return "select";
    case wait_reason::select_no_cases: return "select (no cases)";
    case wait_reason::cond_wait: return "sync.Cond.Wait";
    case wait_reason::rwmutex_rlock: return "sync.RWMutex.RLock";
    case wait_reason::rwmutex_lock: return "sync.RWMutex.Lock";
    case wait_reason::latch_wait: return "latch wait";
    case wait_reason::barrier_wait: return "barrier wait";
    case wait_reason::future_wait: return "future wait";
  }
  return "unknown wait reason";
}

}  // namespace weft::rt
