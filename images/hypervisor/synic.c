/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Synthetic interrupt controller of the root's VPs: messages, event flags, event rings, and the interrupts that
 * announce them. What cannot be delivered (controller or page off, SINT masked, slot full) waits for the write that
 * changes that.
 */
#include "apic_regs.h"
#include "hv.h"

void synic_init(struct lp *lp)
{
	struct synic *s = &lp->synic;

	lp->simp = (u64)shared_alloc();
	lp->siefp = (u64)shared_alloc();
	lp->sirbp = (u64)shared_alloc();
	lp->vp_assist = (u64)shared_alloc();
	overlay_init(&lp->simp, true);
	overlay_init(&lp->siefp, true);
	overlay_init(&lp->sirbp, false);
	overlay_init(&lp->vp_assist, false);
	for (u32 i = 0; i < SYNIC_SINTS; i++) {
		lp->sint[i] = SINT_MASKED;
		s->first[i] = s->last[i] = SYNIC_NONE;
	}
	for (u32 i = 0; i < SYNIC_MESSAGES; i++)
		s->pool[i].next = i + 1 < SYNIC_MESSAGES ? i + 1 : SYNIC_NONE;
}

/* ---- interrupts ---- */
static void interrupt(struct lp *lp, u64 sint)
{
	u32 vector = sint & SINT_VECTOR_MASK;

	if (sint & SINT_POLLING || !lp->started)
		return;
	if (sint & SINT_AUTO_EOI)
		__atomic_or_fetch(&lp->synic.auto_irr[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
	else
		apic_write_icr(lp->apic_id, ICR_ASSERT | vector);
}

static bool can_raise(const struct lp *lp, u32 sint)
{
	return lp->scontrol & SYNIC_ENABLE && !(lp->sint[sint] & SINT_MASKED);
}

/* Something arrived at an unmasked SINT. One that is an intercept says so in a message of SINT 0. */
static void raise(struct lp *lp, u32 sint)
{
	if (!can_raise(lp, sint))
		return;
	if (lp->sint[sint] & SINT_AS_INTERCEPT && sint != SINT_INTERCEPT)
		lp->synic.notices |= BIT(sint);
	else
		interrupt(lp, lp->sint[sint]);
}

/*
 * Auto-EOI: the vector must leave no trace in the APIC, which the root owns. So it is offered as a virtual interrupt
 * when the LP next enters the root. No other LP can force that: it may have to wait for an exit.
 */
void synic_enter(struct lp *lp)
{
	struct synic *s = &lp->synic;
	u64 *v = &lp->vmcb->vintr;

	for (u32 i = LENGTH(s->auto_irr); i-- > 0 && !s->auto_offered;)
		if (s->auto_irr[i])
			s->auto_offered = SYNIC_OFFERED | (i * 64 + 63 - __builtin_clzl(s->auto_irr[i]));
	if (s->auto_offered)
		*v = (*v & ~VINTR_VECTOR_MASK) | VINTR_IRQ | VINTR_IGNORE_TPR |
		     (u64)(s->auto_offered & VECTOR_MASK) << VINTR_VECTOR_SHIFT;
}

void synic_left(struct lp *lp)
{
	struct synic *s = &lp->synic;
	u32 vector = s->auto_offered & VECTOR_MASK;

	if (!s->auto_offered || lp->vmcb->vintr & VINTR_IRQ)
		return;
	__atomic_and_fetch(&s->auto_irr[vector / 64], ~BIT(vector % 64), __ATOMIC_SEQ_CST);
	s->auto_offered = 0;
}

/* ---- messages ---- */
static bool next_message(struct lp *lp, u32 sint, struct message *m)
{
	struct synic *s = &lp->synic;
	u8 n = s->first[sint];

	if (n != SYNIC_NONE) {
		*m = s->pool[n].m;
		s->first[sint] = s->pool[n].next;
		s->pool[n].next = s->free;
		s->free = n;
		return true;
	}
	if (sint != SINT_INTERCEPT || !s->notices)
		return false;
	*m = (struct message){ .type = MSG_SYNIC_SINT, .size = sizeof(u32), .sender = ROOT_ID,
			       .payload = { (u32)__builtin_ctz(s->notices) } };
	s->notices &= s->notices - 1;
	return true;
}

static bool waiting(const struct lp *lp, u32 sint)
{
	return lp->synic.first[sint] != SYNIC_NONE || (sint == SINT_INTERCEPT && lp->synic.notices);
}

/* Move one message into the slot if that is free; the root's EOM write brings the next. */
static void deliver(struct lp *lp, u32 sint)
{
	struct message *slot = (struct message *)PAGE_BASE(lp->simp) + sint, m;
	u32 type;

	if (!(lp->simp & SMSR_ENABLE) || !can_raise(lp, sint) || !waiting(lp, sint))
		return;
	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE)) {
		/* The root frees the slot, then looks at the flag: so the flag first, then the slot again. */
		__atomic_or_fetch(&slot->flags, MSG_FLAG_PENDING, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST))
			return;
	}
	next_message(lp, sint, &m);
	type = m.type;
	m.flags = waiting(lp, sint) ? MSG_FLAG_PENDING : 0;
	m.type = 0;
	memcpy(slot, &m, sizeof m);
	__atomic_store_n(&slot->type, type, __ATOMIC_SEQ_CST);
	raise(lp, sint);
}

