/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers of child VPs by their Hyper-V names. */
#include "abi.h"
#include "hv.h"

#define TABLE_LIMIT_SHIFT 48
#define XMM_SIZE 16
#define ATTR_LOW 0xff			/* VMCB packs the upper four attribute bits next to the lower eight */
#define ATTR_SVM_HIGH 0xf00
#define ATTR_SHIFT 4
#define SS_DPL_SHIFT 5
#define SEG_LDT_INDEX 6

struct wire_segment segment_to_wire(const struct seg *s)
{
	u16 a = s->attributes;

	return (struct wire_segment){ s->base, s->limit, s->selector, (a & ATTR_LOW) | (a & ATTR_SVM_HIGH) << ATTR_SHIFT };
}

struct seg segment_from_wire(const struct wire_segment *s)
{
	u16 a = s->attributes;

	return (struct seg){ s->selector, (a & ATTR_LOW) | (a >> ATTR_SHIFT & ATTR_SVM_HIGH), s->limit, s->base };
}

/* es cs ss ds fs gs ldtr tr, in Hyper-V order */
static struct seg *segment_of(struct vmcb *v, u32 n)
{
	return n < SEG_LDT_INDEX ? &v->es + n : n == SEG_LDT_INDEX ? &v->ldtr : &v->tr;
}

/* Registers that are one 64-bit word somewhere. */
static u64 *word_of(struct vp *vp, u32 name)
{
	struct vmcb *v = vp->vmcb;

	switch (name) {
	case REG_RAX: return &v->rax;
	case REG_RSP: return &v->rsp;
	case REG_RAX + 1 ... REG_RSP - 1:
	case REG_RSP + 1 ... REG_R15: return &vp->g.rax + (name - REG_RAX);
	case REG_RIP: return &v->rip;
	case REG_RFLAGS: return &v->rflags;
	case REG_CR0: return &v->cr0;
	case REG_CR2: return &v->cr2;
	case REG_CR3: return &v->cr3;
	case REG_CR4: return &v->cr4;
	case REG_XFEM: return &vp->xcr0;
	case REG_DR0 ... REG_DR3: return &vp->dr[name - REG_DR0];
	case REG_DR6: return &v->dr6;
	case REG_DR7: return &v->dr7;
	case REG_KERNEL_GS_BASE: return &v->kernel_gs_base;
	case REG_PAT: return &v->gpat;
	case REG_SYSENTER_CS: return &v->sysenter_cs;
	case REG_SYSENTER_EIP: return &v->sysenter_eip;
	case REG_SYSENTER_ESP: return &v->sysenter_esp;
	case REG_STAR: return &v->star;
	case REG_LSTAR: return &v->lstar;
	case REG_CSTAR: return &v->cstar;
	case REG_SFMASK: return &v->sfmask;
	case REG_TSC_AUX: return &vp->tsc_aux;
	case REG_EXPLICIT_SUSPEND: return &vp->explicit_suspend;
	case REG_INTERCEPT_SUSPEND: return &vp->intercept_suspend;
	case REG_DISPATCH_SUSPEND: return &vp->dispatch_suspend;
	case REG_ROOT_SIGNAL_COUNT: return &vp->root_signal_count;
	case REG_DELIVERABILITY: return &vp->deliverability;
	}
	return NULL;
}

/* Kept only so that they can be read back: MTRRs, SynIC and timer registers of a child that has neither, MSRs. */
u64 *vp_stored(struct vp *vp, u64 key, bool add)
{
	for (u32 i = 0; i < vp->nstored; i++)
		if (vp->stored[i][0] == key)
			return &vp->stored[i][1];
	if (!add || vp->nstored == MAX_STORED)
		return NULL;
	vp->stored[vp->nstored][0] = key;
	return &vp->stored[vp->nstored++][1];
}

static bool storable(u32 name)
{
	u32 class = name >> REG_CLASS_SHIFT;

	return class >= REG_TSC >> REG_CLASS_SHIFT && class <= REG_STIMER0_CONFIG >> REG_CLASS_SHIFT &&
	       vp_register_modelled(name);
}

