/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the root learns about itself: CPUID leaves, synthetic MSRs, time, statistics, system properties. */
#include "tiny.h"

#define MAX_LEAF_LEAST 0x40000005u
#define NO_MSR 0x4fff0000u
#define NANOSECOND_UNITS 10000000ul
#define VENDOR_B 0x7263694du		/* "Micr" */
#define OTHER_OS 0x8100123400000000ul
#define STATS_ID_AREA_SHIFT 56

CASE("one", leaves, "the CPUID leaves are those of a Hyper-V root, and SVM is not to be seen")
{
	u32 r[4];

	cpuid(1, 0, r);
	CHECK(r[2] & CPUID_1_ECX_HYPERVISOR, "no hypervisor bit");
	cpuid(LEAF_VENDOR, 0, r);
	CHECK(r[0] >= MAX_LEAF_LEAST, "too few leaves");
	EXPECT(r[1], VENDOR_B, "vendor");
	cpuid(LEAF_INTERFACE, 0, r);
	EXPECT(r[0], SIGNATURE_INTERFACE, "interface");
	cpuid(LEAF_FEATURES, 0, r);
	CHECK(r[1] & PRIV_CREATE_PARTITIONS, "no privilege to create partitions");
	CHECK(r[0] & FEAT_HYPERCALL, "no hypercall MSRs");
	CHECK(r[2] & EXT_VECTOR_INJECTION, "no interrupts through the register page");
	cpuid(CPUID_LEAF_EXT, 0, r);
	EXPECT(r[2] & CPUID_EXT_ECX_SVM, 0, "SVM bit");
}

CASE("one", msr_reads, "synthetic MSRs can be read, unknown ones and the hypervisor's own give #GP")
{
	static const u32 known[] = { SMSR_GUEST_OS_ID, SMSR_HYPERCALL, SMSR_VP_INDEX, SMSR_VP_RUNTIME, SMSR_TIME_REF_COUNT,
				     SMSR_REFERENCE_TSC, SMSR_TSC_FREQUENCY, SMSR_APIC_FREQUENCY, SMSR_VP_ASSIST_PAGE,
				     SMSR_SCONTROL, SMSR_SVERSION, SMSR_SIEFP, SMSR_SIMP, SMSR_SINT0, SMSR_SINT15,
				     SMSR_CRASH_P0, SMSR_CRASH_P4, SMSR_CRASH_CTL };
	u64 v;

	for (u32 i = 0; i < LENGTH(known); i++)
		if (msr_read(known[i], &v) != NO_FAULT)
			FAIL("MSR %#x cannot be read", known[i]);
	EXPECT(msr_read(NO_MSR, &v), EXC_GP, "reading an unknown MSR");
	EXPECT(fault_error(), 0, "error code");
	EXPECT(msr_write(NO_MSR, 0), EXC_GP, "writing an unknown MSR");
	EXPECT(msr_read(MSR_VM_HSAVE_PA, &v), EXC_GP, "reading the hypervisor's VM_HSAVE_PA");
	EXPECT(msr_write(MSR_VM_HSAVE_PA, 0x10300000), EXC_GP, "writing the hypervisor's VM_HSAVE_PA");
}

CASE("one", read_only_msrs, "MSRs that only tell something cannot be written")
{
	static const u32 fixed[] = { SMSR_VP_INDEX, SMSR_TIME_REF_COUNT, SMSR_TSC_FREQUENCY, SMSR_APIC_FREQUENCY,
				     SMSR_SVERSION };

	for (u32 i = 0; i < LENGTH(fixed); i++)
		if (msr_write(fixed[i], 0) != EXC_GP)
			FAIL("MSR %#x can be written", fixed[i]);
}

CASE("one", efer, "SVM cannot be switched on, and EFER does not show the hypervisor's")
{
	u64 efer;

	EXPECT(msr_read(MSR_EFER, &efer), NO_FAULT, "read");
	EXPECT(efer & EFER_SVME, 0, "SVME as the root sees it");
	CHECK(efer & EFER_LMA, "LMA");
	msr_write(MSR_EFER, efer | EFER_SVME);
	msr_write(MSR_EFER, efer);
	EXPECT(rdmsr(MSR_EFER), efer, "EFER afterwards");
	EXPECT(msr_write(MSR_EFER, efer | BIT(63)), EXC_GP, "a reserved bit");
	EXPECT(msr_write(MSR_EFER, efer & ~EFER_LME), EXC_GP, "out of long mode with paging on");
	EXPECT(rdmsr(MSR_EFER), efer, "EFER after refused writes");
}

