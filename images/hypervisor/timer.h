/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deadlines of a logical processor. All functions act on the LP that calls them; only timer_cancel may be called from
 * another. A timer lies in what it belongs to (CONTAINER() finds that again) and is zeroed before its first use.
 */
#ifndef TIMER_H
#define TIMER_H

#include "types.h"

struct lp;

struct timer {
	struct timer *next;
	struct lp *lp;			/* where it is queued, NULL while it is not */
	u64 at;				/* TSC */
	u32 vector;			/* of the root: the hardware delivers it, without an exit; 0 for our own deadlines */
	bool delivered;			/* for run(): the hardware has done so */
	void (*run)(struct lp *, struct timer *);	/* with hv_lock, no longer queued; may arm again */
};

struct timer_hardware {			/* what the physical APIC timer of this LP is set to */
	bool owned;			/* the root uses synthetic timers and leaves the APIC's to us */
	const struct timer *timer;
	u64 at;
	u32 lvt;
};

#define CONTAINER(p, type, member) ((type *)((u8 *)(p) - OFFSET(type, member)))
#define TIMER_NEVER (~0ul)

void timer_arm(struct lp *, struct timer *, u64 tsc);	/* arming again moves it */
void timer_cancel(struct timer *);	/* with hv_lock: run() is not and will not be called; without: it still may be */
void timers_run(struct lp *);		/* run what has expired; takes hv_lock if there is something */
void timers_run_locked(struct lp *);	/* the same for callers that hold hv_lock */
bool timer_live(const struct lp *);	/* will a deadline interrupt the guest that runs here? Else poll. */
void timer_own(struct lp *);		/* the root uses a synthetic timer: the APIC timer is ours from now on */

#endif
