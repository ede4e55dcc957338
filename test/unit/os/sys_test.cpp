#include "os/sys.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "unit/os/child.hpp"

namespace {

using namespace weft::rt;

// ---- waiting and time

TEST(sys, futex_wait_returns_at_once_when_the_word_has_another_value) {
  atomic<std::uint32_t> word{1};
  os::futex_wait(&word, 0);
}

TEST(sys, futex_wait_ends_at_its_timeout_and_not_before) {
  atomic<std::uint32_t> word{0};
  const std::int64_t from = os::now();
  while (os::now() - from < 2'000'000) os::futex_wait(&word, 0, 2'000'000 - (os::now() - from));
  os::futex_wait(&word, 0, 0);
  EXPECT_GE(os::now() - from, 2'000'000);
}

struct ping {
  atomic<std::uint32_t> word{0};
};

TEST(sys, futex_wake_wakes_the_sleeper) {
  ping p;
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     ping* mine = static_cast<ping*>(arg);
                     while (mine->word.load(acquire) == 0) os::futex_wait(&mine->word, 0);
                     mine->word.store(2, release);
                     os::futex_wake(&mine->word);
                   },
                   &p));
  p.word.store(1, release);
  os::futex_wake(&p.word);
  while (p.word.load(acquire) == 1) os::futex_wait(&p.word, 1);
  os::thread_join(t);
  EXPECT_EQ(2u, p.word.load(relaxed));
}

TEST(sys, futex_wake_on_memory_that_is_gone_is_harmless) {
  int err = 0;
  void* page = os::reserve(os::page_size(), &err);
  ASSERT_NE(nullptr, page);
  os::unmap(page, os::page_size());
  os::futex_wake(static_cast<atomic<std::uint32_t>*>(page));
}

TEST(sys, sleep_lasts_at_least_as_long_as_asked) {
  const std::int64_t from = os::now();
  os::sleep_ns(1'000'000);
  EXPECT_GE(os::now() - from, 1'000'000);
  os::sleep_ns(0);
  os::sleep_ns(-5);
}

TEST(sys, no_call_changes_errno) {
  atomic<std::uint32_t> word{1};
  errno = 77;
  int err = 0;
  os::futex_wait(&word, 0);
  EXPECT_EQ(nullptr, os::reserve(SIZE_MAX / 2, &err));
  EXPECT_EQ(ENOMEM, err);
  os::unmap(nullptr, 0);
  char misaligned[64];
  const os::range bad{misaligned + 1, 3};
  EXPECT_EQ(EINVAL, os::install_guards(os::guard_method::single, {&bad, 1}));
  EXPECT_EQ(EINVAL, os::install_guards(os::guard_method::protect, {&bad, 1}));
  os::membarrier();
  EXPECT_EQ(77, errno);
}

// ---- threads

struct mask_seen {
  sigset_t mask;
  os::stack_bounds stack;
  std::uintptr_t local;
  std::uint64_t id;
};

TEST(sys, a_new_thread_has_all_signals_but_faults_blocked_and_its_creator_none_more_than_before) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  mask_seen seen{};
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void* arg) {
                     mask_seen* mine = static_cast<mask_seen*>(arg);
                     pthread_sigmask(SIG_SETMASK, nullptr, &mine->mask);
                     mine->stack = os::thread_stack();
                     mine->local = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
                     mine->id = os::thread_id();
                   },
                   &seen));
  os::thread_join(t);
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int sig = 1; sig <= SIGRTMAX; ++sig) {
    EXPECT_EQ(sigismember(&before, sig), sigismember(&after, sig)) << sig;
    if (sig == SIGKILL || sig == SIGSTOP || (sig >= 32 && sig < SIGRTMIN)) continue;
    bool by_a_fault = false;
    for (const int f : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) by_a_fault |= f == sig;
    EXPECT_EQ(by_a_fault ? 0 : 1, sigismember(&seen.mask, sig)) << sig;
  }
  EXPECT_LT(seen.stack.lo, seen.local);
  EXPECT_GT(seen.stack.hi, seen.local);
  EXPECT_GE(seen.stack.hi - seen.stack.lo, std::size_t{256} << 10);
  EXPECT_NE(os::thread_id(), seen.id);
}