/* The root is told once that a ring has something; it takes "masked" back when it has emptied the ring. */
static void announce_ring(struct lp *lp, u32 sint)
{
	struct wire_event_ring *ring = (struct wire_event_ring *)PAGE_BASE(lp->sirbp) + sint;
	u32 newest = (lp->synic.ring_head[sint] + EVENT_RING_PORTS - 1) % EVENT_RING_PORTS;

	if (can_raise(lp, sint) && __atomic_load_n(&ring->data[newest], __ATOMIC_SEQ_CST) &&
	    !__atomic_exchange_n(&ring->masked, 1, __ATOMIC_SEQ_CST))
		raise(lp, sint);
}

/* Whatever may be deliverable now; SINT 0 last, because raising another SINT may give it something to say. */
static void scan(struct lp *lp)
{
	for (u32 sint = SYNIC_SINTS; sint-- > 0;) {
		if (lp->synic.rings & BIT(sint) && lp->sirbp & SMSR_ENABLE)
			announce_ring(lp, sint);
		deliver(lp, sint);
	}
}

static u16 queue(struct lp *lp, u32 sint, const struct message *m)
{
	struct synic *s = &lp->synic;
	u8 n = s->free;

	if (n == SYNIC_NONE)
		return ST_INSUFFICIENT_BUFFERS;
	s->free = s->pool[n].next;
	s->pool[n] = (struct synic_queued){ *m, SYNIC_NONE };
	if (s->first[sint] == SYNIC_NONE)
		s->first[sint] = n;
	else
		s->pool[s->last[sint]].next = n;
	s->last[sint] = n;
	return ST_OK;
}

u16 synic_post(struct lp *lp, u32 sint, const struct message *m)
{
	u16 st;

	lock(&lp->synic.lock);
	st = queue(lp, sint, m);
	scan(lp);
	unlock(&lp->synic.lock);
	if (st && m->type & MSG_HYPERVISOR) {	/* a partition is told; we have nobody to tell */
		kprintf("lp %u: message %#x for SINT %u dropped\n", lp->index, m->type, sint);
		LEDGER_EVENT(lp, EV_MESSAGE_DROPPED, FLAG_UNIMPLEMENTED, m->type, sint);
	}
	return st;
}

