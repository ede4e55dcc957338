// What the models of channels and select share.
#pragma once
#include <optional>

#include "chan/transfer.hpp"
#include "model/waits.hpp"
#include "weft/chan.hpp"

namespace weft::check {

template <class C>
rt::hchan* core_of(const C& c) {
  return detail::chan_access::of(c);
}

// Whether somebody waits to send, or to receive, and can be taken: under the lock, which a park gives back when it is
// complete.
template <class C>
bool sender_waits(const C& c) {
  const rt::mutex_guard guard(rt::lock_of(core_of(c)));
  return rt::waitq::send(core_of(c)).first() != nullptr;
}
template <class C>
bool receiver_waits(const C& c) {
  const rt::mutex_guard guard(rt::lock_of(core_of(c)));
  return rt::waitq::recv(core_of(c)).first() != nullptr;
}

// One that waits in c already, without a thread that sleeps: who takes it and how is all there is to see.
class parked_in {
 public:
  template <class C>
  parked_in(const C& c, bool sends, void* value) : gp_(rt::proxy_get()) {
    rt::hchan* h = core_of(c);
    const rt::mutex_guard guard(rt::lock_of(h));
    sg_.gp = gp_;
    sg_.addr = h;
    sg_.kind = rt::wait_kind::chan;
    sg_.elem = value;
    sg_.put = nullptr;
    sg_.copy = nullptr;
    sg_.sends = sends;
    (sends ? rt::waitq::send(h) : rt::waitq::recv(h)).push_back(&sg_);
    gp_->waiting = &sg_;
    ++gp_->wait_seq;
    gp_->status.set(rt::status::running, rt::status::waiting);
  }
  parked_in(const parked_in&) = delete;
  parked_in& operator=(const parked_in&) = delete;

  // As a cancellation. True: it was the taker.
  bool take(rt::wait_result why) const { return rt::take_waiter(nullptr, gp_, 0, gp_->wait_seq, why); }
  // The channel is the waiter's to drop.
  bool orphaned() const { return sg_.orphaned; }
  rt::hchan* chan() const { return sg_.chan(); }
  // How its wait ended, after whoever has ended it.
  rt::wait_result how() const {
    expect(gp_->status.get() == rt::status::runnable, "it was readied");
    return sg_.result;
  }

 private:
  rt::g* gp_;
  rt::chan_sudog sg_;
};

// The same of a select of two cases that receive or send numbers.
class parked_select {
 public:
  struct at {
    rt::hchan* c;
    bool sends;
  };
  parked_select(const at (&cases)[2]) : gp_(rt::proxy_get()) {  // NOLINT(google-explicit-constructor)
    for (const at& one : cases) rt::lock_of(one.c).lock();
    sel_.gp = gp_;
    sel_.addr = nullptr;
    sel_.kind = rt::wait_kind::select;
    sel_.cases = sg_;
    for (const at& one : cases) {
      rt::chan_sudog& sg = sg_[sel_.n];
      sg.gp = gp_;
      sg.addr = one.c;
      sg.kind = rt::wait_kind::select;
      sg.elem = &value_[sel_.n];
      sg.put = nullptr;
      sg.copy = nullptr;
      sg.sends = one.sends;
      sg.index = sel_.n++;
      sg.select = &sel_;
      (one.sends ? rt::waitq::send(one.c) : rt::waitq::recv(one.c)).push_back(&sg);
    }
    gp_->waiting = &sel_;
    ++gp_->wait_seq;
    gp_->status.set(rt::status::running, rt::status::waiting);
    for (const at& one : cases) rt::lock_of(one.c).unlock();
  }
  parked_select(const parked_select&) = delete;
  parked_select& operator=(const parked_select&) = delete;

  // As a cancellation. True: it was the taker.
  bool take(rt::wait_result why) const { return rt::take_waiter(nullptr, gp_, 0, gp_->wait_seq, why); }
  // After whoever has ended its wait.
  rt::wait_result how() const {
    expect(gp_->status.get() == rt::status::runnable, "it was readied");
    return sel_.result;
  }
  std::size_t won() const {
    static_cast<void>(how());
    expect(sel_.won != nullptr, "a case has won");
    return sel_.won->index;
  }
  int value(std::size_t i) const { return value_[i]; }
  // As the select does when it runs again.
  void leave() {
    for (rt::chan_sudog& sg : sg_) {
      if (&sg != sel_.won) rt::leave_queue(&sg);
      expect(!sg.queued, "it is in no queue");
      if (sg.orphaned) detail::chan_drop(sg.chan());
    }
  }

 private:
  rt::g* gp_;
  rt::select_wait sel_;
  rt::chan_sudog sg_[2];
  int value_[2] = {};
};

// Too large for the inline fast paths, and plain.
struct parcel {
  int value = 0;
  int padding[9] = {};
};
static_assert(!detail::has_fast_path<parcel> && detail::is_plain<parcel>);

// Moved, not copied: whoever has it has what it points to.
struct box {
  int* payload;
  explicit box(int* p) : payload(p) {}
  box(box&& other) noexcept : payload(other.payload) { other.payload = nullptr; }
  box& operator=(box&& other) noexcept {
    payload = other.payload;
    other.payload = nullptr;
    return *this;
  }
  ~box() = default;
};

// Its copies throw as long as *fragile says so, and each that throws is the last.
class brittle {
 public:
  struct broken {};
  explicit brittle(int v, bool* fragile = nullptr) : value_(v), fragile_(fragile) {}
  brittle(const brittle& other) : value_(other.unbroken()), fragile_(other.fragile_) {}
  brittle& operator=(const brittle&) = delete;
  ~brittle() = default;
  int value() const { return value_; }

 private:
  // Thrown before anything is in its place.
  int unbroken() const {
    if (fragile_ == nullptr || !*fragile_) return value_;
    *fragile_ = false;
    throw broken();
  }
  int value_;
  bool* fragile_;
};
static_assert(!detail::moves_safely<brittle>);

}  // namespace weft::check
