/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules that hold for every hypercall: TLFS, "hypercall inputs", "common hypercall status codes". */
#include "tiny.h"

#define UNKNOWN_CODE 0x3fff
#define OURS 0x10300000ul		/* an address inside the stand-in's own memory (hv.ld) */
#define NOWHERE 0x7000000000ul		/* no RAM there */
#define RESULT_RESERVED 0xfffff000ffff0000ul

static u8 area[2 * PAGE] __attribute__((aligned(4096)));

CASE("one", unknown_code, "an unknown call code is refused")
{
	EXPECT(call(UNKNOWN_CODE), ST_INVALID_CODE, "status");
	EXPECT(call(0), ST_INVALID_CODE, "status of code 0");
	EXPECT(raw_call(UNKNOWN_CODE | CTL_FAST, 0, 0).status, ST_INVALID_CODE, "status of a fast call");
}

CASE("one", reserved_bits, "reserved bits of the input value are refused")
{
	static const u8 reserved[] = { 27, 28, 29, 30, 44, 45, 46, 47, 60, 61, 62, 63 };

	call_in();
	for (u32 i = 0; i < LENGTH(reserved); i++)
		EXPECT(raw_call(HC_GET_PARTITION_ID | BIT(reserved[i]), 0, (u64)call_out()).status, ST_INVALID_INPUT,
		       "status with one reserved bit");
}

CASE("one", unaligned, "input and output not aligned to 8 bytes are refused")
{
	for (u64 o = 1; o < 8; o++) {
		EXPECT(raw_call(HC_FINALIZE_PARTITION, (u64)area + o, 0).status, ST_INVALID_ALIGNMENT, "input");
		EXPECT(raw_call(HC_GET_PARTITION_ID, 0, (u64)area + o).status, ST_INVALID_ALIGNMENT, "output");
	}
}

CASE("one", page_crossing, "input or output that spans two pages is refused")
{
	struct in_get_property *in = (void *)(area + PAGE - 8);

	in->partition = PARTITION_SELF;
	EXPECT(raw_call(HC_GET_PARTITION_PROPERTY, (u64)in, (u64)area).status, ST_INVALID_ALIGNMENT, "input");
	EXPECT(raw_call(HC_GET_LP_RUN_TIME, (u64)area, (u64)area + PAGE - 16).status, ST_INVALID_ALIGNMENT, "output");
}

CASE("one", reps_beyond_page, "repetitions that reach beyond the page are refused and do nothing")
{
	u64 id = created_partition(0, 1);
	struct in_deposit *in = call_in();
	u16 fit = (PAGE - sizeof *in) / sizeof(u64);
	struct result r;

	in->partition = id;
	r = call_reps(HC_DEPOSIT_MEMORY, fit + 1, 0);
	EXPECT(r.status, ST_INVALID_ALIGNMENT, "status of one repetition too many");
	EXPECT(r.done, 0, "repetitions done");
	r = raw_call(HC_DEPOSIT_MEMORY | 1ul << CTL_REPS_SHIFT, (u64)area + PAGE - 8, 0);
	EXPECT(r.status, ST_INVALID_ALIGNMENT, "status of one repetition in the next page");
	EXPECT(withdraw_all(id), 1, "pages in the partition");
}

CASE("one", rep_counts, "repetition count and start must fit the call")
{
	u64 id = created_partition(0, 2);
	struct in_partition *in = call_in();

	in->partition = id;
	EXPECT(call_reps(HC_WITHDRAW_MEMORY, 0, 0).status, ST_INVALID_INPUT, "no repetitions in a repeating call");
	EXPECT(call_reps(HC_WITHDRAW_MEMORY, 2, 2).status, ST_INVALID_INPUT, "start not below the count");
	EXPECT(call_reps(HC_WITHDRAW_MEMORY, 2, 3).status, ST_INVALID_INPUT, "start beyond the count");
	EXPECT(call_reps(HC_GET_PARTITION_ID, 1, 0).status, ST_INVALID_INPUT, "repetitions in a simple call");
	EXPECT(call_reps(HC_GET_PARTITION_ID, 0, 1).status, ST_INVALID_INPUT, "start in a simple call");
	EXPECT(withdraw_all(id), 2, "pages in the partition");
}

