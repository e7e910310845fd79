/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID of the root partition: the real processor without SVM, plus the Hyper-V leaves of a root. */
#include "abi.h"
#include "hv.h"

#define BUILD 27750			/* Linux trusts the root scheduler interface of 27744..27751 only */
#define MAJOR 10
#define MAJOR_SHIFT 16
#define NEVER_NOTIFY 0xffffffffu	/* spinlock retries before a "long spin wait" call */

bool vectors_announced;

static void hypervisor_leaf(u32 leaf, u32 r[4])
{
	memset(r, 0, 4 * sizeof *r);
	switch (leaf) {
	case LEAF_VENDOR:
		r[0] = LEAF_MAX;
		memcpy(r + 1, "Microsoft Hv", 12);
		break;
	case LEAF_INTERFACE:
		r[0] = SIGNATURE_INTERFACE;
		break;
	case LEAF_VERSION:
		r[0] = BUILD;
		r[1] = MAJOR << MAJOR_SHIFT;
		break;
	case LEAF_FEATURES:
		r[0] = FEAT_VP_RUNTIME | FEAT_REFCOUNT | FEAT_SYNIC | FEAT_APIC_MSRS | FEAT_HYPERCALL | FEAT_VP_INDEX |
		       FEAT_REFERENCE_TSC | FEAT_FREQUENCY;
		/* creating partitions and managing CPUs together make Linux a root; an L1VH parent knows itself as "self" */
		r[1] = PRIV_CREATE_PARTITIONS | PRIV_MEMORY_POOL | PRIV_POST_MESSAGES | PRIV_SIGNAL_EVENTS |
		       PRIV_CREATE_PORT | PRIV_CONNECT_PORT | PRIV_STATS;
		if (!l1vh)
			r[1] |= PRIV_PARTITION_ID | PRIV_CPU_MANAGEMENT;
		r[3] = MISC_FREQUENCY_MSRS | MISC_CRASH_MSRS;
		if (vectors_announced)
			r[2] |= EXT_VECTOR_INJECTION;
		if (stimers_announced) {
			r[0] |= FEAT_STIMERS;
			r[3] |= MISC_DIRECT_STIMERS;
		}
		break;
	case LEAF_ENLIGHTENMENT:
		/* APIC MSRs are how INIT and SIPI reach us; without auto-EOI Linux acknowledges our real self-IPIs */
		r[0] = HINT_APIC_MSRS | HINT_RELAXED_TIMING | HINT_NO_AUTO_EOI;
		r[1] = NEVER_NOTIFY;
		break;
	case LEAF_LIMITS:
		r[0] = r[1] = MAX_LPS;
		break;
	case LEAF_HARDWARE:
		r[0] = HARDWARE_SLAT;
		break;
	case LEAF_CPU_MANAGEMENT:
		if (l1vh)
			break;
		r[0] = MANAGE_START_LP | MANAGE_CREATE_ROOT_VP | MANAGE_IDENTITY;
		break;
	}
}

void root_cpuid(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;
	u32 leaf = v->rax, sub = lp->g.rcx, r[4];

	if (leaf >= LEAF_HYPERVISOR_FIRST && leaf <= LEAF_HYPERVISOR_LAST) {
		hypervisor_leaf(leaf, r);
	} else {
		cpuid(leaf, sub, r);
		if (leaf == 1) {
			r[2] |= CPUID_1_ECX_HYPERVISOR;
			r[2] = (r[2] & ~CPUID_1_ECX_OSXSAVE) | (v->cr4 & CR4_OSXSAVE ? CPUID_1_ECX_OSXSAVE : 0);
		}
		if (leaf == CPUID_LEAF_EXT)
			r[2] &= ~CPUID_EXT_ECX_SVM;
		if (leaf == CPUID_LEAF_SVM)
			memset(r, 0, sizeof r);
	}
	v->rax = r[0];
	lp->g.rbx = r[1];
	lp->g.rcx = r[2];
	lp->g.rdx = r[3];
}
