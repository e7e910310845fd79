/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child guest: works off a ring of memory accesses without leaving guest mode, then says so
 * with one OUT. Runs in long mode without interrupts, IDT or GDT; the VMM sets every register.
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
