// weft::chan: Go's channels, between goroutines and plain threads alike.
#pragma once
#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>

#include "weft/detail/hchan.hpp"
#include "weft/detail/select_case.hpp"

namespace weft {
inline namespace v0 {

template <class T = void>
class chan;
template <class T = void>
class send_chan;
template <class T = void>
class recv_chan;

/// What came of a call that does not wait.
enum class chan_status : unsigned char { ok, would_block, closed };

namespace detail {

template <class T>
inline constexpr bool can_be_sent = std::is_void_v<T> || (std::is_object_v<T> && !std::is_array_v<T> &&
                                                          !std::is_const_v<T> && !std::is_volatile_v<T> &&
                                                          std::is_destructible_v<T> && std::is_move_constructible_v<T>);

// Room for an element that is not there yet.
template <class T>
union elem_room {
  T value;
  elem_room() {}
  ~elem_room() {}
  void* at() { return const_cast<void*>(static_cast<const volatile void*>(__builtin_addressof(value))); }
};

template <class T>
void assign_elem(void* dst, void* src) {
  *static_cast<T*>(dst) = static_cast<T&&>(*static_cast<T*>(src));
}

template <class T>
void* erase(const T& value) {
  return const_cast<void*>(static_cast<const volatile void*>(__builtin_addressof(value)));
}

// ---- the operations, for whatever handle

template <class T>
void send_to(hchan* c, const T& value) {
  if constexpr (has_fast_path<T>) {
    if (put_in_buffer(c, value)) [[likely]]
      return;
  }
  chan_send(c, erase(value));
}

template <class T>
chan_op try_send_to(hchan* c, const T& value, copy_fn copy) {
  if constexpr (has_fast_path<T>) {
    if (put_in_buffer(c, value)) [[likely]]
      return chan_op::ok;
  }
  return chan_try_send(c, erase(value), copy);
}

template <class T>
bool receive_plain(hchan* c, elem_room<T>& room) {
  if (take_from_buffer<T>(c, room.at())) [[likely]]
    return true;
  return chan_recv(c, room.at(), nullptr);
}

// Inline by force: an optional that is returned is written as a flag and a value and read as two words, for which the
// processor waits 5 ns.
template <class T>
  requires has_fast_path<T>
[[gnu::always_inline]] inline std::optional<T> receive_from(hchan* c) {
  elem_room<T> room;
  std::optional<T> value;
  if (receive_plain<T>(c, room)) [[likely]]
    value.emplace(static_cast<T&&>(room.value));
  return value;
}
// The variable is the result itself, as it stands in the outermost block: an element that is received is moved once.
template <class T>
std::optional<T> receive_from(hchan* c) {
  std::optional<T> value;
  chan_recv(c, &value, put_in_optional<T>);
  return value;
}

// In raw memory.
template <class T>
chan_op try_receive_in(hchan* c, elem_room<T>& room) {
  if constexpr (has_fast_path<T>) {
    if (take_from_buffer<T>(c, room.at())) [[likely]]
      return chan_op::ok;
  }
  return chan_try_recv(c, room.at(), is_plain<T> ? nullptr : construct_elem<T>);
}

// A value that may be moved twice is taken out of the channel's lock before the one that was there is destroyed or
// assigned to, which is the program's code.
template <class T>
chan_op try_receive_in(hchan* c, T& to) {
  if constexpr (moves_safely<T> && std::is_nothrow_move_assignable_v<T>) {
    elem_room<T> room;
    const chan_op r = try_receive_in<T>(c, room);
    if (r == chan_op::ok) {
      to = static_cast<T&&>(room.value);
      room.value.~T();
    }
    return r;
  } else {
    return chan_try_recv(c, erase(to), assign_elem<T>);
  }
}

template <class T>
chan_op try_receive_in(hchan* c, std::optional<T>& to) {
  chan_op r;
  if constexpr (moves_safely<T>) {
    elem_room<T> room;
    r = try_receive_in<T>(c, room);
    if (r == chan_op::ok) {
      struct last {
        T& value;
        ~last() { value.~T(); }
      } landed{room.value};
      to.emplace(static_cast<T&&>(room.value));
    }
  } else {
    r = chan_try_recv(c, &to, put_in_optional<T>);
  }
  if (r == chan_op::closed) to.reset();
  return r;
}

// A handle: one share of a channel, or nil.
class chan_handle {
 public:
  constexpr chan_handle() noexcept = default;
  constexpr chan_handle(decltype(nullptr)) noexcept {}
  chan_handle(const chan_handle& other) noexcept : c_(other.c_) { chan_hold(c_); }
  chan_handle(chan_handle&& other) noexcept : c_(other.c_) { other.c_ = nullptr; }
  chan_handle& operator=(const chan_handle& other) noexcept {
    chan_handle copy(other);
    swap(copy);
    return *this;
  }
  chan_handle& operator=(chan_handle&& other) noexcept {
    chan_handle taken(static_cast<chan_handle&&>(other));
    swap(taken);
    return *this;
  }
  ~chan_handle() { chan_drop(c_); }

  /// Values in the buffer, 0 for a nil channel. Others may change it at any moment.
  [[nodiscard]] std::size_t size() const noexcept {
    return c_ == nullptr ? 0 : static_cast<std::size_t>(__atomic_load_n(&c_->qcount, __ATOMIC_RELAXED));
  }
  /// Of the buffer: 0 for an unbuffered channel, and for nil.
  [[nodiscard]] std::size_t capacity() const noexcept {
    return c_ == nullptr ? 0 : static_cast<std::size_t>(c_->dataqsiz);
  }
  /// Whether it is not nil.
  explicit operator bool() const noexcept { return c_ != nullptr; }

  /// Whether both are handles of one channel, or both nil.
  friend bool operator==(const chan_handle& a, const chan_handle& b) noexcept { return a.c_ == b.c_; }
  friend bool operator==(const chan_handle& a, decltype(nullptr)) noexcept { return a.c_ == nullptr; }

 protected:
  explicit constexpr chan_handle(hchan* c) noexcept : c_(c) {}

 private:
  friend struct chan_access;
  void swap(chan_handle& other) noexcept {
    hchan* c = c_;
    c_ = other.c_;
    other.c_ = c;
  }
  hchan* c_ = nullptr;
};

struct chan_access {
  static hchan* of(const chan_handle& h) noexcept { return h.c_; }
  // A handle that has the share of c which the caller had.
  template <class H>
  static H adopt(hchan* c) noexcept {
    H h(nullptr);
    h.c_ = c;
    return h;
  }
};

// What a handle that can send has. H is the handle.
template <class H, class T>
class sends {
 public:
  /// Sends a copy of value. Blocks the goroutine (or plain thread) until a receiver has it or the buffer has room; on a nil
  /// channel for ever.
  ///   Throws    send_on_closed_channel, also when the channel is closed while this waits; weft::cancelled, when it has to
  ///             wait: a cancellation point; what the copy throws, and then nothing was sent.
  ///   Orders    everything before it happens before the receive that gets the value returns. The k-th receive from a
  ///             channel of capacity C happens before the (k+C)-th send returns.
  ///   The copy is made before it waits, by the caller. T's move is made by whoever comes second, with the channel locked: it
  ///   must not block, and sees what code on a plain thread sees.
  void send(const T& value) const requires std::is_copy_constructible_v<T> {
    if constexpr (is_plain<T>) {
      send_to(c(), value);
    } else {
      T copy(value);  // here, where it may block or throw, and not with the channel locked
      send_to(c(), copy);
    }
  }
  /// The same, by moving value away; untouched if it throws.
  void send(T&& value) const { send_to(c(), value); }

  /// Sends if that needs no waiting: ok; else would_block (always for nil) or closed, and value is untouched. A copy is made
  /// only if it is sent, and so with the channel locked: it must not block.
  chan_status try_send(const T& value) const requires std::is_copy_constructible_v<T> {
    return static_cast<chan_status>(try_send_to(c(), value, copier_of<T>()));
  }
  chan_status try_send(T&& value) const { return static_cast<chan_status>(try_send_to(c(), value, nullptr)); }

  /// Closes the channel: receivers get what is in the buffer and then nothing; who waits goes on at once.
  ///   Throws    close_of_closed_channel, close_of_nil_channel.
  ///   Blocks    no. Not a cancellation point.
  void close() const { chan_close(c()); }

  /// A case of a select: weft::send(*this, value).
  select_case on_send(const T& value) const requires std::is_copy_constructible_v<T> {
    return copying_case(c(), value);
  }
  select_case on_send(T&& value) const { return moving_case(c(), value); }

 private:
  hchan* c() const { return chan_access::of(static_cast<const H&>(*this)); }
};

template <class H>
class sends<H, void> {
 public:
  void send() const { chan_send(c(), nullptr); }
  chan_status try_send() const { return static_cast<chan_status>(chan_try_send(c(), nullptr, nullptr)); }
  void close() const { chan_close(c()); }
  select_case on_send() const { return access::make({c(), nullptr, &moving}); }

 private:
  hchan* c() const { return chan_access::of(static_cast<const H&>(*this)); }
};

// Where a loop over a channel ends. std::default_sentinel_t would do, but <iterator> costs 34,000 lines.
struct chan_end {};

// The values of a channel until it is closed, for range-for. A std::input_iterator, and no more: i++ has no value.
template <class T>
class chan_iterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  explicit chan_iterator(const chan_handle& h) : h_(h), value_(receive_from<T>(c())) {}
  T& operator*() const { return *value_; }
  T* operator->() const { return &*value_; }
  chan_iterator& operator++() {
    value_.reset();  // destroyed before the wait, as a local of the loop would be
    if constexpr (has_fast_path<T>) {
      elem_room<T> room;
      if (receive_plain<T>(c(), room)) [[likely]]
        value_.emplace(static_cast<T&&>(room.value));
    } else {
      chan_recv(c(), &value_, put_in_optional<T>);
    }
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const chan_iterator& i, chan_end) { return !i.value_.has_value(); }

 private:
  hchan* c() const { return chan_access::of(h_); }
  chan_handle h_;  // its own: the body may give away the one that the loop began with
  mutable std::optional<T> value_;
};

// What a handle that can receive has.
template <class H, class T>
class receives {
 public:
  /// Receives a value; nullopt when the channel is closed and drained. Blocks the goroutine (or plain thread) until there
  /// is one or the channel is closed; on a nil channel for ever.
  ///   Throws    weft::cancelled, when it has to wait: a cancellation point; what T's move throws, and then the value is
  ///             where it was.
  ///   Orders    everything before the send, or close(), happens before this returns.
  [[gnu::always_inline]] std::optional<T> recv() const { return receive_from<T>(c()); }

  /// Receives if that needs no waiting, and writes to value only then; else would_block (always for nil) or closed.
  [[nodiscard]] chan_status try_recv(T& value) const requires std::is_move_assignable_v<T> {
    return static_cast<chan_status>(try_receive_in<T>(c(), value));
  }
  /// The same; nullopt when the channel is closed and drained, unchanged when it would block. (Empty when T's move has thrown.)
  [[nodiscard]] chan_status try_recv(std::optional<T>& value) const {
    return static_cast<chan_status>(try_receive_in<T>(c(), value));
  }

  /// for (T& value : ch): until the channel is closed and drained. Each step is a recv().
  chan_iterator<T> begin() const { return chan_iterator<T>(static_cast<const H&>(*this)); }
  chan_end end() const noexcept { return {}; }

  /// A case of a select: weft::recv(*this, value).
  select_case on_recv(std::optional<T>& value) const { return access::make({c(), &value, &receiving<T>}); }
  select_case on_recv() const { return access::make({c(), nullptr, &dropping<T>}); }

 private:
  hchan* c() const { return chan_access::of(static_cast<const H&>(*this)); }
};

template <class H>
class receives<H, void> {
 public:
  /// True: somebody sent. False: closed and drained.
  bool recv() const { return chan_recv(c(), nullptr, nullptr); }
  [[nodiscard]] chan_status try_recv() const { return static_cast<chan_status>(chan_try_recv(c(), nullptr, nullptr)); }
  select_case on_recv(bool& received) const { return access::make({c(), &received, &receiving<void>}); }
  select_case on_recv() const { return access::make({c(), nullptr, &dropping<void>}); }

 private:
  hchan* c() const { return chan_access::of(static_cast<const H&>(*this)); }
};

}  // namespace detail

/// A channel: a cheap handle, copied like a shared_ptr. All operations are const, so that a handle captured by value
/// works in a goroutine. The last handle that goes frees the channel, with what is in its buffer; it does not close it.
/// Values are received in the order in which they were sent, who waits is served in the order in which it came, and a
/// value that a waiting receiver gets goes straight to it.
///   T   any object type that can be moved: move-only, over-aligned, with no default constructor. A move or copy that
///       throws leaves the call that performs it, and the channel as it was.
/// chan<> carries no values: send(), recv() -> bool, close().
/// A channel may be destroyed as soon as its last waiter has returned, even while the call that served it has not.
/// Cost  96 bytes and the buffer, one allocation. Source: Go's runtime/chan.go.
template <class T>
class chan : public detail::chan_handle, public detail::sends<chan<T>, T>, public detail::receives<chan<T>, T> {
 public:
  using value_type = T;

