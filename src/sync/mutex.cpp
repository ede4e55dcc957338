// mutex: Go's sync.Mutex (GO-BEHAVIOUR C4) in 8 bytes. The low half of the word is Go's state, the high half
// names the holder for reports. The waiters are in the semaphore table, by address.
//
// State  locked 1 | woken 2 | starving 4 | waiters << 3.
//        normal    an unlock wakes the oldest waiter, which competes with arrivals; woken: one is on its way,
//                  wake no other. starving: an unlock hands the mutex to the oldest waiter, locked as it is.
// Who    a word with waiters changes its waiter count only under the bucket's lock, where the queue is
//        changed too: the count and the queue agree. (Go counts first and queues later, and lends itself a
//        semaphore value for the time between; with 8 bytes there is no room for one, and no need.)
// Order  mutex.free   unlock: CAS (acq_rel) / lock: CAS (acq_rel); handed over: status.park
// Never  touch the word after the CAS that frees the mutex: its next holder may destroy it. With waiters the
//        whole unlock is done under the bucket's lock and ends with that CAS; only the bucket, the sudog and
//        its goroutine are touched after it, and those live until the waiter is readied.
// Checked by test/model/mutex_model.cpp, exhaustively, on plain threads; test/unit/sync/mutex_test.cpp,
//        test/conformance/mutex_test.cpp, test/stress.
#include "weft/mutex.hpp"

#include "base/noise.hpp"
#include "base/sizes.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/exploration.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sync/word.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft::rt {
namespace {

constexpr std::uint64_t locked = 1;
constexpr std::uint64_t woken = 2;
constexpr std::uint64_t starving = 4;
constexpr std::uint64_t one_waiter = 8;

std::uint64_t state(std::uint64_t word) { return word & 0xffffffff; }
std::uint64_t waiters(std::uint64_t word) { return state(word) >> 3; }

// Spinning helps only when the holder can be running on another CPU now, and when nothing else could run here.
bool can_spin(const g* self, std::uint32_t round) {
  if (round >= sizes::mutex_spins) return false;
  if (self == nullptr) return true;
  const sched_t* rt = self->rt;
  if (procs(rt) <= rt->npidle.load(relaxed) + rt->nmspinning.load(relaxed) + 1) return false;
  return self->m->p->q.empty();
}

// One that was woken, and finds that somebody else was quicker, gives way rather than park again, as long as there are others
// on its P, one of which may be the holder: a turn costs a yield, parking and being woken five times that. Where turns are short
// it may be passed over (give_way), and has fewer. In the meantime the woken bit is ours, and no unlock wakes anybody else.
bool can_give_way(const g* self, std::uint32_t turn) {
  return turn < sizes::mutex_turns && self != nullptr && self->rt->explore == nullptr && !self->m->p->q.empty();
}

// How often it has given way since it was woken. The clock costs as much as a turn, and a turn is as long as the others on the
// P make it: it is looked at after the first, and from then on so often that short turns cost a look in 4 and long ones
// cannot hide that the waiter starves.
struct turns {
  std::uint32_t n = 0;
  std::uint32_t next_look = 1;
  std::int64_t last = 0;
  std::uint32_t since_last = 0;
  bool are_short = false;

