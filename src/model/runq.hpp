// runq: the runnable goroutines of one P. One producer, many consumers.
//
// Who    owner: the M that holds the P; alone writes tail_, the slots, and runnext from null. Anyone else is
//        a thief: it may move head_ and take runnext away. The owner's own take competes like a thief.
// State  runnables are slots [head_, tail_) mod N, then runnext, which goes before all of them. Both
//        indices run free in 32 bits, so tail_ - head_ is the length; the owner never sees more than N.
//        A thief can pair an old head_ with a new tail_; more than N/2 betrays that: it reads again.
// Order  runq.publish   put: slot, then tail_ (release)      / take, grab: tail_ (acquire), then slot
//        runq.consume   take, grab: slots, then head_ CAS (release) / put: head_ (acquire), then slot
//        runq.runnext   put: the goroutine, then runnext_ (release) / take, grab: runnext_ (acquire CAS)
//                       put: the ring, then take: runnext_ (release CAS) / empty: runnext_ (acquire), then tail_ again
// Why    slots are relaxed atomics: a thief copies before its CAS, so it may read a slot that is being
//        reused. The CAS then fails and the copy is dropped, but the read did happen.
//        runnext: only the owner makes it non-null, so from null it needs no CAS.
// Solo   with one P in the runtime there is no thief: the owner's takes and kicks need no CAS then (5 ns each).
//        Hand-overs of the P from M to M are ordered by the M's note.
// Token  owner_ is plain, and changes with the P: two owners at a time are a data race that a detector sees, or
//        a fatal error, long before they have lost a goroutine.
// Never  touch *gp before the CAS has won: until then it belongs to someone else.
// Checked by test/model/runq_model.cpp, exhaustively, in rings of 2 and 4; test/unit/model/runq_test.cpp,
//        test/conformance/runq_test.cpp.
#pragma once
#include <cstdint>

#include "base/atomic.hpp"
#include "base/check.hpp"
#include "base/noise.hpp"
#include "base/sizes.hpp"
#include "os/sys.hpp"

namespace weft::rt {

template <class T, std::uint32_t N>
class runq {
  static_assert((N & (N - 1)) == 0 && N >= 2);

 public:
  static constexpr std::uint32_t capacity = N;

  // What leaves a full ring: its older half, and the goroutine that found it full, in queue order.
  struct spill {
    T* item[N / 2 + 1];
    std::uint32_t n = 0;
  };

  // The queue has an owner from here on; it must have none.
  void adopt(const void* owner) {
    if (owner_ != nullptr) [[unlikely]]
      fatal("runq: a second owner");
    owner_ = owner;
  }
  // `owner` gives it up.
  void disown(const void* owner) {
    if (owner_ != owner) [[unlikely]]
      fatal("runq: given up by another than its owner");
    owner_ = nullptr;
  }
  const void* owner() const { return owner_; }

  // Owner. `next`: gp becomes runnext and the old runnext goes to the tail instead. False: the ring is full and
  // nothing has changed, but for gp being runnext now; the caller goes on with put_or_spill and what `gp` is then.
  [[nodiscard]] bool put(T*& gp, bool& next) {
    if (next) {
      T* old = runnext_.load(relaxed);
      if (old == nullptr || solo_) {
        runnext_.store(gp, release);  // order: runq.runnext
      } else {
        old = runnext_.exchange(gp, acq_rel);  // order: runq.runnext
      }
      if (old == nullptr) return true;
      noise(noise_at::put_kicked);
      gp = old;
      next = false;
    }
    const std::uint32_t h = head_.load(acquire);  // order: runq.consume
    const std::uint32_t t = tail_.load(relaxed);
    if (t - h >= N) [[unlikely]]
      return false;
    slot_[t % N].store(gp, relaxed);
    noise(noise_at::put_slot);
    tail_.store(t + 1, release);  // order: runq.publish
    return true;
  }

  // Owner. The same for a ring that was full. True: `out` has what must go to the global queue.
  [[nodiscard]] bool put_or_spill(T* gp, bool next, spill& out) {
    while (!put(gp, next)) {
      const std::uint32_t h = head_.load(acquire);  // order: runq.consume
      const std::uint32_t t = tail_.load(relaxed);
      if (t - h == N && spill_half(h, gp, out)) return true;
      // A thief made room meanwhile.
    }
    return false;
  }

  // Owner. Appends as many of the n goroutines as there is room for; returns how many.
  [[nodiscard]] std::uint32_t put_batch(T* const* gps, std::uint32_t n) {
    const std::uint32_t h = head_.load(acquire);  // order: runq.consume
    const std::uint32_t t = tail_.load(relaxed);
    const std::uint32_t room = N - (t - h);
    if (n > room) n = room;
    for (std::uint32_t i = 0; i < n; ++i) slot_[(t + i) % N].store(gps[i], relaxed);
    tail_.store(t + n, release);  // order: runq.publish
    return n;
  }

  // Owner. runnext, or null.
  [[nodiscard]] T* take_next() {
    T* next = runnext_.load(relaxed);
    if (solo_) {
      if (next != nullptr) runnext_.store(nullptr, relaxed);
      return next;
    }
    // A failed CAS means that a thief has it: only thieves take from the owner, so there is no second try.
    // Released for empty(): who sees that runnext is gone sees that what it kicked out is in the ring.
    // order: runq.runnext
    if (next != nullptr && runnext_.compare_exchange_strong(next, nullptr, acq_rel, relaxed)) return next;
    return nullptr;
  }

