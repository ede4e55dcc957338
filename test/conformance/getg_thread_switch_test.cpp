// Who am I, after a switch of threads? (Go's GetgThreadSwitch; FAULTS 3 and 4; LIMITS 6.)
//
// Compilers keep the address of a thread-local across a call that comes back on another thread. This program forces a
// goroutine to alternate between two threads and asks the runtime after each switch, in loops that tempt the optimizer to
// ask only once. CMakeLists.txt here compiles it, and all of the library with it, with both compilers in several modes.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "arch/getg.hpp"
#include "model/m.hpp"
#include "model/p.hpp"
#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"

namespace {

using namespace weft;
using test::run_case;

// Two goroutines on two Ps hand each other over: while one keeps its thread, the other comes back on that thread or,
// when it has been stolen, on the other. `step` runs on the traveller after each of its waits.
//
// A round: the traveller waits on `go_on`. The host, which holds a P and sees it waiting, releases it (it is the runnext
// of the host's P now) and then waits itself: the traveller runs on the host's thread. It releases the host and keeps its
// P until the host runs, which must then be on the other P's thread. So each round moves both.
// The thief on the thread that the traveller has left may be faster than the host that wakes it, and bring it back there.
// So the rounds go on until it has moved often enough, as a rule half of the time.
template <class Step>
void travel(int rounds, Step step) {
  constexpr int moves_wanted = 20;
  semaphore go_on(0), host_on(0);
  test::watched traveller;
  std::atomic<int> host_round{0};
  std::atomic<bool> last_round{false};
  int moves = 0;
  wait_group all;
  all.go([&] {
    std::uint64_t last = 0;
    for (int i = 0; !last_round.load(); ++i) {
      traveller.here();
      go_on.acquire();
      step(i);
      const std::uint64_t here = test::thread_id();
      if (here != last) ++moves;
      last = here;
      last_round = i + 1 >= rounds && (moves >= moves_wanted || i >= 100 * rounds);
      host_on.release();
      test::spin_until([&] { return host_round.load(std::memory_order_acquire) == i + 1; });
    }
  });
  for (int i = 0; !last_round.load(); ++i) {
    test::spin_until([&] { return traveller.waits(); });
    go_on.release();
    host_on.acquire();
    host_round.store(i + 1, std::memory_order_release);
  }
  all.wait();
  EXPECT_GE(moves, moves_wanted) << "the goroutine has hardly changed threads: nothing was tested";
}

const test::run_options two_threads{{2}, 3};

TEST(getg_thread_switch, fault_03_a_goroutine_sees_itself_on_each_thread) {
  test::for_each_case(
      [](const run_case&) {
        const int rounds = test::scaled(2000);
        std::uint64_t id = 0;
        rt::g* me = nullptr;
        int wrong = 0;
        travel(rounds, [&](int i) {
          if (i == 0) {
            me = rt::getg();
            id = this_goroutine::id();
          }
          // Asked in the frame that has just come back, and again right after.
          rt::g* now = rt::getg();
          if (now != me || rt::getg() != me) ++wrong;
          if (this_goroutine::id() != id) ++wrong;
          // The thread the runtime believes to be on is the one the kernel says.
          if (now->m->tid != static_cast<std::uint64_t>(::syscall(SYS_gettid))) ++wrong;
          if (now->m->curg != now || now->m->p->m != now->m) ++wrong;
        });
        EXPECT_EQ(wrong, 0);
      },
      two_threads);
}

// The same inside one function, with the waits in it: what getg() returned before a wait is not what it returns after
// one only by luck, so the loop below compares with the kernel's word each time.
TEST(getg_thread_switch, fault_03_in_a_loop_with_the_wait_inside) {
  test::for_each_case(
      [](const run_case&) {
        const int n = 4, rounds = test::scaled(500);
        std::atomic<int> wrong{0}, moves{0};
        mutex baton;
        wait_group all;
        for (int k = 0; k < n; ++k) {
          all.go([&] {
            const std::uint64_t id = this_goroutine::id();
            rt::g* const me = rt::getg();
            std::uint64_t last = me->m->tid;
            for (int i = 0; i < rounds; ++i) {
              baton.lock();
              yield();
              const auto here = static_cast<std::uint64_t>(::syscall(SYS_gettid));
              if (rt::getg() != me || rt::getg()->m->tid != here || this_goroutine::id() != id) ++wrong;
              if (here != last) ++moves;
              last = here;
              baton.unlock();
              yield();
              if (rt::getg() != me || rt::getg()->m->tid != static_cast<std::uint64_t>(::syscall(SYS_gettid))) ++wrong;
            }
          });
        }
        all.wait();
        EXPECT_EQ(wrong.load(), 0);
      },
      two_threads);
}

// Memory from one thread's cache of the allocator is given back on another's, thousands of times.
TEST(getg_thread_switch, fault_04_the_allocator_after_migration) {
  test::for_each_case(
      [](const run_case&) {
        const int rounds = test::scaled(2000);
        std::vector<std::unique_ptr<char[]>> kept(16);
        int wrong = 0;
        travel(rounds, [&](int i) {
          auto& slot = kept[static_cast<std::size_t>(i) % kept.size()];
          if (slot != nullptr && slot[0] != static_cast<char>(i - 16)) ++wrong;
          const std::size_t bytes = 24 + static_cast<std::size_t>(i * 37 % 3000);
          slot = std::make_unique<char[]>(bytes);
          std::memset(slot.get(), static_cast<char>(i), bytes);
        });
        EXPECT_EQ(wrong, 0);
      },
      two_threads);
}

// errno is the thread's, and its address is taken as constant by compilers. So it is asked for in a frame of its own,
// which is what docs tell users too.
[[gnu::noinline]] int read_errno() {
  int e = errno;
  asm volatile("" : "+r"(e)::"memory");
  return e;
}

TEST(getg_thread_switch, fault_04_errno_is_the_one_of_the_thread_that_made_the_call) {
  test::for_each_case(
      [](const run_case&) {
        int wrong = 0;
        travel(test::scaled(500), [&](int i) {
          // A call that fails, and its errno, on whatever thread this is.
          if (::close(-1) != -1 || read_errno() != EBADF) ++wrong;
          char byte;
          if ((i & 1) != 0 && (::read(-1, &byte, 1) != -1 || read_errno() != EBADF)) ++wrong;
        });
        EXPECT_EQ(wrong, 0);
      },
      two_threads);
}

// blocking() leaves a goroutine on its thread, so thread-locals and errno hold across it.
TEST(getg_thread_switch, a_blocking_call_returns_on_the_thread_it_was_made_on) {
  test::for_each_case([](const run_case&) {
    std::atomic<int> wrong{0};
    wait_group all;
    for (int k = 0; k < 6; ++k) {
      all.go([&] {
        for (int i = 0; i < test::scaled(100); ++i) {
          const std::uint64_t before = test::thread_id();
          const std::uint64_t inside = blocking([] {
            rt::os::yield_thread();
            return test::thread_id();
          });
          if (before != inside || before != test::thread_id()) ++wrong;
          yield();
        }
      });
    }
    all.wait();
    EXPECT_EQ(wrong.load(), 0);
  });
}

}  // namespace
