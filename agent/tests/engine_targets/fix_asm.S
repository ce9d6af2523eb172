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
    movl $2, %eax
    ret