CASE("one", variable_header, "a variable header is refused where the call has none")
{
	call_in();
	EXPECT(call_header(HC_GET_PARTITION_ID, 1).status, ST_INVALID_INPUT, "status");
}

CASE("one", pointers, "input and output outside of the root's memory are refused")
{
	EXPECT(raw_call(HC_FINALIZE_PARTITION, OURS, 0).status, ST_INVALID_ALIGNMENT, "input in the hypervisor");
	EXPECT(raw_call(HC_GET_PARTITION_ID, 0, OURS).status, ST_INVALID_ALIGNMENT, "output in the hypervisor");
	EXPECT(raw_call(HC_FINALIZE_PARTITION, NOWHERE, 0).status, ST_INVALID_ALIGNMENT, "input nowhere");
	EXPECT(raw_call(HC_GET_PARTITION_ID, 0, ~7ul).status, ST_INVALID_ALIGNMENT, "output at the end of addresses");
}

CASE("one", fast_call, "a fast call takes its input from registers")
{
	u64 id = created_partition(0, 8);

	EXPECT(raw_call(HC_INITIALIZE_PARTITION | CTL_FAST, id, 0).status, ST_OK, "fast INITIALIZE_PARTITION");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_INVALID_PARTITION_STATE, "it is initialised");
	EXPECT(raw_call(HC_INITIALIZE_PARTITION | CTL_FAST, id + 1000, 0).status, ST_INVALID_PARTITION_ID, "wrong id");
}

CASE("one", fast_too_large, "a fast call whose input does not fit two registers is refused")
{
	EXPECT(raw_call(HC_CREATE_VP | CTL_FAST, 0, 0).status, ST_INVALID_INPUT, "CREATE_VP");
	EXPECT(raw_call(HC_DISPATCH_VP | CTL_FAST, 0, 0).status, ST_INVALID_INPUT, "DISPATCH_VP");
}

CASE("one", registers_kept, "a call keeps the registers that it must keep")
{
	u64 lost;

	call_in();
	EXPECT(probe_call(HC_GET_PARTITION_ID, 0, (u64)call_out(), &lost), 0, "result");
	EXPECT(lost, 0, "changed bits in registers and stack");
}

CASE("one", result_value, "reserved bits of the result are zero and repetitions are reported")
{
	u64 id = created_partition(0, 5);
	struct in_partition *in = call_in();
	struct out_withdraw *out = call_out();
	struct result r;

	in->partition = id;
	r = call_reps(HC_WITHDRAW_MEMORY, 3, 0);
	for (u32 i = 0; i < r.done; i++)
		page_withdrawn(out->pfn[i], id);
	EXPECT(r.raw, 3ul << RESULT_DONE_SHIFT, "result value");
	r = call_reps(UNKNOWN_CODE, 3, 1);
	EXPECT(r.raw & RESULT_RESERVED, 0, "reserved bits of a refused call");
}

static void in_user_mode(void *unused) { (void)unused; user_vmmcall(); }

CASE("one", user_mode, "user mode cannot make hypercalls")
{
	EXPECT(caught(in_user_mode, NULL), EXC_UD, "vector of the exception");
}

static void vmrun(void *unused) { (void)unused; asm volatile("vmrun %%rax" :: "a"(0) : "memory"); }
static void touch_ours(void *unused) { (void)unused; *(volatile u64 *)OURS; }

CASE("one", no_svm, "the root has no SVM and cannot read the hypervisor's memory")
{
	EXPECT(caught(vmrun, NULL), EXC_UD, "vector of VMRUN");
	EXPECT(caught(touch_ours, NULL), EXC_GP, "vector of reading the hypervisor");
}
