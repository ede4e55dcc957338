// entry: how a user's callable becomes four plain functions, so that the core is compiled once.
//
// The callable lives in the g, in 64 bytes; a larger, over-aligned one lives on the heap and the g holds
// the pointer. `construct` moves it (or the pointer) in at the spawn; `run` calls it once and destroys it, also when it is
// left by unwinding. A callable that never ran is destroyed by `drop`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "weft/detail/config.hpp"
#include "weft/detail/text.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t entry_bytes = 64;
inline constexpr std::size_t entry_align = 16;

struct entry_ops {
  void (*construct)(void* storage, void* from);
  void (*run)(void* storage);
  void (*drop)(void* storage) noexcept;
  bool trivial;  // construct copies bytes: it runs no code of the user's
};

template <class D>
inline constexpr bool entry_inline = sizeof(D) <= entry_bytes && alignof(D) <= entry_align;

template <class D>
struct entry_guard {
  D* f;
  ~entry_guard() {
    if constexpr (entry_inline<D>) {
      f->~D();
    } else {
      delete f;
    }
  }
};

// F is the argument's type as deduced (T or T&), D what is stored. On the heap, `from` points to the pointer.
template <class D, class F>
struct entry_of {
  static D* at(void* storage) noexcept {
    if constexpr (entry_inline<D>) {
      return std::launder(static_cast<D*>(storage));
    } else {
      return *std::launder(static_cast<D**>(storage));
    }
  }
  static void construct(void* storage, void* from) {
    if constexpr (entry_inline<D>) {
      ::new (storage) D(static_cast<F&&>(*static_cast<std::remove_reference_t<F>*>(from)));
    } else {
      ::new (storage) D*(*static_cast<D**>(from));
    }
  }
  static void run(void* storage) {
    entry_guard<D> g{at(storage)};
    static_cast<void>(static_cast<D&&>(*g.f)());
  }
  static void drop(void* storage) noexcept { entry_guard<D> g{at(storage)}; }
  static constexpr entry_ops ops{construct, run, drop, !entry_inline<D> || std::is_trivially_constructible_v<D, F&&>};
};

// Callables that can be empty: function pointers, std::function and its like (they compare with nullptr and
// can be made from it; a lambda converts to a function pointer but cannot be made from nullptr).
template <class D>
inline constexpr bool can_be_nil = std::is_pointer_v<D> || (std::is_constructible_v<D, decltype(nullptr)> &&
                                                            requires(const D& d) { d == nullptr; });

inline constexpr std::size_t default_stack = static_cast<std::size_t>(-1);

// Starts a goroutine. Throws what `construct` throws, std::bad_alloc, weft::error (outside a runtime, bad
// attributes); then nothing has been started.
WEFT_EXPORT void newproc(const entry_ops* ops, void* from, text name, std::size_t stack_size);
[[noreturn]] WEFT_EXPORT void throw_go_of_nil();

// Inline, as is `go`: the return address of newproc is where the goroutine was created, for reports.
// `f` is the argument itself: taken as an lvalue, moved from if F says that it was none.
template <class D, class F>
[[gnu::always_inline]] inline void start(text name, std::size_t stack_size, std::remove_reference_t<F>& f) {
  using entry = entry_of<D, F>;
  if constexpr (entry_inline<D>) {
    newproc(&entry::ops, const_cast<std::remove_cv_t<std::remove_reference_t<F>>*>(__builtin_addressof(f)), name,
            stack_size);
  } else {
    entry_guard<D> boxed{new D(static_cast<F&&>(f))};
    newproc(&entry::ops, &boxed.f, name, stack_size);
    boxed.f = nullptr;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
