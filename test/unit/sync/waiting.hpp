// For tests of whoever waits on an address: a look at the word and at the queue behind it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "model/process.hpp"
#include "sched/park.hpp"
#include "unit/sched/small_runtime.hpp"
#include "weft/weft.hpp"

namespace waiting {

using small_runtime::go_now;
using small_runtime::until;
using small_runtime::with_procs;

// The object's only member, as others see it at this moment.
template <class T>
std::uint64_t word_of(const T& object) {
  static_assert(std::is_standard_layout_v<T> && sizeof(T) == sizeof(std::uint64_t));
  return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(&object), __ATOMIC_ACQUIRE);
}

// One wait of somebody, as a timeout would remember it.
struct wait_id {
  weft::rt::g* gp = nullptr;
  std::uint64_t goid = 0;
  std::uint32_t seq = 0;
};

inline wait_id oldest_waiter(const void* addr) {
  weft::rt::caller me;
  weft::rt::sema_bucket& b = weft::rt::the_process.semas.bucket(addr);
  weft::rt::mutex_guard guard(b.lock);
  const weft::rt::sudog* sg = b.front(addr);
  if (sg == nullptr) return {};
  return {sg->gp, sg->gp->goid, sg->gp->wait_seq};
}

// A timeout's taking of that wait.
inline bool take(const wait_id& w) {
  weft::rt::caller me;
  return weft::rt::take_waiter(me.self(), w.gp, w.goid, w.seq, weft::rt::wait_result::timed_out);
}

// Every inline fast path gives way to the compiled function while this lives.
class open_door {
 public:
  open_door() { __atomic_store_n(&weft::detail::door, static_cast<unsigned char>(1), __ATOMIC_RELAXED); }
  ~open_door() { __atomic_store_n(&weft::detail::door, static_cast<unsigned char>(0), __ATOMIC_RELAXED); }
  open_door(const open_door&) = delete;
  open_door& operator=(const open_door&) = delete;
};

}  // namespace waiting
