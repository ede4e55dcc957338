// Bugs of time: what takes longer than anybody has thought. In an exploration that costs nothing, and buggify makes it so.
#include <atomic>
#include <chrono>
#include <mutex>

#include "sim/corpus.hpp"

namespace weft::test {
namespace {

using namespace std::chrono_literals;
using sim::failure_kind;

// The result comes when the time is up: both find that nobody has answered.
template <bool right>
void timeout_against_completion() {
  struct call {
    mutex m;
    bool answered = false;
    int answers = 0;
    void answer() {
      std::unique_lock hold(m);
      if (answered) return;
      if (!right) {
        hold.unlock();
        hold.lock();
      }
      answered = true;
      ++answers;
    }
  } rpc;
  wait_group both;
  both.go([&] {
    sleep(sim::buggify("slow") ? 2ms : 0ms);
    rpc.answer();
  });
  both.go([&] {
    sleep(2ms);
    rpc.answer();
  });
  both.wait();
  sim::check(rpc.answers == 1, "a call is answered once");
}

// A lease ends while its holder is held up between asking and writing. The store has to ask again.
template <bool right>
void lease_ends_before_the_write() {
  struct store {
    mutex m;
    int holder = 0, last_writer = 0;
    clock::time_point until{};
    bool acquire(int who) {
      const std::lock_guard hold(m);
      if (holder != 0 && clock::now() < until) return false;
      holder = who;
      until = clock::now() + 50ms;
      return true;
    }
    void write(int who) {
      const std::lock_guard hold(m);
      if (right && holder != who) return;
      sim::check(who >= last_writer, "nobody writes after his successor");
      last_writer = who;
      holder = 0;
    }
  } shared;
  wait_group both;
  shared.acquire(1);
  both.go([&] {
    if (sim::buggify("pause")) sleep(60ms);
    shared.write(1);
  });
  both.go([&] {
    while (!shared.acquire(2)) sleep(1ms);
    shared.write(2);
  });
  both.wait();
}

// A watchdog looks at the time of the last beat and then acts, whatever has come meanwhile.
template <bool right>
void watchdog_kills_the_living() {
  struct job {
    mutex m;
    clock::time_point beat = clock::now();
    bool done = false, killed = false;
    void finish() {
      const std::lock_guard hold(m);
      if (killed) return;
      done = true;
    }
    void watch() {
      std::unique_lock hold(m);
      if (done || clock::now() - beat < 2ms) return;
      if (!right) {
        hold.unlock();
        hold.lock();
      }
      killed = true;
    }
  } only;
  wait_group both;
  both.go([&] {
    if (sim::buggify("slow")) sleep(2ms);
    only.finish();
  });
  both.go([&] {
    sleep(2ms);
    only.watch();
  });
  both.wait();
  sim::check(!(only.done && only.killed), "a job that has finished is not killed");
}

constexpr bug all[] = {
    {"timeout_against_completion", "result and timeout both find no answer", timeout_against_completion<false>,
     timeout_against_completion<true>, failure_kind::check, "a call is answered once"},
    {"lease_ends_before_the_write", "a lease that was valid when it was asked for", lease_ends_before_the_write<false>,
     lease_ends_before_the_write<true>, failure_kind::check, "nobody writes after his successor"},
    {"watchdog_kills_the_living", "too late when looked at, finished when killed", watchdog_kills_the_living<false>,
     watchdog_kills_the_living<true>, failure_kind::check, "a job that has finished is not killed"},
};

}  // namespace

std::span<const bug> bugs_of_time() { return all; }

}  // namespace weft::test
