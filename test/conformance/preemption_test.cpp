// Goroutines that do not give way lose their P: Go's Preemption, AsyncPreempt, PreemptionAfterSyscall, PingPongHog. More of it,
// in every way that a goroutine can keep a P, is in test/stalls.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <thread>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weft;
using test::run_case;

// Two goroutines on one P, each of which spins until the other has had its turn.
TEST(preemption, of_two_that_wait_for_each_other_by_spinning) {
  test::for_each_case(
      [](const run_case&) {
        std::atomic<int> turn{0};
        wait_group both;
        for (const int me : {0, 1}) {
          both.go([&, me] {
            for (int i = 0; i < 5; ++i) {
              test::spin_until([&] { return turn.load() % 2 == me; });
              ++turn;
            }
          });
        }
        both.wait();
        EXPECT_EQ(turn.load(), 10);
      },
      {{1}});
}

__attribute__((noinline)) int deep(int n, const std::atomic<bool>& stop) {
  if (n > 0) return deep(n - 1, stop) + 1;
  while (!stop.load(std::memory_order_relaxed)) {
  }
  return 1;
}

// A loop without any call, and one at the bottom of a hundred frames; the world can be stopped, and others run.
TEST(preemption, of_loops_that_call_nothing) {
  test::for_each_case(
      [](const run_case&) {
        std::atomic<bool> stop{false}, ready{false};
        wait_group all;
        int depth = 0;
        all.go([&] {
          while (!stop.load(std::memory_order_relaxed)) {
          }
        });
        all.go([&] {
          ready = true;
          depth = deep(100, stop);
        });
        while (!ready.load()) yield();
        gomaxprocs(2);
        gomaxprocs(1);
        weft::sleep(1ms);
        stop = true;
        all.wait();
        EXPECT_EQ(depth, 101);
      },
      {{1}});
}

// Eight goroutines on two Ps go to the kernel for a while and spin for a while, over and over. Whoever stops the world finds some
// of them on their way from the one to the other.
TEST(preemption, after_system_calls) {
  for (const auto d : {10us, 100us, 1000us}) {
    test::for_each_case(
        [d](const run_case&) {
          std::atomic<bool> stop{false};
          wait_group all;
          for (int i = 0; i < 8; ++i) {
            all.go([&] {
              while (!stop.load(std::memory_order_relaxed)) {
                const timespec t{0, std::chrono::nanoseconds(d).count()};
                ::nanosleep(&t, nullptr);
                for (int k = 0; k < 20'000; ++k) rt::os::pause();
              }
            });
          }
          const auto begin = std::chrono::steady_clock::now();
          for (int i = 0; i < 20; ++i) {
            gomaxprocs(2 + i % 2);
            weft::sleep(1ms);
          }
          EXPECT_LT(std::chrono::steady_clock::now() - begin, test::built_with_sanitizer ? 50s : 5s);
          stop = true;
          all.wait();
        },
        {{2}, 1});
  }
}

// Two pairs on one P, each of which hands a turn to and fro; one of them counts to a million before it does, the other to a
// thousand. Of the time both have the same: a slice belongs to the chain, not to each goroutine of it.
TEST(ping_pong_hog, two_pairs_on_one_p_have_the_same_time) {
  test::for_each_case(
      [](const run_case&) {
        std::array<std::atomic<long>, 2> count{};
        std::atomic<bool> stop{false};
        wait_group all;
        for (const int pair : {0, 1}) {
          const chan<> to, fro;
          const long so_many = pair == 0 ? 1'000'000 : 1'000;
          const auto take_turns = [&, pair, so_many](const chan<>& mine, const chan<>& others) {
            while (mine.recv()) {
              if (stop.load(std::memory_order_relaxed)) return others.close();
              for (long i = so_many; i > 0; --i) asm volatile("");
              count[static_cast<std::size_t>(pair)].fetch_add(so_many, std::memory_order_relaxed);
              others.send();
            }
          };
          all.go([=] { take_turns(to, fro); });
          all.go([=] { take_turns(fro, to); });
          all.go([=] { to.send(); });
        }
        weft::sleep(test::built_with_sanitizer ? 1s : 100ms);
        stop = true;
        all.wait();
        EXPECT_GE(count[0] * 20, count[1].load());
        EXPECT_GE(count[1] * 20, count[0].load());
      },
      {{1}, 3});
}

}  // namespace
