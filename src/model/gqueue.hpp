// gqueue, gstack: the global queue, first in first out, and the shared store of dead gs, last in first out; both
// unbounded, in blocks of pointers.
//
// Who    anyone, under the lock that guards the queue.
// Why    not a list through the gs: whoever takes a batch of 128 would walk a chain of cache misses under the
//        global lock. A block names 127 goroutines in 16 lines, the gs themselves are not touched, and the
//        one who runs them prefetches what it needs. It costs 8 bytes for each that is queued.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/check.hpp"
#include "model/g.hpp"
#include "model/process.hpp"

namespace weft::rt {

struct gqueue_block {
  static constexpr std::uint32_t slots = sizes::global_block;
  g* item[slots];
  gqueue_block* next;
};
static_assert(sizeof(gqueue_block) == gqueue_block_bytes);

// Where blocks come from and go to. A queue keeps its spare ones until it is dropped.
class gqueue_blocks {
 public:
  gqueue_block* take() {
    if (gqueue_block* b = spare_) {
      spare_ = b->next;
      return b;
    }
    mutex_guard guard(the_process.lock);
    if (void* old = the_process.qfree) {
      auto* b = static_cast<gqueue_block*>(old);
      the_process.qfree = b->next;
      return b;
    }
    void* memory = nullptr;
    if (the_process.qblocks.fresh(&memory, 1) == 0) fatal("out of memory: no block for a queue of goroutines");
    return static_cast<gqueue_block*>(memory);
  }

  void put(gqueue_block* b) {
    b->next = spare_;
    spare_ = b;
  }

  void drop() {
    mutex_guard guard(the_process.lock);
    while (gqueue_block* b = spare_) {
      spare_ = b->next;
      b->next = static_cast<gqueue_block*>(the_process.qfree);
      the_process.qfree = b;
    }
  }

 private:
  gqueue_block* spare_ = nullptr;
};

class gqueue {
 public:
  bool empty() const { return size_ == 0; }
  std::uint32_t size() const { return size_; }

  void push_back(g* gp) {
    if (tail_ == nullptr || tail_at_ == gqueue_block::slots) grow();
    tail_->item[tail_at_++] = gp;
    ++size_;
  }

  void push_back_n(g* const* gps, std::uint32_t n) {
    size_ += n;
    while (n != 0) {
      if (tail_ == nullptr || tail_at_ == gqueue_block::slots) grow();
      const std::uint32_t k = std::min(n, gqueue_block::slots - tail_at_);
      std::copy_n(gps, k, tail_->item + tail_at_);
      tail_at_ += k;
      gps += k;
      n -= k;
    }
  }

  // In front of all others: only what a P that goes away had in its ring, which would have run before them.
  void push_front(g* gp) {
    if (head_ == nullptr || head_at_ == 0) {
      gqueue_block* b = blocks_.take();
      b->next = head_;
      if (head_ == nullptr) {
        tail_ = b;
        tail_at_ = gqueue_block::slots;
      }
      head_ = b;
      head_at_ = gqueue_block::slots;
    }
    head_->item[--head_at_] = gp;
    ++size_;
  }

  // n at most size().
  void pop_front_n(g** out, std::uint32_t n) {
    size_ -= n;
    while (n != 0) {
      const std::uint32_t k = std::min(n, gqueue_block::slots - head_at_);
      std::copy_n(head_->item + head_at_, k, out);
      head_at_ += k;
      out += k;
      n -= k;
      if (head_at_ == gqueue_block::slots || (size_ == 0 && n == 0)) retire();
    }
  }

  g* pop_front() {
    if (size_ == 0) return nullptr;
    g* gp = head_->item[head_at_++];
    --size_;
    if (head_at_ == gqueue_block::slots || size_ == 0) retire();
    return gp;
  }

  // The first goroutine that only one M may run, or null; the others keep their order. O(size): for emergencies.
  g* take_bound() {
    g* found = nullptr;
    for (std::uint32_t i = size_; i != 0; --i) {
      g* gp = pop_front();
      if (found == nullptr && (gp->flags & g_bound) != 0) {
        found = gp;
      } else {
        push_back(gp);
      }
    }
    return found;
  }

