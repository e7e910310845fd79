/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child VP's clocks: its TSC, and the next moment at which one of its timers must interrupt it. */
#include "hv.h"

#define TSC_SLACK 1000000ul		/* VPs whose TSCs the VMM set to one value a moment apart */

static u64 next_deadline(const struct vp *vp)
{
	u64 apic = vp_has_lapic(vp) ? lapic_timer_next(vp) : NEVER, synthetic = child_stimers_next(vp);

	return apic < synthetic ? apic : synthetic;
}

/* Has a timer expired that nobody has looked at? */
bool child_timers_due(const struct vp *vp)
{
	u64 at = next_deadline(vp);

	return at != NEVER && at <= rdtsc();
}

/* Raise what has expired. */
void child_timers_poll(struct vp *vp)
{
	if (vp_has_lapic(vp))
		lapic_timer_poll(vp);
	child_stimers_poll(vp);
}

static void expired(struct lp *lp, struct timer *t)
{
	struct vp *vp = CONTAINER(t, struct vp, wake);

	vp_kick(lp, vp);	/* the VP finds out by itself what it is */
}

/* Have this LP interrupted when the VP's next timer expires; the VP is about to run here, or to wait. */
void child_timers_arm(struct lp *lp, struct vp *vp)
{
	u64 at = next_deadline(vp);
	const struct lp *on;

	if (at == NEVER) {
		if (vp->wake.lp)
			timer_cancel(&vp->wake);
		return;
	}
	on = vp->wake.lp;
	if (on && vp->wake.at == at && (on == lp || timer_live(on)))
		return;			/* elsewhere is as good: expired() finds the VP wherever it is */
	vp->wake.run = expired;
	timer_arm(lp, &vp->wake, at);
}

/* A halted VP with a timer, on an LP that no deadline will interrupt: the root has to look again and again. */
bool child_timers_need_polling(const struct lp *lp, struct vp *vp)
{
	return next_deadline(vp) != NEVER && !timer_live(lp);
}

/* The partition's reference time; it stands still while the VMM has frozen it. */
u64 child_ref_time(const struct partition *pt)
{
	return (pt->hv.frozen ? pt->hv.frozen : ref_time()) - pt->hv.ref_start;
}

void child_freeze(struct partition *pt, bool freeze)
{
	if (freeze && !pt->hv.frozen)
		pt->hv.frozen = ref_time();
	if (freeze || !pt->hv.frozen)
		return;
	pt->hv.ref_start += ref_time() - pt->hv.frozen;
	pt->hv.frozen = 0;
	child_tsc_page(pt);
}

/*
 * The reference TSC page: it serves all VPs, so it is valid only while their TSCs agree. Sequence 0 sends the guest to
 * the reference counter instead.
 */
void child_tsc_page(struct partition *pt)
{
	struct wire_tsc_page *p = (void *)pt->hv.tsc_page;
	const struct vp *first = NULL;
	bool agree = true;
	u32 sequence;

	if (!p)
		return;
	for (u32 i = 0; i < MAX_VPS; i++) {
		const struct vp *vp = &pt->vp[i];

		if (!vp->used)
			continue;
		if (!first)
			first = vp;
		agree &= vp->vmcb->tsc_offset - first->vmcb->tsc_offset + TSC_SLACK < 2 * TSC_SLACK;
	}
	sequence = p->sequence + 1;
	p->sequence = 0;
	if (!first || !agree || pt->hv.frozen)
		return;
	p->scale = ref_scale();
	p->offset = ref_offset(first->vmcb->tsc_offset) - (s64)pt->hv.ref_start;
	__atomic_store_n(&p->sequence, sequence ? sequence : 1, __ATOMIC_RELEASE);
}

void child_set_tsc(struct vp *vp, u64 value)
{
	vp->vmcb->tsc_offset = value - rdtsc();
	child_tsc_page(vp->pt);
}
