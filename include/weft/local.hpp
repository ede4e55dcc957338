// weft::local: a variable that each goroutine has for itself.
#pragma once
#include <type_traits>

#include "weft/detail/config.hpp"
#include "weft/detail/local_node.hpp"

namespace weft {
inline namespace v0 {

/// Goroutine-local storage, what thread_local is to threads: each goroutine that uses it gets a T of its own, made when it first
/// does, and destroyed when the goroutine ends, on its own stack, after its function has returned or been unwound, the last one
/// made first. A plain thread has one too, destroyed with the thread. It stays with the goroutine when that changes threads,
/// which a thread_local variable does not.
///   The object itself is usually a variable with static storage. If it goes earlier, the values stay until their goroutines end.
///   T's destructor may wait; nothing there is a cancellation point, and it runs under no context. One that uses a local which is destroyed already gets
///   a new one.
///   Cost  a look into a small table of the goroutine's; the first use allocates.
template <class T>
class local {
  static_assert(std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T>,
                "weft::local<T>: T must be an object type, neither const nor an array");

 public:
  /// T() for each goroutine.
  constexpr local() noexcept requires std::is_default_constructible_v<T> : make_(default_value) {}
  /// make() for each goroutine, called there; a lambda without captures will do. It must not use this same local.
  constexpr explicit local(T (*make)()) noexcept : make_(make) {}
  local(const local&) = delete;
  local& operator=(const local&) = delete;

  /// The caller's. Valid until it ends.
  ///   Throws    std::bad_alloc, what T's constructor throws: then the next use tries again.
  ///   Blocks    no, unless T's constructor does. Not a cancellation point.
  T& get() const {
    if (detail::local_node* n = detail::local_find(&id_)) return static_cast<node*>(n)->value;
    return first_use();
  }
  T& operator*() const { return get(); }
  T* operator->() const { return __builtin_addressof(get()); }

 private:
  struct node : detail::local_node {
    T value;
    explicit node(T (*make)()) : value(make()) {
      destroy = [](detail::local_node* n) { delete static_cast<node*>(n); };
    }
  };
  static T default_value() { return T(); }

  T& first_use() const {
    auto* n = new node(make_);
    try {
      detail::local_reserve();
    } catch (...) {
      delete n;
      throw;
    }
    detail::local_add(&id_, n);
    return n->value;
  }

  T (*make_)();
  mutable std::uint64_t id_ = 0;
};

}  // namespace v0
}  // namespace weft
