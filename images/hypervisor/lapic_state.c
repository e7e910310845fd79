/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image of a child's local APIC for GET/SET_VP_STATE: what is saved and set again is as if nothing had happened. */
#include "apic_regs.h"
#include "hv.h"

static void save(struct vp *vp, struct wire_lapic *s)
{
	const struct lapic *a = &vp->apic;

	memset(s, 0, PAGE);
	s->counter = lapic_timer_count(vp);	/* may raise the timer's interrupt, so it comes first */
	s->id = a->id;
	s->version = APIC_VERSION_VALUE;
	s->ldr = lapic_x2(vp) ? X2APIC_LDR(a->id) : a->ldr;
	s->dfr = a->dfr, s->spurious = a->svr;
	memcpy(s->isr, a->isr, sizeof s->isr);
	memcpy(s->tmr, a->tmr, sizeof s->tmr);
	memcpy(s->irr, a->irr, sizeof s->irr);
	s->esr = a->esr, s->error_status = a->errors;
	s->icr_high = a->icr_hi, s->icr_low = a->icr_lo;
	s->lvt_timer = a->lvt[LVT_TIMER], s->lvt_thermal = a->lvt[LVT_THERMAL], s->lvt_perfmon = a->lvt[LVT_PERF];
	s->lvt_lint0 = a->lvt[LVT_LINT0], s->lvt_lint1 = a->lvt[LVT_LINT1], s->lvt_error = a->lvt[LVT_ERROR];
	s->lvt_cmci = a->lvt[LVT_CMCI];
	s->initial_count = a->init, s->divide = a->div;
}

static void load(struct vp *vp, const struct wire_lapic *s)
{
	struct lapic *a = &vp->apic;

	a->id = s->id;
	a->ldr = s->ldr & LDR_MASK, a->dfr = s->dfr | DFR_FIXED, a->svr = s->spurious & SVR_VALID;
	memcpy(a->isr, s->isr, sizeof s->isr);
	memcpy(a->tmr, s->tmr, sizeof s->tmr);
	memcpy(a->irr, s->irr, sizeof s->irr);
	a->esr = s->esr, a->errors = s->error_status;
	a->icr_hi = s->icr_high, a->icr_lo = s->icr_low;
	a->lvt[LVT_TIMER] = s->lvt_timer, a->lvt[LVT_THERMAL] = s->lvt_thermal, a->lvt[LVT_PERF] = s->lvt_perfmon;
	a->lvt[LVT_LINT0] = s->lvt_lint0, a->lvt[LVT_LINT1] = s->lvt_lint1, a->lvt[LVT_ERROR] = s->lvt_error;
	a->lvt[LVT_CMCI] = s->lvt_cmci;
	a->init = s->initial_count, a->div = s->divide & DIVIDE_MASK;
	lapic_timer_resume(vp, s->counter);
}

void lapic_state(struct vp *vp, struct wire_lapic *s, bool store)
{
	if (store)
		load(vp, s);
	else
		save(vp, s);
}
