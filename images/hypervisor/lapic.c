/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual local APIC of child VPs: priorities, which interrupt is next, offering it to the CPU, end of interrupt. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define PRIORITY_SHIFT 4
#define FIRST_VECTOR 16

static int highest(const u32 *bank)
{
	for (int i = 7; i >= 0; i--)
		if (bank[i])
			return i * 32 + 31 - __builtin_clz(bank[i]);
	return -1;
}

static void set(u32 *bank, u32 v) { __atomic_or_fetch(&bank[v / 32], 1u << v % 32, __ATOMIC_SEQ_CST); }
static void clear(u32 *bank, u32 v) { __atomic_and_fetch(&bank[v / 32], ~(1u << v % 32), __ATOMIC_SEQ_CST); }

bool lapic_on(const struct vp *vp) { return vp_has_lapic(vp) && vp->apic_base & APIC_BASE_ENABLE; }
bool lapic_x2(const struct vp *vp) { return lapic_on(vp) && vp->apic_base & APIC_BASE_X2; }

/* Power-on, INIT and a return from the disabled state: everything but the id. */
void lapic_reset(struct vp *vp)
{
	struct lapic *a = &vp->apic;

	memset(a, 0, sizeof *a);
	a->id = vp->index;
	a->dfr = ~0u;
	a->svr = VECTOR_MASK;
	for (u32 i = 0; i < LENGTH(a->lvt); i++)
		a->lvt[i] = LVT_MASKED;
	if (vp->vmcb)
		lapic_set_tpr(vp, 0);
}

/* ---- priorities; the upper half of TPR is CR8, which a child changes without an exit ---- */
u32 lapic_tpr(const struct vp *vp)
{
	u32 cr8 = vp->vmcb->vintr & VINTR_TPR_MASK;

	return vp->apic.tpr >> PRIORITY_SHIFT == cr8 ? vp->apic.tpr : cr8 << PRIORITY_SHIFT;
}

void lapic_set_tpr(struct vp *vp, u32 tpr)
{
	vp->apic.tpr = tpr & VECTOR_MASK;
	vp->vmcb->vintr = (vp->vmcb->vintr & ~VINTR_TPR_MASK) | vp->apic.tpr >> PRIORITY_SHIFT;
}

u32 lapic_ppr(const struct vp *vp)
{
	int isr = highest(vp->apic.isr);
	u32 tpr = lapic_tpr(vp), class = isr < 0 ? 0 : (u32)isr >> PRIORITY_SHIFT;

	return tpr >> PRIORITY_SHIFT >= class ? tpr : class << PRIORITY_SHIFT;
}

/* The highest requested vector above those in service, whatever TPR says; -1 if none. */
static int candidate(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	int irr, isr;

	child_timers_poll(vp);
	if (!lapic_on(vp) || !(a->svr & SVR_ENABLE))
		return -1;
	irr = highest(a->irr);
	isr = highest(a->isr);
	if (irr < FIRST_VECTOR || (isr >= 0 && irr >> PRIORITY_SHIFT <= isr >> PRIORITY_SHIFT))
		return -1;
	return irr;
}

static bool above_tpr(const struct vp *vp, int vector)
{
	return vector >= 0 && (u32)vector >> PRIORITY_SHIFT > (vp->vmcb->vintr & VINTR_TPR_MASK);
}

/* Highest vector the VP may take now, or -1. */
int lapic_pending(struct vp *vp)
{
	int vector = candidate(vp);

	return above_tpr(vp, vector) ? vector : -1;
}

/* Is there something that ends a HLT? */
bool lapic_wakes(struct vp *vp)
{
	bool wakes = (vp->nmi_pending && !vp->nmi_masked) ||
		     ((vp->vmcb->rflags & RFLAGS_IF || vp->idle) && (lapic_pending(vp) >= 0 || vp->extint));

	if (wakes)
		vp->idle = false;
	return wakes;
}

/* The same as a hint, for which no lock is taken and nothing changes. */
bool lapic_may_wake(const struct vp *vp)
{
	return vp->nmi_pending || ((vp->vmcb->rflags & RFLAGS_IF || vp->idle) &&
				   (highest(vp->apic.irr) >= 0 || vp->extint || child_timers_due(vp)));
}

/* ---- before and after VMRUN ---- */
static void inject_nmi(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;

	if (!vp->nmi_pending || vp->nmi_masked || v->eventinj & EVENT_VALID || v->shadow & SHADOW_INTERRUPT)
		return;
	__atomic_store_n(&vp->nmi_pending, false, __ATOMIC_SEQ_CST);
	vp->nmi_masked = true;
	v->int_misc1 |= MISC1_IRET;	/* the end of the handler, when the next one may come */
	v->eventinj = EXC_NMI | EVENT_TYPE_NMI << EVENT_TYPE_SHIFT | EVENT_VALID;
}

