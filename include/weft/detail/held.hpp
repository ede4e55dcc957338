// held: a callable that is called where it is, and destroyed before whoever waits hears of the end: it may refer to what they own.
#pragma once
#include <type_traits>

#include "weft/detail/config.hpp"

namespace weft {
inline namespace v0 {
namespace detail {

template <class D>
class held {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, held>)
  explicit held(F&& from) : f_(static_cast<F&&>(from)) {}
  held(held&& other) noexcept(std::is_nothrow_move_constructible_v<D>) : f_(static_cast<D&&>(other.f_)) {}
  ~held() { drop(); }
  D&& get() noexcept { return static_cast<D&&>(f_); }
  void drop() noexcept {
    if (!here_) return;
    here_ = false;
    f_.~D();
  }

 private:
  union {
    D f_;
  };
  bool here_ = true;
};

}  // namespace detail
}  // namespace v0
}  // namespace weft