  // Owner. The oldest of the ring, or null. `behind` is how many it leaves there.
  [[nodiscard]] T* take(std::uint32_t& behind) {
    for (;;) {
      std::uint32_t h = head_.load(acquire);  // order: runq.consume
      const std::uint32_t t = tail_.load(relaxed);
      if (t == h) return nullptr;
      T* gp = slot_[h % N].load(relaxed);
      noise(noise_at::taken_slot);
      behind = t - h - 1;
      if (solo_) {
        head_.store(h + 1, release);  // order: runq.consume
        return gp;
      }
      // order: runq.consume
      if (head_.compare_exchange_strong(h, h + 1, release, relaxed)) [[likely]]
        return gp;
    }
  }
  [[nodiscard]] T* take() {
    std::uint32_t behind;
    return take(behind);
  }

  // Thief. Takes half of this ring, rounded up, into the thief's own empty-enough ring behind its tail, all but
  // the last, which it returns to run now. `stolen` counts them all. Null: nothing to take.
  [[nodiscard]] T* steal_into(runq& mine, std::uint32_t& stolen) {
    for (;;) {
      std::uint32_t h = head_.load(acquire);        // order: runq.consume
      const std::uint32_t t = tail_.load(acquire);  // order: runq.publish
      const std::uint32_t size = t - h;
      const std::uint32_t n = size - size / 2;
      if (n == 0) return nullptr;
      if (n > N / 2) {  // an old head_ paired with a new tail_
        os::pause();
        continue;
      }
      const std::uint32_t mt = mine.tail_.load(relaxed);
      for (std::uint32_t i = 0; i < n; ++i) {
        mine.slot_[(mt + i) % N].store(slot_[(h + i) % N].load(relaxed), relaxed);
      }
      noise(noise_at::stolen_slots);
      // order: runq.consume
      if (!head_.compare_exchange_strong(h, h + n, acq_rel, relaxed)) continue;
      noise(noise_at::stolen_unpublished);
      stolen = n;
      T* last = mine.slot_[(mt + n - 1) % N].load(relaxed);
      if (n > 1) {
        const std::uint32_t mh = mine.head_.load(acquire);  // order: runq.consume
        if (mt - mh + n > N) [[unlikely]]
          fatal("runq: steal overflow");
        mine.tail_.store(mt + n - 1, release);  // order: runq.publish
      }
      return last;
    }
  }

  // Thief. The owner's runnext, if it still is `seen`; or null.
  [[nodiscard]] T* steal_next(T* seen) {
    T* next = seen;
    // order: runq.runnext
    if (next != nullptr && runnext_.compare_exchange_strong(next, nullptr, acquire, relaxed)) return next;
    return nullptr;
  }
  [[nodiscard]] T* steal_next() { return steal_next(peek_next()); }
  // Anyone; a hint. Changes whenever somebody takes from the ring.
  std::uint32_t taken() const { return head_.load(relaxed); }
  T* peek_next() const { return runnext_.load(relaxed); }
  bool has_next() const { return peek_next() != nullptr; }

  // Anyone. Never true when the owner has put one goroutine into the ring and taken another from runnext: the first
  // moves tail_, so an unchanged tail_ around the look at runnext makes the look at head_ and tail_ a consistent one.
  // (While put is at it, with runnext stolen at once, it may be true: the submitter wakes somebody after its put.)
  [[nodiscard]] bool empty() const {
    for (;;) {
      const std::uint32_t h = head_.load(acquire);
      const std::uint32_t t = tail_.load(acquire);
      const T* next = runnext_.load(acquire);  // order: runq.runnext
      if (t == tail_.load(acquire)) return h == t && next == nullptr;
      os::pause();
    }
  }

  // Anyone; a hint. runnext is not counted, as in Go's schedtrace.
  std::uint32_t length() const {
    for (;;) {
      const std::uint32_t h = head_.load(acquire);
      const std::uint32_t t = tail_.load(acquire);
      if (t - h <= N) return t - h;
      os::pause();
    }
  }

  // Owner; a hint for prefetching: what stands `ahead` places behind the oldest, which may be anything by now.
  T* peek(std::uint32_t ahead) const { return slot_[(head_.load(relaxed) + ahead) % N].load(relaxed); }

  // While nobody else touches the queue: calls f with each goroutine, runnext last. False: the indices are not those
  // of a ring.
  template <class F>
  [[nodiscard]] bool for_each_at_rest(F f) const {
    const std::uint32_t h = head_.load(acquire);
    const std::uint32_t t = tail_.load(acquire);
    if (t - h > N) return false;
    for (std::uint32_t i = h; i != t; ++i) f(slot_[i % N].load(relaxed));
    if (T* next = runnext_.load(acquire)) f(next);
    return true;
  }

  // Before anybody else sees the queue.
  void set_solo(bool solo) { solo_ = solo; }

  // Sets both indices; only on an empty queue that nobody else sees. For tests of wrap-around.
  void reset_indices(std::uint32_t at) {
    head_.store(at, relaxed);
    tail_.store(at, relaxed);
  }

 private:
  bool spill_half(std::uint32_t h, T* gp, spill& out) {
    constexpr std::uint32_t n = N / 2;
    for (std::uint32_t i = 0; i < n; ++i) out.item[i] = slot_[(h + i) % N].load(relaxed);
    noise(noise_at::taken_slot);
    // order: runq.consume
    if (!head_.compare_exchange_strong(h, h + n, release, relaxed)) return false;
    out.item[n] = gp;
    out.n = n + 1;
    return true;
  }

  bool solo_ = false;
  const void* owner_ = nullptr;  // token: see above
  atomic<T*> runnext_{nullptr};
  atomic<std::uint32_t> head_{sizes::runq_start};
  atomic<std::uint32_t> tail_{sizes::runq_start};
  atomic<T*> slot_[N] = {};
};

}  // namespace weft::rt
