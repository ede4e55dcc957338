// The context switch for x86-64, System V ABI.
//
// What is saved: the six callee-saved registers and the stack pointer. What is not: everything the ABI lets
// a call destroy, and the floating-point control words, which belong to the thread (DESIGN 4).
//
// A context that does not run looks like this, and gobuf.sp points at its lowest word. first_frame in
// switch.cpp builds the same by hand; debuggers rely on it too.
//
//   sp + 48  return address
//   sp + 40  rbp
//   sp + 32  rbx
//   sp + 24  r12
//   sp + 16  r13
//   sp +  8  r14
//   sp +  0  r15

    .text

    .macro SAVE
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    .endm

    .macro RESTORE
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    .endm

// void* weft_switch(gobuf* from, gobuf* to, void* pass)
// The CFI of both sides is the same, so a debugger may stop on any instruction.
    .globl weft_switch
    .hidden weft_switch
    .type weft_switch, @function
    .p2align 4
weft_switch:
    .cfi_startproc
    endbr64
    SAVE
    movq %rdx, %rax
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    RESTORE
    ret
    .cfi_endproc
    .size weft_switch, . - weft_switch

// void weft_call_saving(gobuf* from, void (*fn)(void*), void* arg)
    .globl weft_call_saving
    .hidden weft_call_saving
    .type weft_call_saving, @function
    .p2align 4
weft_call_saving:
    .cfi_startproc
    endbr64
    SAVE
    movq %rsp, (%rdi)
    movq %rdx, %rdi
    subq $8, %rsp               // the ABI wants 16-byte alignment at the call
    .cfi_adjust_cfa_offset 8
    call *%rsi
    ud2
    .cfi_endproc
    .size weft_call_saving, . - weft_call_saving

// void weft_gogo(gobuf* to)
    .globl weft_gogo
    .hidden weft_gogo
    .type weft_gogo, @function
    .p2align 4
weft_gogo:
    .cfi_startproc
    endbr64
    movq (%rdi), %rsp
    .cfi_def_cfa %rsp, 56
    .cfi_offset %rbp, -16
    .cfi_offset %rbx, -24
    .cfi_offset %r12, -32
    .cfi_offset %r13, -40
    .cfi_offset %r14, -48
    .cfi_offset %r15, -56
    RESTORE
    ret
    .cfi_endproc
    .size weft_gogo, . - weft_gogo

// void weft_call_on_stack(void (*fn)(void*), void* arg, std::uintptr_t sp)
// The frame lies on the caller's stack and what it calls on another. rbp is all that connects them: by it the CFI finds
// the caller's frame at every instruction, so exceptions, tracebacks and walkers by frame pointer cross the seam.
    .globl weft_call_on_stack
    .hidden weft_call_on_stack
    .type weft_call_on_stack, @function
    .p2align 4
weft_call_on_stack:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsp             // 16-aligned, as the ABI wants it at the call
    call *%rax
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    .cfi_restore %rbp
    ret
    .cfi_endproc
    .size weft_call_on_stack, . - weft_call_on_stack

// The first frame of every goroutine stack. Its return address and frame pointer are undefined and zero: each
// kind of unwinder ends here, and an exception that nobody catches finds no handler, so that it
// terminates with the throwing frames still in place.
    .globl weft_goroutine_start
    .hidden weft_goroutine_start
    .type weft_goroutine_start, @function
    .p2align 4
weft_goroutine_start:
    .cfi_startproc
    .cfi_undefined %rip
    .cfi_undefined %rbp
    endbr64
    xorl %ebp, %ebp
    movq %rax, %rdi
    call weft_goroutine_base
    ud2
    .cfi_endproc
    .size weft_goroutine_start, . - weft_goroutine_start

    .section .note.GNU-stack, "", @progbits
