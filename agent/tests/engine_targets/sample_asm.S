// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Functions whose place and registers matter.
    .section .text$page,"x"
    .p2align 12
    .globl same_page_one
same_page_one:
    movl $11, %eax
    ret
    .p2align 4
    .globl same_page_two
same_page_two:
    movl $12, %eax
    ret

// Its first instruction begins two bytes before the end of a page.
    .p2align 4
    .fill 4096 - (. - same_page_one) - 2, 1, 0x90
    .globl across_page
across_page:
    movl $5, %eax
    nop
    ret

// rax becomes 1, then 2; every other register and the flags stay as they are (LOOP leaves even the flags alone). It takes long
// enough that a stop often meets a thread in it.
    .p2align 4
    .globl register_probe
register_probe:
    pushq %rcx
    movl $300, %ecx
1:
    loop 1b
    popq %rcx
    movl $1, %eax
    ret

// A variable in the module's static thread-local storage (between the .tls and .tls$ZZZ of the C runtime): set_tls_value sets it,
// tls_value_plus gives it with 1, then 2 added.
    .section .tls$B,"dw"
tls_value:
    .long 0

    .data
    .globl tls_offset
tls_offset:
    .secrel32 tls_value

    .text
    .p2align 4
    .globl set_tls_value
set_tls_value:
    movl _tls_index(%rip), %eax
    movq %gs:0x58, %rdx
    movq (%rdx,%rax,8), %rdx
    movl tls_offset(%rip), %eax
    movl %ecx, (%rdx,%rax)
    ret
    .p2align 4
    .globl tls_value_plus
tls_value_plus:
    movl _tls_index(%rip), %eax
    movq %gs:0x58, %rdx
    movq (%rdx,%rax,8), %rdx
    movl tls_offset(%rip), %eax
    movl (%rdx,%rax), %eax
    addl $1, %eax
    ret