  bool look_at_clock() {
    ++since_last;
    return ++n >= next_look;
  }
  std::int64_t age(std::int64_t now, std::int64_t since) {
    are_short = n != 0 && now - last < sizes::starvation_ns / 256 * since_last;
    next_look = n + (are_short ? 4 : 1);
    last = now;
    since_last = 0;
    return now - since;
  }
};

// A timeout has taken sg off the queue. The last waiter takes starvation with it.
void waiter_gone(sudog* sg, glist&) {
  word64 word(static_cast<std::uint64_t*>(const_cast<void*>(sg->addr)));
  for (std::uint64_t old = word.load();;) {
    std::uint64_t now = old - one_waiter;
    if (waiters(now) == 0) now &= ~starving;
    if (word.cas(old, now)) return;
  }
}

// Time is up. It is taken all the same if it is free just now; else the wake-up that was meant for us goes to whoever the
// holder's unlock finds.
bool last_look(word64 word, std::uint64_t holder, bool awoken) {
  for (std::uint64_t old = word.load();;) {
    const bool is_free = (old & (locked | starving)) == 0;
    if (!is_free && !awoken) return false;
    const std::uint64_t now = is_free ? state(old) | locked | holder : old;
    if (word.cas(old, now & ~(awoken ? woken : 0))) return is_free;  // order: mutex.free
  }
}

// Until `deadline` at most, if it is Timed: else wait_result::timed_out.
template <bool Timed>
wait_result lock(word64 word, std::uint64_t holder, [[maybe_unused]] std::int64_t deadline = no_timer) {
  caller me;
  sudog sg;
  sg.addr = word.addr();
  sg.on_taken = waiter_gone;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  bool awoken = false;  // the woken bit is ours: we were woken, or set it while spinning
  bool hungry = false;  // waited for longer than starvation_ns
  std::uint32_t round = 0;
  turns given;
  for (std::uint64_t old = word.load();;) {
    if ((old & (locked | starving)) == 0) {
      // Free, and nobody has a claim on it.
      const std::uint64_t now = (state(old) | locked) & ~(awoken ? woken : 0);
      if (word.cas(old, now | holder)) return wait_result::handed;  // order: mutex.free
      continue;
    }
    if ((old & (locked | starving)) == locked && can_spin(me.self(), round)) {
      // With the woken bit set, the unlock we are waiting for wakes nobody into our way.
      if (!awoken && (old & woken) == 0 && waiters(old) != 0 && word.cas(old, old | woken)) awoken = true;
      for (std::uint32_t i = 0; i < sizes::mutex_pauses; ++i) os::pause();
      ++round;
      old = word.load();
      continue;
    }
    if (awoken && sg.since != 0 && !hungry && can_give_way(me.self(), given.n)) {
      if (given.are_short) {
        give_way(me.self(), sg);
      } else {
        yield_inside(me.self());
      }
      if (given.look_at_clock()) hungry = given.age(now_for(me.self()), sg.since) > sizes::starvation_ns;
      old = word.load();
      continue;
    }
    noise(noise_at::mutex_slow);
    if constexpr (Timed) {
      if (me.now() >= deadline) return last_look(word, holder, awoken) ? wait_result::handed : wait_result::timed_out;
    }
    b.lock.lock();
    for (old = word.load(); (old & (locked | starving)) != 0;) {
      std::uint64_t now = old + one_waiter;
      if (hungry && (old & locked) != 0) now |= starving;
      if (awoken) now &= ~woken;
      if (word.cas(old, now)) break;
    }
    if ((old & (locked | starving)) == 0) {
      b.lock.unlock();
      continue;
    }
    awoken = false;
    sg.gp = me.waiter();
    sg.result = wait_result::pending;
    const bool waited_before = sg.since != 0;
    if (!waited_before) sg.since = now_for(me.self());
    if (waited_before) {
      b.push_front(&sg, me.ticket());
    } else {
      b.push_back(&sg, me.ticket());
    }
    if constexpr (Timed) {
      me.wait_until(b, sg, wait_reason::mutex_lock, false, deadline);
    } else {
      me.wait(b, sg, wait_reason::mutex_lock);
    }
    if (sg.result != wait_result::woken) {
      // Handed over, locked as it is: only the holder's name is missing. Or a timeout.
      if (sg.result == wait_result::handed) {
        for (old = word.load(); !word.cas(old, state(old) | holder);) {
        }
      }
      return sg.result;
    }
    awoken = true;
    round = 0;
    given = {};
    hungry = hungry || given.age(now_for(me.self()), sg.since) > sizes::starvation_ns;
    old = word.load();
  }
}

// False: it was not locked.
bool unlock(word64 word) {
  std::uint64_t old = word.load();
  // Without waiters it is one CAS, whatever the holder's name; also when one of them is awake and comes for it.
  while (waiters(old) == 0 || (old & locked) == 0 || (old & (woken | starving)) == woken) {
    if ((old & locked) == 0) return false;
    if (word.cas(old, state(old) & ~locked)) return true;  // order: mutex.free
  }
  caller me;
  sema_bucket& b = the_process.semas.bucket(word.addr());
  g* next = nullptr;
  bool handed = false;
  {
    mutex_guard guard(b.lock);
    for (old = word.load();;) {
      if ((old & locked) == 0) return false;  // somebody else has unlocked it meanwhile
      sudog* sg = waiters(old) != 0 ? b.front(word.addr()) : nullptr;
      std::uint64_t now = state(old) & ~locked;
      handed = false;
      if (sg != nullptr && (old & starving) != 0) {
        // It stays locked, for sg. Starvation ends with the last waiter, or with one that has not waited long.
        handed = true;
        now = state(old) - one_waiter;
        if (waiters(now) == 0 || now_for(me.self()) - sg->since < sizes::starvation_ns) now &= ~starving;
      } else if (sg != nullptr && (old & woken) == 0) {
        now = (now - one_waiter) | woken;
      } else {
        sg = nullptr;  // none waits, or one is on its way
      }
      if (!word.cas(old, now)) continue;  // order: mutex.free
      if (sg != nullptr) {
        b.remove(sg);
        sg->result = handed ? wait_result::handed : wait_result::woken;
        next = sg->gp;
      }
      break;
    }
  }
  if (next == nullptr) return true;
  ready(me.self(), next);
  // The new owner runs at once on this P, in what is left of our slice: otherwise a hand-over would cost it the
  // queue's length (Go 33747).
  if (handed && me.self() != nullptr) yield_inside(me.self());
  return true;
}

bool try_lock(word64 word, std::uint64_t holder) {
  for (std::uint64_t old = word.load(); (old & (locked | starving)) == 0;) {
    if (word.cas(old, state(old) | locked | holder)) return true;  // order: mutex.free
  }
  return false;
}

// In an exploration: a scheduling point before each, and one after unlock, which may let others go on.
[[gnu::noinline, gnu::cold]] void explored_lock(word64 word, std::uint64_t holder) {
  step(op::lock, word.addr());
  if (!try_lock(word, holder)) lock<false>(word, holder);
  stepped(op::lock, word.addr());
}

[[gnu::noinline]] bool lock_for(word64 word, std::uint64_t holder, std::int64_t ns) {
  if (try_lock(word, holder)) return true;
  if (ns <= 0) return false;
  return lock<true>(word, holder, later(now_for(getg()), ns)) == wait_result::handed;
}

[[gnu::noinline, gnu::cold]] bool explored_lock_for(word64 word, std::uint64_t holder, std::int64_t ns) {
  step(op::lock, word.addr());
  const bool taken = lock_for(word, holder, ns);
  stepped(op::lock, word.addr(), taken);
  return taken;
}

[[gnu::noinline, gnu::cold]] bool explored_try_lock(word64 word, std::uint64_t holder) {
  step(op::try_lock, word.addr());
  const bool taken = try_lock(word, holder);
  stepped(op::try_lock, word.addr(), taken);
  return taken;
}

[[gnu::noinline, gnu::cold]] void explored_unlock(word64 word) {
  step(op::unlock, word.addr());
  if (!unlock(word)) throw v0::unlock_of_unlocked_mutex();
  stepped(op::unlock, word.addr());
}

}  // namespace
}  // namespace weft::rt

namespace weft {
inline namespace v0 {
namespace detail {

void mutex_lock(std::uint64_t* word) {
  const std::uint64_t holder = mutex_holder();
  if (door_open()) [[unlikely]]
    return rt::explored_lock(rt::word64(word), holder);
  if (!rt::try_lock(rt::word64(word), holder)) rt::lock<false>(rt::word64(word), holder);
}

bool mutex_try_lock_for(std::uint64_t* word, std::int64_t ns) {
  const std::uint64_t holder = mutex_holder();
  if (door_open()) [[unlikely]]
    return rt::explored_lock_for(rt::word64(word), holder, ns);
  return rt::lock_for(rt::word64(word), holder, ns);
}

bool mutex_try_lock(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_try_lock(rt::word64(word), mutex_holder());
  return rt::try_lock(rt::word64(word), mutex_holder());
}

void mutex_unlock(std::uint64_t* word) {
  if (door_open()) [[unlikely]]
    return rt::explored_unlock(rt::word64(word));
  if (!rt::unlock(rt::word64(word))) throw unlock_of_unlocked_mutex();
}

}  // namespace detail
}  // namespace v0
}  // namespace weft
