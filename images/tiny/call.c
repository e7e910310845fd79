/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls, slow by default: one input and one output page for each LP. */
#include "tiny.h"

#define OUR_OS_ID 0x8100000000000001ul	/* open source, Linux-like layout, so that nothing takes us for Windows */
#define STATUS_MASK 0xfffful

u64 hypercall_page;
static u8 pages[MAX_CPUS][2][PAGE] __attribute__((aligned(4096)));

/* A root finds the hypercall page at an address of the hypervisor's choice, an L1VH parent says where. */
void calls_init(void)
{
	static u8 ours[PAGE] __attribute__((aligned(PAGE)));
	u64 page;

	wrmsr(SMSR_GUEST_OS_ID, OUR_OS_ID);
	page = PAGE_BASE(rdmsr(SMSR_HYPERCALL));
	wrmsr(SMSR_HYPERCALL, (page ? page : (u64)ours) | SMSR_ENABLE);
	hypercall_page = PAGE_BASE(rdmsr(SMSR_HYPERCALL));
}

void *call_in(void) { return memset(pages[this_lp()][0], 0, PAGE); }
void *call_out(void) { return pages[this_lp()][1]; }

struct result raw_call(u64 control, u64 in, u64 out)
{
	register u64 r8 asm("r8") = out;
	u64 rax;

	asm volatile("call *%[page]" : "=a"(rax), "+c"(control), "+d"(in), "+r"(r8) : [page]"m"(hypercall_page)
		     : "memory", "cc", "r9", "r10", "r11");
	return (struct result){ rax & STATUS_MASK, rax >> RESULT_DONE_SHIFT & CTL_REPS_MASK, rax };
}

static struct result with_pages(u64 control)
{
	u32 lp = this_lp();

	return raw_call(control, (u64)pages[lp][0], (u64)pages[lp][1]);
}

u16 call(u16 code) { return with_pages(code).status; }

struct result call_reps(u16 code, u16 reps, u16 start)
{
	return with_pages(code | (u64)reps << CTL_REPS_SHIFT | (u64)start << CTL_START_SHIFT);
}

struct result call_header(u16 code, u16 words) { return with_pages(code | (u64)words << CTL_VARHEAD_SHIFT); }
