#include "observe/child.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "os/sys.hpp"

namespace {

using weft::rt::run_in_child_sig;
using weft::rt::shared_page_sig;

TEST(Child, RunsOnACopy) {
  static int mine = 1;
  auto* shared = static_cast<int*>(shared_page_sig());
  ASSERT_NE(shared, nullptr);
  EXPECT_EQ(*shared, 0);
  EXPECT_TRUE(run_in_child_sig(
      [](void* arg) {
        mine = 2;
        *static_cast<int*>(arg) = 3;
        return true;
      },
      shared));
  EXPECT_EQ(mine, 1);
  EXPECT_EQ(*shared, 3);
}

TEST(Child, Failures) {
  EXPECT_FALSE(run_in_child_sig([](void*) { return false; }, nullptr));
  EXPECT_FALSE(run_in_child_sig([](void*) -> bool { throw std::runtime_error("no"); }, nullptr));
  EXPECT_FALSE(run_in_child_sig([](void*) -> bool { std::_Exit(1); }, nullptr));
  EXPECT_FALSE(run_in_child_sig([](void*) -> bool { std::abort(); }, nullptr));
  EXPECT_FALSE(run_in_child_sig(
      [](void*) {
        std::raise(SIGSEGV);
        return true;
      },
      nullptr));
}

TEST(Child, HungIsKilled) {
  const std::int64_t began = weft::rt::os::now();
  EXPECT_FALSE(run_in_child_sig(
      [](void*) {
        for (;;) ::pause();
        return true;
      },
      nullptr));
  EXPECT_GT(weft::rt::os::now() - began, 500'000'000);
}

// It takes long, but it works: not killed.
TEST(Child, SlowIsNotKilled) {
  EXPECT_TRUE(run_in_child_sig(
      [](void*) {
        const std::int64_t end = weft::rt::os::now() + 1'500'000'000;
        while (weft::rt::os::now() < end) {
        }
        return true;
      },
      nullptr));
}

// Nor one that does not get on because it is not let: stopped here, as by a debugger; or runnable, and no CPU for it.
TEST(Child, StoppedIsNotKilled) {
  auto* pid = static_cast<std::atomic<pid_t>*>(shared_page_sig());
  ASSERT_NE(pid, nullptr);
  std::thread goes_on([pid] {
    while (*pid == 0) ::usleep(1000);
    ::usleep(1'500'000);
    ::kill(*pid, SIGCONT);
  });
  EXPECT_TRUE(run_in_child_sig(
      [](void* arg) {
        static_cast<std::atomic<pid_t>*>(arg)->store(::getpid());
        ::kill(::getpid(), SIGSTOP);
        return true;
      },
      pid));
  goes_on.join();
}

// The program's own children are its own: no SIGCHLD, nothing for its waitpid.
TEST(Child, IsNotSeenByTheProgram) {
  static volatile std::sig_atomic_t seen = 0;
  std::signal(SIGCHLD, [](int) { seen = 1; });
  EXPECT_TRUE(run_in_child_sig([](void*) { return true; }, nullptr));
  std::signal(SIGCHLD, SIG_DFL);
  EXPECT_EQ(seen, 0);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(Child, KeepsErrno) {
  errno = 4711;
  EXPECT_FALSE(run_in_child_sig([](void*) { return false; }, nullptr));
  EXPECT_EQ(errno, 4711);
}

// Every way to allocate, with blocks of the old malloc given to the new one.
bool exercise(void* arg) {
  auto** old = static_cast<char**>(arg);
  char* grown = static_cast<char*>(std::realloc(old[0], 5000));
  if (grown == nullptr || std::string(grown) != "old block") return false;
  std::free(old[1]);
  grown = static_cast<char*>(std::realloc(grown, 100'000));
  if (std::string(grown) != "old block") return false;
  std::free(grown);

  const auto* zeros = static_cast<unsigned char*>(std::calloc(1000, 7));
  for (int i = 0; i < 7000; ++i) {
    if (zeros[i] != 0) return false;
  }
  for (std::size_t align = 8; align <= 65536; align *= 2) {
    void* p = nullptr;
    if (::posix_memalign(&p, align, 100) != 0 || reinterpret_cast<std::uintptr_t>(p) % align != 0) return false;
    p = std::aligned_alloc(align, align);
    if (p == nullptr || reinterpret_cast<std::uintptr_t>(p) % align != 0) return false;
  }
  // Volatile: a compiler that knows malloc leaves the call out otherwise.
  volatile std::size_t too_much = SIZE_MAX - 8;
  void* volatile refused = std::malloc(too_much);
  if (refused != nullptr) return false;
  std::vector<std::string> many;
  for (int i = 0; i < 200'000; ++i) many.push_back(std::string(100, 'x') + std::to_string(i));
  for (int i = 0; i < 200'000; ++i) {
    if (many[static_cast<std::size_t>(i)] != std::string(100, 'x') + std::to_string(i)) return false;
  }
  std::vector<char> large(std::size_t{100} << 20);
  large.back() = 1;
  return true;
}

TEST(PrivateMalloc, Works) {
  char* old[2] = {static_cast<char*>(std::malloc(40)), static_cast<char*>(std::malloc(40))};
  std::snprintf(old[0], 40, "old block");
  EXPECT_TRUE(run_in_child_sig(exercise, old));
  // Ours is as it was.
  EXPECT_STREQ(old[0], "old block");
  std::free(old[0]);
  std::free(old[1]);
}

// Other threads in the middle of malloc are not in the copy, but their locks are.
TEST(PrivateMalloc, WhileOthersAllocate) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 4; ++i) {
    others.emplace_back([&stop] {
      while (!stop.load()) {
        // Too large for the threads' own caches: the arena's lock is taken.
        std::vector<std::string> v(100, std::string(3000, 'x'));
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    char* old[2] = {static_cast<char*>(std::malloc(40)), static_cast<char*>(std::malloc(40))};
    std::snprintf(old[0], 40, "old block");
    EXPECT_TRUE(run_in_child_sig(
        [](void* p) {
          const std::string s(static_cast<char**>(p)[0]);
          std::vector<std::string> v(1000, std::string(3000, 'x'));
          return s == "old block" && v[999].size() == 3000;
        },
        old));
    std::free(old[0]);
    std::free(old[1]);
  }
  stop = true;
  for (std::thread& t : others) t.join();
}

}  // namespace
