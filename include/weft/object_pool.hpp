// weft::object_pool: objects that are dear to make and may be used again by whoever comes next. Go's sync.Pool.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/detail/config.hpp"
#include "weft/mutex.hpp"

namespace weft {
inline namespace v0 {
namespace detail {
// A number by which callers that run at once, on different threads, mostly differ.
WEFT_EXPORT std::uint32_t pool_shard() noexcept;
}  // namespace detail

/// A set of unused T, in parts: each thread that runs goroutines has one, so that those who run at once seldom meet; who
/// finds its part empty takes from the others. Objects in it may be destroyed at any trim(): it is a cache, not a store.
/// All calls may be made by any number of goroutines and plain threads at once. Never a cancellation point.
template <class T>
class object_pool {
 public:
  /// New objects are T().
  object_pool() requires std::is_default_constructible_v<T> : object_pool([] { return std::make_unique<T>(); }) {}
  /// New objects are what make() returns: a T or a std::unique_ptr<T>.
  template <class F>
    requires(std::is_invocable_v<F&> && !std::is_same_v<std::remove_cvref_t<F>, object_pool>)
  explicit object_pool(F make) : make_(std::make_unique<made_by<F>>(std::move(make))) {}
  object_pool(const object_pool&) = delete;
  object_pool& operator=(const object_pool&) = delete;

  /// An object that was put back, as it is, or a new one.
  ///   Throws    std::bad_alloc, and what making one throws.
  [[nodiscard]] std::unique_ptr<T> get() {
    if (std::unique_ptr<T> used = try_get()) return used;
    return make_->make();
  }
  /// An object that was put back, or null. Does not make one. O(1); when the caller's part is empty, a look at each.
  [[nodiscard]] std::unique_ptr<T> try_get() {
    const std::uint32_t mine = detail::pool_shard() % parts;
    for (std::uint32_t i = 0; i < parts; ++i) {
      part& p = part_[(mine + i) % parts];
      if (__atomic_load_n(&p.count, __ATOMIC_RELAXED) == 0) continue;
      if (std::unique_ptr<T> used = take(p)) return used;
    }
    return nullptr;
  }
  /// The object may be used again. Null is nothing. Throws std::bad_alloc, and then it is gone.
  void put(std::unique_ptr<T> object) {
    if (object == nullptr) return;
    part& p = part_[detail::pool_shard() % parts];
    const held lock(p.m);
    p.fresh.push_back(std::move(object));
    count(p);
  }
  void put(decltype(nullptr)) noexcept {}
  void put(T object) requires std::is_move_constructible_v<T> { put(std::make_unique<T>(std::move(object))); }

  /// Destroys those that have not been used since the last trim(), so that after two trims without use the pool is empty
  /// (Go does that at each garbage collection).
  void trim() {
    for (part& p : part_) {
      std::vector<std::unique_ptr<T>> old;  // destroyed outside the lock
      const held lock(p.m);
      old.swap(p.old);
      p.old.swap(p.fresh);
      count(p);
      lock.unlock_then_destroy(old);
    }
  }

 private:
  static constexpr std::uint32_t parts = 16;

  struct maker {
    virtual ~maker() = default;
    virtual std::unique_ptr<T> make() = 0;
  };
  template <class F>
  struct made_by : maker {
    explicit made_by(F&& f) : make_one(std::move(f)) {}
    std::unique_ptr<T> make() override {
      if constexpr (std::is_convertible_v<std::invoke_result_t<F&>, std::unique_ptr<T>>) {
        return make_one();
      } else {
        return std::unique_ptr<T>(new T(make_one()));
      }
    }
    F make_one;
  };
  struct alignas(64) part {
    mutex m;
    std::uint64_t count = 0;                // of both; read without the lock as a hint
    std::vector<std::unique_ptr<T>> fresh;  // put back since the last trim
    std::vector<std::unique_ptr<T>> old;
  };

  class held {
   public:
    explicit held(mutex& m) : m_(m) { m_.lock(); }
    ~held() {
      if (locked_) m_.unlock();
    }
    held(const held&) = delete;
    held& operator=(const held&) = delete;
    void unlock_then_destroy(std::vector<std::unique_ptr<T>>& objects) const {
      m_.unlock();
      locked_ = false;
      objects.clear();
    }

   private:
    mutex& m_;
    mutable bool locked_ = true;
  };

  static void count(part& p) { __atomic_store_n(&p.count, p.fresh.size() + p.old.size(), __ATOMIC_RELAXED); }
  static std::unique_ptr<T> take(part& p) {
    const held lock(p.m);
    std::vector<std::unique_ptr<T>>& from = p.fresh.empty() ? p.old : p.fresh;
    if (from.empty()) return nullptr;
    std::unique_ptr<T> object = std::move(from.back());
    from.pop_back();
    count(p);
    return object;
  }

  part part_[parts];
  std::unique_ptr<maker> make_;
};

}  // namespace v0
}  // namespace weft
