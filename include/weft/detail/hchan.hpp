// hchan: a channel as its inline fast paths and the compiled core see it (src/chan). Not for users.
//
// Who    everything under `key`, the channel's lock, but: closed, qcount and the first of each queue are also read
//        without it, as hints (or, closed, for good), so they are written by atomic stores; refs by whoever holds a handle.
// State  one of the two queues is empty, unless a select waits on both sides of an unbuffered channel. With qcount > 0
//        nobody waits in recvq; with qcount < dataqsiz nobody in sendq (Go's invariants).
// Never  touch a channel after its lock was given back: whoever was served may be the one that frees it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

// Moves the element *src to dst. What dst is (raw memory, an optional, an object to assign to) the function knows. Null in
// place of one: the bytes.
using elem_fn = void (*)(void* dst, void* src);
// The same with a copy of *src, by way of `put`. It comes with the sender, so that nobody else asks whether T can be copied:
// std::is_copy_constructible may say yes where the copy does not compile.
using copy_fn = void (*)(elem_fn put, void* dst, const void* src);

// What the core must know of an element's type.
struct elem_type {
  std::size_t size;
  std::size_t align;
  elem_fn construct;          // in raw memory; null: the bytes
  void (*destroy)(void* at);  // null: nothing to do
};

struct hchan {
  std::uint32_t key;     // src/lock/mutex.hpp
  std::uint32_t closed;  // 0; 1 for ever; is_of_timer
  std::uint64_t qcount;
  std::uint64_t dataqsiz;
  std::uint64_t sendx;
  std::uint64_t recvx;
  void* recvq_first;  // chan_sudogs
  void* recvq_last;
  void* sendq_first;
  void* sendq_last;
  unsigned char* buf;
  const elem_type* type;
  std::uint64_t refs;
};

// In `closed`, of a timer's channel (src/chan/timer_chan.hpp): to whoever looks it is as a closed one, and off the fast paths.
inline constexpr std::uint32_t is_of_timer = 2;

enum class chan_op : std::uint8_t { ok, would_block, closed };  // as chan_status has them

// For larger ones a call is no matter.
inline constexpr std::size_t small_elem = 32;

template <class T>
inline constexpr bool is_plain = std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>;
// Must not be moved twice: a move that throws leaves the value where it is.
template <class T>
inline constexpr bool moves_safely = std::is_nothrow_move_constructible_v<T>;

template <class T>
void construct_elem(void* dst, void* src) {
  ::new (dst) T(static_cast<T&&>(*static_cast<T*>(src)));
}

template <class T>
void copy_elem(elem_fn put, void* dst, const void* src) {
  if (put == construct_elem<T>) {
    ::new (dst) T(*static_cast<const T*>(src));
    return;
  }
  T copy(*static_cast<const T*>(src));
  put(dst, const_cast<void*>(static_cast<const volatile void*>(__builtin_addressof(copy))));
}
// Null: the bytes, and nothing is moved away.
template <class T>
constexpr copy_fn copier_of() {
  if constexpr (is_plain<T>) {
    return nullptr;
  } else {
    return copy_elem<T>;
  }
}

template <class T>
void destroy_elem(void* at) {
  static_cast<T*>(at)->~T();
}

template <class T>
inline constexpr elem_type type_of{sizeof(T), alignof(T), is_plain<T> ? nullptr : construct_elem<T>,
                                   std::is_trivially_destructible_v<T> ? nullptr : destroy_elem<T>};
template <>
inline constexpr elem_type type_of<void>{0, 1, nullptr, nullptr};

// Throws weft::error, "makechan: size out of range"; std::bad_alloc.
WEFT_EXPORT hchan* make_chan(const elem_type* type, std::ptrdiff_t capacity);
WEFT_EXPORT void free_chan(hchan* c) noexcept;
// An unlock has found that somebody may sleep on the lock.
WEFT_EXPORT void chan_unlocked(hchan* c) noexcept;

// Throw send_on_closed_channel, cancelled, what the element's copy or move throws.
WEFT_EXPORT void chan_send(hchan* c, void* from);
WEFT_EXPORT chan_op chan_try_send(hchan* c, void* from, copy_fn copy);
// False: closed and drained.
WEFT_EXPORT bool chan_recv(hchan* c, void* to, elem_fn put);
WEFT_EXPORT chan_op chan_try_recv(hchan* c, void* to, elem_fn put);
WEFT_EXPORT void chan_close(hchan* c);

inline void chan_hold(hchan* c) noexcept {
  if (c != nullptr) __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
}
inline void chan_drop(hchan* c) noexcept {
  if (c != nullptr && __atomic_fetch_sub(&c->refs, 1, __ATOMIC_ACQ_REL) == 1) free_chan(c);
}

// The lock, for the inline fast paths: taken if it is free, held for a dozen instructions.
inline bool chan_try_lock(hchan* c) noexcept {
  std::uint32_t free = 0;
  return __atomic_compare_exchange_n(&c->key, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}
inline void chan_unlock(hchan* c) noexcept {
  if (__atomic_exchange_n(&c->key, 0, __ATOMIC_RELEASE) == 2) [[unlikely]]
    chan_unlocked(c);
}

inline bool has_room(const hchan* c) noexcept {
  return __atomic_load_n(&c->qcount, __ATOMIC_RELAXED) < c->dataqsiz &&
         __atomic_load_n(&c->recvq_first, __ATOMIC_RELAXED) == nullptr &&
         __atomic_load_n(&c->closed, __ATOMIC_RELAXED) == 0;
}
inline bool has_value(const hchan* c) noexcept {
  return __atomic_load_n(&c->qcount, __ATOMIC_RELAXED) != 0 &&
         __atomic_load_n(&c->sendq_first, __ATOMIC_RELAXED) == nullptr;
}

// A buffered channel with room, and nobody waits: it touches the channel and nothing else. False: not so.
template <class T>
[[gnu::always_inline]] inline bool put_in_buffer(hchan* c, const T& value) {
  if (door_open() || c == nullptr || !has_room(c) || !chan_try_lock(c)) return false;
  const bool room = has_room(c);
  if (room) [[likely]] {
    __builtin_memcpy(c->buf + c->sendx * sizeof(T), static_cast<const void*>(__builtin_addressof(value)), sizeof(T));
    c->sendx = c->sendx + 1 == c->dataqsiz ? 0 : c->sendx + 1;
    __atomic_store_n(&c->qcount, c->qcount + 1, __ATOMIC_RELAXED);
  }
  chan_unlock(c);
  return room;
}

template <class T>
[[gnu::always_inline]] inline bool take_from_buffer(hchan* c, void* to) {
  if (door_open() || c == nullptr || !has_value(c) || !chan_try_lock(c)) return false;
  const bool value = has_value(c);
  if (value) [[likely]] {
    __builtin_memcpy(to, c->buf + c->recvx * sizeof(T), sizeof(T));
    c->recvx = c->recvx + 1 == c->dataqsiz ? 0 : c->recvx + 1;
    __atomic_store_n(&c->qcount, c->qcount - 1, __ATOMIC_RELEASE);  // order: chan.looks
  }
  chan_unlock(c);
  return value;
}

template <class T>
inline constexpr bool has_fast_path = is_plain<T> && sizeof(T) <= small_elem;

}  // namespace detail
}  // namespace v0
}  // namespace weft
