// Bugs of what goroutines share: something true when it was looked at is not true any more when it is used.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using sim::failure_kind;

// Reading and writing are locked each, and together they are not.
template <bool right>
void lost_update() {
  struct account {
    mutex m;
    int balance = 0;
    int get() {
      const std::lock_guard hold(m);
      return balance;
    }
    void set(int to) {
      const std::lock_guard hold(m);
      balance = to;
    }
    void add(int amount) {
      const std::lock_guard hold(m);
      balance += amount;
    }
  } shared;
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      if (right) {
        shared.add(10);
      } else {
        shared.set(shared.get() + 10);
      }
    });
  }
  both.wait();
  sim::check(shared.get() == 20, "both deposits are in the balance");
}

template <bool right>
void check_then_act() {
  struct directory {
    mutex m;
    std::array<int, 4> names{};
    std::size_t size = 0;
    bool has(int name) {
      const std::lock_guard hold(m);
      return find(name);
    }
    void insert(int name) {
      const std::lock_guard hold(m);
      names[size++] = name;
    }
    bool claim(int name) {
      const std::lock_guard hold(m);
      if (find(name)) return false;
      names[size++] = name;
      return true;
    }
    bool find(int name) const {
      for (std::size_t i = 0; i < size; ++i) {
        if (names[i] == name) return true;
      }
      return false;
    }
  } users;
  std::atomic<int> owners = 0;
  wait_group both;
  for (int i = 0; i < 2; ++i) {
    both.go([&] {
      if (right) {
        if (users.claim(7)) ++owners;
      } else if (!users.has(7)) {
        users.insert(7);
        ++owners;
      }
    });
  }
  both.wait();
  sim::check(owners == 1, "a name has one owner");
}

// The flag says that the value is there before it is: those who do not lock believe the flag.
template <bool right>
void double_checked_initialisation() {
  struct settings {
    mutex m, file;
    std::atomic<bool> ready = false;
    std::atomic<int> limit = 0;
    int parse() {
      const std::lock_guard hold(file);
      return 100;
    }
    int get() {
      if (!ready.load(std::memory_order_acquire)) {
        const std::lock_guard hold(m);
        if (!ready.load(std::memory_order_relaxed)) {
          if (!right) ready = true;
          limit = parse();
          ready = true;
        }
      }
      return limit;
    }
  } shared;
  wait_group both;
  for (int i = 0; i < 2; ++i) both.go([&] { sim::check(shared.get() == 100, "settings that are ready have values"); });
  both.wait();
}

// A stack of free slots in one word. Who pops remembers head and the slot below it; if head was popped meanwhile, and the
// one below too, and head is back, then the exchange succeeds and hands out a slot that somebody has.
template <bool right>
void aba_in_a_free_list() {
  struct free_list {
    std::atomic<std::uint32_t> head = 0;  // low half: slot; high half: a version, which the wrong one leaves at 0
    std::array<std::atomic<std::uint32_t>, 4> below{1, 2, 3, 3};
    static std::uint32_t next_version(std::uint32_t h, std::uint32_t slot) {
      return right ? ((h >> 16) + 1) << 16 | slot : slot;
    }
    std::uint32_t pop() {
      for (std::uint32_t h = head;;) {
        const std::uint32_t next = below[h & 0xffff];
        sim::point();
        if (head.compare_exchange_weak(h, next_version(h, next))) return h & 0xffff;
      }
    }
    void push(std::uint32_t slot) {
      for (std::uint32_t h = head;;) {
        below[slot] = h & 0xffff;
        sim::point();
        if (head.compare_exchange_weak(h, next_version(h, slot))) return;
      }
    }
  } slots;
  std::array<std::atomic<bool>, 4> taken{};
  const auto take = [&] {
    const std::uint32_t slot = slots.pop();
    sim::check(!taken[slot].exchange(true), "a slot has one owner");
    return slot;
  };
  wait_group both;
  both.go([&] { take(); });
  both.go([&] {
    const std::uint32_t first = take();
    take();
    taken[first] = false;
    slots.push(first);
  });
  both.wait();
  take();
}