TEST(sys, the_main_thread_knows_its_stack) {
  const os::stack_bounds s = os::thread_stack();
  const std::uintptr_t here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  EXPECT_LT(s.lo, here);
  EXPECT_GT(s.hi, here);
  EXPECT_EQ(static_cast<std::uint64_t>(::getpid()), os::thread_id());
}

thread_local volatile char large_thread_local[1 << 20];

TEST(sys, large_thread_locals_do_not_eat_a_new_threads_stack) {
  large_thread_local[0] = 1;
  os::thread t;
  ASSERT_EQ(0, os::thread_start(
                   &t,
                   [](void*) {
                     large_thread_local[1] = 1;
                     volatile char frame[200 << 10];
                     for (std::size_t i = sizeof frame; i > 0; i -= 1024) frame[i - 1] = 1;
                   },
                   nullptr));
  os::thread_join(t);
}

TEST(sys, a_refused_thread_is_reported_as_an_error_number) {
#ifdef WEFT_TSAN
  GTEST_SKIP() << "the sanitizer needs a thread of its own in the child";
#endif
  EXPECT_EQ("exit 0", ends_with([] {
              struct rlimit none {};
              if (::setrlimit(RLIMIT_NPROC, &none) != 0) return 1;
              if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 2;
              os::thread t;
              return os::thread_start(
                         &t, [](void*) {}, nullptr) == EAGAIN
                         ? 0
                         : 3;
            }));
}

// ---- address space

TEST(sys, reserved_memory_is_zero_and_discard_makes_it_zero_again) {
  int err = 0;
  const std::size_t bytes = 4 * os::page_size();
  char* at = static_cast<char*>(os::reserve(bytes, &err));
  ASSERT_NE(nullptr, at);
  for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(0, at[i]);
  std::memset(at, 7, bytes);
  os::discard(at, os::page_size());
  EXPECT_EQ(0, at[0]);
  EXPECT_EQ(7, at[os::page_size()]);
  os::huge_pages(at, bytes);
  os::no_huge_pages(at, bytes);
  os::unmap(at, bytes);
}

class guards : public testing::TestWithParam<os::guard_method> {
 protected:
  void SetUp() override {
    int err = 0;
    const std::size_t page = os::page_size();
    at_ = static_cast<char*>(os::reserve(pages * page, &err));
    ASSERT_NE(nullptr, at_);
    for (std::size_t i = 0; i < pages; i += 2) ranges_.push_back({at_ + i * page, page});
    if (GetParam() == os::guard_method::protect) ranges_.resize(64);  // each costs two mappings
    const int e = os::install_guards(GetParam(), {ranges_.data(), 1});
    if (e == EINVAL || e == ENOSYS || e == EPERM) GTEST_SKIP() << "this kernel cannot do it: " << std::strerror(e);
  }
  void TearDown() override { os::unmap(at_, pages * os::page_size()); }

  static constexpr std::size_t pages = 5000;  // more guards than one call of the kernel takes
  char* at_ = nullptr;
  std::vector<os::range> ranges_;
};

TEST_P(guards, every_range_of_a_call_is_guarded_and_nothing_between) {
  ASSERT_EQ(0, os::install_guards(GetParam(), ranges_));
  ASSERT_EQ(0, os::install_guards(GetParam(), ranges_)) << "guarding again is harmless";
  const auto touch = [&](std::size_t offset) {
    return ends_with([&] {
      static_cast<volatile char*>(at_)[offset] = 1;
      return 0;
    });
  };
  const std::size_t page = os::page_size();
  for (const std::size_t i : {std::size_t{0}, ranges_.size() / 2, ranges_.size() - 1}) {
    EXPECT_EQ("signal 11", touch(2 * i * page));
    EXPECT_EQ("signal 11", touch(2 * i * page + page - 1));
    EXPECT_EQ("exit 0", touch((2 * i + 1) * page));
  }
}