CASE("one", os_id, "the guest OS id reads back")
{
	u64 old = rdmsr(SMSR_GUEST_OS_ID);

	wrmsr(SMSR_GUEST_OS_ID, OTHER_OS);
	EXPECT(rdmsr(SMSR_GUEST_OS_ID), OTHER_OS, "id");
	wrmsr(SMSR_GUEST_OS_ID, old);
	wrmsr(SMSR_HYPERCALL, rdmsr(SMSR_HYPERCALL) | SMSR_ENABLE);
}

CASE("one", fixed_pages, "the root switches the hypervisor's pages but cannot move them")
{
	static const u32 page[] = { SMSR_HYPERCALL, SMSR_REFERENCE_TSC, SMSR_VP_ASSIST_PAGE, SMSR_SIEFP, SMSR_SIMP };

	for (u32 i = 0; i < LENGTH(page); i++) {
		u64 was = rdmsr(page[i]);

		msr_write(page[i], 0x5000000 | SMSR_ENABLE);
		EXPECT(PAGE_BASE(rdmsr(page[i])), PAGE_BASE(was), "address of the page");
		msr_write(page[i], was);
		EXPECT(rdmsr(page[i]), was, "the MSR afterwards");
	}
}

static u64 tsc_time(const struct wire_tsc_page *p)
{
	return ((unsigned __int128)rdtsc() * p->scale >> 64) + p->offset;
}

CASE("one", time, "the reference counter, the TSC page and the TSC frequency tell one time")
{
	const struct wire_tsc_page *p = (void *)PAGE_BASE(rdmsr(SMSR_REFERENCE_TSC));
	u64 hz = rdmsr(SMSR_TSC_FREQUENCY), t0, t1, a, b, ticks;

	CHECK(p->sequence, "the TSC page is not valid");
	for (u32 i = 0; i < 50; i++) {
		t0 = rdmsr(SMSR_TIME_REF_COUNT);
		a = tsc_time(p);
		t1 = rdmsr(SMSR_TIME_REF_COUNT);
		if (a + 1 < t0 || a > t1 + 1)
			FAIL("TSC page %lu is not between the counter's %lu and %lu", a, t0, t1);
	}
	a = tsc_time(p), ticks = rdtsc();
	while (rdtsc() - ticks < hz / 200)
		relax();
	b = tsc_time(p) - a;
	ticks = (rdtsc() - ticks) / (hz / NANOSECOND_UNITS);
	CHECK(b <= ticks + ticks / 8 + 100 && b >= ticks - ticks / 4, "the TSC page runs at another pace than the TSC");
}

static u16 system_property(u32 id, u64 *value)
{
	struct in_get_system_property *in = call_in();
	struct out_get_system_property *out = call_out();
	u16 st;

	in->id = id;
	st = call(HC_GET_SYSTEM_PROPERTY);
	*value = out->value;
	return st;
}

CASE("one", system, "the scheduler's type is told, and unknown system properties are refused")
{
	u64 v;

	EXPECT(system_property(SYS_SCHEDULER_TYPE, &v), ST_OK, "status");
	EXPECT(v, SCHEDULER_ROOT, "scheduler");
	EXPECT(system_property(0x7777, &v), ST_UNKNOWN_PROPERTY, "unknown");
}

CASE("one", properties, "partition properties read back, and unknown ones are refused")
{
	u64 id = new_partition(0);
	struct in_set_property *set = call_in();
	struct in_get_property *get;
	struct out_get_property *out = call_out();

	set->partition = id;
	set->code = PROP_UNIMPLEMENTED_MSR_ACTION;
	set->value = 1;
	EXPECT(call(HC_SET_PARTITION_PROPERTY), ST_OK, "set");
	get = call_in();
	get->partition = id;
	get->code = PROP_UNIMPLEMENTED_MSR_ACTION;
	EXPECT(call(HC_GET_PARTITION_PROPERTY), ST_OK, "get");
	EXPECT(out->value, 1, "value");
	get->code = 0x7777;
	EXPECT(call(HC_GET_PARTITION_PROPERTY), ST_UNKNOWN_PROPERTY, "unknown");
}

