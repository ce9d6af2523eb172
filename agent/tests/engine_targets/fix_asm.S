// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// New code of the functions in sample_asm.S.
    .text
    .p2align 4
    .globl same_page_one
same_page_one:
    movl $21, %eax
    ret
    .p2align 4
    .globl same_page_two
same_page_two:
    movl $22, %eax
    ret
    .p2align 4
    .globl across_page
across_page:
    movl $6, %eax
    ret
    .p2align 4
    .globl register_probe
register_probe:
    pushq %rcx
    movl $300, %ecx
1:
    loop 1b
    popq %rcx
    movl $2, %eax
    ret
// Reads the module's static thread-local storage as the old code does.
    .p2align 4
    .globl tls_value_plus
tls_value_plus:
    movl _tls_index(%rip), %eax
    movq %gs:0x58, %rdx
    movq (%rdx,%rax,8), %rdx
    movl tls_offset(%rip), %eax
    movl (%rdx,%rax), %eax
    addl $2, %eax
    ret