// Each reader that finds nothing loads, also while another is loading.
template <bool right>
void cache_stampede() {
  struct cache {
    mutex m, backend;
    int value = 0, loads = 0;
    int load() {
      const std::lock_guard hold(backend);
      ++loads;
      return 42;
    }
    int get() {
      std::unique_lock hold(m);
      if (value != 0) return value;
      if (!right) hold.unlock();
      const int fresh = load();
      if (!right) hold.lock();
      return value = fresh;
    }
  } shared;
  wait_group readers;
  for (int i = 0; i < 3; ++i) readers.go([&] { shared.get(); });
  readers.wait();
  sim::check(shared.loads == 1, "a page is loaded once");
}

// Both ends of a range are guarded, by two locks one after the other.
template <bool right>
void torn_read() {
  struct range {
    mutex m;
    int low = 0, high = 9;
    void set_low(int to) {
      const std::lock_guard hold(m);
      low = to;
    }
    void set_high(int to) {
      const std::lock_guard hold(m);
      high = to;
    }
    void set(int l, int h) {
      const std::lock_guard hold(m);
      low = l;
      high = h;
    }
    bool sane() {
      const std::lock_guard hold(m);
      return low <= high;
    }
  } window;
  wait_group both;
  both.go([&] {
    if (right) {
      window.set(20, 29);
    } else {
      window.set_low(20);
      window.set_high(29);
    }
  });
  both.go([&] { sim::check(window.sane(), "low is not above high"); });
  both.wait();
}

// A session can be found before it says whose it is.
template <bool right>
void published_before_complete() {
  struct session {
    mutex m;
    int user = 0;
    void belongs_to(int u) {
      const std::lock_guard hold(m);
      user = u;
    }
    int whose() {
      const std::lock_guard hold(m);
      return user;
    }
  } made;
  struct registry {
    mutex m;
    session* newest = nullptr;
    void add(session* s) {
      const std::lock_guard hold(m);
      newest = s;
    }
    session* find() {
      const std::lock_guard hold(m);
      return newest;
    }
  } sessions;
  wait_group both;
  both.go([&] {
    if (session* const s = sessions.find()) sim::check(s->whose() != 0, "a session that is found has a user");
  });
  both.go([&] {
    if (right) made.belongs_to(7);
    sessions.add(&made);
    if (!right) made.belongs_to(7);
  });
  both.wait();
}

// The one who looks up takes its reference when the lock is gone, and with it, perhaps, the file.
template <bool right>
void reference_taken_too_late() {
  struct table {
    mutex m;
    std::atomic<int> references = 1;
    std::atomic<bool> open = true;
    bool listed = true;
    bool look_up() {
      std::unique_lock hold(m);
      if (!listed) return false;
      if (!right) hold.unlock();
      ++references;
      return true;
    }
    void drop() {
      const std::lock_guard hold(m);
      if (--references != 0) return;
      listed = false;
      open = false;
    }
  } file;
  wait_group both;
  both.go([&] { file.drop(); });
  both.go([&] {
    if (!file.look_up()) return;
    sim::check(file.open, "a file with a reference is open");
    file.drop();
  });
  both.wait();
}

constexpr bug all[] = {
    {"lost_update", "two deposits, each reads the balance and writes it back", lost_update<false>, lost_update<true>,
     failure_kind::check, "both deposits are in the balance"},
    {"check_then_act", "is the name there? then insert it", check_then_act<false>, check_then_act<true>,
     failure_kind::check, "a name has one owner"},
    {"double_checked_initialisation", "the flag is set before the value", double_checked_initialisation<false>,
     double_checked_initialisation<true>, failure_kind::check, "settings that are ready have values"},
    {"aba_in_a_free_list", "head is what it was, and what lies below is not", aba_in_a_free_list<false>,
     aba_in_a_free_list<true>, failure_kind::check, "a slot has one owner"},
    {"cache_stampede", "who finds nothing loads, also while another loads", cache_stampede<false>, cache_stampede<true>,
     failure_kind::check, "a page is loaded once"},
    {"torn_read", "two fields that belong together, two locks", torn_read<false>, torn_read<true>, failure_kind::check,
     "low is not above high"},
    {"published_before_complete", "found in the registry before it is filled in", published_before_complete<false>,
     published_before_complete<true>, failure_kind::check, "a session that is found has a user"},
    {"reference_taken_too_late", "looked up under the lock, counted after it", reference_taken_too_late<false>,
     reference_taken_too_late<true>, failure_kind::check, "a file with a reference is open"},
};

}  // namespace

std::span<const bug> bugs_of_state() { return all; }

}  // namespace weft::test
