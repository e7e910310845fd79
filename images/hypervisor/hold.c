/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds: a hypercall of the root that does not complete until the host lets it go. Nobody waits in here. The root goes
 * back to its VMMCALL, without hv_lock and with nothing of the call done, and makes the same call again: so its LP takes
 * interrupts where the root has them on, other LPs make hypercalls, and the call sees the world as it is at its end.
 */
#include "hc.h"

/* By the stack a call is known on whatever LP it comes again; an interrupt handler's own calls lie deeper. */
static struct host_hold *holder(const struct lp *lp)
{
	const struct vmcb *v = lp->vmcb;

	for (u32 i = 0; i < HOST_HOLDS; i++) {
		struct host_hold *h = &host_block.control.hold[i];

		if (h->state == HOLD_HELD && h->rip == v->rip && h->rsp == v->rsp && h->control == lp->g.rcx &&
		    h->input == lp->g.rdx && h->output == lp->g.r8)
			return h;
	}
	return NULL;
}

static u64 longest(const struct host_hold *h)
{
	u64 most = HOLD_LONGEST * tsc_hz;

	return h->budget < most ? h->budget : most;
}

/* Called with hv_lock for each VMMCALL, before anything is done about it. */
enum hold_turn hold_turn(struct lp *lp)
{
	struct host_hold *h = holder(lp);
	u64 spent;
	bool expired, let_go;

	if (!h)
		return HOLD_NONE;
	spent = rdtsc() - h->begun;
	let_go = !__atomic_load_n(&h->call.active, __ATOMIC_ACQUIRE) ||
		 __atomic_load_n(&h->release, __ATOMIC_ACQUIRE) == h->generation;
	expired = !let_go && spent > longest(h);
	h->lp = lp->index;
	h->reentries++;
	if (!let_go && !expired)
		return HOLD_WAITS;
	h->expired += expired;
	__atomic_store_n(&h->state, expired ? HOLD_EXPIRED : HOLD_RELEASED, __ATOMIC_RELEASE);
	LEDGER_EVENT(lp, EV_HOLD_END, 0, h->control & CTL_CODE_MASK, h - host_block.control.hold, h->generation,
		     h->reentries, spent, expired);
	return HOLD_ENDS;
}

/* Is this call, which is decoded and not begun, to be held? Called with hv_lock; rip is still at the VMMCALL. */
bool hold_begin(const struct hc *c)
{
	const struct vmcb *v = c->lp->vmcb;

	for (u32 i = 0; i < HOST_HOLDS; i++) {
		struct host_hold *h = &host_block.control.hold[i];

		if (!call_matches(&h->call, c->code, c->partition, c->gfn, c->pages) || h->state == HOLD_HELD)
			continue;
		if (h->skip) {
			h->skip--;
			continue;
		}
		if (!h->count)
			continue;
		h->count--;
		h->generation++;
		h->lp = c->lp->index;
		h->interrupts_on = !!(v->rflags & RFLAGS_IF);
		h->reentries = 0;
		h->begun = rdtsc();
		h->rip = v->rip;
		h->rsp = v->rsp;
		h->control = c->lp->g.rcx;
		h->input = c->lp->g.rdx;
		h->output = c->lp->g.r8;
		__atomic_store_n(&h->state, HOLD_HELD, __ATOMIC_RELEASE);
		LEDGER_EVENT(c->lp, EV_HOLD_BEGIN, 0, c->code, c->partition, i, h->generation, h->interrupts_on);
		return true;
	}
	return false;
}
