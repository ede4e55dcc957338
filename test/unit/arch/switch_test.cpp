// The context switch by itself, without a scheduler: what survives it, and where a stack begins.
#include <execinfo.h>
#include <gtest/gtest.h>
#include <unwind.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "arch/getg.hpp"
#include "arch/gobuf.hpp"
#include "mem/stack.hpp"
#include "model/g.hpp"
#include "model/m.hpp"
#include "support/build.hpp"
#include "weft/weft.hpp"

#if defined(__x86_64__)

// Fills the six callee-saved registers with pattern + 1 … pattern + 6, switches, and says which of them came back
// changed (a bit each). In assembly, because a compiler keeps things of its own in them.
extern "C" unsigned weft_test_switch(weft::rt::gobuf* from, weft::rt::gobuf* to, std::uint64_t pattern);
extern "C" unsigned weft_test_call_saving(weft::rt::gobuf* from, void (*fn)(void*), void* arg, std::uint64_t pattern);
asm(R"(
    .text
    .macro FILL
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdx
    leaq 1(%rdx), %rbx
    leaq 2(%rdx), %rbp
    leaq 3(%rdx), %r12
    leaq 4(%rdx), %r13
    leaq 5(%rdx), %r14
    leaq 6(%rdx), %r15
    .endm
    .macro COMPARE register, number
    leaq \number(%rdx), %rcx
    cmpq %rcx, \register
    je 1f
    orl $1 << \number, %eax
1:
    .endm
    .macro VERIFY
    popq %rdx
    xorl %eax, %eax
    COMPARE %rbx, 1
    COMPARE %rbp, 2
    COMPARE %r12, 3
    COMPARE %r13, 4
    COMPARE %r14, 5
    COMPARE %r15, 6
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .endm
    .globl weft_test_switch
    .type weft_test_switch, @function
weft_test_switch:
    FILL
    call weft_switch
    VERIFY
    .size weft_test_switch, . - weft_test_switch
    .globl weft_test_call_saving
    .type weft_test_call_saving, @function
weft_test_call_saving:
    xchgq %rcx, %rdx          # the macros want the pattern in rdx
    FILL
    movq %rcx, %rdx
    call weft_call_saving
    VERIFY
    .size weft_test_call_saving, . - weft_test_call_saving
)");

namespace {

using namespace weft::rt;

// A context on a stack of its own, laid out by hand as switch.S says.
struct context {
  using entry = void (*)();
  explicit context(entry start) : memory(new unsigned char[bytes]) {
    auto top = reinterpret_cast<std::uintptr_t>(memory.get()) + bytes;
    top &= ~std::uintptr_t{15};
    auto* word = reinterpret_cast<std::uintptr_t*>(top);
    *--word = 0;  // as a return address: the entry sees rsp % 16 == 8, as after a call
    *--word = reinterpret_cast<std::uintptr_t>(start);
    for (int i = 0; i < 6; ++i) *--word = 0;
    buf.sp = reinterpret_cast<std::uintptr_t>(word);
  }
  static constexpr std::size_t bytes = 64 << 10;
  std::unique_ptr<unsigned char[]> memory;
  gobuf buf;
};

// ThreadSanitizer keeps a shadow of the call stack, which a switch behind its back confuses; the runtime tells it.
#define NO_BARE_SWITCH_UNDER_TSAN() \
  if (weft::test::built_with_tsan) GTEST_SKIP() << "a bare switch is not announced"

gobuf main_buf;
context* other = nullptr;
unsigned other_lost = 0;
std::uintptr_t other_frame = 0;

TEST(weft_switch, keeps_the_callee_saved_registers_of_both_sides) {
  NO_BARE_SWITCH_UNDER_TSAN();
  context c([] {
    for (std::uint64_t i = 0;; ++i) {
      other_lost |= weft_test_switch(&other->buf, &main_buf, 0xbbbbbbbb00000000 + 16 * i);
    }
  });
  other = &c;
  other_lost = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(0u, weft_test_switch(&main_buf, &c.buf, 0xaaaaaaaa00000000 + 16 * i));
  }
  EXPECT_EQ(0u, other_lost);
}

