/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs of the root, and the state of the root that a dispatched child must not change. */
#include "fuzz.h"

#define SENTINEL 0x00007e5700000000ul	/* a canonical address: some of these MSRs take nothing else */
#define VECTORS_FROM 0x50u

static const u32 watched[] = { MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_SYSENTER_CS,
			       MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_FS_BASE, MSR_GS_BASE };

#define DR_SET(n, v) asm volatile("mov %0,%%dr" #n :: "r"(v))
#define DR_GET(n, v) asm volatile("mov %%dr" #n ",%0" : "=r"(v))

static u64 watched_value(u32 i)
{
	switch (watched[i]) {
	case MSR_SFMASK: return 0x47700;
	case MSR_SYSENTER_CS: return 0x1230;	/* 16 bits */
	}
	return SENTINEL + 16 * i;
}

void sentinels_set(void)
{
	for (u32 i = 0; i < LENGTH(watched); i++)
		wrmsr(watched[i], watched_value(i));
	DR_SET(0, SENTINEL);
	DR_SET(3, SENTINEL + 3);
	asm volatile("mov %%cr0,%%rax; and $~0xc,%%rax; mov %%rax,%%cr0; mov %%cr4,%%rax; or $0x600,%%rax; mov %%rax,%%cr4"
		     ::: "rax");
	asm volatile("movq %0,%%xmm0; movq %0,%%xmm15" :: "r"(SENTINEL));
}

void sentinels_check(void)
{
	u64 a, b;

	for (u32 i = 0; i < LENGTH(watched); i++)
		if (rdmsr(watched[i]) != watched_value(i))
			FAIL("call %lu: the root's MSR %#x became %#lx", fuzz_last()->number, watched[i], rdmsr(watched[i]));
	DR_GET(0, a);
	DR_GET(3, b);
	if (a != SENTINEL || b != SENTINEL + 3)
		FAIL("call %lu: the root's debug registers became %#lx, %#lx", fuzz_last()->number, a, b);
	asm volatile("movq %%xmm0,%0; movq %%xmm15,%1" : "=r"(a), "=r"(b));
	if (a != SENTINEL || b != SENTINEL)
		FAIL("call %lu: the root's xmm registers became %#lx, %#lx", fuzz_last()->number, a, b);
}

/* Where an L1VH parent wants a page of the hypervisor: memory that we can spare, switched on or off, or refused. */
static u64 spare_page(void)
{
	static u8 spare[4][PAGE] __attribute__((aligned(PAGE)));

	if (one_in(6))
		return interesting() | ~0xfffffffffful | SMSR_ENABLE;
	return (u64)spare[below(LENGTH(spare))] | below(2);
}

static u64 vector(void) { return VECTORS_FROM + below(32); }

static void write_one(void)
{
	u32 msr;
	u64 value = interesting();

	switch (below(9)) {
	case 0: msr = SMSR_SINT0 + below(SYNIC_SINTS); value = vector() | (one_in(2) ? SINT_MASKED : 0); break;
	case 1: msr = one_in(2) ? SMSR_SIMP : SMSR_SIEFP; value = spare_page(); break;
	case 2: msr = SMSR_SCONTROL; value &= 1; break;
	case 3: msr = SMSR_EOM; value = 0; break;
	case 4: msr = SMSR_STIMER0_CONFIG + 2 * below(4); value = below(16) | vector() << STIMER_VECTOR_SHIFT |
			(one_in(2) ? STIMER_DIRECT : 0) | below(16) << STIMER_SINT_SHIFT; break;
	case 5: msr = SMSR_STIMER0_CONFIG + 1 + 2 * below(4); value = below(2) ? 20000 + below(1000000) : 0; break;
	case 6: msr = SMSR_REFERENCE_TSC; value = spare_page(); break;
	case 7: msr = SMSR_VP_ASSIST_PAGE; value = spare_page(); break;
	default: msr = SMSR_CRASH_P0 + below(CRASH_PARAMS); break;
	}
	fuzz_last()->control = msr;
	fuzz_last()->word[0] = value;
	COUNT(fuzz_block.msr_writes);
	if (msr_write(msr, value) != NO_FAULT)
		COUNT(fuzz_block.msr_faults);
}

static void read_one(void)
{
	static const u32 base[] = { SMSR_GUEST_OS_ID, SMSR_VP_RUNTIME, SMSR_EOI, SMSR_SCONTROL, SMSR_SINT0,
				    SMSR_STIMER0_CONFIG, SMSR_CRASH_P0, MSR_EFER, MSR_VM_CR };
	u32 msr = one_in(20) ? SMSR_FIRST + interesting() : base[below(LENGTH(base))] + below(6);
	u64 value;

	fuzz_last()->control = msr;
	COUNT(fuzz_block.msr_reads);
	if (msr_read(msr, &value) != NO_FAULT)
		COUNT(fuzz_block.msr_faults);
}

void fuzz_msr(void)
{
	if (one_in(2))
		write_one();
	else
		read_one();
}