bool vp_register_modelled(u32 name)
{
	static const u32 ranges[][2] = {
		{ REG_EXPLICIT_SUSPEND, REG_INTERCEPT_SUSPEND }, { REG_CRASH_P0, REG_CRASH_CTL }, { REG_DISPATCH_SUSPEND, REG_ACTIVITY },
		{ REG_PENDING_INTERRUPTION, REG_DELIVERABILITY }, { REG_RAX, REG_RFLAGS }, { REG_XMM0, REG_XMM_CONTROL },
		{ REG_CR0, REG_XFEM }, { REG_DR0, REG_DR7 }, { REG_ES, REG_TR }, { REG_IDTR, REG_GDTR },
		{ REG_TSC, REG_SFMASK }, { REG_MTRR_FIRST, REG_TSC_AUX }, { REG_VP_RUNTIME, REG_VP_RUNTIME },
		{ REG_HYPERCALL, REG_TIME_REF_COUNT }, { REG_VP_ASSIST_PAGE, REG_ROOT_SIGNAL_COUNT },
		{ REG_REFERENCE_TSC, REG_REFERENCE_TSC }, { REG_SINT0, REG_SIRBP },
		{ REG_STIMER0_CONFIG, REG_STIMER3_COUNT },
	};

	for (u32 i = 0; i < LENGTH(ranges); i++)
		if (name >= ranges[i][0] && name <= ranges[i][1])
			return true;
	return false;
}

u16 vp_get_register(struct vp *vp, u32 name, u64 o[2])
{
	struct vmcb *v = vp->vmcb;
	u64 *p = word_of(vp, name);

	o[0] = o[1] = 0;
	if (p) {
		o[0] = *p;
		return ST_OK;
	}
	switch (name) {
	case REG_EFER: o[0] = v->efer & ~EFER_SVME; break;
	case REG_CR8: o[0] = v->vintr & VINTR_TPR_MASK; break;
	case REG_TSC: o[0] = rdtsc() + v->tsc_offset; break;
	case REG_VP_RUNTIME: o[0] = ref_units(vp->count[VS_RUN_TIME]); break;
	case REG_APIC_BASE: o[0] = vp->apic_base; break;
	case REG_INTERRUPT_STATE:
		o[0] = (v->shadow & SHADOW_INTERRUPT) | (vp->nmi_masked ? INTERRUPT_STATE_NMI_MASKED : 0);
		break;
	case REG_ACTIVITY:
		o[0] = (vp->wait_sipi ? ACTIVITY_STARTUP : 0) | (vp->halted && !vp->idle ? ACTIVITY_HALTED : 0) |
		       (vp->idle ? ACTIVITY_IDLE : 0);
		break;
	case REG_PENDING_INTERRUPTION: o[0] = vp_get_interruption(vp); break;
	case REG_PENDING_EVENT0: memcpy(o, vp->pending_event, sizeof vp->pending_event); break;
	case REG_PENDING_EVENT1: break;
	case REG_ES ... REG_TR: {
		struct wire_segment s = segment_to_wire(segment_of(v, name - REG_ES));
		memcpy(o, &s, sizeof s);
		break;
	}
	case REG_IDTR: o[0] = (u64)v->idtr.limit << TABLE_LIMIT_SHIFT, o[1] = v->idtr.base; break;
	case REG_GDTR: o[0] = (u64)v->gdtr.limit << TABLE_LIMIT_SHIFT, o[1] = v->gdtr.base; break;
	case REG_XMM0 ... REG_XMM15: memcpy(o, vp->fpu + XSAVE_XMM0 + XMM_SIZE * (name - REG_XMM0), XMM_SIZE); break;
	case REG_FPMMX0 ... REG_FPMMX7: memcpy(o, vp->fpu + XSAVE_ST0 + XMM_SIZE * (name - REG_FPMMX0), XMM_SIZE); break;
	case REG_FP_CONTROL: memcpy(o, vp->fpu + XSAVE_FCW, 16); break;
	case REG_XMM_CONTROL: memcpy(o, vp->fpu + XSAVE_FIP, 8); memcpy(&o[1], vp->fpu + XSAVE_MXCSR, 8); break;
	case REG_MTRR_FIRST: o[0] = MTRR_CAP_DEFAULT; break;
	default:
		if (child_synthetic_get(vp, name, o))
			break;
		if (!storable(name))
			return ST_INVALID_PARAMETER;
		p = vp_stored(vp, name, false);
		o[0] = p ? *p : 0;
	}
	return ST_OK;
}

/* What a VP waits for. One that waits no longer may have to be scheduled. */
static u16 set_activity(struct lp *lp, struct vp *vp, u64 val)
{
	if (val & ~(ACTIVITY_STARTUP | ACTIVITY_HALTED | ACTIVITY_IDLE))
		return ST_INVALID_REGISTER_VALUE;
	vp->wait_sipi = val & ACTIVITY_STARTUP && vp_has_lapic(vp);
	vp->idle = val & ACTIVITY_IDLE;
	vp->halted = val & (ACTIVITY_HALTED | ACTIVITY_IDLE);
	vp_kick(lp, vp);
	return ST_OK;
}

