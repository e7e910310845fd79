/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SynIC of a child: messages in the slots of the SIM page, event flags, and the interrupts that announce them. The
 * root's (synic.c) is bound to a real APIC and to pages that the root cannot move; a child's is not.
 */
#include "apic_regs.h"
#include "hv.h"

#define FLAGS_PER_SINT 2048u
#define SINT_VALID (SINT_VECTOR_MASK | SINT_MASKED | SINT_AUTO_EOI | SINT_POLLING | SINT_AS_INTERCEPT)

static struct message *slot_of(struct vp *vp, u32 sint) { return (struct message *)vp->synic.page[SYNIC_SIMP] + sint; }

static bool can_raise(const struct vp *vp, u32 sint)
{
	return vp->synic.scontrol & SYNIC_ENABLE && !(vp->synic.sint[sint] & SINT_MASKED);
}

static void raise(struct vp *vp, u32 sint)
{
	if (can_raise(vp, sint) && !(vp->synic.sint[sint] & SINT_POLLING))
		lapic_raise(vp, vp->synic.sint[sint] & SINT_VECTOR_MASK, false);
}

/* A vector that needs no EOI never gets into service. */
bool child_auto_eoi(const struct vp *vp, u32 vector)
{
	for (u32 i = 0; vp->synic.queue && i < SYNIC_SINTS; i++)
		if ((vp->synic.sint[i] & (SINT_VECTOR_MASK | SINT_MASKED | SINT_AUTO_EOI)) == (vector | SINT_AUTO_EOI))
			return true;
	return false;
}

/* With the lock. False: the slot is taken, and the guest will say when it is not. */
static bool put(struct vp *vp, u32 sint, const struct message *m)
{
	struct message *slot = slot_of(vp, sint);
	u32 type = m->type;

	if (!(vp->synic.msr[SYNIC_SIMP] & SMSR_ENABLE) || !can_raise(vp, sint))
		return false;
	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE)) {
		/* The guest frees the slot, then looks at the flag: so the flag first, then the slot again. */
		__atomic_or_fetch(&slot->flags, MSG_FLAG_PENDING, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST))
			return false;
	}
	memcpy((u8 *)slot + sizeof type, (const u8 *)m + sizeof type, sizeof *m - sizeof type);
	__atomic_store_n(&slot->type, type, __ATOMIC_SEQ_CST);
	raise(vp, sint);
	return true;
}

/* What waits, in order; one that cannot go holds back the later ones of its SINT only. */
static void scan(struct vp *vp)
{
	struct child_queue *q = vp->synic.queue;
	u32 stuck = 0, kept = 0;

	for (u32 i = 0; i < q->used; i++) {
		if (!(stuck & BIT(q->sint[i])) && put(vp, q->sint[i], &q->m[i]))
			continue;
		stuck |= BIT(q->sint[i]);
		if (kept != i) {
			q->m[kept] = q->m[i];
			q->sint[kept] = q->sint[i];
		}
		kept++;
	}
	q->used = kept;
}

/* For a sender that tries again by itself: into the slot or not at all. */
bool child_slot_post(struct vp *vp, u32 sint, const struct message *m)
{
	lock_t *l = &vp->synic.lock;
	bool done;

	lock(l);
	done = put(vp, sint, m);
	unlock(l);
	return done;
}

u16 child_post(struct vp *vp, u32 sint, const struct message *m)
{
	struct child_queue *q = vp->synic.queue;
	u16 st = ST_OK;

	if (!q)
		return ST_INVALID_VP_STATE;
	lock(&vp->synic.lock);
	if (q->used == CHILD_MESSAGES) {
		st = ST_INSUFFICIENT_BUFFERS;
	} else {
		q->m[q->used] = *m;
		q->m[q->used].flags = 0;
		q->sint[q->used++] = sint;
		scan(vp);
	}
	unlock(&vp->synic.lock);
	return st;
}

u16 child_signal(struct vp *vp, u32 sint, u32 flag, bool *newly)
{
	u64 *word = (u64 *)(vp->synic.page[SYNIC_SIEFP]) + (sint * FLAGS_PER_SINT + flag) / 64;

	*newly = false;
	if (!vp->synic.queue || !(vp->synic.msr[SYNIC_SIEFP] & SMSR_ENABLE) || !can_raise(vp, sint))
		return ST_INVALID_SYNIC_STATE;
	if (flag >= FLAGS_PER_SINT)
		return ST_INVALID_PARAMETER;
	*newly = !(__atomic_fetch_or(word, BIT(flag % 64), __ATOMIC_SEQ_CST) & BIT(flag % 64));
	if (*newly)
		raise(vp, sint);
	return ST_OK;
}

/* Something changed that may let messages through. */
void child_synic_scan(struct vp *vp)
{
	if (!vp->synic.queue)
		return;
	lock(&vp->synic.lock);
	scan(vp);
	unlock(&vp->synic.lock);
	child_stimers_retry(vp);
}

void child_eom(struct vp *vp) { child_synic_scan(vp); }

bool child_sint_write(struct vp *vp, u32 sint, u64 value)
{
	if (value & ~SINT_VALID || (!(value & (SINT_MASKED | SINT_POLLING)) && (value & SINT_VECTOR_MASK) < SINT_FIRST_VECTOR))
		return false;
	vp->synic.sint[sint] = value;
	child_synic_scan(vp);
	return true;
}

/* ---- pages ---- */
static bool enlightened(const struct partition *pt) { return child_feature(pt, SYNTH_PRESENT | SYNTH_HV1); }

/* How many pages of the pool a further VP takes. */
u32 child_vp_pages(const struct partition *pt)
{
	return !enlightened(pt) ? 0 : SYNIC_PAGES + 1 + (pt->hv.hypercall_page ? 0 : 2);
}

void child_vp_init(struct vp *vp)
{
	static const u8 code[] = { 0x0f, 0x01, 0xd9, 0xc3 };	/* vmmcall; ret */
	struct partition *pt = vp->pt;

	if (!enlightened(pt))
		return;
	for (u32 i = 0; i < SYNIC_PAGES; i++)
		vp->synic.page[i] = pool_get(&pt->pool);
	vp->synic.queue = pool_get(&pt->pool);
	for (u32 i = 0; i < SYNIC_SINTS; i++)
		vp->synic.sint[i] = SINT_MASKED;
	if (pt->hv.hypercall_page)
		return;
	pt->hv.hypercall_page = pool_get(&pt->pool);
	pt->hv.tsc_page = pool_get(&pt->pool);
	memcpy(pt->hv.hypercall_page, code, sizeof code);
}

void child_vp_free(struct vp *vp)
{
	struct partition *pt = vp->pt;

	if (!vp->synic.queue)
		return;
	for (u32 i = 0; i < SYNIC_PAGES; i++) {
		child_overlay_off(pt, OVERLAY_VP + vp->index * SYNIC_PAGES + i);
		pool_put(&pt->pool, vp->synic.page[i]);
	}
	pool_put(&pt->pool, vp->synic.queue);
	vp->synic.queue = NULL;
}

void child_partition_free(struct partition *pt)
{
	if (!pt->hv.hypercall_page)
		return;
	child_overlay_off(pt, OVERLAY_HYPERCALL);
	child_overlay_off(pt, OVERLAY_TSC);
	pool_put(&pt->pool, pt->hv.hypercall_page);
	pool_put(&pt->pool, pt->hv.tsc_page);
	pt->hv.hypercall_page = pt->hv.tsc_page = NULL;
}
