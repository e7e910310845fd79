/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child guest: works off a ring of memory accesses without leaving guest mode, then says so
 * with one OUT. Runs in long mode without interrupts, IDT or GDT, until OP_LISTEN; the VMM sets every register.
 *
 * RBX command, RBP end of the commands, RSP stack. Each access is one instruction that touches
 * nothing but RAX and the target, so after an intercept the VMM can start over behind it.
 */
#include "layout.h"

	.code64
	.section .text
header:
	.quad	PAYLOAD_MAGIC
	.quad	entry

	.balign	16
entry:
	cmpq	%rbp, %rbx
	jae	done
	movl	COMMAND_OP(%rbx), %eax
	movq	COMMAND_ADDRESS(%rbx), %rdi
	cmpl	$OP_COUNT, %eax
	jae	bad
	jmp	*operations(,%rax,8)

	.balign	8
operations:				/* in the order of the OP_ numbers */
	.quad	read1, read2, read4, read8
	.quad	write1, write2, write4, write8
	.quad	execute, barrier
	.quad	listen, poll, halt

read1:	movzbl	(%rdi), %eax
	jmp	store
read2:	movzwl	(%rdi), %eax
	jmp	store
read4:	movl	(%rdi), %eax
	jmp	store
read8:	movq	(%rdi), %rax
store:	movq	%rax, COMMAND_VALUE(%rbx)
finish:	movl	$STATUS_DONE, COMMAND_STATUS(%rbx)
	addq	$COMMAND_SIZE, %rbx
	jmp	entry

write1:	movq	COMMAND_VALUE(%rbx), %rax
	movb	%al, (%rdi)
	jmp	finish
write2:	movq	COMMAND_VALUE(%rbx), %rax
	movw	%ax, (%rdi)
	jmp	finish
write4:	movq	COMMAND_VALUE(%rbx), %rax
	movl	%eax, (%rdi)
	jmp	finish
write8:	movq	COMMAND_VALUE(%rbx), %rax
	movq	%rax, (%rdi)
	jmp	finish

execute:
	call	*%rdi
	jmp	finish

barrier:
	movq	COMMAND_VALUE(%rbx), %rax
	lock incq (%rdi)
1:	cmpq	%rax, (%rdi)
	jae	finish
	pause
	jmp	1b

done:	outb	%al, $PORT_DONE
	jmp	done
bad:	outb	%al, $PORT_BAD_COMMAND
	jmp	bad

/* ---- interrupts: a local APIC in xAPIC mode; exceptions stay without gates, so that they end the run ---- */
#define APIC_SPURIOUS	0xfee000f0
#define APIC_EOI	0xfee000b0
#define APIC_ENABLE	0x1ff
#define FIRST_VECTOR	32
#define VECTORS		256
#define STUB_SIZE	16
#define CODE_SELECTOR	8
#define GATE_PRESENT	0x8e00

listen:	lgdt	gdt_pointer
	lidt	idt_pointer
	movl	$APIC_SPURIOUS, %edi
	movl	$APIC_ENABLE, (%rdi)
	sti
	jmp	finish

poll:	movq	COMMAND_VALUE(%rbx), %rax
1:	cmpq	%rax, (%rdi)
	jae	finish
	pause
	jmp	1b

halt:	movq	COMMAND_VALUE(%rbx), %rax
1:	cli
	cmpq	%rax, (%rdi)
	jae	2f
	sti				/* takes effect after the next instruction: no wake-up is lost */
	hlt
	jmp	1b
2:	sti
	jmp	finish

count:	pushq	%rax			/* above it: the vector, and what the processor pushed */
	movq	8(%rsp), %rax
	lock incq LAYOUT_COUNTERS(,%rax,8)
	movl	$APIC_EOI, %eax
	movl	$0, (%rax)
	popq	%rax
	addq	$8, %rsp
	iretq

	.balign	STUB_SIZE
stubs:
	vector = FIRST_VECTOR
	.rept	VECTORS - FIRST_VECTOR
	.balign	STUB_SIZE
	pushq	$vector
	jmp	count
	vector = vector + 1
	.endr

	.balign	16
idt:	.fill	FIRST_VECTOR * 2, 8, 0
	vector = FIRST_VECTOR
	.rept	VECTORS - FIRST_VECTOR	/* the code lies below 64 KiB: 16 bits of offset are all */
	.word	stubs + (vector - FIRST_VECTOR) * STUB_SIZE, CODE_SELECTOR, GATE_PRESENT, 0
	.quad	0
	vector = vector + 1
	.endr
idt_end:
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_end:
idt_pointer:
	.word	idt_end - idt - 1
	.quad	idt
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
