/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic interrupt controller of the root: message slot and interrupt of SINT 0, where intercepts arrive. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

void synic_init(struct lp *lp)
{
	lp->simp = (u64)shared_alloc();
	lp->siefp = (u64)shared_alloc();
	lp->sirbp = (u64)shared_alloc();
	lp->vp_assist = (u64)shared_alloc();
	for (u32 i = 0; i < SYNIC_SINTS; i++)
		lp->sint[i] = SINT_MASKED;
}

static void raise(struct lp *lp)
{
	u64 sint = lp->sint[SINT_INTERCEPT];

	if (!(sint & SINT_MASKED) && lp->scontrol & SYNIC_ENABLE)
		apic_write_icr(lp->apic_id, ICR_ASSERT | (sint & SINT_VECTOR_MASK));
}

/* Move one queued message into the slot if that is free; the root's EOM write brings the next. */
static void deliver(struct lp *lp)
{
	struct message *slot = (struct message *)PAGE_BASE(lp->simp);

	if (!(lp->simp & SMSR_ENABLE) || lp->queue_head == lp->queue_tail)
		return;
	if (slot->type) {
		slot->flags |= MSG_FLAG_PENDING;
		return;
	}
	struct message m = lp->queue[lp->queue_head++ % LENGTH(lp->queue)];
	u32 type = m.type;
	m.flags = lp->queue_head != lp->queue_tail ? MSG_FLAG_PENDING : 0;
	m.type = 0;
	memcpy(slot, &m, sizeof m);
	__atomic_store_n(&slot->type, type, __ATOMIC_RELEASE);
	raise(lp);
}

void synic_post(struct lp *lp, u32 sint, const struct message *m)
{
	if (sint != SINT_INTERCEPT || lp->queue_tail - lp->queue_head == LENGTH(lp->queue)) {
		kprintf("lp %u: message %#x for SINT %u dropped\n", lp->index, m->type, sint);
		LEDGER_EVENT(lp, EV_MESSAGE_DROPPED, FLAG_UNIMPLEMENTED, m->type, sint);
		return;
	}
	lp->queue[lp->queue_tail++ % LENGTH(lp->queue)] = *m;
	deliver(lp);
}

void synic_eom(struct lp *lp) { deliver(lp); }
