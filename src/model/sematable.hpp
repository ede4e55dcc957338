// sematable: who waits on which address. Every lock and semaphore of the users' keeps its waiters here, by
// its own address, and stays as small as its state (Go's semtable).
//
// Who    anyone, goroutine or thread, under the bucket's lock.
// State  a bucket is a treap of distinct addresses, a heap by random tickets; each node is the oldest waiter
//        of its address and heads the list of the others. All operations are O(log distinct addresses);
//        within an address first, append, prepend and remove are O(1).
// Why    waiters of an object are changed under this lock only, and the object's word that counts them is
//        changed in the same section: the count and the queue agree whenever the lock is free. After the
//        word has let the object go nobody touches it: only its address is looked up.
// Checked by test/unit/model/sematable_test.cpp.
#pragma once
#include <cstdint>

#include "base/check.hpp"
#include "base/sizes.hpp"
#include "lock/mutex.hpp"
#include "model/sudog.hpp"

namespace weft::rt {

class sema_bucket {
 public:
  mutex lock;

  // Nobody waits in this bucket: the usual case, which needs neither a search nor a ticket.
  bool empty() const { return root_ == nullptr; }
  // `ticket` is any random number; it keeps the treap balanced.
  void push_back(sudog* sg, std::uint32_t ticket) {
    if (root_ != nullptr) [[unlikely]] {
      push_back_slow(sg, ticket);
      return;
    }
    mark_queued(sg);
    sg->next = sg->prev = nullptr;
    sg->tail = sg;
    sg->parent = sg->left = sg->right = nullptr;
    sg->ticket = ticket;
    root_ = sg;
  }
  void push_front(sudog* sg, std::uint32_t ticket);
  // The oldest waiter of addr, or null.
  sudog* front(const void* addr) const {
    if (root_ == nullptr || root_->addr == addr) return root_;
    return front_slow(addr);
  }
  // Takes sg off, wherever it stands. It must be queued.
  void remove(sudog* sg) {
    if (!sg->queued) [[unlikely]]
      not_queued();
    if (sg == root_ && sg->next == nullptr && sg->left == nullptr && sg->right == nullptr) [[likely]] {
      sg->queued = false;
      root_ = nullptr;
      return;
    }
    remove_slow(sg);
  }
  // For checks: walks the whole treap; false when an invariant does not hold.
  bool check() const;
  // Calls f(sudog) for each waiter, when check() says that all is well.
  template <class F>
  void for_each(F f) const {
    for_each_from(root_, f);
  }

 private:
  static void mark_queued(sudog* sg);
  [[noreturn]] static void not_queued();
  void push_back_slow(sudog* sg, std::uint32_t ticket);
  sudog* front_slow(const void* addr) const;
  void remove_slow(sudog* sg);
  sudog* find(const void* addr, sudog** parent) const;
  void insert_node(sudog* sg, sudog* parent, std::uint32_t ticket);
  void replace_node(sudog* old, sudog* with);
  void erase_node(sudog* sg);
  void set_child(sudog* parent, sudog* old, sudog* with);
  void rotate_left(sudog* x);
  void rotate_right(sudog* y);
  bool check(const sudog* sg, std::uintptr_t lo, std::uintptr_t hi) const;
  template <class F>
  static void for_each_from(const sudog* node, F& f) {
    if (node == nullptr) return;
    for_each_from(node->left, f);
    for (const sudog* sg = node; sg != nullptr; sg = sg->next) f(sg);
    for_each_from(node->right, f);
  }

  sudog* root_ = nullptr;
};

inline void sema_bucket::mark_queued(sudog* sg) {
  invariant(!sg->queued, "sematable: sudog is queued already");
  sg->queued = true;
}

class sematable {
 public:
  sema_bucket& bucket(const void* addr) {
    return slots_[(reinterpret_cast<std::uintptr_t>(addr) >> 3) % sizes::sema_buckets].bucket;
  }
  sema_bucket& bucket_at(std::uint32_t i) { return slots_[i].bucket; }

 private:
  struct alignas(64) slot {
    sema_bucket bucket;
  };
  slot slots_[sizes::sema_buckets];
};

}  // namespace weft::rt
