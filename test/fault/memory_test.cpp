// The system refuses address space or guards: a clean exception or a fatal error that says so, never a crash, a hang, or a
// runtime that cannot be used afterwards. Each case is a fresh process, because arenas belong to the process.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "fault/work.hpp"

namespace {

using namespace work;
using testing::HasSubstr;

enum ending : int {
  done = 0,
  fatal_error = 2,
  threw = 20,   // and the next run, without faults, worked
  spoilt = 30,  // it did not
  leaked = 31,
  wrong_result = 32,
  wrong_exception = 33,
  no_such_call = 100,
};

struct outcome {
  std::string how;
  std::string said;
};

bool run_once() {
  weft::options o;
  o.procs = 2;
  return weft::run(o, [] {
    if (!everything_is_done()) return false;
    // More gs than one chunk of the slab has, and more than a ring: the queues grow too.
    weft::wait_group wg;
    struct wait_at_the_end {
      weft::wait_group& wg;
      ~wait_at_the_end() { wg.wait(); }
    } guard{wg};
    for (int i = 0; i < 3000; ++i) wg.go([] {});
    return true;
  });
}

ending child(faulty::call which, unsigned k, int err, unsigned times) {
  ::alarm(60);
  faulty::fail(which, k, err, times);
  ending end = done;
  try {
    if (!run_once()) return wrong_result;
  } catch (const std::bad_alloc&) {
    end = threw;
  } catch (const std::system_error& e) {
    end = threw;
    if (e.code().value() != err || std::string(e.what()).find("weft: ") == std::string::npos) return wrong_exception;
  }
  if (!faulty::has_failed(which)) return no_such_call;
  faulty::reset();
  if (weft::rt::the_process.stacks.slots_in_use() != 0) return leaked;
  if (weft::rt::the_process.proxies_in_use.load(weft::rt::relaxed) != 0) return leaked;
  if (!run_once()) return spoilt;
  return end;
}

outcome with_fault(faulty::call which, unsigned k, int err, unsigned times = 1) {
  FILE* file = std::tmpfile();
  const pid_t pid = ::fork();
  if (pid == 0) {
    struct rlimit no_core {};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(::fileno(file), 2);
    ::_exit(child(which, k, err, times));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  outcome o;
  o.how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : std::to_string(WEXITSTATUS(status));
  o.said.resize(100'000);
  const ssize_t n = ::pread(::fileno(file), o.said.data(), o.said.size(), 0);
  o.said.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  std::fclose(file);
  return o;
}

// k = 1, 2, … until there is no k-th call. Returns how many there were.
unsigned every_call(faulty::call which, int err, unsigned times) {
  for (unsigned k = 1; k < 200; ++k) {
    const outcome o = with_fault(which, k, err, times);
    if (o.how == std::to_string(no_such_call)) return k - 1;
    EXPECT_TRUE(o.how == std::to_string(done) || o.how == std::to_string(threw) || o.how == std::to_string(fatal_error))
        << "call " << k << " ends with " << o.how << ":\n"
        << o.said;
    if (o.how == std::to_string(fatal_error)) {
      EXPECT_THAT(o.said, HasSubstr("out of memory")) << "call " << k;
    }
    if (testing::Test::HasFailure()) return k;
  }
  ADD_FAILURE() << "there is always another call";
  return 0;
}

TEST(memory, fault_30_any_one_refusal_of_address_space_ends_cleanly) {
  EXPECT_GE(every_call(faulty::call::reserve, ENOMEM, 1), 5u);
}

TEST(memory, fault_30_no_address_space_from_any_moment_on_ends_cleanly) {
  EXPECT_GE(every_call(faulty::call::reserve, ENOMEM, faulty::for_ever), 5u);
}

TEST(memory, without_any_address_space_run_throws_with_the_error_of_the_system) {
  const outcome o = with_fault(faulty::call::reserve, 1, ENOMEM, faulty::for_ever);
  EXPECT_EQ(std::to_string(threw), o.how) << o.said;
}

TEST(memory, any_one_refusal_of_guards_ends_cleanly) {
  for (const int err : {EINVAL, ENOMEM, EPERM, EAGAIN}) {
    SCOPED_TRACE(err);
    EXPECT_GE(every_call(faulty::call::install_guards, err, 1), 3u);
  }
}

TEST(memory, no_guards_from_any_moment_on_end_cleanly) {
  for (const int err : {EINVAL, ENOMEM}) {
    SCOPED_TRACE(err);
    EXPECT_GE(every_call(faulty::call::install_guards, err, faulty::for_ever), 1u);
  }
}

// A kernel without light guards refuses the batch and the single way; mprotect is left.
TEST(memory, a_kernel_without_light_guards_loses_nothing) {
  const outcome o = with_fault(faulty::call::install_guards, 1, EINVAL, 2);
  EXPECT_EQ(std::to_string(done), o.how) << o.said;
}

// ---- from one way to guard a stack to the next

using weft::rt::stack;
using weft::rt::stack_arenas;
using weft::rt::os::guard_method;

guard_method chosen_when_refused(unsigned times) {
  stack_arenas arenas;
  if (times != 0) faulty::fail(faulty::call::install_guards, 1, EINVAL, times);
  arenas.init(guard_method::automatic);
  faulty::reset();
  return arenas.method();
}

TEST(guards, each_refusal_leads_to_the_next_way) {
  if (chosen_when_refused(0) != guard_method::batch) GTEST_SKIP() << "this kernel has no guards in batches";
  EXPECT_EQ(guard_method::single, chosen_when_refused(1));
  EXPECT_EQ(guard_method::protect, chosen_when_refused(2));
}

TEST(guards, when_nothing_is_left_there_is_a_canary_and_only_for_as_long) {
  for (const int err : {ENOMEM, EINVAL, EAGAIN}) {
    stack_arenas arenas;
    arenas.init(guard_method::automatic);
    int e = 0;
    faulty::fail(faulty::call::install_guards, 1, err, faulty::for_ever);
    stack* bare = arenas.get(4, &e);
    ASSERT_NE(nullptr, bare) << e;
    EXPECT_TRUE(bare->canary);
    EXPECT_EQ(0u, weft::rt::broken_canary(*bare));
    stack* large = arenas.get_large(std::size_t{16} << 20, &e);
    ASSERT_NE(nullptr, large) << e;
    EXPECT_TRUE(large->canary);
    faulty::reset();
    stack* guarded = arenas.get(4, &e);
    ASSERT_NE(nullptr, guarded) << e;
    EXPECT_FALSE(guarded->canary) << "the next slot of the same chunk has a guard again";
    for (stack* s : {bare, large, guarded}) arenas.put_list(s->size_class, s);
    arenas.drop();
  }
}

TEST(guards, a_forced_way_that_is_refused_is_an_error) {
  for (const guard_method m : {guard_method::batch, guard_method::single, guard_method::protect}) {
    stack_arenas arenas;
    arenas.init(m);
    faulty::fail(faulty::call::install_guards, 1, ENOMEM, faulty::for_ever);
    int e = 0;
    EXPECT_EQ(nullptr, arenas.get(1, &e));
    EXPECT_EQ(ENOMEM, e);
    EXPECT_EQ(nullptr, arenas.get_large(std::size_t{16} << 20, &e));
    faulty::reset();
    EXPECT_EQ(0u, arenas.slots_in_use());
    arenas.drop();
  }
}

TEST(guards, a_program_without_any_works_and_is_told_once) {
  const outcome o = with_fault(faulty::call::install_guards, 1, ENOMEM, faulty::for_ever);
  EXPECT_EQ(std::to_string(done), o.how) << o.said;
  constexpr const char* warning = "weft: no more guards for stacks (errno 12)";
  EXPECT_THAT(o.said, HasSubstr(warning));
  EXPECT_EQ(o.said.find(warning), o.said.rfind(warning)) << o.said;
}

}  // namespace