void vp_cpl_from_ss(struct vp *vp) { vp->vmcb->cpl = vp->vmcb->ss.attributes >> SS_DPL_SHIFT & 3; }

u16 vp_set_register(struct lp *lp, struct vp *vp, u32 name, const u64 val[2])
{
	struct vmcb *v = vp->vmcb;
	u64 *p = word_of(vp, name);
	bool known;

	if (name == REG_EXPLICIT_SUSPEND && vp->explicit_suspend & EXPLICITLY_SUSPENDED &&
	    !(val[0] & EXPLICITLY_SUSPENDED)) {
		vp->explicit_suspend = 0;
		if (!sched_is_ours())
			vp_signal_root(lp, vp);
		return ST_OK;
	}
	if (name == REG_DELIVERABILITY && val[0])
		LEDGER_EVENT(lp, EV_REGISTER_SET, FLAG_UNIMPLEMENTED, name, vp->pt->id, vp->index, val[0]);
	if (name == REG_XFEM && !xcr0_valid(val[0], xcr0_max))
		return ST_INVALID_REGISTER_VALUE;
	if (name == REG_TSC_AUX && val[0] >> 32)	/* WRMSR of the hypervisor itself would fault */
		return ST_INVALID_REGISTER_VALUE;
	if (p) {
		*p = val[0];
		return ST_OK;
	}
	switch (name) {
	case REG_EFER: v->efer = val[0] | EFER_SVME; break;
	case REG_CR8: lapic_set_tpr(vp, (val[0] & VINTR_TPR_MASK) << 4); break;
	case REG_TSC: child_set_tsc(vp, val[0]); break;
	case REG_APIC_BASE:
		if (!lapic_base_valid(vp, val[0]))
			return ST_INVALID_REGISTER_VALUE;
		vp->apic_base = val[0];
		break;
	case REG_INTERRUPT_STATE:
		v->shadow = val[0] & SHADOW_INTERRUPT;
		vp->nmi_masked = val[0] & INTERRUPT_STATE_NMI_MASKED;
		v->int_misc1 = vp->nmi_masked ? v->int_misc1 | MISC1_IRET : v->int_misc1 & ~(u32)MISC1_IRET;
		break;
	case REG_ACTIVITY: return set_activity(lp, vp, val[0]);
	case REG_PENDING_INTERRUPTION: vp_set_interruption(vp, val[0]); break;
	case REG_PENDING_EVENT0: return vp_set_event(vp, val);
	case REG_PENDING_EVENT1: return val[0] ? ST_INVALID_REGISTER_VALUE : ST_OK;	/* nothing comes as a pair here */
	case REG_ES ... REG_TR:
		*segment_of(v, name - REG_ES) = segment_from_wire((const struct wire_segment *)val);
		if (name == REG_SS)
			vp_cpl_from_ss(vp);
		break;
	case REG_IDTR: v->idtr.limit = val[0] >> TABLE_LIMIT_SHIFT, v->idtr.base = val[1]; break;
	case REG_GDTR: v->gdtr.limit = val[0] >> TABLE_LIMIT_SHIFT, v->gdtr.base = val[1]; break;
	case REG_XMM0 ... REG_XMM15: memcpy(vp->fpu + XSAVE_XMM0 + XMM_SIZE * (name - REG_XMM0), val, XMM_SIZE); break;
	case REG_FPMMX0 ... REG_FPMMX7:
		memcpy(vp->fpu + XSAVE_ST0 + XMM_SIZE * (name - REG_FPMMX0), val, XMM_SIZE);
		break;
	case REG_FP_CONTROL: memcpy(vp->fpu + XSAVE_FCW, val, 16); break;
	case REG_XMM_CONTROL:
		memcpy(vp->fpu + XSAVE_FIP, val, 8);
		memcpy(vp->fpu + XSAVE_MXCSR, &val[1], 4);
		fpu_sanitise(vp);
		break;
	case REG_MTRR_FIRST: break;
	default:
		if (!child_synthetic_set(lp, vp, name, val[0], &known))
			return ST_INVALID_REGISTER_VALUE;
		if (known)
			break;
		p = storable(name) ? vp_stored(vp, name, true) : NULL;
		if (!p)
			return ST_INVALID_PARAMETER;
		*p = val[0];
	}
	return ST_OK;
}
