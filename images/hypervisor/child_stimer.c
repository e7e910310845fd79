/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic timers of a child's VP (TLFS 12). One that is late tells of what it missed only once, lazy or not. */
#include "apic_regs.h"
#include "hv.h"

static bool runs(const struct child_stimer *t) { return t->config & STIMER_ENABLE && t->count && !t->expired; }

static bool send(struct vp *vp, struct child_stimer *t, u64 at)
{
	struct message m = { .type = MSG_TIMER_EXPIRED, .size = sizeof(struct wire_timer_message) };
	struct wire_timer_message p = { .timer = t - vp->synic.timer, .expiration = at, .delivery = child_ref_time(vp->pt) };

	memcpy(m.payload, &p, sizeof p);
	return child_slot_post(vp, t->config >> STIMER_SINT_SHIFT & STIMER_SINT_MASK, &m);
}

static void fire(struct vp *vp, struct child_stimer *t, u64 now)
{
	u64 at = t->next;

	if (t->config & STIMER_PERIODIC)
		t->next = stimer_next(at, t->count, now, true);
	else
		t->config &= ~STIMER_ENABLE;
	if (t->config & STIMER_DIRECT)
		lapic_raise(vp, t->config >> STIMER_VECTOR_SHIFT & VECTOR_MASK, false);
	else
		t->expired = send(vp, t, at) ? 0 : at;
}

void child_stimers_poll(struct vp *vp)
{
	u64 now;

	if (!vp->synic.queue)
		return;
	now = child_ref_time(vp->pt);
	for (u32 i = 0; i < CHILD_STIMERS; i++)
		if (runs(&vp->synic.timer[i]) && now >= vp->synic.timer[i].next)
			fire(vp, &vp->synic.timer[i], now);
}

/* A slot became free, or the SynIC was switched on. */
void child_stimers_retry(struct vp *vp)
{
	for (u32 i = 0; i < CHILD_STIMERS; i++) {
		struct child_stimer *t = &vp->synic.timer[i];

		if (t->expired && send(vp, t, t->expired))
			t->expired = 0;
	}
}

/* TSC at which the first of them expires, NEVER if none runs. */
u64 child_stimers_next(const struct vp *vp)
{
	u64 first = NEVER;

	if (!vp->synic.queue || vp->pt->hv.frozen)
		return NEVER;
	for (u32 i = 0; i < CHILD_STIMERS; i++)
		if (runs(&vp->synic.timer[i]) && vp->synic.timer[i].next < first)
			first = vp->synic.timer[i].next;
	return first == NEVER ? NEVER : ref_to_tsc(first + vp->pt->hv.ref_start);
}

static void restart(struct vp *vp, struct child_stimer *t)
{
	t->expired = 0;
	t->next = t->config & STIMER_PERIODIC ? child_ref_time(vp->pt) + t->count : t->count;
}

u64 child_stimer_read(struct vp *vp, u32 n)
{
	const struct child_stimer *t = &vp->synic.timer[n / 2];

	child_stimers_poll(vp);
	return n % 2 ? t->count : t->config;
}

/* For the VMM, which restores what it saved: no rules, no side effects. */
void child_stimer_set(struct vp *vp, u32 n, u64 value)
{
	struct child_stimer *t = &vp->synic.timer[n / 2];

	if (n % 2)
		t->count = value;
	else
		t->config = value & ~STIMER_RESERVED;
	restart(vp, t);
}

static bool set_config(struct vp *vp, struct child_stimer *t, u64 value)
{
	u32 vector = value >> STIMER_VECTOR_SHIFT & VECTOR_MASK, sint = value >> STIMER_SINT_SHIFT & STIMER_SINT_MASK;

	if (value & STIMER_RESERVED)
		return false;
	if (value & STIMER_DIRECT && (!child_feature(vp->pt, SYNTH_DIRECT_TIMERS) ||
				      (value & STIMER_ENABLE && vector < SINT_FIRST_VECTOR)))
		return false;
	if (!(value & STIMER_DIRECT) && !sint)
		value &= ~STIMER_ENABLE;	/* SINT 0 takes no timer messages */
	t->config = value;
	return true;
}

/* Registers are pairs: configuration, count. False: the value is not allowed. */
bool child_stimer_write(struct vp *vp, u32 n, u64 value)
{
	struct child_stimer *t = &vp->synic.timer[n / 2];

	if (n % 2) {
		t->count = value;
		if (!value)
			t->config &= ~STIMER_ENABLE;
		else if (t->config & STIMER_AUTO_ENABLE)
			t->config |= STIMER_ENABLE;
	} else if (!set_config(vp, t, value)) {
		return false;
	}
	restart(vp, t);
	child_stimers_poll(vp);
	return true;
}
