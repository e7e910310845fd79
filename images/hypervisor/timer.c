/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hypervisor's own deadlines, one sorted queue a LP, on the LP's physical APIC timer. That timer is the root's
 * until the root uses a synthetic timer. Its interrupt is the root's as well: a direct synthetic timer's vector
 * arrives without an exit; for other deadlines the root gets the vector of its SynIC, finds no message, and the exit
 * of its EOI is where we look at the queue. If a child runs, the interrupt ends its run first.
 */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define COUNT_MAX 0xffffffffu
#define DIVIDE_BY_1 0xbu
#define DIVIDE_BY_128 0xau

static lock_t timer_lock;		/* all queues; a leaf: nothing else is taken inside it */

/* Our own deadlines use the interrupt that makes the root look at its SynIC: it is used to finding nothing there. */
static u32 own_vector(const struct lp *lp)
{
	u64 sint = lp->sint[SINT_INTERCEPT];

	return sint & SINT_MASKED ? 0 : sint & SINT_VECTOR_MASK;
}

bool timer_live(const struct lp *lp) { return lp->hardware.owned && own_vector(lp); }

/* Rounded up: the interrupt never comes before the deadline. */
static u64 apic_ticks(u64 tsc)
{
	u64 seconds = tsc / tsc_hz, rest = tsc % tsc_hz;

	return seconds > COUNT_MAX ? ~0ul : seconds * APIC_TIMER_HZ + rest * APIC_TIMER_HZ / tsc_hz + 1;
}

/* The root runs the APIC timer again, which it never does while it uses a synthetic one as clock. */
static bool taken_back(const struct timer_hardware *h)
{
	u32 lvt = apic_read(APIC_LVT_TIMER);

	return lvt != h->lvt && !(lvt & LVT_MASKED);
}

/* Set the physical timer for the first deadline. With timer_lock, on the LP itself. */
static void program(struct lp *lp)
{
	const struct timer *t = lp->timers;
	struct timer_hardware *h = &lp->hardware;
	u64 now, ticks;
	u32 vector, divide = DIVIDE_BY_1;

	if (!h->owned || (t && t == h->timer && t->at == h->at))
		return;
	if (taken_back(h)) {
		h->owned = false;
		h->timer = NULL;
		return;
	}
	vector = t ? t->vector ? t->vector : own_vector(lp) : 0;
	if (!vector) {
		if (h->timer)
			apic_write(APIC_INITIAL_COUNT, 0);
		h->timer = NULL;
		return;
	}
	now = rdtsc();
	ticks = t->at > now ? apic_ticks(t->at - now) : 1;
	if (ticks > COUNT_MAX) {
		divide = DIVIDE_BY_128;
		ticks = ticks / 128 < COUNT_MAX ? ticks / 128 + 1 : COUNT_MAX;
	}
	h->timer = t;
	h->at = t->at;
	h->lvt = vector;
	apic_write(APIC_LVT_TIMER, h->lvt);
	apic_write(APIC_DIVIDE, divide);
	apic_write(APIC_INITIAL_COUNT, ticks);
}

static void dequeue(struct timer *t)
{
	struct timer **p;

	if (!t->lp)
		return;
	for (p = &t->lp->timers; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	if (t->lp->hardware.timer == t)
		t->lp->hardware.timer = NULL;	/* it may still fire: an interrupt too many does no harm */
	t->lp = NULL;
}

void timer_arm(struct lp *lp, struct timer *t, u64 tsc)
{
	struct timer **p;

	lock(&timer_lock);
	dequeue(t);
	t->at = tsc;
	t->delivered = false;
	for (p = &lp->timers; *p && (*p)->at <= tsc; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
	t->lp = lp;
	program(lp);
	unlock(&timer_lock);
}

void timer_cancel(struct timer *t)
{
	lock(&timer_lock);
	dequeue(t);
	unlock(&timer_lock);
}

static bool bank_bit(u32 bank, u32 vector)
{
	return apic_read(bank + vector / 32 * APIC_BANK_STEP) >> vector % 32 & 1;
}

/*
 * An expired timer with a vector of the root: has the hardware interrupted, will it at once, or must we do it? An
 * interrupt that the root has taken and acknowledged already is sent again: the root's handler must bear that anyway.
 */
static bool hardware_pending(const struct lp *lp, const struct timer *t)
{
	return lp->hardware.timer == t && apic_read(APIC_LVT_TIMER) == lp->hardware.lvt && apic_read(APIC_CURRENT_COUNT);
}

static struct timer *next_expired(struct lp *lp, u64 now)
{
	struct timer *t = lp->timers;

	if (!t || t->at > now)
		return NULL;
	if (t->vector) {
		if (hardware_pending(lp, t))
			return NULL;
		t->delivered = bank_bit(APIC_IRR, t->vector) || bank_bit(APIC_ISR, t->vector);
	}
	dequeue(t);
	return t;
}

/* The interrupt came but the deadline did not: the clocks of TSC and APIC differ a little. */
static bool spent(const struct lp *lp)
{
	return lp->hardware.owned && lp->hardware.timer && lp->hardware.timer->at > rdtsc() &&
	       !apic_read(APIC_CURRENT_COUNT);
}

/* Has the first deadline passed, or is the hardware not set for it? Looked at without the lock, on each exit. */
static bool work(const struct lp *lp)
{
	const struct timer *first = __atomic_load_n(&lp->timers, __ATOMIC_ACQUIRE);

	if (!first)
		return false;
	return first->at <= rdtsc() || (lp->hardware.owned && first != lp->hardware.timer) || spent(lp);
}

void timers_run_locked(struct lp *lp)
{
	u64 now = rdtsc();
	struct timer *t;

	if (!work(lp))
		return;
	lock(&timer_lock);
	if (spent(lp))
		lp->hardware.timer = NULL;
	while ((t = next_expired(lp, now))) {
		unlock(&timer_lock);
		t->run(lp, t);
		lock(&timer_lock);
	}
	program(lp);
	unlock(&timer_lock);
}

void timers_run(struct lp *lp)
{
	if (!work(lp))
		return;
	lock(&hv_lock);
	timers_run_locked(lp);
	unlock(&hv_lock);
}

void timer_own(struct lp *lp)
{
	lp->hardware = (struct timer_hardware){ .owned = true, .lvt = apic_read(APIC_LVT_TIMER) };
	lock(&timer_lock);
	program(lp);
	unlock(&timer_lock);
}
