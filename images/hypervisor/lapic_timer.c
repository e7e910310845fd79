/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The timer of a child's local APIC: one-shot, periodic and TSC-deadline. It counts the TSC divided by 8. */
#include "apic_regs.h"
#include "hv.h"

#define TIMER_TSC_SHIFT 3

static u32 divisor(const struct lapic *a)
{
	u32 d = (a->div & 3) | (a->div >> 1 & 4);

	return d == 7 ? 1 : 2u << d;
}

static u64 period(const struct lapic *a) { return (u64)a->init * divisor(a) << TIMER_TSC_SHIFT; }
static bool deadline_mode(const struct lapic *a) { return (a->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_DEADLINE; }
static bool periodic(const struct lapic *a) { return (a->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_PERIODIC; }

void lapic_timer_poll(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	u64 now = rdtsc(), p = period(a);

	if (deadline_mode(a)) {
		if (!a->deadline || now + vp->vmcb->tsc_offset < a->deadline)
			return;
		a->deadline = 0;
	} else {
		if (!a->armed || !p || now - a->start < p)
			return;
		if (periodic(a))
			a->start += (now - a->start) / p * p;
		else
			a->armed = false;
	}
	lapic_lvt(vp, LVT_TIMER);
}

/* The TSC at which the timer will interrupt, NEVER if it will not. */
u64 lapic_timer_next(const struct vp *vp)
{
	const struct lapic *a = &vp->apic;

	if (!lapic_on(vp) || !(a->svr & SVR_ENABLE) || a->lvt[LVT_TIMER] & LVT_MASKED)
		return NEVER;
	if (deadline_mode(a))
		return a->deadline ? a->deadline - vp->vmcb->tsc_offset : NEVER;
	return a->armed && a->init ? a->start + period(a) : NEVER;
}

void lapic_timer_set(struct vp *vp, u32 initial)
{
	if (deadline_mode(&vp->apic))
		return;
	vp->apic.init = initial;
	vp->apic.start = rdtsc();
	vp->apic.armed = initial != 0;
}

u32 lapic_timer_count(struct vp *vp)
{
	struct lapic *a = &vp->apic;
	u64 p = period(a), elapsed;

	lapic_timer_poll(vp);
	if (deadline_mode(a) || !a->armed || !p)
		return 0;
	elapsed = rdtsc() - a->start;
	return a->init - (u32)((elapsed % p >> TIMER_TSC_SHIFT) / divisor(a));
}

/* Go on where a saved timer stood: "counter" is left of the initial count. */
void lapic_timer_resume(struct vp *vp, u32 counter)
{
	struct lapic *a = &vp->apic;

	a->armed = !deadline_mode(a) && a->init && counter;
	if (counter > a->init)
		counter = a->init;
	a->start = rdtsc() - ((u64)(a->init - counter) * divisor(a) << TIMER_TSC_SHIFT);
}

/* Into or out of TSC-deadline mode disarms; between one-shot and periodic the count goes on. */
void lapic_timer_mode(struct vp *vp, u32 lvt)
{
	struct lapic *a = &vp->apic;
	bool was = deadline_mode(a);

	a->lvt[LVT_TIMER] = lvt;
	if (was == deadline_mode(a))
		return;
	a->deadline = 0;
	a->armed = false;
	a->init = 0;
}

/* The rest of the count is kept, only its speed changes. */
void lapic_timer_divide(struct vp *vp, u32 divide)
{
	struct lapic *a = &vp->apic;
	u32 left = lapic_timer_count(vp);

	a->div = divide & DIVIDE_MASK;
	if (a->armed)
		lapic_timer_resume(vp, left);
}

void lapic_timer_deadline(struct vp *vp, u64 tsc)
{
	if (deadline_mode(&vp->apic))
		vp->apic.deadline = tsc;
}
