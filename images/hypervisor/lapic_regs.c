/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers of a child's local APIC by their xAPIC offset; both the APIC page and the x2APIC MSRs end here. */
#include "apic_regs.h"
#include "hv.h"

#define BANK(offset) ((offset) >> 4 & 7)
#define LVT_INDEX(offset) (((offset) - APIC_ICR_HIGH) >> 4)	/* timer is 1, error 6: see LVT_* */

/* False: there is no such register (an xAPIC notes that in ESR, an x2APIC faults). */
bool lapic_read(struct vp *vp, u32 o, u32 *v)
{
	struct lapic *a = &vp->apic;

	switch (o) {
	case APIC_ID: *v = lapic_x2(vp) ? a->id : a->id << APIC_ID_SHIFT; break;
	case APIC_VERSION: *v = APIC_VERSION_VALUE; break;
	case APIC_TPR: *v = lapic_tpr(vp); break;
	case APIC_PPR: *v = lapic_ppr(vp); break;
	case APIC_LDR: *v = lapic_x2(vp) ? X2APIC_LDR(a->id) : a->ldr; break;
	case APIC_DFR: *v = a->dfr; break;
	case APIC_SVR: *v = a->svr; break;
	case APIC_ISR ... APIC_ISR + APIC_BANK_LAST: *v = a->isr[BANK(o)]; break;
	case APIC_TMR ... APIC_TMR + APIC_BANK_LAST: *v = a->tmr[BANK(o)]; break;
	case APIC_IRR ... APIC_IRR + APIC_BANK_LAST: *v = a->irr[BANK(o)]; break;
	case APIC_ESR: *v = a->esr; break;
	case APIC_LVT_CMCI: *v = a->lvt[LVT_CMCI]; break;
	case APIC_ICR_LOW: *v = a->icr_lo; break;
	case APIC_ICR_HIGH: *v = a->icr_hi; break;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR: *v = a->lvt[LVT_INDEX(o)]; break;
	case APIC_INITIAL_COUNT: *v = a->init; break;
	case APIC_CURRENT_COUNT: *v = lapic_timer_count(vp); break;
	case APIC_DIVIDE: *v = a->div; break;
	case APIC_EOI: *v = 0; break;
	default:
		*v = 0;
		return false;
	}
	return true;
}

static u32 lvt_valid(u32 which)
{
	switch (which) {
	case LVT_TIMER: return LVT_VALID_TIMER;
	case LVT_ERROR: return LVT_VALID_ERROR;
	case LVT_LINT0:
	case LVT_LINT1: return LVT_VALID_LINT;
	}
	return LVT_VALID;
}

static void write_lvt(struct vp *vp, u32 which, u32 v)
{
	struct lapic *a = &vp->apic;

	v &= lvt_valid(which);
	if (!(a->svr & SVR_ENABLE))
		v |= LVT_MASKED;	/* cannot be unmasked while the APIC is off */
	if (which == LVT_TIMER)
		lapic_timer_mode(vp, v);
	else
		a->lvt[which] = v;
}

static void write_svr(struct lapic *a, u32 v)
{
	a->svr = v & SVR_VALID;
	for (u32 i = 0; !(v & SVR_ENABLE) && i < LENGTH(a->lvt); i++)
		a->lvt[i] |= LVT_MASKED;
}

bool lapic_write(struct lp *lp, struct vp *vp, u32 o, u32 v)
{
	struct lapic *a = &vp->apic;

	switch (o) {
	case APIC_ID: a->id = v >> APIC_ID_SHIFT; break;
	case APIC_TPR: lapic_set_tpr(vp, v); break;
	case APIC_EOI: lapic_eoi(lp, vp); break;
	case APIC_LDR: a->ldr = v & LDR_MASK; break;
	case APIC_DFR: a->dfr = v | DFR_FIXED; break;
	case APIC_SVR: write_svr(a, v); break;
	case APIC_ESR: a->esr = __atomic_exchange_n(&a->errors, 0, __ATOMIC_SEQ_CST); break;
	case APIC_LVT_CMCI: write_lvt(vp, LVT_CMCI, v); break;
	case APIC_ICR_LOW: lapic_command(lp, vp, v); break;
	case APIC_ICR_HIGH: a->icr_hi = v; break;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR: write_lvt(vp, LVT_INDEX(o), v); break;
	case APIC_INITIAL_COUNT: lapic_timer_set(vp, v); break;
	case APIC_DIVIDE: lapic_timer_divide(vp, v); break;
	case APIC_VERSION:
	case APIC_PPR:
	case APIC_ISR ... APIC_ISR + APIC_BANK_LAST:
	case APIC_TMR ... APIC_TMR + APIC_BANK_LAST:
	case APIC_IRR ... APIC_IRR + APIC_BANK_LAST:
	case APIC_CURRENT_COUNT: break;	/* read only: a write has no effect */
	default: return false;
	}
	return true;
}
