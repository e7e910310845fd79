/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exits of a child that the stand-in handles by itself, without the lock; everything else becomes a message. */
#include "abi.h"
#include "hv.h"

#define STORED_MSR BIT(32)		/* key space of MSRs among the stored registers */

void child_cpuid(struct vp *vp, u32 r[4])
{
	struct vmcb *v = vp->vmcb;
	u32 leaf = v->rax;

	cpuid(leaf, vp->g.rcx, r);
	switch (leaf) {
	case 1:
		r[1] = (r[1] & 0x00ffffff) | vp->apic.id << CPUID_1_EBX_APIC_SHIFT;
		r[2] &= ~(CPUID_1_ECX_OSXSAVE | CPUID_1_ECX_X2APIC);
		r[2] |= CPUID_1_ECX_HYPERVISOR | (v->cr4 & CR4_OSXSAVE ? CPUID_1_ECX_OSXSAVE : 0);
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
	case LEAF_HYPERVISOR_FIRST ... LEAF_HYPERVISOR_LAST:
		memset(r, 0, 4 * sizeof *r);	/* no Hyper-V enlightenments for children */
		break;
	}
}

/* Has the VMM installed an intercept of this type for this access? */
bool child_wants(const struct vp *vp, u32 type, u32 access, u64 parameter, u64 mask)
{
	for (u32 i = 0; i < vp->pt->nintercepts; i++) {
		const struct intercept *t = &vp->pt->intercept[i];
		if (t->type == type && t->access & BIT(access) && !((t->parameter ^ parameter) & mask))
			return true;
	}
	return false;
}

/* MSRs that exit: a few live ones, the rest is storage so that any guest boots. */
static void msr(struct vp *vp, bool write)
{
	struct vmcb *v = vp->vmcb;
	u32 id = vp->g.rcx;
	u64 val = (u32)v->rax | vp->g.rdx << 32, *p = NULL;

	switch (id) {
	case MSR_EFER:
		if (write)
			v->efer = (val & ~EFER_LMA) | (v->efer & EFER_LMA) | EFER_SVME;
		val = v->efer & ~EFER_SVME;
		break;
	case MSR_APIC_BASE: p = &vp->apic_base; break;
	case MSR_SYSENTER_CS: p = &v->sysenter_cs; break;
	case MSR_SYSENTER_ESP: p = &v->sysenter_esp; break;
	case MSR_SYSENTER_EIP: p = &v->sysenter_eip; break;
	case MSR_PAT: p = &v->gpat; break;
	case MSR_MTRR_CAP: val = MTRR_CAP_DEFAULT; break;
	case MSR_TSC: val = rdtsc() + v->tsc_offset; break;
	default:
		p = vp_stored(vp, STORED_MSR | id, write);
		if (!p)
			val = 0;
	}
	if (p && write)
		*p = val;
	if (p)
		val = *p;
	if (!write)
		v->rax = (u32)val, vp->g.rdx = val >> 32;
	v->rip += LEN_MSR;
}

static void xsetbv(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;

	if (vp->g.rcx || (u32)v->rax & ~xcr0_max || !(v->rax & XCR0_X87)) {
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

	if (!vp_has_lapic(vp) || gpa >> PAGE_SHIFT != vp->apic_base >> PAGE_SHIFT)
		return false;
	return lapic_mmio(lp, vp, gpa, bytes, child_fetch(vp, bytes));
}

static void cpuid_exit(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	u32 r[4];

	child_cpuid(vp, r);
	v->rax = r[0];
	vp->g.rbx = r[1];
	vp->g.rcx = r[2];
	vp->g.rdx = r[3];
	v->rip += LEN_CPUID;
}

enum child_action child_exit(struct lp *lp, struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	bool write = v->info1 & MSR_EXIT_WRITE;

	vp->exits++;
	switch (v->exitcode) {
	case EXIT_NPF:
		return apic_page(lp, vp) || doorbell(lp, vp) ? CHILD_RESUME : CHILD_MESSAGE;
	case EXIT_HLT:
		v->rip += LEN_HLT;
		if (!vp_has_lapic(vp))
			return CHILD_MESSAGE;
		vp->halted = true;
		return CHILD_RESUME;
	case EXIT_CPUID:
		if (child_wants(vp, INTERCEPT_CPUID, INTERCEPT_EXECUTE, (u32)v->rax, 0xffffffff))
			return CHILD_MESSAGE;
		cpuid_exit(vp);
		return CHILD_RESUME;
	case EXIT_MSR:
		if (child_wants(vp, INTERCEPT_MSR, write ? INTERCEPT_WRITE : INTERCEPT_READ, 0, 0))
			return CHILD_MESSAGE;
		msr(vp, write);
		return CHILD_RESUME;
	case EXIT_XSETBV:
		xsetbv(vp);
		return CHILD_RESUME;
	case EXIT_VMRUN ... EXIT_SKINIT:
	case EXIT_INVLPGA:
		inject_exception(v, EXC_UD, false, 0);
		return CHILD_RESUME;
	}
	return CHILD_MESSAGE;
}
