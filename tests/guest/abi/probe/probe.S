/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A root partition that does what a script says and writes the answers into the script. The script is the initrd: a
 * page of header, operations of 64 bytes, then pages that operations use as hypercall input and output. Format: ask.py.
 */
#define SCRIPT_MAGIC 0x4b53414350564c48	/* "HLVPCASK" */
#define RAMDISK_IMAGE 0x218		/* in boot_params */
#define OP_SIZE 64
#define OPS 64				/* offset of the first operation */
#define OP_CPUID 1
#define OP_RDMSR 2
#define OP_WRMSR 3
#define OP_CALL 4
#define MSR_HYPERCALL 0x40000001
#define PAGE_ADDRESS (~0xfff)
#define SEL_CODE 0x10
#define GATE 0x8e00
#define UD 6
#define DF 8
#define GP 13
#define PF 14
#define ACPI_PM1_CONTROL 0x604
#define ACPI_SLEEP_ENABLE 0x2000

	.section .setup, "ax"
	.org	0x1f1
	.byte	1			/* setup sectors */
	.org	0x200
	.byte	0xeb, 0x60		/* jump: where the setup header ends */
	.ascii	"HdrS"
	.word	0x020c
	.org	0x400

	.section .head, "ax"
	.code64
	.org	0x200
	.globl	entry64
entry64:				/* 64-bit boot protocol: identity page tables, rsi at boot_params */
	cli
	lea	stack_end(%rip), %rsp
	mov	RAMDISK_IMAGE(%rsi), %r13d
	mov	$SCRIPT_MAGIC, %rax
	cmp	%rax, (%r13)
	jne	off

	.macro gate vector handler
	lea	\handler(%rip), %rax
	lea	idt + \vector * 16(%rip), %rdi
	mov	%ax, (%rdi)
	movw	$SEL_CODE, 2(%rdi)
	movw	$GATE, 4(%rdi)
	shr	$16, %rax
	mov	%ax, 6(%rdi)
	shr	$16, %rax
	mov	%eax, 8(%rdi)
	.endm
	gate	UD, on_ud
	gate	DF, on_df
	gate	GP, on_gp
	gate	PF, on_pf
	lidt	idtr(%rip)

	lea	OPS(%r13), %r12		/* r12: operation, r13: script, r14: stack */
	mov	%rsp, %r14
next:
	mov	(%r12), %eax
	test	%eax, %eax
	jz	done
	xor	%r15d, %r15d
	cmp	$OP_CPUID, %eax
	je	do_cpuid
	cmp	$OP_RDMSR, %eax
	je	do_rdmsr
	cmp	$OP_WRMSR, %eax
	je	do_wrmsr
	cmp	$OP_CALL, %eax
	je	do_call
	jmp	done
do_cpuid:
	mov	8(%r12), %eax
	mov	16(%r12), %ecx
	cpuid
	mov	%rax, 32(%r12)
	mov	%rbx, 40(%r12)
	mov	%rcx, 48(%r12)
	mov	%rdx, 56(%r12)
	jmp	after
do_rdmsr:
	mov	8(%r12), %ecx
	rdmsr
	mov	%eax, 32(%r12)
	mov	%edx, 36(%r12)
	jmp	after
do_wrmsr:
	mov	8(%r12), %ecx
	mov	16(%r12), %eax
	mov	20(%r12), %edx
	wrmsr
	jmp	after
do_call:				/* control, offsets of input and output in the script */
	mov	$MSR_HYPERCALL, %ecx
	rdmsr
	shl	$32, %rdx
	or	%rdx, %rax
	and	$PAGE_ADDRESS, %rax
	mov	8(%r12), %rcx
	lea	(%r13), %rdx
	add	16(%r12), %rdx
	lea	(%r13), %r8
	add	24(%r12), %r8
	call	*%rax
	mov	%rax, 32(%r12)
after:
	mov	%r15d, 4(%r12)
	add	$OP_SIZE, %r12
	incq	8(%r13)
	jmp	next
done:
	movq	$1, 16(%r13)
off:
	mov	$ACPI_PM1_CONTROL, %dx
	mov	$ACPI_SLEEP_ENABLE, %ax
	out	%ax, %dx
	hlt
	jmp	off

/* An exception ends the operation; its vector plus one stands in the operation's second word. */
on_ud:	push	$0
	mov	$UD + 1, %r15d
	jmp	recover
on_df:	mov	$DF + 1, %r15d
	jmp	recover
on_gp:	mov	$GP + 1, %r15d
	jmp	recover
on_pf:	mov	$PF + 1, %r15d
recover:
	mov	%r14, %rsp
	jmp	after

	.data
idtr:	.word	32 * 16 - 1
	.quad	idt
	.align	16
idt:	.skip	32 * 16
	.skip	4096
stack_end:
