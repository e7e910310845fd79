/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual processors of children: life, INIT and SIPI, wake-ups. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define VP_PAGES 4			/* VMCB, FPU, register page, message page */

struct vp *vp_find(struct partition *pt, u32 index)
{
	return index < MAX_VPS && pt->vp[index].used ? &pt->vp[index] : NULL;
}

bool vp_has_lapic(const struct vp *vp) { return vp->pt->flags & CREATE_LAPIC; }

u16 vp_create(struct partition *pt, u32 index)
{
	static u64 births;
	struct vp *vp;

	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	if (index >= MAX_VPS || pt->vp[index].used)
		return ST_INVALID_VP_INDEX;
	if (pt->pool.nfree < VP_PAGES + child_vp_pages(pt))
		return ST_INSUFFICIENT_MEMORY;
	vp = &pt->vp[index];
	memset(vp, 0, sizeof *vp);
	vp->born = ++births;
	vp->index = index;
	vp->pt = pt;
	vp->vmcb = pool_get(&pt->pool);
	vp->fpu = pool_get(&pt->pool);
	vp->regs_page = pool_get(&pt->pool);
	vp->msg_page = pool_get(&pt->pool);
	vmcb_init(vp->vmcb, pt->npt, pt->asid);
	*(u16 *)(vp->fpu + XSAVE_FCW) = FCW_DEFAULT;
	*(u32 *)(vp->fpu + XSAVE_MXCSR) = MXCSR_DEFAULT;
	*(u64 *)(vp->fpu + XSAVE_HEADER) = XCR0_X87 | XCR0_SSE;
	vp->xcr0 = XCR0_X87;
	vp->apic_base = APIC_DEFAULT_BASE | APIC_BASE_ENABLE | (index ? 0 : APIC_BASE_BSP);
	vp->explicit_suspend = EXPLICITLY_SUSPENDED;
	lapic_reset(vp);
	child_intercepts_apply(vp);
	child_vp_init(vp);
	vp->wait_sipi = index && vp_has_lapic(vp);
	vp->regs_page->version = REGISTER_PAGE_VERSION;
	__atomic_store_n(&vp->used, true, __ATOMIC_RELEASE);	/* its siblings look at it without the lock */
	return ST_OK;
}

u16 vp_delete(struct partition *pt, u32 index)
{
	struct vp *vp = vp_find(pt, index);

	if (!vp)
		return ST_INVALID_VP_INDEX;
	if (vp->dispatching)
		return ST_INVALID_VP_STATE;
	timer_cancel(&vp->wake);
	child_results_free(vp);
	child_vp_free(vp);
	pool_put(&pt->pool, vp->vmcb);
	pool_put(&pt->pool, vp->fpu);
	pool_put_visible(&pt->pool, vp->regs_page);
	pool_put_visible(&pt->pool, vp->msg_page);
	vp->used = false;
	return ST_OK;
}

void vp_publish_blocked(struct vp *vp, bool blocked)
{
	for (u32 i = 0; i < LENGTH(vp->stats); i++)
		stats_store(vp->stats[i], STATS_VP_DISPATCH_BLOCKED, blocked);
}

/* Tell the root's scheduler that the VP can run. Linux waits for as many of these as the counter says. */
void vp_signal_root(struct lp *lp, struct vp *vp)
{
	struct message m = { .type = MSG_SCHEDULER_VP_SIGNAL_BITSET, .size = sizeof(struct wire_signal_message),
			     .sender = ROOT_ID };
	struct wire_signal_message signal = { .partition = vp->pt->id, .vps = 1, .format = VP_SET_SPARSE,
					      .valid_banks = 1, .bank = { BIT(vp->index) } };

	vp_publish_blocked(vp, false);
	memcpy(m.payload, &signal, sizeof signal);
	__atomic_add_fetch(&vp->root_signal_count, 1, __ATOMIC_SEQ_CST);
	synic_post(lp, SINT_INTERCEPT, &m);
}

/* An interrupt arrived: make the LP that runs the VP, the root's dispatch thread, or our scheduler notice. */
void vp_kick(struct lp *lp, struct vp *vp)
{
	int on = vp->in_guest;

	if (on && on != (int)lp->index + 1)
		apic_write_icr(lps[on - 1].apic_id, ICR_ASSERT | KICK_VECTOR);
	if (sched_is_ours()) {
		if (!on)
			sched_wake(lp);
		return;
	}
	if (__atomic_exchange_n(&vp->blocked, false, __ATOMIC_SEQ_CST))
		vp_signal_root(lp, vp);
}

/*
 * ---- INIT and SIPI. They arrive without the lock from whichever LP sends them and are noted; the VP itself turns them
 * into state before its next run, which vp_kick brings about.
 */
static void init_now(struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	u64 pat = v->gpat, offset = v->tsc_offset;

	memset(v, 0, sizeof *v);
	vmcb_init(v, vp->pt->npt, vp->pt->asid);
	v->gpat = pat;
	v->tsc_offset = offset;
	memset(&vp->g, 0, sizeof vp->g);
	lapic_reset(vp);
	child_intercepts_apply(vp);
	vp->regs_page->valid = 0;
	vp->nmi_pending = vp->nmi_masked = vp->nmi_iret = false;
	vp->extint = vp->offered = 0;
	vp->pending_interruption = 0;
	vp->halted = vp->idle = false;
	vp->wait_sipi = !(vp->apic_base & APIC_BASE_BSP);	/* the first VP starts over at its reset vector */
}

static void sipi_now(struct vp *vp, u32 vector)
{
	vp->vmcb->cs = (struct seg){ vector << 8, SEG_CODE, 0xffff, vector << PAGE_SHIFT };
	vp->vmcb->rip = 0;
	vp->regs_page->valid = 0;
	vp->wait_sipi = false;
}

void vp_init_pending(struct vp *vp)
{
	u32 sipi;

	if (__atomic_exchange_n(&vp->init_pending, false, __ATOMIC_SEQ_CST))
		init_now(vp);
	sipi = __atomic_exchange_n(&vp->sipi, 0, __ATOMIC_SEQ_CST);
	if (sipi && vp->wait_sipi)
		sipi_now(vp, sipi & VECTOR_MASK);
}

void vp_init_reset(struct vp *vp)
{
	__atomic_store_n(&vp->sipi, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vp->init_pending, true, __ATOMIC_SEQ_CST);
}

/* One that does not wait for it, nor is about to, ignores it. */
void vp_sipi(struct vp *vp, u32 vector)
{
	if (vp->init_pending || vp->wait_sipi)
		__atomic_store_n(&vp->sipi, SIPI_VALID | vector, __ATOMIC_SEQ_CST);
}
