// gobuf: the saved context of whoever does not run: its stack pointer. Everything else that the ABI wants
// kept lies on the stack below it, in the order that switch.S and `first_frame` share.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft::rt {

struct gobuf {
  std::uintptr_t sp = 0;
};
static_assert(sizeof(gobuf) == 8 && offsetof(gobuf, sp) == 0, "switch.S reads gobuf.sp at offset 0");

extern "C" {
// Saves the caller's context in *from and continues *to, where it was saved. A balanced call and return:
// the return-address predictor of the CPU stays right (LIMITS 1: a jump costs 3 to 8 times more at depth).
// Returns, on the side that goes on, what the side that left passed: nobody else can tell it as cheaply on
// which thread it is now.
void* weft_switch(gobuf* from, gobuf* to, void* pass = nullptr) noexcept;
// Saves the caller's context in *from and calls fn(arg) on top of the same stack; fn never returns.
// weft_gogo(from) later makes this call return.
void weft_call_saving(gobuf* from, void (*fn)(void*), void* arg) noexcept;
// Continues *to and forgets the caller.
[[noreturn]] void weft_gogo(gobuf* to) noexcept;
// Calls fn(arg) on the stack that begins at sp (16-aligned). Exceptions of fn pass through.
void weft_call_on_stack(void (*fn)(void*), void* arg, std::uintptr_t sp);
// Where a fresh stack begins: calls weft_goroutine_base(passed), which never returns. Unwinders end here.
void weft_goroutine_start() noexcept;
}

// Lays out a fresh stack so that weft_switch enters weft_goroutine_start on it. sp0 is 16-aligned.
gobuf first_frame(std::uintptr_t sp0);

}  // namespace weft::rt
