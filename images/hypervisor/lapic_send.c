/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts on their way to the local APICs of a child: who is meant, and what each delivery mode does. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define CLUSTER_SHIFT 4			/* xAPIC cluster model: 4 bits of cluster, 4 of members */
#define CLUSTER_MEMBERS 0xfu
#define X2_CLUSTER_SHIFT 16
#define X2_MEMBERS 0xffffu

static bool logical_match(const struct vp *vp, u32 dest)
{
	u32 id = vp->apic.ldr >> APIC_ID_SHIFT;

	if (lapic_x2(vp)) {
		u32 ldr = X2APIC_LDR(vp->apic.id);

		return ldr >> X2_CLUSTER_SHIFT == dest >> X2_CLUSTER_SHIFT && ldr & dest & X2_MEMBERS;
	}
	if ((vp->apic.dfr & DFR_FLAT) == DFR_FLAT)
		return id & dest & VECTOR_MASK;
	return id >> CLUSTER_SHIFT == dest >> CLUSTER_SHIFT && id & dest & CLUSTER_MEMBERS;
}

static bool meant(const struct vp *vp, const struct lapic_request *r)
{
	if (!vp->used || !lapic_on(vp))
		return false;
	if (r->dest == DEST_BROADCAST_X2 || (!r->x2 && r->dest == DEST_BROADCAST))
		return true;
	return r->logical ? logical_match(vp, r->dest) : r->dest == vp->apic.id;
}

/* Hyper-V interrupt types have the numbers of APIC delivery modes. False: this mode does nothing here. */
static bool deliver_one(struct lp *lp, struct vp *vp, const struct lapic_request *r)
{
	switch (r->mode) {
	case IPI_FIXED:
	case IPI_LOWEST:
		lapic_raise(vp, r->vector, r->level);
		return true;
	case IPI_NMI:
		__atomic_store_n(&vp->nmi_pending, true, __ATOMIC_SEQ_CST);
		return true;
	case IPI_INIT:
		if (r->level)		/* assert, not the deassert that follows */
			vp_init_reset(vp);
		return true;
	case IPI_SIPI:
		vp_sipi(vp, r->vector);
		return true;
	case IPI_EXTINT:
		vp->extint = OFFER_EXTINT | r->vector;
		return true;
	}
	LEDGER_EVENT(lp, EV_CHILD_INTERRUPT, FLAG_IGNORED, r->mode, vp->pt->id, vp->index, r->vector);
	return false;
}

/* Of those that are meant, the one that does the least urgent work; the search begins behind the last that was chosen. */
static struct vp *lowest_priority(struct partition *pt, const struct lapic_request *r)
{
	struct vp *best = NULL;

	for (u32 i = 1; i <= MAX_VPS; i++) {
		struct vp *vp = &pt->vp[(pt->last_lowest + i) % MAX_VPS];

		if (meant(vp, r) && vp->apic.svr & SVR_ENABLE && (!best || lapic_ppr(vp) < lapic_ppr(best)))
			best = vp;
	}
	if (best)
		pt->last_lowest = best->index;
	return best;
}

/* hv_lock is not held on the child's own paths; vp_kick takes care of the wake-up. */
bool lapic_deliver(struct lp *lp, struct partition *pt, const struct lapic_request *r)
{
	bool any = false;

	if (r->mode == IPI_LOWEST) {
		struct vp *vp = lowest_priority(pt, r);

		if (vp && (any = deliver_one(lp, vp, r)))
			vp_kick(lp, vp);
		return any;
	}
	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &pt->vp[i];

		if (meant(vp, r) && deliver_one(lp, vp, r)) {
			any = true;
			vp_kick(lp, vp);
		}
	}
	return any;
}

/* A write to the interrupt command register; the destination is in icr_hi already. */
void lapic_command(struct lp *lp, struct vp *vp, u32 icr)
{
	struct lapic *a = &vp->apic;
	u32 shorthand = icr >> ICR_SHORTHAND_SHIFT & ICR_SHORTHAND_MASK;
	struct lapic_request r = { .mode = icr >> ICR_MODE_SHIFT & ICR_MODE_MASK, .vector = icr & VECTOR_MASK,
				   .x2 = lapic_x2(vp) };

	a->icr_lo = icr & ~ICR_PENDING;
	if ((r.mode == IPI_FIXED || r.mode == IPI_LOWEST) && r.vector < 16) {
		lapic_error(vp, ESR_SEND_VECTOR);
		return;
	}
	r.level = r.mode == IPI_INIT && (icr & ICR_ASSERT || !(icr & ICR_TRIGGER_LEVEL));
	if (shorthand == SHORTHAND_NONE) {
		r.dest = r.x2 ? a->icr_hi : a->icr_hi >> APIC_ID_SHIFT;
		r.logical = icr & ICR_LOGICAL;
		lapic_deliver(lp, vp->pt, &r);
		return;
	}
	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *to = &vp->pt->vp[i];

		if (!to->used || !lapic_on(to))
			continue;
		if (shorthand == SHORTHAND_SELF ? to != vp : shorthand == SHORTHAND_OTHERS && to == vp)
			continue;
		if (deliver_one(lp, to, &r))
			vp_kick(lp, to);
	}
}
