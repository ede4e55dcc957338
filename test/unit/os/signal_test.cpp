#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "os/sys.hpp"
#include "unit/os/child.hpp"

namespace {

using namespace weft::rt;

// Read by handlers in the children; one child per test.
char* forbidden = nullptr;
void (*ours)(int, siginfo_t*, void*) = nullptr;
os::stack_bounds faulting_stack;
int calls = 0;

char* forbidden_page() {
  return static_cast<char*>(
      ::mmap(nullptr, os::page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

int touch() {
  *static_cast<volatile char*>(forbidden) = 1;
  return 0;
}

bool not_ours(std::uintptr_t, std::uintptr_t) { return false; }

bool repair(std::uintptr_t address, std::uintptr_t) {
  if (address != reinterpret_cast<std::uintptr_t>(forbidden)) ::_exit(9);
  return ::mprotect(forbidden, os::page_size(), PROT_READ | PROT_WRITE) == 0;
}

template <class F>
std::string fault_after(F prepare) {
  return ends_with([&] {
    forbidden = forbidden_page();
    prepare();
    return touch();
  });
}

void handle(int sig, void (*fn)(int)) { ::signal(sig, fn); }

void handle_with_info(void (*fn)(int, siginfo_t*, void*), int more_flags = 0) {
  struct sigaction action {};
  action.sa_sigaction = fn;
  action.sa_flags = SA_SIGINFO | more_flags;
  ::sigaction(SIGSEGV, &action, nullptr);
}

TEST(fault_handler, a_fault_of_ours_is_tried_again_when_the_handler_returns) {
  EXPECT_EQ("exit 0", fault_after([] { os::fault_handler_install(repair); }));
}

TEST(fault_handler, runs_on_the_alternate_stack_and_is_told_the_stack_pointer_of_the_fault) {
  EXPECT_EQ("exit 5", fault_after([] {
              stack_t off{};
              off.ss_flags = SS_DISABLE;
              ::sigaltstack(&off, nullptr);
              if (os::signal_stack_install() == nullptr) ::_exit(1);
              faulting_stack = os::thread_stack();
              os::fault_handler_install([](std::uintptr_t, std::uintptr_t sp) {
                stack_t alternate{};
                ::sigaltstack(nullptr, &alternate);
                const auto lo = reinterpret_cast<std::uintptr_t>(alternate.ss_sp);
                const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
                if (here < lo || here >= lo + alternate.ss_size) ::_exit(2);
                ::_exit(sp > faulting_stack.lo && sp < faulting_stack.hi ? 5 : 3);
                return true;
              });
            }));
}

TEST(fault_handler, without_a_previous_handler_the_process_dies_by_the_signal) {
  EXPECT_EQ("signal 11", fault_after([] { os::fault_handler_install(not_ours); }));
}

TEST(fault_handler, an_ignored_signal_does_not_make_a_fault_loop_for_ever) {
  EXPECT_EQ("signal 11", fault_after([] {
              handle(SIGSEGV, SIG_IGN);
              os::fault_handler_install(not_ours);
            }));
}

TEST(fault_handler, the_previous_handler_gets_faults_that_are_not_ours) {
  EXPECT_EQ("exit 11", fault_after([] {
              handle(SIGSEGV, [](int sig) { ::_exit(sig); });
              os::fault_handler_install(not_ours);
            }));
  EXPECT_EQ("exit 6", fault_after([] {
              handle_with_info([](int, siginfo_t* info, void* context) {
                ::_exit(info->si_addr == forbidden && context != nullptr ? 6 : 7);
              });
              os::fault_handler_install(not_ours);
            }));
}

TEST(fault_handler, a_one_shot_handler_stays_one_shot) {
  EXPECT_EQ("signal 11", fault_after([] {
              handle_with_info(
                  [](int sig, siginfo_t*, void*) {
                    if (calls++ != 0) ::_exit(4);
                    ::raise(sig);
                  },
                  static_cast<int>(SA_RESETHAND));
              os::fault_handler_install(not_ours);
            }));
}

TEST(fault_handler, signals_that_were_sent_are_never_ours) {
  const auto sent = [](void (*before)(int)) {
    return ends_with([&] {
      handle(SIGSEGV, before);
      os::fault_handler_install([](std::uintptr_t, std::uintptr_t) { return true; });
      ::raise(SIGSEGV);
      return 4;
    });
  };
  EXPECT_EQ("signal 11", sent(SIG_DFL));
  EXPECT_EQ("exit 4", sent(SIG_IGN));
}

TEST(fault_handler, bus_errors_are_seen_too) {
  EXPECT_EQ("exit 8", ends_with([] {
              char name[] = "/tmp/weft_bus_XXXXXX";
              const int fd = ::mkstemp(name);
              ::unlink(name);
              void* beyond_the_end = ::mmap(nullptr, os::page_size(), PROT_READ, MAP_SHARED, fd, 0);
              os::fault_handler_install([](std::uintptr_t, std::uintptr_t) -> bool { ::_exit(8); });
              return *static_cast<volatile char*>(beyond_the_end) + 0;
            }));
}

TEST(fault_handler, installing_again_changes_the_function_only) {
  EXPECT_EQ("exit 11", fault_after([] {
              handle(SIGSEGV, [](int sig) { ::_exit(sig); });
              os::fault_handler_install(repair);
              os::fault_handler_install(not_ours);
            }));
}

TEST(fault_handler, does_not_climb_over_a_handler_that_passes_faults_on_to_it) {
  EXPECT_EQ("signal 11", fault_after([] {
              os::fault_handler_install(not_ours);
              struct sigaction action {};
              ::sigaction(SIGSEGV, nullptr, &action);
              ours = action.sa_sigaction;
              handle_with_info([](int sig, siginfo_t* info, void* context) { ours(sig, info, context); });
              os::fault_handler_install(not_ours);
            }));
}

TEST(fault_handler, comes_back_after_somebody_restored_the_default) {
  EXPECT_EQ("exit 0", fault_after([] {
              os::fault_handler_install(repair);
              handle(SIGSEGV, SIG_DFL);
              os::fault_handler_install(repair);
            }));
}

TEST(fault_handler, keeps_errno) {
  EXPECT_EQ("exit 0", ends_with([] {
              forbidden = forbidden_page();
              os::fault_handler_install([](std::uintptr_t address, std::uintptr_t sp) {
                errno = 1;
                return repair(address, sp);
              });
              errno = 77;
              touch();
              return errno == 77 ? 0 : 1;
            }));
}

TEST(signal_stack, has_a_guard_below) {
  EXPECT_EQ("signal 11", ends_with([] {
              stack_t off{};
              off.ss_flags = SS_DISABLE;
              ::sigaltstack(&off, nullptr);
              forbidden = static_cast<char*>(os::signal_stack_install()) + os::page_size() - 1;
              forbidden[1] = 1;
              return touch();
            }));
}

TEST(signal_stack, is_the_threads_until_it_is_removed) {
  EXPECT_EQ("exit 0", ends_with([] {
              stack_t off{}, have{};
              off.ss_flags = SS_DISABLE;
              ::sigaltstack(&off, nullptr);
              char* memory = static_cast<char*>(os::signal_stack_install());
              ::sigaltstack(nullptr, &have);
              if (memory == nullptr || have.ss_sp != memory + os::page_size()) return 1;
              if (have.ss_size < 32 << 10) return 2;
              os::signal_stack_remove(memory);
              ::sigaltstack(nullptr, &have);
              return (have.ss_flags & SS_DISABLE) != 0 ? 0 : 3;
            }));
}

TEST(signal_stack, one_that_is_there_already_is_kept) {
  EXPECT_EQ("exit 0", ends_with([] {
              static char theirs[64 << 10];
              stack_t mine{}, have{};
              mine.ss_sp = theirs;
              mine.ss_size = sizeof theirs;
              ::sigaltstack(&mine, nullptr);
              if (os::signal_stack_install() != nullptr) return 1;
              os::signal_stack_remove(nullptr);
              ::sigaltstack(nullptr, &have);
              return have.ss_sp == theirs ? 0 : 2;
            }));
}

}  // namespace
