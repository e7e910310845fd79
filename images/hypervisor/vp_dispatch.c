/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run a child on this LP until something happens; DISPATCH_VP, by which the root's scheduler asks for it. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

/* Neither halted nor waiting for SIPI, or not any longer? For our own scheduler. Called with hv_lock. */
bool vp_ready(struct vp *vp)
{
	vp_init_pending(vp);
	if (!vp->wait_sipi && vp->halted && lapic_wakes(vp))
		vp->halted = false;
	return !vp->wait_sipi && !vp->halted;
}

/* A VP that waits for an interrupt or SIPI: true if it may run now, else "out" says what the root should do. */
static bool awake(struct lp *lp, struct vp *vp, struct out_dispatch *out)
{
	if (!vp->wait_sipi && !vp->halted)
		return true;
	/* Publish "blocked" before looking: vp_kick runs on other LPs without the lock. */
	vp_publish_blocked(vp, true);
	__atomic_store_n(&vp->blocked, true, __ATOMIC_SEQ_CST);
	vp_init_pending(vp);
	if (!vp->wait_sipi && (!vp->halted || lapic_wakes(vp))) {
		vp->halted = false;
	} else if (vp->wait_sipi || !(vp->vmcb->rflags & RFLAGS_IF || vp->idle) || !child_timers_need_polling(lp, vp)) {
		child_timers_arm(lp, vp);
		*out = (struct out_dispatch){ DISPATCH_STATE_BLOCKED, DISPATCH_EVENT_NONE };
		return false;
	}
	if (__atomic_exchange_n(&vp->blocked, false, __ATOMIC_SEQ_CST))
		vp_publish_blocked(vp, false);
	if (vp->halted)			/* no deadline interrupts this LP: the root polls */
		*out = (struct out_dispatch){ DISPATCH_STATE_READY, DISPATCH_EVENT_NONE };
	return !vp->halted;
}

/* Without the lock: enter and re-enter until an exit needs the root. RUN_MESSAGE: that exit may want a message. */
static enum run_end run(struct lp *lp, struct vp *vp, u64 *in_guest)
{
	struct vmcb *v = vp->vmcb;
	enum child_action action;

	do {
		if (vp_has_lapic(vp)) {
			lapic_inject(vp);
			child_timers_arm(lp, vp);
		}
		if (!vmcb_valid(v)) {
			lapic_sync(vp);
			v->exitcode = EXIT_INVALID;
			v->eventinj = 0;
			return RUN_MESSAGE;
		}
		note_shadow(v, &vp->shadow_rip);
		v->tlb_ctl = TLB_FLUSH_ALL;	/* QEMU flushes anyway; keeps second-level changes visible */
		stats_enter(lp);
		vmrun_guest(v, &vp->g);
		*in_guest += stats_leave(lp, &lp->time.child);
		note_exit(lp, v, vp->index + 1);
		stats_count_exit(vp);
		if (vp_has_lapic(vp))
			lapic_sync(vp);
		/* After a triple fault the event is what killed the VP: again it would kill the next run too. */
		v->eventinj = v->intinfo & EVENT_VALID && v->exitcode != EXIT_SHUTDOWN ? v->intinfo : 0;
		if (v->exitcode == EXIT_INTR || v->exitcode == EXIT_NMI)
			return RUN_INTERRUPTED;
		action = child_exit(lp, vp);
	} while (action == CHILD_RESUME && !vp->halted && !vp->init_pending);
	return action == CHILD_MESSAGE ? RUN_MESSAGE : RUN_BLOCKED;
}

/*
 * Run a VP that is out of its guest and can run. RUN_MESSAGE: it is suspended and its message is in its page. Called
 * with hv_lock, which is dropped while the child executes.
 */
enum run_end vp_run(struct lp *lp, struct vp *vp)
{
	u64 start = rdtsc(), in_guest = 0;
	enum run_end end;

	registers_page_in(vp);
	vp_inject_pending(vp);
	vp->dispatches++;
	vp->dispatching = true;
	/* Before looking at what is requested: vp_kick looks here after it has requested something. */
	__atomic_store_n(&vp->in_guest, lp->index + 1, __ATOMIC_SEQ_CST);
	unlock(&hv_lock);
	world_to_child(lp, vp);
	end = run(lp, vp, &in_guest);
	world_to_root(lp, vp);
	__atomic_store_n(&vp->in_guest, 0, __ATOMIC_RELEASE);
	lock(&hv_lock);
	vp->dispatching = false;
	timers_run_locked(lp);
	if (end == RUN_MESSAGE) {
		if (child_message(lp, vp)) {
			vp->intercept_suspend = 1;
			stats_count_message(vp);
		} else {
			end = RUN_BLOCKED;	/* what it missed is there by now */
		}
	}
	stats_count_run(lp, vp, rdtsc() - start, in_guest);
	stats_show_vp(vp);
	registers_page_out(vp);
	overlay_state_out(vp);
	return end;
}

/* Interrupts that the root left in the register page: edge-triggered ones. It adds to them at any time, without a call. */
static void take_vectors(struct lp *lp, struct vp *vp)
{
	u64 vectors = __atomic_exchange_n(&vp->regs_page->vectors, 0, __ATOMIC_SEQ_CST);
	u32 n = vectors & VECTOR_MASK;

	if (!n)
		return;
	LEDGER_EVENT(lp, EV_PAGE_VECTORS, 0, vp->pt->id, vp->index, vectors);
	for (u32 i = 0; i < n && i < PAGE_VECTORS; i++)
		lapic_raise(vp, vectors >> 8 * (i + 1) & VECTOR_MASK, false);
}

/* Called with hv_lock, which is dropped while the child executes. */
u16 vp_dispatch(struct lp *lp, struct vp *vp, u32 flags, struct out_dispatch *out)
{
	if (sched_is_ours())
		return ST_OPERATION_DENIED;
	if (vp->dispatching || vp->pt->state != PT_ACTIVE)
		return ST_INVALID_VP_STATE;
	if (flags & DISPATCH_CLEAR_INTERCEPT)
		vp->intercept_suspend = 0;
	if (vp->explicit_suspend & EXPLICITLY_SUSPENDED || vp->dispatch_suspend & 1) {
		*out = (struct out_dispatch){ DISPATCH_STATE_BLOCKED, DISPATCH_EVENT_SUSPEND };
		vp_publish_blocked(vp, true);
		return ST_OK;
	}
	*out = (struct out_dispatch){ DISPATCH_STATE_READY, DISPATCH_EVENT_INTERCEPT };
	if (vp->intercept_suspend)
		return ST_OK;
	if (vp->stops) {		/* another LP wants it out: the root comes back */
		out->event = DISPATCH_EVENT_NONE;
		return ST_OK;
	}
	vp_init_pending(vp);
	if (flags & DISPATCH_SCAN_VECTORS && vectors_announced)
		take_vectors(lp, vp);
	if (!awake(lp, vp, out))
		return ST_OK;
	if (vp_run(lp, vp) != RUN_MESSAGE)
		out->event = DISPATCH_EVENT_NONE;	/* a physical interrupt for the root: come back soon */
	return ST_OK;
}
