/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INSTALL_INTERCEPT and REGISTER_INTERCEPT_RESULT: what of a child's doings its VMM wants to see, and what it answers. */
#include "hc.h"

#define ACCESS_ALL (BIT(INTERCEPT_READ) | BIT(INTERCEPT_WRITE) | BIT(INTERCEPT_EXECUTE))

/* Which accesses an intercept type can have, and which part of the parameter tells two of them apart. */
static const struct kind { u32 accesses; u64 parameter; bool modelled; } kinds[INTERCEPT_TYPES] = {
	[INTERCEPT_IO_PORT] = { BIT(INTERCEPT_READ) | BIT(INTERCEPT_WRITE), 0xffff, true },
	[INTERCEPT_MSR] = { BIT(INTERCEPT_READ) | BIT(INTERCEPT_WRITE), 0, true },
	[INTERCEPT_CPUID] = { BIT(INTERCEPT_EXECUTE), 0xffffffff, true },
	[INTERCEPT_EXCEPTION] = { BIT(INTERCEPT_EXECUTE), 0xffff, true },
	[INTERCEPT_MMIO] = { ACCESS_ALL, 0, false },
	[INTERCEPT_GLOBAL_CPUID] = { BIT(INTERCEPT_EXECUTE), 0, true },
	[INTERCEPT_APIC_SMI] = { BIT(INTERCEPT_EXECUTE), 0, false },
	[INTERCEPT_HYPERCALL] = { BIT(INTERCEPT_EXECUTE), 0, true },
	[INTERCEPT_INIT_SIPI] = { ACCESS_ALL, 0, false },
	[INTERCEPT_PATCH_LEVEL] = { BIT(INTERCEPT_READ), 0, true },
	[INTERCEPT_APIC_WRITE] = { BIT(INTERCEPT_WRITE), 0xffffffff, false },
	[INTERCEPT_MSR_INDEX] = { BIT(INTERCEPT_READ) | BIT(INTERCEPT_WRITE), 0xffffffff, true },
};

/* Has the VMM installed an intercept of this type for this access? */
bool child_wants(const struct vp *vp, u32 type, u32 access, u64 parameter)
{
	for (u32 i = 0; i < vp->pt->nintercepts; i++) {
		const struct intercept *t = &vp->pt->intercept[i];

		if (t->type == type && t->access & BIT(access) && !((t->parameter ^ parameter) & kinds[type].parameter))
			return true;
	}
	return false;
}

/* The intercepts that the VMCB holds. */
void child_intercepts_apply(struct vp *vp)
{
	vp->vmcb->int_exc = 0;
	for (u32 i = 0; i < vp->pt->nintercepts; i++)
		if (vp->pt->intercept[i].type == INTERCEPT_EXCEPTION)
			vp->vmcb->int_exc |= BIT(vp->pt->intercept[i].parameter);
}

void hc_decode_intercept(struct hc *c)
{
	const struct in_install_intercept *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->type);
	hc_word(c, in->access);
	hc_word(c, in->parameter);
}

static struct intercept *installed(struct partition *pt, u32 type, u64 parameter)
{
	for (u32 i = 0; i < pt->nintercepts; i++)
		if (pt->intercept[i].type == type && pt->intercept[i].parameter == parameter)
			return &pt->intercept[i];
	return NULL;
}

/* The accesses replace those of an intercept of the same type and parameter; none at all removes it. */
static u16 install(struct partition *pt, u32 type, u32 access, u64 parameter)
{
	struct intercept *t = installed(pt, type, parameter);

	if (t && !access)
		*t = pt->intercept[--pt->nintercepts];
	else if (t)
		t->access = access;
	else if (access && pt->nintercepts == MAX_INTERCEPTS)
		return ST_NO_RESOURCES;
	else if (access)
		pt->intercept[pt->nintercepts++] = (struct intercept){ type, access, parameter };
	for (u32 i = 0; i < MAX_VPS; i++)
		if (pt->vp[i].used)
			child_intercepts_apply(&pt->vp[i]);
	return ST_OK;
}

u16 hc_install_intercept(struct hc *c)
{
	const struct in_install_intercept *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u32 type = in->type, access = in->access;
	u64 parameter = in->parameter;

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (type >= INTERCEPT_TYPES || !kinds[type].accesses || access & ~kinds[type].accesses)
		return ST_INVALID_PARAMETER;
	parameter &= kinds[type].parameter;
	if (type == INTERCEPT_EXCEPTION && parameter >= EXC_LAST)
		return ST_INVALID_PARAMETER;
	if (!kinds[type].modelled) {
		c->flags |= FLAG_IGNORED;
		LEDGER_EVENT(c->lp, EV_INTERCEPT_TYPE, FLAG_UNIMPLEMENTED, type, access, parameter);
	}
	return install(pt, type, access, parameter);
}

/* ---- results ---- */
static struct cpuid_result cpuid_result(const struct in_intercept_result *in)
{
	return (struct cpuid_result){
		.leaf = in->cpuid.leaf, .subleaf = in->cpuid.subleaf_specific ? in->cpuid.subleaf : 0,
		.flags = in->cpuid.subleaf_specific ? RESULT_SUBLEAF : 0,
		.value = { in->cpuid.value[0].set, in->cpuid.value[1].set, in->cpuid.value[2].set, in->cpuid.value[3].set },
		.mask = { in->cpuid.value[0].mask, in->cpuid.value[1].mask, in->cpuid.value[2].mask,
			  in->cpuid.value[3].mask },
	};
}

void hc_decode_intercept_result(struct hc *c)
{
	const struct in_intercept_result *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->vp);
	hc_word(c, in->type);
	hc_word(c, in->cpuid.leaf);	/* or the MSR */
	hc_word(c, in->cpuid.subleaf);	/* or the access */
}

u16 hc_intercept_result(struct hc *c)
{
	const struct in_intercept_result *in = c->in;
	struct cpuid_result r;
	struct vp *vp;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	switch (in->type) {
	case INTERCEPT_CPUID:
		r = cpuid_result(in);
		break;
	case INTERCEPT_MSR:
		if (in->msr.action > MSR_ACTION_IGNORE)
			return ST_INVALID_PARAMETER;
		r = (struct cpuid_result){ .leaf = in->msr.index, .flags = RESULT_MSR, .value = { in->msr.action } };
		break;
	default:
		return ST_INVALID_PARAMETER;
	}
	return child_result_register(vp, &r);
}

/* ---- what the child would see ---- */
u16 hc_cpuid_values(struct hc *c)
{
	const struct in_cpuid_values *in = c->in;
	u32 (*out)[4] = c->out;
	struct vp *vp;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	for (c->done = c->start; c->done < c->reps; c->done++)
		child_cpuid_of(vp, in->leaf[c->done].eax, in->leaf[c->done].ecx, out[c->done]);
	return ST_OK;
}

/* ---- addresses ---- */
u16 hc_translate(struct hc *c)
{
	const struct in_translate *in = c->in;
	struct out_translate *out = c->out;
	u64 gva = in->gva_page * PAGE, gpa = 0, flags = in->flags;
	struct vp *vp;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	if (flags & ~TRANSLATE_KNOWN || gva / PAGE != in->gva_page)
		return ST_INVALID_PARAMETER;
	if (flags & TRANSLATE_SET_BITS)
		c->flags |= FLAG_IGNORED;
	out->result = child_translate(vp, gva, flags, &gpa);
	out->overlay = TRANSLATE_WRITE_BACK | (child_overlay_at(vp->pt, gpa / PAGE) ? TRANSLATE_OVERLAY : 0);
	out->gpa_page = gpa / PAGE;
	return ST_OK;
}