TEST_P(guards, work_in_a_forked_child_and_without_free_descriptors) {
  EXPECT_EQ("signal 11", ends_with([&] {
              struct rlimit none {};
              ::setrlimit(RLIMIT_NOFILE, &none);
              if (os::install_guards(GetParam(), ranges_) != 0) return 1;
              *static_cast<volatile char*>(ranges_[1].at) = 1;
              return 0;
            }));
}

INSTANTIATE_TEST_SUITE_P(methods, guards,
                         testing::Values(os::guard_method::batch, os::guard_method::single, os::guard_method::protect),
                         [](const auto& param) {
                           return param.param == os::guard_method::batch    ? "batch"
                                  : param.param == os::guard_method::single ? "single"
                                                                            : "protect";
                         });

TEST(sys, guards_leave_no_descriptor_open) {
  int err = 0;
  const std::size_t page = os::page_size();
  void* at = os::reserve(page, &err);
  const os::range r{at, page};
  const int before = ::open("/dev/null", O_RDONLY);
  ::close(before);
  os::install_guards(os::guard_method::batch, {&r, 1});
  const int after = ::open("/dev/null", O_RDONLY);
  ::close(after);
  EXPECT_EQ(before, after);
  os::unmap(at, page);
}

TEST(sys, automatic_is_not_a_method_of_the_floor) {
  EXPECT_EQ(EINVAL, os::install_guards(os::guard_method::automatic, {}));
  EXPECT_EQ(0, os::install_guards(os::guard_method::none, {}));
}

TEST(sys, the_mapping_limit_is_the_kernels) {
  std::size_t limit = 65530;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  EXPECT_EQ(limit, os::mapping_limit());
}

// ---- facts

TEST(sys, cpu_count_follows_affinity) {
  cpu_set_t set;
  ASSERT_EQ(0, sched_getaffinity(0, sizeof set, &set));
  EXPECT_GE(os::cpu_count(), 1);
  EXPECT_LE(os::cpu_count(), CPU_COUNT(&set));
  EXPECT_EQ(CPU_COUNT(&set), os::allowed_cpus());
  EXPECT_EQ("exit 1", ends_with([&] {
              int cpu = 0;
              while (!CPU_ISSET(cpu, &set)) ++cpu;
              cpu_set_t one;
              CPU_ZERO(&one);
              CPU_SET(cpu, &one);
              sched_setaffinity(0, sizeof one, &one);
              return os::allowed_cpus() == 1 ? os::cpu_count() : 2;
            }));
}

