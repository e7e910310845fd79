/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual local APIC of child VPs (xAPIC): timer, interrupt selection, delivery, state image. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define TIMER_TSC_SHIFT 3		/* the timer counts TSC / 8 */
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

void lapic_reset(struct vp *vp)
{
	struct lapic *a = &vp->apic;

	memset(a, 0, sizeof *a);
	a->id = vp->index;
	a->dfr = ~0u;
	a->svr = VECTOR_MASK;
	for (u32 i = 0; i < LENGTH(a->lvt); i++)
		a->lvt[i] = LVT_MASKED;
}

/* ---- timer ---- */
static u32 divisor(const struct lapic *a)
{
	u32 d = (a->div & 3) | (a->div >> 1 & 4);

	return d == 7 ? 1 : 2u << d;
}

static u64 period(const struct lapic *a) { return (u64)a->init * divisor(a) << TIMER_TSC_SHIFT; }

static void timer_poll(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	u64 now = rdtsc(), p = period(a);

	if (!a->armed || !p || now - a->start < p)
		return;
	if (a->lvt[LVT_TIMER] & LVT_PERIODIC)
		a->start += (now - a->start) / p * p;
	else
		a->armed = false;
	if (!(a->lvt[LVT_TIMER] & LVT_MASKED))
		set(a->irr, a->lvt[LVT_TIMER] & VECTOR_MASK);
}

bool lapic_timer_armed(const struct vp *vp) { return vp->apic.armed && !(vp->apic.lvt[LVT_TIMER] & LVT_MASKED); }

void lapic_timer_set(struct vp *vp, u32 initial)
{
	vp->apic.init = initial;
	vp->apic.start = rdtsc();
	vp->apic.armed = initial != 0;
}

u32 lapic_timer_count(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	u64 p = period(a), elapsed;

	timer_poll(vp);
	if (!a->armed || !p)
		return 0;
	elapsed = rdtsc() - a->start;
	return a->init - (u32)((elapsed % p >> TIMER_TSC_SHIFT) / divisor(a));
}

/* ---- which interrupt is next ---- */
/* Highest vector the VP may take now, or -1. */
int lapic_pending(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	u32 tpr = vp->vmcb->vintr & VINTR_TPR_MASK;
	int irr, isr;

	timer_poll(vp);
	if (!(a->svr & SVR_ENABLE))
		return -1;
	irr = highest(a->irr);
	isr = highest(a->isr);
	if (irr < FIRST_VECTOR || (u32)irr >> PRIORITY_SHIFT <= tpr ||
	    (isr >= 0 && irr >> PRIORITY_SHIFT <= isr >> PRIORITY_SHIFT))
		return -1;
	return irr;
}

/*
 * Before VMRUN: offer the interrupt as a virtual interrupt (V_IRQ); the CPU takes it when it can. EVENTINJ of type
 * INTR is avoided: TCG leaves cs->exception_index set after it and may deliver the vector a second time.
 */
void lapic_inject(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	int vector = lapic_pending(vp);

	v->vintr &= ~(VINTR_IRQ | VINTR_IGNORE_TPR | VINTR_VECTOR_MASK | VINTR_PRIORITY_MASK);
	vp->offered = 0;
	if (vector < 0 && !vp->extint)
		return;
	vp->offered = vector < 0 ? vp->extint : OFFER_APIC | (u32)vector;
	v->vintr |= VINTR_IRQ | VINTR_IGNORE_TPR | (u64)(vp->offered & VECTOR_MASK) << VINTR_VECTOR_SHIFT;
}

/* After VMRUN: was it taken? */
void lapic_sync(struct vp *vp)
{
	u32 vector = vp->offered & VECTOR_MASK;

	if (!vp->offered || vp->vmcb->vintr & VINTR_IRQ)
		return;
	if (vp->offered & OFFER_APIC) {
		clear(vp->apic.irr, vector);
		set(vp->apic.isr, vector);
	} else {
		vp->extint = 0;
	}
	vp->offered = 0;
}

/* ---- delivery ---- */
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

/* Hyper-V interrupt types have the numbers of APIC delivery modes. False: this mode is not modelled. */
static bool deliver_one(struct vp *vp, u32 mode, u32 vector, bool level)
{
	switch (mode) {
	case IPI_FIXED:
	case IPI_LOWEST:
		level ? set(vp->apic.tmr, vector) : clear(vp->apic.tmr, vector);
		set(vp->apic.irr, vector);
		return true;
	case IPI_INIT:
		if (level)		/* assert, not the deassert that follows */
			vp_init_reset(vp);
		return true;
	case IPI_SIPI:
		vp_sipi(vp, vector);
		return true;
	case IPI_EXTINT:
		vp->extint = OFFER_EXTINT | vector;
		return true;
	}
	kprintf("vp %u: delivery mode %u ignored\n", vp->index, mode);
	return false;
}

