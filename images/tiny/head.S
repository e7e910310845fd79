/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bzImage header, the entry of each LP, exception stubs, contexts, and a trip to user mode. */
#include "layout.h"

#define SETUP_SECTORS 1
#define BOOT_PROTOCOL 0x020c

	.section .setup, "ax"
	.org	0x1f1
	.byte	SETUP_SECTORS
	.org	0x200
	.byte	0xeb, setup_end - after_jump
after_jump:
	.ascii	"HdrS"
	.word	BOOT_PROTOCOL
	.org	0x260
setup_end:
	.org	0x400

	.section .head, "ax"
	.code64
	.org	0x200
	.globl	entry64
entry64:			/* the 64-bit boot protocol: identity page tables, rsi at boot_params */
	cli
	cld
	mov	$bss_start, %edi
	mov	$bss_end, %ecx
	sub	%edi, %ecx
	shr	$3, %ecx
	xor	%eax, %eax
	rep stosq
	mov	$stacks + STACK_SIZE, %esp
	mov	%rsi, %rdi
	call	tiny_main
	ud2

	.text
	.globl	ap_entry
ap_entry:			/* long mode, identity page tables; the LP's number is in edi */
	mov	%edi, %eax
	inc	%eax
	imul	$STACK_SIZE, %eax
	lea	stacks(%eax), %rsp
	call	ap_main
	ud2

	/* ---- copied to TRAMPOLINE: where a started LP begins, in real mode ---- */
	.code16
	.globl	trampoline, trampoline_end, trampoline_lp, trampoline_cr3
trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	trampoline_gdtr - trampoline
	mov	$CR4_PAE_BIT, %eax
	mov	%eax, %cr4
	mov	trampoline_cr3 - trampoline, %eax
	mov	%eax, %cr3
	mov	$EFER_NUMBER, %ecx
	mov	$EFER_LME_BIT, %eax
	xor	%edx, %edx
	wrmsr
	mov	$CR0_LONG, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE, $TRAMPOLINE + (trampoline64 - trampoline)
	.code64
trampoline64:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	trampoline_lp(%rip), %edi
	mov	$ap_entry, %eax
	jmp	*%rax
	.align	8
trampoline_gdtr:
	.word	GDT_SIZE - 1
	.long	gdt
	.align	8
trampoline_cr3:
	.long	0
trampoline_lp:
	.long	0
trampoline_end:

	/* ---- exceptions and interrupts ---- */
	.altmacro
	.macro STUB n
	.align	16
	.if (\n == 8) || ((\n >= 10) && (\n <= 14)) || (\n == 17) || (\n == 21) || (\n == 29) || (\n == 30)
	.else
	push	$0
	.endif
	push	$\n
	jmp	trap
	.endm
	.align	16
	.globl	stubs
stubs:
	.set	i, 0
	.rept	256
	STUB	%i
	.set	i, i+1
	.endr
trap:				/* struct frame in tiny.h */
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%r11
	push	%r10
	push	%r9
	push	%r8
	push	%rbp
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%rbx
	push	%rax
	mov	%rsp, %rdi
	cld
	call	on_trap
	pop	%rax
	pop	%rbx
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%rbp
	pop	%r8
	pop	%r9
	pop	%r10
	pop	%r11
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	add	$16, %rsp
	iretq

	/* int context_save(struct context *): 0 when saved, else what context_restore was given */
	.globl	context_save
context_save:
	mov	(%rsp), %rax
	mov	%rax, 0x00(%rdi)
	lea	8(%rsp), %rax
	mov	%rax, 0x08(%rdi)
	mov	%rbx, 0x10(%rdi)
	mov	%rbp, 0x18(%rdi)
	mov	%r12, 0x20(%rdi)
	mov	%r13, 0x28(%rdi)
	mov	%r14, 0x30(%rdi)
	mov	%r15, 0x38(%rdi)
	pushf
	pop	0x40(%rdi)
	xor	%eax, %eax
	ret
	/* void context_restore(struct context *, int) */
	.globl	context_restore
context_restore:
	mov	%esi, %eax
	mov	0x08(%rdi), %rsp
	mov	0x10(%rdi), %rbx
	mov	0x18(%rdi), %rbp
	mov	0x20(%rdi), %r12
	mov	0x28(%rdi), %r13
	mov	0x30(%rdi), %r14
	mov	0x38(%rdi), %r15
	push	0x40(%rdi)
	popf
	jmp	*(%rdi)

	/*
	 * u64 probe_call(u64 control, u64 in, u64 out, u64 *lost): a hypercall with a pattern in every register that it
	 * must leave alone; *lost is 0 when all of them, and the stack, came back.
	 */
	.globl	probe_call
probe_call:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rcx
	mov	%rdi, %rcx
	mov	%rdx, %r8
	mov	%rsi, %rdx
	mov	$0x1b1b1b1b, %ebx
	mov	$0x2b2b2b2b, %ebp
	mov	$0x3b3b3b3b, %r12d
	mov	$0x4b4b4b4b, %r13d
	mov	$0x5b5b5b5b, %r14d
	mov	$0x6b6b6b6b, %r15d
	mov	%rsp, %rsi
	mov	$0x7b7b7b7b, %edi
	call	*hypercall_page
	cmp	%rsp, %rsi
	mov	%rsi, %rsp		/* whatever happened, go on with our own */
	pop	%r8
	setne	%cl
	movzbl	%cl, %ecx
	xor	$0x1b1b1b1b, %rbx
	xor	$0x2b2b2b2b, %rbp
	xor	$0x3b3b3b3b, %r12
	xor	$0x4b4b4b4b, %r13
	xor	$0x5b5b5b5b, %r14
	xor	$0x6b6b6b6b, %r15
	xor	$0x7b7b7b7b, %rdi
	or	%rbx, %rcx
	or	%rbp, %rcx
	or	%r12, %rcx
	or	%r13, %rcx
	or	%r14, %rcx
	or	%r15, %rcx
	or	%rdi, %rcx
	mov	%rcx, (%r8)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	/* void user_vmmcall(void): ring 3 executes VMMCALL; the exception brings us back through a caught fault */
	.globl	user_vmmcall
user_vmmcall:
	push	$SEL_USER_DATA | 3
	lea	8(%rsp), %rax
	push	%rax
	push	$2			/* rflags */
	push	$SEL_USER_CODE | 3
	push	$user_code
	iretq
user_code:
	vmmcall
	hlt				/* #GP here, should the call have been made */

	/* u64 try_rdmsr(u32 msr), void try_wrmsr(u32 msr, u64 value): fault where the MSR does */
	.globl	try_rdmsr, try_wrmsr
try_rdmsr:
	mov	%edi, %ecx
	rdmsr
	shl	$32, %rdx
	or	%rdx, %rax
	ret
try_wrmsr:
	mov	%edi, %ecx
	mov	%esi, %eax
	mov	%rsi, %rdx
	shr	$32, %rdx
	wrmsr
	ret

	.data
	.align	16
	.globl	gdt
gdt:	.quad	0
	.quad	0
	.quad	0x00af9b000000ffff	/* SEL_CODE, as the boot protocol has it */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad	0x00affb000000ffff	/* SEL_USER_CODE */
	.quad	0, 0, 0, 0		/* SEL_TSS of LP 0 and LP 1, filled at start */
gdt_end:
	.if gdt_end - gdt != GDT_SIZE
	.error "GDT_SIZE"
	.endif

	.bss
	.align	4096
	.globl	stacks
stacks:	.skip	STACK_SIZE * MAX_CPUS
