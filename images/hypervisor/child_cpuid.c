/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID of a child: the processor's, what the partition's properties add, what the VMM registered over it, and last the
 * bits that follow the VP's own state, which no table can know.
 */
#include "abi.h"
#include "hv.h"

static void defaults(const struct vp *vp, u32 leaf, u32 r[4])
{
	switch (leaf) {
	case 1:
		r[1] = (r[1] & CPUID_1_EBX_APIC_REST) | vp->apic.id << CPUID_1_EBX_APIC_SHIFT;
		r[2] &= ~(CPUID_1_ECX_X2APIC | CPUID_1_ECX_DEADLINE | CPUID_1_ECX_HYPERVISOR);
		if (vp_has_lapic(vp))
			r[2] |= CPUID_1_ECX_DEADLINE;
		if (vp->pt->flags & CREATE_X2APIC)
			r[2] |= CPUID_1_ECX_X2APIC;
		if (child_feature(vp->pt, SYNTH_PRESENT))
			r[2] |= CPUID_1_ECX_HYPERVISOR;
		break;
	case CPUID_LEAF_TOPOLOGY:
		r[3] = vp->apic.id;
		break;
	case CPUID_LEAF_AMD_TOPOLOGY:
		r[0] = vp->apic.id;
		r[1] &= ~0xff;
		r[2] = 0;
		break;
	case CPUID_LEAF_EXT:
		r[2] &= ~CPUID_EXT_ECX_SVM;
		break;
	case CPUID_LEAF_SVM:
		memset(r, 0, 4 * sizeof *r);
		break;
	case LEAF_HYPERVISOR_FIRST ... LEAF_HYPERVISOR_LAST:
		child_hypervisor_leaf(vp->pt, leaf, r);
		break;
	}
}

/* What the VMM registered was true when it did so; these bits change under way. */
static void own_state(const struct vp *vp, u32 leaf, u32 sub, const u32 cpu[4], u32 r[4])
{
	switch (leaf) {
	case 1:
		r[2] = (r[2] & ~CPUID_1_ECX_OSXSAVE) |
		       (vp->vmcb->cr4 & CR4_OSXSAVE && r[2] & CPUID_1_ECX_XSAVE ? CPUID_1_ECX_OSXSAVE : 0);
		if (!(vp->pt->flags & CREATE_X2APIC))
			r[2] &= ~CPUID_1_ECX_X2APIC;
		if (vp_has_lapic(vp) && !lapic_on(vp))
			r[3] &= ~CPUID_1_EDX_APIC;
		break;
	case CPUID_LEAF_XSAVE:
		if (sub == 0 && r[1])
			r[1] = cpu[1];	/* size for the XCR0 in force; the child's is loaded */
		break;
	}
}

void child_cpuid_of(struct vp *vp, u32 leaf, u32 sub, u32 r[4])
{
	u32 cpu[4];
	const struct cpuid_result *o = child_result_find(vp, leaf, sub, false);

	cpuid(leaf, sub, cpu);
	memcpy(r, cpu, sizeof cpu);
	defaults(vp, leaf, r);
	for (u32 i = 0; o && i < 4; i++)
		r[i] = (r[i] & ~o->mask[i]) | (o->value[i] & o->mask[i]);
	own_state(vp, leaf, sub, cpu, r);
}

void child_cpuid(struct vp *vp, u32 r[4]) { child_cpuid_of(vp, vp->vmcb->rax, vp->g.rcx, r); }

/* ---- what the VMM registers ---- */
const struct cpuid_result *child_result_find(const struct vp *vp, u32 leaf, u32 subleaf, bool msr)
{
	const struct cpuid_result *any = NULL;

	for (const struct cpuid_page *p = vp->results; p; p = (const void *)p->next)
		for (u32 i = 0; i < __atomic_load_n(&p->used, __ATOMIC_ACQUIRE); i++) {
			const struct cpuid_result *o = &p->result[i];

			if (o->leaf != leaf || msr != !!(o->flags & RESULT_MSR))
				continue;
			if (msr || (o->flags & RESULT_SUBLEAF && o->subleaf == subleaf))
				return o;
			if (!(o->flags & RESULT_SUBLEAF))
				any = o;
		}
	return any;
}

static struct cpuid_result *same(struct vp *vp, const struct cpuid_result *new)
{
	for (struct cpuid_page *p = vp->results; p; p = (void *)p->next)
		for (u32 i = 0; i < p->used; i++)
			if (p->result[i].leaf == new->leaf && p->result[i].flags == new->flags &&
			    p->result[i].subleaf == new->subleaf)
				return &p->result[i];
	return NULL;
}

/* The VP may run meanwhile and read the table without the lock: an entry counts once "used" says so. */
u16 child_result_register(struct vp *vp, const struct cpuid_result *new)
{
	struct cpuid_result *old = same(vp, new);
	struct cpuid_page *p = vp->results;

	if (old) {
		*old = *new;
		return ST_OK;
	}
	if (!p || p->used == RESULTS_PER_PAGE) {
		p = pool_get(&vp->pt->pool);
		if (!p)
			return ST_INSUFFICIENT_MEMORY;
		p->next = (u64)vp->results;
		vp->results = p;
	}
	p->result[p->used] = *new;
	__atomic_store_n(&p->used, p->used + 1, __ATOMIC_RELEASE);
	return ST_OK;
}

void child_results_free(struct vp *vp)
{
	while (vp->results) {
		struct cpuid_page *p = vp->results;

		vp->results = (void *)p->next;
		pool_put(&vp->pt->pool, p);
	}
}
