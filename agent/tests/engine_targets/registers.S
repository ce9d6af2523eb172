// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// void call_with_registers(void (*function)(void), const struct Registers *before, struct Registers *after)
// Loads every general, vector and x87 register, MXCSR and the flags from `before`, calls, and stores what comes back in `after`.
// struct Registers is in target.cpp: general registers in the order rax rbx rcx rdx rsi rdi rbp r8-r15, flags, vectors of 32 bytes
// (the upper half only where the processor has AVX), MXCSR, whether it has AVX, and the x87 state as FNSAVE stores it.
    .set flags, 120
    .set vectors, 128
    .set mxcsr, 640
    .set has_avx, 644
    .set x87, 648

    .text
    .globl call_with_registers
call_with_registers:
    pushq %rbx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $0xD8, %rsp
    .irp n,6,7,8,9,10,11,12,13,14,15
    movups %xmm\n, (\n - 6) * 16(%rsp)
    .endr
    movq %rcx, 0xA0(%rsp)
    movq %r8, 0xA8(%rsp)
    stmxcsr 0xB8(%rsp)
    fnstcw 0xBC(%rsp)
    movq %rdx, %rax
    cmpl $0, has_avx(%rax)
    je 1f
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups vectors + \n * 32(%rax), %ymm\n
    .endr
    jmp 2f
1:
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups vectors + \n * 32(%rax), %xmm\n
    .endr
2:
    frstor x87(%rax)
    ldmxcsr mxcsr(%rax)
    pushq flags(%rax)
    popfq
    movq 8(%rax), %rbx
    movq 16(%rax), %rcx
    movq 24(%rax), %rdx
    movq 32(%rax), %rsi
    movq 40(%rax), %rdi
    movq 48(%rax), %rbp
    movq 56(%rax), %r8
    movq 64(%rax), %r9
    movq 72(%rax), %r10
    movq 80(%rax), %r11
    movq 88(%rax), %r12
    movq 96(%rax), %r13
    movq 104(%rax), %r14
    movq 112(%rax), %r15
    movq 0(%rax), %rax
    call *0xA0(%rsp)
    movq %rax, 0xB0(%rsp)
    movq 0xA8(%rsp), %rax
    movq %rbx, 8(%rax)
    movq %rcx, 16(%rax)
    movq %rdx, 24(%rax)
    movq %rsi, 32(%rax)
    movq %rdi, 40(%rax)
    movq %rbp, 48(%rax)
    movq %r8, 56(%rax)
    movq %r9, 64(%rax)
    movq %r10, 72(%rax)
    movq %r11, 80(%rax)
    movq %r12, 88(%rax)
    movq %r13, 96(%rax)
    movq %r14, 104(%rax)
    movq %r15, 112(%rax)
    pushfq
    popq flags(%rax)
    cld
    stmxcsr mxcsr(%rax)
    fnsave x87(%rax)
    ldmxcsr 0xB8(%rsp)
    fldcw 0xBC(%rsp)
    cmpl $0, has_avx(%rax)
    je 3f
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups %ymm\n, vectors + \n * 32(%rax)
    .endr
    vzeroupper
    jmp 4f
3:
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups %xmm\n, vectors + \n * 32(%rax)
    .endr
4:
    movq 0xB0(%rsp), %rcx
    movq %rcx, 0(%rax)
    .irp n,6,7,8,9,10,11,12,13,14,15
    movups (\n - 6) * 16(%rsp), %xmm\n
    .endr
    addq $0xD8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rbx
    ret