CASE("one", lp_runtime, "run times are told for the LPs that exist")
{
	struct in_lp_run_time *in = call_in();

	EXPECT(call(HC_GET_LP_RUN_TIME), ST_OK, "LP 0");
	in->lp = 99;
	EXPECT(call(HC_GET_LP_RUN_TIME), ST_INVALID_LP_INDEX, "LP 99");
}

CASE("one", apic_ids, "VP indexes are found by APIC id")
{
	struct in_apic_ids *in = call_in();
	u32 *out = call_out();
	struct result r;

	in->partition = PARTITION_SELF;
	in->apic_id[1] = 200;
	r = call_reps(HC_GET_VP_INDEX_FROM_APIC_ID, 2, 0);
	EXPECT(r.done, 1, "repetitions done");
	EXPECT(out[0], 0, "index");
	CHECK(r.status != ST_OK, "an unknown APIC id was found");
}

static u16 add_lp(u32 lp, u32 id)
{
	struct in_add_lp *in = call_in();

	in->lp = lp;
	in->apic_id = id;
	return call(HC_ADD_LOGICAL_PROCESSOR);
}

CASE("one", add_running_lp, "an LP that runs can be added again, but not with another APIC id")
{
	struct in_apic_ids *in;

	EXPECT(add_lp(0, 0), ST_OK, "ADD_LOGICAL_PROCESSOR as it is");
	EXPECT(add_lp(0, 3), ST_INVALID_PARAMETER, "ADD_LOGICAL_PROCESSOR with another id");
	EXPECT(add_lp(MAX_CPUS + 100, 1), ST_INVALID_LP_INDEX, "ADD_LOGICAL_PROCESSOR of an unknown LP");
	in = call_in();
	in->partition = PARTITION_SELF;
	in->apic_id[0] = 0;
	EXPECT(call_reps(HC_GET_VP_INDEX_FROM_APIC_ID, 1, 0).status, ST_OK, "the VP of the old id");
}

CASE("one", low_vectors, "SEND_IPI refuses the vectors of exceptions")
{
	static const u32 bad[] = { 0, 15, 256 };

	for (u32 i = 0; i < LENGTH(bad); i++) {
		struct in_send_ipi *in = call_in();

		in->vector = bad[i];
		in->cpus = 1;
		EXPECT(call(HC_SEND_IPI), ST_INVALID_PARAMETER, "SEND_IPI");
	}
}

/* ---- statistics pages come out of the root's own pool ---- */
static struct result stats(u16 code, u32 type, u64 id0, u64 id1)
{
	struct in_stats_page *in = call_in();

	in->type = type;
	in->id[0] = id0;
	in->id[1] = id1;
	return (struct result){ .status = call(code) };
}

CASE("one", stats_page, "a statistics page is mapped from deposited memory, shared, and given back")
{
	struct out_map_page *out = call_out();
	u64 first;

	EXPECT(stats(HC_UNMAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_INVALID_PARAMETER, "unmap what is not mapped");
	EXPECT(stats(HC_MAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_INSUFFICIENT_MEMORY, "map without memory");
	EXPECT(deposit(PARTITION_SELF, 4).status, ST_OK, "DEPOSIT_MEMORY");
	EXPECT(stats(HC_MAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_OK, "map");
	first = out->pfn;
	EXPECT(((u64 *)page_at(first))[STATS_HV_LOGICAL_PROCESSORS], 1, "LPs in the page");
	EXPECT(stats(HC_MAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_OK, "map again");
	EXPECT(out->pfn, first, "the same page");
	EXPECT(stats(HC_UNMAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_OK, "unmap");
	EXPECT(withdraw_all(PARTITION_SELF), 3, "pages not in use");
	EXPECT(stats(HC_UNMAP_STATS_PAGE, STATS_HYPERVISOR, 0, 0).status, ST_OK, "unmap again");
	EXPECT(withdraw_all(PARTITION_SELF), 1, "the page itself");
}
