// timers: when is who to be woken, or what to be called. The timers of one P: a 4-ary heap under a lock of its own.
//
// Who    inserts: the holder of the P, and who starts a timer from outside. takes out what is due: the P's holder; a thief
//        in its last pass; the M that slept until then. removes: whoever has armed the timer.
// State  a timer is in the heap that `home` names, at `index`, or in none: `home` is null. So it can be removed at once
//        from wherever it is, nothing is left behind, and a timer may live in a frame.
//        min_when_ is the first one's time, never for none: written under the lock, read by anybody.
// Order  timers.gone   pop: what is to be done is copied out, then home = null (release) / remove: home (acquire) is null:
//        then nobody touches the timer any more, and its frame may go.
//        timers.watch  who inserts: min_when_, barrier, who watches? / who is about to sleep: says until when, barrier,
//        min_when_ (sched/timers.hpp).
//        timers.firing  who pops says so, then min_when_ (release) (sched/timers.hpp).
// Never  touch a timer after it was popped. Take another lock with this one held: it is a leaf, so that the commit of a
//        park may insert with an object's lock held, and who fires holds none when it takes an object's.
// Why    4-ary, and the times in the array: a removal looks at one line a level, and at no timer but those that move
//        (LIMITS 10). A wheel expires in batches worse and costs a page of slots for each P.
//        Two heaps are locked together only when all of one goes to another, the world being stopped.
// Checked by test/model/timers_model.cpp; test/unit/model/timers_test.cpp; test/fuzz/timers.cpp against a sorted list.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/sizes.hpp"
#include "os/sys.hpp"

namespace weft::rt {

inline constexpr std::int64_t no_timer = INT64_MAX;

// now + d; what no clock will ever show is `far_future`, which is a time all the same: whoever waits for it is not without one.
inline constexpr std::int64_t far_future = no_timer - 1;
constexpr std::int64_t later(std::int64_t now, std::int64_t d) {
  if (d <= 0) return now;
  return d < far_future - now ? now + d : far_future;
}

// Timer has  atomic<void*> home;  std::uint32_t index;  std::uint64_t order;  and is all the heap knows of it.
template <class Timer, class Lock>
class timer_heap {
 public:
  constexpr timer_heap() = default;
  timer_heap(const timer_heap&) = delete;
  timer_heap& operator=(const timer_heap&) = delete;

  // The first one's time, a moment ago.
  std::int64_t min_when() const { return min_when_.load(relaxed); }
  std::uint32_t size_hint() const { return n_.load(relaxed); }

  // Returns whether it is the first one now. No memory for the heap to grow: fatal.
  bool insert(Timer* t, std::int64_t when) {
    guard g(lock_);
    if (t->home.load(relaxed) != nullptr) [[unlikely]]
      fatal("timers: a timer is armed twice");
    put(t, when);
    return t->index == 0;
  }

  // False: it is in no heap. Whatever is to be done has been copied out then, and the timer is the caller's alone.
  static bool remove(Timer* t) {
    for (;;) {
      auto* heap = static_cast<timer_heap*>(t->home.load(acquire));  // order: timers.gone
      if (heap == nullptr) return false;
      guard g(heap->lock_);
      // It may have been popped, or moved with the whole heap, before the lock was ours.
      if (t->home.load(relaxed) != heap) continue;
      heap->take_out(t->index);
      t->home.store(nullptr, relaxed);
      return true;
    }
  }

  // Those due at `now`, the first first, `most` at most: copy(t, when) copies what is to be done. Returns how many.
  template <class Copy>
  std::uint32_t pop_due(std::int64_t now, std::uint32_t most, Copy copy) {
    guard g(lock_);
    std::uint32_t popped = 0;
    while (popped < most && size() != 0 && entries_[0].when <= now) {
      Timer* t = entries_[0].t;
      copy(t, entries_[0].when);
      ++popped;
      take_out(0);
      t->home.store(nullptr, release);  // order: timers.gone
    }
    return popped;
  }

  // The first one, whatever its time. False: there is none.
  template <class Copy>
  bool pop_any(Copy copy) {
    guard g(lock_);
    if (size() == 0) return false;
    Timer* t = entries_[0].t;
    copy(t, entries_[0].when);
    take_out(0);
    t->home.store(nullptr, release);  // order: timers.gone
    return true;
  }

  // ---- for an exploration, which fires those of one time in every order; linear
  // Calls f(t) for each that is due.
  template <class F>
  void for_each_due(std::int64_t now, F f) {
    guard g(lock_);
    for (std::uint32_t i = 0, n = size(); i < n; ++i) {
      if (entries_[i].when <= now) f(entries_[i].t);
    }
  }
  // This one, which is in the heap.
  template <class Copy>
  void pop_this(Timer* t, Copy copy) {
    guard g(lock_);
    copy(t, entries_[t->index].when);
    take_out(t->index);
    t->home.store(nullptr, release);  // order: timers.gone
  }