/* hv_lock is not held on the MMIO path; vp_kick takes care of the wake-up. */
bool lapic_deliver(struct lp *lp, struct partition *pt, u32 dest, bool logical, u32 mode, u32 vector, bool level)
{
	bool any = false;

	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &pt->vp[i];

		if (!vp->used)
			continue;
		if (logical ? !(vp->apic.ldr >> APIC_ID_SHIFT & dest) : dest != DEST_BROADCAST && dest != vp->apic.id)
			continue;
		if (!deliver_one(vp, mode, vector, level))
			continue;
		any = true;
		vp_kick(lp, vp);
		if (mode == IPI_LOWEST)
			break;
	}
	return any;
}

/* A write to the interrupt command register. */
void lapic_command(struct lp *lp, struct vp *vp, u32 icr)
{
	struct lapic *a = &vp->apic;
	u32 mode = icr >> ICR_MODE_SHIFT & ICR_MODE_MASK, vector = icr & VECTOR_MASK;
	u32 shorthand = icr >> ICR_SHORTHAND_SHIFT & ICR_SHORTHAND_MASK;

	a->icr_lo = icr & ~ICR_PENDING;
	switch (shorthand) {
	case SHORTHAND_NONE:
		lapic_deliver(lp, vp->pt, a->icr_hi >> APIC_ID_SHIFT, icr & ICR_LOGICAL, mode, vector,
			      mode == IPI_INIT && icr & ICR_ASSERT);
		break;
	case SHORTHAND_SELF:
		lapic_deliver(lp, vp->pt, a->id, false, mode, vector, false);
		break;
	default:
		for (u32 i = 0; i < MAX_VPS; i++)
			if (vp->pt->vp[i].used && (i != vp->index || shorthand == SHORTHAND_ALL))
				lapic_deliver(lp, vp->pt, vp->pt->vp[i].apic.id, false, mode, vector, false);
	}
}

/* ---- image for GET/SET_VP_STATE ---- */
static void save(const struct lapic *a, struct wire_lapic *s)
{
	memset(s, 0, PAGE);
	s->id = a->id;
	s->version = APIC_VERSION_VALUE;
	s->ldr = a->ldr, s->dfr = a->dfr, s->spurious = a->svr;
	memcpy(s->isr, a->isr, sizeof s->isr);
	memcpy(s->tmr, a->tmr, sizeof s->tmr);
	memcpy(s->irr, a->irr, sizeof s->irr);
	s->esr = a->esr, s->icr_high = a->icr_hi, s->icr_low = a->icr_lo;
	s->lvt_timer = a->lvt[LVT_TIMER], s->lvt_thermal = a->lvt[LVT_THERMAL], s->lvt_perfmon = a->lvt[LVT_PERF];
	s->lvt_lint0 = a->lvt[LVT_LINT0], s->lvt_lint1 = a->lvt[LVT_LINT1], s->lvt_error = a->lvt[LVT_ERROR];
	s->lvt_cmci = a->lvt[LVT_CMCI];
	s->initial_count = a->init, s->divide = a->div;
}

static void load(struct lapic *a, const struct wire_lapic *s)
{
	a->id = s->id;
	a->ldr = s->ldr, a->dfr = s->dfr, a->svr = s->spurious;
	memcpy(a->isr, s->isr, sizeof s->isr);
	memcpy(a->tmr, s->tmr, sizeof s->tmr);
	memcpy(a->irr, s->irr, sizeof s->irr);
	a->esr = s->esr, a->icr_hi = s->icr_high, a->icr_lo = s->icr_low;
	a->lvt[LVT_TIMER] = s->lvt_timer, a->lvt[LVT_THERMAL] = s->lvt_thermal, a->lvt[LVT_PERF] = s->lvt_perfmon;
	a->lvt[LVT_LINT0] = s->lvt_lint0, a->lvt[LVT_LINT1] = s->lvt_lint1, a->lvt[LVT_ERROR] = s->lvt_error;
	a->lvt[LVT_CMCI] = s->lvt_cmci;
	a->init = s->initial_count, a->div = s->divide;
}

void lapic_state(struct vp *vp, struct wire_lapic *s, bool store)
{
	if (!store) {
		save(&vp->apic, s);
		return;
	}
	load(&vp->apic, s);
	if (vp->apic.init)
		lapic_timer_set(vp, vp->apic.init);
}