  /// A new channel without a buffer: a send waits for its receiver.
  chan() : chan_handle(make(0)) {}
  /// A new channel with room for `capacity` values.
  ///   Throws    weft::error "makechan: size out of range", for a negative or huge one; std::bad_alloc.
  template <std::integral N>
  explicit chan(N capacity) : chan_handle(make(static_cast<std::ptrdiff_t>(capacity))) {}
  /// Nil: sending and receiving block for ever; in a select never ready.
  constexpr chan(decltype(nullptr)) noexcept : chan_handle(nullptr) {}

 private:
  // T is complete here, but need not be where a handle is declared: a message may carry the channel for its answer.
  static detail::hchan* make(std::ptrdiff_t capacity) {
    static_assert(detail::can_be_sent<T>,
                  "weft::chan<T>: T must be an object type that can be moved, neither const nor an array");
    return detail::make_chan(&detail::type_of<T>, capacity);
  }
};

/// The sending end of a channel. Default-constructed it is nil.
template <class T>
class send_chan : public detail::chan_handle, public detail::sends<send_chan<T>, T> {
 public:
  using value_type = T;
  constexpr send_chan() noexcept = default;
  constexpr send_chan(decltype(nullptr)) noexcept {}
  send_chan(const chan<T>& c) noexcept : chan_handle(c) {}
  send_chan(chan<T>&& c) noexcept : chan_handle(static_cast<chan_handle&&>(c)) {}
};

/// The receiving end of a channel. Default-constructed it is nil.
template <class T>
class recv_chan : public detail::chan_handle, public detail::receives<recv_chan<T>, T> {
 public:
  using value_type = T;
  constexpr recv_chan() noexcept = default;
  constexpr recv_chan(decltype(nullptr)) noexcept {}
  recv_chan(const chan<T>& c) noexcept : chan_handle(c) {}
  recv_chan(chan<T>&& c) noexcept : chan_handle(static_cast<chan_handle&&>(c)) {}
};

}  // namespace v0
}  // namespace weft