  // All of them, for a P that goes. Nobody else moves heaps at the time.
  void move_to(timer_heap& to) {
    guard mine(lock_);
    guard other(to.lock_);
    // Each is in one of the two at any moment: whoever removes it waits for a lock, and looks again.
    for (std::uint32_t i = 0, n = size(); i < n; ++i) to.put(entries_[i].t, entries_[i].when);
    n_.store(0, relaxed);
    publish();
  }

  // The heap's memory. It is empty, and stays a heap: somebody may still be about to lock it.
  void give_back_memory() {
    guard g(lock_);
    if (size() != 0) fatal("timers: a heap that is given up has timers in it", size());
    if (entries_ != nullptr) os::unmap(entries_, room_ * sizeof(entry));
    entries_ = nullptr;
    room_ = 0;
  }

  // Null, or what does not hold. At rest.
  const char* broken() {
    guard g(lock_);
    for (std::uint32_t i = 0, n = size(); i < n; ++i) {
      const entry& e = entries_[i];
      if (e.t->home.load(relaxed) != this) return "a timer in it thinks it is elsewhere";
      if (e.t->index != i) return "a timer in it thinks it has another place";
      if (i != 0 && entries_[parent(i)].when > e.when) return "its order is broken";
    }
    if (min_when() != (size() == 0 ? no_timer : entries_[0].when)) return "its first time is not what it says";
    return nullptr;
  }

 private:
  struct entry {
    std::int64_t when;
    Timer* t;
  };
  class guard {
   public:
    explicit guard(Lock& l) : l_(l) { l_.lock(); }
    ~guard() { l_.unlock(); }
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;

   private:
    Lock& l_;
  };
  static constexpr std::uint32_t arity = 4;
  static constexpr std::uint32_t parent(std::uint32_t i) { return (i - 1) / arity; }

  std::uint32_t size() const { return n_.load(relaxed); }
  void publish() {
    min_when_.store(size() == 0 ? no_timer : entries_[0].when, release);  // order: timers.firing
  }
  void place(std::uint32_t i, entry e) {
    entries_[i] = e;
    e.t->index = i;
  }

  void put(Timer* t, std::int64_t when) {
    const std::uint32_t n = size();
    if (n == room_) [[unlikely]]
      grow();
    n_.store(n + 1, relaxed);
    t->order = ++inserted_;
    t->home.store(this, relaxed);
    sift_up(n, {when, t});
    if (t->index == 0) publish();
  }

  void take_out(std::uint32_t i) {
    const std::uint32_t n = size() - 1;
    n_.store(n, relaxed);
    const entry last = entries_[n];
    if (i != n) {
      if (i != 0 && entries_[parent(i)].when > last.when) {
        sift_up(i, last);
      } else {
        sift_down(i, last);
      }
    }
    if (i == 0) publish();
  }

  void sift_up(std::uint32_t i, entry e) {
    while (i != 0 && entries_[parent(i)].when > e.when) {
      place(i, entries_[parent(i)]);
      i = parent(i);
    }
    place(i, e);
  }

  void sift_down(std::uint32_t i, entry e) {
    const std::uint32_t n = size();
    for (;;) {
      const std::uint32_t first = i * arity + 1;
      if (first >= n) break;
      std::uint32_t least = first;
      const std::uint32_t end = n - first < arity ? n : first + arity;
      for (std::uint32_t k = first + 1; k < end; ++k) {
        if (entries_[k].when < entries_[least].when) least = k;
      }
      if (entries_[least].when >= e.when) break;
      place(i, entries_[least]);
      i = least;
    }
    place(i, e);
  }

  // Pages of its own: malloc may be the program's, and must not run in here.
  [[gnu::noinline]] void grow() {
    const std::uint32_t room = room_ == 0 ? sizes::timer_room : 2 * room_;
    int err = 0;
    auto* larger = static_cast<entry*>(os::reserve(room * sizeof(entry), &err));
    if (larger == nullptr || room < room_)
      fatal("out of memory: no room for another timer; there are, errno", room_, err);
    if (room_ != 0) {
      std::memcpy(static_cast<void*>(larger), entries_, room_ * sizeof(entry));
      os::unmap(entries_, room_ * sizeof(entry));
    }
    entries_ = larger;
    room_ = room;
  }

  Lock lock_;
  atomic<std::uint32_t> n_{0};
  atomic<std::int64_t> min_when_{no_timer};
  entry* entries_ = nullptr;
  std::uint32_t room_ = 0;
  std::uint64_t inserted_ = 0;  // so that an exploration can tell which of several of one time came first
};

}  // namespace weft::rt
