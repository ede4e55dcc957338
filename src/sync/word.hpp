// The state word of a user's object, as the core sees it. Public headers hold it as a plain integer and use
// __atomic builtins (no <atomic> there); here it is the same word under the same operations. Never mixed
// with a plain access.
#pragma once
#include <cstdint>

namespace weft::rt {

class word64 {
 public:
  explicit word64(std::uint64_t* word) : word_(word) {}
  std::uint64_t load() const { return __atomic_load_n(word_, __ATOMIC_RELAXED); }
  std::uint64_t load_acquire() const { return __atomic_load_n(word_, __ATOMIC_ACQUIRE); }
  // On failure `expected` is what was found. Success orders both ways: it takes what was released and
  // releases what was done.
  bool cas(std::uint64_t& expected, std::uint64_t desired) const {
    return __atomic_compare_exchange_n(word_, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  }
  // Only where a rule says that nobody else changes the word now.
  void store(std::uint64_t v) const { __atomic_store_n(word_, v, __ATOMIC_RELEASE); }
  // The count of waiters, under the bucket's lock. Who reads it without only learns whether to take that lock.
  std::uint64_t add(std::uint64_t v) const { return __atomic_fetch_add(word_, v, __ATOMIC_RELAXED); }
  const void* addr() const { return word_; }

 private:
  std::uint64_t* word_;
};

}  // namespace weft::rt
