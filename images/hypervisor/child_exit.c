/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exits of a child that the stand-in handles by itself, without the lock; everything else becomes a message. */
#include "abi.h"
#include "hv.h"

/* What is to become of an MSR that we do not have: the VMM's word on this one, then on all, else #GP. */
static bool ignore_unknown_msr(const struct vp *vp, u32 m)
{
	const struct cpuid_result *r = child_result_find(vp, m, 0, true);

	return (r ? r->value[0] : child_property(vp->pt, PROP_UNIMPLEMENTED_MSR_ACTION)) == MSR_ACTION_IGNORE;
}

static enum child_action unknown_msr(struct lp *lp, struct vp *vp, bool write, u32 m, u64 *value)
{
	bool ignored = ignore_unknown_msr(vp, m);

	if (child_wants(vp, INTERCEPT_MSR, write ? INTERCEPT_WRITE : INTERCEPT_READ, 0))
		return CHILD_MESSAGE;
	LEDGER_EVENT(lp, EV_CHILD_MSR, 0, m, vp->pt->id, vp->index, write, *value, ignored);
	if (ignored) {
		*value = 0;
		return CHILD_RESUME;
	}
	inject_exception(vp->vmcb, EXC_GP, true, 0);
	return CHILD_FAULTED;
}

static enum child_action msr(struct lp *lp, struct vp *vp, bool write)
{
	struct vmcb *v = vp->vmcb;
	u32 m = vp->g.rcx, access = write ? INTERCEPT_WRITE : INTERCEPT_READ;
	u64 value = write ? (u32)v->rax | vp->g.rdx << 32 : 0;
	enum child_action action = CHILD_RESUME;

	if (child_wants(vp, INTERCEPT_MSR_INDEX, access, m) ||
	    (m == MSR_PATCH_LEVEL && child_wants(vp, INTERCEPT_PATCH_LEVEL, access, 0)))
		return CHILD_MESSAGE;
	switch (child_msr(lp, vp, write, m, &value)) {
	case CHILD_MSR_DONE: break;
	case CHILD_MSR_FAULT:
		inject_exception(v, EXC_GP, true, 0);
		return CHILD_RESUME;
	case CHILD_MSR_UNKNOWN:
		action = unknown_msr(lp, vp, write, m, &value);
		if (action != CHILD_RESUME)
			return action == CHILD_FAULTED ? CHILD_RESUME : action;
	}
	if (!write)
		v->rax = (u32)value, vp->g.rdx = value >> 32;
	v->rip += LEN_MSR;
	return CHILD_RESUME;
}

static void xsetbv(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;

	if (vp->g.rcx || !xcr0_valid((u32)v->rax | vp->g.rdx << 32, xcr0_max)) {
		inject_exception(v, EXC_GP, true, 0);
		return;
	}
	vp->xcr0 = (u32)v->rax;
	xsetbv0(vp->xcr0);
	v->rip += LEN_XSETBV;
}

static bool apic_page(struct lp *lp, struct vp *vp)
{
	u64 gpa = vp->vmcb->info2;
	u8 bytes[INSTRUCTION_BYTES];

	if (!lapic_on(vp) || lapic_x2(vp) || gpa >> PAGE_SHIFT != vp->apic_base >> PAGE_SHIFT)
		return false;
	return lapic_mmio(lp, vp, gpa, bytes, child_fetch(vp, bytes));
}

static enum child_action cpuid_exit(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	u32 r[4];

	if (child_wants(vp, INTERCEPT_CPUID, INTERCEPT_EXECUTE, (u32)v->rax) ||
	    child_wants(vp, INTERCEPT_GLOBAL_CPUID, INTERCEPT_EXECUTE, 0))
		return CHILD_MESSAGE;
	child_cpuid(vp, r);
	v->rax = r[0];
	vp->g.rbx = r[1];
	vp->g.rcx = r[2];
	vp->g.rdx = r[3];
	v->rip += LEN_CPUID;
	return CHILD_RESUME;
}

/* The NMI handler ends with this IRET; the next NMI may come behind it, see lapic_sync(). */
static void iret(struct vp *vp)
{
	vp->vmcb->int_misc1 &= ~MISC1_IRET;
	vp->nmi_iret = true;
	vp->nmi_iret_rip = vp->vmcb->rip;
}

enum child_action child_exit(struct lp *lp, struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	bool shadowed;

	vp->exits++;
	switch (v->exitcode) {
	case EXIT_NPF:
		if (v->info1 & NPF_WALK)	/* what the instruction does is not done to that address */
			return CHILD_MESSAGE;
		return apic_page(lp, vp) || doorbell(lp, vp) ? CHILD_RESUME : CHILD_MESSAGE;
	case EXIT_HLT:
		shadowed = lost_shadow(v, &vp->shadow_rip);
		v->rip += LEN_HLT;
		v->shadow = 0;
		if (!vp_has_lapic(vp))
			return CHILD_MESSAGE;
		vp->halted = !shadowed;
		return CHILD_RESUME;
	case EXIT_CPUID: return cpuid_exit(vp);
	case EXIT_MSR: return msr(lp, vp, v->info1 & MSR_EXIT_WRITE);
	case EXIT_XSETBV:
		xsetbv(vp);
		return CHILD_RESUME;
	case EXIT_IRET:
		iret(vp);
		return CHILD_RESUME;
	case EXIT_VMMCALL: return child_vmmcall(lp, vp);
	case EXIT_VMRUN:
	case EXIT_VMLOAD ... EXIT_SKINIT:
	case EXIT_INVLPGA:
		inject_exception(v, EXC_UD, false, 0);
		return CHILD_RESUME;
	}
	return CHILD_MESSAGE;
}