/* Is a message like this one still waiting? Only the type and the first word count. */
bool synic_queued(struct lp *lp, u32 sint, const struct message *m)
{
	struct synic *s = &lp->synic;
	bool found = false;

	lock(&s->lock);
	for (u8 n = s->first[sint]; n != SYNIC_NONE; n = s->pool[n].next)
		found |= s->pool[n].m.type == m->type && s->pool[n].m.payload[0] == m->payload[0];
	unlock(&s->lock);
	return found;
}

/* ---- event flags ---- */
u16 synic_signal(struct lp *lp, u32 sint, u32 flag)
{
	u64 *flags = (u64 *)(PAGE_BASE(lp->siefp) + sint * EVENT_FLAGS_BYTES);
	u64 before;

	if (!(lp->siefp & SMSR_ENABLE) || !(lp->scontrol & SYNIC_ENABLE))
		return ST_INVALID_SYNIC_STATE;
	lock(&lp->synic.lock);
	before = __atomic_fetch_or(&flags[flag / 64], BIT(flag % 64), __ATOMIC_SEQ_CST);
	if (!(before & BIT(flag % 64))) {
		raise(lp, sint);
		scan(lp);
	}
	unlock(&lp->synic.lock);
	return ST_OK;
}

/* ---- event rings ---- */
/* Put a port into the ring. False: the ring is off or full, and the port has to be put into it later. */
bool synic_ring(struct lp *lp, u32 sint, u32 port)
{
	struct wire_event_ring *ring = (struct wire_event_ring *)PAGE_BASE(lp->sirbp) + sint;
	struct synic *s = &lp->synic;
	bool done = false;

	lock(&s->lock);
	if (lp->sirbp & SMSR_ENABLE && lp->scontrol & SYNIC_ENABLE) {
		u32 *place = &ring->data[s->ring_head[sint]];

		/* The root empties the ring, then looks at "full": so "full" first, then the place again. */
		if (__atomic_load_n(place, __ATOMIC_SEQ_CST))
			__atomic_store_n(&ring->full, 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(place, __ATOMIC_SEQ_CST)) {
			__atomic_store_n(place, port, __ATOMIC_SEQ_CST);
			s->ring_head[sint] = (s->ring_head[sint] + 1) % EVENT_RING_PORTS;
			s->rings |= BIT(sint);
			done = true;
		}
		scan(lp);
	}
	unlock(&s->lock);
	return done;
}

/* ---- registers ---- */
bool synic_read(const struct lp *lp, u32 m, u64 *val)
{
	switch (m) {
	case SMSR_SCONTROL: *val = lp->scontrol; return true;
	case SMSR_SVERSION: *val = SYNIC_VERSION; return true;
	case SMSR_SIEFP: *val = lp->siefp; return true;
	case SMSR_SIMP: *val = lp->simp; return true;
	case SMSR_EOM: *val = 0; return true;
	case SMSR_SIRBP: *val = lp->sirbp; return true;
	case SMSR_SINT0 ... SMSR_SINT15: *val = lp->sint[m - SMSR_SINT0]; return true;
	}
	return false;
}

static bool write(struct lp *lp, u32 m, u64 val)
{
	switch (m) {
	case SMSR_SCONTROL: lp->scontrol = val; return true;
	case SMSR_SIEFP: return overlay_write(&lp->siefp, val);
	case SMSR_SIMP: return overlay_write(&lp->simp, val);
	case SMSR_EOM: return true;
	case SMSR_SIRBP: return overlay_write(&lp->sirbp, val);
	case SMSR_SINT0 ... SMSR_SINT15:
		if ((val & SINT_VECTOR_MASK) < SINT_FIRST_VECTOR && !(val & SINT_MASKED))
			return false;
		lp->sint[m - SMSR_SINT0] = val;
		return true;
	}
	return false;			/* SVERSION is read-only */
}

/* False: the write is not allowed. */
bool synic_write(struct lp *lp, u32 m, u64 val)
{
	bool ok;

	lock(&lp->synic.lock);
	ok = write(lp, m, val);
	scan(lp);
	unlock(&lp->synic.lock);
	return ok;
}
