/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code for a child's VP that tests put into its RAM and let the payload call: interrupts of its local APIC, NMI, #GP,
 * and what a child has of Hyper-V. Every function returns with interrupts off; RBX, RBP and RSP are the payload's.
 * The image begins with the addresses that the tests need, see test_child_processor.py.
 */
	.code64
	.text
addresses:
	.quad	counts, results, x2, ready
	.quad	self_ipi, timer_halted, timer_running, deadline
	.quad	ipi_send, ipi_wait, nmi_send, nmi_wait_halted, nmi_wait_running
	.quad	read_msr, write_msr, tsc_page, stimer_direct, stimer_message, hypercall_ipi

#define VECTOR_SELF 0x61
#define VECTOR_TIMER 0x62
#define VECTOR_IPI 0x63
#define VECTOR_DEADLINE 0x64
#define VECTOR_STIMER 0x65
#define VECTOR_HYPERCALL 0x66
#define VECTOR_SINT 0x67
#define SINT 2
#define PAGES 0x90000			/* four frames for overlays: hypercall, TSC, SIMP, assist */
#define READS 20000

/* ---- descriptor tables, handlers: count the vector, then EOI; #GP skips RDMSR or WRMSR ---- */
setup:
	movl	$stubs, %eax
	movl	$idt, %edi
	movl	$256, %ecx
1:	movw	%ax, (%rdi)
	movw	$8, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	movl	%eax, %edx
	shrl	$16, %edx
	movw	%dx, 6(%rdi)
	movq	$0, 8(%rdi)
	addl	$16, %eax
	addl	$16, %edi
	loop	1b
	lgdt	gdt_pointer
	lidt	idt_pointer
	cmpq	$0, x2
	je	1f
	movl	$0x1b, %ecx
	rdmsr
	orl	$0xc00, %eax
	wrmsr
	movl	$0x80f, %ecx
	movl	$0x1ff, %eax
	xorl	%edx, %edx
	wrmsr
	ret
1:	movl	$0xfee000f0, %ecx
	movl	$0x1ff, (%rcx)
	ret

	.balign	16
stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	pushq	$vector
	jmp	common
	.set	vector, vector + 1
	.endr
common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	movq	24(%rsp), %rax
	lock incq counts(, %rax, 8)
	cmpq	$13, %rax
	je	3f
	cmpq	$32, %rax
	jb	2f
	cmpq	$0, x2
	je	1f
	movl	$0x80b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	jmp	2f
1:	movl	$0xfee000b0, %ecx
	movl	$0, (%rcx)
2:	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$8, %rsp
	iretq
3:	addq	$2, 40(%rsp)
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

/* APIC register write: ECX the x2APIC MSR, EDX:EAX; in xAPIC mode EDX goes to the upper ICR word as a destination. */
apic_write:
	cmpq	$0, x2
	je	1f
	wrmsr
	ret
1:	cmpl	$0x830, %ecx
	jne	2f
	movl	$0xfee00310, %esi
	shll	$24, %edx
	movl	%edx, (%rsi)
2:	subl	$0x800, %ecx
	shll	$4, %ecx
	addl	$0xfee00000, %ecx
	movl	%eax, (%rcx)
	ret

	.macro	wait_for vector, how
1:	sti
	\how
	cli
	cmpq	$0, counts + 8 * \vector
	je	1b
	.endm

	.macro	clock where
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, results + 8 * \where
	.endm

self_ipi:
	call	setup
	movl	$0x830, %ecx
	movl	$(0x40000 + VECTOR_SELF), %eax
	xorl	%edx, %edx
	call	apic_write
	sti
	nop
	cli
	ret

arm:	call	setup
	movl	$0x83e, %ecx
	movl	$0xb, %eax
	xorl	%edx, %edx
	call	apic_write
	movl	$0x832, %ecx
	movl	$VECTOR_TIMER, %eax
	xorl	%edx, %edx
	call	apic_write
	clock	0
	movl	$0x838, %ecx
	movl	results + 16, %eax
	xorl	%edx, %edx
	jmp	apic_write

timer_halted:
	call	arm
	wait_for VECTOR_TIMER, hlt
	clock	1
	ret

timer_running:
	call	arm
	sti
1:	cmpq	$0, counts + 8 * VECTOR_TIMER
	je	1b
	cli
	clock	1
	ret

deadline:
	call	setup
	movl	$0x832, %ecx
	movl	$(0x40000 + VECTOR_DEADLINE), %eax
	xorl	%edx, %edx
	call	apic_write
	clock	0
	addq	results + 16, %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$0x6e0, %ecx
	wrmsr
	wait_for VECTOR_DEADLINE, hlt
	clock	1
	ret