/*
 * Before VMRUN: offer the interrupt as a virtual interrupt (V_IRQ); the CPU takes it when it can. EVENTINJ of type
 * INTR is avoided: TCG leaves cs->exception_index set after it and may deliver the vector a second time. A vector that
 * TPR holds back is offered too, so that it comes when the child lowers CR8, which does not exit. TCG takes it at
 * "priority >= TPR" where the manual has ">": hence the priority of the class below.
 */
void lapic_inject(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	int vector;

	inject_nmi(vp);
	vector = candidate(vp);
	v->vintr &= ~(VINTR_IRQ | VINTR_IGNORE_TPR | VINTR_VECTOR_MASK | VINTR_PRIORITY_MASK);
	vp->offered = 0;
	if (vp->extint && !above_tpr(vp, vector)) {
		vp->offered = vp->extint;
		v->vintr |= VINTR_IGNORE_TPR;
	} else if (vector >= 0) {
		clear(vp->apic.irr, vector);	/* the same one may be requested again once the child has taken it */
		vp->offered = OFFER_APIC | (u32)vector;
		v->vintr |= (u64)((vector >> PRIORITY_SHIFT) - 1) << VINTR_PRIORITY_SHIFT;
	}
	if (vp->offered)
		v->vintr |= VINTR_IRQ | (u64)(vp->offered & VECTOR_MASK) << VINTR_VECTOR_SHIFT;
}

/*
 * A nested page fault that interrupts the delivery of an NMI or interrupt comes back from TCG as an exception of that
 * vector, which VMRUN refuses. The interrupt is still offered, so it is dropped here; the NMI gets its type back.
 */
static void mend_interrupted_delivery(struct vmcb *v)
{
	u32 vector = v->intinfo & VECTOR_MASK;

	if (!(v->intinfo & EVENT_VALID))
		return;
	if (vector == EXC_NMI)
		v->intinfo = EXC_NMI | EVENT_TYPE_NMI << EVENT_TYPE_SHIFT | EVENT_VALID;
	else if (vector >= EXC_LAST)
		v->intinfo = 0;
}

/* After VMRUN: was it taken? */
void lapic_sync(struct vp *vp)
{
	u32 vector = vp->offered & VECTOR_MASK;

	mend_interrupted_delivery(vp->vmcb);
	if (vp->nmi_iret && vp->vmcb->rip != vp->nmi_iret_rip)
		vp->nmi_iret = vp->nmi_masked = false;
	if (!vp->offered)
		return;
	if (vp->vmcb->vintr & VINTR_IRQ) {
		if (vp->offered & OFFER_APIC)
			set(vp->apic.irr, vector);
	} else if (!(vp->offered & OFFER_APIC)) {
		vp->extint = 0;
	} else if (!child_auto_eoi(vp, vector)) {
		set(vp->apic.isr, vector);
	}
	vp->offered = 0;
}

/* ---- requests and their end ---- */
void lapic_raise(struct vp *vp, u32 vector, bool level)
{
	if (!lapic_on(vp) || !(vp->apic.svr & SVR_ENABLE))
		return;
	if (vector < FIRST_VECTOR) {
		lapic_error(vp, ESR_RECEIVE_VECTOR);
		return;
	}
	level ? set(vp->apic.tmr, vector) : clear(vp->apic.tmr, vector);
	set(vp->apic.irr, vector);
}

/* A local source: timer, error, ... */
void lapic_lvt(struct vp *vp, u32 which)
{
	if (!(vp->apic.lvt[which] & LVT_MASKED))
		lapic_raise(vp, vp->apic.lvt[which] & VECTOR_MASK, false);
}

void lapic_error(struct vp *vp, u32 bits)
{
	u32 vector = vp->apic.lvt[LVT_ERROR] & VECTOR_MASK;

	__atomic_or_fetch(&vp->apic.errors, bits, __ATOMIC_SEQ_CST);
	if (vector >= FIRST_VECTOR)
		lapic_lvt(vp, LVT_ERROR);
}

void lapic_eoi(struct lp *lp, struct vp *vp)
{
	struct lapic *a = &vp->apic;
	int v = highest(a->isr);

	if (v < 0)
		return;
	clear(a->isr, v);
	if (a->tmr[v / 32] >> v % 32 & 1) {
		struct message m = { .type = MSG_APIC_EOI, .size = sizeof(struct wire_eoi_message), .sender = vp->pt->id };
		struct wire_eoi_message eoi = { vp->index, v };

		memcpy(m.payload, &eoi, sizeof eoi);
		synic_post(lp, SINT_INTERCEPT, &m);	/* the queue belongs to this LP: no lock */
	}
}