TEST(weft_switch, a_fresh_context_starts_with_zeros_and_an_aligned_stack) {
  NO_BARE_SWITCH_UNDER_TSAN();
  context c([] {
    other_frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    weft_switch(&other->buf, &main_buf);
  });
  other = &c;
  weft_switch(&main_buf, &c.buf);
  EXPECT_EQ(0u, other_frame % 16);
  EXPECT_GT(other_frame, reinterpret_cast<std::uintptr_t>(c.memory.get()));
  EXPECT_LE(other_frame, reinterpret_cast<std::uintptr_t>(c.memory.get()) + context::bytes);
}

// Many contexts, each some frames deep, each with something on its stack that nobody else may touch.
struct walker {
  context* self = nullptr;
  std::uint64_t id = 0;
  std::uint64_t rounds = 0;
  bool intact = true;
};
std::vector<walker> walkers;
std::size_t current = 0;

[[gnu::noinline]] void walk(unsigned depth) {
  walker& me = walkers[current];
  std::uint64_t mark[8];
  for (std::uint64_t& m : mark) m = me.id * 1000 + depth;
  asm volatile("" : : "r"(mark) : "memory");
  if (depth > 0) {
    walk(depth - 1);
  } else {
    for (;;) {
      ++me.rounds;
      weft_switch(&me.self->buf, &main_buf);
      if (me.rounds % 7 == 0) break;
    }
  }
  asm volatile("" : : "r"(mark) : "memory");
  for (const std::uint64_t m : mark) me.intact = me.intact && m == me.id * 1000 + depth;
}

TEST(weft_switch, keeps_the_stacks_of_many_contexts_apart) {
  NO_BARE_SWITCH_UNDER_TSAN();
  constexpr std::size_t n = 60;
  std::vector<std::unique_ptr<context>> contexts;
  walkers.assign(n, {});
  for (std::size_t i = 0; i < n; ++i) {
    contexts.push_back(std::make_unique<context>([] {
      for (;;) walk(static_cast<unsigned>(walkers[current].id % 13 + walkers[current].rounds % 5));
    }));
    walkers[i].self = contexts[i].get();
    walkers[i].id = i;
  }
  for (int round = 0; round < 100; ++round) {
    for (current = 0; current < n; ++current) weft_switch(&main_buf, &contexts[current]->buf);
  }
  for (const walker& w : walkers) {
    EXPECT_EQ(100u, w.rounds);
    EXPECT_TRUE(w.intact) << "context " << w.id;
  }
}

// ---- weft_call_saving and weft_gogo

struct call {
  gobuf saved;
  std::uintptr_t frame = 0;
  int value = 0;
};

TEST(weft_call_saving, returns_when_the_saved_context_is_continued) {
  NO_BARE_SWITCH_UNDER_TSAN();
  for (int i = 0; i < 1000; ++i) {
    call c;
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    weft_call_saving(
        &c.saved,
        [](void* arg) {
          call& mine = *static_cast<call*>(arg);
          mine.frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
          mine.value = 42;
          weft_gogo(&mine.saved);
        },
        &c);
    ASSERT_EQ(42, c.value);
    ASSERT_EQ(0u, c.frame % 16);
    ASSERT_LT(c.frame, here) << "on top of the same stack";
    ASSERT_LT(here - c.frame, 4096u);
  }
}

TEST(weft_call_saving, keeps_the_callee_saved_registers) {
  NO_BARE_SWITCH_UNDER_TSAN();
  for (std::uint64_t i = 0; i < 100; ++i) {
    call c;
    const unsigned lost = weft_test_call_saving(
        &c.saved,
        [](void* arg) {
          gobuf* saved = &static_cast<call*>(arg)->saved;
          asm volatile(
              "xorl %%ebx, %%ebx\n\txorl %%r12d, %%r12d\n\txorl %%r13d, %%r13d\n\txorl %%r14d, %%r14d\n\txorl %%r15d, "
              "%%r15d"
              :
              :
              : "rbx", "r12", "r13", "r14", "r15");
          weft_gogo(saved);
        },
        &c, 0x7700 + 16 * i);
    ASSERT_EQ(0u, lost);
  }
}

