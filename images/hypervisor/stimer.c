/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic timers of the root's VPs (TLFS 12): one-shot and periodic, by message or as an interrupt. */
#include "apic_regs.h"
#include "hv.h"

#define CATCH_UP 2			/* a periodic timer that is late and not lazy runs at so many times its rate */

static bool runs(const struct stimer *t) { return t->config & STIMER_ENABLE && t->count; }

static void start(struct lp *lp, struct stimer *t)
{
	bool direct = t->config & STIMER_DIRECT;

	t->timer.vector = direct ? t->config >> STIMER_VECTOR_SHIFT & VECTOR_MASK : 0;
	/* a direct timer is the root's clock, so that it does not use the APIC's */
	if (!lp->hardware.owned && (direct || apic_read(APIC_LVT_TIMER) & LVT_MASKED))
		timer_own(lp);
	timer_arm(lp, &t->timer, ref_to_tsc(t->next));
}

/* The next time of a periodic timer that has just expired. Lazy: skip what was missed. */
u64 stimer_next(u64 expired, u64 period, u64 now, bool lazy)
{
	u64 next = expired + period;

	if (next > now)
		return next;
	return lazy ? now + period - (now - expired) % period : next;
}

static void expire_message(struct lp *lp, const struct stimer *t, u64 at)
{
	struct message m = { .type = MSG_TIMER_EXPIRED, .size = sizeof(struct wire_timer_message) };
	struct wire_timer_message p = { .timer = t->index, .expiration = at, .delivery = ref_time() };
	u32 sint = t->config >> STIMER_SINT_SHIFT & STIMER_SINT_MASK;

	memcpy(m.payload, &p, sizeof p);
	if (!synic_queued(lp, sint, &m))	/* one at a time: a message that waits stands for this one too */
		synic_post(lp, sint, &m);
}

static void expired(struct lp *lp, struct timer *timer)
{
	struct stimer *t = CONTAINER(timer, struct stimer, timer);
	u64 at = t->next, now = ref_time();

	if (!runs(t))
		return;
	if (t->config & STIMER_PERIODIC) {
		t->next = stimer_next(at, t->count, now, t->config & STIMER_LAZY);
		start(lp, t);
		if (t->next <= now)	/* behind: the period is shortened until it has caught up */
			timer_arm(lp, &t->timer, ref_to_tsc(now + t->count / CATCH_UP + 1));
	} else {
		t->config &= ~STIMER_ENABLE;
	}
	if (!(t->config & STIMER_DIRECT))
		expire_message(lp, t, at);
	else if (!timer->delivered)
		apic_write_icr(lp->apic_id, ICR_ASSERT | (t->config >> STIMER_VECTOR_SHIFT & VECTOR_MASK));
}

void stimer_init(struct lp *lp)
{
	for (u32 i = 0; i < LENGTH(lp->stimer); i++) {
		lp->stimer[i].index = i;
		lp->stimer[i].timer.run = expired;
	}
}

static void restart(struct lp *lp, struct stimer *t)
{
	timer_cancel(&t->timer);
	if (!runs(t))
		return;
	t->next = t->config & STIMER_PERIODIC ? ref_time() + t->count : t->count;
	start(lp, t);
}

static bool set_config(struct stimer *t, u64 val)
{
	u32 vector = val >> STIMER_VECTOR_SHIFT & VECTOR_MASK, sint = val >> STIMER_SINT_SHIFT & STIMER_SINT_MASK;

	if (val & STIMER_RESERVED || (val & STIMER_DIRECT && val & STIMER_ENABLE && vector < SINT_FIRST_VECTOR))
		return false;
	if (!(val & STIMER_DIRECT) && sint == SINT_INTERCEPT)
		val &= ~STIMER_ENABLE;	/* SINT 0 takes no timer messages */
	t->config = val;
	return true;
}

static void set_count(struct stimer *t, u64 val)
{
	t->count = val;
	if (!val)
		t->config &= ~STIMER_ENABLE;
	else if (t->config & STIMER_AUTO_ENABLE)
		t->config |= STIMER_ENABLE;
}

/* The MSRs are pairs: configuration, count. False: the value is not allowed. */
bool stimer_write(struct lp *lp, u32 m, u64 val)
{
	struct stimer *t = &lp->stimer[(m - SMSR_STIMER0_CONFIG) / 2];

	if ((m - SMSR_STIMER0_CONFIG) % 2)
		set_count(t, val);
	else if (!set_config(t, val))
		return false;
	restart(lp, t);
	return true;
}

u64 stimer_read(struct lp *lp, u32 m)
{
	const struct stimer *t = &lp->stimer[(m - SMSR_STIMER0_CONFIG) / 2];

	timers_run_locked(lp);		/* an expired one-shot timer is disabled, also if its interrupt needed no exit */
	return (m - SMSR_STIMER0_CONFIG) % 2 ? t->count : t->config;
}