  // Calls f with each that the blocks hold, the oldest first; size() does not come into it.
  template <class F>
  void for_each(F f) const {
    std::uint32_t at = head_at_;
    for (const gqueue_block* b = head_; b != nullptr; b = b->next, at = 0) {
      const std::uint32_t end = b == tail_ ? tail_at_ : gqueue_block::slots;
      for (; at < end; ++at) f(b->item[at]);
    }
  }

  // Gives the spare blocks back to the process. The queue must be empty.
  void drop() {
    if (size_ != 0) fatal("gqueue: dropped with goroutines in it");
    blocks_.drop();
  }

 private:
  void grow() {
    gqueue_block* b = blocks_.take();
    b->next = nullptr;
    if (tail_ != nullptr) {
      tail_->next = b;
    } else {
      head_ = b;
      head_at_ = 0;
    }
    tail_ = b;
    tail_at_ = 0;
  }

  // The first block is used up, or the last goroutine is gone.
  void retire() {
    gqueue_block* b = head_;
    head_ = b->next;
    head_at_ = 0;
    if (head_ == nullptr) tail_ = nullptr;
    blocks_.put(b);
  }

  gqueue_blocks blocks_;
  gqueue_block* head_ = nullptr;
  gqueue_block* tail_ = nullptr;
  std::uint32_t head_at_ = 0;
  std::uint32_t tail_at_ = 0;
  std::uint32_t size_ = 0;
};

// The global queue. Those who come back from outside the runtime and find no P go before all that has not begun, but not
// always: every second turn is the others'.
// Why: each keeps a thread until it has a P again, and may need it for a moment only, to end. Behind the others in one queue
// there were 159 threads for 300 tasks of 50 ms on two Ps.
class global_queue {
 public:
  bool empty() const { return back_.empty() && q_.empty(); }
  std::uint32_t size() const { return back_.size() + q_.size(); }
  bool returning() const { return !back_.empty(); }

  void push_back(g* gp) { q_.push_back(gp); }
  void push_back_n(g* const* gps, std::uint32_t n) { q_.push_back_n(gps, n); }
  void push_front(g* gp) { q_.push_front(gp); }
  void push_returning(g* gp) { back_.push_back(gp); }

  g* pop_returning() { return back_.pop_front(); }
  g* pop_front() {
    theirs_ = !theirs_;
    if (q_.empty() || (theirs_ && !back_.empty())) return back_.pop_front();
    return q_.pop_front();
  }
  // n at most size().
  void pop_front_n(g** out, std::uint32_t n) {
    const std::uint32_t k = std::min(n, q_.size());
    q_.pop_front_n(out, k);
    back_.pop_front_n(out + k, n - k);
  }
  g* take_bound() {
    g* gp = back_.pop_front();
    return gp != nullptr ? gp : q_.take_bound();
  }

  template <class F>
  void for_each(F f) const {
    back_.for_each(f);
    q_.for_each(f);
  }
  void drop() {
    back_.drop();
    q_.drop();
  }

 private:
  gqueue back_;
  gqueue q_;
  bool theirs_ = false;
};

// The dead gs that the Ps of a runtime share: last in, first out, in the same blocks. Under sched.gfree_lock.
class gstack {
 public:
  bool empty() const { return top_ == nullptr; }

  void push(g* gp) {
    if (top_ == nullptr || n_ == gqueue_block::slots) {
      gqueue_block* b = blocks_.take();
      b->next = top_;
      top_ = b;
      n_ = 0;
    }
    top_->item[n_++] = gp;
  }

  g* pop() {
    if (top_ == nullptr) return nullptr;
    g* gp = top_->item[--n_];
    if (n_ == 0) {
      gqueue_block* b = top_;
      top_ = b->next;
      n_ = gqueue_block::slots;  // those below are full
      blocks_.put(b);
    }
    return gp;
  }

  template <class F>
  void for_each(F f) const {
    std::uint32_t n = n_;
    for (const gqueue_block* b = top_; b != nullptr; b = b->next, n = gqueue_block::slots) {
      for (std::uint32_t i = 0; i < n; ++i) f(b->item[i]);
    }
  }

  // As gqueue::drop.
  void drop() {
    if (top_ != nullptr) fatal("gstack: dropped with goroutines in it");
    blocks_.drop();
  }

 private:
  gqueue_blocks blocks_;
  gqueue_block* top_ = nullptr;
  std::uint32_t n_ = 0;
};

}  // namespace weft::rt
