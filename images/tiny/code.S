/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code of child VPs: 32-bit, flat, no paging, no IDT. By convention ebx is the address to touch, esi the data page.
 * Each piece ends with HLT, which the root sees, and begins again when it is dispatched once more.
 */
	.section .rodata
	.code32
	.macro PIECE name
	.globl	\name
	.balign	64
\name:
	.endm

PIECE child_in
	in	$0x10, %al
	mov	%eax, (%esi)
	hlt
	jmp	child_in
PIECE child_halt
	incl	(%esi)
	hlt
	jmp	child_halt
PIECE child_read
	mov	(%ebx), %eax
	mov	%eax, (%esi)
	hlt
	jmp	child_read
PIECE child_write
	mov	%eax, (%ebx)
	hlt
	jmp	child_write
PIECE child_spin			/* for ever: read, copy, count */
	mov	(%ebx), %eax
	mov	%eax, 4(%esi)
	incl	(%esi)
	pause
	jmp	child_spin
PIECE child_cpuid
	cpuid
	mov	%eax, (%esi)
	mov	%ebx, 4(%esi)
	mov	%ecx, 8(%esi)
	mov	%edx, 12(%esi)
	hlt
	jmp	child_cpuid
PIECE child_msr
	rdmsr
	mov	%eax, (%esi)
	mov	%edx, 4(%esi)
	hlt
	jmp	child_msr
PIECE child_exec
	jmp	*%ebx
PIECE child_triple			/* no IDT: the exception kills the VP */
	ud2
PIECE child_interrupt			/* IDT entry for a vector in the code page itself; see t_run.c */
	sti
	hlt
	incl	(%esi)
	jmp	child_interrupt
	.balign	16
	.globl	child_handler
child_handler:
	incl	4(%esi)
	cli
	hlt
	jmp	child_handler
PIECE child_doze			/* the end of "sti; hlt": the root says that STI has just been executed */
	hlt
	in	$0x10, %al
	jmp	child_doze
	.balign	16
	.globl	child_doze_handler
child_doze_handler:
	incl	4(%esi)
	iret
PIECE child_takes			/* its local APIC is on, and it halts for ever; two vectors are counted, see t_run.c */
	movl	$0x1ff, 0xfee000f0
1:	sti
	hlt
	jmp	1b
	.balign	16
	.globl	child_takes_first, child_takes_second
child_takes_first:
	incl	4(%esi)
	movl	$0, 0xfee000b0
	iret
	.balign	16
child_takes_second:
	incl	8(%esi)
	movl	$0, 0xfee000b0
	iret
	.skip	4096				/* whoever copies a page of code reads no further than this */