TEST(sys, a_threads_cpu_time_goes_on_while_it_computes_and_stands_still_while_it_sleeps) {
  std::atomic<std::uint64_t> id = 0;
  std::atomic<int> stage = 0;
  std::thread other([&] {
    id = os::thread_id();
    while (stage.load() == 0) {
    }
    while (stage.load() == 1) ::usleep(200'000);
  });
  while (id.load() == 0) std::this_thread::yield();
  const std::int64_t begin = os::thread_cpu_time(id);
  while (os::thread_cpu_time(id) < begin + 2'000'000) std::this_thread::yield();
  stage = 1;
  while (os::thread_sleeps(id) != os::sleep_state::asleep) std::this_thread::yield();
  const std::int64_t asleep = os::thread_cpu_time(id);
  ::usleep(20'000);
  EXPECT_LT(os::thread_cpu_time(id) - asleep, 2'000'000);
  stage = 2;
  other.join();
  EXPECT_EQ(os::sleep_state::awake, os::thread_sleeps(os::thread_id()));
  EXPECT_EQ(-1, os::thread_cpu_time(0x3ffffff)) << "no such thread";
  EXPECT_EQ(os::sleep_state::gone, os::thread_sleeps(0x3ffffff));
}

// Refused before Linux 6.12; whatever happens, nice and policy are as before.
TEST(sys, a_threads_turn_changes_nothing_else) {
  std::thread([] {
    ASSERT_EQ(0, ::setpriority(PRIO_PROCESS, static_cast<id_t>(os::thread_id()), 3));
    for (const std::uint64_t ns : {10'000'000u, 0u}) {
      os::thread_turn(os::thread_id(), ns);
      EXPECT_EQ(3, ::getpriority(PRIO_PROCESS, static_cast<id_t>(os::thread_id())));
      EXPECT_EQ(SCHED_OTHER, ::sched_getscheduler(0) & ~SCHED_RESET_ON_FORK);
    }
  }).join();
}

TEST(sys, a_nice_value_below_zero_is_the_threads_alone_and_is_taken_back) {
  std::thread([] {
    const auto nice = [] { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(os::thread_id())); };
    const std::uint64_t me = os::thread_id();
    if (const int err = os::thread_nice(me, 0, -5, true); err == EPERM || (err == EBUSY && nice() != 0)) {
      GTEST_SKIP() << "not allowed here: CAP_SYS_NICE or RLIMIT_NICE; or this thread's nice value is " << nice();
    }
    EXPECT_EQ(-5, nice());
    int childs = -1;
    const auto start_one = [&] { std::thread([&] { childs = nice(); }).join(); };
    start_one();
    EXPECT_EQ(0, childs);
    EXPECT_EQ(EBUSY, os::thread_nice(me, -3, -7, false)) << "it is not what the caller thinks";
    EXPECT_EQ(-5, nice());
    const bool may_bequeath = os::thread_bequeaths(true) == 0;
    if (may_bequeath) {
      std::thread([&] {
        EXPECT_EQ(-5, nice());
        EXPECT_EQ(0, os::thread_is_heir());
        EXPECT_EQ(-5, nice());
        start_one();
        EXPECT_EQ(0, childs);
      }).join();
      EXPECT_EQ(0, os::thread_bequeaths(false));
      start_one();
      EXPECT_EQ(0, childs);
    }
    os::thread_nice_back(me, -4, true);
    EXPECT_EQ(-5, nice()) << "the program has changed it";
    const sched_param none{};
    ASSERT_EQ(0, ::sched_setscheduler(0, SCHED_BATCH, &none));
    os::thread_nice_back(me, -5, true);
    EXPECT_EQ(0, nice()) << "its policy is the program's matter, its nice value was ours";
    if (may_bequeath) {
      EXPECT_EQ(SCHED_BATCH, ::sched_getscheduler(0)) << "with nothing added";
    }
  }).join();
}

TEST(sys, the_stack_limit_is_rlimit_stack) {
  EXPECT_EQ("exit 0", ends_with([] {
              struct rlimit limit {};
              ::getrlimit(RLIMIT_STACK, &limit);
              limit.rlim_cur = 3 << 20;
              ::setrlimit(RLIMIT_STACK, &limit);
              return os::main_stack_limit() == 3 << 20 ? 0 : 1;
            }));
}

TEST(sys, seeds_differ) { EXPECT_NE(os::random_seed(), os::random_seed()); }

TEST(sys, membarrier_works_once_registered) {
  const int e = os::membarrier_register();
  if (e == ENOSYS || e == EINVAL) GTEST_SKIP() << "this kernel has none";
  EXPECT_EQ(0, e);
  EXPECT_EQ(0, os::membarrier());
  EXPECT_EQ(0, os::membarrier_register());
}

TEST(sys, shadow_stacks_are_seen_when_the_kernel_says_so) {
  std::ifstream status("/proc/thread-self/status");
  bool said = false;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("x86_Thread_features:") && line.find("shstk") != std::string::npos) said = true;
  }
  EXPECT_EQ(said, os::shadow_stack_active());
}

}  // namespace
