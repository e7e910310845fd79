/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hypervisor's own scheduler ("core", "classic"): children run when the root's VP on an LP halts, and when it has
 * used up its slice. Any physical interrupt belongs to the root and gives the LP back to it. With the root scheduler
 * nothing here runs but vp_stop().
 */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define SLICES_PER_SECOND 200		/* how long one keeps an LP that another could use */
#define IDLE_GPA 0x1000ul
#define IDLE_SPINS 20000u		/* what the polling idle guest counts down */
#define IDLE_HALT 0			/* its two entry points */
#define IDLE_POLL 4
#define ASID_IDLE (ASID_ROOT + MAX_PARTS)
#define WHO_IDLE (~0u)

u32 scheduler = SCHEDULER_ROOT;
static u64 idle_lps;			/* bit n: LP n found no child to run, and waits for an interrupt */
static u64 idle_npt;

bool sched_is_ours(void) { return scheduler != SCHEDULER_ROOT; }

/* ---- the idle guest: HLT behind GIF, which the stand-in itself cannot do ---- */
static u64 idle_table(void)
{
	static const u8 code[] = { 0xf4, 0xeb, 0xfd, 0x90,	/* hlt; jmp back; nop */
				   0xe2, 0xfe, 0x0f, 0x01, 0xd9 };	/* loop on itself; vmmcall */
	u64 *level[4];
	u8 *page = page_alloc();

	memcpy(page, code, sizeof code);
	for (u32 i = 0; i < LENGTH(level); i++)
		level[i] = page_alloc();
	for (u32 i = 0; i + 1 < LENGTH(level); i++)
		level[i][0] = (u64)level[i + 1] | PTE_P | PTE_W | PTE_U;
	level[3][IDLE_GPA / PAGE] = (u64)page | PTE_P | PTE_U;
	return (u64)level[0];
}

void sched_init(struct lp *lp)
{
	if (!sched_is_ours())
		return;
	if (!idle_npt)
		idle_npt = idle_table();
	lp->idle_vmcb = page_alloc();
	vmcb_init(lp->idle_vmcb, idle_npt, ASID_IDLE);
	lp->idle_vmcb->int_misc1 &= ~MISC1_HLT;
	lp->idle_vmcb->cs = (struct seg){ 0, SEG_CODE, 0xffff, 0 };
	lp->vmcb->int_misc1 |= MISC1_HLT;
}

/* Wait for a physical interrupt, or only for a moment. True if there is one. */
static bool idle(struct lp *lp, bool poll)
{
	struct vmcb *v = lp->idle_vmcb;
	struct gprs g = { .rcx = IDLE_SPINS };

	v->rip = IDLE_GPA + (poll ? IDLE_POLL : IDLE_HALT);
	v->eventinj = 0;
	v->tlb_ctl = TLB_FLUSH_ALL;
	lp->time.idles = true;
	stats_enter(lp);
	vmrun_guest(v, &g);
	stats_leave(lp, &lp->time.idle);
	lp->time.idles = false;
	note_exit(lp, v, WHO_IDLE);
	if (v->exitcode != EXIT_INTR && v->exitcode != EXIT_NMI && v->exitcode != EXIT_VMMCALL)
		panic("lp %u: exit %#lx of the idle guest at %#lx", lp->index, v->exitcode, v->rip);
	return v->exitcode != EXIT_VMMCALL;
}

/* ---- which child ---- */
static bool suspended(const struct vp *vp)
{
	return !vp->used || vp->dispatching || vp->stops || vp->explicit_suspend & EXPLICITLY_SUSPENDED ||
	       vp->intercept_suspend || vp->dispatch_suspend & 1;
}

static struct vp *candidate(u32 n)
{
	struct partition *pt = &parts[n / MAX_VPS % MAX_PARTS];

	return pt->state == PT_ACTIVE && pt->id != ROOT_ID ? &pt->vp[n % MAX_VPS] : NULL;
}

/* The next VP in turn that can run, NULL if none. "poll": one waits for a timer that only we look at. With hv_lock. */
static struct vp *next(struct lp *lp, bool *poll)
{
	*poll = false;
	for (u32 i = 1; i <= MAX_PARTS * MAX_VPS; i++) {
		struct vp *vp = candidate(lp->turn + i);

		if (!vp || suspended(vp))
			continue;
		if (vp_ready(vp)) {
			lp->turn = (lp->turn + i) % (MAX_PARTS * MAX_VPS);
			return vp;
		}
		if (vp->halted) {
			child_timers_arm(lp, vp);
			*poll |= child_timers_need_polling(lp, vp);
		}
	}
	return NULL;
}

/* Can it run, or has something arrived that lets it? */
static bool wants(const struct vp *vp)
{
	return vp->init_pending || vp->sipi || (!vp->wait_sipi && (!vp->halted || lapic_may_wake(vp)));
}

/* Only a hint, for which no lock is taken. */
static bool someone_waits(const struct vp *beside)
{
	for (u32 i = 0; i < MAX_PARTS * MAX_VPS; i++) {
		const struct vp *vp = candidate(i);
		if (vp && vp != beside && !suspended(vp) && wants(vp))
			return true;
	}
	return false;
}

/* Will something interrupt a child that never leaves by itself? Our own timer, or the root's in the physical APIC. */
static bool interruptible(const struct lp *lp)
{
	return timer_live(lp) || (apic_read(APIC_CURRENT_COUNT) && !(apic_read(APIC_LVT_TIMER) & LVT_MASKED));
}

/* The interrupt itself is what ends the child's slice. */
static void slice_over(struct lp *lp, struct timer *t)
{
	(void)lp, (void)t;
}

