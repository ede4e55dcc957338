// select_case: one case of a select, made by the factories of weft/select.hpp and the members of the handles.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "weft/detail/hchan.hpp"

namespace weft {
inline namespace v0 {

class select_case;

namespace detail {

// acquire, after, at: no channel; elem is a semaphore's word, or a number of ns, from the beginning of the select, or of the clock.
enum class case_kind : std::uint8_t { send, recv, acquire, after, at };

// What the core knows of a kind of case. Only one case happens, so all that receive share one piece of memory, the landing,
// in which a value stays until the locks are free again and it can go where the program wants it.
struct case_ops {
  case_kind kind;
  copy_fn copy = nullptr;  // a sender keeps its value
  // Does not fit into the landing that the caller of select_go has, or is rare: kept off its short path.
  bool large = false;
  elem_fn put = nullptr;  // receives straight into elem, because the value must not be moved twice; else by the landing
  elem_fn land = nullptr;                                             // receives into the landing; null: the bytes
  void (*finish)(void* elem, void* landed, bool received) = nullptr;  // a receive has happened; outside locks
};

template <class T>
inline constexpr case_ops copying{.kind = case_kind::send, .copy = copier_of<T>()};
inline constexpr case_ops moving{.kind = case_kind::send};
inline constexpr case_ops acquiring{.kind = case_kind::acquire, .large = true};
inline constexpr case_ops after_a_time{.kind = case_kind::after};
inline constexpr case_ops at_a_time{.kind = case_kind::at};

struct scase {
  hchan* c;    // null: never ready, or no channel
  void* elem;  // the value; where it is to go; a semaphore's word
  const case_ops* ops;
};

// What the caller of select_go has as a landing; larger values land in a place that select_go has. Values that are larger
// still, and those that must not be moved twice, have none.
inline constexpr std::size_t landing_bytes = 64;
inline constexpr std::size_t landing_align = 16;
inline constexpr std::size_t largest_landing = 1024;
inline constexpr std::size_t largest_landing_align = 64;
template <class T>
inline constexpr bool lands_large = sizeof(T) > landing_bytes || alignof(T) > landing_align;
template <class T>
inline constexpr bool lands = moves_safely<T> && alignof(T) <= largest_landing_align &&
                              sizeof(T) <= (is_plain<T> ? landing_bytes : largest_landing);

struct chosen {
  std::size_t index;      // npos: none
  bool received;          // not closed
  bool finished = false;  // the case's `finish` has been called
};
inline constexpr std::size_t npos = static_cast<std::size_t>(-1);

// landing: for the elements of all receiving cases; null: one of them is large.
// Throws send_on_closed_channel, cancelled, what an element's copy or move throws.
WEFT_EXPORT chosen select_go(const select_case* cases, std::size_t n, bool block, void* landing);

struct access;

}  // namespace detail

/// One case of a select whose cases are known only at run time. Made by weft::send(c, v), weft::recv(c, v) and so on,
/// without handlers. Trivially copyable; owns nothing: the channel's handle, the value and the destination must outlive
/// each select that it is part of. A value that was sent from an rvalue has been moved away. A default-constructed one never
/// happens, as one on a nil channel.
class select_case {
 public:
  select_case() = default;

 private:
  friend struct detail::access;
  explicit constexpr select_case(const detail::scase& s) : s_(s) {}
  detail::scase s_{nullptr, nullptr, &detail::moving};
};
static_assert(std::is_trivially_copyable_v<select_case>);

namespace detail {

struct access {
  static select_case make(const scase& s) { return select_case(s); }
  template <class C>
  static C make(const select_case& s) {
    return C(s);
  }
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
void put_in_optional(void* elem, void* src) {
  auto& to = *static_cast<std::optional<T>*>(elem);
  to.emplace(static_cast<T&&>(*static_cast<T*>(src)));
}

template <class T>
void drop_landed(void*, void* landed, bool received) {
  if (received) static_cast<T*>(landed)->~T();
}

inline void finish_flag(void* elem, void*, bool received) { *static_cast<bool*>(elem) = received; }

template <class T>
constexpr case_ops recv_ops() {
  if constexpr (lands<T>) {
    return {.kind = case_kind::recv,
            .large = lands_large<T>,
            .land = is_plain<T> ? nullptr : construct_elem<T>,
            .finish = finish_optional<T>};
  } else {
    return {.kind = case_kind::recv, .put = put_in_optional<T>, .finish = reset_optional<T>};
  }
}

// By way of a value on the stack of whoever moves it: too large to land.
template <class T>
void drop_elem(void*, void* src) {
  union room {
    T value;
    room() {}
    ~room() {}
  } r;
  construct_elem<T>(__builtin_addressof(r.value), src);
  r.value.~T();
}

template <class T>
constexpr case_ops drop_ops() {
  if constexpr (std::is_void_v<T> || is_plain<T>) {
    return {.kind = case_kind::recv};
  } else if constexpr (lands<T>) {
    return {.kind = case_kind::recv, .large = lands_large<T>, .land = construct_elem<T>, .finish = drop_landed<T>};
  } else {
    return {.kind = case_kind::recv, .put = drop_elem<T>};
  }
}

template <class T>
inline constexpr case_ops receiving = recv_ops<T>();
template <>
inline constexpr case_ops receiving<void>{.kind = case_kind::recv, .finish = finish_flag};
template <class T>
inline constexpr case_ops dropping = drop_ops<T>();

template <class T>
select_case copying_case(hchan* c, const T& value) {
  return access::make({c, const_cast<T*>(__builtin_addressof(value)), &copying<T>});
}
template <class T>
select_case moving_case(hchan* c, T& value) {
  return access::make({c, __builtin_addressof(value), &moving});
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
