// glist: goroutines linked through g.schedlink, first in first out. A g is in one list at most.
// Not thread-safe: each list has its lock or its owner.
#pragma once
#include <cstdint>

#include "base/check.hpp"
#include "model/g.hpp"

namespace weft::rt {

class glist {
 public:
  bool empty() const { return head_ == nullptr; }
  std::uint32_t size() const { return n_; }

  void push_back(g* gp) {
    invariant(!gp->on_list, "glist: goroutine is in a list already");
    gp->on_list = true;
    gp->schedlink = nullptr;
    if (tail_ != nullptr) {
      tail_->schedlink = gp;
    } else {
      head_ = gp;
    }
    tail_ = gp;
    ++n_;
  }

  void push_front(g* gp) {
    invariant(!gp->on_list, "glist: goroutine is in a list already");
    gp->on_list = true;
    gp->schedlink = head_;
    head_ = gp;
    if (tail_ == nullptr) tail_ = gp;
    ++n_;
  }

  g* pop_front() {
    g* gp = head_;
    if (gp == nullptr) return nullptr;
    head_ = gp->schedlink;
    if (head_ == nullptr) tail_ = nullptr;
    --n_;
    gp->on_list = false;
    return gp;
  }

  // Appends all of other, which is empty then. O(1).
  void append(glist& other) {
    if (other.empty()) return;
    if (tail_ != nullptr) {
      tail_->schedlink = other.head_;
    } else {
      head_ = other.head_;
    }
    tail_ = other.tail_;
    n_ += other.n_;
    other = glist{};
  }

 private:
  g* head_ = nullptr;
  g* tail_ = nullptr;
  std::uint32_t n_ = 0;
};

}  // namespace weft::rt
