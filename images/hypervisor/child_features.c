/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of Hyper-V a child sees. The VMM decides with the partition property "synthetic processor features" before it
 * initializes the partition (QEMU sets it); without it a child sees no hypervisor at all.
 */
#include "abi.h"
#include "hv.h"

#define CHILD_LEAF_MAX 0x40000006
#define CHILD_BUILD 27750		/* as the root sees it: cpuid.c */
#define CHILD_MAJOR 10
#define MAJOR_SHIFT 16
#define NEVER_NOTIFY 0xffffffffu	/* spinlock retries before a "long spin wait" call */

u64 child_property(const struct partition *pt, u32 code)
{
	for (u32 i = 0; i < pt->nproperties; i++)
		if (pt->property[i][0] == code)
			return pt->property[i][1];
	return 0;
}

bool child_feature(const struct partition *pt, u64 bits)
{
	return (child_property(pt, PROP_SYNTHETIC_PROC_FEATURES) & bits) == bits;
}

/* Synthetic feature bit, and the bit that stands for it in one register of a leaf. */
static const struct { u64 feature, bit; u32 leaf; u8 reg; } map[] = {
	{ SYNTH_VP_RUNTIME, FEAT_VP_RUNTIME, LEAF_FEATURES, 0 },
	{ SYNTH_REFCOUNT, FEAT_REFCOUNT, LEAF_FEATURES, 0 },
	{ SYNTH_SYNIC, FEAT_SYNIC, LEAF_FEATURES, 0 },
	{ SYNTH_STIMER, FEAT_STIMERS, LEAF_FEATURES, 0 },
	{ SYNTH_APIC_MSRS, FEAT_APIC_MSRS, LEAF_FEATURES, 0 },
	{ SYNTH_HYPERCALL, FEAT_HYPERCALL, LEAF_FEATURES, 0 },
	{ SYNTH_VP_INDEX, FEAT_VP_INDEX, LEAF_FEATURES, 0 },
	{ SYNTH_REFERENCE_TSC, FEAT_REFERENCE_TSC, LEAF_FEATURES, 0 },
	{ SYNTH_GUEST_IDLE, FEAT_GUEST_IDLE, LEAF_FEATURES, 0 },
	{ SYNTH_FREQUENCY, FEAT_FREQUENCY, LEAF_FEATURES, 0 },
	{ SYNTH_SYNIC, PRIV_POST_MESSAGES, LEAF_FEATURES, 1 },
	{ SYNTH_SYNIC, PRIV_SIGNAL_EVENTS, LEAF_FEATURES, 1 },
	{ SYNTH_GUEST_IDLE, MISC_GUEST_IDLE, LEAF_FEATURES, 3 },
	{ SYNTH_FREQUENCY, MISC_FREQUENCY_MSRS, LEAF_FEATURES, 3 },
	{ SYNTH_HV1, MISC_CRASH_MSRS, LEAF_FEATURES, 3 },
	{ SYNTH_DIRECT_TIMERS, MISC_DIRECT_STIMERS, LEAF_FEATURES, 3 },
	{ SYNTH_TLB_FLUSH, HINT_REMOTE_FLUSH, LEAF_ENLIGHTENMENT, 0 },
	{ SYNTH_APIC_MSRS, HINT_APIC_MSRS, LEAF_ENLIGHTENMENT, 0 },
	{ SYNTH_HV1, HINT_RELAXED_TIMING, LEAF_ENLIGHTENMENT, 0 },
	{ SYNTH_HV1, HINT_NO_AUTO_EOI, LEAF_ENLIGHTENMENT, 0 },
	{ SYNTH_CLUSTER_IPI, HINT_CLUSTER_IPI, LEAF_ENLIGHTENMENT, 0 },
	{ SYNTH_EX_MASKS, HINT_EX_MASKS, LEAF_ENLIGHTENMENT, 0 },
};

void child_hypervisor_leaf(const struct partition *pt, u32 leaf, u32 r[4])
{
	memset(r, 0, 4 * sizeof *r);
	if (!child_feature(pt, SYNTH_PRESENT | SYNTH_HV1))
		return;
	switch (leaf) {
	case LEAF_VENDOR:
		r[0] = CHILD_LEAF_MAX;
		memcpy(r + 1, "Microsoft Hv", 12);
		break;
	case LEAF_INTERFACE:
		r[0] = SIGNATURE_INTERFACE;
		break;
	case LEAF_VERSION:
		r[0] = CHILD_BUILD;
		r[1] = CHILD_MAJOR << MAJOR_SHIFT;
		break;
	case LEAF_ENLIGHTENMENT:
		r[1] = NEVER_NOTIFY;
		break;
	case LEAF_LIMITS:
		r[0] = MAX_VPS;
		r[1] = nlps;
		break;
	}
	for (u32 i = 0; i < LENGTH(map); i++)
		if (map[i].leaf == leaf && child_feature(pt, map[i].feature))
			r[map[i].reg] |= map[i].bit;
}
