// select_case: one case of a select, made by the factories of weft/select.hpp and the members of the handles.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "weft/detail/hchan.hpp"

namespace weft {
inline namespace v0 {

class select_case;

namespace detail {

enum class case_kind : std::uint8_t { send, recv };

// What the core knows of a case. Only one case happens, so all that receive share one piece of memory, the landing, in which
// a value stays until the locks are free again and it can go where the program wants it.
struct scase {
  hchan* c;      // null: never ready
  void* elem;    // the value; where it is to go
  elem_fn put;   // receives straight into elem, because the value must not be moved twice; else null: by the landing
  elem_fn land;  // receives into the landing; null: the bytes
  void (*finish)(void* elem, void* landed, bool received);  // a receive has happened; outside locks; may be null
  case_kind kind;
  bool copy;
};

// What the caller of select_go has as a landing; larger values land in a place that select_go has. Values that are larger
// still, and those that must not be moved twice, have none.
inline constexpr std::size_t landing_bytes = 64;
inline constexpr std::size_t landing_align = 16;
inline constexpr std::size_t largest_landing = 1024;
inline constexpr std::size_t largest_landing_align = 64;
template <class T>
inline constexpr bool lands = moves_safely<T> && alignof(T) <= largest_landing_align &&
                              sizeof(T) <= (is_plain<T> ? landing_bytes : largest_landing);

struct chosen {
  std::size_t index;      // npos: none
  bool received;          // not closed
  bool finished = false;  // the case's `finish` has been called
};
inline constexpr std::size_t npos = static_cast<std::size_t>(-1);

// Throws send_on_closed_channel, cancelled, what an element's copy or move throws.
WEFT_EXPORT chosen select_go(const select_case* cases, std::size_t n, bool block, void* landing);

struct access;

}  // namespace detail

/// One case of a select whose cases are known only at run time. Made by weft::send(c, v), weft::recv(c, v) and so on,
/// without handlers. Trivially copyable; owns nothing: the channel's handle, the value and the destination must outlive
/// each select that it is part of. A value that was sent from an rvalue has been moved away.
class select_case {
 public:
  select_case() = default;

 private:
  friend struct detail::access;
  explicit constexpr select_case(const detail::scase& s) : s_(s) {}
  detail::scase s_{};
};
static_assert(std::is_trivially_copyable_v<select_case>);

namespace detail {

struct access {
  static select_case make(const scase& s) { return select_case(s); }
  static const scase& of(const select_case& c) { return c.s_; }
};

template <class T>
void finish_optional(void* elem, void* landed, bool received) {
  auto& to = *static_cast<std::optional<T>*>(elem);
  if (!received) {
    to.reset();
    return;
  }
  T& value = *static_cast<T*>(landed);
  struct landed_value {
    T& v;
    ~landed_value() { v.~T(); }
  } last{value};
  to.emplace(static_cast<T&&>(value));
}

template <class T>
void reset_optional(void* elem, void*, bool received) {
  if (!received) static_cast<std::optional<T>*>(elem)->reset();
}

template <class T>
void put_in_optional(void* elem, void* src, bool copy) {
  auto& to = *static_cast<std::optional<T>*>(elem);
  if constexpr (std::is_copy_constructible_v<T>) {
    if (copy) {
      to.emplace(*static_cast<const T*>(src));
      return;
    }
  }
  to.emplace(static_cast<T&&>(*static_cast<T*>(src)));
}

template <class T>
void drop_landed(void*, void* landed, bool received) {
  if (received) static_cast<T*>(landed)->~T();
}

inline void finish_flag(void* elem, void*, bool received) { *static_cast<bool*>(elem) = received; }

template <class T>
select_case recv_case(hchan* c, std::optional<T>* to) {
  if constexpr (lands<T>) {
    return access::make(
        {c, to, nullptr, is_plain<T> ? nullptr : construct_elem<T>, finish_optional<T>, case_kind::recv, false});
  } else {
    return access::make({c, to, put_in_optional<T>, nullptr, reset_optional<T>, case_kind::recv, false});
  }
}

// By way of a value on the stack of whoever moves it: too large to land.
template <class T>
void drop_elem(void*, void* src, bool copy) {
  union room {
    T value;
    room() {}
    ~room() {}
  } r;
  construct_elem<T>(__builtin_addressof(r.value), src, copy);
  r.value.~T();
}

template <class T>
select_case drop_case(hchan* c) {
  if constexpr (is_plain<T>) {
    return access::make({c, nullptr, nullptr, nullptr, nullptr, case_kind::recv, false});
  } else if constexpr (lands<T>) {
    return access::make({c, nullptr, nullptr, construct_elem<T>, drop_landed<T>, case_kind::recv, false});
  } else {
    return access::make({c, nullptr, drop_elem<T>, nullptr, nullptr, case_kind::recv, false});
  }
}

template <class T>
select_case send_case(hchan* c, const T* value, bool copy) {
  return access::make({c, const_cast<T*>(value), nullptr, nullptr, nullptr, case_kind::send, copy});
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