// Seen as an ordinary function: compilers warn of a recursion that can only end in one that never returns.
void (*volatile continue_context)(gobuf*) = weft_gogo;

[[gnu::noinline]] void leave_from(int depth, gobuf* to) {
  if (depth > 0) {
    char frame[256] = {};
    asm volatile("" : : "r"(frame) : "memory");
    leave_from(depth - 1, to);
    asm volatile("" : : "r"(frame) : "memory");
    return;
  }
  continue_context(to);
}

TEST(weft_gogo, forgets_the_frames_of_its_caller) {
  NO_BARE_SWITCH_UNDER_TSAN();
  if (weft::test::built_with_asan) GTEST_SKIP() << "the red zones of the forgotten frames stay";
  for (int i = 0; i < 100; ++i) {
    call c;
    weft_call_saving(
        &c.saved, [](void* arg) { leave_from(20, &static_cast<call*>(arg)->saved); }, &c);
  }
}

// ---- the first frame

TEST(first_frame, is_what_a_switch_pops) {
  alignas(16) std::uintptr_t memory[32];
  std::memset(memory, 0xff, sizeof memory);
  const auto sp0 = reinterpret_cast<std::uintptr_t>(&memory[32]);
  const gobuf buf = first_frame(sp0);
  const auto* word = reinterpret_cast<const std::uintptr_t*>(buf.sp);
  ASSERT_GE(word, memory);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(0u, word[i]) << "callee-saved register " << i;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&weft_goroutine_start), word[6]);
  EXPECT_EQ(0u, word[7]) << "the return address above the first frame";
  EXPECT_EQ(0u, (buf.sp + 56) % 16) << "weft_goroutine_start calls on: its own stack pointer is aligned";
  EXPECT_LT(buf.sp + 56, sp0);
}

// ---- a real goroutine's first frames

void with_one_p(void (*f)()) {
  weft::options o;
  o.procs = 1;
  weft::run(o, f);
}

// movaps faults on an address that is not aligned.
[[gnu::noinline]] bool aligned_store_works() {
  alignas(16) float target[4];
  asm volatile("movaps %%xmm0, %0" : "=m"(target));
  return reinterpret_cast<std::uintptr_t>(target) % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) % 16 == 0;
}

TEST(goroutine_start, enters_user_code_with_an_aligned_stack) {
  with_one_p([] {
    EXPECT_TRUE(aligned_store_works());
    int ran = 0;
    for (const std::size_t bytes : {16 << 10, 64 << 10, 256 << 10, 1 << 20}) {
      for (int i = 0; i < 20; ++i) {  // slots differ in colour
        weft::go({.stack_size = bytes}, [&] { ran += aligned_store_works(); });
      }
      weft::semaphore s(0);
      for (int i = 0; i < 20; ++i) {  // all parked at once: one slot each
        weft::go({.stack_size = bytes}, [&] {
          s.acquire();
          ran += aligned_store_works();
        });
      }
      weft::yield();
      s.release(20);
      while (weft::num_goroutine() != 1) weft::yield();
    }
    EXPECT_EQ(160, ran);
  });
}

bool in_goroutine_start(const void* pc) {
  const auto start = reinterpret_cast<std::uintptr_t>(&weft_goroutine_start);
  const auto at = reinterpret_cast<std::uintptr_t>(pc);
  return at > start && at < start + 32;
}

struct unwound {
  int frames = 0;
  const void* last = nullptr;
};

