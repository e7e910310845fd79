/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Partition properties. What is set can be read back; few have an effect. */
#include "hc.h"

#define ADDRESS_WIDTH 40
#define CLFLUSH_QWORDS 8
#define XSAVE_AND_AVX 5			/* features: xsave, avx; no xsaveopt */

/* Processor features (hvhdk.h, union hv_partition_processor_features) from CPUID: those TCG's CPUs may have. */
static u64 processor_features(void)
{
	enum { L1C, L7B, E1C, E1D, LEAVES };
	static const struct { u8 feature, leaf, bit; } map[] = {
		{ 0, L1C, 0 }, { 1, E1C, 0 }, { 2, L1C, 9 }, { 3, L1C, 19 }, { 4, L1C, 20 }, { 5, E1C, 6 },
		{ 7, L1C, 23 }, { 8, L1C, 13 }, { 9, E1C, 4 }, { 10, E1C, 5 }, { 12, E1D, 22 }, { 15, E1D, 26 },
		{ 16, L1C, 25 }, { 17, L1C, 1 }, { 20, L1C, 29 }, { 21, L1C, 30 }, { 22, L7B, 0 }, { 23, L7B, 7 },
		{ 25, L7B, 3 }, { 26, L7B, 8 }, { 29, L1C, 22 }, { 33, L7B, 19 }, { 35, L7B, 20 }, { 38, E1D, 27 },
		{ 39, L7B, 23 }, { 40, L7B, 24 },
	};
	u32 l1[4], l7[4], e1[4], leaf[LEAVES];
	u64 f = 0;

	cpuid(1, 0, l1);
	cpuid(7, 0, l7);
	cpuid(CPUID_LEAF_EXT, 0, e1);
	leaf[L1C] = l1[2], leaf[L7B] = l7[1], leaf[E1C] = e1[2], leaf[E1D] = e1[3];
	for (u32 i = 0; i < LENGTH(map); i++)
		f |= leaf[map[i].leaf] & BIT(map[i].bit) ? BIT(map[i].feature) : 0;
	return f;
}

static bool fixed_property(u32 code, u64 *value)
{
	switch (code) {
	case PROP_PRIVILEGE_FLAGS:
	case PROP_SYNTHETIC_PROC_FEATURES:
	case PROP_PROCESSOR_FEATURES1: *value = 0; return true;
	case PROP_PROCESSOR_VENDOR: *value = VENDOR_AMD; return true;
	case PROP_CLFLUSH_SIZE: *value = CLFLUSH_QWORDS; return true;
	case PROP_PHYSICAL_ADDRESS_WIDTH: *value = ADDRESS_WIDTH; return true;
	case PROP_PROCESSOR_FEATURES0: *value = processor_features(); return true;
	case PROP_XSAVE_FEATURES: *value = xcr0_max ? XSAVE_AND_AVX : 0; return true;
	case PROP_XSAVE_STATES: *value = xcr0_max; return true;
	case PROP_MAX_XSAVE_DATA_SIZE: *value = PAGE; return true;
	case PROP_CLOCK_FREQUENCY: *value = tsc_hz; return true;
	}
	return false;
}

static u64 *stored(struct partition *pt, u32 code)
{
	for (u32 i = 0; i < pt->nproperties; i++)
		if (pt->property[i][0] == code)
			return &pt->property[i][1];
	return NULL;
}

u16 hc_get_property(struct hc *c)
{
	const struct in_get_property *in = c->in;
	struct out_get_property *out = c->out;
	struct partition *pt = hc_partition(c, in->partition);
	u32 code = in->code;
	u64 value, *p;

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	p = stored(pt, code);
	if (p) {
		out->value = *p;
	} else if (fixed_property(code, &value)) {
		out->value = value;
	} else {
		LEDGER_EVENT(c->lp, EV_PROPERTY_GET, probe_expected(EV_PROPERTY_GET, code) ? 0 : FLAG_UNIMPLEMENTED, code,
			     pt->id);
		return ST_UNKNOWN_PROPERTY;
	}
	return ST_OK;
}

/* Do we behave as this property asks? A/D bits are always tracked, time freeze stops a child's clock. */
static bool honoured(u32 code, u64 value)
{
	switch (code) {
	case PROP_GPA_PAGE_ACCESS_TRACKING:
	case PROP_UNIMPLEMENTED_MSR_ACTION:
	case PROP_TIME_FREEZE: return true;
	case PROP_SYNTHETIC_PROC_FEATURES: return !(value & ~SYNTH_KNOWN);
	}
	return false;
}

/* Codes that the interface defines, as far as Linux and the VMMs that we know use them. */
static bool known(u32 code)
{
	u64 value;

	switch (code) {
	case PROP_INTEGRATED_SCHEDULER:
	case PROP_TIME_FREEZE:
	case PROP_GPA_PAGE_ACCESS_TRACKING:
	case PROP_UNIMPLEMENTED_MSR_ACTION: return true;
	}
	return fixed_property(code, &value);
}

u16 hc_set_property(struct hc *c)
{
	const struct in_set_property *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u32 code = in->code;
	u64 value = in->value, *p;

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (!known(code)) {
		LEDGER_EVENT(c->lp, EV_PROPERTY_SET, FLAG_UNIMPLEMENTED, code, pt->id, value);
		return ST_UNKNOWN_PROPERTY;
	}
	if (!honoured(code, value)) {
		c->flags |= FLAG_IGNORED;
		LEDGER_EVENT(c->lp, EV_PROPERTY_SET, FLAG_IGNORED, code, pt->id, value);
	}
	p = stored(pt, code);
	if (!p) {
		if (pt->nproperties == MAX_PROPERTIES)
			return ST_NO_RESOURCES;
		pt->property[pt->nproperties][0] = code;
		p = &pt->property[pt->nproperties++][1];
	}
	*p = value;
	if (code == PROP_TIME_FREEZE)
		child_freeze(pt, value);
	return ST_OK;
}

/* The properties that Linux asks for here. Capabilities are what sets an L1VH parent apart; the root has none. */
u16 hc_get_property_ex(struct hc *c)
{
	const struct in_get_property_ex *in = c->in;
	struct out_vmm_capabilities *out = c->out;
	struct partition *pt = hc_partition(c, in->partition);
	u32 code = in->code;

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (code == PROP_INTEGRATED_SCHEDULER && l1vh && !sched_is_ours()) {
		*(u64 *)c->out = true;
		return ST_OK;
	}
	if (code != PROP_VMM_CAPABILITIES) {
		LEDGER_EVENT(c->lp, EV_PROPERTY_GET, FLAG_UNIMPLEMENTED, code, pt->id);
		return ST_UNKNOWN_PROPERTY;
	}
	memset(out, 0, sizeof *out);
	out->banks = 1;
	if (l1vh && pt->id == ROOT_ID)
		out->bits = VMM_CAP_OVERLAY_GPFN | (sched_is_ours() ? 0 : VMM_CAP_INTEGRATED_SCHEDULER);
	return ST_OK;
}