static enum run_end run_slice(struct lp *lp, struct vp *vp, bool root_halted)
{
	enum run_end end;

	lp->slice_end.run = slice_over;
	if (timer_live(lp) && (!root_halted || someone_waits(vp)))
		timer_arm(lp, &lp->slice_end, rdtsc() + tsc_hz / SLICES_PER_SECOND);
	end = vp_run(lp, vp);
	timer_cancel(&lp->slice_end);
	return end;
}

/* A VP became able to run: have an LP that idles look for it. The interrupt is spurious for the root there. */
void sched_wake(const struct lp *lp)
{
	u64 idle_now = __atomic_load_n(&idle_lps, __ATOMIC_SEQ_CST) & ~BIT(lp->index);
	u32 n;

	if (!idle_now)
		return;
	n = __builtin_ctzl(idle_now);
	__atomic_and_fetch(&idle_lps, ~BIT(n), __ATOMIC_SEQ_CST);
	apic_write_icr(lps[n].apic_id, ICR_ASSERT | KICK_VECTOR);
}

/* The message itself is in the VP's page; the root is only told where to look. */
static void tell_root(struct lp *lp, const struct vp *vp)
{
	struct message m = { .type = MSG_OPAQUE_INTERCEPT, .size = sizeof(struct wire_opaque_message),
			     .sender = vp->pt->id };
	struct wire_opaque_message opaque = { vp->index };

	memcpy(m.payload, &opaque, sizeof opaque);
	synic_post(lp, SINT_INTERCEPT, &m);
}

/* Children have this LP until the root wants it back: an interrupt, or a message for it. */
static void run_children(struct lp *lp, bool root_halted)
{
	bool poll, interrupted = false;

	lock(&hv_lock);
	while (!interrupted) {
		struct vp *vp;

		/* say so before looking: who makes a VP runnable reads the mask after that */
		if (root_halted)
			__atomic_or_fetch(&idle_lps, BIT(lp->index), __ATOMIC_SEQ_CST);
		vp = next(lp, &poll);
		if (vp) {
			enum run_end end;

			__atomic_and_fetch(&idle_lps, ~BIT(lp->index), __ATOMIC_SEQ_CST);
			end = run_slice(lp, vp, root_halted);
			if (end == RUN_MESSAGE)
				tell_root(lp, vp);
			interrupted = end != RUN_BLOCKED;
		} else if (root_halted) {
			unlock(&hv_lock);
			interrupted = idle(lp, poll);
			lock(&hv_lock);
			timers_run_locked(lp);
		} else {
			break;
		}
	}
	__atomic_and_fetch(&idle_lps, ~BIT(lp->index), __ATOMIC_SEQ_CST);
	unlock(&hv_lock);
	/* A VP that was woken while it was in its guest here was left to us: an LP that idles may take it. */
	if (interrupted && someone_waits(NULL))
		sched_wake(lp);
	lp->slice = rdtsc();
}

/* ---- exits of the root ---- */
void sched_root_halts(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;

	if (!(v->rflags & RFLAGS_IF)) {		/* only INIT or NMI end this: really halt, until the next exit */
		v->int_misc1 &= ~MISC1_HLT;
		return;
	}
	v->rip += LEN_HLT;
	v->shadow = 0;
	lp->halts++;
	run_children(lp, true);
}

/*
 * After an exit of the root: is its slice over while a child waits? Then the LP changes hands as soon as the root takes
 * interrupts. Not at once: at the EOI of its timer the root has not yet armed the timer that will bring it back.
 */
void sched_root_exit(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;

	if (v->exitcode != EXIT_HLT)
		v->int_misc1 |= MISC1_HLT;
	if (rdtsc() - lp->slice < tsc_hz / SLICES_PER_SECOND || !someone_waits(NULL) ||
	    !interruptible(lp))
		return;
	v->int_misc1 |= MISC1_VINTR;
	v->vintr |= VINTR_IRQ | VINTR_IGNORE_TPR;
}

void sched_root_yields(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;

	v->int_misc1 &= ~MISC1_VINTR;
	v->vintr &= ~(VINTR_IRQ | VINTR_IGNORE_TPR);
	run_children(lp, false);
}

/* ---- taking a VP out ---- */
/*
 * Make a VP that runs on another LP leave its guest and wait until its exit is dealt with, so that its state can be
 * read, changed or freed. Called with hv_lock, which is dropped meanwhile: the VP may be gone afterwards.
 */
bool vp_stop(const struct lp *lp, struct vp *vp)
{
	u64 born = vp->born, kicked = 0;

	if (!vp->dispatching)
		return true;
	vp->stops++;
	while (vp->used && vp->born == born && vp->dispatching) {
		int on = vp->in_guest;

		if (on && on != (int)lp->index + 1 && kicked != vp->dispatches) {
			kicked = vp->dispatches;
			apic_write_icr(lps[on - 1].apic_id, ICR_ASSERT | KICK_VECTOR);
		}
		unlock(&hv_lock);
		relax();
		lock(&hv_lock);
	}
	if (!vp->used || vp->born != born)
		return false;
	vp->stops--;
	if (sched_is_ours())
		sched_wake(lp);
	return true;
}

/* All VPs of a partition; they cannot be started again. False if the partition is gone. */
bool sched_stop_partition(const struct lp *lp, struct partition *pt)
{
	u64 id = pt->id;

	for (u32 i = 0; i < MAX_VPS; i++) {
		if (pt->vp[i].used) {
			pt->vp[i].dispatch_suspend |= 1;
			vp_stop(lp, &pt->vp[i]);
		}
		if (pt->state == PT_FREE || pt->id != id)
			return false;
	}
	return true;
}