_Unwind_Reason_Code count_frame(_Unwind_Context* c, void* arg) {
  unwound& u = *static_cast<unwound*>(arg);
  u.last = reinterpret_cast<const void*>(_Unwind_GetIP(c));
  return ++u.frames > 1000 ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

[[gnu::noinline]] void walk_ends_at_the_start(int depth) {
  if (depth > 0) {
    walk_ends_at_the_start(depth - 1);
    asm volatile("");  // no tail call
    return;
  }
  void* pcs[256];
  const int n = ::backtrace(pcs, 256);
  ASSERT_GT(n, 1);
  ASSERT_LT(n, 256);
  // Some unwinders add a null at the end.
  EXPECT_TRUE(in_goroutine_start(pcs[n - 1]) || (pcs[n - 1] == nullptr && in_goroutine_start(pcs[n - 2])));
  unwound u;
  EXPECT_EQ(_URC_END_OF_STACK, _Unwind_Backtrace(count_frame, &u));
  EXPECT_LT(u.frames, 1000);
  EXPECT_TRUE(u.last == nullptr || in_goroutine_start(u.last));
}

TEST(goroutine_start, is_where_every_unwinder_ends) {
  with_one_p([] {
    walk_ends_at_the_start(0);
    walk_ends_at_the_start(50);
    weft::go([] { walk_ends_at_the_start(3); });
    weft::go([] {  // run in place, where another has ended
      weft::yield();
      walk_ends_at_the_start(7);
    });
    while (weft::num_goroutine() != 1) weft::yield();
    weft::blocking([] { walk_ends_at_the_start(2); });
  });
}

// The return address of zero is for walkers by frame pointer. Those by CFI are told, and do not look at it.
TEST(goroutine_start, ends_walks_by_its_cfi_alone) {
  with_one_p([] {
    weft::go([] {
      auto* above = reinterpret_cast<std::uintptr_t*>(getg()->stack->sp0 - 16);
      ASSERT_EQ(0u, *above);
      *above = reinterpret_cast<std::uintptr_t>(&aligned_store_works) + 1;
      walk_ends_at_the_start(2);
      *above = 0;
    });
    weft::yield();
  });
}

TEST(goroutine_start, exceptions_find_their_handlers_on_any_stack) {
  with_one_p([] {
    int caught = 0;
    for (int i = 0; i < 50; ++i) {
      weft::go([&, i] {
        try {
          weft::yield();
          throw i;
        } catch (int value) {
          weft::yield();
          caught += value == i;
        }
      });
    }
    while (weft::num_goroutine() != 1) weft::yield();
    EXPECT_EQ(50, caught);
  });
}

// ---- getg

TEST(getg, is_null_on_a_thread_that_is_no_m_and_each_thread_has_its_own) {
  EXPECT_EQ(nullptr, getg());
  g mine, others;
  setg(&mine);
  EXPECT_EQ(&mine, getg());
  std::thread([&] {
    EXPECT_EQ(nullptr, getg());
    setg(&others);
    EXPECT_EQ(&others, getg());
  }).join();
  EXPECT_EQ(&mine, getg());
  setg(nullptr);
  EXPECT_EQ(nullptr, getg());
}

TEST(getg, is_the_goroutine_that_runs_and_null_again_after_the_run) {
  with_one_p([] {
    g* const main = getg();
    ASSERT_NE(nullptr, main);
    EXPECT_EQ(0, main->flags & g_is_g0);
    g* first = nullptr;
    g* again = nullptr;
    weft::go([&] {
      first = getg();
      weft::yield();
      again = getg();
    });
    while (weft::num_goroutine() != 1) weft::yield();
    EXPECT_NE(main, first);
    EXPECT_EQ(first, again);
    EXPECT_EQ(main, getg());
  });
  EXPECT_EQ(nullptr, getg());
}

// A goroutine that woke on another thread sees itself, also in a function that asked before it slept.
TEST(getg, is_right_after_every_change_of_threads) {
  weft::options o;
  o.procs = 2;
  weft::run(o, [] {
    weft::semaphore a(0), b(0);
    int wrong = 0;
    const auto body = [&](weft::semaphore& mine, weft::semaphore& theirs) {
      g* const self = getg();
      for (int i = 0; i < 2000; ++i) {
        theirs.release();
        mine.acquire();
        g* const now = getg();
        if (now != self || now->m->curg != now) ++wrong;
      }
    };
    weft::wait_group wg;
    wg.go([&] { body(a, b); });
    wg.go([&] { body(b, a); });
    wg.wait();
    EXPECT_EQ(0, wrong);
  });
}

}  // namespace

#endif  // x86-64; another CPU's switch gets the same claims in a file of its own