/* ---- two VPs ---- */
partner:
	call	setup
1:	pause
	cmpq	$0, ready
	je	1b
	ret

ipi_send:
	call	partner
	movl	$0x830, %ecx
	movl	$(0x4000 + VECTOR_IPI), %eax
	movl	$1, %edx
	jmp	apic_write

ipi_wait:
	call	setup
	movq	$1, ready
	wait_for VECTOR_IPI, hlt
	ret

nmi_send:
	call	partner
	movl	$0x830, %ecx
	movl	$0x4400, %eax
	movl	$1, %edx
	jmp	apic_write

nmi_wait_halted:
	call	setup
	movq	$1, ready
1:	hlt
	cmpq	$0, counts + 8 * 2
	je	1b
	ret

nmi_wait_running:
	call	setup
	movq	$1, ready
1:	cmpq	$0, counts + 8 * 2
	je	1b
	ret

/* ---- MSRs: results 2 is the number, 3 the value ---- */
read_msr:
	call	setup
	movl	results + 16, %ecx
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, results + 24
	ret

write_msr:
	call	setup
	movl	results + 16, %ecx
	movl	results + 24, %eax
	movl	results + 28, %edx
	wrmsr
	ret

/* ---- Hyper-V ---- */
	.macro	set_msr number, value
	movl	$\number, %ecx
	movl	$(\value), %eax
	xorl	%edx, %edx
	wrmsr
	.endm

enlighten:
	call	setup
	set_msr	0x40000000, 0x1234
	set_msr	0x40000001, PAGES+1
	ret

	.macro	reference_time		/* to RAX, as the MSR has it */
	movl	$0x40000020, %ecx
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	.endm

/* results 0: sequence; 1: times it went back; 2: by the page; 3: by the counter before; 4: after; 5: the first */
tsc_page:
	call	enlighten
	set_msr	0x40000021, PAGES+0x1001
	movl	PAGES + 0x1000, %eax
	movq	%rax, results
	movq	$0, results + 8
	xorl	%edi, %edi
	movl	$READS, %esi
	reference_time
	movq	%rax, results + 24
1:	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	mulq	PAGES + 0x1008
	addq	PAGES + 0x1010, %rdx
	cmpq	%rdi, %rdx
	jae	2f
	incq	results + 8
2:	movq	%rdx, %rdi
	cmpl	$READS, %esi
	jne	3f
	movq	%rdx, results + 40
3:	decl	%esi
	jnz	1b
	movq	%rdi, results + 16
	reference_time
	movq	%rax, results + 32
	ret

/* results 2: how far away, in 100 ns; 0: reference time when armed, 1: when it came */
	.macro	stimer config
	reference_time
	movq	%rax, results
	movl	$0x400000b0, %ecx
	movl	$(\config), %eax
	xorl	%edx, %edx
	wrmsr
	movq	results, %rax
	addq	results + 16, %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$0x400000b1, %ecx
	wrmsr
	.endm

stimer_direct:
	call	enlighten
	stimer	0x1008+VECTOR_STIMER*16
	wait_for VECTOR_STIMER, hlt
	reference_time
	movq	%rax, results + 8
	ret

/* results 3: type and size of the message, 4: its timer and reserved words, 5: expiration time */
stimer_message:
	call	enlighten
	set_msr	0x40000083, PAGES+0x2001
	set_msr	0x40000080, 1
	set_msr	0x40000090+SINT, VECTOR_SINT
	stimer	0x8+SINT*0x10000
	wait_for VECTOR_SINT, hlt
	reference_time
	movq	%rax, results + 8
	movq	PAGES + 0x2000 + SINT * 256, %rax
	movq	%rax, results + 24
	movq	PAGES + 0x2000 + SINT * 256 + 16, %rax
	movq	%rax, results + 32
	movq	PAGES + 0x2000 + SINT * 256 + 24, %rax
	movq	%rax, results + 40
	ret

/* SEND_IPI, fast, to this VP: results 0 is the status */
hypercall_ipi:
	call	enlighten
	movl	$0x1000b, %ecx
	movl	$VECTOR_HYPERCALL, %edx
	movl	$1, %r8d
	movl	$PAGES, %eax
	call	*%rax
	movq	%rax, results
	sti
	nop
	cli
	ret

	.balign	16
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	23
	.quad	gdt
idt_pointer:
	.word	4095
	.quad	idt
	.balign	16
x2:	.quad	0
ready:	.quad	0
results: .skip	64
counts:	.skip	2048
	.balign	4096
idt:	.skip	4096
