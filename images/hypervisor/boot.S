/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot1 entry, AP trampoline, VMRUN, exception stubs. */
#define MB_MAGIC 0x1BADB002
#define MB_FLAGS 3			/* page-aligned modules, memory map */
#define PAGE_RW 3			/* present, writable */
#define PAGE_RW_LARGE 0x83
#define CR4_START 0x6a0			/* PAE PGE OSFXSR OSXMMEXCPT */
#define CR0_START 0x80000033		/* PG NE ET MP PE */
#define CR0_PE_BIT 1
#define CR0_PG_BIT 0x80000000
#define MSR_EFER_NUMBER 0xc0000080
#define EFER_START 0x1900		/* LME NXE SVME */
#define SEL_CODE64 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define TRAMPOLINE 0x8000		/* AP_TRAMPOLINE in apic.c */
#define VECTORS 32

	.section .multiboot, "a"
	.align 4
	.long MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS)

	.section .text.boot, "ax"
	.code32
	.globl _start
_start:
	cli
	cld
	mov	%ebx, %ebp
	mov	$bss_start, %edi
	mov	$bss_end, %ecx
	sub	%edi, %ecx
	shr	$2, %ecx
	xor	%eax, %eax
	rep stosl
	mov	$boot_stack_top, %esp
	/* identity map 512 GiB with 1 GiB pages */
	mov	$hv_pdpt, %eax
	or	$PAGE_RW, %eax
	mov	%eax, hv_pml4
	xor	%ecx, %ecx
1:	mov	%ecx, %eax
	shl	$30, %eax
	or	$PAGE_RW_LARGE, %eax
	mov	%eax, hv_pdpt(,%ecx,8)
	mov	%ecx, %eax
	shr	$2, %eax
	mov	%eax, hv_pdpt+4(,%ecx,8)
	inc	%ecx
	cmp	$512, %ecx
	jb	1b
	xor	%esi, %esi		/* BSP */
enter64:
	mov	$CR4_START, %eax
	mov	%eax, %cr4
	mov	$hv_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER_NUMBER, %ecx
	mov	$EFER_START, %eax
	xor	%edx, %edx
	wrmsr
	mov	$CR0_START, %eax
	mov	%eax, %cr0
	lgdt	gdtr
	ljmp	$SEL_CODE64, $1f
	.code64
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	lidt	idtr
	test	%esi, %esi
	jnz	2f
	mov	$boot_stack_top, %rsp
	mov	%ebp, %edi
	call	bsp_main
	ud2
2:	mov	ap_stack, %rsp
	mov	ap_index, %edi
	call	ap_main
	ud2

	.code16
	.globl ap_tramp, ap_tramp_end
ap_tramp:				/* copied to TRAMPOLINE */
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	(ap_gdtr - ap_tramp + TRAMPOLINE)
	mov	%cr0, %eax
	or	$CR0_PE_BIT, %al
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $ap32
	.align 8
ap_gdtr:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_tramp_end:
	.code32
ap32:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$1, %esi
	jmp	enter64

	.code64
	.text
/* void vmrun_guest(struct vmcb *rdi, struct gprs *rsi): offsets of struct gprs in svm.h */
	.globl vmrun_guest
vmrun_guest:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rsi
	mov	%rdi, %rax
	mov	0x08(%rsi), %rcx
	mov	0x10(%rsi), %rdx
	mov	0x18(%rsi), %rbx
	mov	0x28(%rsi), %rbp
	mov	0x38(%rsi), %rdi
	mov	0x40(%rsi), %r8
	mov	0x48(%rsi), %r9
	mov	0x50(%rsi), %r10
	mov	0x58(%rsi), %r11
	mov	0x60(%rsi), %r12
	mov	0x68(%rsi), %r13
	mov	0x70(%rsi), %r14
	mov	0x78(%rsi), %r15
	mov	0x30(%rsi), %rsi
	vmrun	%rax
	xchg	%rsi, (%rsp)
	mov	%rcx, 0x08(%rsi)
	mov	%rdx, 0x10(%rsi)
	mov	%rbx, 0x18(%rsi)
	mov	%rbp, 0x28(%rsi)
	mov	%rdi, 0x38(%rsi)
	mov	%r8, 0x40(%rsi)
	mov	%r9, 0x48(%rsi)
	mov	%r10, 0x50(%rsi)
	mov	%r11, 0x58(%rsi)
	mov	%r12, 0x60(%rsi)
	mov	%r13, 0x68(%rsi)
	mov	%r14, 0x70(%rsi)
	mov	%r15, 0x78(%rsi)
	pop	%rax
	mov	%rax, 0x30(%rsi)
	/*
	 * A guest with EFER.LME set and neither CR0.PG nor CR4.PAE: TCG then restores all of our state but CR0, so that we
	 * come here without paging. Our mapping is the identity, but without CR0.PE the next VMSAVE or VMRUN would be #UD.
	 */
	mov	%cr0, %rax
	test	$CR0_PG_BIT, %eax
	jnz	1f
	mov	$CR0_START, %eax
	mov	%rax, %cr0
1:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* An NMI is let in by take_nmi() only, to be done with it. */
	.globl nmi_return
nmi_return:
	iretq

/* Exceptions in the hypervisor are fatal: 32 stubs that land in hv_fault(vec, frame). */
	.altmacro
	.macro STUB n
	.align 16
	.if (\n == 8) || ((\n >= 10) && (\n <= 14)) || (\n == 17) || (\n == 21) || (\n == 29) || (\n == 30)
	.else
	push	$0
	.endif
	push	$\n
	jmp	fault_common
	.endm
	.align 16
	.globl fault_stubs
fault_stubs:
	.set	i, 0
	.rept	VECTORS
	STUB	%i
	.set	i, i+1
	.endr
fault_common:
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	hv_fault

	.section .data
	.align 8
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 08 code64 */
	.quad	0x00cf93000000ffff	/* 10 data */
	.quad	0x00cf9b000000ffff	/* 18 code32 */
gdt_end:
gdtr:	.word	gdt_end - gdt - 1
	.quad	gdt
	.globl	idtr
idtr:	.word	VECTORS * 16 - 1
	.quad	hv_idt
	.globl ap_stack, ap_index
	.align 8
ap_stack: .quad 0
ap_index: .long 0

	.section .bss
	.align 4096
	.globl	hv_pml4
hv_pml4: .skip 4096
hv_pdpt: .skip 4096
	.globl hv_idt
hv_idt:	.skip 4096
boot_stack: .skip 32768
boot_stack_top:
