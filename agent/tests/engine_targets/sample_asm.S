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

// rax becomes 1, then 2; every other register and the flags stay as they are.
    .p2align 4
    .globl register_probe
register_probe:
    movl $1, %eax
    ret
