/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child VP's clocks: its TSC, and the next moment at which one of its timers must interrupt it. */
#include "hv.h"

static u64 next_deadline(const struct vp *vp)
{
	return lapic_timer_next(vp);
}

/* Raise what has expired. */
void child_timers_poll(struct vp *vp)
{
	if (vp_has_lapic(vp))
		lapic_timer_poll(vp);
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

void child_set_tsc(struct vp *vp, u64 value) { vp->vmcb->tsc_offset = value - rdtsc(); }
